//! One viewer's connection: ICE, DTLS and SRTP put together, sans-IO.
//!
//! The contract: one [`Peer::handle`], then [`Peer::poll_output`] until there is none, then wait until
//! [`Peer::poll_timeout`]. Media does not pass through here: once the peer is live, its [`Track`] and its path are
//! all that sending takes.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use framebridge_core::reception::Unit;

use crate::{
    CloseReason, Lane, ReceiveState, Receives, ViewerState,
    data::{Containment, Lanes, LanesError},
    dtls::{Association, Established, Fingerprint, Identity, Progress},
    feedback::{self, Feedback},
    ice::{Agent, Credentials, Heard, Path},
    inbound::{Inbound, Outcome},
    reach::Pacer,
    sdp::{Candidate, CandidateKind},
    srtp::{Profile, Receiver},
    stun::{Stun, is_stun},
    track::{Track, TrackState},
    transmit::{Keys, TransmitState},
};

/// Without a word from the viewer for so long it is in its grace. Consent checks are answered every 4 to 6 s at
/// most, and browsers report and check more often.
const SILENCE: Duration = Duration::from_secs(8);

/// What is offered where DTLS begins here, best first.
const PROFILES: [Profile; 2] = [Profile::AeadAes128Gcm, Profile::Aes128CmSha1];

/// Candidates whose kind is remembered: as many as ICE tries, and a restart's. Further ones are as if nobody had named them.
const MAX_NAMED: usize = 48;

/// What a peer is made with.
#[derive(Debug)]
pub struct PeerConfig {
    /// Our ICE credentials.
    pub local: Credentials,
    /// The viewer's ICE credentials.
    pub remote: Credentials,
    /// Index of each socket, and whether it is IPv4.
    pub sockets: Vec<(usize, bool)>,
    /// The viewer's certificate: it has one of these.
    pub fingerprints: Vec<Fingerprint>,
    /// The SSRC in our answer.
    pub ssrc: u32,
    /// The payload type in our answer.
    pub payload_type: u8,
    /// SSRC and payload type of what is sent again, if the answer has them.
    pub repair: Option<(u32, u8)>,
    /// The header extension of transport-wide numbers in our answer.
    pub numbering: Option<u8>,
    /// That of the playout delay.
    pub playout: Option<u8>,
    /// That of the time of capture.
    pub capture_time: Option<u8>,
    /// How long it may take to connect.
    pub connect_timeout: Duration,
    /// How long it may stay silent once it counts as disconnected.
    pub disconnect_grace: Duration,
    /// It has data channels, which are read so; `None`: it has media.
    pub data: Option<Containment>,
    /// It sends us media so; `None`: it is sent some.
    pub receives: Option<Receives>,
    /// DTLS begins here, once there is a path; else the other end begins.
    pub begins: bool,
}

