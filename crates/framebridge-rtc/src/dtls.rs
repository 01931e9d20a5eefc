//! One DTLS association over `rtc-dtls`, cut down to what viewers need: prove who we are, check who they are, and
//! take the SRTP keys out. One that [carries data](Association::carrying_data) is SCTP's way, too.

mod cookie;
mod fingerprint;
mod gate;
mod hello;
mod identity;
mod server;

use std::{
    collections::VecDeque,
    fmt,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use rtc_dtls::{
    endpoint::{Endpoint, EndpointEvent},
    extension::extension_use_srtp::SrtpProtectionProfile,
};
use rtc_shared::{TransportProtocol, error::Error as FamilyError};

use crate::srtp::{KeyPair, Profile};
use gate::{Active, PLAIN_HEADERS, Passage};
use hello::ClientHello;
use identity::{config, provider};
use server::{Server, answer};

pub use fingerprint::{Fingerprint, InvalidFingerprint};
pub use identity::Identity;

/// The first retransmission of a lost flight; `rtc-dtls` repeats it at this pace eight times, then gives up.
const FLIGHT_INTERVAL: Duration = Duration::from_millis(600);

/// The least time between two repetitions that the peer asks for by repeating itself: browsers begin with 50 ms.
const REPEAT_PACE: Duration = Duration::from_millis(50);

/// How often we repeat a flight that `rtc-dtls` has given no timer: past any connect timeout.
const MAX_REPETITIONS: u32 = 30;

/// `rtc-dtls` keeps associations by address. Ours moves with ICE, and there is one per endpoint: any name will do.
const PEER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9));

