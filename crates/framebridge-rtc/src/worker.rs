//! One worker thread: its sockets, its viewers, its timers. The only thread that touches any of them.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::Ordering::{Acquire, Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use framebridge_proto::StreamName;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{
    CloseReason, Event, Feedback, Input, Output, Peer, ViewerState,
    batch::{Batch, Inbox},
    channel::{CATCH_UP, Channel, Sent},
    frame::Frame,
    handover::reservation::Reservation,
    handover::viewer_file::{Place, Record, ViewerFile},
    ice::Path,
    shared::{
        Command, EngineState, IceRestart, Inlet, KEYFRAME_INTERVAL, REPAIR_INTERVAL, Session, Stream, lock, monotonic,
    },
    socket::Socket,
    stun::peek_ufrag,
    viewer::{Feed, HOLD, REPORT_INTERVAL, Slot, Viewer, Viewers},
};

/// Rounds of reading one socket before the other duties get their turn.
const READ_ROUNDS: usize = 8;
/// Commands taken before the other duties get their turn.
const COMMANDS_PER_ROUND: usize = 64;
/// The timers' resolution: all viewers' timers are looked through at most this often.
const TICK: Duration = Duration::from_millis(50);
/// How often viewers without a picture ask for a keyframe again: the encoder may have died on the first request.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// Addresses remembered of other workers' viewers. Full: forgotten, and learned again from the next check.
const MAX_ELSEWHERE: usize = 4096;

/// A worker.
pub(crate) struct Worker {
    number: usize,
    shared: Arc<EngineState>,
    sockets: Arc<[Socket]>,
    /// Sockets that have something to read.
    readable: Vec<usize>,
    inlet: Inlet,
    inbox: Inbox,
    batch: Batch,
    viewers: Viewers,
    viewer_file: ViewerFile,
    /// By stream number.
    channels: Vec<Option<Channel>>,
    /// Which other worker's viewer an address is.
    elsewhere: HashMap<SocketAddr, usize>,
    /// When timers are next looked through, and when they last were.
    tick: Option<Instant>,
    looked: Instant,
    ask_again: Instant,
    report: Vec<u8>,
}

impl Worker {
    /// A worker with no viewers.
    pub(crate) fn new(
        number: usize,
        shared: Arc<EngineState>,
        sockets: Vec<Socket>,
        viewer_file: ViewerFile,
        inlet: Inlet,
    ) -> Self {
        let sockets: Arc<[Socket]> = sockets.into();
        Self {
            number,
            shared,
            inlet,
            inbox: Inbox::new(),
            batch: Batch::new(Arc::clone(&sockets)),
            sockets,
            readable: Vec::new(),
            viewers: Viewers::default(),
            viewer_file,
            channels: Vec::new(),
            elsewhere: HashMap::new(),
            tick: None,
            looked: Instant::now(),
            ask_again: Instant::now(),
            report: Vec::new(),
        }
    }

    /// Goes on with a viewer that an earlier process kept. One that there is no room for any more is forgotten.
    pub(crate) fn restore(&mut self, place: Place, record: Record, stream: &StreamName, now: Instant) {
        let stream = self.shared.stream(stream);
        let limit = self.shared.config.max_viewers_per_stream;
        let is_reachable = record.state.path.socket < self.sockets.len();
        if !is_reachable || !stream.reserve(limit) {
            self.forget(place);
            return;
        }
        let stamp = u64::try_from(monotonic().as_nanos()).unwrap_or(u64::MAX);
        lock(&stream.packetizer).start_after(stamp);
        let reservation = Reservation::of(place, &record);
        let Record {
            session,
            etag,
            mid,
            state,
            ..
        } = record;
        let grace = self.shared.config.disconnect_grace;
        let peer = Peer::restore(&state, self.shared.families.clone(), grace, now);
        let entry = Session {
            stream: Arc::clone(&stream),
            worker: self.number,
            etag,
            remote: state.remote.clone(),
            mid,
            state: ViewerState::Live,
        };
        self.shared.sessions().insert(session, entry);
        let mut viewer = Viewer::new(session, stream, peer, now);
        viewer.reservation = Some(reservation);
        let slot = self.join(Box::new(viewer), now);
        self.viewers.add_address(slot, state.path.remote, true);
    }

    /// Forgets a viewer that an earlier process kept.
    pub(crate) fn forget(&mut self, place: Place) {
        self.viewer_file.wipe(place);
    }

