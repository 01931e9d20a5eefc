//! What is wrong with a stream, as it is told.

use std::time::{Duration, Instant};

use framebridge_proto::encoder::SourceState;

use crate::StreamVerdict;

/// A stream's fault, over all lives of its encoder. A source that is being opened again is not well for that: it stays what it
/// was until it shows.
#[derive(Debug, Clone, Default)]
pub struct StreamTrouble(Option<(&'static str, Instant)>);

/// A stream fell ill, got well, or has another fault than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamChange {
    /// The fault it had; `None`: it was well.
    pub from: Option<&'static str>,
    /// The fault it has; `None`: it is well.
    pub to: Option<&'static str>,
    /// For how long it had not been well, if it is now.
    pub recovery: Option<Duration>,
}

impl StreamTrouble {
    /// Takes in a verdict; what there is to tell.
    pub fn observe(&mut self, verdict: &StreamVerdict, now: Instant) -> Option<StreamChange> {
        let (from, to) = (self.fault(), verdict.fault());
        if from == to || *verdict == StreamVerdict::Well(SourceState::Opening) {
            return None;
        }
        let since = self.0.map_or(now, |(_, since)| since);
        self.0 = to.map(|fault| (fault, since));
        let recovery = to.is_none().then(|| now.saturating_duration_since(since));
        Some(StreamChange { from, to, recovery })
    }

    /// What is wrong, as far as is known.
    pub fn fault(&self) -> Option<&'static str> {
        self.0.map(|(fault, _)| fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENING: StreamVerdict = StreamVerdict::Well(SourceState::Opening);
    const LIVE: StreamVerdict = StreamVerdict::Well(SourceState::Live);
    const SILENT: StreamVerdict = StreamVerdict::SourceSilent { silent: Duration::ZERO };

    fn unavailable() -> StreamVerdict {
        let reason = "no such device".into();
        StreamVerdict::Well(SourceState::Unavailable { reason, retry_in_ms: 1 })
    }

    #[test]
    fn source_that_is_opened_again_and_again_is_told_of_once_and_is_well_when_it_shows() {
        let mut trouble = StreamTrouble::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(trouble.observe(&OPENING, at(0)), None, "the first time");
        assert_eq!(trouble.observe(&LIVE, at(1)), None);
        let ill = StreamChange {
            from: None,
            to: Some("source unavailable"),
            recovery: None,
        };
        assert_eq!(trouble.observe(&unavailable(), at(2)), Some(ill));
        for round in 0..10 {
            assert_eq!(trouble.observe(&OPENING, at(3 + 2 * round)), None);
            assert_eq!(trouble.observe(&unavailable(), at(4 + 2 * round)), None);
            assert_eq!(trouble.fault(), Some("source unavailable"));
        }
        let other = StreamChange {
            from: Some("source unavailable"),
            to: Some("source silent"),
            recovery: None,
        };
        assert_eq!(trouble.observe(&SILENT, at(30)), Some(other));
        let well = StreamChange {
            from: Some("source silent"),
            to: None,
            recovery: Some(Duration::from_secs(38)),
        };
        assert_eq!(trouble.observe(&OPENING, at(39)), None);
        assert_eq!(trouble.observe(&LIVE, at(40)), Some(well), "since it fell ill at all");
        assert_eq!(trouble.fault(), None);
    }
}
