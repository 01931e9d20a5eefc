//! The handle by which other tasks use an engine: join, patch, leave, publish, count.

use std::{
    mem,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::Ordering::{Acquire, Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use framebridge_proto::{
    StreamName,
    media::{AccessUnit, Rung},
    supervisor::Datagrams,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, oneshot},
};

use crate::{
    Arrival, Candidate, CloseReason, Form, JoinError, Link, PatchError, Peer, PeerConfig, SessionId, SessionInfo,
    StreamCounts, StreamStats, ViewerState,
    clock::{monotonic, ntp},
    ice::Credentials,
    mailbox::{Command, IceRestart, Mailbox},
    mutex::lock,
    packetizer::Published,
    random,
    reach::Restarts,
    sdp::{Answer, Change, Fragment, Load, Offer},
    sessions::Session,
    state::EngineState,
    stream::{KEYFRAME_INTERVAL, REPAIR_INTERVAL, Stream},
    tcp,
    viewer::Viewer,
    worker_number::ufrag_prefix,
};

/// A cheap, shareable way to use an [`Engine`](crate::Engine).
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<EngineState>,
    /// As which the viewers that join by this one see this machine, where that is no address of its own.
    pub(crate) seen_as: Option<IpAddr>,
    /// How the viewers that join by this one have come.
    pub(crate) arrival: Option<Arrival>,
    /// No better rung is wanted by the viewers that join by this one.
    pub(crate) best: Rung,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle")
            .field("port", &self.shared.port())
            .finish_non_exhaustive()
    }
}

/// A viewer that was taken.
#[derive(Debug)]
pub struct Joined {
    /// Its session.
    pub session: SessionId,
    /// The entity tag of its ICE generation, without quotes.
    pub etag: String,
    /// The SDP answer.
    pub answer: String,
    /// What it was written from.
    draft: Answer,
}

impl Joined {
    /// The answer where it is known what will be sent: with H.264's level of that, if it is above the offered one.
    pub fn answer_for(&self, load: Load) -> String {
        self.draft.write(Some(load.level()))
    }
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

/// What is ours of a session that is to be.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) session: SessionId,
    pub(crate) worker: usize,
    pub(crate) local: Credentials,
    pub(crate) ssrc: u32,
    pub(crate) repair_ssrc: u32,
}

impl Ends {
    /// Those of a viewer that `worker` is to serve.
    pub(crate) fn random(worker: usize) -> Self {
        let ssrc = u32::from_be_bytes(random::bytes());
        Self {
            session: SessionId::random(),
            worker,
            local: Credentials::random(&ufrag_prefix(worker)),
            ssrc,
            // Never the same one: their indices would be each other's (see `track`).
            repair_ssrc: ssrc ^ (u32::from_be_bytes(random::bytes()) | 1),
        }
    }
}

/// A command's place in a worker's mailbox.
pub(crate) struct Order<'a> {
    place: mpsc::Permit<'a, Command>,
    mailbox: &'a Mailbox,
}