    /// Works until the engine is stopped.
    pub(crate) fn run(mut self) {
        while !self.shared.stopped.load(Acquire) {
            self.wait();
            let now = Instant::now();
            self.take_commands(now);
            self.take_frames(now);
            self.read(now);
            if self.tick.is_some_and(|tick| tick <= now) {
                self.look_at_timers(now);
            }
            self.send(now);
            self.batch.flush();
            self.shared.count(self.batch.take_outcome());
            self.channels.iter_mut().flatten().for_each(Channel::count_departed);
            // From the last look on, not from now: pictures wake this thread more often than timers are due.
            self.tick = self.viewers.poll_timeout().map(|due| due.max(self.looked + TICK));
            self.shared.mailboxes[self.number].count_round();
        }
        let now = Instant::now();
        for slot in self.viewers.slots() {
            self.handle(slot, Input::Close(CloseReason::Stopped), now);
        }
        self.batch.flush();
    }

    /// Sleeps until there is something to do. Notes which sockets have something to read.
    fn wait(&mut self) {
        let pace = self.channels.iter().flatten().filter_map(Channel::poll_timeout).min();
        let due = [self.tick, pace].into_iter().flatten().min();
        let timeout = due.map(|due| {
            let left = due.saturating_duration_since(Instant::now());
            Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        let mut sources = vec![PollFd::new(&self.inlet.bell, PollFlags::IN)];
        sources.extend(self.sockets.iter().map(|socket| PollFd::new(socket, PollFlags::IN)));
        self.readable.clear();
        if let Err(error) = poll(&mut sources, timeout.as_ref()) {
            tracing::debug!(%error, "poll");
            return;
        }
        let is_ready = |source: &PollFd<'_>| !source.revents().is_empty();
        if is_ready(&sources[0]) {
            self.inlet.bell.silence();
        }
        self.readable
            .extend((0..self.sockets.len()).filter(|number| is_ready(&sources[number + 1])));
    }

    fn take_commands(&mut self, now: Instant) {
        for _ in 0..COMMANDS_PER_ROUND {
            let Ok(command) = self.inlet.commands.try_recv() else {
                return;
            };
            match command {
                Command::Join(viewer, candidates) => {
                    let slot = self.join(viewer, now);
                    self.add_candidates(slot, &candidates, now);
                }
                Command::Candidates(session, candidates) => {
                    if let Some(slot) = self.viewers.by_session(&session) {
                        self.add_candidates(slot, &candidates, now);
                    }
                }
                Command::Restart(session, restart) => {
                    if let Some(slot) = self.viewers.by_session(&session) {
                        self.restart(slot, *restart, now);
                    }
                }
                Command::End(session, reason) => {
                    if let Some(slot) = self.viewers.by_session(&session) {
                        self.handle(slot, Input::Close(reason), now);
                    }
                }
                Command::Forwarded(path, mut datagram) => self.on_datagram(path, &mut datagram, true, now),
            }
        }
        // More may be waiting: do not sleep.
        self.shared.mailboxes[self.number].ring();
    }

    fn restart(&mut self, slot: Slot, restart: IceRestart, now: Instant) {
        // Nobody waits for it any more, so the viewer does not hear of it and stays with what it has.
        if restart.taken.is_closed() {
            return;
        }
        self.handle(slot, Input::Restart(restart.local, restart.remote), now);
        self.viewers.refresh_ufrags(slot);
        self.add_candidates(slot, &restart.candidates, now);
        // At once: its checks name the new credentials from here on.
        if self
            .viewers
            .get_mut(slot)
            .is_some_and(|viewer| viewer.reservation.is_some())
        {
            self.keep(slot);
        }
        // Fails where the request was dropped this moment.
        _ = restart.taken.send(());
    }

    fn join(&mut self, viewer: Box<Viewer>, now: Instant) -> Slot {
        let stream = Arc::clone(&viewer.stream);
        let slot = self.viewers.insert(viewer);
        self.channel(&stream).members.push(slot);
        self.tick = Some(now);
        slot
    }

    /// Has the viewer file know a viewer as it is now.
    fn keep(&mut self, slot: Slot) {
        let Some(viewer) = self.viewers.get_mut(slot) else {
            return;
        };
        let sessions = self.shared.sessions();
        let Some(entry) = sessions.get(&viewer.session) else {
            return;
        };
        let reservation = Reservation::store(
            &mut self.viewer_file,
            viewer.reservation.as_ref(),
            (viewer.session, entry),
            &viewer.peer,
        );
        // What can't be written anew must not stay as it was.
        if let (None, Some(before)) = (&reservation, &viewer.reservation) {
            self.viewer_file.wipe(before.place);
        }
        viewer.reservation = reservation;
    }

    fn add_candidates(&mut self, slot: Slot, candidates: &[crate::Candidate], now: Instant) {
        for candidate in candidates {
            self.viewers.add_address(slot, candidate.address, false);
        }
        self.handle(slot, Input::Candidates(candidates), now);
    }

    fn channel(&mut self, stream: &Arc<Stream>) -> &mut Channel {
        if self.channels.len() <= stream.number {
            self.channels.resize_with(stream.number + 1, || None);
        }
        let history = self.shared.config.history_bytes;
        self.channels[stream.number].get_or_insert_with(|| Channel::new(Arc::clone(stream), history))
    }

    fn take_frames(&mut self, now: Instant) {
        while let Ok((stream, frame)) = self.inlet.frames.try_recv() {
            self.on_frame(&stream, frame, now);
        }
    }

    fn on_frame(&mut self, stream: &Arc<Stream>, frame: Arc<Frame>, now: Instant) {
        let channel = self.channel(stream);
        let is_keyframe = frame.keyframe;
        if channel.push(frame, now) {
            return;
        }
        channel.wants_keyframe |= !is_keyframe && !channel.members.is_empty();
        for slot in &self.channels[stream.number]
            .as_ref()
            .map_or(Vec::new(), |channel| channel.members.clone())
        {
            // Who is held back goes on waiting for its time.
            if let Some(viewer) = self.viewers.get_mut(*slot)
                && matches!(viewer.feed, Feed::At(_))
            {
                viewer.feed = Feed::Waiting;
            }
        }
    }

    fn read(&mut self, now: Instant) {
        let sockets = Arc::clone(&self.sockets);
        let mut inbox = std::mem::replace(&mut self.inbox, Inbox::empty());
        let mut readable = std::mem::take(&mut self.readable);
        for number in readable.drain(..) {
            let socket = &sockets[number];
            for _ in 0..READ_ROUNDS {
                if !inbox.receive(socket) {
                    break;
                }
                for (datagram, remote, destination) in inbox.datagrams() {
                    let source: Option<IpAddr> = destination.filter(|_| socket.is_wildcard());
                    self.on_datagram(
                        Path {
                            socket: number,
                            source,
                            remote,
                        },
                        datagram,
                        false,
                        now,
                    );
                }
            }
        }
        self.inbox = inbox;
        self.readable = readable;
    }

    /// Finds whose datagram it is: a check by the ufrag it names, anything else by where it comes from.
    fn on_datagram(&mut self, path: Path, datagram: &mut [u8], is_forwarded: bool, now: Instant) {
        let ufrag = peek_ufrag(datagram);
        let slot = match ufrag {
            Some(ufrag) => self.viewers.by_ufrag(ufrag),
            None => self.viewers.by_address(&path.remote),
        };
        if let Some(slot) = slot {
            let is_check = ufrag.is_some();
            self.handle(slot, Input::Datagram(path, datagram), now);
            let is_proven = self
                .viewers
                .get_mut(slot)
                .is_some_and(|viewer| viewer.peer.is_reached_over(&path));
            if is_check && is_proven {
                self.viewers.add_address(slot, path.remote, true);
            }
            return;
        }
        if is_forwarded {
            return;
        }
        let owner = match ufrag {
            Some(ufrag) => worker_of(ufrag).filter(|owner| *owner < self.shared.mailboxes.len()),
            None => self.elsewhere.get(&path.remote).copied(),
        };
        if let Some(owner) = owner.filter(|owner| *owner != self.number) {
            if self.elsewhere.len() == MAX_ELSEWHERE {
                self.elsewhere.clear();
            }
            self.elsewhere.insert(path.remote, owner);
            let mailbox = &self.shared.mailboxes[owner];
            if mailbox
                .commands
                .try_send(Command::Forwarded(path, datagram.to_vec()))
                .is_ok()
            {
                mailbox.ring();
            }
        }
    }

    /// Hands an input to a viewer's peer and does what it wants then.
    fn handle(&mut self, slot: Slot, input: Input<'_>, now: Instant) {
        let Some(viewer) = self.viewers.get_mut(slot) else {
            return;
        };
        viewer.peer.handle(input, now);
        while let Some(viewer) = self.viewers.get_mut(slot)
            && let Some(output) = viewer.peer.poll_output()
        {
            match output {
                Output::Transmit(path, datagram) => self.batch.push(&path, &datagram),
                Output::State(state) => self.on_state(slot, state, now),
                Output::Feedback(feedback) => self.on_feedback(slot, &feedback, now),
            }
        }
        self.viewers.reschedule(slot);
    }

    fn on_state(&mut self, slot: Slot, state: ViewerState, now: Instant) {
        let Some(viewer) = self.viewers.get_mut(slot) else {
            return;
        };
        let (session, stream) = (viewer.session, Arc::clone(&viewer.stream));
        // Whatever it had before, it starts at a keyframe.
        viewer.feed = Feed::Waiting;
        viewer.report = now;
        let channel = self.channel(&stream);
        match state {
            ViewerState::Live => {
                channel.wants_keyframe |= channel.lacks_entry(now);
                channel.is_dirty = true;
                self.keep(slot);
            }
            ViewerState::Closed(_) => {
                channel.members.retain(|member| *member != slot);
                if let Some(reservation) = self.viewers.remove(slot).and_then(|viewer| viewer.reservation) {
                    self.viewer_file.wipe(reservation.place);
                }
                // One that was asked to leave has given its place back already.
                if self.shared.sessions().remove(&session).is_some() {
                    stream.release();
                }
            }
            ViewerState::Connecting | ViewerState::Grace => {}
        }
        if let Some(session) = self.shared.sessions().get_mut(&session) {
            session.state = state;
        }
        self.shared.tell(Event::ViewerState {
            session,
            stream: stream.name.clone(),
            state,
        });
    }

    fn on_feedback(&mut self, slot: Slot, feedback: &Feedback, now: Instant) {
        let Some(viewer) = self.viewers.get_mut(slot) else {
            return;
        };
        let Some(Some(channel)) = self.channels.get_mut(viewer.stream.number) else {
            return;
        };
        let counters = &channel.stream.counters;
        // One that is held gets its keyframe when the time has come, and until then nothing.
        let is_held = matches!(viewer.feed, Feed::Held(_));
        match feedback {
            Feedback::KeyframeRequest => {
                let is_heard = viewer.wishes.hear(now);
                channel.on_wish(is_heard, is_held);
            }
            Feedback::IntraRequest(number) => {
                let is_heard = viewer.wishes.hear_command(*number, now);
                channel.on_wish(is_heard, is_held);
            }
            Feedback::Missing { numbers, beyond } => {
                let mut repeated = 0;
                if let Some((track, path)) = viewer.peer.media()
                    && !is_held
                {
                    let batch = &mut self.batch;
                    repeated = channel.repeat(numbers, &mut viewer.repeats, (&*track, &path), batch, now);
                }
                let asked = numbers.len() as u64 + beyond;
                counters.nacks.fetch_add(asked, Relaxed);
                counters.retransmitted.fetch_add(repeated, Relaxed);
                counters.repeats_refused.fetch_add(asked - repeated, Relaxed);
                counters.packets_sent.fetch_add(repeated, Relaxed);
            }
            Feedback::Report(report) => {
                if let Some(round_trip) = report.round_trip(ntp_now()) {
                    viewer.repeats.on_round_trip(round_trip);
                }
                let Some(verdict) = viewer.congestion.on_report(*report, channel.rate(), now) else {
                    return;
                };
                counters.packets_lost.fetch_add(verdict.lost.into(), Relaxed);
                if verdict.is_congested && !is_held {
                    tracing::debug!(session = %viewer.session, lost = verdict.lost, "congested: held");
                    counters.holds.fetch_add(1, Relaxed);
                    viewer.feed = Feed::Held(now + HOLD);
                    viewer.congestion.on_hold(now + HOLD);
                }
            }
            Feedback::Estimate(bits_per_second) => viewer.congestion.on_estimate(*bits_per_second),
        }
    }

    fn look_at_timers(&mut self, now: Instant) {
        self.looked = now;
        let mut from = 0;
        while let Some(slot) = self.viewers.next_due(from, now) {
            self.report(slot, now);
            self.handle(slot, Input::Timeout, now);
            from = slot + 1;
        }
        if self.ask_again <= now {
            self.ask_again = now + ASK_AGAIN;
            self.ask_for_those_who_wait(now);
        }
    }

    /// Sends a viewer its sender report, if it is due.
    fn report(&mut self, slot: Slot, now: Instant) {
        let Some(viewer) = self.viewers.get_mut(slot) else {
            return;
        };
        if viewer.report > now {
            return;
        }
        viewer.report = now + REPORT_INTERVAL;
        let channel = self.channels.get(viewer.stream.number).and_then(Option::as_ref);
        let Some(timestamp) = channel.and_then(|channel| channel.timestamp(now)) else {
            return;
        };
        let Some((track, path)) = viewer.peer.media() else {
            return;
        };
        if viewer
            .reservation
            .as_mut()
            .is_none_or(|reservation| reservation.covers(&self.viewer_file, track, 0))
        {
            track.report(ntp_now(), timestamp, &viewer.session.cname(), &mut self.report);
            self.batch.push(&path, &self.report);
        }
        if viewer
            .reservation
            .as_ref()
            .is_some_and(|reservation| reservation.is_outdated(&path, &viewer.peer))
        {
            self.keep(slot);
        }
    }

    fn ask_for_those_who_wait(&mut self, now: Instant) {
        for channel in self.channels.iter_mut().flatten() {
            let mut waits = false;
            for slot in &channel.members {
                let viewer = self.viewers.get_mut(*slot);
                waits |= viewer.is_some_and(|viewer| {
                    let is_due = matches!(viewer.feed, Feed::Held(until) if until <= now);
                    viewer.peer.state() == ViewerState::Live && (is_due || viewer.feed == Feed::Waiting)
                });
            }
            channel.wants_keyframe |= waits && channel.lacks_entry(now);
            channel.is_dirty |= waits;
        }
    }

    /// Sends every viewer what it is due, and asks for the keyframes that are needed.
    fn send(&mut self, now: Instant) {
        for channel in self.channels.iter_mut().flatten() {
            channel.pace(now);
            if std::mem::take(&mut channel.is_dirty) {
                let members = std::mem::take(&mut channel.members);
                let mut total = Sent::default();
                for slot in &members {
                    let Some(viewer) = self.viewers.get_mut(*slot) else {
                        continue;
                    };
                    let Some((track, path)) = viewer.peer.media() else {
                        continue;
                    };
                    let mut reservation = viewer.reservation.as_mut();
                    if reservation
                        .as_mut()
                        .is_some_and(|reservation| !reservation.covers(&self.viewer_file, track, CATCH_UP))
                    {
                        continue;
                    }
                    let sent = channel.serve(&mut viewer.feed, track, &path, &mut self.batch, now);
                    total.frames += sent.frames;
                    total.packets += sent.packets;
                    total.bytes += sent.bytes;
                }
                channel.members = members;
                let counters = &channel.stream.counters;
                counters.frames_sent.fetch_add(total.frames, Relaxed);
                counters.packets_sent.fetch_add(total.packets, Relaxed);
                counters.bytes_sent.fetch_add(total.bytes, Relaxed);
            }
            let interval = if channel.wants_keyframe {
                KEYFRAME_INTERVAL
            } else {
                REPAIR_INTERVAL
            };
            let is_wanted = channel.wants_keyframe || channel.wants_repair;
            if is_wanted && self.shared.ask_keyframe(&channel.stream, interval, now) {
                channel.wants_keyframe = false;
                channel.wants_repair = false;
            }
        }
    }
}

/// The worker whose viewer has this ufrag: its first two characters are the number in hexadecimal.
fn worker_of(ufrag: &str) -> Option<usize> {
    usize::from_str_radix(ufrag.get(..2)?, 16).ok()
}

/// The front of a worker's ufrags; see [`worker_of`].
pub(crate) fn ufrag_prefix(worker: usize) -> String {
    format!("{worker:02x}")
}

/// The wall clock in NTP's format (RFC 5905 section 6): seconds since 1900 above, their fraction below.
fn ntp_now() -> u64 {
    const UNIX_SINCE_1900: u64 = 2_208_988_800;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    // Era 1 begins in 2036: the seconds wrap, as they should.
    (since.as_secs() + UNIX_SINCE_1900) << 32 | fraction
}
