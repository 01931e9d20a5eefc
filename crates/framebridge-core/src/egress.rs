//! Detects a signaling that receives frames and sends none, though its heartbeat is fresh and its HTTP answers.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use framebridge_proto::{
    StreamName,
    supervisor::{Datagrams, SignalingProgress},
};

use crate::stall::StageStall;

/// Longer than any healthy viewer gets nothing: one whose link is congested is held back for a second and then waits for a
/// keyframe.
const TIMEOUT: Duration = Duration::from_secs(5);

/// When the system has taken no datagram for this long, while pictures go to viewers, status says so.
const REFUSED: Duration = Duration::from_secs(3);

/// When it has refused none for this long, status no longer says so: the viewer that could not be reached is gone. Longer than
/// a page waits between two attempts.
const FORGIVEN: Duration = Duration::from_secs(20);

/// Watches one life of signaling.
#[derive(Debug, Clone, Default)]
pub struct EgressWatch {
    streams: BTreeMap<StreamName, Watch>,
    wire: Option<Wire>,
}

/// Whether the system takes what is sent.
#[derive(Debug, Clone)]
struct Wire {
    stall: StageStall,
    refused: u64,
    refused_at: Instant,
    refusal: String,
}

impl Wire {
    fn new(now: Instant) -> Self {
        Self {
            stall: StageStall::new(REFUSED, now),
            refused: 0,
            refused_at: now,
            refusal: String::new(),
        }
    }

    /// `carries`: pictures go to somebody. A single viewer to whom there is no way is no fault of this machine's.
    fn observe(&mut self, datagrams: &Datagrams, carries: bool, now: Instant) {
        if std::mem::replace(&mut self.refused, datagrams.refused) != datagrams.refused {
            self.refused_at = now;
            self.refusal = datagrams.refusal.clone().unwrap_or_default();
        }
        let forgiven = now.saturating_duration_since(self.refused_at) >= FORGIVEN;
        let at_rest = forgiven || !(carries || self.stall.is_stalled());
        let tried = datagrams.taken + datagrams.refused;
        self.stall.observe(tried, datagrams.taken, at_rest, now);
    }
}

/// What is watched of one stream.
#[derive(Debug, Clone)]
struct Watch {
    /// Whether anything goes out, to whomever.
    any: StageStall,
    /// Whether its own pictures do.
    own: StageStall,
}

impl EgressWatch {
    /// Takes in a report. Returns why signaling has to be restarted, once per stall.
    ///
    /// Any RTP that goes out, to whomever, is life: a stream that is in trouble by itself is no reason to touch the others'
    /// viewers. It is named: [`starved_for`](Self::starved_for).
    pub fn observe(&mut self, progress: &SignalingProgress, now: Instant) -> Option<String> {
        let carries = progress.streams.iter().any(|stream| stream.live > 0);
        self.wire
            .get_or_insert_with(|| Wire::new(now))
            .observe(&progress.datagrams, carries, now);
        let mut why = None;
        for stream in &progress.streams {
            let Watch { any, own } = self.streams.entry(stream.stream.clone()).or_insert_with(|| Watch {
                any: StageStall::new(TIMEOUT, now),
                own: StageStall::new(TIMEOUT, now),
            });
            let (published, nobody) = (stream.frames_published.count, stream.live == 0);
            own.observe(published, stream.frames_sent.count, nobody, now);
            if any.observe(published, progress.rtp.count, nobody, now) {
                why = Some(format!(
                    "no RTP goes out, though pictures of `{}` come in for its viewers, for {} s",
                    stream.stream,
                    any.silent_for(now).as_secs()
                ));
            }
        }
        why
    }

    /// For how long the viewers of `stream` have been sent none of its pictures that came in, if that is a fault by now.
    pub fn starved_for(&self, stream: &StreamName, now: Instant) -> Option<Duration> {
        let own = &self.streams.get(stream)?.own;
        own.is_stalled().then(|| own.silent_for(now))
    }

    /// For how long the system has taken nothing that was sent, if that is a fault by now, and why it did not. No process of
    /// ours can mend it.
    pub fn refused_for(&self, now: Instant) -> Option<(Duration, &str)> {
        let wire = self.wire.as_ref().filter(|wire| wire.stall.is_stalled())?;
        Some((wire.stall.silent_for(now), &wire.refusal))
    }
}

#[cfg(test)]
mod tests {
    use framebridge_proto::supervisor::{Counter, StreamFlow};

    use super::*;

    /// Signaling with two streams that reports twice a second.
    struct Bench {
        watch: EgressWatch,
        progress: SignalingProgress,
        now: Instant,
    }

