//! One stream: who numbers its frames, and what was done for it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use framebridge_proto::{StreamName, media::Rung};
use tokio::sync::watch;

use crate::{
    Form, StreamStats, ViewerCount, ViewerState,
    delay::Delays,
    mutex::lock,
    packetizer::Packetizer,
    rungs::{PerRung, RungNeeds, Rungs},
};

/// At most one IDR per stream in this time serves all who have no picture yet.
pub(crate) const KEYFRAME_INTERVAL: Duration = Duration::from_millis(250);
/// The same for those who had one and ask for another: each costs all viewers quality.
pub(crate) const REPAIR_INTERVAL: Duration = Duration::from_secs(1);

/// One stream, as all workers and handles know it.
pub(crate) struct Stream {
    /// Its name.
    pub(crate) name: StreamName,
    /// The place of its full rung in the workers' tables; those of the others follow.
    pub(crate) number: usize,
    /// What is known of its rungs.
    pub(crate) rungs: Rungs,
    /// Each locked once per published picture, by who publishes.
    packetizers: PerRung<Mutex<Packetizer>>,
    /// Who watches it.
    viewers: watch::Sender<ViewerCount>,
    /// What was done for it.
    pub(crate) counters: Counters,
    /// When a keyframe of each rung was last asked for.
    asked: PerRung<Mutex<Option<Instant>>>,
    /// What was told last of how the full rung's frames come about.
    form: AtomicU32,
}

/// See [`StreamStats`].
#[derive(Default)]
pub(crate) struct Counters {
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
    pub(crate) moves: AtomicU64,
    pub(crate) capture_to_wire: Delays,
}

impl Stream {
    /// A stream with place `number` in the workers' tables.
    pub(crate) fn new(name: StreamName, number: usize) -> Self {
        Self {
            name,
            number,
            rungs: Rungs::default(),
            packetizers: Default::default(),
            viewers: watch::Sender::default(),
            counters: Counters::default(),
            asked: Default::default(),
            form: AtomicU32::new(0),
        }
    }

    /// How its frames come about, by what was told last.
    pub(crate) fn form(&self) -> Form {
        Form::of_word(self.form.load(Relaxed))
    }

    /// Takes in how its frames come about from here on.
    pub(crate) fn set_form(&self, form: Form) {
        self.form.store(form.word(), Relaxed);
        lock(self.packetizer(Rung::Full)).set_copied(form != Form::Encoded);
    }

    /// Whether its frames are sent on as its source has encoded them.
    #[inline]
    pub(crate) fn is_copied(&self) -> bool {
        self.form() != Form::Encoded
    }

    /// A rung's place in the workers' tables.
    #[inline]
    pub(crate) fn channel(&self, rung: Rung) -> usize {
        self.number + rung.index()
    }

    /// What numbers a rung's packets.
    pub(crate) fn packetizer(&self, rung: Rung) -> &Mutex<Packetizer> {
        &self.packetizers[rung.index()]
    }

    /// Takes one of the places for viewers, if there is one left.
    pub(crate) fn reserve(&self, limit: u32) -> bool {
        self.viewers.send_if_modified(|viewers| {
            let has_room = viewers.open < limit;
            viewers.open += u32::from(has_room);
            has_room
        })
    }

    /// Gives the place back of a viewer that was in this state.
    pub(crate) fn release(&self, state: ViewerState) {
        self.viewers.send_modify(|viewers| {
            viewers.open -= 1;
            viewers.live -= u32::from(state == ViewerState::Live);
        });
    }

    /// A viewer that has a place has gone from one state to another.
    pub(crate) fn change(&self, from: ViewerState, to: ViewerState) {
        let is_live = |state| u32::from(state == ViewerState::Live);
        self.viewers.send_if_modified(|viewers| {
            viewers.live = viewers.live + is_live(to) - is_live(from);
            is_live(to) != is_live(from)
        });
    }

    /// Who watches it now.
    pub(crate) fn viewers(&self) -> ViewerCount {
        *self.viewers.borrow()
    }

    /// Whether the last keyframe of `rung` was asked for so long ago that another may be; if so it counts as asked for.
    pub(crate) fn may_ask_keyframe(&self, rung: Rung, interval: Duration, now: Instant) -> bool {
        let mut asked = lock(&self.asked[rung.index()]);
        let may = asked.is_none_or(|last| now.saturating_duration_since(last) >= interval);
        if may {
            *asked = Some(now);
        }
        may
    }

    pub(crate) fn stats(&self) -> StreamStats {
        let counters = &self.counters;
        let viewers = self.viewers();
        StreamStats {
            stream: self.name.clone(),
            viewers: viewers.open,
            live: viewers.live,
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
            moves: counters.moves.load(Relaxed),
            capture_to_wire: counters.capture_to_wire.stats(),
        }
    }
}

/// One stream's counts, read where they are kept: they are never old.
#[derive(Debug, Clone)]
pub struct StreamCounts(pub(crate) Arc<Stream>);

impl StreamCounts {
    /// Who watches now.
    pub fn viewers(&self) -> ViewerCount {
        self.0.viewers()
    }

    /// Follows who watches.
    pub fn follow_viewers(&self) -> watch::Receiver<ViewerCount> {
        self.0.viewers.subscribe()
    }

    /// Follows how many need each rung.
    pub fn follow_rungs(&self) -> watch::Receiver<RungNeeds> {
        self.0.rungs.follow()
    }

    /// Frames sent, summed over viewers.
    pub fn frames_sent(&self) -> u64 {
        self.0.counters.frames_sent.load(Relaxed)
    }

    /// All that is counted.
    pub fn stats(&self) -> StreamStats {
        self.0.stats()
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stream({})", self.name)
    }
}
