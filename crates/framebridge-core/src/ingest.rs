//! Detects a stream whose frames do not get from its encoder to signaling though somebody watches and both processes look
//! well.

use std::time::{Duration, Instant};

use framebridge_proto::{encoder::SourceState, supervisor::StreamFlow};

use crate::{
    observed_time::ObservedTime,
    stall::StallWatchdog,
    stream::{EncoderReport, EncoderStall},
};

/// Beyond the time in which a source has to give a picture: a subscription, a keyframe and two reports.
const GRACE: Duration = Duration::from_secs(4);

/// A healthy signaling's reports are never further apart than this.
const LONGEST_REPORT: Duration = Duration::from_secs(2);

/// Between two starts after each end has had one: doubles, up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_secs(30);

/// Between two starts at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Which end of a stream's ingest is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its death costs the stream's viewers a moment.
    Encoder,
    /// Its death costs all viewers a moment.
    Signaling,
}

impl End {
    fn other(self) -> Self {
        match self {
            Self::Encoder => Self::Signaling,
            Self::Signaling => Self::Encoder,
        }
    }
}

/// Watches frames from one encoder to signaling, across restarts of both. While none arrive, asks for a restart of the
/// likelier culprit, then of the other, then of each in turn with growing pauses.
#[derive(Debug, Clone)]
pub struct IngestWatch {
    patience: Duration,
    /// The longest pause of the source that was told since a frame arrived: its end is told before the frame that ends it is
    /// seen here.
    gap: Duration,
    clock: ObservedTime,
    watch: StallWatchdog,
    arrived: u64,
    /// Since when nothing has arrived; set once that is a fault, until something arrives.
    broken_since: Option<Instant>,
    /// The end that was restarted last, when, and how many restarts there were.
    started: Option<(End, Instant, u32)>,
}

impl IngestWatch {
    /// Watches from now on. `stall_timeout`: time without a picture that is a stall of the source.
    pub fn new(stall_timeout: Duration, now: Instant) -> Self {
        let patience = stall_timeout + GRACE;
        Self {
            patience,
            gap: Duration::ZERO,
            clock: ObservedTime::new(LONGEST_REPORT, now),
            watch: StallWatchdog::new(patience, now),
            arrived: 0,
            broken_since: None,
            started: None,
        }
    }

    /// Takes in a report of signaling's. `encoder`: what is known of the encoder, while it runs. Returns the end that has to be
    /// restarted.
    pub fn observe(&mut self, flow: &StreamFlow, encoder: Option<EncoderReport<'_>>, now: Instant) -> Option<End> {
        let now = self.clock.look(now);
        let arrived = flow.frames_published.count;
        let nobody_waits = flow.live == 0;
        let told = encoder.map_or(Duration::ZERO, |report| report.gap);
        self.gap = self.gap.max(told);
        if std::mem::replace(&mut self.arrived, arrived) < arrived {
            self.gap = told;
            self.started = None;
            self.broken_since = None;
        }
        if nobody_waits {
            self.broken_since = None;
        }
        let (gives, likelier) = match encoder.map(|report| (report.stall, report.source)) {
            Some((Some(EncoderStall::SubscriberSlow), _)) => (true, End::Signaling),
            // What stands still in the encoder is judged there.
            Some((
                Some(EncoderStall::SourceSilent { .. } | EncoderStall::NeverOpen { .. } | EncoderStall::Wedged { .. }),
                _,
            ))
            | Some((None, SourceState::Paused | SourceState::Unavailable { .. })) => {
                self.broken_since = None;
                (false, End::Encoder)
            }
            // Idle with viewers: it was not told of them.
            Some((
                None,
                SourceState::Live
                | SourceState::Idle
                | SourceState::Untried
                | SourceState::UnavailableIdle { .. }
                | SourceState::Slate { .. },
            )) => (true, End::Encoder),
            // On the way to its next life, which is to show whether it helped.
            Some((None, SourceState::Opening)) | None => (false, End::Encoder),
        };
        self.watch.set_timeout(self.patience + self.gap);
        self.watch.observe(arrived, nobody_waits || !gives, now);
        if !self.watch.is_stalled() {
            return None;
        }
        let silent = self.watch.silent_for(now);
        self.broken_since.get_or_insert(now.checked_sub(silent).unwrap_or(now));
        let (end, starts) = match self.started {
            None => (likelier, 0),
            Some((last, at, starts)) => {
                let pause = match starts {
                    1 => self.patience,
                    more => (PAUSE * 2_u32.saturating_pow(more - 2)).min(LONGEST_PAUSE),
                };
                if now.saturating_duration_since(at) < pause {
                    return None;
                }
                (last.other(), starts)
            }
        };
        self.started = Some((end, now, starts.saturating_add(1).min(16)));
        Some(end)
    }

    /// For how long nothing has arrived, as of the last report, if that is a fault. It stays one until something arrives, also
    /// while restarted ends get their time, as long as somebody waits for frames.
    pub fn broken_for(&self) -> Option<Duration> {
        Some(self.clock.time().saturating_duration_since(self.broken_since?))
    }
}

#[cfg(test)]
mod tests {
    use framebridge_proto::supervisor::Counter;

    use super::*;

    /// A stream with a viewer, reported on twice a second.
    struct Bench {
        watch: IngestWatch,
        flow: StreamFlow,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            let now = Instant::now();
            Self {
                watch: IngestWatch::new(Duration::from_secs(2), now),
                flow: StreamFlow {
                    stream: "test".parse().expect("a name"),
                    viewers: 1,
                    live: 1,
                    frames_published: Counter::default(),
                    frames_sent: Counter::default(),
                    pushes: Vec::new(),
                },
                now,
            }
        }

