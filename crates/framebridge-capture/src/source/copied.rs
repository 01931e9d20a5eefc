//! Pictures that are sent on as they come.

use std::time::{Duration, Instant};

use framebridge_core::h264::Sps;

use super::{
    Source, SourceError,
    coded::CodedPicture,
    undue::{Undue, UnduePicture, UndueUnit},
};
use crate::{EncodedFrame, encode::pts_of, monotonic_ns};

/// What has come of reading a source.
#[derive(Debug)]
pub enum Came {
    /// A picture, decoded.
    Picture(UnduePicture),
    /// A picture as it was sent.
    Coded(UndueUnit),
}

impl Source {
    pub(super) fn coded(&mut self, picture: CodedPicture, time: Option<Duration>) -> UndueUnit {
        let now = Instant::now();
        self.last_picture = now;
        self.pictures += 1;
        let due = self.due(time, now);
        Undue::new(picture, time, due, due)
    }

    /// What the parameter set says that is in force, of H.264.
    pub fn sps(&self) -> Option<&Sps> {
        self.demuxer.sps()
    }

    /// A picture that was read, once it is due, as encoders here give theirs.
    ///
    /// # Errors
    /// The interrupt was stopped.
    pub fn pass_on(&mut self, unit: UndueUnit) -> Result<EncodedFrame, SourceError> {
        let taken = unit.taken();
        let CodedPicture { payload, keyframe, .. } = unit.wait(&self.interrupt)?;
        let ago = u64::try_from(taken.elapsed().as_nanos()).unwrap_or(0);
        let captured_ns = monotonic_ns().saturating_sub(ago);
        Ok(EncodedFrame {
            payload,
            keyframe,
            pts: pts_of(captured_ns),
            captured_ns,
        })
    }
}
