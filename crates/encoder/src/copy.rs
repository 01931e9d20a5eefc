//! Sends a source's own frames on, as long as nothing speaks against it: nothing is decoded then, and nothing encoded.
//!
//! What is sent is a rendition like any other: whoever subscribes starts with the last group. What needs pictures (an image, a
//! smaller rendition) decodes the frames that a subscriber gets ([`Copying::group`](crate::copying::Copying::group), `framebridge_capture::FrameDecoder`).

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use framebridge_capture::{DecodeError, EncodedFrame, FrameDecoder, Picture, Source};
use framebridge_config::Stream;
use framebridge_core::as_it_comes::{AsItComes, Told, Wish, format_name};
use framebridge_proto::{
    media::{Codec as WireCodec, CodecParameters},
    supervisor::{EncoderProgress, SentOn},
};

use crate::{progress::Encoding, state::EncoderState};

/// How long lower rungs get pictures after the last who needed them: a little longer than they are made.
const LOWER_LINGER: Duration = Duration::from_secs(3);

/// Pictures that are handed on at once; what comes while there is no time for it is left out.
const MOST_PICTURES: usize = 2;

/// Frames of a group that are shown again after a pause come so close together, which nobody sees.
const REPLAY_STEP: Duration = Duration::from_millis(1);

/// Ticks of a frame's pts in [`REPLAY_STEP`].
const REPLAY_TICKS: u64 = 90;

/// The capture thread's end: decides by what comes, and sends on.
pub(crate) struct Copier<'a> {
    shared: &'a EncoderState,
    stream: &'a Stream,
    machine: AsItComes,
    told: Option<Told>,
    /// Whether frames were left out, so that what follows has to begin anew.
    is_cut: bool,
}

impl<'a> Copier<'a> {
    /// For a source that was just opened.
    pub(crate) fn new(shared: &'a EncoderState, stream: &'a Stream, source: &Source) -> Self {
        let mut machine = AsItComes::new(wish(shared, stream));
        machine.opened(source.obstacle());
        Self {
            shared,
            stream,
            machine,
            told: None,
            is_cut: false,
        }
    }

    /// The machine, with what is wanted now.
    pub(crate) fn machine(&mut self) -> &mut AsItComes {
        self.machine.wish(wish(self.shared, self.stream));
        &mut self.machine
    }

    /// A picture came that is to be encoded.
    pub(crate) fn encodes(&mut self) {
        if self.shared.copying.encodes(self.machine.obstacle()) {
            // Who encodes tells so; what is sent on again is to be told again.
            self.told = None;
            self.shared.controls.keyframes().request();
        }
    }

    /// A frame came, and its time has come: it goes to whoever subscribes.
    pub(crate) fn send(&mut self, frame: &EncodedFrame, source: &Source) {
        let shared = self.shared;
        if frame.keyframe {
            let declared = source.interval().map(|interval| 1.0 / interval.as_secs_f64());
            if let Some(sps) = source.sps() {
                let told = self.machine.tell(sps, declared);
                self.tell(told);
            }
        }
        let Some(told) = self.told else { return };
        let mut is_cut = std::mem::take(&mut self.is_cut);
        let this = &*self;
        shared.copying.send(frame, told.fps, |group, begins| {
            if begins {
                shared.latest.clear();
            }
            if !shared.controls.encodes() {
                is_cut = true;
            } else if std::mem::take(&mut is_cut) && !frame.keyframe {
                for again in replayed(group, frame) {
                    this.publish(again, told);
                }
            } else {
                this.publish(frame.clone(), told);
            }
        });
        self.is_cut = is_cut;
    }

    fn publish(&self, frame: EncodedFrame, told: Told) {
        let shared = self.shared;
        shared.progress.encoded.bump();
        if frame.keyframe {
            shared.controls.keyframes().made();
        }
        let parameters = CodecParameters {
            codec: WireCodec::H264,
            width: told.size.0,
            height: told.size.1,
            fps: told.fps,
            bitrate: told.bitrate,
            encoder: EncoderProgress::COPY.to_owned(),
            copied: Some(told.profile_level_id),
        };
        if let Err(error) = shared.broadcast.publish(frame, &parameters) {
            tracing::error!("a frame was not sent on: {error}");
            shared.broadcast.cut();
        }
    }

    fn tell(&mut self, told: Told) {
        let last = self.told.replace(told);
        if last == Some(told) {
            return;
        }
        let (width, height) = told.size;
        let format = format_name(told.profile_level_id);
        if last.is_none_or(|last| (last.size, last.profile_level_id) != (told.size, told.profile_level_id)) {
            tracing::info!(width, height, "sent on as it comes: {format}");
        }
        self.shared.progress.set_encoding(Encoding {
            encoder: EncoderProgress::COPY.to_owned(),
            reason: format!("sent on as it comes: {format}"),
            size: told.size,
            sent_on: Some(SentOn {
                fps: told.fps,
                bitrate: told.bitrate,
            }),
        });
    }
}

/// Pictures of frames that are sent on, for lower rungs: decoded only while somebody needs them. The encode thread's.
#[derive(Default)]
pub(crate) struct LowerPictures {
    decoder: Option<FrameDecoder>,
    /// The group that is being decoded, and how many of its frames were.
    at: (u64, usize),
    /// A group that could not be decoded.
    broken: Option<u64>,
    wanted: Option<Instant>,
}

