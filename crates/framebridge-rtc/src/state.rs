//! What handles and workers share. Nothing in here is touched per packet.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use framebridge_proto::{StreamName, media::Rung, supervisor::Datagrams};
use tokio::sync::mpsc;

use crate::{
    Arrival, Config, Event, PublisherEvent, SessionId, StreamStats, ViewerState,
    addresses::{self, Offered},
    batch::Outcome,
    dtls::Identity,
    frame::Frame,
    lines::Lines,
    mailbox::Mailbox,
    mutex::lock,
    outlet::is_tcp,
    publishers::LastHeard,
    random,
    reflexive::{News, Reflexive},
    sdp::Candidate,
    sessions::Session,
    stream::Stream,
    stun::Stun,
    viewer::{Standing, Viewer},
};

/// The sum of all [`Outcome`]s.
#[derive(Default)]
struct Outcomes {
    taken: AtomicU64,
    refused: AtomicU64,
    /// The number of the last refusal's error; 0: there was none.
    refusal: AtomicI32,
}

/// What is needed to go on with a publisher.
pub(crate) type Resumed = (SessionId, mpsc::Receiver<PublisherEvent>, LastHeard);

/// The engine's shared part.
pub(crate) struct EngineState {
    pub(crate) config: Config,
    pub(crate) identity: Identity,
    /// Where each worker's sockets are bound: the same for all.
    locals: Vec<SocketAddr>,
    /// Addresses besides this machine's own that lead here; see [`Config::candidates`].
    further: RwLock<Vec<SocketAddr>>,
    /// This machine's own addresses, when they were last looked at.
    present: Mutex<Option<Arc<[IpAddr]>>>,
    /// Where STUN servers see our sockets.
    reflexive: Mutex<Reflexive>,
    /// Where media is waited for by TCP.
    tcp: OnceLock<Vec<SocketAddr>>,
    connections: AtomicUsize,
    pub(crate) mailboxes: Vec<Mailbox>,
    pub(crate) stopped: AtomicBool,
    next_worker: AtomicUsize,
    streams: RwLock<BTreeMap<StreamName, Arc<Stream>>>,
    sessions: Mutex<HashMap<SessionId, Session>>,
    pub(crate) lines: Lines,
    pub(crate) publishers: Mutex<HashMap<SessionId, Session>>,
    /// Publishers that an earlier process kept, and nobody has taken up yet: at most as many as there may be.
    pub(crate) resumed: Mutex<Vec<Resumed>>,
    /// What the system did with all workers' datagrams.
    datagrams: Outcomes,
    /// Full: the event is dropped. A keyframe is asked for again while it is missing, and a session's state can be
    /// read at any time.
    events: mpsc::Sender<Event>,
}

impl EngineState {
    pub(crate) fn new(
        config: Config,
        identity: Identity,
        locals: Vec<SocketAddr>,
        mailboxes: Vec<Mailbox>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        Self {
            further: RwLock::new(config.candidates.clone()),
            present: Mutex::default(),
            reflexive: Mutex::default(),
            tcp: OnceLock::new(),
            // What an earlier process has named is not named again soon.
            connections: AtomicUsize::new(usize::from(u16::from_be_bytes(random::bytes())) << 12),
            config,
            identity,
            locals,
            mailboxes,
            stopped: AtomicBool::new(false),
            next_worker: AtomicUsize::new(0),
            streams: RwLock::default(),
            sessions: Mutex::default(),
            lines: Lines::default(),
            publishers: Mutex::default(),
            resumed: Mutex::default(),
            datagrams: Outcomes::default(),
            events,
        }
    }

    /// The UDP port of all viewers.
    pub(crate) fn port(&self) -> u16 {
        self.locals.first().map_or(0, SocketAddr::port)
    }

    /// Index and family (IPv4 or not) of each worker's sockets.
    pub(crate) fn families(&self) -> Vec<(usize, bool)> {
        self.locals.iter().map(SocketAddr::is_ipv4).enumerate().collect()
    }

