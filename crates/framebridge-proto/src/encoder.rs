//! Messages on `encoder-<stream>.sock`.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    Refusal, RequestId,
    control::{Desk, Steer},
    limits::REQUEST_TIMEOUT,
    media::{AccessUnit, CodecParameters, LEAST_BITRATE, Load, Rung, Track},
};

/// To the encoder. Variants are appended only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToEncoder {
    /// Send me frames, starting with an IDR, until `Unsubscribe` or the connection ends. Starts an idle source.
    /// Repeating it does nothing.
    Subscribe,
    /// No more frames, please; the connection stays for state and requests.
    Unsubscribe,
    /// A decoder needs an IDR. Coalesced: several within 250 ms get one.
    RequestKeyframe,
    /// Anything that wants an answer.
    Request {
        /// Chosen by the asker.
        id: RequestId,
        /// What is wanted.
        request: EncoderRequest,
    },
    /// Nobody waits for this answer any more: it need not be made, and does not come.
    Cancel {
        /// The request's.
        id: RequestId,
    },
    /// Like `Subscribe`, which is for the full rung of the video: from then on this connection's frames, parameters and requests
    /// for keyframes are of this rung. Since 1.
    SubscribeTo {
        /// What of the stream.
        track: Track,
        /// Which of its encodings.
        rung: Rung,
    },
    /// Somebody steers the desktop. It has no answer. Since 1.
    Steer(Steer),
}

/// What can be asked of an encoder; each gets one [`FromEncoder::Response`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EncoderRequest {
    /// Change how the stream is encoded; `None` leaves a field as it is. Answer: `Quality`.
    SetQuality(QualityChange),
    /// What the stream is encoded with now. Answer: `Quality`.
    GetQuality,
    /// Its operator stops the stream: nothing is sent until `Resume`, also by later lives of the encoder. Answer: `Done`.
    Pause,
    /// Undo `Pause`; the next frame is an IDR. Answer: `Done`.
    Resume,
    /// The latest picture, as an image. Answer: `Snapshot`.
    Snapshot(ImageFormat),
    /// Encode nothing any more, as if wedged. Refused but under `FRAMEBRIDGE_DEBUG_ENDPOINTS=1`. Answer: `Done`.
    Stall,
    /// A piece of the stream as a film, from the keyframe at its beginning or before it; what there is of it, and no
    /// more than `limits::MAX_CLIP`. Answer: `Clip`.
    Clip(ClipSpan),
    /// Like `Stall`, but of one lower rung: the others go on. Since 1.
    StallRung(Rung),
    /// Forget what `SetQuality` has set: the stream is encoded as it is configured. Answer: `Quality`. Since 1.
    ResetQuality,
    /// A picture of the last seconds, as a JPEG: of a source that is sent on the one of its last keyframe, which is decoded alone,
    /// and the latest one else. Answer: `Snapshot`. Since 1.
    Still,
}

impl EncoderRequest {
    /// How long its answer may take.
    pub fn timeout(&self) -> Duration {
        match self {
            Self::Clip(ClipSpan::Next { ms }) => REQUEST_TIMEOUT + Duration::from_millis((*ms).into()),
            Self::SetQuality(_)
            | Self::GetQuality
            | Self::Pause
            | Self::Resume
            | Self::Snapshot(_)
            | Self::Still
            | Self::Stall
            | Self::StallRung(_)
            | Self::ResetQuality
            | Self::Clip(ClipSpan::Last { .. }) => REQUEST_TIMEOUT,
        }
    }
}

/// Which piece of a stream. At most `limits::MAX_CLIP_SPAN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClipSpan {
    /// The last so many milliseconds before its newest picture, as far as they were kept.
    Last {
        /// Milliseconds.
        ms: u32,
    },
    /// So many milliseconds from now on, or from the first picture of a source that has to be opened first.
    Next {
        /// Milliseconds.
        ms: u32,
    },
}

/// Image formats for snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageFormat {
    /// Lossy and small.
    Jpeg,
    /// Lossless.
    Png,
}

/// A change of quality as asked for; `None` keeps what is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QualityChange {
    /// Target bitrate, bits per second.
    pub bitrate: Option<u32>,
    /// Frames per second.
    pub fps: Option<u32>,
    /// Longest edge of the picture in pixels; the other follows the source's aspect ratio.
    pub longest_edge: Option<u32>,
}

/// What a stream is encoded with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quality {
    /// Target bitrate, bits per second.
    pub bitrate: u32,
    /// Frames per second.
    pub fps: u32,
    /// Longest edge of the picture in pixels.
    pub longest_edge: u32,
}

