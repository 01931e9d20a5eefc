//! Pictures that are sent on as they come.

use std::time::{Duration, Instant};

use bytes::Bytes;
use framebridge_core::h264::Sps;

use super::{Source, SourceError, Undue, coded::CodedPicture};
use crate::{EncodedFrame, encode::CLOCK_RATE, monotonic_ns};

/// What has come of reading a source.
pub enum Came {
    /// A picture, decoded.
    Picture(Undue),
    /// A picture as it was sent.
    Coded(CodedUnit),
}

/// One picture as its source has encoded it: H.264, and nothing that browsers don't play.
pub struct CodedUnit {
    payload: Bytes,
    keyframe: bool,
    time: Option<Duration>,
    taken: Instant,
    due: Instant,
}

impl CodedUnit {
    /// Whether a decoder can start here.
    pub fn is_keyframe(&self) -> bool {
        self.keyframe
    }

    /// Its time in the source, where that has one.
    pub fn time(&self) -> Option<Duration> {
        self.time
    }

    /// When it was taken, as far as is known: of a network source, when it came.
    pub fn taken(&self) -> Instant {
        self.taken
    }

    /// When it is to be sent.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// It was taken then and is to be sent then.
    pub fn place(&mut self, taken: Instant, due: Instant) {
        (self.taken, self.due) = (taken, due);
    }

    /// As encoders here give theirs.
    fn into_frame(self) -> EncodedFrame {
        let ago = u64::try_from(self.taken.elapsed().as_nanos()).unwrap_or(0);
        let captured_ns = monotonic_ns().saturating_sub(ago);
        let pts = u128::from(captured_ns) * u128::from(CLOCK_RATE.unsigned_abs()) / 1_000_000_000;
        EncodedFrame {
            payload: self.payload,
            keyframe: self.keyframe,
            pts: u64::try_from(pts).unwrap_or(u64::MAX),
            captured_ns,
        }
    }
}

impl Source {
    pub(super) fn coded(&mut self, picture: CodedPicture, time: Option<Duration>) -> CodedUnit {
        let now = Instant::now();
        self.last_picture = now;
        self.pictures += 1;
        let due = self.due(time, now);
        CodedUnit {
            payload: picture.payload,
            keyframe: picture.keyframe,
            time,
            taken: due,
            due,
        }
    }

    /// What the parameter set says that is in force, of H.264.
    pub fn sps(&self) -> Option<&Sps> {
        self.demuxer.sps()
    }

    /// A picture that was read, once it is due.
    ///
    /// # Errors
    /// The interrupt was stopped.
    pub fn pass_on(&mut self, unit: CodedUnit) -> Result<EncodedFrame, SourceError> {
        if !self.interrupt.wait_until(unit.due) {
            return Err(SourceError::Stopped);
        }
        Ok(unit.into_frame())
    }
}

impl std::fmt::Debug for CodedUnit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CodedUnit")
            .field("keyframe", &self.keyframe)
            .field("bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Came {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Picture(undue) => undue.fmt(f),
            Self::Coded(unit) => unit.fmt(f),
        }
    }
}
