//! One stream: who numbers its frames, and what was done for it.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use framebridge_proto::StreamName;

use crate::{StreamStats, delay::Delays, mutex::lock, packetizer::Packetizer};

/// At most one IDR per stream in this time serves all who have no picture yet.
pub(crate) const KEYFRAME_INTERVAL: Duration = Duration::from_millis(250);
/// The same for those who had one and ask for another: each costs all viewers quality.
pub(crate) const REPAIR_INTERVAL: Duration = Duration::from_secs(1);

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
    pub(crate) fn stats(&self, live: u32) -> StreamStats {
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

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stream({})", self.name)
    }
}
