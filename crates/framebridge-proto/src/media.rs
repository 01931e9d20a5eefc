//! What travels from encoder to signaling: frames, and what a decoder must know to read them.

use std::{fmt, str::FromStr};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Fewer bits per second show nothing.
pub const LEAST_BITRATE: u32 = 100_000;

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

/// How a machine keeps up with encoding. Appended only. Since 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadState {
    /// There is time to spare.
    Nominal,
    /// Nearly all the time is needed.
    Strained,
    /// There is less time than pictures take.
    Overloaded,
}

impl LoadState {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Nominal, Self::Strained, Self::Overloaded];

    /// Its word, in JSON and elsewhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nominal => "nominal",
            Self::Strained => "strained",
            Self::Overloaded => "overloaded",
        }
    }
}

/// How a machine keeps up with encoding a stream's full rung. Since 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// What it is called.
    pub state: LoadState,
    /// The time that a picture takes, percent of the time that there is for it, over the last ones; 0 until known.
    pub percent: u32,
    /// Pictures a second that are encoded: as many as are asked for and come, or fewer where the rate was given up.
    pub fps: u32,
    /// Pictures a second that are asked for and come.
    pub asked_fps: u32,
    /// Longest edge in pixels of what is encoded, likewise.
    pub longest_edge: u32,
    /// Longest edge in pixels that is asked for and comes.
    pub asked_longest_edge: u32,
}

/// What a stream is made of. Appended only. Since 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Track {
    /// Its pictures.
    #[default]
    Video,
}

/// One of the sizes and rates that a stream's pictures are encoded in, the best first. Appended only. Since 1.
///
/// The full one is always there. A lower one is made from the same pictures while somebody subscribes to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// As the stream's quality says.
    #[default]
    Full,
    /// Half the edge, a quarter of the rate.
    Half,
    /// A quarter of the edge, a twelfth of the rate.
    Quarter,
}

impl Rung {
    /// How many there are.
    pub const COUNT: usize = 3;
    /// All of them, the best first.
    pub const ALL: [Self; Self::COUNT] = [Self::Full, Self::Half, Self::Quarter];
    /// Those that are made only while somebody needs them.
    pub const LOWER: [Self; Self::COUNT - 1] = [Self::Half, Self::Quarter];

    /// Its place in [`Rung::ALL`].
    pub fn index(self) -> usize {
        match self {
            Self::Full => 0,
            Self::Half => 1,
            Self::Quarter => 2,
        }
    }

    /// The rung in one word, for logs, JSON and addresses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Half => "half",
            Self::Quarter => "quarter",
        }
    }

    /// The full picture's edge, as a multiple of this one's.
    pub fn edge_divisor(self) -> u32 {
        match self {
            Self::Full => 1,
            Self::Half => 2,
            Self::Quarter => 4,
        }
    }

    /// The full rate, as a multiple of this one's. A sixteenth of the pixels gets a twelfth: small pictures are harder to press.
    fn rate_divisor(self) -> u32 {
        match self {
            Self::Full => 1,
            Self::Half => 4,
            Self::Quarter => 12,
        }
    }

    /// Bits per second of this rung of a stream of `full` bits per second; `None` where that is too little for a picture.
    pub fn bitrate(self, full: u32) -> Option<u32> {
        let bitrate = full / self.rate_divisor();
        (self == Self::Full || bitrate >= LEAST_BITRATE).then_some(bitrate)
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Rung {
    type Err = UnknownRung;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|rung| rung.as_str() == text)
            .ok_or(UnknownRung)
    }
}

/// The text names no [`Rung`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a rung is full, half or quarter")]
pub struct UnknownRung;

/// One frame: an access unit, everything that makes up one picture.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rungs_are_steps_down_as_long_as_they_carry_a_picture() {
        for (full, expected) in [
            (2_500_000, [Some(2_500_000), Some(625_000), Some(208_333)]),
            (500_000, [Some(500_000), Some(125_000), None]),
            (100_000, [Some(100_000), None, None]),
        ] {
            assert_eq!(Rung::ALL.map(|rung| rung.bitrate(full)), expected);
        }
        for rung in Rung::ALL {
            assert_eq!(Rung::ALL[rung.index()], rung);
            assert_eq!(rung.to_string().parse(), Ok(rung));
        }
        assert_eq!("low".parse::<Rung>(), Err(UnknownRung));
    }
}
