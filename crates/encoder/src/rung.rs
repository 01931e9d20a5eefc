//! The lower rungs: smaller encodings of the same pictures, each by a thread of its own, made only while somebody subscribes.
//!
//! They are encoded by x264 whatever encodes the full one: they are small, and a hardware encoder that has no second session to
//! give would fail. Each loses pictures where it can't keep up, and none waits for another.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use framebridge_capture::{Codec, EncodeError, Encoder, EncoderConfig, Picture, fit};
use framebridge_core::{rung_budget::RungBudget, stage_watch::Stage};
use framebridge_daemon::Meter;
use framebridge_proto::{
    encoder::Quality,
    media::{Codec as WireCodec, CodecParameters, Rung},
    supervisor::RungProgress,
};
use tokio::sync::watch;

use crate::{
    broadcast::Broadcast,
    controls::{Keyframes, lock},
    progress::Progress,
    state::EncoderState,
};

/// Pictures on their way to a rung's thread: enough for two that come at once. A rung that can't keep up loses them here.
const QUEUE: usize = 2;

/// A rung is made so long after the last who needed it: somebody whose link is just below a rate comes and goes.
const LINGER: Duration = Duration::from_secs(2);

/// No picture is made smaller than this, in pixels of the shorter edge: there is nothing to see in it.
const SMALLEST: u32 = 64;

/// All rungs below the full one.
#[derive(Debug)]
pub(crate) struct Ladder {
    lower: [LowerRung; Rung::LOWER.len()],
    is_allowed: bool,
}

/// One of them, as its thread, its subscribers and reports know it.
#[derive(Debug)]
pub(crate) struct LowerRung {
    rung: Rung,
    pub(crate) broadcast: Arc<Broadcast>,
    pub(crate) keyframes: Arc<Keyframes>,
    encoded: Meter,
    /// Why it is not made, while it is not.
    refused: watch::Sender<Option<String>>,
    /// Broken on purpose, for good.
    stalled: AtomicBool,
    budget: Mutex<RungBudget>,
}

impl Ladder {
    /// `is_allowed`: the stream's operator has nothing against lower rungs.
    pub(crate) fn new(is_allowed: bool, progress: &Arc<Progress>) -> Self {
        let lower = Rung::LOWER.map(|rung| {
            let keyframes = Keyframes::new();
            // Clips are made of the full rung.
            let broadcast = Broadcast::new(Arc::clone(&keyframes), Arc::clone(progress), Duration::ZERO);
            LowerRung {
                rung,
                broadcast: Arc::new(broadcast),
                keyframes,
                encoded: Meter::default(),
                refused: watch::Sender::default(),
                stalled: AtomicBool::new(false),
                budget: Mutex::default(),
            }
        });
        Self { lower, is_allowed }
    }

    /// `None`: it is the full one.
    pub(crate) fn lower(&self, rung: Rung) -> Option<&LowerRung> {
        self.lower.iter().find(|lower| lower.rung == rung)
    }

    /// What comes next does not continue what came before.
    pub(crate) fn cut(&self) {
        for lower in &self.lower {
            lower.broadcast.cut();
        }
    }

    /// Whether anybody subscribes to a lower rung.
    pub(crate) fn is_wanted(&self) -> bool {
        self.lower.iter().any(|lower| lower.broadcast.is_wanted())
    }

    /// Whether somebody waits for a keyframe of a lower rung.
    pub(crate) fn awaits_keyframe(&self) -> bool {
        let waits = |lower: &LowerRung| lower.broadcast.is_wanted() && lower.keyframes.are_due();
        self.lower.iter().any(waits)
    }

    /// What was done for those that somebody subscribes to.
    pub(crate) fn report(&self) -> Vec<RungProgress> {
        let wanted = self.lower.iter().filter(|lower| lower.broadcast.is_wanted());
        wanted
            .map(|lower| RungProgress {
                rung: lower.rung,
                subscribers: lower.broadcast.subscribers(),
                encoded: lower.encoded.read(),
                refused: lower.refused.borrow().clone(),
            })
            .collect()
    }
}

impl LowerRung {
    /// Why it is not made, now and on every change.
    pub(crate) fn watch_refusal(&self) -> watch::Receiver<Option<String>> {
        self.refused.subscribe()
    }

    /// From now on it makes nothing. Whether it was so already.
    pub(crate) fn stall(&self) -> bool {
        self.stalled.swap(true, Ordering::Relaxed)
    }

