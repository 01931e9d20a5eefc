//! A worker's end of a stream: the last packets, how fast they are let go, and who gets them.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    batch::Batch,
    frame::Frame,
    ice::Path,
    shared::Stream,
    source::CLOCK_HZ,
    track::Track,
    viewer::{Feed, Slot},
};

/// A frame of more packets than this is let go in steps: a burst of a whole keyframe to every viewer overruns the
/// buffers of access points and of our own interface.
const UNPACED_PACKETS: u64 = 32;
/// Steps of a paced frame, and the time between them: 12 ms in all, less than a frame's time at 60 a second.
const PACE_STEPS: u64 = 4;
const PACE_INTERVAL: Duration = Duration::from_millis(4);
/// Packets that a viewer who is behind gets at once.
pub(crate) const CATCH_UP: u64 = 64;
/// A late joiner starts with the last group if its keyframe is no older: what is older would be shown late, and a new
/// one can be had in about that time.
const GROUP_AGE: Duration = Duration::from_millis(300);
/// Packets are kept for retransmission for so long: a NACK that comes later asks for what can't be shown any more.
const HISTORY_AGE: Duration = Duration::from_secs(2);
/// Weight of the newest frame in the bitrate's running mean, one in so many.
const RATE_WINDOW: f32 = 30.0;

/// A stream in one worker.
pub(crate) struct Channel {
    pub(crate) stream: Arc<Stream>,
    /// Its viewers in this worker.
    pub(crate) members: Vec<Slot>,
    /// Whether a viewer needs a keyframe that was not asked for yet.
    pub(crate) wants_keyframe: bool,
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
    rate: f32,
}

/// What one viewer was sent.
#[derive(Default)]
pub(crate) struct Sent {
    pub(crate) frames: u64,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

impl Channel {
    /// A channel without frames.
    pub(crate) fn new(stream: Arc<Stream>, history_bytes: usize) -> Self {
        Self {
            stream,
            members: Vec::new(),
            wants_keyframe: false,
            is_dirty: false,
            frames: VecDeque::new(),
            bytes: 0,
            history_bytes,
            keyframe: None,
            released: 0,
            step: 0,
            next_step: None,
            rate: 0.0,
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
        } else {
            self.released = frame.first;
        }
        if frame.keyframe {
            self.keyframe = Some(frame.first);
            self.wants_keyframe = false;
        }
        let packets = frame.end() - frame.first;
        if packets > UNPACED_PACKETS {
            self.step = self.step.max(packets.div_ceil(PACE_STEPS));
            self.next_step = self.next_step.or(Some(now));
        } else if self.next_step.is_none() {
            self.released = frame.end();
        }
        self.bytes += frame.bytes();
        self.frames.push_back(frame);
        self.forget_old(now);
        self.is_dirty = true;
        follows
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some(oldest) = self.frames.front() {
            let is_old = now.saturating_duration_since(oldest.published) > HISTORY_AGE;
            if self.frames.len() == 1 || !(is_old || self.bytes > self.history_bytes) {
                return;
            }
            self.bytes -= oldest.bytes();
            self.frames.pop_front();
        }
    }

    /// Lets the next packets go, if their time has come.
    pub(crate) fn pace(&mut self, now: Instant) {
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

    /// When [`Channel::pace`] is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.next_step
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

    /// Whether a viewer that joins now has to wait for a keyframe.
    pub(crate) fn lacks_entry(&self, now: Instant) -> bool {
        self.entry(now).is_none()
    }

    /// Where a viewer can start now: the last keyframe, if it is young.
    fn entry(&self, now: Instant) -> Option<u64> {
        let first = self.keyframe?;
        let frame = &self.frames[self.position(first)?];
        (now.saturating_duration_since(frame.published) <= GROUP_AGE).then_some(first)
    }

    /// The frame that holds packet `packet`, searched from the newest.
    fn position(&self, packet: u64) -> Option<usize> {
        self.frames.iter().rposition(|frame| frame.first <= packet)
    }

    /// Sends one viewer what it is due, into `batch`. Notes what remains to be done.
    pub(crate) fn serve(
        &mut self,
        feed: &mut Feed,
        track: &mut Track,
        path: &Path,
        batch: &mut Batch,
        now: Instant,
    ) -> Sent {
        let mut sent = Sent::default();
        if matches!(*feed, Feed::Held(until) if until <= now) {
            *feed = Feed::Waiting;
            self.wants_keyframe |= self.lacks_entry(now);
        }
        if *feed == Feed::Waiting
            && let Some(first) = self.entry(now)
        {
            track.jump(first);
            *feed = Feed::At(first);
        }
        let Feed::At(mut packet) = *feed else { return sent };
        let Some(mut at) = self.position(packet) else {
            // What it needs next is forgotten: it fell too far behind.
            *feed = Feed::Waiting;
            self.wants_keyframe = true;
            return sent;
        };
        let end = self.released.min(packet + CATCH_UP);
        batch.start();
        while packet < end {
            let frame = &*self.frames[at];
            let stop = frame.end().min(end);
            while packet < stop
                && let Some(content) = frame.packet(packet)
            {
                let len = track.datagram_len(content.0.len());
                track.write(frame, packet, content, batch.datagram(path, len));
                sent.bytes += len as u64;
                sent.packets += 1;
                packet += 1;
            }
            if packet == frame.end() {
                sent.frames += 1;
                at += 1;
            }
        }
        *feed = Feed::At(packet);
        if packet < self.released {
            // Behind by more than one helping: the next one follows shortly.
            self.next_step = self.next_step.or(Some(now + PACE_INTERVAL));
        }
        sent
    }

    /// Sends packets again that a viewer misses; returns how many it got.
    pub(crate) fn repeat(&self, missing: &[u16], track: &Track, path: &Path, batch: &mut Batch) -> u64 {
        let mut repeated = 0;
        batch.start();
        for sequence in missing {
            let Some(packet) = track.repeat(*sequence) else {
                continue;
            };
            let Some(frame) = self.position(packet).map(|at| &*self.frames[at]) else {
                continue;
            };
            let Some(content) = frame.packet(packet) else { continue };
            let len = track.datagram_len(content.0.len());
            track.rewrite(frame, packet, content, batch.datagram(path, len));
            repeated += 1;
        }
        repeated
    }
}
