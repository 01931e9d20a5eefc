//! Where a request comes from, through proxies that are trusted.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// The most addresses of `X-Forwarded-For` that are looked at, from the right.
const MOST_HOPS: usize = 32;

/// A block of addresses, e.g. `10.0.0.0/8`; a single address is a block of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    length: u8,
}

/// A block that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no block of addresses: use e.g. 10.0.0.0/8, fd00::/8 or 192.0.2.7")]
pub struct InvalidCidr(String);

impl Cidr {
    /// Whether `address` is in it; an IPv4 address that IPv6 carries counts as IPv4.
    pub fn has(&self, address: IpAddr) -> bool {
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.length)).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.length)).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for Cidr {
    type Err = InvalidCidr;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidCidr(text.to_owned());
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u8>().map_err(|_| invalid())?)),
            None => (text, None),
        };
        let network: IpAddr = address.parse().map_err(|_| invalid())?;
        let longest = if network.is_ipv4() { 32 } else { 128 };
        let length = length.unwrap_or(longest);
        if length > longest {
            return Err(invalid());
        }
        Ok(Self { network, length })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.length)
    }
}

/// Who asks: the TCP peer, or if that is a trusted proxy, the rightmost address of `forwarded` (the values of
/// `X-Forwarded-For`, in order) that is none. What stands left of it anybody may have written.
pub fn client_address<'a>(
    peer: IpAddr,
    forwarded: impl DoubleEndedIterator<Item = &'a str>,
    trusted: &[Cidr],
) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|block| block.has(address));
    let mut client = peer.to_canonical();
    let hops = forwarded.rev().flat_map(|value| value.rsplit(',')).map(str::trim);
    for hop in hops.take(MOST_HOPS) {
        if !is_trusted(client) {
            break;
        }
        // What is no address came from nowhere that we know: the proxy before it is the last that is sure.
        let Some(address) = address_of(hop) else { break };
        client = address.to_canonical();
    }
    client
}

/// An address with or without a port, as proxies write it.
fn address_of(hop: &str) -> Option<IpAddr> {
    let bare = hop.parse().ok();
    bare.or_else(|| Some(hop.parse::<std::net::SocketAddr>().ok()?.ip()))
        .or_else(|| hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
}

/// What stands for a client in a limit per address: itself, and of IPv6 the /64 that one subscriber has.
pub fn rate_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => Ipv4Addr::into(address),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn trusted() -> [Cidr; 2] {
        ["10.0.0.0/8", "fd00::/8"].map(|block| block.parse().expect("a block"))
    }

    proptest! {
        #[test]
        fn block_has_what_begins_like_it_and_nothing_else(network: u32, other: u32, length in 0_u8..=32) {
            let block: Cidr = format!("{}/{length}", Ipv4Addr::from_bits(network)).parse().expect("a block");
            let same = u64::from(network ^ other) >> (32 - length) == 0;
            prop_assert_eq!(block.has(Ipv4Addr::from_bits(other).into()), same);
        }

        #[test]
        fn peer_that_is_no_proxy_is_taken_at_its_word_for_nothing(header in ".{0,60}") {
            let client = client_address(ip("192.0.2.1"), [header.as_str()].into_iter(), &trusted());
            prop_assert_eq!(client, ip("192.0.2.1"));
        }

        #[test]
        fn what_a_stranger_puts_to_the_left_changes_nothing(forged in ".{0,60}") {
            let header = format!("{forged},198.51.100.7, 10.0.0.2");
            let client = client_address(ip("10.0.0.1"), [header.as_str()].into_iter(), &trusted());
            prop_assert_eq!(client, ip("198.51.100.7"));
        }
    }

    #[test]
    fn client_is_the_rightmost_address_that_is_no_proxy() {
        for (peer, headers, client) in [
            ("10.0.0.1", &[][..], "10.0.0.1"),
            ("10.0.0.1", &["192.0.2.9"][..], "192.0.2.9"),
            ("10.0.0.1", &["1.1.1.1", "192.0.2.9"][..], "192.0.2.9"),
            ("10.0.0.1", &["192.0.2.9:4711"][..], "192.0.2.9"),
            ("10.0.0.1", &["[2001:db8::1]:4711"][..], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]"][..], "2001:db8::1"),
            ("10.0.0.1", &["1.1.1.1, unknown"][..], "10.0.0.1"),
            ("10.0.0.1", &["10.9.9.9, 10.0.0.3"][..], "10.9.9.9"),
            ("::ffff:10.0.0.1", &["192.0.2.9"][..], "192.0.2.9"),
            ("fd00::1", &["192.0.2.9"][..], "192.0.2.9"),
        ] {
            let found = client_address(ip(peer), headers.iter().copied(), &trusted());
            assert_eq!(found, ip(client), "{peer} {headers:?}");
        }
    }

    #[test]
    fn blocks_that_make_no_sense_are_refused() {
        for bad in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10/8",
            "host/8",
            "10.0.0.0/",
            "10.0.0.0/-1",
        ] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
        for (good, shown) in [("192.0.2.7", "192.0.2.7/32"), ("::/0", "::/0")] {
            assert_eq!(good.parse::<Cidr>().expect("a block").to_string(), shown);
        }
    }

    #[test]
    fn limit_counts_a_subscriber_once() {
        assert_eq!(rate_key(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
        assert_eq!(rate_key(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
    }
}
