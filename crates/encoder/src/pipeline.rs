//! One life of an opened source: a thread that captures and a thread that scales and encodes, so that a source that
//! hangs and an encoder that hangs can be told apart.

mod copied;
mod step;

use std::{
    io,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use framebridge_capture::{Came, EncodeError, Interrupt, Picture, Scaler, Source, SourceConfig, SourceError};
use framebridge_config::{Source as Location, Stream};
use framebridge_core::{
    cadence::Cadence, source_clock::SourceClock, source_life::Failure, stage_watch::Stage, stillness::Stillness,
};
use framebridge_proto::plain;
use tokio::sync::mpsc;

use crate::{
    controls::lock,
    copy::{Copier, LowerPictures, stillness::CodedWatch},
    makers::Makers,
    state::EncoderState,
};
use step::EncodeStep;

/// Pictures between the two threads: enough for the few that come at once after a hiccup. An encoder that can't keep up
/// loses pictures here instead of falling behind.
const HANDOFF: usize = 2;

/// A picture is encoded again when no other has come for so long: pages, which take a second and a half of nothing for a fault,
/// see that it is alive.
const REPEAT: Duration = Duration::from_millis(500);

/// The same, when others have come that show nothing else. There is nothing to wait for in them.
const REPEAT_STILL: Duration = Duration::from_secs(1);

/// How often it is looked whether a picture has to be encoded again: who joins gets a keyframe as soon as this.
const LOOK: Duration = Duration::from_millis(100);

/// How often it is looked for frames that are sent on, where lower rungs are made of them.
const LOOK_COPIED: Duration = Duration::from_millis(10);

/// How often it is looked whether a picture is black.
const BLACK_LOOK: Duration = Duration::from_secs(1);

/// What a pipeline tells the app.
#[derive(Debug)]
pub(crate) enum Event {
    /// The first picture came.
    Picture,
    /// Both threads are done, and why.
    Ended(String, Failure),
}

/// A running pipeline. Tell it to stop and wait for [`Event::Ended`].
#[derive(Debug)]
pub(crate) struct Pipeline {
    interrupt: Interrupt,
}

/// Why a pipeline ended.
#[derive(Debug, thiserror::Error)]
enum PipelineError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error("its picture has not changed for {} s (frozen_after_ms)", .0.as_secs())]
    Frozen(Duration),
    #[error("the encoder's side has ended")]
    Deserted,
}

/// A picture on its way to the encoder, and the frame rate it belongs to.
type Handed = (Arc<Picture>, u32);

impl Pipeline {
    /// Starts both threads.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(stream: &Stream, shared: &Arc<EncoderState>, events: mpsc::Sender<Event>) -> io::Result<Self> {
        let interrupt = Interrupt::new();
        let life = Life {
            stream: stream.clone(),
            shared: Arc::clone(shared),
            interrupt: interrupt.clone(),
            events,
        };
        thread::Builder::new()
            .name("encode".to_owned())
            .spawn(move || life.run())?;
        Ok(Self { interrupt })
    }

    /// Tells both threads to end. One that hangs in FFmpeg does not hear it; that is the watchdog's.
    pub(crate) fn stop(&self) {
        self.interrupt.stop();
    }
}

struct Life {
    stream: Stream,
    shared: Arc<EncoderState>,
    interrupt: Interrupt,
    events: mpsc::Sender<Event>,
}

impl Life {
    /// Runs on the encode thread, with the capture thread inside its scope.
    fn run(self) {
        let (sender, receiver) = sync_channel(HANDOFF);
        let life = &self;
        let outcome = thread::scope(|scope| {
            // The sender goes with the capture, whose end is then what the encode thread sees.
            let capture = move || life.capture(&sender);
            let capture = thread::Builder::new()
                .name("capture".to_owned())
                .spawn_scoped(scope, capture);
            let Ok(capture) = capture else {
                return Err(PipelineError::Deserted);
            };
            let encoded = self.encode(receiver);
            self.interrupt.stop();
            let captured = capture.join().unwrap_or(Err(PipelineError::Deserted));
            // An encoder that fails ends the capture; else it is the source that ended.
            encoded.and(captured)
        });
        self.shared.latest.clear();
        self.shared.copying.stop();
        *lock(&self.shared.stillness) = Stillness::new();
        self.shared.cut();
        let (reason, failure) = outcome.err().map_or((String::new(), Failure::Other), |error| {
            let failure = error.failure();
            (reason(&self.stream.source, error), failure)
        });
        // No receiver: the process is ending.
        _ = self.events.blocking_send(Event::Ended(reason, failure));
    }