    fn say(&self, reason: Option<&str>) {
        self.refused.send_if_modified(|refused| {
            let is_news = refused.as_deref() != reason;
            if is_news {
                *refused = reason.map(str::to_owned);
                if let Some(reason) = reason {
                    tracing::warn!(rung = %self.rung, "not made: {reason}");
                }
            }
            is_news
        });
    }

    /// Its size, of pictures of `size` that are `full` on the full rung, and its rate; or why it can't be.
    fn plan(&self, quality: Quality, size: (u32, u32), full: (u32, u32)) -> Result<((u32, u32), u32), &'static str> {
        let size = fit(size, full.0.max(full.1) / self.rung.edge_divisor());
        if size.0.min(size.1) < SMALLEST {
            return Err("the stream's picture is too small to be made smaller");
        }
        let bitrate = self.rung.bitrate(quality.bitrate);
        bitrate
            .map(|bitrate| (size, bitrate))
            .ok_or("the stream's rate is too low to be made lower")
    }
}

/// What makes the lower rungs during one life of an opened source. Belongs to the thread that encodes the full one.
pub(crate) struct Makers<'a> {
    shared: &'a Arc<EncoderState>,
    makers: [Maker; Rung::LOWER.len()],
}

/// What makes one of them.
#[derive(Default)]
struct Maker {
    running: Option<Running>,
    /// When somebody subscribed last.
    wanted: Option<Instant>,
    /// Pictures that the full rung had left out by then.
    left_out: u32,
}

/// A rung's thread.
struct Running {
    /// Dropped first: the thread ends with it.
    sender: Option<SyncSender<Work>>,
    thread: Option<JoinHandle<Result<(), EncodeError>>>,
}

/// A picture on its way to a rung's encoder.
struct Work {
    picture: Arc<Picture>,
    size: (u32, u32),
    bitrate: u32,
    /// What is told of the stream's rate.
    fps: u32,
    /// So many came before it that show the same.
    same: u32,
}

impl<'a> Makers<'a> {
    pub(crate) fn new(shared: &'a Arc<EncoderState>) -> Self {
        Self {
            shared,
            makers: Default::default(),
        }
    }

    /// Hands a picture to those rungs that somebody needs.
    pub(crate) fn hand(&mut self, picture: &Arc<Picture>, fps: u32) {
        let same = self.shared.left_out.load(Ordering::Relaxed);
        for at in 0..self.makers.len() {
            self.hand_to(at, picture, fps, same, Instant::now());
        }
    }

    fn hand_to(&mut self, at: usize, picture: &Arc<Picture>, fps: u32, same: u32, now: Instant) {
        let (lower, maker) = (&self.shared.ladder.lower[at], &mut self.makers[at]);
        // Followed also while nobody wants it: what was left out before is none of its fault.
        let left_out = self.shared.progress.left_out.load(Ordering::Relaxed);
        let on_full = left_out - std::mem::replace(&mut maker.left_out, left_out);
        if lower.broadcast.is_wanted() {
            maker.wanted = Some(now);
        }
        if maker.wanted.is_none_or(|wanted| now - wanted >= LINGER) {
            maker.running = None;
            return;
        }
        if !lock(&lower.budget).allows(now) {
            return;
        }
        let quality = self.shared.controls.quality();
        let plan = if self.shared.ladder.is_allowed {
            lower.plan(quality, picture.size(), fit(picture.size(), quality.longest_edge))
        } else {
            Err("the stream's lower_rungs is false")
        };
        let (size, bitrate) = match plan {
            Ok(plan) => plan,
            Err(reason) => {
                maker.running = None;
                lower.say(Some(reason));
                return;
            }
        };
        let picture = Arc::clone(picture);
        let work = Work {
            picture,
            size,
            bitrate,
            fps,
            same,
        };
        match maker.give(self.shared, lower.rung, work) {
            Ok(is_taken) => {
                let left_out = on_full.saturating_add(u32::from(!is_taken));
                if lock(&lower.budget).observe(left_out, now) {
                    maker.running = None;
                    lower.say(Some("this machine can't keep up with encoding it, too"));
                } else {
                    lower.say(None);
                }
            }
            Err(reason) => {
                maker.running = None;
                lock(&lower.budget).give_up(now);
                lower.say(Some(&reason));
            }
        }
    }
}

impl Maker {
    /// Gives the thread a picture, and starts it if there is none. False: there is no room.
    fn give(&mut self, shared: &Arc<EncoderState>, rung: Rung, work: Work) -> Result<bool, String> {
        if self.running.is_none() {
            self.running = Some(Running::start(shared, rung).map_err(|error| error.to_string())?);
        }
        let Some(running) = &mut self.running else {
            return Ok(false);
        };
        let sent = running.sender.as_ref().map(|sender| sender.try_send(work));
        match sent {
            Some(Ok(())) => Ok(true),
            Some(Err(TrySendError::Full(_))) => Ok(false),
            Some(Err(TrySendError::Disconnected(_))) | None => Err(running.end()),
        }
    }
}

