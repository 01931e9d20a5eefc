//! One life of an opened source: a thread that captures and a thread that scales and encodes, so that a source that
//! hangs and an encoder that hangs can be told apart.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use framebridge_capture::{
    Cadence, Choice, Codec, EncodeError, EncodedFrame, Encoder, EncoderConfig, Interrupt, Picture, Source,
    SourceConfig, SourceError, choose, fit,
};
use framebridge_config::{EncoderChoice, Source as Location, Stream};
use framebridge_core::stage_watch::Stage;
use framebridge_proto::media::{Codec as WireCodec, CodecParameters};
use tokio::sync::mpsc;

use crate::{controls::lock, progress::Encoding, state::EncoderState};

/// Pictures between the two threads: enough for the few that come at once after a hiccup. An encoder that can't keep up
/// loses pictures here instead of falling behind.
const HANDOFF: usize = 2;

/// What a pipeline tells the app.
#[derive(Debug)]
pub(crate) enum Event {
    /// The first picture came.
    Picture,
    /// Both threads are done, and why.
    Ended(String),
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
        self.shared.broadcast.cut();
        let reason = outcome
            .err()
            .map_or_else(String::new, |error| format!("{:#}", anyhow::Error::from(error)));
        // No receiver: the process is ending.
        _ = self.events.blocking_send(Event::Ended(reason));
    }

    fn capture(&self, sender: &SyncSender<Handed>) -> Result<(), PipelineError> {
        let stage = &self.shared.stages.capture;
        let outcome = loop {
            stage.enter(Stage::Opening);
            let fps = self.shared.controls.quality().fps;
            let config = SourceConfig {
                location: self.stream.source.clone(),
                fps,
                silence_limit: self.stream.stall_timeout,
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
        let joins_in_the_middle = matches!(self.stream.source, Location::Rtsp { .. });
        let mut fps = opened_fps;
        let mut cadence = Cadence::new(fps);
        let (mut fruitful, mut announced) = (false, false);
        let mut left_out = LeftOut::default();
        loop {
            stage.enter(if joins_in_the_middle && !fruitful {
                Stage::Joining
            } else {
                Stage::Reading
            });
            let undue = source.read()?;
            stage.enter(Stage::Resting);
            let picture = Arc::new(source.present(undue)?);
            self.shared.progress.captured.add();
            fruitful = true;
            // While encoders are being tried out, what none takes is no fault.
            if !announced && lock(&self.shared.choice).is_some() {
                announced = true;
                _ = self.events.blocking_send(Event::Picture);
            }
            let wanted = self.shared.controls.quality().fps;
            if wanted != fps {
                if Source::follows_rate(&self.stream.source) {
                    return Ok(());
                }
                (fps, cadence) = (wanted, Cadence::new(wanted));
            }
            if !cadence.keeps(picture.captured_ns) {
                continue;
            }
            self.shared.latest.set(Arc::clone(&picture));
            match sender.try_send((picture, source.interval().map_or(fps, |interval| slower(fps, interval)))) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => left_out.one(),
                Err(TrySendError::Disconnected(_)) => return Err(PipelineError::Deserted),
            }
        }
    }

    fn encode(&self, receiver: Receiver<Handed>) -> Result<(), PipelineError> {
        let stage = &self.shared.stages.encode;
        stage.enter(Stage::Probing);
        let mut step = EncodeStep::new(&self.shared, self.stream.encoder);
        stage.enter(Stage::Resting);
        let outcome = loop {
            // The capture thread is gone when this fails.
            let Ok((picture, fps)) = receiver.recv() else {
                break Ok(());
            };
            if !self.shared.controls.encodes() {
                continue;
            }
            stage.enter(Stage::Encoding);
            let encoded = step.encode(&picture, fps);
            stage.enter(Stage::Resting);
            if let Err(error) = encoded {
                break Err(error.into());
            }
        };
        // A driver may hang in it.
        stage.enter(Stage::Closing);
        drop(step);
        stage.enter(Stage::Resting);
        outcome
    }
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

/// The encoder in use, opened anew whenever what comes in or is asked for changes.
struct EncodeStep<'a> {
    shared: &'a EncoderState,
    choice: Choice,
    encoder: Option<Encoder>,
}