    fn capture(&self, sender: &SyncSender<Handed>) -> Result<(), PipelineError> {
        let stage = &self.shared.stages.capture;
        let outcome = loop {
            stage.enter(Stage::Opening);
            let quality = self.shared.controls.bearable();
            let fps = quality.fps;
            let config = SourceConfig {
                location: self.stream.source.clone(),
                fps,
                longest_edge: quality.longest_edge,
                silence_limit: self.stream.pause_timeout,
                tls: self.stream.tls.clone(),
                feed: Some(self.shared.feed.clone()),
            };
            let mut source = match Source::open(&config, &self.interrupt) {
                Ok(source) => source,
                Err(error) => break Err(error.into()),
            };
            let outcome = self.read(&mut source, fps, sender);
            stage.enter(Stage::Closing);
            drop(source);
            if let Err(error) = outcome {
                break Err(error);
            }
        };
        stage.enter(Stage::Resting);
        outcome
    }

    /// Hands pictures over until the source ends, or (`Ok`) has to be opened for another frame rate.
    fn read(&self, source: &mut Source, opened_fps: u32, sender: &SyncSender<Handed>) -> Result<(), PipelineError> {
        let stage = &self.shared.stages.capture;
        let kind = self.stream.source.traits();
        let declared = source.interval().unwrap_or_default();
        lock(&self.shared.pace).opened(declared);
        *lock(&self.shared.stillness) = Stillness::new();
        let mut watched = Watched::default();
        let mut fps = opened_fps;
        let even = !source.is_uneven() && !kind.follows_rate;
        let mut cadence = Cadence::new(fps, even);
        let mut clock = SourceClock::new();
        let (mut fruitful, mut announced) = (false, false);
        let mut left_out = LeftOut::default();
        let mut copier = Copier::new(&self.shared, &self.stream, source);
        loop {
            let waiting = if kind.network && !fruitful {
                Stage::Joining
            } else {
                Stage::Reading
            };
            stage.enter(waiting);
            // Each packet is a sign of life; whether there are pictures in them is judged by the source itself.
            let came = source.come(&|| stage.enter(waiting), copier.machine())?;
            stage.enter(Stage::Resting);
            let mut undue = match came {
                Came::Picture(undue) => undue,
                Came::Coded(unit) => {
                    self.copy(source, unit, &mut clock, (&mut copier, &mut watched))?;
                    self.announce(&mut announced);
                    fruitful = true;
                    continue;
                }
            };
            copier.encodes();
            if source.is_uneven() {
                let timing = clock.observe(undue.time(), undue.taken());
                undue.place(timing.taken, timing.due);
            }
            lock(&self.shared.pace).expects(undue.due());
            let taken = undue.taken();
            let picture = Arc::new(source.present(undue)?);
            source.set_silence_limit(self.came());
            self.shared.progress.set_decodes(source.decode_rate());
            fruitful = true;
            // While encoders are being tried out, what none takes is no fault.
            if lock(&self.shared.choice).is_some() {
                self.announce(&mut announced);
            }
            let wanted = self.shared.controls.bearable().fps;
            if wanted != fps {
                if kind.follows_rate {
                    return Ok(());
                }
                (fps, cadence) = (wanted, Cadence::new(wanted, even));
            }
            if !cadence.keeps(taken) {
                continue;
            }
            self.shared.latest.set(Arc::clone(&picture));
            if self.is_same(&mut watched, &picture)? {
                self.shared.left_out.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let told = told_fps(fps, cadence.source_fps(), declared);
            match sender.try_send((picture, told)) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => {
                    self.shared.progress.left_out.fetch_add(1, Ordering::Relaxed);
                    left_out.one();
                    // The next one that shows the same still has to be shown.
                    watched.last = None;
                }
                Err(TrySendError::Disconnected(_)) => return Err(PipelineError::Deserted),
            }
        }
    }