/// What happens to a peer.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram came over a path; it is decrypted in place.
    Datagram(Path, &'a mut [u8]),
    /// [`Peer::poll_timeout`] has passed. Checks that nobody asked for go as the pacer lets them.
    Timeout(&'a mut Pacer),
    /// The viewer has further candidates.
    Candidates(&'a [Candidate]),
    /// There is a connection to where the other end waits for one.
    Way(Path),
    /// ICE starts over with these credentials, ours and the viewer's.
    Restart(Credentials, Credentials),
    /// The address here that media leaves from is gone.
    Moved,
    /// A text is to go to the other end of the data channels.
    Send(Lane, &'a str),
    /// Somebody needs a keyframe of what it sends.
    Keyframe,
    /// The session ends.
    Close(CloseReason),
}

/// What a peer wants.
#[derive(Debug)]
pub enum Output {
    /// Send this datagram.
    Transmit(Path, Vec<u8>),
    /// Send this datagram to an address that was claimed for the viewer: whether that can be is nobody's fault here.
    Probe(Path, Vec<u8>),
    /// Its life went on. `Closed` is the last output.
    State(ViewerState),
    /// The viewer told something about its reception.
    Feedback(Feedback),
    /// It is reached from another address here: what went out from the one before is lost.
    Moved,
    /// Its data channels are open.
    LanesOpen,
    /// A message has come by a data channel.
    Message(Lane, Vec<u8>),
    /// A frame has come.
    Unit(Unit),
    /// Tell the publisher this: a compound RTCP packet, yet to be protected.
    Rtcp(Vec<u8>),
}

/// A viewer's connection.
#[derive(Debug)]
pub struct Peer {
    ice: Agent,
    dtls: Option<Association>,
    /// DTLS begins here once there is a path: who we are, and who the other end has to be.
    hello: Option<Box<(Identity, Vec<Fingerprint>)>>,
    lanes: Option<Lanes>,
    inbound: Option<Box<Inbound>>,
    /// The way back of the last authentic check: handshake and goodbye go there while nothing is nominated.
    reply: Option<Path>,
    state: ViewerState,
    /// When the state changes if nothing is heard.
    deadline: Instant,
    last_heard: Instant,
    disconnect_grace: Duration,
    established: Option<Session>,
    track: TrackState,
    /// What the viewer said of its addresses; `None`: an earlier process was told.
    named: Option<Vec<(SocketAddr, CandidateKind)>>,
    outputs: VecDeque<Output>,
}

/// What exists once the keys do.
#[derive(Debug)]
struct Session {
    keys: Keys,
    receiver: Receiver,
    track: Track,
}

impl Session {
    fn new(keys: Keys, track: TrackState) -> Self {
        let receiver = Receiver::new(keys.profile, &keys.receive);
        Self {
            receiver,
            track: Track::new(track, keys.profile, &keys.send),
            keys,
        }
    }
}

impl Peer {
    /// A peer that waits for its viewer.
    pub fn new(identity: &Identity, config: PeerConfig, now: Instant) -> Self {
        let lanes = config.data.map(Lanes::new);
        let (dtls, hello) = if config.begins {
            (None, Some(Box::new((identity.clone(), config.fingerprints))))
        } else {
            let dtls = Association::server(identity, config.fingerprints);
            (Some(if lanes.is_some() { dtls.carrying_data() } else { dtls }), None)
        };
        Self {
            ice: Agent::new(config.local, config.remote, config.sockets),
            dtls,
            hello,
            lanes,
            inbound: config
                .receives
                .map(|receives| Box::new(Inbound::new(receives, config.ssrc, now))),
            reply: None,
            state: ViewerState::Connecting,
            deadline: now + config.connect_timeout,
            last_heard: now,
            disconnect_grace: config.disconnect_grace,
            established: None,
            track: TrackState {
                playout: config.playout,
                capture_time: config.capture_time,
                ..TrackState::random(config.ssrc, config.payload_type).with_repair(config.repair, config.numbering)
            },
            named: Some(Vec::new()),
            outputs: VecDeque::new(),
        }
    }

    /// One that has answered our offer: ICE is ours to nominate.
    #[must_use]
    pub fn controlling(self) -> Self {
        Self {
            ice: self.ice.controlling(),
            ..self
        }
    }

    /// A peer that goes on where an exported one was, with no new handshake. `state.track` has to be ahead of all that
    /// was sent since the export. It has no DTLS association any more: it ends without a goodbye, and the viewer's own
    /// goodbye goes unheard.
    pub fn restore(
        state: &TransmitState,
        sockets: Vec<(usize, bool)>,
        disconnect_grace: Duration,
        now: Instant,
    ) -> Self {
        let mut ice = Agent::new(state.local.clone(), state.remote.clone(), sockets);
        if state.controls {
            ice = ice.controlling();
        }
        ice.resume(state.path, now);
        let inbound = state
            .receives
            .map(|receives| Box::new(Inbound::resumed(&receives, state.track.ssrc, now)));
        Self {
            ice,
            dtls: None,
            hello: None,
            lanes: None,
            inbound,
            reply: Some(state.path),
            state: ViewerState::Live,
            deadline: now + SILENCE,
            last_heard: now,
            disconnect_grace,
            established: Some(Session::new(state.keys.clone(), state.track)),
            track: state.track,
            named: None,
            outputs: VecDeque::new(),
        }
    }

    /// Everything that another process needs to go on; `None` before the peer is live.
    pub fn export(&self) -> Option<TransmitState> {
        let session = self.established.as_ref()?;
        Some(TransmitState {
            local: self.ice.local().clone(),
            remote: self.ice.remote().clone(),
            controls: self.ice.controls(),
            path: self.ice.selected()?,
            keys: session.keys.clone(),
            track: session.track.state(),
            receives: self.receives(),
        })
    }

    /// Where it is in what it sends us, if it does.
    pub(crate) fn receives(&self) -> Option<ReceiveState> {
        Some(self.inbound.as_ref()?.state())
    }

    /// The names that checks may be for.
    pub(crate) fn ufrags(&self) -> impl Iterator<Item = &str> {
        self.ice.ufrags()
    }

    /// The name of our ICE credentials in force.
    pub(crate) fn ufrag(&self) -> &str {
        &self.ice.local().ufrag
    }

    /// Where it is in its life.
    pub fn state(&self) -> ViewerState {
        self.state
    }

    /// When media of a publisher came last.
    pub(crate) fn media_heard_at(&self) -> Option<Instant> {
        self.inbound.as_ref()?.heard_at()
    }

    /// Whether the last authentic check came over this path.
    pub(crate) fn is_reached_over(&self, path: &Path) -> bool {
        self.reply == Some(*path)
    }

    /// The path in use.
    pub(crate) fn path(&self) -> Option<Path> {
        self.ice.selected()
    }

    /// What kind of candidate of the viewer is at `remote`; `None`: that can't be known any more.
    pub(crate) fn kind_of(&self, remote: SocketAddr) -> Option<CandidateKind> {
        let named = self.named.as_ref()?;
        let found = named.iter().find(|(address, _)| *address == remote);
        Some(found.map_or(CandidateKind::PeerReflexive, |(_, kind)| *kind))
    }

    /// What media takes, while the peer is live.
    pub(crate) fn media(&mut self) -> Option<(&mut Track, Path)> {
        let path = self.ice.selected()?;
        match (self.state, &mut self.established) {
            (ViewerState::Live, Some(session)) => Some((&mut session.track, path)),
            _ => None,
        }
    }

    /// Takes an input.
    pub fn handle(&mut self, input: Input<'_>, now: Instant) {
        if matches!(self.state, ViewerState::Closed(_)) {
            return;
        }
        match input {
            Input::Datagram(path, datagram) => self.on_datagram(path, datagram, now),
            Input::Timeout(pacer) => self.on_timeout(pacer, now),
            Input::Candidates(candidates) => {
                for candidate in candidates {
                    self.ice.add_remote(candidate.address, candidate.priority, now);
                    self.name(candidate.address, candidate.kind);
                }
            }
            Input::Way(path) => {
                self.ice.add_way(path, now);
                self.name(path.remote, CandidateKind::Host);
            }
            Input::Restart(local, remote) => self.ice.restart(local, remote),
            Input::Moved => self.ice.relocate(now),
            Input::Send(lane, text) => self.with_lanes(now, |lanes| lanes.send(lane, text, now)),
            Input::Keyframe => {
                if let Some(inbound) = &mut self.inbound {
                    inbound.ask_keyframe(now);
                }
            }
            Input::Close(reason) => self.close(reason, now),
        }
        self.drain();
    }

    /// The viewer has said that it is there.
    fn name(&mut self, address: SocketAddr, kind: CandidateKind) {
        if let Some(named) = self.named.as_mut().filter(|named| named.len() < MAX_NAMED) {
            named.push((address, kind));
        }
    }

    /// The next output.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Timeout`] is due.
    pub fn poll_timeout(&self) -> Instant {
        let dtls = self.dtls.as_ref().and_then(Association::poll_timeout);
        let lanes = self.lanes.as_ref().and_then(Lanes::poll_timeout);
        let inbound = self.inbound.as_ref().and_then(|inbound| inbound.poll_timeout());
        [self.ice.poll_timeout(), dtls, lanes, inbound]
            .into_iter()
            .flatten()
            .fold(self.deadline, Instant::min)
    }

    /// Tells the kinds of datagram apart by their first byte (RFC 7983).
    fn on_datagram(&mut self, path: Path, datagram: &mut [u8], now: Instant) {
        match datagram.first() {
            Some(0..=3) if is_stun(datagram) => self.on_stun(path, datagram, now),
            // Browsers send it once one of their checks was answered.
            Some(20..=63) if self.ice.has_heard_over(&path) => self.on_dtls(datagram, now),
            // RTCP's packet types stand where RTP has marker and payload type (RFC 5761).
            Some(128..=191) if datagram.get(1).is_some_and(|kind| (192..=223).contains(kind)) => {
                self.on_rtcp(datagram, now);
            }
            Some(128..=191) => self.on_rtp(datagram, now),
            _ => {}
        }
    }

    fn on_stun(&mut self, path: Path, datagram: &[u8], now: Instant) {
        let Some(message) = Stun::decode(datagram) else { return };
        match self.ice.handle(message, path, now) {
            Heard::Nothing => return,
            Heard::Alive => {}
            Heard::Selected(path) => tracing::debug!(remote = %path.remote, "path selected"),
            Heard::Moved(path) => {
                tracing::debug!(remote = %path.remote, "reached from another address");
                self.outputs.push_back(Output::Moved);
            }
        }
        self.reply = Some(path);
        self.begin_dtls(now);
        self.heard(now);
    }

    /// Says hello, if that is ours to do and there is a path.
    fn begin_dtls(&mut self, now: Instant) {
        let Some(hello) = self.hello.take_if(|_| self.ice.selected().is_some()) else {
            return;
        };
        let (identity, expected) = *hello;
        match Association::client(&identity, expected, &PROFILES, now) {
            Ok(dtls) => self.dtls = Some(dtls),
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "DTLS can't begin");
                self.close(CloseReason::HandshakeFailed, now);
            }
        }
    }

    fn on_dtls(&mut self, datagram: &[u8], now: Instant) {
        let Some(dtls) = &mut self.dtls else { return };
        match dtls.handle(datagram, now) {
            Ok(Progress::Pending) => {}
            Ok(Progress::Established(Established { profile, keys })) => {
                let (send, receive) = if dtls.is_server() {
                    (keys.server, keys.client)
                } else {
                    (keys.client, keys.server)
                };
                let keys = Keys { profile, send, receive };
                self.established = Some(Session::new(keys, self.track));
                self.heard(now);
            }
            Ok(Progress::PeerClosed) => self.close(CloseReason::PeerClosed, now),
            Err(error) if self.established.is_some() => {
                // An alert, or a datagram that nobody with the keys has sent: the latter must not end the session,
                // and after the former the viewer falls silent by itself.
                tracing::debug!(%error, "DTLS after the handshake");
            }
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "DTLS failed");
                self.close(CloseReason::HandshakeFailed, now);
            }
        }
        while let Some(packet) = self.dtls.as_mut().and_then(Association::poll_data) {
            // It was encrypted with the other end's key.
            self.heard(now);
            self.with_lanes(now, |lanes| lanes.handle(&packet, now));
        }
    }

    /// Does something with the data channels, and what they want then. With an error of theirs the session ends: it has nothing
    /// else.
    fn with_lanes(&mut self, now: Instant, work: impl FnOnce(&mut Lanes) -> Result<(), LanesError>) {
        let Some(lanes) = &mut self.lanes else { return };
        let was_open = lanes.is_open();
        let worked = work(lanes);
        if !was_open && lanes.is_open() {
            self.outputs.push_back(Output::LanesOpen);
        }
        while let Some((lane, message)) = lanes.poll_message() {
            self.outputs.push_back(Output::Message(lane, message));
        }
        if let Some(dtls) = &mut self.dtls {
            while let Some(packet) = lanes.poll_transmit() {
                if let Err(error) = dtls.write(&packet, now) {
                    tracing::debug!(error = &error as &dyn std::error::Error, "a packet was not sent");
                }
            }
        }
        if let Err(error) = worked {
            tracing::debug!(error = &error as &dyn std::error::Error, "the data channels have ended");
            let is_ours = matches!(error, LanesError::Closed);
            self.lanes = None;
            self.close(
                if is_ours {
                    CloseReason::PeerClosed
                } else {
                    CloseReason::LanesFailed
                },
                now,
            );
        }
    }

    fn on_rtcp(&mut self, datagram: &mut [u8], now: Instant) {
        let Some(session) = &mut self.established else { return };
        let Ok(compound) = session.receiver.open_rtcp(datagram) else {
            return;
        };
        if let Some(inbound) = &mut self.inbound {
            if let Some((ssrc, ntp)) = feedback::sender_time(compound) {
                inbound.sender_report(ssrc, ntp, now);
            }
            self.heard(now);
            return;
        }
        let outputs = &mut self.outputs;
        feedback::parse(compound, self.track.ssrc, |told| {
            outputs.push_back(Output::Feedback(told));
        });
        self.heard(now);
    }

    /// RTP is a publisher's: of a viewer it has no business here.
    fn on_rtp(&mut self, datagram: &mut [u8], now: Instant) {
        let (Some(session), Some(inbound)) = (&mut self.established, &mut self.inbound) else {
            return;
        };
        let Some((head, index)) = inbound.head(datagram) else {
            return;
        };
        let Ok(payload) = session.receiver.open_rtp(datagram, index) else {
            return;
        };
        inbound.packet(head, index, &datagram[payload], now);
        self.heard(now);
    }

    fn on_timeout(&mut self, pacer: &mut Pacer, now: Instant) {
        let has_consent = self.ice.handle_timeout(pacer, now);
        if !has_consent && self.state == ViewerState::Live {
            self.deadline = now + self.disconnect_grace;
            self.change(ViewerState::Grace);
        }
        if let Some(dtls) = &mut self.dtls
            && let Err(error) = dtls.handle_timeout(now)
            && self.established.is_none()
        {
            tracing::debug!(error = &error as &dyn std::error::Error, "DTLS gave up");
            self.close(CloseReason::HandshakeFailed, now);
            return;
        }
        self.with_lanes(now, |lanes| lanes.handle_timeout(now));
        if let Some(inbound) = &mut self.inbound {
            inbound.handle_timeout(now);
        }
        if self.deadline > now {
            return;
        }
        match self.state {
            ViewerState::Connecting => self.close(CloseReason::ConnectTimeout, now),
            ViewerState::Live if self.last_heard + SILENCE > now => self.deadline = self.last_heard + SILENCE,
            ViewerState::Live => {
                self.deadline = now + self.disconnect_grace;
                self.change(ViewerState::Grace);
            }
            ViewerState::Grace => self.close(CloseReason::GraceExpired, now),
            ViewerState::Closed(_) => {}
        }
    }

    /// The viewer is there; it may be live by that.
    fn heard(&mut self, now: Instant) {
        self.last_heard = now;
        let ready = self.established.is_some() && self.ice.selected().is_some();
        if ready && matches!(self.state, ViewerState::Connecting | ViewerState::Grace) {
            // The deadline moves on when it comes: not with every packet.
            self.deadline = now + SILENCE;
            self.change(ViewerState::Live);
        }
    }

    fn close(&mut self, reason: CloseReason, now: Instant) {
        if let Some(dtls) = &mut self.dtls
            && reason != CloseReason::Dropped
        {
            dtls.close(now);
        }
        // What is queued goes out before the last output.
        self.drain();
        self.change(ViewerState::Closed(reason));
    }

    fn change(&mut self, state: ViewerState) {
        self.state = state;
        self.outputs.push_back(Output::State(state));
    }

    /// Moves what ICE and DTLS want sent into the outputs.
    fn drain(&mut self) {
        while let Some((path, datagram)) = self.ice.poll_transmit() {
            let output = if self.ice.has_heard_over(&path) {
                Output::Transmit
            } else {
                Output::Probe
            };
            self.outputs.push_back(output(path, datagram));
        }
        let path = self.ice.selected().or(self.reply);
        while let Some(outcome) = self.inbound.as_mut().and_then(|inbound| inbound.poll()) {
            self.outputs.push_back(match outcome {
                Outcome::Unit(unit) => Output::Unit(unit),
                Outcome::Rtcp(packet) => Output::Rtcp(packet),
            });
        }
        let Some(dtls) = &mut self.dtls else { return };
        while let Some(datagram) = dtls.poll_transmit() {
            if let Some(path) = path {
                self.outputs.push_back(Output::Transmit(path, datagram.to_vec()));
            }
        }
    }
}

#[cfg(test)]
mod tests;