impl<'a> EncodeStep<'a> {
    fn new(shared: &'a EncoderState, wanted: EncoderChoice) -> Self {
        let known = lock(&shared.choice).clone();
        let choice = known.unwrap_or_else(|| adopt(shared, choose(wanted)));
        Self {
            shared,
            choice,
            encoder: None,
        }
    }

    fn encode(&mut self, picture: &Picture, fps: u32) -> Result<(), EncodeError> {
        let quality = self.shared.controls.quality();
        let config = EncoderConfig {
            size: fit(picture.size(), quality.longest_edge),
            fps,
            bitrate: quality.bitrate,
        };
        let keyframe = self.shared.controls.wants_keyframe();
        let encoded = match self.encode_with(picture, config, keyframe) {
            // Hardware can fail at any time, and at a size that the probe did not have; software does not.
            Err(error) if self.choice.codec != Codec::X264 => {
                let reason = format!("software, because {:#}", anyhow::Error::from(error));
                self.choice = adopt(
                    self.shared,
                    Choice {
                        codec: Codec::X264,
                        reason,
                    },
                );
                self.encoder = None;
                self.encode_with(picture, config, true)?
            }
            encoded => encoded?,
        };
        if let Some(encoded) = encoded {
            self.publish(encoded, config);
        }
        Ok(())
    }

    fn encode_with(
        &mut self,
        picture: &Picture,
        config: EncoderConfig,
        keyframe: bool,
    ) -> Result<Option<EncodedFrame>, EncodeError> {
        let mut encoder = match self.encoder.take() {
            Some(encoder) if (encoder.config().size, encoder.config().fps) == (config.size, config.fps) => encoder,
            Some(_) | None => self.open(config)?,
        };
        encoder.set_bitrate(config.bitrate);
        let encoded = encoder.encode(picture, keyframe)?;
        self.encoder = Some(encoder);
        Ok(encoded)
    }

    fn open(&self, config: EncoderConfig) -> Result<Encoder, EncodeError> {
        let encoder = Encoder::open(self.choice.codec, config)?;
        let (width, height) = config.size;
        tracing::info!(
            width,
            height,
            fps = config.fps,
            bitrate = config.bitrate,
            "opened {}",
            self.choice.codec
        );
        self.shared.progress.set_encoding(Encoding {
            encoder: self.choice.codec.to_string(),
            reason: self.choice.reason.clone(),
            size: config.size,
        });
        Ok(encoder)
    }

    fn publish(&self, encoded: EncodedFrame, config: EncoderConfig) {
        self.shared.progress.encoded.add();
        if encoded.keyframe {
            // Before it is sent: who asks from now on may have come too late for it.
            self.shared.controls.keyframe_made();
        }
        let parameters = CodecParameters {
            codec: WireCodec::H264,
            width: config.size.0,
            height: config.size.1,
            fps: config.fps,
            bitrate: config.bitrate,
            encoder: self.choice.codec.to_string(),
        };
        if let Err(error) = self.shared.broadcast.publish(encoded, &parameters) {
            tracing::error!("a picture was not sent: {error}");
            self.shared.broadcast.cut();
            self.shared.controls.request_keyframe();
        }
    }
}

/// Makes `choice` that of the process, for its further pipelines too.
fn adopt(shared: &EncoderState, choice: Choice) -> Choice {
    tracing::info!(encoder = %choice.codec, "encoding with {}", choice.reason);
    *lock(&shared.choice) = Some(choice.clone());
    choice
}

/// The frame rate of a stream whose source has `interval` between its pictures: no more than what is asked for.
fn slower(fps: u32, interval: Duration) -> u32 {
    let nanos = interval.as_nanos().max(1);
    let source_fps = (1_000_000_000 + nanos / 2) / nanos;
    u32::try_from(source_fps).unwrap_or(u32::MAX).clamp(1, fps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_no_faster_than_its_source() {
        for (fps, interval_us, expected) in [(30, 40_000, 25), (30, 33_367, 30), (30, 16_667, 30), (5, 10_000_000, 1)] {
            assert_eq!(slower(fps, Duration::from_micros(interval_us)), expected);
        }
    }
}
