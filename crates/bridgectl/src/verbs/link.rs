//! `bridgectl link [--stream S] [--control] [--expires 12h] [--at URL]`

use std::{
    io::{self, Write as _},
    net::{IpAddr, SocketAddr, UdpSocket},
};

use anyhow::Context as _;
use hyper::Method;
use serde_json::json;

use crate::{ask, cli, exit::Exit, verbs::share::qr_code};

pub(crate) async fn run(asked: cli::Link) -> anyhow::Result<Exit> {
    let wanted = json!({
        "stream": asked.stream,
        "scope": if asked.control { "control" } else { "view" },
        "expires_s": asked.expires,
    });
    let made = ask::signaling(Method::POST, "/api/v1/links", Some(wanted)).await?;
    let path = made["path"].as_str().context(ask::MISMATCH)?;
    let base = match asked.at {
        Some(base) => base.trim_end_matches('/').to_owned(),
        None => here(made["base"].as_str().context(ask::MISMATCH)?),
    };
    let url = format!("{base}{path}");
    writeln!(io::stdout(), "{url}")?;
    qr_code(&url)?;
    Ok(Exit::Ok)
}

/// Where signaling listens, by an address that others reach: a listener on all addresses is no address.
fn here(base: &str) -> String {
    let Some((scheme, address)) = base.split_once("://") else {
        return base.to_owned();
    };
    match address.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() => {
            let ip = outward(address.ip()).unwrap_or(address.ip());
            format!("{scheme}://{}", SocketAddr::new(ip, address.port()))
        }
        Ok(_) | Err(_) => base.to_owned(),
    }
}

/// The address from which this machine would send elsewhere. Nothing is sent: 192.0.2.1 and 2001:db8::1 are nobody's (RFC 5737,
/// RFC 3849).
fn outward(any: IpAddr) -> Option<IpAddr> {
    let nobody = ["192.0.2.1:9", "[2001:db8::1]:9"];
    let asked = nobody.into_iter().filter(|_| any.is_unspecified());
    asked.into_iter().find_map(|nobody| {
        let nobody: SocketAddr = nobody.parse().ok()?;
        let from: SocketAddr = if nobody.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().ok()?;
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(nobody).ok()?;
        Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listener_on_one_address_is_reached_there() {
        assert_eq!(here("https://192.0.2.7:8890"), "https://192.0.2.7:8890");
        assert!(here("http://0.0.0.0:8890").ends_with(":8890"));
    }
}