/// Why DTLS failed.
#[derive(Debug, thiserror::Error)]
pub enum DtlsError {
    /// Our certificate could not be made.
    #[error("can't make a certificate")]
    Certificate(#[source] FamilyError),
    /// The handshake configuration was refused.
    #[error("can't configure DTLS")]
    Configure(#[source] FamilyError),
    /// The handshake failed, or the peer sent an alert.
    #[error("DTLS handshake failed")]
    Handshake(#[source] FamilyError),
    /// The keys could not be exported.
    #[error("can't export SRTP keys")]
    Export(#[source] FamilyError),
    /// The peer's certificate is not the one its SDP announced.
    #[error("the peer's certificate does not match its fingerprint")]
    WrongCertificate,
    /// The peer knows none of our SRTP profiles.
    #[error("no SRTP profile in common")]
    NoProfile,
    /// Data can't be sent any more.
    #[error("can't send data")]
    Write(#[source] FamilyError),
}

/// What a finished handshake gives.
#[derive(Debug, PartialEq, Eq)]
pub struct Established {
    /// The profile both ends agreed on.
    pub profile: Profile,
    /// The keys of both directions.
    pub keys: KeyPair,
}

/// What a datagram led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing to tell; there may be datagrams to send.
    Pending,
    /// The handshake has just finished, and the peer is who its SDP said.
    Established(Established),
    /// The peer said goodbye.
    PeerClosed,
}

/// One DTLS association, sans-IO: after every call, drain [`Association::poll_transmit`].
pub struct Association {
    endpoint: Endpoint,
    /// The peer's certificate has one of these.
    expected: Vec<Fingerprint>,
    end: End,
    outgoing: VecDeque<BytesMut>,
    /// When the endpoint's timer is due. Noted, for it is asked for with every datagram of a viewer, and the endpoint looks it up.
    due: Option<Instant>,
    /// What was sent last, to be sent again; see [`Association::handle_timeout`].
    flight: Option<Flight>,
    is_established: bool,
    carries_data: bool,
    /// Data that has come: one datagram's, for it is taken after each.
    incoming: VecDeque<BytesMut>,
}

/// Which end it is. Either has a gate, for either may be strangers' to choose.
enum End {
    Passive(Box<Server>),
    Active(Box<Active>),
}

/// Datagrams that belong together.
struct Flight {
    datagrams: Vec<BytesMut>,
    sent: Instant,
    repetitions: u32,
}

impl fmt::Debug for Association {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Association")
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

impl Association {
    /// The passive end: waits for the peer's ClientHello.
    pub fn server(identity: &Identity, expected: Vec<Fingerprint>) -> Self {
        Self::new(expected, End::Passive(Box::new(Server::new(identity))))
    }

    /// The active end, which offers `profiles` in this order and starts at once. A whole message that somebody forges in the
    /// server's name, in the time of the handshake, ends it, and the session is tried again: no more.
    ///
    /// # Errors
    /// The configuration is refused.
    pub fn client(
        identity: &Identity,
        expected: Vec<Fingerprint>,
        profiles: &[Profile],
        now: Instant,
    ) -> Result<Self, DtlsError> {
        let config = provider()
            .and_then(|provider| config(&identity.certificate, profiles, provider).build(true, Some(PEER)))
            .map_err(DtlsError::Configure)?;
        let mut association = Self::new(expected, End::Active(Box::default()));
        association
            .endpoint
            .connect(now, PEER, Arc::new(config), None)
            .map_err(DtlsError::Handshake)?;
        association.drain(now);
        Ok(association)
    }

    /// Whether it is the passive end.
    pub(crate) fn is_server(&self) -> bool {
        matches!(self.end, End::Passive(_))
    }

    fn new(expected: Vec<Fingerprint>, end: End) -> Self {
        Self {
            endpoint: Endpoint::new(PEER, TransportProtocol::UDP, None),
            expected,
            end,
            outgoing: VecDeque::new(),
            due: None,
            flight: None,
            is_established: false,
            carries_data: false,
            incoming: VecDeque::new(),
        }
    }

    /// Has application data come and go (RFC 8261). Without, it is dropped unread.
    #[must_use]
    pub fn carrying_data(mut self) -> Self {
        self.carries_data = true;
        match &mut self.end {
            End::Passive(server) => server.gate.carry_data(),
            End::Active(gate) => gate.carry_data(),
        }
        self
    }

    /// Queues a packet of data, once the handshake is over.
    ///
    /// # Errors
    /// The association has ended.
    pub fn write(&mut self, packet: &[u8], now: Instant) -> Result<(), DtlsError> {
        if !self.is_established {
            return Ok(());
        }
        self.endpoint.write(now, PEER, packet).map_err(DtlsError::Write)?;
        // No flight of the handshake: SCTP repeats its own.
        self.outgoing.extend(take_transmits(&mut self.endpoint));
        self.note_due();
        Ok(())
    }

    /// The next packet of data that has come.
    pub fn poll_data(&mut self) -> Option<BytesMut> {
        self.incoming.pop_front()
    }

    /// Takes a datagram from the peer. What is malformed, forged or too much comes to nothing.
    ///
    /// # Errors
    /// The handshake failed; the association is of no more use.
    pub fn handle(&mut self, datagram: &[u8], now: Instant) -> Result<Progress, DtlsError> {
        let passages = match &mut self.end {
            End::Passive(server) => server.gate.admit(datagram),
            End::Active(gate) => gate.admit(datagram),
        };
        let mut progress = Progress::Pending;
        for passage in passages {
            match passage {
                Passage::Hello { is_second, record } => self.on_hello(is_second, &record, now),
                Passage::Records(reads) => {
                    for read in reads {
                        let told = self.read(&read, now)?;
                        if told != Progress::Pending {
                            progress = told;
                        }
                    }
                }
                Passage::Repeat => self.repeat(REPEAT_PACE, now),
            }
        }
        Ok(progress)
    }

    /// Takes a whole hello, which may not be the peer's: one that leads nowhere leaves no trace, not even an alert.
    fn on_hello(&mut self, is_second: bool, record: &[u8], now: Instant) {
        let (End::Passive(server), Some(hello)) = (&mut self.end, ClientHello::parse(&record[PLAIN_HEADERS..])) else {
            return;
        };
        let at = server.hellos.iter().position(|opening| opening.random == hello.random);
        match (at, is_second) {
            (Some(at), false) => self.outgoing.extend(server.hellos[at].answer.iter().cloned()),
            (None, false) => self.outgoing.extend(server.open(&hello, record, now)),
            (Some(at), true) => {
                let Some(mut opening) = server.hellos.remove(at) else {
                    return;
                };
                let Some(datagrams) = answer(&mut opening.endpoint, record, now) else {
                    return;
                };
                server.gate.expect_keys();
                server.hellos.clear();
                self.endpoint = opening.endpoint;
                self.note_due();
                self.send(datagrams, now);
            }
            (None, true) => {}
        }
    }

    fn read(&mut self, datagram: &[u8], now: Instant) -> Result<Progress, DtlsError> {
        let events = self.endpoint.read(now, PEER, None, BytesMut::from(datagram));
        // Whatever came of it: an alert has to go out, too.
        self.drain(now);
        let mut progress = Progress::Pending;
        for event in events.map_err(DtlsError::Handshake)? {
            match event {
                EndpointEvent::HandshakeComplete => {
                    self.is_established = true;
                    match &mut self.end {
                        End::Passive(server) => server.gate.establish(),
                        End::Active(gate) => gate.establish(),
                    }
                    progress = Progress::Established(self.export()?);
                }
                EndpointEvent::PeerClosed => return Ok(Progress::PeerClosed),
                EndpointEvent::ApplicationData(data) if self.carries_data && self.is_established => {
                    self.incoming.push_back(data);
                }
                // Nobody negotiated a data channel: application data has no reader. The enum may grow.
                EndpointEvent::ApplicationData(_) | _ => {}
            }
        }
        Ok(progress)
    }

    /// Takes over what is to be sent.
    fn drain(&mut self, now: Instant) {
        let datagrams = take_transmits(&mut self.endpoint);
        self.note_due();
        if !datagrams.is_empty() {
            self.send(datagrams, now);
        }
    }

    /// After whatever may have set or cleared the endpoint's timer.
    fn note_due(&mut self) {
        self.due = self.endpoint.poll_timeout(&PEER);
    }

    /// Sends datagrams, and notes them as the last flight.
    fn send(&mut self, datagrams: Vec<BytesMut>, now: Instant) {
        self.outgoing.extend(datagrams.iter().cloned());
        self.flight = Some(Flight {
            datagrams,
            sent: now,
            repetitions: 0,
        });
    }

    /// Sends the last flight again, if that was not done for so long.
    fn repeat(&mut self, pace: Duration, now: Instant) {
        if let Some(flight) = &mut self.flight
            && flight.sent + pace <= now
            && flight.repetitions < MAX_REPETITIONS
        {
            flight.repetitions += 1;
            flight.sent = now;
            self.outgoing.extend(flight.datagrams.iter().cloned());
        }
    }

    fn export(&self) -> Result<Established, DtlsError> {
        let state = self.endpoint.get_connection_state(PEER).ok_or(DtlsError::NoProfile)?;
        let certificate = state.peer_certificates.first().ok_or(DtlsError::WrongCertificate)?;
        if !self.expected.iter().any(|expected| expected.matches(certificate)) {
            return Err(DtlsError::WrongCertificate);
        }
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => Profile::AeadAes128Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => Profile::Aes128CmSha1,
            // What was never offered can't have been agreed on; the enum may grow.
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_32
            | SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm
            | SrtpProtectionProfile::Unsupported
            | _ => return Err(DtlsError::NoProfile),
        };
        let material = state
            .export_keying_material("EXTRACTOR-dtls_srtp", &[], profile.material_len())
            .map_err(DtlsError::Export)?;
        let keys = KeyPair::from_material(profile, material.as_ref()).ok_or(DtlsError::NoProfile)?;
        Ok(Established { profile, keys })
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<BytesMut> {
        self.outgoing.pop_front()
    }

    /// When [`Association::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let own = self
            .flight
            .as_ref()
            .filter(|flight| !self.is_established && flight.repetitions < MAX_REPETITIONS);
        let own = own.map(|flight| flight.sent + FLIGHT_INTERVAL);
        debug_assert_eq!(self.due, self.endpoint.poll_timeout(&PEER), "noted whenever it changes");
        self.due.or(own)
    }

    /// Sends a flight again that was not answered.
    ///
    /// `rtc-dtls` 0.21.1 forgets its own timer when the peer repeats itself, and then waits for ever. While it has
    /// none, the last flight is sent again as it was: who missed it takes it, who did not discards it as a replay.
    ///
    /// # Errors
    /// It has been sent often enough.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsError> {
        if let Some(due) = self.due {
            if due > now {
                return Ok(());
            }
            let result = self.endpoint.handle_timeout(PEER, now).map_err(DtlsError::Handshake);
            self.drain(now);
            return result;
        }
        if !self.is_established {
            self.repeat(FLIGHT_INTERVAL, now);
        }
        Ok(())
    }

    /// Queues a close_notify.
    pub fn close(&mut self, now: Instant) {
        drop(self.endpoint.stop(now, PEER));
        self.drain(now);
        self.flight = None;
    }
}

fn take_transmits(endpoint: &mut Endpoint) -> Vec<BytesMut> {
    std::iter::from_fn(|| endpoint.poll_transmit())
        .map(|transmit| transmit.message)
        .collect()
}

#[cfg(test)]
mod tests;
