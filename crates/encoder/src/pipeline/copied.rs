//! The way of a frame that is sent on as its source has encoded it.

use std::time::Instant;

use framebridge_capture::{Source, UndueUnit};
use framebridge_core::{h264::Sps, source_clock::SourceClock};

use super::{Life, PipelineError, Watched};
use crate::{controls::lock, copy::Copier};

impl Life {
    /// Sends a frame on that the source has encoded.
    pub(super) fn copy(
        &self,
        source: &mut Source,
        mut unit: UndueUnit,
        clock: &mut SourceClock,
        (copier, watched): (&mut Copier<'_>, &mut Watched),
    ) -> Result<(), PipelineError> {
        if source.is_uneven() {
            let timing = clock.observe(unit.time(), unit.taken());
            unit.place(timing.taken, timing.due);
        }
        lock(&self.shared.pace).expects(unit.due());
        let frame = source.pass_on(unit)?;
        source.set_silence_limit(self.came());
        // There is nothing that it could be too slow for.
        self.shared.progress.set_decodes(None);
        self.shared.controls.rests();
        let (now, macroblocks) = (Instant::now(), source.sps().map_or(0, Sps::macroblocks));
        let seen = watched.coded.observe(&frame, macroblocks, now);
        copier.send(&frame, source);
        self.is_still(seen.same, seen.black, now)
    }
}
