//! What happens to a picture on the encode thread.

use std::{sync::atomic::Ordering, time::Instant};

use framebridge_capture::{Choice, Codec, EncodeError, EncodedFrame, Encoder, EncoderConfig, Picture, choose, fit};
use framebridge_config::EncoderChoice;
use framebridge_proto::media::{Codec as WireCodec, CodecParameters};

use crate::{controls::lock, progress::Encoding, state::EncoderState};

/// A stream's rate has changed when it did so by more than this part.
const RATE_CHANGE: u32 = 6;

/// The encoder in use, opened anew whenever what comes in or is asked for changes.
pub(super) struct EncodeStep<'a> {
    shared: &'a EncoderState,
    choice: Choice,
    encoder: Option<Encoder>,
    /// What is told of the stream's rate.
    fps: u32,
    /// How often the source's own frames were sent on before.
    beginnings: u64,
}

impl<'a> EncodeStep<'a> {
    pub(super) fn new(shared: &'a EncoderState, wanted: EncoderChoice) -> Self {
        let known = lock(&shared.choice).clone();
        let choice = known.unwrap_or_else(|| adopt(shared, choose(wanted)));
        Self {
            shared,
            choice,
            encoder: None,
            fps: 0,
            beginnings: 0,
        }
    }

    /// Encodes a picture and sends it, `fps` being the rate it belongs to.
    pub(super) fn encode(&mut self, picture: &Picture, fps: u32) -> Result<(), EncodeError> {
        let beginnings = self.shared.copying.hold().beginnings();
        if std::mem::replace(&mut self.beginnings, beginnings) != beginnings {
            // What was sent in between is not what it leans on.
            self.encoder = None;
        }
        let quality = self.shared.controls.bearable();
        let size = fit(picture.size(), quality.longest_edge);
        // A little more or less is the source's jitter.
        if fps.abs_diff(self.fps) * RATE_CHANGE > self.fps {
            self.fps = fps;
        }
        let config = EncoderConfig {
            size,
            fps: quality.fps,
            bitrate: quality.bitrate,
            colours: picture.colours().sent(size),
        };
        let keyframe = self.shared.controls.keyframes().are_due();
        let (started, was_open) = (Instant::now(), self.encoder.is_some());
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
        // To open an encoder takes long, too.
        let (width, height) = picture.size();
        if was_open
            && self
                .shared
                .controls
                .encoded(started.elapsed(), (fps, width.max(height)))
        {
            let shortfall = self.shared.controls.shortfall();
            tracing::warn!(
                "{}",
                shortfall.as_deref().unwrap_or("this machine encodes fast enough again")
            );
            // The next one is opened for what is bearable, and says so.
            self.encoder = None;
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
            Some(encoder) if encoder.config().differs_in_rate_only(config) => encoder,
            Some(_) | None => self.open(config)?,
        };
        encoder.set_bitrate(config.bitrate);
        let left_out = self.shared.left_out.swap(0, Ordering::Relaxed);
        let encoded = encoder.encode_after(left_out, picture, keyframe)?;
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
        let mut reason = self.choice.reason.clone();
        if let Some(shortfall) = self.shared.controls.shortfall() {
            reason += &format!("; {shortfall}");
        }
        if let Some(obstacle) = self.shared.copying.obstacle() {
            reason += &format!("; not as it comes: {obstacle}");
        }
        self.shared.progress.set_encoding(Encoding {
            encoder: self.choice.codec.to_string(),
            reason,
            size: config.size,
            sent_on: None,
        });
        Ok(encoder)
    }

    fn publish(&self, encoded: EncodedFrame, config: EncoderConfig) {
        let copying = self.shared.copying.hold();
        if copying.is_on() {
            // The source's own frames go on; this one was on its way when they began.
            return;
        }
        self.shared.progress.encoded.bump();
        if encoded.keyframe {
            // Before it is sent: who asks from now on may have come too late for it.
            self.shared.controls.keyframes().made();
        }
        let parameters = CodecParameters {
            codec: WireCodec::H264,
            width: config.size.0,
            height: config.size.1,
            fps: self.fps,
            bitrate: config.bitrate,
            encoder: self.choice.codec.to_string(),
            copied: None,
        };
        if let Err(error) = self.shared.broadcast.publish(encoded, &parameters) {
            tracing::error!("a picture was not sent: {error}");
            self.shared.broadcast.cut();
            self.shared.controls.keyframes().request();
        }
    }
}

impl Drop for EncodeStep<'_> {
    fn drop(&mut self) {
        self.shared.controls.rests();
    }
}

/// Makes `choice` that of the process, for its further pipelines too.
fn adopt(shared: &EncoderState, choice: Choice) -> Choice {
    tracing::info!(encoder = %choice.codec, "encoding with {}", choice.reason);
    *lock(&shared.choice) = Some(choice.clone());
    choice
}
