//! A place that media can be sent to, as operators write it: an address or a name, with a port or without.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

/// Where viewers may send to, besides this machine's own addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Whose.
    pub host: Host,
    /// The port there; `None`: the same as here.
    pub port: Option<u16>,
}

/// An address, or a name of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// An address.
    Address(IpAddr),
    /// A name that is resolved again and again.
    Name(String),
}

/// The text is no [`Place`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "use an address or a name, with a port or without, e.g. 203.0.113.7, 203.0.113.7:40000, [2001:db8::1]:40000 or cam.example.org"
)]
pub struct NoPlace;

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(ip) = text.parse() {
            return Ok(Self {
                host: Host::Address(ip),
                port: None,
            });
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            let port = Some(address.port()).filter(|port| *port != 0).ok_or(NoPlace)?;
            return Ok(Self {
                host: Host::Address(address.ip()),
                port: Some(port),
            });
        }
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, Some(port.parse().ok().filter(|port| *port != 0).ok_or(NoPlace)?)),
            None => (text, None),
        };
        if !is_name(name) {
            return Err(NoPlace);
        }
        Ok(Self {
            host: Host::Name(name.to_owned()),
            port,
        })
    }
}

/// Whether it can be a host's name; digits and dots alone are a mistyped address.
fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(allowed)
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    name.len() <= 253 && name.split('.').all(is_label) && name.bytes().any(|byte| byte.is_ascii_alphabetic())
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.port) {
            (Host::Address(ip), Some(port)) => write!(f, "{}", SocketAddr::new(*ip, port)),
            (Host::Address(ip), None) => write!(f, "{ip}"),
            (Host::Name(name), Some(port)) => write!(f, "{name}:{port}"),
            (Host::Name(name), None) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_places_with_a_port_or_without() {
        for good in [
            "203.0.113.7",
            "203.0.113.7:40000",
            "2001:db8::1",
            "[2001:db8::1]:40000",
            "cam.example.org",
            "cam.example.org:40000",
            "box",
        ] {
            let place: Place = good.parse().unwrap();
            assert_eq!(place.to_string(), good);
        }
        for bad in [
            "",
            "203.0.113",
            "203.0.113.7:0",
            "203.0.113.7:70000",
            "cam.example.org:",
            "cam.example.org:0",
            "http://cam.example.org",
            "cam..org",
            "cam example",
            "[::1",
        ] {
            assert_eq!(bad.parse::<Place>(), Err(NoPlace), "{bad}");
        }
    }
}
