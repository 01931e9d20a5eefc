//! Finds the stage of an encoder that stands still, by its counters.

use std::{
    fmt,
    time::{Duration, Instant},
};

use framebridge_proto::{encoder::SourceState, supervisor::EncoderProgress};

use crate::stall::{StageStall, StallWatchdog};

/// The encoder closes a silent source itself. Only if it has not done so this long after it should have, the supervisor
/// judges it.
const SOURCE_GRACE: Duration = Duration::from_secs(3);

/// Opening a source and waiting for its first picture end within the encoder's own limits, one way or the other: some 12 s and 14 s,
/// or the stall timeout where that is longer. Beyond them all it is judged from outside.
const OPENING_LIMIT: Duration = Duration::from_secs(40);

/// Intervals of a source after which its silence is a stall.
const INTERVALS: u32 = 3;

/// Which stage of an encoder stands still. Its `Display` says so in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EncoderStall {
    /// The source is open and gives nothing.
    SourceSilent {
        /// Since its last picture.
        lasted: Duration,
    },
    /// The source is being opened, and that does not end.
    NeverOpen {
        /// Since it began to open.
        lasted: Duration,
    },
    /// Pictures go into the encoder and none comes out.
    Wedged {
        /// Since the last frame came out.
        lasted: Duration,
    },
    /// Pictures come out of the encoder and at least one subscriber does not take them.
    SubscriberSlow,
}

impl fmt::Display for EncoderStall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SourceSilent { lasted } => {
                let seconds = lasted.as_secs();
                write!(f, "source silent: it is open and has given no picture for {seconds} s")
            }
            Self::NeverOpen { lasted } => write!(f, "its source has been opening for {} s", lasted.as_secs()),
            Self::Wedged { lasted } => {
                let seconds = lasted.as_secs();
                write!(
                    f,
                    "encoder wedged: pictures go in and none has come out for {seconds} s"
                )
            }
            Self::SubscriberSlow => f.write_str("subscriber slow: it does not take what the encoder sends"),
        }
    }
}

/// What an encoder's last report showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncoderReport<'a> {
    /// The state of its source.
    pub source: &'a SourceState,
    /// Which of its stages stands still, if any.
    pub stall: Option<&'a EncoderStall>,
    /// The longest time that the next frame may take.
    pub gap: Duration,
}

/// Watches one life of an encoder: captured, encoded and delivered pictures, each of which has to grow while the stage
/// before it does.
#[derive(Debug, Clone)]
pub struct StreamWatch {
    stall_timeout: Duration,
    captured: StallWatchdog,
    /// The same counter, with the encoder's own remedy waited for.
    abandoned: StallWatchdog,
    opening: StallWatchdog,
    encoded: StageStall,
    delivered: StageStall,
    lost: u64,
    stall: Option<EncoderStall>,
}

impl StreamWatch {
    /// Watches a new life. `stall_timeout`: time without a picture that is a stall.
    pub fn new(stall_timeout: Duration, now: Instant) -> Self {
        Self {
            stall_timeout,
            captured: StallWatchdog::new(stall_timeout, now),
            abandoned: StallWatchdog::new(stall_timeout + SOURCE_GRACE, now),
            opening: StallWatchdog::new(OPENING_LIMIT.max(stall_timeout * 3), now),
            encoded: StageStall::new(stall_timeout, now),
            delivered: StageStall::new(stall_timeout, now),
            lost: 0,
            stall: None,
        }
    }

    /// Takes in a report. True when the encoder has to be restarted, once per stall.
    pub fn observe(&mut self, progress: &EncoderProgress, now: Instant) -> bool {
        let EncoderProgress {
            captured,
            encoded,
            delivered,
            pace,
            ..
        } = progress;
        // A source that is slow by nature is given some of its own intervals, and the encoder's own patience goes first.
        let interval = Duration::from_millis(pace.interval_ms.into());
        let patience = Duration::from_millis(pace.patience_ms.into());
        let stall = self.stall_timeout.max(interval * INTERVALS);
        self.captured.set_timeout(stall);
        self.abandoned.set_timeout(stall.max(patience) + SOURCE_GRACE);
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

        self.stall = if self.encoded.is_stalled() {
            let lasted = self.encoded.silent_for(now);
            Some(EncoderStall::Wedged { lasted })
        } else if self.opening.is_stalled() {
            let lasted = self.opening.silent_for(now);
            Some(EncoderStall::NeverOpen { lasted })
        } else if self.captured.is_stalled() {
            let lasted = self.captured.silent_for(now);
            Some(EncoderStall::SourceSilent { lasted })
        } else if self.delivered.is_stalled() || (losing && !at_rest) {
            Some(EncoderStall::SubscriberSlow)
        } else {
            None
        };
        abandoned || wedged || never_open
    }

