//! What makes the lower rungs: a thread for each, while somebody subscribes. Each loses pictures where it can't keep up, and none waits
//! for another.

use std::{
    io,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use framebridge_capture::{EncodeError, Picture, fit};
use framebridge_core::stage_watch::Stage;
use framebridge_proto::media::Rung;

use crate::{controls::lock, rung::Work, state::EncoderState};

/// Pictures on their way to a rung's thread: enough for two that come at once. A rung that can't keep up loses them here.
const QUEUE: usize = 2;

/// A rung is made so long after the last who needed it: somebody whose link is just below a rate comes and goes.
const LINGER: Duration = Duration::from_secs(2);

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
        let quality = self.shared.controls.bearable();
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
        if lower.is_stalled() {
            continue;
        }
        stage.enter(Stage::Encoding);
        outcome = lower.encode(&mut encoder, &work, shared.controls.bearable().fps);
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
