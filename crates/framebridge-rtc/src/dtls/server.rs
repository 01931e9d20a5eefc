//! The passive end until the handshake has begun in earnest: hellos, of which anybody can send one in the client's name.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use rtc_dtls::endpoint::Endpoint;
use rtc_shared::TransportProtocol;

use super::{Identity, PEER, gate::Gate, hello::ClientHello, take_transmits};

/// Hellos that wait for their cookie at once: the peer's, and some that others sent in its name.
const MAX_HELLOS: usize = 4;
/// How long such a hello keeps its place. Each costs a key pair, so a flood of them may not have many.
pub(super) const HELLO_PACE: Duration = Duration::from_millis(250);

/// What only the passive end has.
pub(super) struct Server {
    pub(super) gate: Gate,
    identity: Identity,
    /// Hellos whose cookie has not come back. More than one, for anybody can send one in the client's name; the client
    /// goes on with the one it sent itself.
    pub(super) hellos: VecDeque<Opening>,
}

/// A hello that was answered with a cookie.
pub(super) struct Opening {
    pub(super) random: [u8; 32],
    pub(super) endpoint: Endpoint,
    pub(super) answer: Vec<BytesMut>,
    since: Instant,
}

impl Server {
    /// One that has heard nothing.
    pub(super) fn new(identity: &Identity) -> Self {
        Self {
            gate: Gate::default(),
            identity: identity.clone(),
            hellos: VecDeque::new(),
        }
    }

    /// Answers a client's first hello with a cookie, if it is one we can serve.
    pub(super) fn open(&mut self, hello: &ClientHello, record: &[u8], now: Instant) -> Vec<BytesMut> {
        if self.hellos.len() == MAX_HELLOS {
            let is_young = |opening: &Opening| now < opening.since + HELLO_PACE;
            if self.hellos.front().is_some_and(is_young) {
                return Vec::new();
            }
            self.hellos.pop_front();
        }
        let config = if hello.gcm {
            &self.identity.gcm_server
        } else {
            &self.identity.sha1_server
        };
        let mut endpoint = Endpoint::new(PEER, TransportProtocol::UDP, Some(Arc::clone(config)));
        let Some(answer) = answer(&mut endpoint, record, now) else {
            return Vec::new();
        };
        self.hellos.push_back(Opening {
            random: hello.random,
            endpoint,
            answer: answer.clone(),
            since: now,
        });
        answer
    }
}

/// What an endpoint answers to a hello; `None` if it refuses it.
pub(super) fn answer(endpoint: &mut Endpoint, hello: &[u8], now: Instant) -> Option<Vec<BytesMut>> {
    let result = endpoint.read(now, PEER, None, BytesMut::from(hello));
    let datagrams = take_transmits(endpoint);
    (result.is_ok() && !datagrams.is_empty()).then_some(datagrams)
}
