//! A worker's end of a stream: the last packets, how fast they are let go, and who gets them.

mod movers;

use std::{
    collections::VecDeque,
    ops::AddAssign,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use framebridge_proto::media::Rung;

use crate::{
    batch::Batch,
    catch_up::CatchUp,
    frame::Frame,
    ice::Path,
    packetizer::CLOCK_HZ,
    repeats::Repeats,
    stream::Stream,
    track::Track,
    viewer::{Slot, Standing},
};

/// A frame of more packets than this is let go in steps: a burst of a whole keyframe to every viewer overruns the
/// buffers of access points and of our own interface.
const UNPACED_PACKETS: u64 = 32;
/// Steps of a paced frame, and the time between them: 12 ms in all, less than a frame's time at 60 a second.
const PACE_STEPS: u64 = 4;
const PACE_INTERVAL: Duration = Duration::from_millis(4);
/// Packets that a viewer who is behind gets at once.
pub(crate) const CATCH_UP: u64 = 64;
/// Packets that are sent once more in one step, to see what a link carries.
pub(crate) const MOST_PADDING: u64 = 8;
/// A late joiner starts with the last group if its keyframe is no older: what is older would be shown late, and a new
/// one can be had in about that time.
const GROUP_AGE: Duration = Duration::from_millis(300);
/// What is kept of a group that came as its source has encoded it: who joins gets all of it. More than encoders send on.
const COPIED_BYTES: usize = 16 << 20;
/// Packets are kept for retransmission for so long: a NACK that comes later asks for what can't be shown any more.
const HISTORY_AGE: Duration = Duration::from_secs(2);
/// A packet is not sent again later than this after it was published, and a round trip: its picture would be shown as
/// late, if at all.
const REPEAT_AGE: Duration = Duration::from_secs(1);
/// So long after a keyframe, what was before it is still shown, and repeated.
const OVERLAP: Duration = Duration::from_millis(200);
/// A stream that was fast and is slow now is expected to be fast again; that fades in about so many seconds.
const PEAK_FADES: f32 = 15.0;
/// Weight of the newest frame in the bitrate's running mean, one in so many.
const RATE_WINDOW: f32 = 30.0;

/// A rung of a stream in one worker.
pub(crate) struct Channel {
    pub(crate) stream: Arc<Stream>,
    /// Which of its rungs.
    pub(crate) rung: Rung,
    /// Its viewers in this worker.
    pub(crate) members: Vec<Slot>,
    /// Viewers of another rung who wait for this one's next keyframe.
    pub(crate) movers: Vec<Slot>,
    /// Whether a viewer that has no picture needs a keyframe that was not asked for yet.
    pub(crate) wants_keyframe: bool,
    /// Whether one that had a picture does.
    pub(crate) wants_repair: bool,
    /// Whether there is something to send now.
    pub(crate) is_dirty: bool,
    frames: VecDeque<Arc<Frame>>,
    bytes: usize,
    history_bytes: usize,
    /// The last keyframe's first packet.
    keyframe: Option<u64>,
    /// Packets below this number may be sent.
    released: u64,
    /// How many more at each step of pacing.
    step: u64,
    next_step: Option<Instant>,
    /// When viewers who are behind get their next helping.
    catch_up: Option<Instant>,
    rate: f32,
    /// The highest rate of late: it fades.
    peak: f32,
    /// Packets below this number are on the wire, and their pictures counted.
    departed: u64,
}

/// What one viewer was sent.
#[derive(Default)]
pub(crate) struct Sent {
    pub(crate) frames: u64,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// The last picture's rest is still to come.
    pub(crate) is_partial: bool,
}

impl AddAssign for Sent {
    fn add_assign(&mut self, more: Self) {
        self.frames += more.frames;
        self.packets += more.packets;
        self.bytes += more.bytes;
    }
}

impl Channel {
    /// A channel without frames.
    pub(crate) fn new(stream: Arc<Stream>, rung: Rung, history_bytes: usize) -> Self {
        Self {
            stream,
            rung,
            members: Vec::new(),
            movers: Vec::new(),
            wants_keyframe: false,
            wants_repair: false,
            is_dirty: false,
            frames: VecDeque::new(),
            bytes: 0,
            history_bytes,
            keyframe: None,
            released: 0,
            step: 0,
            next_step: None,
            catch_up: None,
            rate: 0.0,
            peak: 0.0,
            departed: 0,
        }
    }

    /// Takes the next frame. False: the ones before it were lost, and viewers need a keyframe.
    pub(crate) fn push(&mut self, frame: Arc<Frame>, now: Instant) -> bool {
        let follows = self.frames.back().is_none_or(|last| last.end() == frame.first);
        if !follows {
            self.frames.clear();
            self.bytes = 0;
            self.keyframe = None;
            self.next_step = None;
        }
        if let Some(last) = self.frames.back() {
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            let (bits, ticks) = (
                frame.bytes() as f32 * 8.0,
                (frame.timestamp - last.timestamp).max(1) as f32,
            );
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            let rate = bits * CLOCK_HZ as f32 / ticks;
            self.rate += (rate - self.rate) / RATE_WINDOW;
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            let passed = ticks / CLOCK_HZ as f32;
            self.peak = self.rate.max(self.peak * (1.0 - passed / PEAK_FADES).max(0.0));
        } else {
            self.released = frame.first;
        }
        if frame.keyframe {
            self.keyframe = Some(frame.first);
            self.wants_keyframe = false;
            self.wants_repair = false;
        }
        let is_paced = frame.end() - frame.first > UNPACED_PACKETS;
        if is_paced || self.next_step.is_some() {
            self.step = self.step.max((frame.end() - self.released).div_ceil(PACE_STEPS));
            self.next_step = self.next_step.or(Some(now));
        } else {
            self.released = frame.end();
        }
        self.bytes += frame.bytes();
        self.frames.push_back(frame);
        self.forget_old(now);
        self.is_dirty = true;
        follows
    }

    fn forget_old(&mut self, now: Instant) {
        let group = self.keyframe.filter(|_| self.is_copied());
        while let Some(oldest) = self.frames.front() {
            let is_old = now.saturating_duration_since(oldest.published) > HISTORY_AGE;
            let is_entry = group.is_some_and(|first| oldest.first >= first) && self.bytes <= COPIED_BYTES;
            if self.frames.len() == 1 || is_entry || !(is_old || self.bytes > self.history_bytes) {
                return;
            }
            self.bytes -= oldest.bytes();
            self.frames.pop_front();
        }
    }

    /// Lets the next packets go, if their time has come.
    pub(crate) fn pace(&mut self, now: Instant) {
        if self.catch_up.is_some_and(|due| due <= now) {
            self.catch_up = None;
            self.is_dirty = true;
        }
        let Some(due) = self.next_step.filter(|due| *due <= now) else {
            return;
        };
        let head = self.head();
        self.released = (self.released + self.step).min(head);
        self.next_step = (self.released < head).then_some(due.max(now) + PACE_INTERVAL);
        if self.next_step.is_none() {
            self.step = 0;
        }
        self.is_dirty = true;
    }

    /// Counts the pictures that have gone out whole since the last call.
    pub(crate) fn count_departed(&mut self) {
        if self.departed == self.released {
            return;
        }
        let is_new = |frame: &&Arc<Frame>| frame.end() > self.departed;
        for frame in self.frames.iter().rev().take_while(is_new) {
            if frame.end() <= self.released && !self.members.is_empty() {
                self.stream.counters.capture_to_wire.add(frame.captured.elapsed());
            }
        }
        self.departed = self.released;
    }

    /// When [`Channel::pace`] is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        [self.next_step, self.catch_up].into_iter().flatten().min()
    }

    fn head(&self) -> u64 {
        self.frames.back().map_or(0, |frame| frame.end())
    }

    /// Bits per second of the stream, a running mean.
    pub(crate) fn rate(&self) -> f32 {
        self.rate
    }

    /// Now on the stream's timeline, for sender reports.
    pub(crate) fn timestamp(&self, now: Instant) -> Option<u64> {
        let last = self.frames.back()?;
        let since = now.saturating_duration_since(last.published);
        Some(last.timestamp + u64::try_from(since.as_micros()).unwrap_or(u64::MAX) * CLOCK_HZ / 1_000_000)
    }

    /// Whether its frames are sent on as their source has encoded them. Lower rungs never are.
    #[inline]
    fn is_copied(&self) -> bool {
        self.rung == Rung::Full && self.stream.is_copied()
    }

    /// Whether a viewer that joins now has to wait for a keyframe.
    pub(crate) fn lacks_entry(&self, now: Instant) -> bool {
        self.entry(now).is_none()
    }

    /// Where a viewer can start now: the last keyframe, if it is young, or no other can be made.
    fn entry(&self, now: Instant) -> Option<u64> {
        let first = self.keyframe?;
        let frame = &self.frames[self.position(first)?];
        (self.is_copied() || is_young(frame.published, now)).then_some(first)
    }

    /// Whether the last keyframe is of now.
    fn has_young_entry(&self, now: Instant) -> bool {
        let frame = self
            .keyframe
            .and_then(|first| self.position(first))
            .map(|at| &self.frames[at]);
        frame.is_some_and(|frame| is_young(frame.captured, now))
    }

    /// Has a viewer go on at the entry `first`. False: it can't yet.
    fn enter(&self, track: &mut Track, first: u64, now: Instant) -> bool {
        let Some(at) = self.position(first).filter(|_| self.is_copied()) else {
            track.jump(first);
            return true;
        };
        let group = self.frames.range(at..).map(|frame| &**frame);
        if is_young(self.frames[at].captured, now) && self.frames[at].timestamp > track.last_timestamp().unwrap_or(0) {
            track.jump(first);
        } else if let Some(plan) = CatchUp::plan(group, track.last_timestamp().unwrap_or(0), now) {
            track.catch_up(first, plan);
        } else {
            return false;
        }
        true
    }

    /// Whether a viewer that has lost its way gets the group at hand again: where no keyframe can be made for it.
    pub(crate) fn may_begin_again(&self, track: &Track, now: Instant) -> bool {
        let rested = track.plan().is_none_or(|plan| plan.may_begin_again(now));
        self.is_copied() && rested && self.keyframe.is_some()
    }

    /// The frame that holds packet `packet`, searched from the newest.
    fn position(&self, packet: u64) -> Option<usize> {
        self.frames.iter().rposition(|frame| frame.first <= packet)
    }

    /// Sends one viewer what it is due, at most `allowance` packets, into `batch`. Notes what remains to be done.
    pub(crate) fn serve(
        &mut self,
        (standing, allowance): (&mut Standing, u64),
        track: &mut Track,
        path: &Path,
        batch: &mut Batch,
        now: Instant,
    ) -> Sent {
        let mut sent = Sent::default();
        // A link that could not carry the stream does not carry a whole group at once.
        let is_entry = !self.is_copied() || self.has_young_entry(now);
        if matches!(*standing, Standing::Held(until) if until <= now) && is_entry {
            *standing = Standing::Waiting;
            self.wants_keyframe |= self.lacks_entry(now);
        }
        if *standing == Standing::Waiting
            && let Some(first) = self.entry(now)
            && self.enter(track, first, now)
        {
            *standing = Standing::At(first);
        }
        let Standing::At(mut packet) = *standing else {
            return sent;
        };
        let Some(mut at) = self.position(packet) else {
            // What it needs next is forgotten: it fell too far behind.
            *standing = Standing::Waiting;
            self.wants_keyframe = true;
            return sent;
        };
        let usual = allowance.min(CATCH_UP);
        let helping = track.plan().map_or(usual, |plan| plan.helping(packet, usual));
        let end = self.released.min(packet + helping);
        batch.start();
        while packet < end {
            let frame = &*self.frames[at];
            let stop = frame.end().min(end);
            while packet < stop
                && let Some(content) = frame.packet(packet)
            {
                let len = track.datagram_len(frame, packet, content.0.len());
                track.write(frame, packet, content, batch.datagram(path, len));
                sent.bytes += len as u64;
                sent.packets += 1;
                packet += 1;
            }
            sent.is_partial = packet != frame.end();
            if !sent.is_partial {
                sent.frames += 1;
                at += 1;
            }
        }
        *standing = Standing::At(packet);
        if packet < self.released {
            self.serve_soon(now);
        }
        sent
    }

    /// Sends the last `bytes` or so again that a viewer has had, for the sake of sending: at most [`MOST_PADDING`] packets. Only
    /// where what is sent again has a stream of its own.
    pub(crate) fn pad(
        &mut self,
        bytes: u64,
        standing: Standing,
        (track, path): (&mut Track, &Path),
        batch: &mut Batch,
    ) -> Sent {
        let mut sent = Sent::default();
        let Standing::At(head) = standing else { return sent };
        batch.start();
        // What was before the last jump went under another number, or to nobody.
        for packet in (track.since()..head)
            .rev()
            .take(usize::try_from(MOST_PADDING).unwrap_or(0))
        {
            let Some(at) = self
                .position(packet)
                .filter(|_| sent.bytes < bytes && track.has_repair())
            else {
                break;
            };
            let frame = &*self.frames[at];
            let Some(content) = frame.packet(packet) else { break };
            let len = track.repeated_len(frame, packet, content.0.len());
            track.rewrite(frame, packet, content, batch.datagram(path, len));
            sent.packets += 1;
            sent.bytes += len as u64;
        }
        sent
    }

    /// Has this channel served again soon, though nothing new may have come.
    pub(crate) fn serve_soon(&mut self, now: Instant) {
        self.catch_up = self.catch_up.or(Some(now + PACE_INTERVAL));
    }

    /// Takes a viewer's wish for a keyframe. One that is held gets its keyframe when the time has come.
    pub(crate) fn on_wish(&mut self, is_heard: bool, is_held: bool) {
        let counters = &self.stream.counters;
        counters.keyframe_requests.fetch_add(1, Relaxed);
        counters
            .keyframe_requests_refused
            .fetch_add(u64::from(!is_heard), Relaxed);
        self.wants_repair |= is_heard && !is_held;
    }

    /// Sends packets again that a viewer misses, as far as they are of use and it has earned them, its link carrying so many
    /// bits per second; returns what it got.
    pub(crate) fn repeat(
        &self,
        missing: &[u16],
        (repeats, carries): (&mut Repeats, f32),
        (track, path): (&mut Track, &Path),
        batch: &mut Batch,
        now: Instant,
    ) -> Sent {
        let mut repeated = Sent::default();
        repeats.fill(carries, now);
        let is_catching_up = track.plan().is_some_and(|plan| plan.is_repeated(now));
        let oldest = if is_catching_up {
            0
        } else {
            self.oldest_of_use(repeats.round_trip(), now)
        };
        batch.start();
        for sequence in missing {
            let Some(packet) = track.repeat(*sequence).filter(|packet| *packet >= oldest) else {
                continue;
            };
            let Some(frame) = self.position(packet).map(|at| &*self.frames[at]) else {
                continue;
            };
            let Some(content) = frame.packet(packet) else { continue };
            let len = track.repeated_len(frame, packet, content.0.len());
            if repeats.take(packet, len, now) {
                track.rewrite(frame, packet, content, batch.datagram(path, len));
                repeated.packets += 1;
                repeated.bytes += len as u64;
            }
        }
        repeated
    }

    /// The first packet that is worth sending again: what is older than [`REPEAT_AGE`], or than a keyframe that a decoder
    /// goes on from, is shown no more.
    fn oldest_of_use(&self, round_trip: Duration, now: Instant) -> u64 {
        let age = |frame: &Frame| now.saturating_duration_since(frame.published);
        let is_young = |frame: &&Arc<Frame>| age(frame) <= REPEAT_AGE + round_trip;
        let young = self.frames.iter().find(is_young).map_or(u64::MAX, |frame| frame.first);
        let keyframe = self
            .keyframe
            .and_then(|first| Some(&self.frames[self.position(first)?]));
        let settled = keyframe.filter(|frame| age(frame) > OVERLAP + round_trip);
        young.max(settled.map_or(0, |frame| frame.first))
    }
}

fn is_young(moment: Instant, now: Instant) -> bool {
    now.saturating_duration_since(moment) <= GROUP_AGE
}

#[cfg(test)]
mod tests;
