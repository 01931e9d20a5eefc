//! Decides when a step of capture or encoding has taken so long that it is stuck for good.

use std::{fmt, time::Duration};

/// What a thread is doing right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nothing that can hang: it waits for a picture's time, or for work.
    Resting,
    /// Opening the source.
    Opening,
    /// Waiting for a network source's first picture: what comes in the middle of a group can't be decoded.
    Joining,
    /// Waiting for the source's next picture.
    Reading,
    /// Closing the source, or the encoder.
    Closing,
    /// Trying the encoders out.
    Probing,
    /// Scaling and encoding a picture.
    Encoding,
}

/// How long each [`Stage`] may last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageWatch {
    /// For opening: network sources have their own, shorter deadlines, cameras take seconds to start.
    pub opening: Duration,
    /// For joining: the longest group of a camera, and a little.
    pub joining: Duration,
    /// For reading: what is configured as a stall, plus the time until a slow source's next picture.
    pub reading: Duration,
    /// For encoding one picture.
    pub encoding: Duration,
}

/// A step that is stuck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stuck {
    /// Which step.
    pub stage: Stage,
    /// Time since the step began.
    pub lasted: Duration,
}

/// Loading the drivers of several encoders that are not there takes a good second on a slow machine.
const PROBING: Duration = Duration::from_secs(15);

impl StageWatch {
    /// Whether a stage that has `lasted` so long is stuck.
    pub fn judge(&self, stage: Stage, lasted: Duration) -> Option<Stuck> {
        let limit = match stage {
            Stage::Resting => return None,
            Stage::Opening | Stage::Closing => self.opening,
            Stage::Joining => self.joining,
            Stage::Reading => self.reading,
            Stage::Probing => PROBING,
            Stage::Encoding => self.encoding,
        };
        (lasted >= limit).then_some(Stuck { stage, lasted })
    }
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {:.1} s", describe(self.stage), self.lasted.as_secs_f64())
    }
}

fn describe(stage: Stage) -> &'static str {
    match stage {
        Stage::Resting => "at rest",
        Stage::Opening => "the source has been opening",
        Stage::Joining => "the source has been open without a first picture",
        Stage::Reading => "the source has given nothing",
        Stage::Closing => "the source or the encoder has been closing",
        Stage::Probing => "the encoders have been under test",
        Stage::Encoding => "the encoder has been busy with one picture",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WATCH: StageWatch = StageWatch {
        opening: Duration::from_secs(5),
        joining: Duration::from_secs(14),
        reading: Duration::from_secs(2),
        encoding: Duration::from_secs(3),
    };

    #[test]
    fn each_stage_has_its_own_patience() {
        for (stage, limit) in [
            (Stage::Opening, 5),
            (Stage::Joining, 14),
            (Stage::Reading, 2),
            (Stage::Closing, 5),
            (Stage::Probing, 15),
            (Stage::Encoding, 3),
        ] {
            let limit = Duration::from_secs(limit);
            assert_eq!(WATCH.judge(stage, limit - Duration::from_nanos(1)), None);
            assert_eq!(WATCH.judge(stage, limit), Some(Stuck { stage, lasted: limit }));
        }
        assert_eq!(WATCH.judge(Stage::Resting, Duration::MAX), None);
    }

    #[test]
    fn what_is_stuck_is_told_in_a_sentence() {
        let stuck = WATCH.judge(Stage::Reading, Duration::from_millis(2040)).unwrap();
        assert_eq!(stuck.to_string(), "the source has given nothing for 2.0 s");
    }
}