    /// Tells that pictures come, once.
    fn announce(&self, announced: &mut bool) {
        if !std::mem::replace(announced, true) {
            _ = self.events.blocking_send(Event::Picture);
        }
    }

    /// Takes in whether a picture shows the same as the one before it, and whether it is black.
    fn is_still(&self, same: bool, black: Option<bool>, now: Instant) -> Result<(), PipelineError> {
        let mut stillness = lock(&self.shared.stillness);
        stillness.picture(same, now);
        if let Some(black) = black {
            stillness.looked(black, now);
        }
        let (unchanged, limit) = (stillness.unchanged(), self.stream.frozen_after);
        if !limit.is_zero() && unchanged >= limit {
            return Err(PipelineError::Frozen(unchanged));
        }
        Ok(())
    }

    /// Whether a picture shows the same as the one before it.
    fn is_same(&self, watched: &mut Watched, picture: &Arc<Picture>) -> Result<bool, PipelineError> {
        let same = watched.last.as_ref().is_some_and(|last| last.shows_same(picture));
        watched.is_new |= !same;
        // The latest of those that show the same: a source that gives it again need not be compared.
        watched.last = Some(Arc::clone(picture));
        let now = Instant::now();
        let is_due = watched.looked.is_none_or(|looked| now - looked >= BLACK_LOOK);
        // What can't be converted is refused where it is encoded.
        let black = (is_due && watched.is_new).then(|| picture.is_black(&mut watched.scaler).unwrap_or(false));
        if black.is_some() {
            (watched.looked, watched.is_new) = (Some(now), false);
        }
        self.is_still(same, black, now)?;
        Ok(same)
    }

    /// A picture has come. How long the next one may take.
    fn came(&self) -> Duration {
        self.shared.progress.captured.bump();
        let mut pace = lock(&self.shared.pace);
        pace.picture(Instant::now());
        pace.patience(self.stream.pause_timeout)
    }

    fn encode(&self, receiver: Receiver<Handed>) -> Result<(), PipelineError> {
        let stage = &self.shared.stages.encode;
        stage.enter(Stage::Probing);
        let mut step = EncodeStep::new(&self.shared, self.stream.encoder);
        stage.enter(Stage::Resting);
        let mut lower = Makers::new(&self.shared);
        let mut of_copied = LowerPictures::default();
        let mut last: Option<Handed> = None;
        // When the last one was encoded, and up to when it is known what there is to see.
        let (mut encoded_at, mut seen_at) = (Instant::now(), Instant::now());
        let outcome = loop {
            let is_copied_lower = self.shared.ladder.is_wanted() && self.shared.copying.hold().is_on();
            match receiver.recv_timeout(if is_copied_lower { LOOK_COPIED } else { LOOK }) {
                Ok(handed) => (last, seen_at) = (Some(handed), Instant::now()),
                Err(RecvTimeoutError::Timeout) => {
                    stage.enter(Stage::Encoding);
                    for (picture, fps) in of_copied.next(&self.shared) {
                        lower.hand(&picture, fps);
                    }
                    stage.enter(Stage::Resting);
                    let since = encoded_at.elapsed();
                    let is_still = self.shared.left_out.load(Ordering::Relaxed) > 0;
                    let repeat = if is_still { REPEAT_STILL } else { REPEAT };
                    // A stage that gives nothing for the stall timeout counts as stuck.
                    let repeat = repeat.min(self.stream.stall_timeout / 2);
                    let is_awaited = self.shared.controls.keyframes().are_due() || self.shared.ladder.awaits_keyframe();
                    let is_due = since >= repeat || is_awaited;
                    if !is_due
                        || self.shared.copying.hold().is_on()
                        || !self.shared.controls.encodes()
                        || !self.shared.is_flowing()
                    {
                        continue;
                    }
                    if let Some((picture, _)) = &mut last {
                        *picture = Arc::new(picture.again(seen_at.elapsed()));
                        seen_at = Instant::now();
                    }
                }
                // The capture thread is gone.
                Err(RecvTimeoutError::Disconnected) => break Ok(()),
            }
            let Some((picture, fps)) = last.as_ref().filter(|_| self.shared.controls.encodes()) else {
                continue;
            };
            lower.hand(picture, *fps);
            stage.enter(Stage::Encoding);
            let encoded = step.encode(picture, *fps);
            encoded_at = Instant::now();
            stage.enter(Stage::Resting);
            if let Err(error) = encoded {
                break Err(error.into());
            }
        };
        // A driver may hang in it.
        stage.enter(Stage::Closing);
        drop((step, lower));
        stage.enter(Stage::Resting);
        outcome
    }
}

