//! What is wrong with a stream, read off its encoder's counters.

use std::{
    fmt,
    time::{Duration, Instant},
};

use framebridge_proto::{encoder::SourceState, supervisor::EncoderProgress};

use crate::{StallWatchdog, stall::StageStall};

/// The encoder ends a silent source itself. Only if it has not done so this long after it should have, it is judged
/// from outside.
const SOURCE_GRACE: Duration = Duration::from_secs(3);

/// Opening a source and waiting for its first picture end within the encoder's own limits, one way or the other: some 12 s and 14 s,
/// or the stall timeout where that is longer. Beyond them all it is judged from outside.
const OPENING_LIMIT: Duration = Duration::from_secs(40);

/// Which stage of a stream stands still, if any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamVerdict {
    /// Nothing is wrong: the source is in this state, and what should flow does.
    Well(SourceState),
    /// The source is open and gives nothing.
    SourceSilent {
        /// For so long.
        silent: Duration,
    },
    /// The source is being opened, and that does not end.
    NeverOpen {
        /// For so long.
        silent: Duration,
    },
    /// Pictures go into the encoder and none comes out.
    EncoderWedged {
        /// For so long.
        silent: Duration,
    },
    /// Pictures come out of the encoder and at least one subscriber does not take them.
    SubscriberSlow,
}

impl StreamVerdict {
    /// What is wrong, in two words; `None`: nothing is.
    pub fn fault(&self) -> Option<&'static str> {
        match self {
            Self::Well(SourceState::Unavailable { .. }) => Some("source unavailable"),
            Self::Well(SourceState::Slate { .. }) => Some("parked on a slate"),
            Self::Well(SourceState::Idle | SourceState::Opening | SourceState::Live | SourceState::Paused) => None,
            Self::SourceSilent { .. } => Some("source silent"),
            Self::NeverOpen { .. } => Some("source never open"),
            Self::EncoderWedged { .. } => Some("encoder wedged"),
            Self::SubscriberSlow => Some("subscriber slow"),
        }
    }

    /// What is done about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Well(SourceState::Unavailable { .. }) => "its encoder tries it again by itself",
            Self::Well(SourceState::Slate { .. }) => "its viewers stay, and new ones are told when to come back",
            Self::Well(SourceState::Idle | SourceState::Opening | SourceState::Live | SourceState::Paused) => {
                "nothing to do"
            }
            Self::SourceSilent { .. } => "its encoder opens it again, and is itself started again if it does not",
            Self::NeverOpen { .. } | Self::EncoderWedged { .. } => "it is being started again",
            Self::SubscriberSlow => "it is skipped to the next keyframe",
        }
    }
}

impl fmt::Display for StreamVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Well(SourceState::Unavailable { reason, .. }) => write!(f, "source unavailable: {reason}"),
            Self::Well(SourceState::Slate { reason, retry_in_ms }) => write!(
                f,
                "parked on a slate: {reason}; its source is tried again in {} s",
                retry_in_ms.div_ceil(1000)
            ),
            Self::Well(SourceState::Idle) => f.write_str("idle: it starts with its first viewer"),
            Self::Well(SourceState::Opening) => f.write_str("its source is being opened"),
            Self::Well(SourceState::Paused) => f.write_str("paused on request"),
            Self::Well(SourceState::Live) => f.write_str("live"),
            Self::SourceSilent { silent } => {
                write!(
                    f,
                    "source silent: it is open and has given no picture for {} s",
                    silent.as_secs()
                )
            }
            Self::NeverOpen { silent } => {
                write!(f, "its source has been opening for {} s", silent.as_secs())
            }
            Self::EncoderWedged { silent } => {
                write!(
                    f,
                    "encoder wedged: pictures go in and none has come out for {} s",
                    silent.as_secs()
                )
            }
            Self::SubscriberSlow => f.write_str("subscriber slow: it does not take what the encoder sends"),
        }
    }
}

/// Watches one life of an encoder: captured, encoded and delivered pictures, each of which has to grow while the stage
/// before it does.
#[derive(Debug, Clone)]
pub struct StreamWatch {
    captured: StallWatchdog,
    /// The same counter, with the encoder's own remedy waited for.
    abandoned: StallWatchdog,
    opening: StallWatchdog,
    encoded: StageStall,
    delivered: StageStall,
    lost: u64,
    verdict: StreamVerdict,
}

