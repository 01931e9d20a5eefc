//! Data channels (RFC 8831) over `rtc-sctp`, sans-IO: two lanes that both ends know beforehand, so that nobody opens any
//! (RFC 8832 is not spoken).
//!
//! The contract: one call, then [`Lanes::poll_transmit`] and [`Lanes::poll_message`] until there is nothing, then wait until
//! [`Lanes::poll_timeout`].

mod gate;

use std::{
    collections::VecDeque,
    fmt,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, LazyLock},
    time::Instant,
};

use bytes::Bytes;
use rtc_sctp::{
    Association, AssociationHandle, DatagramEvent, Endpoint, EndpointConfig, EndpointEvent, Event, Payload,
    PayloadProtocolIdentifier, ReliabilityType, ServerConfig, StreamEvent, TransportConfig,
};
use rtc_shared::{TransportProtocol, error::Error as FamilyError};

use gate::Gate;

/// The longest message of the other end: a clipboard's text with room for how it is written.
pub(crate) const MAX_MESSAGE: u32 = 128 << 10;
/// What may have come without being a whole message, in bytes; beyond it the other end has to wait.
const RECEIVE_BUFFER: u32 = 2 * MAX_MESSAGE;
/// What may wait to be sent or acknowledged, in bytes: the other end that takes no more than this is given up.
const MAX_UNSENT: usize = 512 << 10;

/// `rtc-sctp` knows peers by address. There is one per endpoint: any name will do.
const PEER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9));

static CONFIG: LazyLock<(Arc<EndpointConfig>, Arc<ServerConfig>)> = LazyLock::new(|| {
    let transport = TransportConfig::default()
        .with_max_receive_buffer_size(RECEIVE_BUFFER)
        .with_max_message_size(MAX_MESSAGE)
        .with_max_num_inbound_streams(gate::STREAMS)
        .with_max_num_outbound_streams(gate::STREAMS);
    (Arc::new(EndpointConfig::new()), Arc::new(ServerConfig::new(transport)))
});

/// One of the two channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// In order, and repeated until it comes.
    Reliable,
    /// As it comes, or not at all.
    Lossy,
}

impl Lane {
    const ALL: [Self; 2] = [Self::Reliable, Self::Lossy];

    /// The SCTP stream.
    fn id(self) -> u16 {
        match self {
            Self::Reliable => 0,
            Self::Lossy => 1,
        }
    }
}

/// How a piece of work is done whose panic is to end no more than it: `rtc-sctp` reads what somebody else has written.
#[derive(Clone, Copy)]
pub struct Containment(
    /// Does the work; false: it panicked.
    pub fn(&mut dyn FnMut()) -> bool,
);

impl Containment {
    fn run<T>(self, work: impl FnOnce() -> T) -> Option<T> {
        let (mut work, mut done) = (Some(work), None);
        let is_whole = (self.0)(&mut || done = work.take().map(|work| work()));
        done.filter(|_| is_whole)
    }
}

impl Default for Containment {
    fn default() -> Self {
        Self(|work| catch_unwind(AssertUnwindSafe(work)).is_ok())
    }
}

impl fmt::Debug for Containment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Containment")
    }
}

impl PartialEq for Containment {
    /// All of them do the same.
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Containment {}

/// Why the lanes are of no more use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LanesError {
    /// The other end has closed them, or is gone.
    #[error("the other end has closed the data channels")]
    Closed,
    /// What the other end sent could not be read, and that by a fault of ours.
    #[error("SCTP broke on a packet")]
    Broke,
    /// A message was refused.
    #[error("can't read or write a message")]
    Message(#[source] FamilyError),
    /// The other end takes nothing.
    #[error("over {MAX_UNSENT} bytes wait to be taken")]
    Unsent,
}

/// The passive end of one SCTP association.
pub(crate) struct Lanes {
    endpoint: Endpoint,
    association: Option<(AssociationHandle, Association)>,
    gate: Gate,
    contain: Containment,
    is_open: bool,
    outgoing: VecDeque<Bytes>,
    incoming: VecDeque<(Lane, Vec<u8>)>,
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes")
            .field("is_open", &self.is_open)
            .finish_non_exhaustive()
    }
}

impl Lanes {
    /// Waits for the other end to begin.
    pub(crate) fn new(contain: Containment) -> Self {
        let (endpoint, server) = &*CONFIG;
        Self {
            endpoint: Endpoint::new(
                PEER,
                TransportProtocol::UDP,
                Arc::clone(endpoint),
                Some(Arc::clone(server)),
            ),
            association: None,
            gate: Gate::default(),
            contain,
            is_open: false,
            outgoing: VecDeque::new(),
            incoming: VecDeque::new(),
        }
    }

