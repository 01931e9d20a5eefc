//! What is known of publishers where they are served: where what comes of one goes.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use framebridge_core::reception::Unit;
use tokio::sync::mpsc;

use crate::ViewerState;

/// Frames that were not read yet, some seconds of them. Full: what comes is lost up to the next keyframe, which is asked for.
const EVENTS: usize = 128;

/// Bytes of frames that were not read yet: four of the heaviest that are put together. More is as if [`EVENTS`] were full.
const MOST_UNREAD: usize = 16 << 20;

/// What comes of a publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublisherEvent {
    /// It has connected, has fallen silent, or is back.
    State(ViewerState),
    /// A frame.
    Unit(Unit),
}

/// The worker's end.
pub(crate) struct PublisherOutlet {
    told: mpsc::Sender<PublisherEvent>,
    /// The size of each that was not read when last looked, and of all of them.
    sizes: VecDeque<usize>,
    unread: usize,
    heard: LastHeard,
    /// A frame was lost on the way, and those that lean on it are of no use.
    is_torn: bool,
}

/// When media came last, as the worker tells it.
#[derive(Debug, Clone)]
pub(crate) struct LastHeard {
    since: Instant,
    /// Milliseconds from then on, and one; 0: none has come since it was connected.
    at: Arc<AtomicU64>,
}

impl LastHeard {
    fn new(since: Instant) -> Self {
        Self {
            since,
            at: Arc::default(),
        }
    }

    pub(crate) fn note(&self, at: Instant) {
        let millis = at.saturating_duration_since(self.since).as_millis();
        self.at.store(
            u64::try_from(millis).map_or(u64::MAX, |millis| millis.saturating_add(1)),
            Relaxed,
        );
    }

    pub(crate) fn get(&self) -> Option<Instant> {
        let millis = self.at.load(Relaxed).checked_sub(1)?;
        self.since.checked_add(Duration::from_millis(millis))
    }
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Yes,
    /// It was left out, and a keyframe is needed.
    No,
    /// Nobody is there any more.
    Deserted,
}

impl PublisherOutlet {
    /// One, and where what is told comes out.
    pub(crate) fn new(now: Instant) -> (Self, mpsc::Receiver<PublisherEvent>) {
        Self::with_room(EVENTS, now)
    }

    fn with_room(events: usize, now: Instant) -> (Self, mpsc::Receiver<PublisherEvent>) {
        let (told, events) = mpsc::channel(events);
        let outlet = Self {
            told,
            sizes: VecDeque::new(),
            unread: 0,
            heard: LastHeard::new(now),
            is_torn: false,
        };
        (outlet, events)
    }

    /// When its publisher was last heard.
    pub(crate) fn heard(&self) -> &LastHeard {
        &self.heard
    }

    /// Hands a frame over.
    pub(crate) fn unit(&mut self, unit: Unit) -> Taken {
        if self.is_torn && !unit.keyframe {
            return Taken::No;
        }
        let size: usize = unit.nals.iter().map(Vec::len).sum();
        self.forget_read();
        if self.unread + size > MOST_UNREAD && !self.told.is_closed() {
            self.is_torn = true;
            return Taken::No;
        }
        match self.told.try_send(PublisherEvent::Unit(unit)) {
            Ok(()) => {
                self.sizes.push_back(size);
                self.unread += size;
                self.is_torn = false;
                Taken::Yes
            }
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.is_torn = true;
                Taken::No
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Taken::Deserted,
        }
    }

    /// Tells a state. One that finds no room is not missed: frames say the same.
    pub(crate) fn state(&mut self, state: ViewerState) {
        self.forget_read();
        if self.told.try_send(PublisherEvent::State(state)).is_ok() {
            self.sizes.push_back(0);
        }
    }

    /// Those that were read since count no more.
    fn forget_read(&mut self) {
        let waiting = self.told.max_capacity() - self.told.capacity();
        while self.sizes.len() > waiting
            && let Some(read) = self.sizes.pop_front()
        {
            self.unread -= read;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_nobody_reads_are_lost_up_to_a_keyframe() {
        let unit = |keyframe| Unit {
            timestamp: 0,
            keyframe,
            nals: Vec::new(),
        };
        let (mut outlet, mut events) = PublisherOutlet::with_room(2, Instant::now());
        let taken = [true, false, false].map(|keyframe| outlet.unit(unit(keyframe)));
        assert_eq!(taken, [Taken::Yes, Taken::Yes, Taken::No]);
        events.try_recv().expect("the first");
        assert_eq!(outlet.unit(unit(false)), Taken::No, "it leans on what was lost");
        assert_eq!(outlet.unit(unit(true)), Taken::Yes);
        drop(events);
        assert_eq!(outlet.unit(unit(true)), Taken::Deserted);
    }

    #[test]
    fn heavy_frames_that_nobody_reads_are_lost_before_there_are_many() {
        let heavy = |keyframe| Unit {
            timestamp: 0,
            keyframe,
            nals: vec![vec![0; 4 << 20]],
        };
        let (mut outlet, mut events) = PublisherOutlet::new(Instant::now());
        outlet.state(ViewerState::Live);
        for _ in 0..4 {
            assert_eq!(outlet.unit(heavy(true)), Taken::Yes);
        }
        assert_eq!(outlet.unit(heavy(true)), Taken::No);
        events.try_recv().expect("the state");
        assert_eq!(outlet.unit(heavy(true)), Taken::No, "a state is no frame");
        events.try_recv().expect("a frame");
        assert_eq!(outlet.unit(heavy(false)), Taken::No, "it leans on what was lost");
        assert_eq!(outlet.unit(heavy(true)), Taken::Yes);
    }
}