    /// What a viewer is told to try.
    pub(crate) fn candidates(&self, arrival: Option<Arrival>) -> Vec<Candidate> {
        let further = self.further.read().unwrap_or_else(PoisonError::into_inner);
        let offered = Offered {
            udp: &self.locals,
            tcp: self.tcp.get().map_or(&[], Vec::as_slice),
            further: &further,
            interfaces: &self.config.interfaces,
        };
        offered.candidates(arrival)
    }

    /// From now on these addresses lead here, too, and no others that were said to.
    pub(crate) fn set_further(&self, addresses: Vec<SocketAddr>) {
        *self.further.write().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// This machine's own addresses, if they are others than at the last look.
    pub(crate) fn look_at_addresses(&self) -> Option<Arc<[IpAddr]>> {
        let now: Arc<[IpAddr]> = addresses::present().into();
        if now.is_empty() {
            // Nothing can be sent anywhere, or nobody can say from where.
            return None;
        }
        let before = lock(&self.present).replace(Arc::clone(&now));
        match before {
            Some(before) if before == now => return None,
            Some(before) => {
                let without = |of: &[IpAddr], others: &[IpAddr]| -> Vec<IpAddr> {
                    of.iter().filter(|ip| !others.contains(ip)).copied().collect()
                };
                let (came, gone) = (without(&now, &before), without(&before, &now));
                tracing::info!(?came, ?gone, "this machine's addresses have changed");
            }
            // Viewers of an earlier process may be on a path that went with it.
            None => {}
        }
        Some(now)
    }

    /// The next look is as if it was the first.
    pub(crate) fn forget_addresses(&self) {
        *lock(&self.present) = None;
    }

    /// What to ask a STUN server.
    pub(crate) fn ask_outside(&self, server: SocketAddr, now: Instant) -> Vec<u8> {
        lock(&self.reflexive).ask(server, now)
    }

    /// Takes a STUN message that may be a server's answer; false if nobody was asked there.
    pub(crate) fn hears_from_outside(&self, datagram: &[u8], from: SocketAddr, now: Instant) -> bool {
        let mut reflexive = lock(&self.reflexive);
        if !reflexive.is_asked(from) {
            return false;
        }
        let news = Stun::decode(datagram).map(|message| reflexive.hear(&message, from, now));
        match news {
            Some(News::SeenAt(address)) => {
                tracing::info!(%address, %from, "seen from outside there: viewers are offered that, too");
            }
            Some(News::Scattered(one, other)) => tracing::warn!(
                %one, %other,
                "webrtc.stun: the NAT in front of this machine has another port for each server, so no viewer gets in there: \
                 forward webrtc.port, or use TURN"
            ),
            Some(News::None) | None => {}
        }
        true
    }

    /// Where others see our sockets.
    pub(crate) fn seen_from_outside(&self) -> Vec<SocketAddr> {
        lock(&self.reflexive).addresses(Instant::now())
    }

    /// Media is waited for by TCP there, too. The first word holds.
    pub(crate) fn set_tcp(&self, listener: SocketAddr) {
        let mut waits = vec![listener];
        if listener.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
            // Linux takes both families there.
            waits.push((Ipv4Addr::UNSPECIFIED, listener.port()).into());
        }
        _ = self.tcp.set(waits);
    }

    /// A number for a connection.
    pub(crate) fn next_connection(&self) -> usize {
        self.connections.fetch_add(1, Relaxed)
    }

