//! Addresses to listen on, as people write them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

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
            ("localhost:99999", "`127.0.0.1:8890`"),
            ("", "`127.0.0.1:8890`"),
        ] {
            let said = listen_address(text).expect_err(text);
            assert!(said.contains(example), "{said}");
        }
    }
}
