//! URLs of STUN and TURN servers (RFC 7064, RFC 7065), as far as browsers take them: with one that they do not, a page does not connect
//! at all.

use std::net::Ipv6Addr;

use crate::place::{Host, Place};

/// The text is no URL of a server that a browser can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("use e.g. stun:host:3478, turn:host:3478?transport=tcp or turns:host:5349: {0}")]
pub struct NoIceUrl(&'static str);

/// Takes a URL of a STUN or TURN server as it is.
///
/// # Errors
/// Browsers would not take it.
pub fn ice_url(url: &str) -> Result<String, NoIceUrl> {
    let scheme = url.split_once(':').filter(|(scheme, _)| is_scheme(scheme));
    let (scheme, rest) = scheme.ok_or(NoIceUrl("it begins with none of stun:, stuns:, turn: and turns:"))?;
    let (place, query) = match rest.split_once('?') {
        Some((place, query)) => (place, Some(query)),
        None => (rest, None),
    };
    if place.starts_with("//") {
        return Err(NoIceUrl("there are no slashes after its scheme"));
    }
    if !is_place(place) {
        return Err(NoIceUrl("its host or port is none"));
    }
    match query {
        None => {}
        Some(_) if scheme.starts_with("stun") => return Err(NoIceUrl("a STUN server is asked by one transport only")),
        Some("transport=tcp") => {}
        Some("transport=udp") if scheme == "turn" => {}
        Some("transport=udp") => return Err(NoIceUrl("browsers have no TURN by DTLS: leave out transport=udp")),
        Some(_) => {
            return Err(NoIceUrl(
                "after `?` comes transport=udp or transport=tcp, and nothing else",
            ));
        }
    }
    Ok(url.to_owned())
}

fn is_scheme(scheme: &str) -> bool {
    ["stun", "stuns", "turn", "turns"].contains(&scheme)
}

/// A name or an address, that of IPv6 in brackets, with a port or without.
fn is_place(text: &str) -> bool {
    if let Some(ip) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return ip.parse::<Ipv6Addr>().is_ok();
    }
    let place = text.parse::<Place>();
    // Without brackets its colons would be taken for a port's.
    place.is_ok_and(|place| text.starts_with('[') || !matches!(place.host, Host::Address(ip) if ip.is_ipv6()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_browsers_take_is_taken_and_nothing_else() {
        for good in [
            "stun:stun.example.org",
            "stuns:stun.example.org:5349",
            "turn:turn.example.org",
            "turn:192.0.2.7:3478?transport=udp",
            "turn:turn.example.org:80?transport=tcp",
            "turns:[2001:db8::7]:443?transport=tcp",
            "turns:[2001:db8::7]",
        ] {
            assert_eq!(ice_url(good).as_deref(), Ok(good));
        }
        for (bad, why) in [
            ("turn.example.org:3478", "begins with none"),
            ("https://turn.example.org", "begins with none"),
            ("turn://turn.example.org", "no slashes"),
            ("turn:", "host or port"),
            ("turn:host:", "host or port"),
            ("turn:host:0", "host or port"),
            ("turn:host:99999", "host or port"),
            ("turn:a host", "host or port"),
            ("turn:2001:db8::7", "host or port"),
            ("turn:user@host", "host or port"),
            ("turn:host\"; rel=\"x", "host or port"),
            ("stun:host?transport=udp", "one transport only"),
            ("turns:host?transport=udp", "DTLS"),
            ("turn:host?transport=tls", "nothing else"),
            ("turn:host?transport=tcp&x=y", "nothing else"),
        ] {
            let error = ice_url(bad).unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}
