//! The engine's public face: start, join, patch, leave, publish, stop.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsFd as _,
    sync::{
        Arc,
        atomic::Ordering::{Acquire, Relaxed, Release},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use framebridge_proto::{StreamName, media::AccessUnit, supervisor::Datagrams};
use tokio::sync::{mpsc, oneshot};

use crate::{
    Candidate, CloseReason, Config, Event, Peer, PeerConfig, SessionId, SessionInfo, StreamStats, ViewerState,
    dtls::{DtlsError, Identity},
    handover::viewer_file::ViewerFile,
    handover::{Handover, socket_name, viewer_file_name},
    ice::Credentials,
    packetizer::Published,
    random,
    reach::Restarts,
    sdp::{Answer, Change, Fragment, Offer, OfferError},
    shared::{Command, EngineState, IceRestart, KEYFRAME_INTERVAL, Mailbox, Session, lock, monotonic},
    socket,
    viewer::Viewer,
    worker::{Worker, ufrag_prefix},
};

/// Events waiting for the engine's owner; see `EngineState::events` about a full queue.
const EVENTS: usize = 1024;

/// The media plane: worker threads, sockets and viewers. Dropping it stops it.
pub struct Engine {
    handle: Handle,
    handover: Handover,
    workers: Vec<JoinHandle<()>>,
}

/// A cheap, shareable way to use an [`Engine`].
#[derive(Clone)]
pub struct Handle {
    shared: Arc<EngineState>,
    /// As which the viewers that join by this one see this machine, where that is no address of its own.
    seen_as: Option<IpAddr>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("port", &self.local_port())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle")
            .field("port", &self.shared.port)
            .finish_non_exhaustive()
    }
}

/// Why the engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket could not be bound.
    #[error("can't bind UDP {address}")]
    Bind {
        /// What was tried.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The number of workers is out of range.
    #[error("{workers} workers: it must be 1 to {}", Config::MAX_WORKERS)]
    Workers {
        /// What was asked for.
        workers: usize,
    },
    /// There is no address to bind.
    #[error("no address to bind")]
    NoAddress,
    /// Our certificate could not be made.
    #[error("can't prepare DTLS")]
    Dtls(#[from] DtlsError),
    /// Sockets and viewers can't be shared with the next engine.
    #[error("can't prepare the handover to the next process")]
    Handover(#[source] io::Error),
    /// A worker could not be started.
    #[error("can't start a worker thread")]
    Thread(#[source] io::Error),
}

/// Why a viewer was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The offer can't be read or lacks something.
    #[error("malformed offer: {0}")]
    MalformedOffer(String),
    /// It offers no H.264 that we could send.
    #[error("the offer has no acceptable H.264")]
    NoAcceptableCodec,
    /// It is right, but asks for a transport that we don't have.
    #[error("unacceptable offer: {0}")]
    UnacceptableOffer(String),
    /// The stream is full.
    #[error("the stream has its {limit} viewers")]
    TooManyViewers {
        /// The configured limit.
        limit: u32,
    },
    /// All streams together have all the viewers that there is memory for.
    #[error("all {limit} places for viewers are taken")]
    OutOfPlaces {
        /// The configured limit.
        limit: usize,
    },
    /// The engine was stopped.
    #[error("the media plane has stopped")]
    Stopped,
}

/// Why a session was not patched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// There is no such session (any more).
    #[error("unknown session")]
    UnknownSession,
    /// `If-Match` names another ICE generation.
    #[error("If-Match does not name the session's current entity tag")]
    PreconditionFailed {
        /// The tag in force.
        etag: String,
    },
    /// `If-Match` is missing from a fragment that restarts ICE.
    #[error("If-Match is required to restart ICE")]
    PreconditionRequired,
    /// The fragment can't be read.
    #[error("malformed fragment: {0}")]
    Malformed(String),
    /// ICE was restarted too often.
    #[error("ICE was restarted too often; once more in {retry_after:?}")]
    TooManyRestarts {
        /// When there will be one to be had.
        retry_after: Duration,
    },
}

/// A viewer that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Its session.
    pub session: SessionId,
    /// The entity tag of its ICE generation, without quotes.
    pub etag: String,
    /// The SDP answer.
    pub answer: String,
}

/// The `If-Match` header of a PATCH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMatch {
    /// `*`: whatever the generation is.
    Any,
    /// An entity tag, without quotes.
    Etag(String),
    /// No such header.
    None,
}

/// What a PATCH came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Patched {
    /// Candidates were added (204).
    Trickled,
    /// ICE was restarted (200).
    Restarted {
        /// The new entity tag, without quotes.
        etag: String,
        /// Our new credentials and candidates, `application/trickle-ice-sdpfrag`.
        fragment: String,
    },
}

