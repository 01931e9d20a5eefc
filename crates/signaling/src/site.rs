//! What this server is called, and whose pages may play from it.

use std::net::IpAddr;

use axum::http::HeaderValue;
use framebridge_config::Http;

/// `*` as an entry of a list: any.
const ANY: &str = "*";

/// What a page may load: its own modules and styles, our API, and pictures made by either.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// What the operator says of names and origins.
#[derive(Debug)]
pub(crate) struct Site {
    /// Names that a `Host` may have, besides those that can't be rebound.
    hosts: Vec<String>,
    /// How many of them, from the first on, the operator lists.
    listed: usize,
    /// What our pages may load, and who may show them in a frame.
    pub(crate) content_security_policy: HeaderValue,
    /// Web origins whose pages may play our streams.
    origins: Vec<HeaderValue>,
    /// Browsers are told to come by HTTPS only.
    pub(crate) hsts: bool,
}

impl Site {
    pub(crate) fn new(http: &Http) -> Self {
        let origins = http.origins.iter();
        Self {
            hosts: http.hosts.iter().cloned().chain(own_names()).collect(),
            listed: http.hosts.len(),
            content_security_policy: content_security_policy(&http.frame_ancestors),
            origins: origins
                .filter_map(|origin| HeaderValue::from_str(origin).ok())
                .collect(),
            hsts: http.tls.as_ref().is_some_and(|tls| tls.hsts),
        }
    }

    /// Whether a request for `host[:port]` may be meant for us.
    pub(crate) fn is_called(&self, host: &str) -> bool {
        is_known(&self.hosts, host)
    }

    /// The names that the operator lists.
    pub(crate) fn listed(&self) -> &[String] {
        &self.hosts[..self.listed]
    }

    /// Whether pages of every origin may play our streams.
    pub(crate) fn is_open(&self) -> bool {
        self.origins.iter().any(|origin| origin == ANY)
    }

    /// Whether the operator lists this origin by name.
    pub(crate) fn lists(&self, origin: &HeaderValue) -> bool {
        self.origins.contains(origin) && origin != ANY
    }

    /// Whether a page of this origin may.
    pub(crate) fn lets_play(&self, origin: &HeaderValue) -> bool {
        self.is_open() || self.origins.contains(origin)
    }
}

/// The policy, with those who may show our pages in a frame.
fn content_security_policy(frame_ancestors: &[String]) -> HeaderValue {
    let policy = [CONTENT_SECURITY_POLICY]
        .into_iter()
        .chain(frame_ancestors.iter().map(String::as_str));
    let policy = policy.collect::<Vec<_>>().join(" ");
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static(CONTENT_SECURITY_POLICY))
}

fn is_known(hosts: &[String], host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        // Where it is link-local it has a zone (RFC 6874), which says nothing to us.
        Some(v6) => {
            let address = v6.split_once(']').map_or(v6, |(address, _port)| address);
            address.split_once('%').map_or(address, |(address, _zone)| address)
        }
        None => host.split(':').next().unwrap_or_default(),
    };
    // A dot at the end says that a name is whole.
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let is_of_a_network = [".home.arpa", ".internal"].iter().any(|domain| name.ends_with(domain));
    // Names of RFC 6761 that browsers resolve by themselves: nobody can have those point anywhere.
    let is_localhost = !host.starts_with('[') && (name == "localhost" || name.ends_with(".localhost"));
    let cant_be_rebound = name.parse::<IpAddr>().is_ok() || is_localhost;
    cant_be_rebound
        || is_of_a_network
        || hosts
            .iter()
            .any(|known| known == ANY || known.eq_ignore_ascii_case(&name))
}

/// The names that this machine calls itself by: what it was named, that without its domain, and as mDNS announces it.
pub(crate) fn own_names() -> Vec<String> {
    let system = rustix::system::uname();
    let full = system.nodename().to_string_lossy().to_ascii_lowercase();
    let label = full.split('.').next().unwrap_or_default().to_owned();
    if label.is_empty() {
        return Vec::new();
    }
    vec![format!("{label}.local"), label, full]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_that_are_local_or_listed_are_known_and_nothing_else_is() {
        for good in [
            "127.0.0.1:8890",
            "127.0.0.1",
            "[::1]:8890",
            "[fe80::1%25eth0]:8890",
            "localhost:1",
            "LOCALHOST",
            "box.localhost:8890",
            "Live.Example:443",
            "localhost.",
            "live.example.:8890",
            "box.home.arpa",
            "box.Internal:8890",
        ] {
            assert!(is_known(&["live.example".to_owned()], good), "{good}");
        }
        for bad in [
            "evil.example:8890",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "evil",
            "evil:8890",
            "evil.local:8890",
            "evil.lan",
            "internal",
            "evilinternal",
            "home.arpa.evil",
            "evil..",
            "[localhost]",
            "",
            "[evil]",
        ] {
            assert!(!is_known(&["live.example".to_owned()], bad), "{bad}");
            assert!(is_known(&["*".to_owned()], bad), "{bad}");
        }
    }

    #[test]
    fn machine_is_known_by_its_own_name() {
        let own = own_names();
        assert!(
            own.iter().any(|name| is_known(&own, &format!("{name}:8890"))),
            "{own:?}"
        );
        assert!(own.is_empty() || own[0].ends_with(".local"));
    }
}
