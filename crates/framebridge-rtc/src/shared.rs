//! What handles and workers share. Nothing in here is touched per packet.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use framebridge_proto::{StreamName, supervisor::Datagrams};
use rustix::{
    event::{EventfdFlags, eventfd},
    time::{ClockId, clock_gettime},
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    CloseReason, Config, Event, SessionId, StreamStats, ViewerState,
    batch::Outcome,
    delay::Delays,
    dtls::Identity,
    frame::Frame,
    ice::{Credentials, Path},
    packetizer::Packetizer,
    reach::Restarts,
    sdp::Candidate,
    viewer::Viewer,
};

/// At most one IDR per stream in this time serves all who have no picture yet.
pub(crate) const KEYFRAME_INTERVAL: Duration = Duration::from_millis(250);
/// The same for those who had one and ask for another: each costs all viewers quality.
pub(crate) const REPAIR_INTERVAL: Duration = Duration::from_secs(1);

/// Commands waiting for a worker. Full: who asks waits.
const COMMANDS: usize = 256;
/// Datagrams waiting for a worker that came to another. Full: they are dropped, as the net drops. A lane of their own, for
/// strangers can fill it.
const FORWARDED: usize = 256;
/// Frames waiting for a worker: two seconds at 30 a second. Full: the frame is lost to that worker's viewers, and the
/// gap in the numbering makes it wait for a keyframe.
const FRAMES: usize = 64;

/// What a worker is told.
pub(crate) enum Command {
    /// Take this viewer, whose offer had these candidates.
    Join(Box<Viewer>, Vec<Candidate>),
    /// A viewer has further candidates.
    Candidates(SessionId, Vec<Candidate>),
    /// A viewer restarts ICE.
    Restart(SessionId, Box<IceRestart>),
    /// End a viewer's session.
    End(SessionId, CloseReason),
}

/// What one worker tells another.
pub(crate) enum Forwarded {
    /// A datagram that may be your viewer's came to worker `from`.
    Datagram { from: usize, path: Path, datagram: Vec<u8> },
    /// What comes from this address is a viewer's of worker `owner`: an authentic check has come from it.
    Owned { remote: SocketAddr, owner: usize },
}

/// A viewer's new ICE generation.
pub(crate) struct IceRestart {
    pub(crate) local: Credentials,
    pub(crate) remote: Credentials,
    pub(crate) candidates: Vec<Candidate>,
    /// Told once the worker knows it, and the viewer file, so that it outlives this process.
    pub(crate) taken: oneshot::Sender<()>,
}

/// How to reach a worker.
pub(crate) struct Mailbox {
    pub(crate) commands: mpsc::Sender<Command>,
    frames: mpsc::Sender<(Arc<Stream>, Arc<Frame>)>,
    forwarded: mpsc::Sender<Forwarded>,
    bell: Bell,
    /// How often the worker has come round.
    rounds: AtomicU64,
}

/// The receiving end of a [`Mailbox`].
pub(crate) struct Inlet {
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) frames: mpsc::Receiver<(Arc<Stream>, Arc<Frame>)>,
    pub(crate) forwarded: mpsc::Receiver<Forwarded>,
    pub(crate) bell: Bell,
}

impl Mailbox {
    /// A mailbox and its receiving end.
    pub(crate) fn new() -> io::Result<(Self, Inlet)> {
        let (commands, commands_in) = mpsc::channel(COMMANDS);
        let (frames, frames_in) = mpsc::channel(FRAMES);
        let (forwarded, forwarded_in) = mpsc::channel(FORWARDED);
        let bell = Bell(Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?));
        Ok((
            Self {
                commands,
                frames,
                forwarded,
                bell: bell.clone(),
                rounds: AtomicU64::new(0),
            },
            Inlet {
                commands: commands_in,
                frames: frames_in,
                forwarded: forwarded_in,
                bell,
            },
        ))
    }

    /// Wakes the worker.
    pub(crate) fn ring(&self) {
        self.bell.ring();
    }

    /// Tells the worker, if there is room.
    pub(crate) fn forward(&self, forwarded: Forwarded) {
        if self.forwarded.try_send(forwarded).is_ok() {
            self.ring();
        }
    }

    /// The worker has come round.
    pub(crate) fn count_round(&self) {
        self.rounds.fetch_add(1, Relaxed);
    }

    /// How often the worker has come round; it is woken to do so again.
    pub(crate) fn rounds(&self) -> u64 {
        let rounds = self.rounds.load(Relaxed);
        self.ring();
        rounds
    }
}

