//! Addresses to listen on, as people write them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Reads where to listen: `127.0.0.1:8890`, `[::1]:8890`, `localhost:8890`; `:8890` and `*:8890` are all IPv4 addresses.
///
/// # Errors
/// It is something else; the text has an example to type instead.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let port_of = |port: &str| port.parse::<u16>().ok();
    if let Some((host, port)) = text
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port_of(port)?)))
    {
        match host {
            "" | "*" => return Ok((Ipv4Addr::UNSPECIFIED, port).into()),
            _ if host.eq_ignore_ascii_case("localhost") => return Ok((Ipv4Addr::LOCALHOST, port).into()),
            _ => {}
        }
    }
    Err(format!("`{text}` {}", what_instead(text)))
}

fn what_instead(text: &str) -> String {
    if let Ok(port) = text.parse::<u16>() {
        return format!(
            "is a port without an address: write `127.0.0.1:{port}` for this machine alone, or `0.0.0.0:{port}` for all that reach it"
        );
    }
    if let Some((address, port)) = unbracketed(text) {
        return format!(
            "has no brackets around its address, whose end its port may be: write `[{address}]:{port}`, or `[{text}]:{PORT}`"
        );
    }
    if text.contains('%') {
        return format!("has a zone by name: write its number, which `ip link` shows, e.g. `[fe80::1%2]:{PORT}`");
    }
    if let Some((host, port)) = text.rsplit_once(':')
        && !port.is_empty()
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_err()
    {
        let host = if host.is_empty() || host.contains("//") {
            "127.0.0.1"
        } else {
            host
        };
        let host = match host.parse::<Ipv6Addr>() {
            Ok(address) => format!("[{address}]"),
            Err(_) => host.to_owned(),
        };
        return format!("has {port} as its port: the highest is 65535, and e.g. `{host}:{PORT}` would do");
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return format!("is an address without a port: write `{}`", SocketAddr::new(ip, PORT));
    }
    if text.eq_ignore_ascii_case("localhost") {
        return format!("has no port: write `localhost:{PORT}`");
    }
    if let Some((_, rest)) = text.split_once("://") {
        let authority = rest.split('/').next().unwrap_or_default();
        return match listen_address(authority) {
            Ok(_) => format!("has a scheme or a path: write `{authority}`"),
            Err(_) => format!("is a URL: write an address and a port, e.g. `127.0.0.1:{PORT}`"),
        };
    }
    format!(
        "is no address and port of this machine: write e.g. `127.0.0.1:{PORT}` for this machine alone, or `0.0.0.0:{PORT}` for all \
         that reach it; names that it is called by go into `http.hosts`"
    )
}

/// What may be the address and the port of `::1:8890`, which by itself is an address.
fn unbracketed(text: &str) -> Option<(Ipv6Addr, u16)> {
    text.parse::<Ipv6Addr>().ok()?;
    let (address, port) = text.rsplit_once(':')?;
    let address = if address == ":" { "::" } else { address };
    // Shorter ones are parts of addresses more often than ports.
    let port = Some(port).filter(|port| port.len() >= 4)?.parse().ok()?;
    Some((address.parse().ok()?, port))
}

/// For examples: the port of a box.
const PORT: u16 = 8890;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_work_as_people_write_them() {
        for (text, address) in [
            ("127.0.0.1:8890", "127.0.0.1:8890"),
            (" 127.0.0.1:1 ", "127.0.0.1:1"),
            ("[::1]:2", "[::1]:2"),
            ("localhost:8890", "127.0.0.1:8890"),
            ("LOCALHOST:1", "127.0.0.1:1"),
            (":8890", "0.0.0.0:8890"),
            ("*:8890", "0.0.0.0:8890"),
        ] {
            assert_eq!(
                listen_address(text).map(|found| found.to_string()),
                Ok(address.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_does_not_work_is_answered_with_what_to_write() {
        for (text, example) in [
            ("8890", "`127.0.0.1:8890`"),
            ("0.0.0.0", "`0.0.0.0:8890`"),
            ("::1", "`[::1]:8890`"),
            ("[::]", "`[::]:8890`"),
            ("localhost", "`localhost:8890`"),
            ("http://0.0.0.0:8890/", "`0.0.0.0:8890`"),
            ("https://cam.example", "`127.0.0.1:8890`"),
            ("cam.example:8890", "`127.0.0.1:8890`"),
            ("localhost:99999", "65535, and e.g. `localhost:8890`"),
            ("127.0.0.1:65536", "`127.0.0.1:8890`"),
            ("::1:8890", "`[::1]:8890`, or `[::1:8890]:8890`"),
            ("::8890", "`[::]:8890`"),
            ("::1:99999", "`[::1]:8890`"),
            ("fe80::1", "`[fe80::1]:8890`"),
            ("[fe80::1%eth0]:8890", "`[fe80::1%2]:8890`"),
            ("unix:/run/x.sock", "`127.0.0.1:8890`"),
            ("", "`127.0.0.1:8890`"),
        ] {
            let said = listen_address(text).expect_err(text);
            assert!(said.contains(example), "{said}");
        }
    }
}