impl Quality {
    /// Lowest and highest bitrate, bits per second.
    pub const BITRATE: std::ops::RangeInclusive<u32> = LEAST_BITRATE..=50_000_000;
    /// Lowest and highest frame rate.
    pub const FPS: std::ops::RangeInclusive<u32> = 1..=60;
    /// Smallest and largest longest edge, pixels.
    pub const LONGEST_EDGE: std::ops::RangeInclusive<u32> = 64..=4096;

    /// This quality with `change` on top.
    pub fn with(self, change: QualityChange) -> Self {
        Self {
            bitrate: change.bitrate.unwrap_or(self.bitrate),
            fps: change.fps.unwrap_or(self.fps),
            longest_edge: change.longest_edge.unwrap_or(self.longest_edge),
        }
    }
}

impl QualityChange {
    /// The first field out of range: its name, its value and the range. `None`: all are fine.
    pub fn out_of_range(&self) -> Option<(&'static str, u32, std::ops::RangeInclusive<u32>)> {
        [
            ("bitrate", self.bitrate, Quality::BITRATE),
            ("fps", self.fps, Quality::FPS),
            ("longest_edge", self.longest_edge, Quality::LONGEST_EDGE),
        ]
        .into_iter()
        .find_map(|(name, value, range)| value.filter(|v| !range.contains(v)).map(|v| (name, v, range)))
    }
}

/// From the encoder. Variants are appended only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromEncoder {
    /// The source's state: first thing after the handshake, then on every change.
    Source(SourceState),
    /// How to read the frames that follow; an IDR comes next.
    Parameters(CodecParameters),
    /// One picture; its payload follows the header as raw bytes.
    Frame(AccessUnit),
    /// This subscriber was too slow: so many frames were left out up to the keyframe that follows.
    Lost {
        /// Frames left out since the last one sent.
        frames: u64,
    },
    /// The answer to a request.
    Response {
        /// The request's id.
        id: RequestId,
        /// What came of it.
        result: Result<EncoderAnswer, Refusal>,
    },
    /// What the stream is encoded with, whether or not frames come: after the first `Source`, then on every change.
    Quality(Quality),
    /// The rung subscribed to is not made now. Frames come without a further word once it is. Since 1.
    NoRung {
        /// Why, in a sentence.
        reason: String,
    },
    /// To who steers the desktop over this connection. Since 1.
    Desk(Desk),
    /// So long, in milliseconds, the next frame may take after the last one, because the source has pauses and nothing is made
    /// to fill them; 0: frames come at their rate. 0 at the beginning, then told on every change. Since 1.
    Gap {
        /// Milliseconds.
        ms: u32,
    },
    /// How this machine keeps up with the full rung; `None`: nothing is encoded. After the first `Quality`, then on every change
    /// of what it means, and of `percent` at most once a second. Since 1.
    Load(Option<Load>),
}

/// Answers to [`EncoderRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EncoderAnswer {
    /// It is so now. `changed` is false where it was so already.
    Done {
        /// Whether anything changed.
        changed: bool,
    },
    /// The quality in force. `changed` is false where it was so already.
    Quality {
        /// What is in force now.
        quality: Quality,
        /// Whether the request changed it.
        changed: bool,
    },
    /// An encoded image.
    Snapshot {
        /// Its format.
        format: ImageFormat,
        /// Age of the picture in milliseconds.
        age_ms: u64,
        /// The file's bytes.
        image: Bytes,
    },
    /// A film.
    Clip {
        /// How long it lasts, in milliseconds.
        duration_ms: u64,
        /// Age of its last picture in milliseconds.
        age_ms: u64,
        /// The file's bytes: MP4, H.264, no sound.
        mp4: Bytes,
    },
}

/// The life of a source, as its encoder sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourceState {
    /// Nobody subscribes: the source is closed.
    Idle,
    /// The source is being opened.
    Opening,
    /// Frames come.
    Live,
    /// Its operator has paused it: nothing is sent, whether or not the source is open.
    Paused,
    /// The source can't be opened, or ended. Not a fault of the encoder: it tries again by itself.
    Unavailable {
        /// FFmpeg's reason, or the capture's own.
        reason: String,
        /// When it is tried again, in milliseconds from when this was sent.
        retry_in_ms: u64,
    },
    /// The encoder failed too often with the source and shows a slate instead, for those who watch already. Since 1.
    Slate {
        /// How it failed last.
        reason: String,
        /// When the source is tried again, in milliseconds from when this was sent.
        retry_in_ms: u64,
    },
    /// Nobody subscribes, and the last attempt to open the source failed: the next subscriber has it tried again. Since 1.
    UnavailableIdle {
        /// FFmpeg's reason, or the capture's own.
        reason: String,
        /// When it was tried last, in milliseconds before this was sent.
        tried_ago_ms: u64,
    },
    /// Nobody has subscribed yet, and this encoder has never seen the source: whether it can be opened is not known. Since 1.
    Untried,
}
