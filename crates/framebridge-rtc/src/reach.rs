//! Limits where an offer can make us send, and how much: anybody can name an address that is not theirs.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, Instant},
};

/// The time between two checks that nobody has asked for, of all viewers of a worker (RFC 8445 section 14: Ta is the
/// agent's, not a session's; 50 ms if nothing better is known). What a worker so sends is below 140 kb/s.
const PACE: Duration = Duration::from_millis(20);
/// Checks that may go out at once after a quiet time: a browser offers some ten addresses.
const BURST: u32 = 10;

/// Restarts of ICE that one session may have in a row, ...
const MAX_RESTARTS: u32 = 20;
/// ... at most one in so long, for a page waits seconds before it tries again, ...
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// ... and how long it waits for one more when they are used up. Where a viewer was content for so long, it has earned one.
const RESTART_EARNED: Duration = Duration::from_secs(60);

/// Ports below this are services'. An operating system gives a viewer none of them, and a NAT keeps to that (RFC 4787
/// REQ-3 a).
const FIRST_USER_PORT: u16 = 1024;
/// Services above it that answer a stranger's datagram, often with more than they got.
const SERVICES: [u16; 14] = [
    1434,  // SQL Server browser
    1645,  // RADIUS
    1646,  // RADIUS
    1701,  // L2TP
    1812,  // RADIUS
    1813,  // RADIUS
    1900,  // SSDP
    3702,  // WS-Discovery
    4500,  // IKE
    5060,  // SIP
    5353,  // mDNS
    5355,  // LLMNR
    5683,  // CoAP
    11211, // memcached
];

/// Whether a viewer can be reached at an address that was claimed for it. Loopback is none of these: a viewer on this
/// machine is found where its own checks come from.
pub(crate) fn is_a_viewers(claimed: &SocketAddr) -> bool {
    is_unicast(claimed.ip()) && claimed.port() >= FIRST_USER_PORT && !SERVICES.contains(&claimed.port())
}

/// Whether a receiver that an operator has named can be reached at an address that it names itself. It may be on this machine, and
/// on any port: 443 is one that firewalls let through.
pub(crate) fn is_a_receivers(named: &SocketAddr) -> bool {
    is_unicast(named.ip()) || named.ip().is_loopback()
}

/// Whether a connection may be made to where a receiver says that it waits for one. This machine and its own network are for those who
/// are there themselves (`from`: who has answered): anybody else would have us knock at doors that are shut to it.
pub(crate) fn may_wait_at(listener: &SocketAddr, from: IpAddr) -> bool {
    is_a_receivers(listener) && (is_near(from) || !is_near(listener.ip()))
}

/// Whether an address is this machine's loopback, or of a network that the Internet has no way to.
fn is_near(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            let is_carriers = first == 100 && second & 0xc0 == 64;
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || is_carriers
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

fn is_unicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_unicast_v4(ip),
        IpAddr::V6(ip) => is_unicast_v6(ip),
    }
}

fn is_unicast_v4(ip: Ipv4Addr) -> bool {
    // 0.0.0.0/8 is this network, 240.0.0.0/4 is reserved, and its last address is everybody.
    let (first, is_service) = (ip.octets()[0], ip.octets()[..3] == [192, 0, 0]);
    let is_special = ip.is_loopback() || ip.is_link_local() || ip.is_documentation() || ip.is_multicast();
    first != 0 && first < 240 && !is_special && !is_service
}

fn is_unicast_v6(ip: Ipv6Addr) -> bool {
    let segments = ip.segments();
    // Addresses that stand for IPv4 ones (::/96, ::ffff:0:0/96, 64:ff9b::/96) would lead around the rules for those.
    let is_v4 = segments[..5] == [0; 5] || segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
    let is_documentation = segments[..2] == [0x2001, 0xdb8] || (segments[0] == 0x3fff && segments[1] < 0x1000);
    let is_local = ip.is_unicast_link_local() || segments[0] & 0xffc0 == 0xfec0;
    !(is_v4 || is_documentation || is_local || ip.is_multicast())
}

/// Paces a worker's checks to addresses from which nothing has been asked.
#[derive(Debug, Clone, Copy)]
pub struct Pacer {
    /// When the burst is whole again.
    whole: Instant,
}

impl Pacer {
    /// A pacer that has been quiet.
    pub fn new(now: Instant) -> Self {
        Self { whole: now }
    }

