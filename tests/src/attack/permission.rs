//! Whom one may attack.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};

use anyhow::{Context as _, bail, ensure};

/// A stream of a system that runs already.
#[derive(Debug, PartialEq)]
pub(super) struct Endpoint {
    pub(super) http: SocketAddr,
    pub(super) stream: String,
}

impl Endpoint {
    /// Where `url` is; refused if that is not this machine or a private network, unless whoever asks `may`.
    pub(super) fn of(url: &str, may: bool) -> anyhow::Result<Self> {
        let rest = url.strip_prefix("http://").and_then(|rest| rest.split_once("/whep/"));
        let Some((host, stream)) = rest else {
            bail!("`{url}` is not http://HOST:PORT/whep/STREAM (behind HTTPS: attack what is behind it)");
        };
        let has_port = host
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let named = if has_port {
            host.to_owned()
        } else {
            format!("{host}:80")
        };
        let http = named
            .to_socket_addrs()
            .with_context(|| format!("looking {host} up"))?
            .next();
        let http = http.with_context(|| format!("{host} has no address"))?;
        ensure!(
            may || is_near(http.ip()),
            "{host} is at {}, beyond this machine and private networks: attack only what is yours to break. If it is, say so with --yes-i-may",
            http.ip()
        );
        Ok(Self {
            http,
            stream: stream.trim_end_matches('/').to_owned(),
        })
    }
}

/// This machine, or a network that no stranger has a machine in.
fn is_near(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_attacked_and_what_is_not_only_by_who_may() {
        let near = [
            "127.0.0.1:8890",
            "[::1]:8890",
            "10.1.2.3:80",
            "172.16.0.9:80",
            "192.168.1.9",
            "169.254.7.7:80",
            "[fd00::7]:80",
            "[::ffff:127.0.0.1]:80",
        ];
        for host in near {
            let endpoint = Endpoint::of(&format!("http://{host}/whep/door"), false).unwrap();
            assert_eq!(endpoint.stream, "door", "{host}");
        }
        let far = [
            "192.0.2.7:8890",
            "8.8.8.8",
            "172.32.0.1:80",
            "100.64.0.1:80",
            "0.0.0.0:80",
            "[2001:db8::7]:80",
            "[::ffff:8.8.8.8]:80",
        ];
        for host in far {
            let url = format!("http://{host}/whep/door");
            let refused = Endpoint::of(&url, false).unwrap_err().to_string();
            assert!(refused.contains("--yes-i-may"), "{host}: {refused}");
            assert!(Endpoint::of(&url, true).is_ok(), "{host}");
        }
    }

    #[test]
    fn what_is_no_endpoint_is_told() {
        for url in [
            "https://127.0.0.1/whep/door",
            "127.0.0.1:8890",
            "http://127.0.0.1:8890/s/door",
        ] {
            let refused = Endpoint::of(url, true).unwrap_err().to_string();
            assert!(refused.contains("http://HOST:PORT/whep/STREAM"), "{refused}");
        }
    }
}