/// A command's place in a worker's mailbox.
struct Order<'a> {
    place: mpsc::Permit<'a, Command>,
    mailbox: &'a Mailbox,
}

impl Order<'_> {
    fn give(self, command: Command) {
        self.place.send(command);
        self.mailbox.ring();
    }
}

impl Engine {
    /// Binds the sockets and starts the workers. Events come on the receiver.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(config: Config) -> Result<(Self, mpsc::Receiver<Event>), StartError> {
        Self::restore(config, Handover::default(), |_| true)
    }

    /// Starts where an earlier engine was killed: on its sockets, with its viewers, as far as they were kept and their
    /// streams are `served` still.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn restore(
        config: Config,
        mut restored: Handover,
        served: impl Fn(&StreamName) -> bool,
    ) -> Result<(Self, mpsc::Receiver<Event>), StartError> {
        if !(1..=Config::MAX_WORKERS).contains(&config.workers) {
            return Err(StartError::Workers {
                workers: config.workers,
            });
        }
        let sockets = socket::bind(&config, &mut restored)?;
        let first = sockets
            .first()
            .filter(|sockets| !sockets.is_empty())
            .ok_or(StartError::NoAddress)?;
        let port = first[0].local().port();
        let families = first
            .iter()
            .map(|socket| socket.local().is_ipv4())
            .enumerate()
            .collect();
        let candidates = socket::candidates(first, &config.candidates);
        let identity = Identity::generate()?;
        let (events, events_in) = mpsc::channel(EVENTS);
        let (mut mailboxes, mut inlets) = (Vec::new(), Vec::new());
        for _ in 0..config.workers {
            let (mailbox, inlet) = Mailbox::new().map_err(StartError::Thread)?;
            mailboxes.push(mailbox);
            inlets.push(inlet);
        }
        let shared = Arc::new(EngineState::new(
            config,
            identity,
            (port, families, candidates),
            mailboxes,
            events,
        ));
        let mut engine = Self {
            handle: Handle { shared, seen_as: None },
            handover: Handover::default(),
            workers: Vec::new(),
        };
        for (number, (sockets, inlet)) in sockets.into_iter().zip(inlets).enumerate() {
            for socket in &sockets {
                let name = socket_name(number, socket.local().ip());
                engine
                    .handover
                    .add(name, socket.as_fd())
                    .map_err(StartError::Handover)?;
            }
            let earlier = restored.take(&viewer_file_name(number));
            let (viewer_file, records) = ViewerFile::restore(earlier).map_err(StartError::Handover)?;
            engine
                .handover
                .add(viewer_file_name(number), viewer_file.file())
                .map_err(StartError::Handover)?;
            let mut worker = Worker::new(number, Arc::clone(&engine.handle.shared), sockets, viewer_file, inlet);
            for (place, record) in records {
                match record.stream.parse() {
                    Ok(stream) if served(&stream) => worker.restore(place, record, &stream, Instant::now()),
                    Ok(_) | Err(_) => worker.forget(place),
                }
            }
            let thread = thread::Builder::new()
                .name(format!("rtc-{number}"))
                .spawn(move || worker.run());
            engine.workers.push(thread.map_err(StartError::Thread)?);
        }
        Ok((engine, events_in))
    }

    /// What the next engine needs in order to go on if this one is killed.
    pub fn handover(&self) -> &Handover {
        &self.handover
    }

    /// The UDP port in use.
    pub fn local_port(&self) -> u16 {
        self.handle.shared.port
    }

    /// A handle to share.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Closes every viewer and ends the threads; blocks until they have ended, which takes milliseconds.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let shared = &self.handle.shared;
        shared.stopped.store(true, Release);
        shared.mailboxes.iter().for_each(Mailbox::ring);
        for worker in self.workers.drain(..) {
            if worker.join().is_err() {
                tracing::error!("a media worker had panicked");
            }
        }
        // Viewers that were on their way to a worker.
        for (_, session) in shared.sessions().drain() {
            session.stream.release();
        }
    }
}

impl Handle {
    /// For viewers from outside, who see this machine as `address`: the one of a NAT. They are offered it, too, so that they
    /// and their relays expect what comes from there.
    #[must_use]
    pub fn seen_as(&self, address: IpAddr) -> Self {
        Self {
            seen_as: Some(address),
            ..self.clone()
        }
    }

    /// What viewers are told to try.
    fn candidates(&self) -> Vec<Candidate> {
        let mut candidates = self.shared.candidates.clone();
        let seen_as = self.seen_as.map(|ip| SocketAddr::new(ip, self.shared.port));
        if let Some(address) = seen_as.filter(|seen| candidates.iter().all(|known| known.address.ip() != seen.ip())) {
            candidates.push(Candidate::reflexive(address));
        }
        candidates
    }