    /// The stream of this name, made on first use.
    pub(crate) fn stream(&self, name: &StreamName) -> Arc<Stream> {
        if let Some(stream) = self.streams.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Arc::clone(stream);
        }
        let mut streams = self.streams.write().unwrap_or_else(PoisonError::into_inner);
        let number = streams.len() * Rung::COUNT;
        let make = || Arc::new(Stream::new(name.clone(), number));
        Arc::clone(streams.entry(name.clone()).or_insert_with(make))
    }

    /// All streams' counters, by name.
    pub(crate) fn stats(&self) -> Vec<StreamStats> {
        let streams = self.streams.read().unwrap_or_else(PoisonError::into_inner);
        streams.values().map(|stream| stream.stats()).collect()
    }

    /// Adds what the system did with a worker's datagrams.
    pub(crate) fn count(&self, outcome: Outcome) {
        let Outcomes {
            taken,
            refused,
            refusal,
        } = &self.datagrams;
        taken.fetch_add(outcome.taken, Relaxed);
        refused.fetch_add(outcome.refused, Relaxed);
        if let Some(errno) = outcome.refusal {
            refusal.store(errno.raw_os_error(), Relaxed);
        }
    }

    /// What the system did with all datagrams.
    pub(crate) fn datagrams(&self) -> Datagrams {
        let Outcomes {
            taken,
            refused,
            refusal,
        } = &self.datagrams;
        let refusal = Some(refusal.load(Relaxed)).filter(|errno| *errno != 0);
        Datagrams {
            taken: taken.load(Relaxed),
            refused: refused.load(Relaxed),
            refusal: refusal.map(|errno| io::Error::from_raw_os_error(errno).to_string()),
        }
    }

    /// The open sessions.
    pub(crate) fn sessions(&self) -> MutexGuard<'_, HashMap<SessionId, Session>> {
        lock(&self.sessions)
    }

    /// A session begins, for which its stream has reserved a place.
    pub(crate) fn open(&self, session: SessionId, entry: Session) {
        entry.stream.change(ViewerState::Connecting, entry.state);
        self.sessions().insert(session, entry);
    }

    /// A session, if it is open still, is in another state now.
    pub(crate) fn change(&self, session: &SessionId, state: ViewerState) {
        if let Some(entry) = self.sessions().get_mut(session) {
            entry.stream.change(entry.state, state);
            entry.state = state;
        }
    }

    /// Shows what a viewer's link is like.
    pub(crate) fn note_link(&self, viewer: &mut Viewer, now: Instant) {
        match viewer.peer.media().map(|(track, path)| (path, track.state().octets)) {
            Some((path, octets)) => {
                let kind = viewer.peer.kind_of(path.remote);
                viewer.link.on_path(path.remote, is_tcp(&path), kind);
                viewer.link.on_sent(octets, now);
            }
            None => viewer.link.on_silence(),
        }
        let queue_delay = viewer.rate.has_feedback().then(|| viewer.rate.queue_delay());
        viewer.link.on_estimate(viewer.rate.estimate(), queue_delay);
        let is_held = matches!(viewer.standing, Standing::Held(_));
        viewer.link.on_hold(is_held.then_some(viewer.hold));
        let full = viewer.stream.rungs.rates()[Rung::Full.index()];
        viewer.link.on_rung(viewer.footing.in_use(), viewer.best, full);
        if let Some(entry) = self.sessions().get_mut(&viewer.session) {
            entry.link = viewer.link.link();
        }
    }

    /// Makes a session unknown and gives its place back; who served it, if it was open still.
    pub(crate) fn close(&self, session: &SessionId) -> Option<usize> {
        let ended = self.sessions().remove(session)?;
        ended.stream.release(ended.state);
        Some(ended.worker)
    }

    /// Likewise with every session.
    pub(crate) fn close_all(&self) {
        for (_, ended) in self.sessions().drain() {
            ended.stream.release(ended.state);
        }
    }

    /// The worker for the next viewer: in turn.
    pub(crate) fn next_worker(&self) -> usize {
        self.next_worker.fetch_add(1, Relaxed) % self.mailboxes.len()
    }

    /// Hands a frame to every worker.
    pub(crate) fn distribute(&self, stream: &Arc<Stream>, rung: Rung, frame: Frame) {
        let frame = Arc::new(frame);
        for mailbox in &self.mailboxes {
            mailbox.post(stream, rung, &frame);
        }
    }

    /// Asks for a keyframe of a rung unless that was done within `interval`.
    pub(crate) fn ask_keyframe(&self, stream: &Stream, rung: Rung, interval: Duration, now: Instant) -> bool {
        let may = stream.may_ask_keyframe(rung, interval, now);
        if may {
            self.tell(Event::KeyframeWanted {
                stream: stream.name.clone(),
                rung,
            });
        }
        may
    }

    /// Tells the engine's owner; see `events` about a full queue.
    pub(crate) fn tell(&self, event: Event) {
        if let Err(error) = self.events.try_send(event) {
            tracing::debug!(%error, "event dropped");
        }
    }
}
