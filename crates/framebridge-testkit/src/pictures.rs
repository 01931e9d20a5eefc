//! Makes access units without a picture, of the right shape and size for a media plane.

use bytes::Bytes;
use framebridge_proto::media::AccessUnit;

/// How many times larger than the others a keyframe is: about what x264 makes of a moving picture at 720p.
const KEYFRAME_FACTOR: usize = 5;

/// A made-up encoder: constant frame rate and size.
#[derive(Debug)]
pub struct Pictures {
    frame_bytes: usize,
    fps: u64,
    sequence: u64,
}

impl Pictures {
    /// One that makes `bits_per_second` at `fps`.
    pub fn new(bits_per_second: u64, fps: u64) -> Self {
        let frame_bytes = usize::try_from(bits_per_second / 8 / fps.max(1)).unwrap_or(usize::MAX);
        Self {
            frame_bytes,
            fps: fps.max(1),
            sequence: 0,
        }
    }

    /// The next access unit, taken at `captured_ns`; the first one is a keyframe.
    pub fn next(&mut self, keyframe: bool, captured_ns: u64) -> AccessUnit {
        let keyframe = keyframe || self.sequence == 0;
        let mut payload = Vec::new();
        let mut unit = |kind: u8, len: usize| {
            payload.extend_from_slice(&[0, 0, 0, 1, 0x60 | kind]);
            // Bytes that look random, never 0, so that no start code appears.
            let mut state = self.sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            payload.extend((0..len).map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[3] | 1
            }));
        };
        if keyframe {
            unit(7, 20);
            unit(8, 4);
            unit(5, self.frame_bytes * KEYFRAME_FACTOR);
        } else {
            unit(1, self.frame_bytes);
        }
        let sequence = self.sequence;
        self.sequence += 1;
        AccessUnit {
            sequence,
            captured_ns,
            encoded_ns: captured_ns,
            pts: sequence * 90_000 / self.fps,
            keyframe,
            payload: Bytes::from(payload),
        }
    }
}
