//! What travels from encoder to signaling: encoded pictures and what must be known to read them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What a decoder must know before the first frame. Sent on `Subscribe` and again whenever it changes; the frame
/// after it is an IDR.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodecParameters {
    /// The codec; H.264 in protocol 1.
    pub codec: Codec,
    /// Picture width in pixels.
    pub width: u32,
    /// Picture height in pixels.
    pub height: u32,
    /// Frames per second the encoder aims at.
    pub fps: u32,
    /// Target bitrate, bits per second.
    pub bitrate: u32,
    /// Name of the encoder in use, e.g. `libx264`; `copy` where the frames are sent on as the source has encoded them.
    pub encoder: String,
    /// Of frames that are sent on as the source has encoded them: `profile_idc`, the constraint flags and `level_idc`. No
    /// keyframe can be made of them, and an IDR comes each 10 s or sooner. `None`: they are encoded here. Since 1.
    pub copied: Option<[u8; 3]>,
}

/// Video codecs. Appended only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    /// ITU-T H.264, Annex B byte stream, SPS and PPS before every IDR. Constrained baseline, where it is encoded here.
    H264,
}

/// One access unit: everything that makes up one picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessUnit {
    /// Counts the encoder's output from 0, without gaps, within one life of the encoder.
    pub sequence: u64,
    /// When the picture was taken from the source, CLOCK_MONOTONIC, nanoseconds.
    pub captured_ns: u64,
    /// When it left the encoder, the same clock.
    pub encoded_ns: u64,
    /// Presentation time, 90 kHz, monotonic within one life of the encoder.
    pub pts: u64,
    /// Whether it is an IDR: a decoder can start here.
    pub keyframe: bool,
    /// The Annex B bytes. Travels beside the header, never through the codec.
    #[serde(skip)]
    pub payload: Bytes,
}
