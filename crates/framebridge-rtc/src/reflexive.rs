//! As which address the sockets are seen from outside: what STUN servers say (RFC 8489), asked from the very sockets that media
//! comes to, so that a NAT keeps that way open.
//!
//! Pure: questions come out, answers go in.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::stun::{self, Kind, Stun, Transaction};

/// Questions remembered: those of one round, to eight servers from two sockets. Full: the oldest is forgotten, and its answer is
/// not heard.
const MOST_ASKED: usize = 16;
/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(5);
/// What was heard holds for so long: three rounds. A NAT forgets its mapping, too.
const HOLDS: Duration = Duration::from_secs(80);

/// What is known of the sockets' addresses from outside.
#[derive(Debug, Default)]
pub(crate) struct Reflexive {
    asked: VecDeque<(Transaction, SocketAddr, Instant)>,
    /// Which server said what, and when.
    heard: Vec<(SocketAddr, SocketAddr, Instant)>,
}

/// What an answer has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// Nothing.
    None,
    /// We are seen there.
    SeenAt(SocketAddr),
    /// Each server sees us somewhere else: nobody whom we have not asked gets through to any of these.
    Scattered(SocketAddr, SocketAddr),
}

impl Reflexive {
    /// What to ask `server`.
    pub(crate) fn ask(&mut self, server: SocketAddr, now: Instant) -> Vec<u8> {
        let (transaction, question) = stun::question();
        if self.asked.len() == MOST_ASKED {
            self.asked.pop_front();
        }
        self.asked.push_back((transaction, server, now));
        question
    }

    /// Whether somebody is asked there.
    pub(crate) fn is_asked(&self, from: SocketAddr) -> bool {
        self.asked.iter().any(|(_, server, _)| *server == from)
    }

    /// Takes what may be an answer.
    pub(crate) fn hear(&mut self, message: &Stun, from: SocketAddr, now: Instant) -> News {
        let is_answered = |(transaction, server, asked): &(Transaction, SocketAddr, Instant)| {
            *transaction == message.transaction()
                && *server == from
                && now.saturating_duration_since(*asked) <= PATIENCE
        };
        let Some(at) = self.asked.iter().position(is_answered) else {
            return News::None;
        };
        self.asked.remove(at);
        let mapped = message
            .mapped_address()
            .filter(|_| message.kind() == Some(Kind::Success));
        let Some(mapped) = mapped else { return News::None };
        let before = self.addresses(now);
        self.heard
            .retain(|(server, _, at)| *server != from && is_fresh(*at, now));
        let is_scattered = |other: &SocketAddr| other.is_ipv4() == mapped.is_ipv4() && other.port() != mapped.port();
        let scattered = self.heard.iter().map(|(_, other, _)| *other).find(is_scattered);
        self.heard.push((from, mapped, now));
        match scattered {
            Some(other) if before.contains(&other) => News::Scattered(other, mapped),
            Some(_) => News::None,
            None if before.contains(&mapped) => News::None,
            None => News::SeenAt(mapped),
        }
    }

    /// Where others see us: each address once, and none of a family in which servers do not agree.
    pub(crate) fn addresses(&self, now: Instant) -> Vec<SocketAddr> {
        let fresh: Vec<SocketAddr> = self
            .heard
            .iter()
            .filter(|(_, _, at)| is_fresh(*at, now))
            .map(|(_, mapped, _)| *mapped)
            .collect();
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for mapped in &fresh {
            let is_scattered = fresh
                .iter()
                .any(|other| other.is_ipv4() == mapped.is_ipv4() && other.port() != mapped.port());
            if !is_scattered && !addresses.contains(mapped) {
                addresses.push(*mapped);
            }
        }
        addresses
    }
}

fn is_fresh(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) <= HOLDS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// `server` is asked and says `mapped`.
    fn tell(reflexive: &mut Reflexive, server: &str, mapped: &str, now: Instant) -> News {
        let question = Stun::decode(&reflexive.ask(address(server), now)).unwrap();
        assert!(reflexive.is_asked(address(server)));
        let answer = stun::success(question.transaction(), address(mapped), "any");
        reflexive.hear(&Stun::decode(&answer).unwrap(), address(server), now)
    }

    #[test]
    fn what_a_server_says_is_heard_once_and_holds_for_a_while() {
        let (mut reflexive, now) = (Reflexive::default(), Instant::now());
        let outside = address("203.0.113.7:8897");
        let said = "203.0.113.7:8897";
        assert_eq!(
            tell(&mut reflexive, "198.51.100.1:3478", said, now),
            News::SeenAt(outside)
        );
        assert_eq!(tell(&mut reflexive, "198.51.100.1:3478", said, now), News::None);
        assert_eq!(tell(&mut reflexive, "198.51.100.2:3478", said, now), News::None);
        assert_eq!(reflexive.addresses(now), [outside]);
        assert_eq!(reflexive.addresses(now + HOLDS), [outside]);
        let later = now + HOLDS + Duration::from_secs(1);
        assert!(reflexive.addresses(later).is_empty());
        assert_eq!(
            tell(&mut reflexive, "198.51.100.1:3478", said, later),
            News::SeenAt(outside)
        );
    }

    #[test]
    fn nat_with_a_port_for_each_server_leads_nobody_here() {
        let (mut reflexive, now) = (Reflexive::default(), Instant::now());
        tell(&mut reflexive, "198.51.100.1:3478", "203.0.113.7:40000", now);
        let (one, other) = (address("203.0.113.7:40000"), address("203.0.113.7:40001"));
        let news = tell(&mut reflexive, "198.51.100.2:3478", "203.0.113.7:40001", now);
        assert_eq!(news, News::Scattered(one, other));
        assert!(reflexive.addresses(now).is_empty());
        let news = tell(&mut reflexive, "198.51.100.2:3478", "203.0.113.7:40002", now);
        assert_eq!(news, News::None, "it is said once");
    }

    #[test]
    fn strangers_are_not_believed() {
        let (mut reflexive, now) = (Reflexive::default(), Instant::now());
        let server = address("198.51.100.1:3478");
        let question = Stun::decode(&reflexive.ask(server, now)).unwrap();
        let forged = stun::success([7; 12], address("6.6.6.6:6"), "any");
        let forged = Stun::decode(&forged).unwrap();
        assert_eq!(reflexive.hear(&forged, server, now), News::None);
        let answer = stun::success(question.transaction(), address("203.0.113.7:1"), "any");
        let answer = Stun::decode(&answer).unwrap();
        assert_eq!(reflexive.hear(&answer, address("6.6.6.6:3478"), now), News::None);
        let late = now + PATIENCE + Duration::from_secs(1);
        assert_eq!(reflexive.hear(&answer, server, late), News::None);
        for _ in 0..100 {
            reflexive.ask(server, now);
        }
        assert_eq!(reflexive.asked.len(), MOST_ASKED);
    }
}
