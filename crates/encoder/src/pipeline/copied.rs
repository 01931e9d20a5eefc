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
        // Before it is waited for: who watches learns of a pause when it begins.
        self.tells_gap(Some(unit.due()));
        let frame = source.pass_on(unit)?;
        source.set_silence_limit(self.came());
        // There is nothing that it could be too slow for.
        self.shared.progress.set_decodes(None);
        self.shared.controls.rests();
        let (now, macroblocks) = (Instant::now(), source.sps().map_or(0, Sps::macroblocks));
        let seen = watched.coded.observe(&frame, macroblocks, now);
        copier.send(&frame, source);
        // After it was sent: until then the pause is not over for who waits for it.
        self.tells_gap(None);
        self.is_still(seen.same, seen.black, now)
    }

    /// Tells how long the next frame may take, where it is known when it is `due`.
    fn tells_gap(&self, due: Option<Instant>) {
        let mut pace = lock(&self.shared.pace);
        if let Some(due) = due {
            pace.expects(due);
        }
        let gap = pace.interval();
        drop(pace);
        self.shared.copying.expects(gap);
    }
}