    /// Answers `offer` and makes its sender a viewer of `stream`. Cancel-safe.
    ///
    /// # Errors
    /// See [`JoinError`].
    pub async fn join(&self, stream: &StreamName, offer: &str) -> Result<Joined, JoinError> {
        let shared = &self.shared;
        let offer = Offer::parse(offer).map_err(|error| match error {
            OfferError::Malformed(reason) => JoinError::MalformedOffer(reason),
            OfferError::NoAcceptableCodec => JoinError::NoAcceptableCodec,
            OfferError::Unacceptable(reason) => JoinError::UnacceptableOffer(reason),
        })?;
        if shared.stopped.load(Acquire) {
            return Err(JoinError::Stopped);
        }
        let worker = shared.next_worker();
        let order = self.order(worker).await.ok_or(JoinError::Stopped)?;
        let stream = shared.stream(stream);
        let limit = shared.config.max_viewers;
        if shared.sessions().len() >= limit {
            return Err(JoinError::OutOfPlaces { limit });
        }
        let limit = shared.config.max_viewers_per_stream;
        if !stream.reserve(limit) {
            return Err(JoinError::TooManyViewers { limit });
        }
        let (session, now) = (SessionId::random(), Instant::now());
        let local = Credentials::random(&ufrag_prefix(worker));
        let ssrc = u32::from_be_bytes(random::bytes());
        let answer = Answer {
            offer: &offer,
            ice: &local,
            fingerprint: shared.identity.fingerprint(),
            candidates: &self.candidates(),
            ssrc,
            name: stream.name.as_str(),
            cname: &session.cname(),
        }
        .write();
        let mid = offer.transport_mid().map(str::to_owned);
        let config = PeerConfig {
            local,
            remote: offer.ice.clone(),
            sockets: shared.families.clone(),
            fingerprints: offer.fingerprints,
            ssrc,
            payload_type: offer.format.payload_type,
            connect_timeout: shared.config.connect_timeout,
            disconnect_grace: shared.config.disconnect_grace,
        };
        let viewer = Viewer::new(
            session,
            Arc::clone(&stream),
            Peer::new(&shared.identity, config, now),
            now,
        );
        let etag = random::text(16);
        let entry = Session {
            stream: Arc::clone(&stream),
            worker,
            etag: etag.clone(),
            remote: offer.ice,
            mid,
            restarts: Restarts::default(),
            state: ViewerState::Connecting,
        };
        shared.sessions().insert(session, entry);
        order.give(Command::Join(Box::new(viewer), offer.candidates));
        Ok(Joined { session, etag, answer })
    }

    /// Adds trickled candidates or, if the fragment has new credentials, restarts ICE. When this returns, the new generation
    /// outlives the process as the session does: a viewer that was told of it would be lost to a process that knows only
    /// the old one. Whoever stops waiting is taken not to have been told. A worker that hangs is waited for: see
    /// [`rounds`](Self::rounds).
    ///
    /// # Errors
    /// See [`PatchError`].
    pub async fn patch(&self, session: &SessionId, fragment: &str, if_match: IfMatch) -> Result<Patched, PatchError> {
        let worker = self.worker(session).ok_or(PatchError::UnknownSession)?;
        let order = self.order(worker).await.ok_or(PatchError::UnknownSession)?;
        let (taken, is_taken) = oneshot::channel();
        let (command, patched) = self.plan_patch(session, fragment, &if_match, taken)?;
        let restarts = matches!(command, Command::Restart(..));
        order.give(command);
        if restarts {
            is_taken.await.map_err(|_| PatchError::UnknownSession)?;
        }
        Ok(patched)
    }

    /// Checks a PATCH and notes its outcome; the session's worker is still to be told.
    fn plan_patch(
        &self,
        session: &SessionId,
        fragment: &str,
        if_match: &IfMatch,
        taken: oneshot::Sender<()>,
    ) -> Result<(Command, Patched), PatchError> {
        let fragment = Fragment::parse(fragment).map_err(PatchError::Malformed)?;
        let mut sessions = self.shared.sessions();
        let entry = sessions.get_mut(session).ok_or(PatchError::UnknownSession)?;
        match if_match {
            IfMatch::Etag(etag) if *etag != entry.etag => {
                return Err(PatchError::PreconditionFailed {
                    etag: entry.etag.clone(),
                });
            }
            IfMatch::Etag(_) | IfMatch::Any | IfMatch::None => {}
        }
        match (fragment.against(&entry.remote), if_match) {
            // Candidates name their generation by its credentials, so they can't go to a wrong one.
            (Change::Candidates(candidates), _) => Ok((Command::Candidates(*session, candidates), Patched::Trickled)),
            (Change::Restart(..), IfMatch::None) => Err(PatchError::PreconditionRequired),
            (Change::Restart(remote, candidates), IfMatch::Any | IfMatch::Etag(_)) => {
                entry
                    .restarts
                    .take(Instant::now())
                    .map_err(|retry_after| PatchError::TooManyRestarts { retry_after })?;
                let local = Credentials::random(&ufrag_prefix(entry.worker));
                entry.etag = random::text(16);
                entry.remote = remote.clone();
                let patched = Patched::Restarted {
                    etag: entry.etag.clone(),
                    fragment: Fragment::write(&local, entry.mid.as_deref(), &self.candidates()),
                };
                let restart = IceRestart {
                    local,
                    remote,
                    candidates,
                    taken,
                };
                Ok((Command::Restart(*session, Box::new(restart)), patched))
            }
        }
    }