    /// Whether messages can be sent.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Takes a packet. One that is malformed or asks for too much comes to nothing.
    ///
    /// # Errors
    /// The lanes are of no more use.
    pub(crate) fn handle(&mut self, packet: &[u8], now: Instant) -> Result<(), LanesError> {
        if !self.gate.admits(packet) {
            return Ok(());
        }
        self.contained(|lanes| {
            lanes.read(Bytes::copy_from_slice(packet), now);
            lanes.drain(now)
        })
    }

    /// [`poll_timeout`](Self::poll_timeout) has passed.
    ///
    /// # Errors
    /// The lanes are of no more use.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), LanesError> {
        if self.poll_timeout().is_none_or(|due| due > now) {
            return Ok(());
        }
        self.contained(|lanes| {
            if let Some((_, association)) = &mut lanes.association {
                association.handle_timeout(now);
            }
            lanes.drain(now)
        })
    }

    /// Queues a text on a lane. Before they are open there is nobody to hear it.
    ///
    /// # Errors
    /// The lanes are of no more use.
    pub(crate) fn send(&mut self, lane: Lane, text: &str, now: Instant) -> Result<(), LanesError> {
        self.contained(|lanes| {
            let Some((_, association)) = lanes.association.as_mut().filter(|_| lanes.is_open) else {
                return Ok(());
            };
            let mut stream = association.stream(lane.id()).map_err(LanesError::Message)?;
            if lane == Lane::Lossy {
                stream
                    .set_reliability_params(true, ReliabilityType::Rexmit, 0)
                    .map_err(LanesError::Message)?;
            }
            if stream.buffered_amount().map_err(LanesError::Message)? + text.len() > MAX_UNSENT {
                return Err(LanesError::Unsent);
            }
            stream
                .write_with_ppi(now, text.as_bytes(), PayloadProtocolIdentifier::String)
                .map_err(LanesError::Message)?;
            lanes.drain(now)
        })
    }

    /// The next packet to send.
    pub(crate) fn poll_transmit(&mut self) -> Option<Bytes> {
        self.outgoing.pop_front()
    }

    /// The next message that has come.
    pub(crate) fn poll_message(&mut self) -> Option<(Lane, Vec<u8>)> {
        self.incoming.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.association.as_ref()?.1.poll_timeout()
    }

    fn contained(&mut self, work: impl FnOnce(&mut Self) -> Result<(), LanesError>) -> Result<(), LanesError> {
        let contain = self.contain;
        contain.run(|| work(self)).unwrap_or(Err(LanesError::Broke))
    }

    fn read(&mut self, packet: Bytes, now: Instant) {
        match self.endpoint.handle(now, PEER, None, packet) {
            Some((handle, DatagramEvent::NewAssociation(fresh))) => {
                // A first packet that is repeated has not been answered; once there is an association, it is the only one.
                let unwanted = if self.is_open {
                    Some(handle)
                } else {
                    self.association.replace((handle, fresh)).map(|(before, _)| before)
                };
                if let Some(unwanted) = unwanted {
                    self.endpoint.handle_event(unwanted, EndpointEvent::drained());
                }
            }
            Some((_, DatagramEvent::AssociationEvent(event))) => {
                if let Some((_, association)) = &mut self.association {
                    association.handle_event(event);
                }
            }
            // The enum may grow.
            Some((_, _)) | None => {}
        }
    }

    /// Takes over what the association has to say and to send.
    fn drain(&mut self, now: Instant) -> Result<(), LanesError> {
        let Some((_, association)) = &mut self.association else {
            return Ok(());
        };
        while let Some(event) = association.poll() {
            match event {
                Event::Connected => {
                    for lane in Lane::ALL {
                        // One that the other end was the first to use is there already.
                        drop(association.open_stream(lane.id(), PayloadProtocolIdentifier::String));
                    }
                    self.is_open = true;
                }
                Event::HandshakeFailed { .. } | Event::AssociationLost { .. } => return Err(LanesError::Closed),
                Event::Stream(StreamEvent::Readable { id }) => {
                    let Some(lane) = Lane::ALL.into_iter().find(|lane| lane.id() == id) else {
                        continue;
                    };
                    let mut stream = association.stream(id).map_err(LanesError::Message)?;
                    while let Some(chunks) = stream.read_sctp().map_err(LanesError::Message)? {
                        let most = usize::try_from(MAX_MESSAGE).unwrap_or(usize::MAX);
                        let message = chunks.to_payload(most).map_err(LanesError::Message)?;
                        if chunks.ppi != PayloadProtocolIdentifier::Dcep {
                            self.incoming.push_back((lane, message.to_vec()));
                        }
                    }
                }
                // The enum may grow.
                Event::Stream(_) | Event::DatagramReceived | _ => {}
            }
        }
        // Which association of the endpoint's there is, is decided here.
        while association.poll_endpoint_event().is_some() {}
        while let Some(transmit) = association.poll_transmit(now) {
            if let Payload::RawEncode(packets) = transmit.message {
                packets.iter().for_each(|packet| self.gate.note_sent(packet));
                self.outgoing.extend(packets);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