/// Wakes a worker out of its poll.
#[derive(Clone)]
pub(crate) struct Bell(Arc<OwnedFd>);

impl Bell {
    fn ring(&self) {
        // Fails only when the counter is full, and then it rings already.
        _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }

    /// Stops the ringing.
    pub(crate) fn silence(&self) {
        // Fails only when it does not ring.
        _ = rustix::io::read(&*self.0, &mut [0; 8]);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// One stream, as all workers and handles know it.
pub(crate) struct Stream {
    /// Its name.
    pub(crate) name: StreamName,
    /// Its place in the workers' tables.
    pub(crate) number: usize,
    /// Locked once per published picture, by who publishes.
    pub(crate) packetizer: Mutex<Packetizer>,
    /// What was done for it.
    pub(crate) counters: Counters,
    /// When a keyframe was last asked for.
    asked: Mutex<Option<Instant>>,
}

/// See [`StreamStats`].
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) viewers: AtomicU32,
    pub(crate) frames_published: AtomicU64,
    pub(crate) frames_sent: AtomicU64,
    pub(crate) bytes_sent: AtomicU64,
    pub(crate) packets_sent: AtomicU64,
    pub(crate) packets_lost: AtomicU64,
    pub(crate) nacks: AtomicU64,
    pub(crate) keyframe_requests: AtomicU64,
    pub(crate) keyframe_requests_refused: AtomicU64,
    pub(crate) repeats_refused: AtomicU64,
    pub(crate) retransmitted: AtomicU64,
    pub(crate) holds: AtomicU64,
    pub(crate) capture_to_wire: Delays,
}

impl Stream {
    /// A stream with place `number` in the workers' tables.
    pub(crate) fn new(name: StreamName, number: usize) -> Self {
        Self {
            name,
            number,
            packetizer: Mutex::default(),
            counters: Counters::default(),
            asked: Mutex::default(),
        }
    }

    /// Takes one of the places for viewers, if there is one left.
    pub(crate) fn reserve(&self, limit: u32) -> bool {
        let take = |viewers: u32| (viewers < limit).then_some(viewers + 1);
        self.counters.viewers.fetch_update(Relaxed, Relaxed, take).is_ok()
    }

    /// Gives a viewer's place back.
    pub(crate) fn release(&self) {
        self.counters.viewers.fetch_sub(1, Relaxed);
    }

    /// Whether the last keyframe was asked for so long ago that another may be; if so it counts as asked for.
    pub(crate) fn may_ask_keyframe(&self, interval: Duration, now: Instant) -> bool {
        let mut asked = lock(&self.asked);
        let may = asked.is_none_or(|last| now.saturating_duration_since(last) >= interval);
        if may {
            *asked = Some(now);
        }
        may
    }

    /// `live`: viewers that are connected.
    fn stats(&self, live: u32) -> StreamStats {
        let counters = &self.counters;
        StreamStats {
            stream: self.name.clone(),
            viewers: counters.viewers.load(Relaxed),
            live,
            frames_published: counters.frames_published.load(Relaxed),
            frames_sent: counters.frames_sent.load(Relaxed),
            bytes_sent: counters.bytes_sent.load(Relaxed),
            packets_sent: counters.packets_sent.load(Relaxed),
            packets_lost: counters.packets_lost.load(Relaxed),
            nacks: counters.nacks.load(Relaxed),
            keyframe_requests: counters.keyframe_requests.load(Relaxed),
            keyframe_requests_refused: counters.keyframe_requests_refused.load(Relaxed),
            repeats_refused: counters.repeats_refused.load(Relaxed),
            retransmitted: counters.retransmitted.load(Relaxed),
            holds: counters.holds.load(Relaxed),
            capture_to_wire: counters.capture_to_wire.stats(),
        }
    }
}

/// An open session, as handles know it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) stream: Arc<Stream>,
    pub(crate) worker: usize,
    pub(crate) etag: String,
    pub(crate) remote: Credentials,
    pub(crate) mid: Option<String>,
    pub(crate) restarts: Restarts,
    pub(crate) state: ViewerState,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stream({})", self.name)
    }
}

