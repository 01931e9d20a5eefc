//! How others reach what listens here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The address to open for what listens on `address`: on all addresses, it is the one that others reach.
pub fn url(scheme: &str, address: SocketAddr) -> String {
    let ip = outward(address.ip()).unwrap_or(address.ip());
    format!("{scheme}://{}", SocketAddr::new(ip, address.port()))
}

/// Where this machine itself reaches what listens on `address`: a listener on all addresses, at loopback.
pub fn local(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The address from which this machine would send elsewhere, where `any` stands for all. Nothing is sent: 192.0.2.1 and 2001:db8::1
/// are nobody's (RFC 5737, RFC 3849).
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
        let address = |text: &str| text.parse().expect("an address");
        assert_eq!(url("https", address("192.0.2.7:8890")), "https://192.0.2.7:8890");
        assert!(url("http", address("0.0.0.0:8890")).ends_with(":8890"));
        for (listens, reached) in [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "[::1]:1"),
            ("192.0.2.7:1", "192.0.2.7:1"),
        ] {
            assert_eq!(local(address(listens)), address(reached));
        }
    }
}
