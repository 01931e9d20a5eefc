//! State that an encoder's threads, connections and requests share.

use std::{
    sync::{Arc, Mutex, atomic::AtomicU32},
    time::{Duration, Instant},
};

use framebridge_capture::{Choice, Feed, Picture};
use framebridge_config::Slate;
use framebridge_core::{source_pace::SourcePace, stillness::Stillness};
use framebridge_proto::media::Rung;
use tokio::sync::{Semaphore, watch};

use crate::{
    broadcast::{Broadcast, Subscription},
    controls::{Controls, Keyframes, lock},
    copying::Copying,
    progress::Progress,
    rung::Ladder,
    watchdog::Stages,
};

/// What the threads of all of a process's pipelines share with the rest of it.
#[derive(Debug)]
pub(crate) struct EncoderState {
    pub(crate) controls: Arc<Controls>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) broadcast: Arc<Broadcast>,
    pub(crate) latest: Latest,
    /// The source's own frames, where these are sent on.
    pub(crate) copying: Copying,
    /// The lower rungs.
    pub(crate) ladder: Ladder,
    pub(crate) stages: Arc<Stages>,
    /// The encoder that works here, once one was chosen: trying them out again would find the same.
    pub(crate) choice: Mutex<Option<Choice>>,
    /// What is shown instead of the stream's source, if anything.
    pub(crate) slate: Option<Slate>,
    /// Where a `whip:` source is had from.
    pub(crate) feed: Feed,
    /// Room for the clips that may be made at once.
    pub(crate) clips: Semaphore,
    /// What is expected of the source.
    pub(crate) pace: Mutex<SourcePace>,
    /// Whether what it shows changes.
    pub(crate) stillness: Mutex<Stillness>,
    /// Pictures that came since the last one that was encoded, and are not encoded because they show the same.
    pub(crate) left_out: AtomicU32,
    /// What the stream's configuration takes for a stall.
    pub(crate) stall_timeout: Duration,
}

impl EncoderState {
    /// Whether a picture has come within the time that is usual for the source.
    pub(crate) fn is_flowing(&self) -> bool {
        !lock(&self.pace).is_overdue(self.stall_timeout, Instant::now())
    }

    /// Subscribes to a rung, which keeps the source open whichever it is.
    pub(crate) fn subscribe(&self, rung: Rung) -> Subscription {
        match self.ladder.lower(rung) {
            Some(lower) => lower.broadcast.subscribe().keeping(self.broadcast.demand()),
            None => self.broadcast.subscribe(),
        }
    }

    /// When a rung needs a keyframe.
    pub(crate) fn keyframes(&self, rung: Rung) -> &Keyframes {
        let lower = self.ladder.lower(rung);
        lower.map_or(self.controls.keyframes(), |lower| &lower.keyframes)
    }

    /// What comes next does not continue what came before, on no rung.
    pub(crate) fn cut(&self) {
        self.broadcast.cut();
        self.ladder.cut();
    }
}

/// The picture captured last, while a source is open.
#[derive(Debug)]
pub(crate) struct Latest(watch::Sender<Option<Arc<Picture>>>);

impl Latest {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    pub(crate) fn set(&self, picture: Arc<Picture>) {
        self.0.send_replace(Some(picture));
    }

    pub(crate) fn clear(&self) {
        self.0.send_replace(None);
    }

    /// Sees the picture there is, and each that follows.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Arc<Picture>>> {
        self.0.subscribe()
    }
}