/// The sum of all [`Outcome`]s.
#[derive(Default)]
struct Outcomes {
    taken: AtomicU64,
    refused: AtomicU64,
    /// The number of the last refusal's error; 0: there was none.
    refusal: AtomicI32,
}

/// The engine's shared part.
pub(crate) struct EngineState {
    pub(crate) config: Config,
    pub(crate) identity: Identity,
    pub(crate) port: u16,
    /// Index and family (IPv4 or not) of each worker's sockets: the same for all.
    pub(crate) families: Vec<(usize, bool)>,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) mailboxes: Vec<Mailbox>,
    pub(crate) stopped: AtomicBool,
    next_worker: AtomicUsize,
    streams: RwLock<BTreeMap<StreamName, Arc<Stream>>>,
    sessions: Mutex<HashMap<SessionId, Session>>,
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
        (port, families, candidates): (u16, Vec<(usize, bool)>, Vec<Candidate>),
        mailboxes: Vec<Mailbox>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        Self {
            config,
            identity,
            port,
            families,
            candidates,
            mailboxes,
            stopped: AtomicBool::new(false),
            next_worker: AtomicUsize::new(0),
            streams: RwLock::default(),
            sessions: Mutex::default(),
            datagrams: Outcomes::default(),
            events,
        }
    }

    /// The stream of this name, made on first use.
    pub(crate) fn stream(&self, name: &StreamName) -> Arc<Stream> {
        if let Some(stream) = self.streams.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Arc::clone(stream);
        }
        let mut streams = self.streams.write().unwrap_or_else(PoisonError::into_inner);
        let number = streams.len();
        let make = || Arc::new(Stream::new(name.clone(), number));
        Arc::clone(streams.entry(name.clone()).or_insert_with(make))
    }

    /// All streams' counters, by name.
    pub(crate) fn stats(&self) -> Vec<StreamStats> {
        let mut live: BTreeMap<StreamName, u32> = BTreeMap::new();
        for session in self
            .sessions()
            .values()
            .filter(|session| session.state == ViewerState::Live)
        {
            *live.entry(session.stream.name.clone()).or_default() += 1;
        }
        let streams = self.streams.read().unwrap_or_else(PoisonError::into_inner);
        streams
            .values()
            .map(|stream| stream.stats(live.get(&stream.name).copied().unwrap_or(0)))
            .collect()
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

    /// The worker for the next viewer: in turn.
    pub(crate) fn next_worker(&self) -> usize {
        self.next_worker.fetch_add(1, Relaxed) % self.mailboxes.len()
    }

    /// Hands a frame to every worker.
    pub(crate) fn distribute(&self, stream: &Arc<Stream>, frame: Frame) {
        let frame = Arc::new(frame);
        for mailbox in &self.mailboxes {
            // Full or closed: see FRAMES.
            if mailbox
                .frames
                .try_send((Arc::clone(stream), Arc::clone(&frame)))
                .is_ok()
            {
                mailbox.ring();
            }
        }
    }

    /// Asks for a keyframe unless that was done within `interval`.
    pub(crate) fn ask_keyframe(&self, stream: &Stream, interval: Duration, now: Instant) -> bool {
        let may = stream.may_ask_keyframe(interval, now);
        if may {
            self.tell(Event::KeyframeWanted {
                stream: stream.name.clone(),
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

/// Now on the machine's monotonic clock, which encoders stamp pictures with.
pub(crate) fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.try_into().unwrap_or(0), now.tv_nsec.try_into().unwrap_or(0))
}

/// Locks, whatever a thread that panicked left behind: every critical section here is a single step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_send_to_the_wrong_worker_takes_no_place_from_commands() {
        let (mailbox, mut inlet) = Mailbox::new().unwrap();
        let path = Path {
            socket: 0,
            source: None,
            remote: ([127, 0, 0, 1], 9).into(),
        };
        for _ in 0..10 * FORWARDED {
            mailbox.forward(Forwarded::Datagram {
                from: 1,
                path,
                datagram: vec![0; 100],
            });
        }
        assert_eq!(mailbox.commands.capacity(), COMMANDS);
        let waiting = std::iter::from_fn(|| inlet.forwarded.try_recv().ok()).count();
        assert_eq!(waiting, FORWARDED, "what there is no room for is dropped");
    }
}
