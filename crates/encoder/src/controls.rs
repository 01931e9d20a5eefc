//! Tells the threads that capture and encode what to change while they run.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};
use std::time::{Duration, Instant};

use framebridge_core::{
    encode_load::{EncodeLoad, LoadNews, shortfall},
    keyframe_gate::KeyframeGate,
};
use framebridge_proto::{encoder::Quality, media::Load};
use tokio::sync::watch;

/// Set by the app and its connections, looked at once per picture by the threads.
#[derive(Debug)]
pub(crate) struct Controls {
    quality: watch::Sender<Quality>,
    load: Mutex<Judged>,
    told: watch::Sender<Option<Load>>,
    paused: AtomicBool,
    /// Broken on purpose, for good.
    stalled: AtomicBool,
    keyframes: Arc<Keyframes>,
}

/// How this machine keeps up, and with what.
#[derive(Debug, Default)]
struct Judged {
    load: EncodeLoad,
    news: LoadNews,
    /// Pictures a second and pixels of the longest edge that come while nothing is given up: a source may be opened for less then.
    comes: (u32, u32),
}

impl Judged {
    fn told(&self, quality: Quality) -> Load {
        let (fps, edge) = self.comes;
        let (asked_fps, asked_longest_edge) = (quality.fps.min(fps), quality.longest_edge.min(edge));
        Load {
            state: self.load.load(),
            percent: self.load.percent(),
            fps: self.load.fps(quality.fps).min(asked_fps),
            asked_fps,
            longest_edge: self.load.longest_edge(quality.longest_edge).min(asked_longest_edge),
            asked_longest_edge,
        }
    }
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
            told: watch::Sender::new(None),
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
        let (quality, judged) = (self.quality(), lock(&self.load));
        Quality {
            fps: judged.load.fps(quality.fps),
            longest_edge: judged.load.longest_edge(quality.longest_edge),
            ..quality
        }
    }

    pub(crate) fn set_quality(&self, quality: Quality) {
        self.quality.send_replace(quality);
        lock(&self.load).load = EncodeLoad::default();
    }

    /// A picture of the full rung took so long to encode, of a source of so many a second and pixels at its longest edge. Whether another
    /// quality is bearable from now on.
    pub(crate) fn encoded(&self, took: Duration, comes: (u32, u32)) -> bool {
        let (quality, now) = (self.quality(), Instant::now());
        let mut judged = lock(&self.load);
        if !judged.load.is_lowered() {
            judged.comes = comes;
        }
        let interval = Duration::from_secs(1) / judged.load.fps(quality.fps).min(comes.0).max(1);
        let is_new = judged.load.encoded(took, interval, now);
        let told = judged.told(quality);
        if judged.news.observe(told, now) {
            self.told.send_replace(Some(told));
        }
        is_new
    }

    /// Nothing is encoded any more.
    pub(crate) fn rests(&self) {
        if lock(&self.load).news.ended() {
            self.told.send_replace(None);
        }
    }

    /// How this machine keeps up, now and on every change.
    pub(crate) fn watch_load(&self) -> watch::Receiver<Option<Load>> {
        self.told.subscribe()
    }

    /// What is said of a machine that makes less of the quality than was asked for.
    pub(crate) fn shortfall(&self) -> Option<String> {
        let judged = lock(&self.load);
        let told = judged.load.is_lowered().then(|| judged.told(self.quality()));
        Some(format!("this machine {}", shortfall(&told?)?))
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