impl LowerPictures {
    /// Those since the last call; of a group that was joined in its middle the newest alone.
    pub(crate) fn next(&mut self, shared: &EncoderState) -> Vec<(Arc<Picture>, u32)> {
        if shared.ladder.is_wanted() {
            self.wanted = Some(Instant::now());
        }
        let wanted = self.wanted.is_some_and(|wanted| wanted.elapsed() < LOWER_LINGER);
        if !wanted || !shared.copying.hold().is_on() {
            *self = Self::default();
            return Vec::new();
        }
        let (group, frames, fps) = shared.copying.since(self.at);
        if self.broken == Some(group) {
            return Vec::new();
        }
        let joins = self.decoder.is_none();
        let seen = if group == self.at.0 { self.at.1 } else { 0 };
        self.at = (group, seen + frames.len());
        let most = if joins { 1 } else { MOST_PICTURES };
        let pictures = self.decode(&frames, most).unwrap_or_else(|error| {
            tracing::warn!("no pictures for lower rungs: {:#}", anyhow::Error::from(error));
            (self.decoder, self.broken) = (None, Some(group));
            VecDeque::new()
        });
        pictures.into_iter().map(|picture| (Arc::new(picture), fps)).collect()
    }

    /// The last `most` of the pictures: a whole group of them would be too large to hold.
    fn decode(&mut self, frames: &[EncodedFrame], most: usize) -> Result<VecDeque<Picture>, DecodeError> {
        let decoder = match self.decoder.take() {
            Some(decoder) => decoder,
            None => FrameDecoder::new()?,
        };
        let decoder = self.decoder.insert(decoder);
        let mut pictures = VecDeque::new();
        for frame in frames {
            pictures.extend(decoder.decode(frame)?);
            while pictures.len() > most {
                pictures.pop_front();
            }
        }
        Ok(pictures)
    }
}

/// What is wanted of the stream now.
fn wish(shared: &EncoderState, stream: &Stream) -> Wish {
    let (quality, asked) = (stream.quality, stream.asked);
    Wish {
        allowed: stream.encoder.may_copy(),
        demanded: stream.encoder == framebridge_config::EncoderChoice::Copy,
        longest_edge: asked.longest_edge.then_some(quality.longest_edge),
        fps: asked.fps.then_some(quality.fps),
        bitrate: asked.bitrate.then_some(quality.bitrate),
        quality_set: shared.controls.quality() != quality,
    }
}

/// A group as if it had come in the last moments before its `newest`: what is shown after a pause does not begin with what was
/// before.
fn replayed(group: &[EncodedFrame], newest: &EncodedFrame) -> Vec<EncodedFrame> {
    let step = u64::try_from(REPLAY_STEP.as_nanos()).unwrap_or(0);
    (0..)
        .zip(group.iter().rev())
        .map(|(back, frame)| EncodedFrame {
            pts: newest.pts.saturating_sub(back * REPLAY_TICKS),
            captured_ns: newest.captured_ns.saturating_sub(back * step),
            ..frame.clone()
        })
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect()
}

/// How long nothing changes, told from what a still picture costs its encoder.
pub(crate) mod stillness {
    use framebridge_capture::{Picture, Scaler, last_picture};

    use super::{Duration, EncodedFrame, Instant};

    /// A keyframe is decoded this often: to see whether it is black, and whether it shows what the one before showed.
    const LOOK: Duration = Duration::from_secs(10);

    /// Bytes of a picture that repeats the one before: its head, and less than a bit for each macroblock.
    const HEAD: usize = 24;
    const MACROBLOCKS_A_BYTE: u32 = 256;

    /// What was seen of frames that are sent on.
    #[derive(Default)]
    pub(crate) struct CodedWatch {
        looked: Option<Instant>,
        last: Option<Picture>,
        scaler: Scaler,
    }

    /// What a frame says.
    pub(crate) struct Verdict {
        /// Whether it shows what the one before does, as far as can be told.
        pub(crate) same: bool,
        /// Whether it is black, where it was looked at.
        pub(crate) black: Option<bool>,
    }

    impl CodedWatch {
        /// Takes in a frame of so many macroblocks.
        pub(crate) fn observe(&mut self, frame: &EncodedFrame, macroblocks: u32, now: Instant) -> Verdict {
            if !frame.keyframe {
                let still = HEAD + usize::try_from(macroblocks / MACROBLOCKS_A_BYTE).unwrap_or(0);
                return Verdict {
                    same: frame.payload.len() <= still,
                    black: None,
                };
            }
            let unseen = Verdict {
                same: true,
                black: None,
            };
            if self
                .looked
                .is_some_and(|looked| now.saturating_duration_since(looked) < LOOK)
            {
                return unseen;
            }
            self.looked = Some(now);
            let Ok(Some(picture)) = last_picture(std::slice::from_ref(frame)) else {
                return unseen;
            };
            let same = self.last.as_ref().is_some_and(|last| last.shows_same(&picture));
            let black = picture.is_black(&mut self.scaler).ok();
            self.last = Some(picture);
            Verdict { same, black }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replayed_group_ends_with_the_newest_and_goes_on_without_a_step_back() {
        let frame = |number: u64| EncodedFrame {
            payload: vec![0, 0, 1, 0x41].into(),
            keyframe: number == 0,
            pts: 900_000 + number * 3600,
            captured_ns: 10_000_000_000 + number * 40_000_000,
        };
        let group: Vec<EncodedFrame> = (0..100).map(frame).collect();
        let again = replayed(&group, &group[99]);
        assert_eq!(again.len(), 100);
        assert!(again[0].keyframe && again[99].pts == group[99].pts);
        assert!(again.windows(2).all(|pair| pair[1].pts == pair[0].pts + 90));
        assert!(again[0].captured_ns > group[96].captured_ns);
    }
}