    /// What stood still at the last report, if anything did.
    pub fn stall(&self) -> Option<&EncoderStall> {
        self.stall.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use framebridge_proto::{
        encoder::Quality,
        supervisor::{Counter, SourcePace},
    };

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
                pace: SourcePace::default(),
                rungs: Vec::new(),
                sent_on: None,
                load: None,
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
        assert_eq!(bench.watch.stall(), None);
    }

    #[test]
    fn encoder_that_takes_pictures_and_gives_none_is_wedged_and_started_anew_once() {
        let mut bench = Bench::new(SourceState::Live, 1);
        bench.report(3, [true; 3]);
        assert_eq!(bench.report(10, [true, false, false]), 1);
        assert!(matches!(bench.watch.stall(), Some(EncoderStall::Wedged { .. })));
    }

    #[test]
    fn silent_source_is_the_encoders_own_business_first() {
        let mut bench = Bench::new(SourceState::Live, 1);
        bench.report(3, [true; 3]);
        assert_eq!(bench.report(4, [false; 3]), 0);
        assert!(matches!(bench.watch.stall(), Some(EncoderStall::SourceSilent { .. })));
        assert_eq!(bench.report(20, [false; 3]), 1);
    }

    #[test]
    fn slow_source_is_given_three_of_its_intervals_and_its_encoder_its_own_patience() {
        let mut bench = Bench::new(SourceState::Live, 1);
        bench.progress.pace = SourcePace {
            interval_ms: 7000,
            patience_ms: 21_000,
            ..SourcePace::default()
        };
        for _ in 0..5 {
            assert_eq!(bench.report(1, [true; 3]) + bench.report(6, [false; 3]), 0);
            assert_eq!(bench.watch.stall(), None);
        }
        assert_eq!(bench.report(15, [false; 3]), 0);
        assert!(matches!(bench.watch.stall(), Some(EncoderStall::SourceSilent { .. })));
        assert_eq!(bench.report(5, [false; 3]), 1);
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
        assert!(matches!(bench.watch.stall(), Some(EncoderStall::Wedged { .. })));
    }

    #[test]
    fn slate_is_watched_like_a_live_source() {
        let slate = SourceState::Slate {
            reason: "exit code 70".into(),
            retry_in_ms: 41_500,
        };
        let mut bench = Bench::new(slate, 1);
        bench.report(3, [true; 3]);
        assert_eq!(bench.watch.stall(), None);
        assert_eq!(bench.report(10, [true, false, false]), 1);
    }

    #[test]
    fn slow_subscriber_is_named_and_nobody_is_restarted_for_it() {
        let mut bench = Bench::new(SourceState::Live, 2);
        bench.report(3, [true; 3]);
        assert_eq!(bench.report(10, [true, true, false]), 0);
        assert_eq!(bench.watch.stall(), Some(&EncoderStall::SubscriberSlow));
        bench.report(1, [true; 3]);
        assert_eq!(bench.watch.stall(), None);
        bench.progress.lost += 12;
        bench.report(1, [true; 3]);
        assert_eq!(bench.watch.stall(), Some(&EncoderStall::SubscriberSlow));
    }

    #[test]
    fn what_rests_is_no_stall_however_long() {
        let unavailable = SourceState::Unavailable {
            reason: "no such device".into(),
            retry_in_ms: 100,
        };
        for state in [SourceState::Idle, SourceState::Paused, unavailable] {
            let mut bench = Bench::new(state, 1);
            assert_eq!(bench.report(600, [false; 3]), 0);
            assert_eq!(bench.watch.stall(), None);
        }
        assert_eq!(Bench::new(SourceState::Live, 0).report(600, [false; 3]), 0);
    }

    #[test]
    fn opening_that_does_not_end_is_ended_once_and_where_nobody_waits_it_may_last() {
        let mut bench = Bench::new(SourceState::Opening, 1);
        assert_eq!(bench.report(39, [false; 3]), 0);
        assert_eq!(bench.watch.stall(), None);
        assert_eq!(bench.report(60, [false; 3]), 1);
        assert!(matches!(bench.watch.stall(), Some(EncoderStall::NeverOpen { .. })));
        assert_eq!(Bench::new(SourceState::Opening, 0).report(600, [false; 3]), 0);
    }

    #[test]
    fn time_at_rest_is_not_held_against_what_starts_again() {
        let mut bench = Bench::new(SourceState::Live, 0);
        bench.report(600, [false; 3]);
        bench.progress.subscribers = 1;
        assert_eq!(bench.report(1, [false; 3]), 0);
        assert_eq!(bench.watch.stall(), None);
    }
}
