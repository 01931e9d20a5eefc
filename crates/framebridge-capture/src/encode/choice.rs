//! Finds out which encoder to use by using it.

use std::error::Error as _;

use ffmpeg_next::{format::Pixel, frame};
use framebridge_config::EncoderChoice;

use super::{Codec, Config, EncodeError, Encoder};
use crate::{Picture, colour::Colours, picture::monotonic_ns};

/// Pictures that a probe sends: the second shows that an encoder goes on after its first.
const PROBE_PICTURES: u32 = 2;

/// More pictures that a probe sends to an encoder that holds some back.
const PROBE_PATIENCE: u32 = 6;

/// Hardware has least sizes of its own, up to 257 pixels wide; this is one that all take.
const PROBE: Config = Config {
    size: (640, 360),
    fps: 30,
    bitrate: 1_000_000,
    colours: Colours::HD,
};

/// The encoder to use and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The encoder.
    pub codec: Codec,
    /// Why it is that one, for people.
    pub reason: String,
}

/// Chooses an encoder by opening each candidate and encoding with it. Takes up to a second where hardware is there;
/// its answer holds for the life of the process.
pub fn choose(wanted: EncoderChoice) -> Choice {
    let candidates: &[Codec] = match wanted {
        EncoderChoice::Software => {
            return Choice {
                codec: Codec::X264,
                reason: "software, as configured".to_owned(),
            };
        }
        EncoderChoice::Auto | EncoderChoice::Copy => &Codec::HARDWARE,
        EncoderChoice::Nvenc => &[Codec::Nvenc],
        EncoderChoice::Vaapi => &[Codec::Vaapi],
        EncoderChoice::Qsv => &[Codec::Qsv],
        EncoderChoice::V4l2m2m => &[Codec::V4l2m2m],
    };
    let mut refusals = Vec::new();
    for &codec in candidates {
        match probe(codec) {
            Ok(()) => {
                let how = if wanted.may_copy() {
                    "the first hardware encoder that works"
                } else {
                    "as configured"
                };
                return Choice {
                    codec,
                    reason: format!("hardware, {how}"),
                };
            }
            Err(error) => {
                let cause = error
                    .source()
                    .map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
                refusals.push(cause);
            }
        }
    }
    Choice {
        codec: Codec::X264,
        reason: format!("software, because {}", refusals.join("; ")),
    }
}

/// Whether `codec` really encodes here.
///
/// # Errors
/// What it failed on.
pub fn probe(codec: Codec) -> Result<(), EncodeError> {
    let mut encoder = Encoder::open(codec, PROBE)?;
    let mut encoded = 0;
    for number in 0..PROBE_PICTURES + PROBE_PATIENCE {
        let mut frame = frame::Video::new(Pixel::YUV420P, PROBE.size.0, PROBE.size.1);
        for plane in 0..frame.planes() {
            frame.data_mut(plane).fill(128);
        }
        PROBE.colours.tag(&mut frame);
        let picture = Picture {
            frame,
            captured_ns: monotonic_ns(),
        };
        encoded += u32::from(encoder.encode(&picture, number == 0)?.is_some());
        if encoded == PROBE_PICTURES {
            return Ok(());
        }
    }
    Err(EncodeError::HoldsBack { codec })
}