impl StreamWatch {
    /// Watches a new life. `stall_timeout`: so long without a picture is a stall.
    pub fn new(stall_timeout: Duration, now: Instant) -> Self {
        Self {
            captured: StallWatchdog::new(stall_timeout, now),
            abandoned: StallWatchdog::new(stall_timeout + SOURCE_GRACE, now),
            opening: StallWatchdog::new(OPENING_LIMIT.max(stall_timeout * 3), now),
            encoded: StageStall::new(stall_timeout, now),
            delivered: StageStall::new(stall_timeout, now),
            lost: 0,
            verdict: StreamVerdict::Well(SourceState::Idle),
        }
    }

    /// Takes in a report. True when the encoder has to be started anew, once per stall.
    pub fn observe(&mut self, progress: &EncoderProgress, now: Instant) -> bool {
        let EncoderProgress {
            captured,
            encoded,
            delivered,
            ..
        } = progress;
        // Unavailable is the source's own word, and the encoder retries it: not a stall.
        let flows = matches!(progress.state, SourceState::Live | SourceState::Slate { .. });
        let at_rest = !flows || progress.subscribers == 0;
        self.captured.observe(captured.count, at_rest, now);
        let abandoned = self.abandoned.observe(captured.count, at_rest, now);
        let wedged = self.encoded.observe(captured.count, encoded.count, at_rest, now);
        let opens = matches!(progress.state, SourceState::Opening);
        let never_open = self.opening.observe(0, !opens || progress.subscribers == 0, now);
        self.delivered.observe(encoded.count, delivered.count, at_rest, now);
        let losing = progress.lost > std::mem::replace(&mut self.lost, progress.lost);

        self.verdict = if self.encoded.is_stalled() {
            StreamVerdict::EncoderWedged {
                silent: self.encoded.silent_for(now),
            }
        } else if self.opening.is_stalled() {
            StreamVerdict::NeverOpen {
                silent: self.opening.silent_for(now),
            }
        } else if self.captured.is_stalled() {
            StreamVerdict::SourceSilent {
                silent: self.captured.silent_for(now),
            }
        } else if self.delivered.is_stalled() || (losing && !at_rest) {
            StreamVerdict::SubscriberSlow
        } else {
            StreamVerdict::Well(progress.state.clone())
        };
        abandoned || wedged || never_open
    }

    /// What the last report showed.
    pub fn verdict(&self) -> &StreamVerdict {
        &self.verdict
    }
}

#[cfg(test)]
mod tests {
    use framebridge_proto::{encoder::Quality, supervisor::Counter};

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(2);

    /// An encoder that reports every second; `[captured, encoded, delivered]` grow by 30 where `flows` says so.
    struct Bench {
        watch: StreamWatch,
        progress: EncoderProgress,
        now: Instant,
    }

    impl Bench {
        fn new(state: SourceState, subscribers: u32) -> Self {
            let now = Instant::now();
            let progress = EncoderProgress {
                stream: "test".parse().expect("a name"),
                source: "test:".into(),
                state,
                encoder: "libx264".into(),
                encoder_reason: String::new(),
                quality: Quality {
                    bitrate: 1_000_000,
                    fps: 30,
                    longest_edge: 1280,
                },
                width: 1280,
                height: 720,
                captured: Counter::default(),
                encoded: Counter::default(),
                delivered: Counter::default(),
                lost: 0,
                subscribers,
            };
            Self {
                watch: StreamWatch::new(TIMEOUT, now),
                progress,
                now,
            }
        }

        /// So many reports; how many of them asked for a new start.
        fn report(&mut self, reports: u32, flows: [bool; 3]) -> usize {
            (0..reports)
                .filter(|_| {
                    self.now += Duration::from_secs(1);
                    let counters = [
                        &mut self.progress.captured,
                        &mut self.progress.encoded,
                        &mut self.progress.delivered,
                    ];
                    for (counter, flows) in counters.into_iter().zip(flows) {
                        counter.count += 30 * u64::from(flows);
                    }
                    self.watch.observe(&self.progress, self.now)
                })
                .count()
        }
    }

    #[test]
    fn stream_that_flows_is_well() {
        let mut bench = Bench::new(SourceState::Live, 1);
        assert_eq!(bench.report(100, [true; 3]), 0);
        assert_eq!(*bench.watch.verdict(), StreamVerdict::Well(SourceState::Live));
    }

