//! Remembers a stream's earlier health, for the journal and for faults that must not be forgotten.

use std::time::{Duration, Instant};

use framebridge_proto::{
    encoder::SourceState,
    status::{FaultKind, StreamState},
};

use super::Health;

/// A stream's fault over all lives of its encoder, for the journal. A source that is being opened again is not well for that:
/// the fault stays what it was until the source shows.
#[derive(Debug, Clone, Default)]
pub struct History(Option<(FaultKind, Instant)>);

/// A stream fell ill, got well, or has another fault than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The fault it had; `None`: it was well.
    pub from: Option<FaultKind>,
    /// The fault it has; `None`: it is well.
    pub to: Option<FaultKind>,
    /// For how long there was a fault, where a picture has ended it.
    pub recovery: Option<Duration>,
}

impl History {
    /// Takes in how the stream is now. `Some`: what there is to tell.
    pub fn observe(&mut self, health: &Health, now: Instant) -> Option<Change> {
        let (from, to) = (self.0.map(|(fault, _)| fault), health.fault);
        if from == to || (health.is_well() && health.state == StreamState::Opening) {
            return None;
        }
        let since = self.0.map_or(now, |(_, since)| since);
        self.0 = to.map(|fault| (fault, since));
        let came_back = to.is_none() && health.state == StreamState::Live;
        let recovery = came_back.then(|| now.saturating_duration_since(since));
        Some(Change { from, to, recovery })
    }
}

/// Why a source could not be opened, kept until an attempt succeeds: over states in which nobody tries, and over lives of its
/// encoder.
#[derive(Debug, Clone, Default)]
pub struct SourceMemory {
    failed: Option<String>,
    is_known: bool,
}

impl SourceMemory {
    /// Takes in what the encoder says of its source.
    pub fn observe(&mut self, state: &SourceState) {
        match state {
            SourceState::Unavailable { reason, .. } | SourceState::UnavailableIdle { reason, .. } => {
                if self.failed() != Some(reason) {
                    self.failed = Some(reason.clone());
                }
            }
            SourceState::Live => (self.failed, self.is_known) = (None, true),
            // It was seen in a life of which nobody here knows.
            SourceState::Idle => self.is_known = true,
            // None of them shows whether the source itself can be opened.
            SourceState::Untried | SourceState::Opening | SourceState::Paused | SourceState::Slate { .. } => {}
        }
    }

    /// Why the last attempt failed; `None`: it succeeded, or there was none.
    pub fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// Whether it was ever seen.
    pub fn is_known(&self) -> bool {
        self.is_known
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        health::{Facts, SourceFacts, judge},
        stream::EncoderStall,
    };

    /// A stream that is told of by its encoder alone.
    #[derive(Default)]
    struct Bench {
        history: History,
        memory: SourceMemory,
    }

    impl Bench {
        fn observe(&mut self, state: &SourceState, stall: Option<&EncoderStall>, at: Instant) -> Option<Change> {
            self.memory.observe(state);
            let facts = Facts {
                source: Some(SourceFacts {
                    state,
                    age: Duration::ZERO,
                    failed: self.memory.failed(),
                    is_known: self.memory.is_known(),
                }),
                encoder: stall,
                ..Facts::default()
            };
            self.history.observe(&judge(&facts, at), at)
        }
    }

    fn unavailable() -> SourceState {
        SourceState::Unavailable {
            reason: "no such device".into(),
            retry_in_ms: 1,
        }
    }

    const UNAVAILABLE: Option<FaultKind> = Some(FaultKind::SourceUnavailable);
    const SILENT: Option<FaultKind> = Some(FaultKind::SourceSilent);

    #[test]
    fn source_that_is_opened_again_and_again_is_told_of_once_and_is_well_when_it_shows() {
        let mut bench = Bench::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let told = |from, to, recovery| Some(Change { from, to, recovery });
        assert_eq!(
            bench.observe(&SourceState::Opening, None, at(0)),
            None,
            "the first time"
        );
        assert_eq!(bench.observe(&SourceState::Live, None, at(1)), None);
        assert_eq!(
            bench.observe(&unavailable(), None, at(2)),
            told(None, UNAVAILABLE, None)
        );
        for round in 0..10 {
            assert_eq!(bench.observe(&SourceState::Opening, None, at(3 + 2 * round)), None);
            assert_eq!(bench.observe(&unavailable(), None, at(4 + 2 * round)), None);
        }
        assert_eq!(bench.observe(&SourceState::Opening, None, at(39)), None);
        let back = Some(Duration::from_secs(38));
        assert_eq!(
            bench.observe(&SourceState::Live, None, at(40)),
            told(UNAVAILABLE, None, back)
        );
    }

    #[test]
    fn source_that_was_seen_is_not_untried_after_a_restart_of_its_encoder() {
        let mut bench = Bench::default();
        let (now, untried) = (Instant::now(), SourceState::Untried);
        let judged = |bench: &mut Bench, state: &SourceState| {
            bench.observe(state, None, now);
            let facts = Facts {
                source: Some(SourceFacts {
                    state,
                    age: Duration::ZERO,
                    failed: bench.memory.failed(),
                    is_known: bench.memory.is_known(),
                }),
                ..Facts::default()
            };
            judge(&facts, now).state
        };
        assert_eq!(judged(&mut bench, &untried), StreamState::Untried);
        assert_eq!(judged(&mut bench, &SourceState::Live), StreamState::Live);
        assert_eq!(judged(&mut bench, &untried), StreamState::Idle);
        assert_eq!(judged(&mut bench, &unavailable()), StreamState::Unavailable);
        assert_eq!(
            judged(&mut bench, &untried),
            StreamState::Unavailable,
            "it is not well for a restart"
        );
    }

    #[test]
    fn source_that_nobody_tries_any_more_is_not_back() {
        let mut bench = Bench::default();
        let now = Instant::now();
        bench.observe(&unavailable(), None, now);
        let idle = SourceState::UnavailableIdle {
            reason: "no such device".into(),
            tried_ago_ms: 5_000,
        };
        // The last is the next life of its encoder, which has not tried.
        for state in [idle, SourceState::Opening, unavailable(), SourceState::Idle] {
            assert_eq!(bench.observe(&state, None, now), None, "{state:?}");
        }
        assert!(
            bench
                .observe(&SourceState::Live, None, now)
                .is_some_and(|change| change.recovery.is_some())
        );
    }

    #[test]
    fn fault_that_ends_without_a_picture_is_over_and_nothing_is_back() {
        let mut bench = Bench::default();
        let now = Instant::now();
        let silent = EncoderStall::SourceSilent { lasted: Duration::ZERO };
        assert!(bench.observe(&SourceState::Live, Some(&silent), now).is_some());
        let over = Change {
            from: SILENT,
            to: None,
            recovery: None,
        };
        assert_eq!(
            bench.observe(&SourceState::Idle, None, now),
            Some(over),
            "its last viewer left"
        );
    }
}
