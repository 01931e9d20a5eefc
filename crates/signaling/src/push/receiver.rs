//! What is asked of a receiver by HTTP: to take a stream, and to end that.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use axum::{
    body::Bytes,
    http::{HeaderMap, Method, StatusCode, Uri, header},
};
use framebridge_config::Address;
use framebridge_core::push::Answer;
use framebridge_dial::{ExchangeError, Server, basic, exchange, request, resolve, retry_after};
use framebridge_rtc::{AnswerError, Begun, Offered};
use http_body_util::Full;
use tokio::time::timeout;

use crate::negotiation::SDP;

/// How long a receiver may think about an offer, connecting included: some gather candidates first.
const ANSWER_PATIENCE: Duration = Duration::from_secs(15);

/// How long it may take to end a session there: one that does not will find out by itself.
const END_PATIENCE: Duration = Duration::from_secs(3);

/// The longest answer that is read, bytes: what is taken of offers.
const LONGEST_ANSWER: usize = 64 << 10;

/// The longest address of a session that is kept.
const LONGEST_RESOURCE: usize = 2048;

/// What came of an offer.
pub(super) enum Came {
    /// A session has begun.
    Agreed(Agreed),
    /// The receiver leads elsewhere.
    Redirected {
        to: Uri,
        offered: Box<Offered>,
        is_same_host: bool,
    },
    /// Something else.
    Else(Answer),
}

/// A session that was agreed on.
pub(super) struct Agreed {
    pub(super) begun: Begun,
    /// Where it can be ended at the receiver, if that is said and on the same host.
    pub(super) resource: Option<Uri>,
    /// Who has answered.
    pub(super) peer: IpAddr,
}

/// Where to ask: the address without user and password.
pub(super) fn address(url: &str) -> Option<Uri> {
    let address = Address::of(url)?;
    let (scheme, authority, path) = (address.scheme, address.authority(), address.path);
    format!("{scheme}://{authority}{path}").parse().ok()
}

/// What the receiver is shown: the token, or user and password of the address.
pub(super) fn authorization(url: &str, token: Option<&str>) -> Option<String> {
    match token {
        Some(token) => Some(format!("Bearer {token}")),
        None => {
            let (user, password) = Address::of(url)?.credentials()?;
            Some(basic(&user, &password))
        }
    }
}

/// Whether an address is one of this machine's loopback.
pub(super) fn is_here(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// Makes an offer.
pub(super) async fn ask(url: Uri, authorization: Option<String>, offered: Offered) -> Came {
    let Some(server) = Server::of(&url) else {
        return Came::Else(Answer::Unreachable("its address can't be read".to_owned()));
    };
    let asked = send(
        &server,
        (Method::POST, &url),
        authorization.as_deref(),
        Some(offered.text()),
    );
    let answer = match timeout(ANSWER_PATIENCE, asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Came::Else(Answer::Unreachable(format!("{:#}", anyhow::Error::from(error)))),
        Err(_late) => {
            let why = format!("it has not answered within {} s", ANSWER_PATIENCE.as_secs());
            return Came::Else(Answer::Unreachable(why));
        }
    };
    let headers = &answer.head.headers;
    let location = text(headers, header::LOCATION).and_then(|location| resolve(&url, location));
    let leads_on = |to: &Uri| Server::of(to).is_some_and(|there| server.may_lead_to(&there));
    match (answer.head.status, location) {
        // 200 is what some answer that are older than the RFC.
        (StatusCode::CREATED | StatusCode::OK, resource) => {
            let resource = resource.filter(leads_on);
            let resource = resource.filter(|resource| resource.to_string().len() <= LONGEST_RESOURCE);
            agree(offered, &answer.body, (resource, answer.peer), authorization).await
        }
        (
            StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT,
            Some(to),
        ) => Came::Redirected {
            is_same_host: leads_on(&to),
            offered: Box::new(offered),
            to,
        },
        (status, _) => Came::Else(Answer::Status {
            code: status.as_u16(),
            retry_after: retry_after(headers, SystemTime::now()),
        }),
    }
}

/// Ends a session at the receiver, as far as it can be reached.
pub(super) async fn end(resource: Uri, authorization: Option<String>) {
    let Some(server) = Server::of(&resource) else { return };
    match timeout(
        END_PATIENCE,
        send(&server, (Method::DELETE, &resource), authorization.as_deref(), None),
    )
    .await
    {
        Ok(Ok(answer)) => tracing::debug!(status = %answer.head.status, "the receiver was told that it ends"),
        Ok(Err(error)) => tracing::debug!(%error, "the receiver can't be told that it ends"),
        Err(_late) => tracing::debug!("the receiver was too slow to be told that it ends"),
    }
}

async fn agree(
    offered: Offered,
    answer: &[u8],
    (resource, peer): (Option<Uri>, IpAddr),
    authorization: Option<String>,
) -> Came {
    let agreed = match str::from_utf8(answer) {
        Ok(answer) => offered.answered(answer, peer).await,
        Err(_) => Err(AnswerError::Malformed("it is no text".to_owned())),
    };
    match agreed {
        Ok(begun) => Came::Agreed(Agreed { begun, resource, peer }),
        Err(error) => {
            // It believes that it has a session.
            if let Some(resource) = resource {
                end(resource, authorization).await;
            }
            Came::Else(match error {
                AnswerError::NoPlace(why) => Answer::NoPlace(why.to_string()),
                AnswerError::Malformed(_)
                | AnswerError::NoAcceptableCodec
                | AnswerError::Unacceptable(_)
                | AnswerError::Ourselves => Answer::Unusable(error.to_string()),
            })
        }
    }
}

async fn send(
    server: &Server,
    (method, url): (Method, &Uri),
    authorization: Option<&str>,
    offer: Option<&str>,
) -> Result<framebridge_dial::Answer, ExchangeError> {
    let mut asked = request(method, url);
    if let Some(authorization) = authorization {
        asked = asked.header(header::AUTHORIZATION, authorization);
    }
    if offer.is_some() {
        asked = asked.header(header::CONTENT_TYPE, SDP).header(header::ACCEPT, SDP);
    }
    let body = Bytes::from(offer.unwrap_or_default().to_owned());
    let asked = asked.body(Full::new(body)).map_err(ExchangeError::Request)?;
    exchange(server, asked, LONGEST_ANSWER).await
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_is_told_as_it_is_meant_and_stays_out_of_the_address() {
        for (url, asked, shown) in [
            (
                "https://me:p%2Fs@media:8443/x",
                "https://media:8443/x",
                Some("Basic bWU6cC9z"),
            ),
            ("https://me:p/s@media/x?y", "https://media/x?y", Some("Basic bWU6cC9z")),
            ("http://[::1]:1/x", "http://[::1]:1/x", None),
        ] {
            assert_eq!(address(url).map(|url| url.to_string()).as_deref(), Some(asked));
            assert_eq!(authorization(url, None).as_deref(), shown);
            assert_eq!(authorization(url, Some("t")).as_deref(), Some("Bearer t"));
        }
    }
}
