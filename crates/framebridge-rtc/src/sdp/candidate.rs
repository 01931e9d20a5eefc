//! `a=candidate` (RFC 8839 section 5.1).

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

/// A candidate of component 1 with an address: of others by UDP, of ours also by TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Where.
    pub address: SocketAddr,
    /// How much its owner likes it.
    pub priority: u32,
    /// How its owner came by it.
    pub kind: CandidateKind,
    /// Whether its owner waits there for connections (RFC 6544), and not for datagrams.
    is_tcp: bool,
}

/// How an address is its owner's (RFC 8445, section 5.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CandidateKind {
    /// It is its machine's own.
    Host,
    /// As which a STUN server sees it, behind a NAT.
    ServerReflexive,
    /// As which the other end sees it, and nobody had named it.
    PeerReflexive,
    /// A relay's, which passes on what comes.
    Relayed,
}

impl CandidateKind {
    /// Its name in SDP.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::ServerReflexive => "srflx",
            Self::PeerReflexive => "prflx",
            Self::Relayed => "relay",
        }
    }

    /// Reads a name of SDP. One that is not known is as good as none.
    fn named(name: &str) -> Self {
        let known = [Self::Host, Self::ServerReflexive, Self::Relayed];
        let found = known.into_iter().find(|kind| kind.as_str() == name);
        found.unwrap_or(Self::PeerReflexive)
    }
}

/// The line is no candidate that we could use: TCP, another component, a `.local` name, or not a candidate at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a usable candidate")]
pub struct UnusableCandidate;

impl Candidate {
    /// Our `number`th host candidate: type preference 126, and earlier ones are liked better.
    pub(crate) fn host(address: SocketAddr, number: usize) -> Self {
        let local_preference = u32::from(u16::MAX.saturating_sub(u16::try_from(number).unwrap_or(u16::MAX)));
        Self {
            address,
            priority: (126 << 24) | (local_preference << 8) | 255,
            kind: CandidateKind::Host,
            is_tcp: false,
        }
    }

    /// Where we wait for connections: liked less than any way by UDP, type preference 90 as browsers have it, direction
    /// preference 4 (RFC 6544 section 4.2).
    pub(crate) fn tcp(address: SocketAddr, number: usize) -> Self {
        const MOST: u16 = (1 << 13) - 1;
        let other = u32::from(MOST.saturating_sub(u16::try_from(number).unwrap_or(MOST)));
        Self {
            address,
            priority: (90 << 24) | ((4 << 13 | other) << 8) | 255,
            kind: CandidateKind::Host,
            is_tcp: true,
        }
    }

    /// One as which others see us: type preference 100.
    pub(crate) fn reflexive(address: SocketAddr) -> Self {
        Self {
            address,
            priority: (100 << 24) | (65_535 << 8) | 255,
            kind: CandidateKind::ServerReflexive,
            is_tcp: false,
        }
    }

    /// Where the owner of a line waits for connections (RFC 6544, section 4.5); `None`: the line is not of that.
    pub(crate) fn listener(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace().skip_while(|word| *word != "tcptype");
        let waits = words.nth(1) == Some("passive");
        Self::read(line, "tcp").ok().filter(|_| waits)
    }

    /// Reads a line of ICE user `user`'s: one that names another (`ufrag`, RFC 8839 section 5.1's extensions) is none.
    pub(crate) fn of_user(line: &str, user: &str) -> Option<Self> {
        let mut words = line.split_whitespace().skip_while(|word| *word != "ufrag");
        let named = words.nth(1);
        line.parse()
            .ok()
            .filter(|_: &Self| named.is_none_or(|named| named == user))
    }
}

/// Reads the value of the attribute, from the foundation on, with or without `candidate:` in front.
impl FromStr for Candidate {
    type Err = UnusableCandidate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::read(text, "udp")
    }
}

impl Candidate {
    /// Reads one of this transport.
    fn read(text: &str, transport: &str) -> Result<Self, UnusableCandidate> {
        let text = text.strip_prefix("candidate:").unwrap_or(text);
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [_, "1", by, priority, ip, port, "typ", kind, ..] = fields[..] else {
            return Err(UnusableCandidate);
        };
        if !by.eq_ignore_ascii_case(transport) {
            return Err(UnusableCandidate);
        }
        let ip = ip.parse().map_err(|_| UnusableCandidate)?;
        let port: u16 = port.parse().map_err(|_| UnusableCandidate)?;
        if port == 0 {
            return Err(UnusableCandidate);
        }
        Ok(Self {
            address: SocketAddr::new(ip, port),
            priority: priority.parse().map_err(|_| UnusableCandidate)?,
            kind: CandidateKind::named(kind),
            is_tcp: transport == "tcp",
        })
    }
}