impl Order<'_> {
    pub(crate) fn give(self, command: Command) {
        self.place.send(command);
        self.mailbox.ring();
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

    /// For a viewer that has come so: it is offered what it may reach, the likeliest first.
    #[must_use]
    pub fn arrived(&self, arrival: Arrival) -> Self {
        Self {
            arrival: Some(arrival),
            ..self.clone()
        }
    }

    /// For a viewer that wants no better rung than this: it begins with it.
    #[must_use]
    pub fn with_best(&self, best: Rung) -> Self {
        Self { best, ..self.clone() }
    }

    /// From now on these addresses lead here, besides this machine's own; port 0 is that of our sockets.
    pub fn lead_here(&self, addresses: Vec<SocketAddr>) {
        self.shared.set_further(addresses);
    }

    /// Looks which addresses this machine has. Where some have gone, those who are served from there are looked for from the others.
    /// To be called when they may have changed, and once at the start.
    pub fn look_at_addresses(&self) {
        let Some(present) = self.shared.look_at_addresses() else {
            return;
        };
        for mailbox in &self.shared.mailboxes {
            let news = Command::Addresses(Arc::clone(&present));
            if mailbox.commands.try_send(news).is_ok() {
                mailbox.ring();
            } else {
                // It has no room: the next look is news to all again.
                self.shared.forget_addresses();
            }
        }
    }

    /// Asks STUN servers, from the sockets that media comes to, where these are seen: viewers are told of that for a minute or
    /// so, thus it has to be asked again, which keeps a NAT's way open, too. A worker that has no room for it does not ask.
    pub fn ask_outside(&self, servers: Vec<SocketAddr>) {
        if let Some(mailbox) = self.shared.mailboxes.first()
            && mailbox.commands.try_send(Command::AskOutside(servers)).is_ok()
        {
            mailbox.ring();
        }
    }

    /// From now on viewers are told that they may connect to `listener`, whose connections come to
    /// [`serve_tcp`](Self::serve_tcp).
    pub fn listens_on(&self, listener: SocketAddr) {
        self.shared.set_tcp(listener);
    }

    /// Serves a connection of a viewer that UDP does not get through to (RFC 4571), or of a stranger, who is given ten
    /// seconds. Ends with it, or if it is cancelled.
    pub async fn serve_tcp(&self, stream: impl AsyncRead + AsyncWrite, remote: SocketAddr) {
        tcp::serve(&self.shared, stream, remote).await;
    }

    /// Serves a connection to where a receiver waits for one: this session is checked over it, too. Ends with it, or if it is
    /// cancelled.
    pub async fn serve_receiver(&self, session: &SessionId, stream: impl AsyncRead + AsyncWrite, remote: SocketAddr) {
        if let Some(worker) = self.worker(session) {
            tcp::serve_receiver(&self.shared, (session, worker), stream, remote).await;
        }
    }

    /// What viewers are told to try.
    pub(crate) fn candidates(&self) -> Vec<Candidate> {
        let mut candidates = self.shared.candidates(self.arrival);
        let seen_as = self.seen_as.map(|ip| SocketAddr::new(ip, self.shared.port()));
        for seen in self.shared.seen_from_outside().into_iter().chain(seen_as) {
            if candidates.iter().all(|known| known.address.ip() != seen.ip()) {
                candidates.push(Candidate::reflexive(seen));
            }
        }
        candidates
    }

    /// Answers `offer` and makes its sender a viewer of `stream`. Cancel-safe.
    ///
    /// # Errors
    /// See [`JoinError`].
    pub async fn join(&self, stream: &StreamName, offer: &str) -> Result<Joined, JoinError> {
        let shared = &self.shared;
        let form = shared.stream(stream).form();
        let mut offer = Offer::parse_for(offer, form)?;
        if shared.stopped.load(Acquire) {
            return Err(JoinError::Stopped);
        }
        let worker = shared.next_worker();
        let order = self.order(worker).await.ok_or(JoinError::Stopped)?;
        let (stream, ends) = (shared.stream(stream), Ends::random(worker));
        let candidates = mem::take(&mut offer.candidates);
        let etag = self.admit(order, &stream, &ends, (&mut offer, false), candidates)?;
        let answer = Answer {
            offer,
            ice: ends.local,
            fingerprint: shared.identity.fingerprint().clone(),
            candidates: self.candidates(),
            ssrc: ends.ssrc,
            repair_ssrc: ends.repair_ssrc,
            name: stream.name.to_string(),
            cname: ends.session.cname(),
        };
        Ok(Joined {
            session: ends.session,
            etag,
            answer: answer.write(None),
            draft: answer,
        })
    }

    /// Makes who wants what `offer` says a viewer of `stream`, if there is a place, and returns the entity tag of its ICE generation.
    /// Where the offer was `ours`, `offer` is the answer.
    pub(crate) fn admit(
        &self,
        order: Order<'_>,
        stream: &Arc<Stream>,
        ends: &Ends,
        (offer, ours): (&mut Offer, bool),
        candidates: Vec<Candidate>,
    ) -> Result<String, JoinError> {
        let shared = &self.shared;
        let limit = shared.config.max_viewers;
        if shared.sessions().len() >= limit {
            return Err(JoinError::OutOfPlaces { limit });
        }
        let limit = shared.config.max_viewers_per_stream;
        if !stream.reserve(limit) {
            return Err(JoinError::TooManyViewers { limit });
        }
        let now = Instant::now();
        let config = PeerConfig {
            local: ends.local.clone(),
            remote: offer.ice.clone(),
            sockets: shared.families(),
            fingerprints: mem::take(&mut offer.fingerprints),
            ssrc: ends.ssrc,
            payload_type: offer.format.payload_type,
            repair: offer.format.repair.map(|payload_type| (ends.repair_ssrc, payload_type)),
            numbering: offer.format.numbering,
            playout: offer.format.playout,
            capture_time: offer.format.capture_time,
            connect_timeout: shared.config.connect_timeout,
            disconnect_grace: shared.config.disconnect_grace,
            data: None,
            receives: None,
            begins: offer.begins,
        };
        let peer = Peer::new(&shared.identity, config, now);
        let peer = if ours { peer.controlling() } else { peer };
        // One that is not to be had is not waited for.
        let is_there = stream.rungs.rates()[self.best.index()].is_some();
        let begins = if is_there { self.best } else { Rung::Full };
        let mut viewer = Viewer::new(ends.session, Arc::clone(stream), peer, begins, now);
        viewer.best = self.best;
        viewer.was_named = ours;
        let etag = random::text(16);
        let entry = Session {
            stream: Arc::clone(stream),
            worker: ends.worker,
            etag: etag.clone(),
            remote: offer.ice.clone(),
            mid: offer.transport_mid().map(str::to_owned),
            restarts: Restarts::default(),
            is_lost: false,
            state: ViewerState::Connecting,
            link: Link::default(),
        };
        shared.open(ends.session, entry);
        order.give(Command::Join(Box::new(viewer), candidates));
        Ok(etag)
    }

    /// Adds trickled candidates or, if the fragment has new credentials, restarts ICE. When this returns, the new generation
    /// outlives the process as the session does: a viewer that was told of it would be lost to a process that knows only
    /// the old one. Whoever stops waiting is taken not to have been told. A worker that hangs is waited for: see
    /// [`rounds`](Self::rounds).
    ///
    /// # Errors
    /// See [`PatchError`].
    pub async fn patch(&self, session: &SessionId, fragment: &str, if_match: IfMatch) -> Result<Patched, PatchError> {
        let publishers = || self.shared.publishers().get(session).map(|entry| entry.worker);
        let worker = self
            .worker(session)
            .or_else(publishers)
            .ok_or(PatchError::UnknownSession)?;
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
        let (mut sessions, mut publishers) = (self.shared.sessions(), self.shared.publishers());
        let entry = sessions.get_mut(session).or_else(|| publishers.get_mut(session));
        let entry = entry.ok_or(PatchError::UnknownSession)?;
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
                entry.is_lost = false;
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
        let Some(worker) = self.shared.close(session) else {
            return;
        };
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
        if self.shared.close(session).is_none() {
            return false;
        }
        if let Some(order) = order {
            order.give(Command::End(*session, reason));
        }
        true
    }

    /// Who serves a session.
    fn worker(&self, session: &SessionId) -> Option<usize> {
        self.shared.sessions().get(session).map(|entry| entry.worker)
    }

    /// A place for a command in a worker's mailbox; `None` if the engine has stopped. Whoever waits for it may be dropped
    /// meanwhile, so nothing is noted before it is there.
    pub(crate) async fn order(&self, worker: usize) -> Option<Order<'_>> {
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
            link: entry.link,
            is_lost: entry.is_lost,
        })
    }

    /// Hands a picture to all viewers of `stream`. Never blocks: a worker that has fallen behind loses it and goes on
    /// at the next keyframe.
    pub fn publish(&self, stream: &StreamName, unit: AccessUnit) {
        self.publish_rung(stream, Rung::Full, unit);
    }

    /// [`publish`](Self::publish), to those viewers that are given this rung.
    pub fn publish_rung(&self, stream: &StreamName, rung: Rung, unit: AccessUnit) {
        let now = Instant::now();
        let stream = self.shared.stream(stream);
        // Held while the frame is handed on, so that two publishers can't change the order.
        let mut packetizer = lock(stream.packetizer(rung));
        match packetizer.publish(&unit, now) {
            Published::Frame(mut frame) => {
                let age = monotonic().saturating_sub(Duration::from_nanos(unit.captured_ns));
                frame.captured = now.checked_sub(age).unwrap_or(now);
                if packetizer.tells_capture(&frame) {
                    frame.capture_time = SystemTime::now().checked_sub(age).map(ntp);
                }
                // Of which the others are made.
                if rung == Rung::Full {
                    stream.counters.frames_published.fetch_add(1, Relaxed);
                }
                self.shared.distribute(&stream, rung, frame);
            }
            Published::Undecodable if stream.viewers().open > 0 => {
                self.shared.ask_keyframe(&stream, rung, KEYFRAME_INTERVAL, now);
            }
            Published::Undecodable | Published::Empty => {}
        }
    }

    /// From here on a stream's frames come about so. To be told before the first of them.
    pub fn describe(&self, stream: &StreamName, form: Form) {
        self.shared.stream(stream).set_form(form);
    }

    /// Somebody wishes for a keyframe who may; one a second serves all.
    pub fn wish_keyframe(&self, stream: &StreamName) {
        let stream = self.shared.stream(stream);
        self.shared
            .ask_keyframe(&stream, Rung::Full, REPAIR_INTERVAL, Instant::now());
    }

    /// From now on these rungs of `stream` are to be had, at so many bits per second, by [`Rung::index`]. Viewers are moved between
    /// them as their links can carry. Without this there is the full one alone.
    pub fn offer_rungs(&self, stream: &StreamName, rates: [Option<u32>; Rung::COUNT]) {
        self.shared.stream(stream).rungs.offer(rates);
    }

    /// A viewer wants no better rung than `best` from now on; false if there is no such session.
    pub async fn at_most(&self, session: &SessionId, best: Rung) -> bool {
        let Some(worker) = self.worker(session) else {
            return false;
        };
        let order = self.order(worker).await;
        let is_there = order.is_some();
        if let Some(order) = order {
            order.give(Command::Best(*session, best));
        }
        is_there
    }

    /// How often each worker thread has come round. All are woken, so that one whose number is the same a moment later hangs.
    pub fn rounds(&self) -> Vec<u64> {
        self.shared.mailboxes.iter().map(Mailbox::rounds).collect()
    }

    /// The counts of one stream.
    pub fn counts(&self, stream: &StreamName) -> StreamCounts {
        StreamCounts(self.shared.stream(stream))
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
