//! Paces a recorded or generated source by its own timestamps.

use std::time::{Duration, Instant};

/// A picture this late means that time was lost (a stopped process, a slow disk): go on from now instead of racing.
const TOO_LATE: Duration = Duration::from_millis(500);

/// A timestamp further ahead of the one before it than this is a jump in the source, not a pause to sit out: slides may
/// stand for minutes.
const TOO_FAR: Duration = Duration::from_secs(300);

/// Maps a source's timestamps to the moments its pictures are due.
#[derive(Debug, Default)]
pub(crate) struct Pacer {
    last: Option<Last>,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    due: Instant,
    /// `None` after a loop: the timestamps begin anew.
    timestamp: Option<Duration>,
}

impl Pacer {
    /// When the picture with `timestamp` is due. `interval` stands in where the timestamps do not tell.
    pub(crate) fn due(&mut self, timestamp: Option<Duration>, interval: Duration, now: Instant) -> Instant {
        let due = match self.last {
            None => now,
            Some(last) => {
                let step = match (last.timestamp, timestamp) {
                    (Some(before), Some(this)) => this.checked_sub(before).filter(|step| *step <= TOO_FAR),
                    (None, _) | (_, None) => None,
                };
                let due = last.due + step.unwrap_or(interval);
                if now.saturating_duration_since(due) > TOO_LATE {
                    now
                } else {
                    due
                }
            }
        };
        self.last = Some(Last { due, timestamp });
        due
    }

    /// The source begins again: its next picture follows the last one by one interval.
    pub(crate) fn rewound(&mut self) {
        if let Some(last) = &mut self.last {
            last.timestamp = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(40);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn pictures_are_due_as_far_apart_as_their_timestamps() {
        let (mut pacer, start) = (Pacer::default(), Instant::now());
        assert_eq!(pacer.due(Some(ms(5000)), INTERVAL, start), start);
        assert_eq!(pacer.due(Some(ms(5033)), INTERVAL, start), start + ms(33));
        assert_eq!(pacer.due(Some(ms(5100)), INTERVAL, start + ms(40)), start + ms(100));
    }

    #[test]
    fn a_loop_a_jump_and_a_missing_timestamp_cost_one_interval() {
        let (mut pacer, start) = (Pacer::default(), Instant::now());
        pacer.due(Some(ms(900)), INTERVAL, start);
        pacer.rewound();
        assert_eq!(pacer.due(Some(ms(0)), INTERVAL, start), start + ms(40));
        assert_eq!(pacer.due(Some(ms(3_600_000)), INTERVAL, start), start + ms(80));
        assert_eq!(pacer.due(Some(ms(0)), INTERVAL, start), start + ms(120));
        assert_eq!(pacer.due(None, INTERVAL, start), start + ms(160));
    }

    #[test]
    fn lost_time_is_not_caught_up_with() {
        let (mut pacer, start) = (Pacer::default(), Instant::now());
        pacer.due(Some(ms(0)), INTERVAL, start);
        let late = start + ms(3000);
        assert_eq!(pacer.due(Some(ms(40)), INTERVAL, late), late);
        assert_eq!(pacer.due(Some(ms(80)), INTERVAL, late), late + ms(40));
    }
}