    /// Ends a session; false if there is none. When this returns it is unknown and its place is free; the worker says
    /// goodbye to the viewer after that.
    pub async fn leave(&self, session: &SessionId) -> bool {
        self.end(session, CloseReason::Left).await
    }

    /// Like [`leave`](Self::leave), but the viewer is not told: it has to find out by itself, as when this machine had
    /// vanished.
    pub async fn drop_silently(&self, session: &SessionId) -> bool {
        self.end(session, CloseReason::Dropped).await
    }

    /// Like [`leave`](Self::leave), without waiting. A worker that has no room for the news keeps the viewer, uncounted,
    /// until it has not connected in time.
    pub fn abandon(&self, session: &SessionId) {
        let Some(worker) = self.forget(session) else { return };
        let mailbox = &self.shared.mailboxes[worker];
        let end = Command::End(*session, CloseReason::Left);
        if mailbox.commands.try_send(end).is_ok() {
            mailbox.ring();
        }
    }

    async fn end(&self, session: &SessionId, reason: CloseReason) -> bool {
        let Some(worker) = self.worker(session) else {
            return false;
        };
        let order = self.order(worker).await;
        if self.forget(session).is_none() {
            return false;
        }
        if let Some(order) = order {
            order.give(Command::End(*session, reason));
        }
        true
    }

    /// Makes a session unknown and frees its place; who served it.
    fn forget(&self, session: &SessionId) -> Option<usize> {
        let ended = self.shared.sessions().remove(session)?;
        ended.stream.release();
        Some(ended.worker)
    }

    /// Who serves a session.
    fn worker(&self, session: &SessionId) -> Option<usize> {
        self.shared.sessions().get(session).map(|entry| entry.worker)
    }

    /// A place for a command in a worker's mailbox; `None` if the engine has stopped. Whoever waits for it may be dropped
    /// meanwhile, so nothing is noted before it is there.
    async fn order(&self, worker: usize) -> Option<Order<'_>> {
        let mailbox = &self.shared.mailboxes[worker];
        let place = mailbox.commands.reserve().await.ok()?;
        Some(Order { place, mailbox })
    }

    /// The open sessions, in no order.
    pub fn sessions(&self) -> Vec<SessionId> {
        self.shared.sessions().keys().copied().collect()
    }

    /// A session's state; `None` once it has ended.
    pub fn session(&self, session: &SessionId) -> Option<SessionInfo> {
        let sessions = self.shared.sessions();
        let entry = sessions.get(session)?;
        Some(SessionInfo {
            stream: entry.stream.name.clone(),
            etag: entry.etag.clone(),
            state: entry.state,
        })
    }

    /// Hands a picture to all viewers of `stream`. Never blocks: a worker that has fallen behind loses it and goes on
    /// at the next keyframe.
    pub fn publish(&self, stream: &StreamName, unit: AccessUnit) {
        let now = Instant::now();
        let stream = self.shared.stream(stream);
        // Held while the frame is handed on, so that two publishers can't change the order.
        let mut packetizer = lock(&stream.packetizer);
        match packetizer.publish(&unit, now) {
            Published::Frame(mut frame) => {
                let age = monotonic().saturating_sub(Duration::from_nanos(unit.captured_ns));
                frame.captured = now.checked_sub(age).unwrap_or(now);
                stream.counters.frames_published.fetch_add(1, Relaxed);
                self.shared.distribute(&stream, frame);
            }
            Published::Undecodable if stream.counters.viewers.load(Relaxed) > 0 => {
                self.shared.ask_keyframe(&stream, KEYFRAME_INTERVAL, now);
            }
            Published::Undecodable | Published::Empty => {}
        }
    }

    /// How often each worker thread has come round. All are woken, so that one whose number is the same a moment later hangs.
    pub fn rounds(&self) -> Vec<u64> {
        self.shared.mailboxes.iter().map(Mailbox::rounds).collect()
    }

    /// Counters of every stream seen so far, by name.
    pub fn stats(&self) -> Vec<StreamStats> {
        self.shared.stats()
    }

    /// What the system did with all datagrams since the engine started.
    pub fn datagrams(&self) -> Datagrams {
        self.shared.datagrams()
    }
}
