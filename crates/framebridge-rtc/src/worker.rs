//! One worker thread: its sockets, its viewers, its timers. The only thread that touches any of them.

mod feedback;
mod incoming;
mod line;
mod moves;
mod publisher;
mod restored;
mod rungs;
mod waiting;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::Ordering::{Acquire, Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use framebridge_proto::media::Rung;

use waiting::Reading;

use crate::{
    Candidate, CloseReason, Event, HoldReason, Input, LineEvent, Output, Pacer, SessionId, ViewerState,
    batch::{Batch, Inbox},
    channel::{CATCH_UP, Channel, MOST_PADDING, Sent},
    clock::ntp,
    frame::Frame,
    handover::{reservation::Reservation, viewer_file::ViewerFile},
    ice::Path,
    mailbox::{Command, IceRestart, Inlet},
    reach::{is_a_receivers, is_a_viewers},
    socket::Socket,
    state::EngineState,
    stream::{KEYFRAME_INTERVAL, REPAIR_INTERVAL, Stream},
    track::Track,
    viewer::{REPORT_INTERVAL, Slot, Standing, Viewer, Viewers},
};

/// Commands taken before the other duties get their turn.
const COMMANDS_PER_ROUND: usize = 64;
/// The timers' resolution: all viewers' timers are looked through at most this often.
const TICK: Duration = Duration::from_millis(50);
/// How often viewers without a picture ask for a keyframe again: the encoder may have died on the first request.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// A worker.
pub(crate) struct Worker {
    number: usize,
    shared: Arc<EngineState>,
    sockets: Arc<[Socket]>,
    /// Sockets that have something to read.
    readable: Vec<usize>,
    inlet: Inlet,
    inbox: Inbox,
    reading: Reading,
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
    /// Of all viewers' checks.
    pacer: Pacer,
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
            reading: Reading::default(),
            batch: Batch::new(Arc::clone(&sockets)),
            sockets,
            readable: Vec::new(),
            viewers: Viewers::default(),
            viewer_file,
            channels: Vec::new(),
            elsewhere: HashMap::new(),
            tick: None,
            looked: Instant::now(),
            pacer: Pacer::new(Instant::now()),
            ask_again: Instant::now(),
            report: Vec::new(),
        }
    }

    /// Works until the engine is stopped.
    pub(crate) fn run(mut self) {
        while !self.shared.stopped.load(Acquire) {
            self.wait();
            let now = Instant::now();
            self.take_commands(now);
            self.take_forwarded(now);
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
            self.end(slot, CloseReason::Stopped, now);
        }
        self.batch.flush();
    }

    fn take_commands(&mut self, now: Instant) {
        for _ in 0..COMMANDS_PER_ROUND {
            let Ok(command) = self.inlet.commands.try_recv() else {
                return;
            };
            match command {
                Command::Join(viewer, candidates) => {
                    let slot = self.join(viewer, now);
                    self.add_candidates(slot, candidates, now);
                }
                Command::Connected(socket, outlet, taken) => {
                    self.batch.outlets.add(socket, outlet);
                    // Fails where the connection has ended meanwhile.
                    _ = taken.send(());
                }
                Command::Way(session, path) => {
                    if let Some(slot) = self.viewers.by_session(&session) {
                        self.batch.outlets.is_for(path.socket, session);
                        self.handle(slot, Input::Way(path), now);
                    }
                }
                Command::WayLost(session, path) => self.on_way_lost(&session, path, now),
                Command::Candidates(session, candidates) => {
                    if let Some(slot) = self.viewers.by_session(&session) {
                        self.add_candidates(slot, candidates, now);
                    }
                }
                Command::Restart(session, restart) => {
                    if let Some(slot) = self.viewers.by_session(&session) {
                        self.restart(slot, *restart, now);
                    }
                }
                Command::Best(session, best) => self.on_best(&session, best, now),
                Command::Send(session, lane, text) => {
                    if let Some(slot) = self.viewers.by_session(&session) {
                        self.handle(slot, Input::Send(lane, &text), now);
                    }
                }
                Command::Keyframe(session) => {
                    if let Some(slot) = self.viewers.by_session(&session) {
                        self.handle(slot, Input::Keyframe, now);
                    }
                }
                Command::End(session, reason) => {
                    if let Some(slot) = self.viewers.by_session(&session) {
                        self.end(slot, reason, now);
                    }
                }
                Command::AskOutside(servers) => self.ask_outside(&servers, now),
                Command::Addresses(present) => self.move_off(&present, now),
            }
        }
        // More may be waiting: do not sleep.
        self.shared.mailboxes[self.number].ring();
    }

    /// A session whose connection has ended has nothing else: who wants it begins anew, and sooner than silence would tell.
    fn on_way_lost(&mut self, session: &SessionId, lost: Path, now: Instant) {
        let Some(slot) = self.viewers.by_session(session) else {
            return;
        };
        let is_in_use = self
            .viewers
            .get_mut(slot)
            .is_some_and(|viewer| match viewer.peer.path() {
                Some(path) => path.socket == lost.socket,
                None => viewer.peer.state() != ViewerState::Connecting && viewer.peer.is_reached_over(&lost),
            });
        if is_in_use {
            self.end(slot, CloseReason::ConnectionLost, now);
        }
    }

    fn restart(&mut self, slot: Slot, restart: IceRestart, now: Instant) {
        // Nobody waits for it any more, so the viewer does not hear of it and stays with what it has.
        if restart.taken.is_closed() {
            return;
        }
        self.handle(slot, Input::Restart(restart.local, restart.remote), now);
        self.viewers.refresh_ufrags(slot);
        self.add_candidates(slot, restart.candidates, now);
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
        let (stream, rung, watches) = (Arc::clone(&viewer.stream), viewer.footing.in_use(), viewer.watches());
        let slot = self.viewers.insert(viewer);
        if watches {
            self.channel(&stream, rung).members.push(slot);
        }
        self.tick = Some(now);
        slot
    }

    /// Has the viewer file know a viewer as it is now.
    fn keep(&mut self, slot: Slot) {
        let Some(viewer) = self.viewers.get_mut(slot) else {
            return;
        };
        let (sessions, publishers) = (self.shared.sessions(), self.shared.publishers());
        let session = &viewer.session;
        let Some(entry) = sessions.get(session).or_else(|| publishers.get(session)) else {
            return;
        };
        let reservation = Reservation::store(
            &mut self.viewer_file,
            viewer.reservation.as_ref(),
            (viewer.session, entry),
            &viewer.peer,
            (viewer.footing.in_use(), viewer.best),
        );
        // What can't be written anew must not stay as it was.
        if let (None, Some(before)) = (&reservation, &viewer.reservation) {
            self.viewer_file.wipe(before.place);
        }
        viewer.reservation = reservation;
    }

    /// Takes what was claimed to be a viewer's addresses, as far as they can be one's.
    fn add_candidates(&mut self, slot: Slot, mut candidates: Vec<Candidate>, now: Instant) {
        let was_named = self.viewers.get_mut(slot).is_some_and(|viewer| viewer.was_named);
        candidates
            .retain(|candidate| is_a_viewers(&candidate.address) || (was_named && is_a_receivers(&candidate.address)));
        for candidate in &candidates {
            self.viewers.add_address(slot, candidate.address, false);
        }
        self.handle(slot, Input::Candidates(&candidates), now);
    }

    fn channel(&mut self, stream: &Arc<Stream>, rung: Rung) -> &mut Channel {
        let at = stream.channel(rung);
        if self.channels.len() <= at {
            self.channels.resize_with(at + 1, || None);
        }
        let history = self.shared.config.history_bytes;
        self.channels[at].get_or_insert_with(|| Channel::new(Arc::clone(stream), rung, history))
    }

    fn take_frames(&mut self, now: Instant) {
        while let Ok((stream, rung, frame)) = self.inlet.frames.try_recv() {
            self.on_frame(&stream, rung, frame, now);
        }
    }

    fn on_frame(&mut self, stream: &Arc<Stream>, rung: Rung, frame: Arc<Frame>, now: Instant) {
        let channel = self.channel(stream, rung);
        let is_keyframe = frame.keyframe;
        if channel.push(frame, now) {
            return;
        }
        channel.wants_keyframe |= !is_keyframe && !channel.members.is_empty();
        for slot in &channel.members.clone() {
            // Who is held back goes on waiting for its time.
            if let Some(viewer) = self.viewers.get_mut(*slot)
                && matches!(viewer.standing, Standing::At(_))
            {
                viewer.standing = Standing::Waiting;
            }
        }
    }

    /// Hands an input to a viewer's peer and does what it wants then.
    fn handle(&mut self, slot: Slot, input: Input<'_>, now: Instant) {
        let Some(viewer) = self.viewers.get_mut(slot) else {
            return;
        };
        viewer.peer.handle(input, now);
        if viewer.peer.state() == ViewerState::Connecting {
            self.reading.attend(now);
        }
        if let (Some(publisher), Some(at)) = (&viewer.publisher, viewer.peer.media_heard_at()) {
            publisher.heard().note(at);
        }
        while let Some(viewer) = self.viewers.get_mut(slot)
            && let Some(output) = viewer.peer.poll_output()
        {
            match output {
                Output::Transmit(path, datagram) => self.batch.push(&path, &datagram),
                Output::Probe(path, datagram) => self.batch.push_probe(&path, &datagram),
                Output::State(state) => self.on_state(slot, state, now),
                Output::Feedback(feedback) => {
                    self.on_feedback(slot, &feedback, now);
                    self.choose(slot, now);
                }
                Output::Moved => self.on_moved(slot, now),
                Output::LanesOpen => self.on_line(slot, LineEvent::Open, now),
                Output::Unit(unit) => self.on_unit(slot, unit, now),
                Output::Rtcp(packet) => self.tell_publisher(slot, packet),
                Output::Message(lane, message) => self.on_line(slot, LineEvent::Message(lane, message), now),
            }
        }
        self.viewers.reschedule(slot);
    }

    fn on_state(&mut self, slot: Slot, state: ViewerState, now: Instant) {
        let Some(viewer) = self.viewers.get_mut(slot) else {
            return;
        };
        let (session, stream) = (viewer.session, Arc::clone(&viewer.stream));
        if viewer.publisher.is_some() {
            return self.on_publisher_state(slot, state);
        }
        if viewer.line.is_some() {
            return self.on_line_state(slot, state);
        }
        // Whatever it had before, it starts at a keyframe.
        viewer.standing = Standing::Waiting;
        viewer.report = now;
        let rung = viewer.footing.in_use();
        let channel = self.channel(&stream, rung);
        match state {
            ViewerState::Live => {
                channel.wants_keyframe |= channel.lacks_entry(now);
                channel.is_dirty = true;
                self.keep(slot);
            }
            ViewerState::Closed(_) => {
                channel.members.retain(|member| *member != slot);
                self.batch.outlets.leave(session);
                if let Some(reservation) = self.viewers.remove(slot).and_then(|viewer| viewer.reservation) {
                    self.viewer_file.wipe(reservation.place);
                }
                // One that was asked to leave has given its place back already.
                self.shared.close(&session);
            }
            ViewerState::Connecting | ViewerState::Grace => {}
        }
        self.shared.change(&session, state);
        self.shared.tell(Event::ViewerState {
            session,
            stream: stream.name.clone(),
            state,
        });
    }

    fn look_at_timers(&mut self, now: Instant) {
        self.looked = now;
        let mut from = 0;
        while let Some(slot) = self.viewers.next_due(from, now) {
            self.end_forgotten(slot, now);
            self.keep_publisher(slot);
            self.report(slot, now);
            self.choose(slot, now);
            let mut pacer = self.pacer;
            self.handle(slot, Input::Timeout(&mut pacer), now);
            self.pacer = pacer;
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
        if viewer.report > now || !viewer.watches() {
            return;
        }
        viewer.report = now + REPORT_INTERVAL;
        self.shared.note_link(viewer, now);
        let channel = self.channels.get(viewer.channel()).and_then(Option::as_ref);
        let Some(timestamp) = channel.and_then(|channel| channel.timestamp(now)) else {
            return;
        };
        let Some((track, path)) = viewer.peer.media() else {
            return;
        };
        let mut reservation = viewer.reservation.as_mut();
        if may_send(&mut reservation, &self.viewer_file, track, (0, 0)) {
            track.report(
                ntp(SystemTime::now()),
                timestamp,
                &viewer.session.cname(),
                &mut self.report,
            );
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

    /// Ends a viewer's session. A player that is not told by DTLS hears it by RTCP.
    fn end(&mut self, slot: Slot, reason: CloseReason, now: Instant) {
        if let Some(viewer) = self.viewers.get_mut(slot)
            && viewer.watches()
            && reason != CloseReason::Dropped
            && let Some((track, path)) = viewer.peer.media()
            && may_send(&mut viewer.reservation.as_mut(), &self.viewer_file, track, (0, 0))
        {
            track.goodbye(&viewer.session.cname(), &mut self.report);
            self.batch.push(&path, &self.report);
        }
        self.handle(slot, Input::Close(reason), now);
    }

    fn ask_for_those_who_wait(&mut self, now: Instant) {
        for channel in self.channels.iter_mut().flatten() {
            let mut waits = false;
            for slot in &channel.members {
                let viewer = self.viewers.get_mut(*slot);
                waits |= viewer.is_some_and(|viewer| {
                    let is_due = matches!(viewer.standing, Standing::Held(until) if until <= now);
                    viewer.peer.state() == ViewerState::Live && (is_due || viewer.standing == Standing::Waiting)
                });
            }
            waits |= !channel.movers.is_empty() && channel.may_ask_for_movers();
            channel.wants_keyframe |= waits && channel.lacks_entry(now);
            channel.is_dirty |= waits;
        }
    }

    /// Sends every viewer what it is due, and asks for the keyframes that are needed.
    fn send(&mut self, now: Instant) {
        let mut left = Vec::new();
        for channel in self.channels.iter_mut().flatten() {
            channel.pace(now);
            if std::mem::take(&mut channel.is_dirty) {
                if !channel.movers.is_empty() {
                    left.extend(Self::take_movers(channel, &mut self.viewers, now));
                }
                let members = std::mem::take(&mut channel.members);
                let mut total = Sent::default();
                for slot in &members {
                    // One that is given another rung since this round began has left.
                    if let Some(viewer) = self.viewers.get_mut(*slot)
                        && viewer.footing.in_use() == channel.rung
                    {
                        total += serve(channel, viewer, &self.viewer_file, &mut self.batch, now);
                    }
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
            if is_wanted && self.shared.ask_keyframe(&channel.stream, channel.rung, interval, now) {
                channel.wants_keyframe = false;
                channel.wants_repair = false;
            }
        }
        self.leave_channels(&left, now);
    }
}

/// Sends one viewer what it is due, and what its link is probed with.
fn serve(
    channel: &mut Channel,
    viewer: &mut Viewer,
    viewer_file: &ViewerFile,
    batch: &mut Batch,
    now: Instant,
) -> Sent {
    let Some((track, path)) = viewer.peer.media() else {
        return Sent::default();
    };
    if !may_send(
        &mut viewer.reservation.as_mut(),
        viewer_file,
        track,
        (CATCH_UP, MOST_PADDING),
    ) {
        return Sent::default();
    }
    if matches!(viewer.standing, Standing::At(_)) && batch.outlets.is_behind(&path, now) {
        (viewer.standing, viewer.hold) = (Standing::Held(viewer.backlog.hold(now)), HoldReason::Behind);
        channel.stream.counters.holds.fetch_add(1, Relaxed);
    }
    let numbered = track.next_number();
    let allowance = viewer.rate.allowance(channel.rate(), now).unwrap_or(CATCH_UP);
    let standing = (&mut viewer.standing, allowance);
    let mut sent = channel.serve(standing, track, &path, batch, now);
    if sent.packets > 0 {
        viewer.is_in_frame = sent.is_partial;
    }
    if let Some(first) = numbered {
        let padding = viewer.rate.padding(now);
        if padding > 0 {
            sent += channel.pad(padding, viewer.standing, (track, &path), batch);
        }
        viewer.rate.on_sent(first, sent.packets, sent.bytes, now);
        if viewer.rate.is_probing(now) {
            channel.serve_soon(now);
        }
    }
    sent
}

/// Whether so many packets, so many repairs and one more RTCP packet are within what the viewer file allows, or are by now.
fn may_send(
    reservation: &mut Option<&mut Reservation>,
    viewer_file: &ViewerFile,
    track: &Track,
    (packets, repairs): (u64, u64),
) -> bool {
    reservation
        .as_mut()
        .is_none_or(|reservation| reservation.covers(viewer_file, track, packets, repairs))
}