    /// When the next check may go.
    pub(crate) fn next(&self) -> Instant {
        let earlier = PACE * (BURST - 1);
        self.whole.checked_sub(earlier).unwrap_or(self.whole)
    }

    /// Whether a check may go now; if so it counts as gone.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let may = self.next() <= now;
        if may {
            self.whole = self.whole.max(now) + PACE;
        }
        may
    }
}

/// How often one session may restart ICE: a viewer that moves between networks does it now and then, and each time we send
/// checks wherever it says.
#[derive(Debug)]
pub(crate) struct Restarts {
    left: u32,
    since: Option<Instant>,
}

impl Default for Restarts {
    fn default() -> Self {
        Self {
            left: MAX_RESTARTS,
            since: None,
        }
    }
}

impl Restarts {
    /// Takes one.
    ///
    /// # Errors
    /// There is none to be had now; in this time there is.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        if let Some(since) = &mut self.since {
            let waited = now.saturating_duration_since(*since);
            let intervals = waited.as_secs() / RESTART_EARNED.as_secs();
            let earned = u32::try_from(intervals).unwrap_or(MAX_RESTARTS).min(MAX_RESTARTS);
            self.left = (self.left + earned).min(MAX_RESTARTS);
            let pause = if self.left == 0 { RESTART_EARNED } else { RESTART_PAUSE };
            if waited < pause {
                return Err(pause - waited);
            }
        }
        self.left -= 1;
        self.since = Some(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_ports_that_no_viewer_has_are_none() {
        let port = |port: u16| format!("192.168.1.7:{port}");
        let viewers = [
            "192.168.1.7:50000",
            "10.0.0.1:1024",
            "172.16.0.9:65535",
            "100.64.0.1:40000",
            "8.8.8.8:3478",
            "[2a00::7]:50000",
            "[fd12:3456::7]:50000",
        ];
        for viewer in viewers {
            assert!(is_a_viewers(&viewer.parse().unwrap()), "{viewer}");
        }
        let hosts = [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "192.0.0.1",
            "192.0.2.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.251",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::1]",
            "[::7f00:1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:192.168.1.7]",
            "[64:ff9b::7f00:1]",
            "[fe80::1]",
            "[fec0::1]",
            "[ff02::1]",
            "[ff02::fb]",
            "[2001:db8::1]",
            "[3fff::1]",
        ];
        let ports = [
            0, 9, 53, 69, 80, 111, 123, 137, 161, 389, 443, 500, 514, 1023, 1434, 1900, 3702, 5060, 5353, 5683, 11211,
        ];
        let strangers = hosts.map(|host| format!("{host}:50000"));
        for stranger in strangers.into_iter().chain(ports.map(port)) {
            assert!(!is_a_viewers(&stranger.parse().unwrap()), "{stranger}");
        }
    }

    #[test]
    fn restarts_are_rare_and_a_long_session_still_has_some() {
        let start = Instant::now();
        let mut restarts = Restarts::default();
        let taken = |restarts: &mut Restarts, from: u64, to: u64| {
            let steps = from * 10..to * 10;
            let taken = steps.filter(|step| restarts.take(start + Duration::from_millis(step * 100)).is_ok());
            taken.count()
        };
        assert_eq!(taken(&mut restarts, 0, 10), 10, "one a second");
        assert_eq!(taken(&mut restarts, 10, 60), 10, "twenty in all");
        assert_eq!(
            restarts.take(start + Duration::from_secs(60)),
            Err(Duration::from_secs(19))
        );
        assert_eq!(taken(&mut restarts, 60, 360), 5, "then one a minute");
        assert!((1..100).all(|hour| restarts.take(start + Duration::from_secs(3600 * hour)).is_ok()));
    }

    #[test]
    fn checks_are_paced_after_a_burst() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start);
        let mut sent = Vec::new();
        for step in 0..10_000 {
            let now = start + Duration::from_micros(step * 100);
            while pacer.take(now) {
                sent.push(now - start);
            }
            assert!(pacer.next() > now);
        }
        let burst = sent.iter().filter(|at| at.is_zero()).count();
        assert_eq!(burst, 10);
        assert!(
            (58..=60).contains(&sent.len()),
            "a second's, and the burst: {}",
            sent.len()
        );
        assert!(sent[burst..].windows(2).all(|two| two[1] - two[0] >= PACE));
    }
}