impl Running {
    fn start(shared: &Arc<EncoderState>, rung: Rung) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE);
        let shared = Arc::clone(shared);
        let thread = thread::Builder::new()
            .name(format!("encode-{rung}"))
            .spawn(move || make(&shared, rung, &receiver))?;
        Ok(Self {
            sender: Some(sender),
            thread: Some(thread),
        })
    }

    /// Waits for the thread to end, which takes a picture's time at most. Why it did, if it failed.
    fn end(&mut self) -> String {
        self.sender = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => format!("{:#}", anyhow::Error::from(error)),
            Some(Ok(Ok(()))) | None => String::new(),
            Some(Err(_panic)) => "its thread has panicked".to_owned(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// The thread of one rung: encodes what it is given, to the end.
fn make(shared: &EncoderState, rung: Rung, receiver: &Receiver<Work>) -> Result<(), EncodeError> {
    let Some(lower) = shared.ladder.lower(rung) else {
        return Ok(());
    };
    let stage = shared.stages.of(rung);
    let mut encoder = None;
    let mut outcome = Ok(());
    while let Ok(work) = receiver.recv() {
        if lower.stalled.load(Ordering::Relaxed) {
            continue;
        }
        stage.enter(Stage::Encoding);
        outcome = lower.encode(&mut encoder, &work, shared.controls.quality().fps);
        stage.enter(Stage::Resting);
        if outcome.is_err() {
            break;
        }
    }
    stage.enter(Stage::Closing);
    drop(encoder);
    stage.enter(Stage::Resting);
    lower.broadcast.cut();
    outcome
}

impl LowerRung {
    fn encode(&self, encoder: &mut Option<Encoder>, work: &Work, most_fps: u32) -> Result<(), EncodeError> {
        let config = EncoderConfig {
            size: work.size,
            fps: most_fps,
            bitrate: work.bitrate,
            colours: work.picture.colours().sent(work.size),
        };
        let mut open = match encoder.take() {
            Some(open) if open.config().differs_in_rate_only(config) => open,
            Some(_) | None => {
                let (width, height) = config.size;
                tracing::info!(rung = %self.rung, width, height, bitrate = config.bitrate, "opened");
                Encoder::open(Codec::X264, config)?
            }
        };
        open.set_bitrate(config.bitrate);
        let encoded = open.encode_after(work.same, &work.picture, self.keyframes.are_due())?;
        *encoder = Some(open);
        let Some(encoded) = encoded else { return Ok(()) };
        self.encoded.bump();
        if encoded.keyframe {
            // Before it is sent: who asks from now on may have come too late for it.
            self.keyframes.made();
        }
        let parameters = CodecParameters {
            codec: WireCodec::H264,
            width: config.size.0,
            height: config.size.1,
            fps: work.fps,
            bitrate: config.bitrate,
            encoder: Codec::X264.to_string(),
            copied: None,
        };
        if let Err(error) = self.broadcast.publish(encoded, &parameters) {
            tracing::error!(rung = %self.rung, "a picture was not sent: {error}");
            self.broadcast.cut();
            self.keyframes.request();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rung_is_smaller_than_what_is_encoded_in_full_and_never_too_small_to_see() {
        let ladder = Ladder::new(true, &Arc::default());
        let quality = Quality {
            bitrate: 2_500_000,
            fps: 30,
            longest_edge: 1280,
        };
        for (rung, size, expected) in [
            (Rung::Half, (1920, 1080), Ok(((640, 360), 625_000))),
            (Rung::Quarter, (1920, 1080), Ok(((320, 180), 208_333))),
            (Rung::Half, (640, 480), Ok(((320, 240), 625_000))),
            (Rung::Half, (480, 640), Ok(((240, 320), 625_000))),
            (
                Rung::Half,
                (200, 100),
                Err("the stream's picture is too small to be made smaller"),
            ),
        ] {
            let lower = ladder.lower(rung).unwrap();
            assert_eq!(
                lower.plan(quality, size, fit(size, 1280)),
                expected,
                "{rung} of {size:?}"
            );
        }
        let slow = Quality {
            bitrate: 300_000,
            ..quality
        };
        let lower = ladder.lower(Rung::Half).unwrap();
        assert!(lower.plan(slow, (1280, 720), (1280, 720)).is_err());
    }
}
