//! What the media plane is started with.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use crate::Containment;

/// What [`Engine::start`](crate::Engine::start) needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The one UDP port of all viewers; 0 lets the system pick.
    pub port: u16,
    /// Addresses to bind; an unspecified one stands for every interface of its family.
    pub bind: Vec<IpAddr>,
    /// Further addresses to offer as candidates, e.g. the public one of a 1:1 NAT; port 0 is [`port`](Self::port).
    pub candidates: Vec<SocketAddr>,
    /// Interfaces whose addresses are offered, by name, where `*` stands for any characters; with `!` in front, those whose
    /// addresses are not. None: all are, those to containers last.
    pub interfaces: Vec<String>,
    /// Worker threads, 1 to [`Config::MAX_WORKERS`].
    pub workers: usize,
    /// Viewers one stream takes at once; the next one is refused.
    pub max_viewers_per_stream: u32,
    /// Viewers of all streams together; the next one is refused.
    pub max_viewers: usize,
    /// How long a session is kept from the moment its viewer fell silent until it is closed.
    pub disconnect_grace: Duration,
    /// How long a viewer may take from its offer to working keys.
    pub connect_timeout: Duration,
    /// Bytes of plaintext packets kept per stream for retransmission and late joiners.
    pub history_bytes: usize,
    /// How lines read what comes.
    pub containment: Containment,
}

impl Config {
    /// More threads than that have more to do with each other than with viewers.
    pub const MAX_WORKERS: usize = 64;
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: 8897,
            bind: vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
            candidates: Vec::new(),
            interfaces: Vec::new(),
            workers: 1,
            max_viewers_per_stream: 500,
            max_viewers: 5000,
            disconnect_grace: Duration::from_secs(12),
            // Half-open joins must not pile up; ICE and DTLS over a bad mobile link need some five seconds.
            connect_timeout: Duration::from_secs(15),
            // Two seconds at 16 Mb/s.
            history_bytes: 4 << 20,
            containment: Containment::default(),
        }
    }
}