/// What is watched of the pictures that come.
#[derive(Default)]
struct Watched {
    last: Option<Arc<Picture>>,
    /// Whether it has not been looked at for black.
    is_new: bool,
    /// When one was looked at for black.
    looked: Option<Instant>,
    scaler: Scaler,
    /// The same of frames that are not decoded.
    coded: CodedWatch,
}

/// Pictures that the encoder had no time for. A few after a hiccup are nothing to tell; more are told once a second.
#[derive(Debug, Default)]
struct LeftOut {
    count: u32,
    since: Option<Instant>,
}

impl LeftOut {
    fn one(&mut self) {
        self.count += 1;
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() >= Duration::from_secs(1) {
            tracing::warn!(pictures = self.count, "left out: the encoder can't keep up");
            *self = Self::default();
        }
    }
}

/// Reasons are cut here: what a camera answers may be of any length.
const MOST_WORDS: usize = 500;

impl PipelineError {
    /// What it means for the next try.
    fn failure(&self) -> Failure {
        match self {
            Self::Source(error) => error.failure(),
            Self::Encode(_) | Self::Frozen(_) | Self::Deserted => Failure::Other,
        }
    }
}

/// Why a pipeline ended, in one line that names what failed.
fn reason(source: &Location, error: PipelineError) -> String {
    let place = match &error {
        PipelineError::Source(_) | PipelineError::Frozen(_) => source.place(),
        PipelineError::Encode(_) | PipelineError::Deserted => None,
    };
    let told = format!("{:#}", anyhow::Error::from(error));
    let told = place.map_or_else(|| told.clone(), |place| format!("{place}: {told}"));
    plain(&told, MOST_WORDS)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// The frame rate of a stream that is to have `fps` at most: what its source was `seen` to give, or else what the `declared`
/// interval says, which is often wrong.
fn told_fps(fps: u32, seen: Option<f64>, declared: Duration) -> u32 {
    let declared = (!declared.is_zero()).then(|| 1.0 / declared.as_secs_f64());
    let source = seen.or(declared).unwrap_or(f64::from(fps));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and `fps`"
    )]
    let whole = source.round().clamp(1.0, f64::from(fps.max(1))) as u32;
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_that_names_what_failed() {
        let failed = || SourceError::Silent {
            limit: Duration::from_secs(2),
        };
        for (source, told) in [
            ("rtsp://u:p@cam:8554/s?x=1", "cam:8554: the source was silent for 2 s"),
            ("test:", "the source was silent for 2 s"),
        ] {
            assert_eq!(reason(&source.parse().unwrap(), failed().into()), told);
        }
    }

    #[test]
    fn a_stream_is_no_faster_than_its_source() {
        let us = Duration::from_micros;
        for (fps, declared, expected) in [
            (30, us(40_000), 25),
            (30, us(33_367), 30),
            (30, us(16_667), 30),
            (5, us(10_000_000), 1),
        ] {
            assert_eq!(told_fps(fps, None, declared), expected);
        }
        assert_eq!(told_fps(30, None, Duration::ZERO), 30);
        assert_eq!(
            told_fps(30, Some(24.6), us(11)),
            25,
            "what was seen counts, not what is declared"
        );
        assert_eq!(told_fps(30, Some(0.14), us(33_333)), 1);
    }
}
