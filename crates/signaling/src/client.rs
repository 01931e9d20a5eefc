//! Finds out where a request comes from, as far as that can be trusted.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, Request, header, request::Parts},
};
use framebridge_auth::{Cidr, client_address};
use framebridge_core::places::network;
use framebridge_http::{Client, Here, Transport};
use framebridge_rtc::Arrival;

const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_PROTO: &str = "x-forwarded-proto";

/// Who asks, behind proxies that are trusted; an extension of each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address(pub(crate) IpAddr);

/// Whose request it is, for the limits per address; an extension of each request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientAddress(pub(crate) Client);

impl<S: Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().copied().unwrap_or(Self(Client(None))))
    }
}

/// Whether nobody on the way to the client can read along; an extension of each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IsSecure(pub(crate) bool);

/// What is known of a request's sender, for handlers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visitor {
    /// Whose places it takes.
    pub(crate) client: ClientAddress,
    pub(crate) address: IpAddr,
    /// How it has come.
    pub(crate) arrival: Arrival,
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let nobody = Self {
            client: ClientAddress(Client(None)),
            address: Ipv4Addr::UNSPECIFIED.into(),
            arrival: Arrival {
                on: None,
                is_local: true,
            },
        };
        Ok(parts.extensions.get().copied().unwrap_or(nobody))
    }
}

/// Notes in the request what is known of its sender, and takes out of it what only a trusted proxy may say.
pub(crate) fn note<B>(request: &mut Request<B>, trusted: &[Cidr]) {
    let transport = transport(request);
    let peer = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map_or(Ipv4Addr::LOCALHOST.into(), |ConnectInfo(peer)| peer.ip());
    let headers = request.headers_mut();
    let client = client_address(peer, values(headers, FORWARDED_FOR), trusted);
    let is_behind_proxy = transport == Transport::Plain && trusted.iter().any(|block| block.has(peer));
    let said_https = values(headers, FORWARDED_PROTO).next_back() == Some("https");
    headers.remove(FORWARDED_FOR);
    headers.remove(FORWARDED_PROTO);
    headers.remove(header::FORWARDED);
    let extensions = request.extensions_mut();
    extensions.insert(Address(client));
    let counted = if client == peer {
        extensions.get().copied().unwrap_or(Client(None))
    } else {
        Client((!client.is_loopback()).then(|| network(client)))
    };
    extensions.insert(ClientAddress(counted));
    let on = extensions.get::<Here>().map(|Here(here)| here.ip().to_canonical());
    let is_local = counted.0.is_none();
    extensions.insert(Visitor {
        client: ClientAddress(counted),
        address: client,
        arrival: Arrival { on, is_local },
    });
    extensions.insert(IsSecure(transport == Transport::Tls || (is_behind_proxy && said_https)));
}

/// How the request has come.
pub(crate) fn transport<B>(request: &Request<B>) -> Transport {
    request.extensions().get().copied().unwrap_or(Transport::Plain)
}

/// Who asks; an address that nobody has where it was not noted.
pub(crate) fn address<B>(request: &Request<B>) -> IpAddr {
    request
        .extensions()
        .get::<Address>()
        .map_or(Ipv4Addr::UNSPECIFIED.into(), |Address(address)| *address)
}

fn values<'a>(headers: &'a HeaderMap, name: &'static str) -> impl DoubleEndedIterator<Item = &'a str> {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok())
}