    #[test]
    fn encoder_that_takes_pictures_and_gives_none_is_wedged_and_started_anew_once() {
        let mut bench = Bench::new(SourceState::Live, 1);
        bench.report(3, [true; 3]);
        assert_eq!(bench.report(10, [true, false, false]), 1);
        assert!(matches!(bench.watch.verdict(), StreamVerdict::EncoderWedged { .. }));
    }

    #[test]
    fn silent_source_is_the_encoders_own_business_first() {
        let mut bench = Bench::new(SourceState::Live, 1);
        bench.report(3, [true; 3]);
        assert_eq!(bench.report(4, [false; 3]), 0);
        assert!(matches!(bench.watch.verdict(), StreamVerdict::SourceSilent { .. }));
        assert_eq!(bench.report(20, [false; 3]), 1);
    }

    #[test]
    fn source_slower_than_the_reports_is_no_excuse_for_a_wedged_encoder() {
        let mut bench = Bench::new(SourceState::Live, 1);
        for _ in 0..10 {
            assert_eq!(bench.report(1, [true; 3]) + bench.report(1, [false; 3]), 0);
        }
        let wedged: usize = (0..10)
            .map(|_| bench.report(1, [true, false, false]) + bench.report(1, [false; 3]))
            .sum();
        assert_eq!(wedged, 1);
        assert!(matches!(bench.watch.verdict(), StreamVerdict::EncoderWedged { .. }));
    }

    #[test]
    fn slate_is_watched_like_a_live_source_and_said_to_be_a_fault() {
        let slate = SourceState::Slate {
            reason: "exit code 70".into(),
            retry_in_ms: 41_500,
        };
        let mut bench = Bench::new(slate, 1);
        bench.report(3, [true; 3]);
        assert_eq!(bench.watch.verdict().fault(), Some("parked on a slate"));
        let sentence = bench.watch.verdict().to_string();
        assert!(
            sentence.contains("exit code 70") && sentence.ends_with("in 42 s"),
            "{sentence}"
        );
        assert_eq!(bench.report(10, [true, false, false]), 1);
    }

    #[test]
    fn slow_subscriber_is_named_and_nobody_is_restarted_for_it() {
        let mut bench = Bench::new(SourceState::Live, 2);
        bench.report(3, [true; 3]);
        assert_eq!(bench.report(10, [true, true, false]), 0);
        assert_eq!(*bench.watch.verdict(), StreamVerdict::SubscriberSlow);
        bench.report(1, [true; 3]);
        assert_eq!(*bench.watch.verdict(), StreamVerdict::Well(SourceState::Live));
        bench.progress.lost += 12;
        bench.report(1, [true; 3]);
        assert_eq!(*bench.watch.verdict(), StreamVerdict::SubscriberSlow);
    }

    #[test]
    fn whatever_rests_is_well_however_long() {
        let unavailable = SourceState::Unavailable {
            reason: "no such device".into(),
            retry_in_ms: 100,
        };
        for state in [SourceState::Idle, SourceState::Paused, unavailable] {
            let mut bench = Bench::new(state.clone(), 1);
            assert_eq!(bench.report(600, [false; 3]), 0);
            assert_eq!(*bench.watch.verdict(), StreamVerdict::Well(state));
        }
        assert_eq!(Bench::new(SourceState::Live, 0).report(600, [false; 3]), 0);
    }

    #[test]
    fn opening_that_does_not_end_is_ended_once_and_where_nobody_waits_it_may_last() {
        let mut bench = Bench::new(SourceState::Opening, 1);
        assert_eq!(bench.report(39, [false; 3]), 0);
        assert_eq!(*bench.watch.verdict(), StreamVerdict::Well(SourceState::Opening));
        assert_eq!(bench.report(60, [false; 3]), 1);
        assert_eq!(bench.watch.verdict().fault(), Some("source never open"));
        assert_eq!(Bench::new(SourceState::Opening, 0).report(600, [false; 3]), 0);
    }

    #[test]
    fn time_at_rest_is_not_held_against_what_starts_again() {
        let mut bench = Bench::new(SourceState::Live, 0);
        bench.report(600, [false; 3]);
        bench.progress.subscribers = 1;
        assert_eq!(bench.report(1, [false; 3]), 0);
        assert_eq!(*bench.watch.verdict(), StreamVerdict::Well(SourceState::Live));
    }
}