/// Writes a host candidate, or one as which others see us, without its base (RFC 8839, section 5.1); foundations tell
/// addresses apart.
impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (priority, ip, port) = (self.priority, self.address.ip(), self.address.port());
        let base = match (self.kind, ip) {
            (CandidateKind::Host, _) => "",
            (_, IpAddr::V4(_)) => " raddr 0.0.0.0 rport 9",
            (_, IpAddr::V6(_)) => " raddr :: rport 9",
        };
        let (transport, waits) = if self.is_tcp {
            ("tcp", " tcptype passive")
        } else {
            ("udp", "")
        };
        let kind = self.kind.as_str();
        write!(
            f,
            "{priority} 1 {transport} {priority} {ip} {port} typ {kind}{base}{waits}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usable_candidates_are_udp_with_an_address() {
        let candidate: Candidate = "candidate:1 1 UDP 2122 192.0.2.1 5000 typ srflx raddr 0.0.0.0 rport 0 generation 0"
            .parse()
            .unwrap();
        assert_eq!(
            candidate,
            Candidate {
                address: "192.0.2.1:5000".parse().unwrap(),
                priority: 2122,
                kind: CandidateKind::ServerReflexive,
                is_tcp: false,
            }
        );
        assert!("1 1 udp 5 2001:db8::1 5000 typ host".parse::<Candidate>().is_ok());
        for bad in [
            "",
            "1 1 tcp 5 192.0.2.1 9 typ host tcptype active",
            "1 2 udp 5 192.0.2.1 5000 typ host",
            "1 1 udp 5 0c7e.local 5000 typ host",
            "1 1 udp 5 192.0.2.1 0 typ host",
            "1 1 udp 5 192.0.2.1 5000",
        ] {
            assert_eq!(bad.parse::<Candidate>(), Err(UnusableCandidate), "{bad}");
        }
    }

    #[test]
    fn connections_are_waited_for_where_a_passive_candidate_says() {
        let passive = "candidate:3 1 TCP 1015022847 192.0.2.5 7881 typ host tcptype passive generation 0";
        let listener = |line: &str| Candidate::listener(line).map(|listener| listener.address);
        assert_eq!(listener(passive), Some("192.0.2.5:7881".parse().unwrap()));
        let ours = Candidate::tcp("[2001:db8::1]:8890".parse().unwrap(), 0);
        assert_eq!(listener(&ours.to_string()), Some(ours.address));
        for bad in [
            "3 1 tcp 5 192.0.2.5 9 typ host tcptype active",
            "3 1 tcp 5 192.0.2.5 7881 typ host",
            "3 2 tcp 5 192.0.2.5 7881 typ host tcptype passive",
            "3 1 udp 5 192.0.2.5 7881 typ host tcptype passive",
        ] {
            assert_eq!(listener(bad), None, "{bad}");
        }
    }

    #[test]
    fn reflexive_candidates_are_said_to_be_so_and_liked_less_than_any_host() {
        let seen = Candidate::reflexive("203.0.113.9:8897".parse().unwrap());
        let text = seen.to_string();
        assert!(
            text.ends_with("203.0.113.9 8897 typ srflx raddr 0.0.0.0 rport 9"),
            "{text}"
        );
        assert!(seen.priority < Candidate::host(seen.address, usize::MAX).priority);
    }

    #[test]
    fn kind_is_what_the_line_says() {
        for (kind, known) in [
            ("host", CandidateKind::Host),
            ("srflx", CandidateKind::ServerReflexive),
            ("prflx", CandidateKind::PeerReflexive),
            ("relay", CandidateKind::Relayed),
            ("other", CandidateKind::PeerReflexive),
        ] {
            let line = format!("1 1 udp 5 192.0.2.1 5000 typ {kind} raddr 0.0.0.0 rport 9");
            assert_eq!(line.parse::<Candidate>().unwrap().kind, known);
        }
    }

    #[test]
    fn tcp_candidates_are_liked_less_than_any_other_way() {
        let first = Candidate::tcp("203.0.113.9:8890".parse().unwrap(), 0);
        let text = first.to_string();
        assert!(
            text.contains(" tcp ") && text.ends_with("203.0.113.9 8890 typ host tcptype passive"),
            "{text}"
        );
        assert!(first.priority > Candidate::tcp(first.address, 1).priority);
        assert!(first.priority < Candidate::reflexive(first.address).priority);
    }

    #[test]
    fn host_candidates_survive_text() {
        let candidate = Candidate::host("[::1]:8897".parse().unwrap(), 3);
        assert_eq!(candidate.to_string().parse(), Ok(candidate));
    }
}
