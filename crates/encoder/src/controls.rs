//! Tells the threads that capture and encode what to change while they run.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};
use std::time::{Duration, Instant};

use framebridge_core::{encode_load::EncodeLoad, keyframe_gate::KeyframeGate};
use framebridge_proto::encoder::Quality;
use tokio::sync::watch;

/// Set by the app and its connections, looked at once per picture by the threads.
#[derive(Debug)]
pub(crate) struct Controls {
    quality: watch::Sender<Quality>,
    load: Mutex<EncodeLoad>,
    paused: AtomicBool,
    /// Broken on purpose, for good.
    stalled: AtomicBool,
    keyframes: Arc<Keyframes>,
}

/// When one rung needs a keyframe.
#[derive(Debug)]
pub(crate) struct Keyframes(Mutex<KeyframeGate>);

impl Keyframes {
    /// Nobody has asked yet.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(KeyframeGate::of_encoder())))
    }

    /// Somebody needs a keyframe; those who ask within a while get one together.
    pub(crate) fn request(&self) {
        lock(&self.0).request();
    }

    /// Whether the picture at hand is to be one.
    pub(crate) fn are_due(&self) -> bool {
        lock(&self.0).is_due(Instant::now())
    }

    pub(crate) fn made(&self) {
        lock(&self.0).made(Instant::now());
    }
}

impl Controls {
    pub(crate) fn new(quality: Quality) -> Self {
        Self {
            quality: watch::Sender::new(quality),
            load: Mutex::default(),
            paused: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            keyframes: Keyframes::new(),
        }
    }

    /// What was asked for.
    pub(crate) fn quality(&self) -> Quality {
        *self.quality.borrow()
    }

    /// What this machine can make of it.
    pub(crate) fn bearable(&self) -> Quality {
        let (quality, load) = (self.quality(), lock(&self.load));
        Quality {
            fps: load.fps(quality.fps),
            longest_edge: load.longest_edge(quality.longest_edge),
            ..quality
        }
    }

    pub(crate) fn set_quality(&self, quality: Quality) {
        self.quality.send_replace(quality);
        *lock(&self.load) = EncodeLoad::default();
    }

    /// A picture of the full rung took so long to encode, of a source of so many a second. Whether another quality is bearable from now on.
    pub(crate) fn encoded(&self, took: Duration, fps: u32) -> bool {
        let interval = Duration::from_secs(1) / self.bearable().fps.min(fps).max(1);
        lock(&self.load).encoded(took, interval, Instant::now())
    }

    /// What is said of a machine that makes less of the quality than was asked for.
    pub(crate) fn shortfall(&self) -> Option<String> {
        let Quality { fps, longest_edge, .. } = self.bearable();
        lock(&self.load)
            .is_lowered()
            .then(|| format!("this machine encodes too slowly for more than {fps} fps and {longest_edge} pixels"))
    }

    /// The quality in force, now and on every change.
    pub(crate) fn watch_quality(&self) -> watch::Receiver<Quality> {
        self.quality.subscribe()
    }

    /// Whether pictures are to be encoded.
    pub(crate) fn encodes(&self) -> bool {
        !self.paused.load(Ordering::Relaxed) && !self.stalled.load(Ordering::Relaxed)
    }

    pub(crate) fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    /// From now on nothing is encoded. Whether it was so already.
    pub(crate) fn stall(&self) -> bool {
        self.stalled.swap(true, Ordering::Relaxed)
    }

    /// The full rung's keyframes.
    pub(crate) fn keyframes(&self) -> &Arc<Keyframes> {
        &self.keyframes
    }
}

/// What is behind these locks is whole at any time, so a panic elsewhere (which ends the process) leaves it usable.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