    impl Bench {
        fn new(live: [u32; 2]) -> Self {
            let stream = |(name, live): (&str, u32)| StreamFlow {
                stream: name.parse().expect("a name"),
                viewers: 3,
                live,
                frames_published: Counter::default(),
                frames_sent: Counter::default(),
                pushes: Vec::new(),
            };
            Self {
                watch: EgressWatch::default(),
                progress: SignalingProgress {
                    http: "127.0.0.1:8890".into(),
                    rtp: Counter::default(),
                    datagrams: Datagrams::default(),
                    streams: ["desk", "door"].into_iter().zip(live).map(stream).collect(),
                    certificate: None,
                },
                now: Instant::now(),
            }
        }

        /// Ten seconds in which these come in and RTP goes out or not; how often it asked for a new start.
        fn report(&mut self, flows: [bool; 2], rtp: bool) -> usize {
            (0..20)
                .filter(|_| {
                    self.now += Duration::from_millis(500);
                    for (stream, flows) in self.progress.streams.iter_mut().zip(flows) {
                        stream.frames_published.count += 15 * u64::from(flows);
                    }
                    self.progress.rtp.count += 100 * u64::from(rtp);
                    self.watch.observe(&self.progress, self.now).is_some()
                })
                .count()
        }
    }

    #[test]
    fn media_plane_that_stands_still_is_started_anew_once() {
        let mut bench = Bench::new([2, 0]);
        assert_eq!(bench.report([true; 2], true), 0);
        assert_eq!(bench.report([true; 2], false), 1);
    }

    #[test]
    fn nobody_to_send_to_and_nothing_to_send_are_no_stall() {
        assert_eq!(Bench::new([0, 0]).report([true; 2], false), 0);
        assert_eq!(Bench::new([2, 1]).report([false; 2], false), 0);
        assert_eq!(
            Bench::new([2, 0]).report([false, true], false),
            0,
            "what comes in has no viewers"
        );
    }

    #[test]
    fn viewer_who_joins_a_paused_stream_waits_without_fault() {
        let mut bench = Bench::new([0, 0]);
        bench.report([true; 2], false);
        bench.progress.streams[0].live = 1;
        assert_eq!(bench.report([false, true], false), 0);
    }

    #[test]
    fn rtp_of_one_stream_excuses_the_other_which_is_named_all_the_same() {
        let mut bench = Bench::new([1, 1]);
        bench.progress.streams[0].frames_sent.count += 1;
        assert_eq!(bench.report([true; 2], true), 0);
        let starved = |bench: &Bench, at: usize| {
            let stream = &bench.progress.streams[at].stream;
            bench.watch.starved_for(stream, bench.now).is_some()
        };
        assert!(starved(&bench, 0) && starved(&bench, 1));
        bench.progress.streams[1].frames_sent.count += 1;
        bench.report([true, false], true);
        assert!(starved(&bench, 0) && !starved(&bench, 1));
    }

    #[test]
    fn system_that_takes_nothing_is_named_until_it_takes_something_and_nothing_is_started_anew() {
        let mut bench = Bench::new([1, 0]);
        let send = |bench: &mut Bench, taken, refused| {
            let datagrams = &mut bench.progress.datagrams;
            datagrams.taken += taken;
            datagrams.refused += refused;
            datagrams.refusal = (datagrams.refused > 0).then(|| "no route".into());
            assert_eq!(bench.report([true; 2], true), 0);
            bench
                .watch
                .refused_for(bench.now)
                .map(|(refused, why)| (refused.as_secs(), why.to_owned()))
        };
        assert_eq!(send(&mut bench, 0, 0), None, "nothing to send");
        assert_eq!(send(&mut bench, 9, 0), None);
        // Some went: to one viewer there is a way.
        assert_eq!(send(&mut bench, 1, 9), None);
        let (refused, why) = send(&mut bench, 0, 1).unwrap();
        assert!((9..=10).contains(&refused) && why == "no route", "{refused} s, {why}");
        // Its viewers have gone and try again.
        bench.progress.streams[0].live = 0;
        assert!(send(&mut bench, 0, 1).is_some(), "it is not known to be over");
        assert_eq!(send(&mut bench, 1, 0), None);
        assert_eq!(send(&mut bench, 0, 1), None, "a way to one who is not there yet");
        bench.progress.streams[0].live = 1;
        assert!(send(&mut bench, 0, 1).is_some());
        assert!(send(&mut bench, 0, 0).is_some());
        assert_eq!(send(&mut bench, 0, 0), None, "nothing is refused any more");
    }
}