        /// So many seconds in which pictures arrive or not; whom they asked to start anew.
        fn pass(&mut self, seconds: u32, arrives: bool, encoder: Option<EncoderReport<'_>>) -> Vec<End> {
            (0..seconds * 2)
                .filter_map(|_| {
                    self.now += Duration::from_millis(500);
                    self.flow.frames_published.count += 15 * u64::from(arrives);
                    self.watch.observe(&self.flow, encoder, self.now)
                })
                .collect()
        }
    }

    const LIVE: EncoderReport<'_> = well(&SourceState::Live);

    const fn well(source: &SourceState) -> EncoderReport<'_> {
        EncoderReport {
            source,
            stall: None,
            gap: Duration::ZERO,
        }
    }

    fn stalled(stall: &EncoderStall) -> EncoderReport<'_> {
        EncoderReport {
            stall: Some(stall),
            ..LIVE
        }
    }

    #[test]
    fn ingest_that_hangs_has_its_ends_started_anew_in_turn_and_ever_more_seldom() {
        use End::{Encoder, Signaling};
        let mut bench = Bench::new();
        assert_eq!(bench.pass(60, true, Some(LIVE)), []);
        assert_eq!(bench.pass(8, false, Some(LIVE)), [Encoder]);
        assert_eq!(bench.watch.broken_for(), Some(Duration::from_secs(8)));
        // It is said, too, while the encoder's next life gets its time.
        assert_eq!(bench.pass(2, false, None), []);
        assert_eq!(bench.pass(3, false, Some(LIVE)), []);
        assert_eq!(bench.watch.broken_for(), Some(Duration::from_secs(13)));
        // A source that is away meanwhile is the fault that is to be named.
        let mut away = bench.watch.clone();
        away.observe(&bench.flow, Some(well(&SourceState::Paused)), bench.now);
        assert_eq!(away.broken_for(), None);
        // Its next life is no better, and neither is signaling's, which counts from nought.
        assert_eq!(bench.pass(8, false, Some(LIVE)), [Signaling]);
        bench.flow.frames_published.count = 0;
        assert_eq!(bench.pass(20, false, Some(LIVE)), []);
        assert!(bench.watch.broken_for().is_some(), "it is still said");
        let hour = bench.pass(3600, false, Some(LIVE));
        assert!((12..=16).contains(&hour.len()), "{hour:?}");
        assert!(hour.windows(2).all(|two| two[0] != two[1]), "{hour:?}");
        assert_eq!(bench.pass(1, true, Some(LIVE)), []);
        assert_eq!(bench.watch.broken_for(), None);
        assert_eq!(bench.pass(8, false, Some(LIVE)), [Encoder], "armed again");
    }

    #[test]
    fn time_in_which_nobody_looked_is_no_silence() {
        let mut bench = Bench::new();
        assert_eq!(bench.pass(10, true, Some(LIVE)), []);
        // All of the machine stood still.
        bench.now += Duration::from_secs(600);
        assert_eq!(bench.pass(3, false, Some(LIVE)), []);
    }

    #[test]
    fn signaling_that_does_not_take_what_it_is_sent_is_blamed_first() {
        assert_eq!(
            Bench::new().pass(8, false, Some(stalled(&EncoderStall::SubscriberSlow))),
            [End::Signaling]
        );
    }

    #[test]
    fn pause_of_a_source_that_is_sent_on_as_it_comes_is_no_fault_while_it_may_last() {
        let pauses = EncoderReport {
            gap: Duration::from_secs(20),
            ..LIVE
        };
        let mut bench = Bench::new();
        for _ in 0..5 {
            assert_eq!(bench.pass(2, true, Some(LIVE)), []);
            assert_eq!(bench.pass(20, false, Some(pauses)), []);
            // Its end is told a moment before what ends it is counted.
            assert_eq!(bench.pass(1, false, Some(LIVE)), []);
        }
        assert_eq!(bench.pass(1, true, Some(LIVE)), []);
        assert_eq!(
            bench.pass(8, false, Some(LIVE)),
            [End::Encoder],
            "it gives, and nothing arrives"
        );
        assert_eq!(bench.pass(1, true, Some(LIVE)), []);
        assert_eq!(
            bench.pass(20 + 8, false, Some(pauses)),
            [End::Encoder],
            "longer than it may"
        );
    }

    #[test]
    fn encoder_that_was_not_told_of_viewers_is_found() {
        let idle = Some(well(&SourceState::Idle));
        assert_eq!(Bench::new().pass(8, false, idle), [End::Encoder]);
    }

    #[test]
    fn where_nothing_can_arrive_or_nobody_watches_nothing_is_wrong() {
        let silent = EncoderStall::SourceSilent {
            lasted: Duration::from_secs(9),
        };
        let unavailable = SourceState::Unavailable {
            reason: "no such device".into(),
            retry_in_ms: 1,
        };
        for encoder in [None, Some(stalled(&silent)), Some(well(&unavailable))] {
            assert_eq!(Bench::new().pass(60, false, encoder), []);
        }
        let mut nobody = Bench::new();
        nobody.flow.live = 0;
        assert_eq!(nobody.pass(60, false, Some(LIVE)), []);
        // Who joins after that waits without fault.
        nobody.flow.live = 1;
        assert_eq!(nobody.pass(5, false, Some(LIVE)), []);
    }
}
