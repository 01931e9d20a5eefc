mod properties;
mod table;

use framebridge_proto::status::FaultKind::*;

use super::*;
use crate::process::{Cause, Exit, ExitStatus, Snapshot, State};
use table::rows;

const FOR_4_S: Duration = Duration::from_secs(4);

/// Facts that own what they are made of.
#[derive(Debug, Clone, Default)]
struct World {
    process: Option<Snapshot>,
    signaling: Option<Snapshot>,
    source: Option<SourceState>,
    failed: Option<&'static str>,
    pace: Option<SourcePace>,
    encoder: Option<EncoderStall>,
    ingest: Option<IngestGap>,
    refused: bool,
    starved: bool,
    degraded: bool,
}

impl World {
    fn judge(&self, now: Instant) -> Health {
        let process = |name, snapshot| ProcessFacts { name, snapshot };
        let facts = Facts {
            process: self.process.as_ref().map(|snapshot| process("encoder-test", snapshot)),
            signaling: self.signaling.as_ref().map(|snapshot| process("signaling", snapshot)),
            source: self.source.as_ref().map(|state| SourceFacts {
                state,
                age: Duration::from_secs(1),
                failed: self.failed,
                is_known: false,
            }),
            pace: self.pace,
            encoder: self.encoder.as_ref(),
            ingest: self.ingest,
            refusal: self.refused.then_some((FOR_4_S, "no route")),
            egress: self.starved.then_some(FOR_4_S),
            degradation: self.degraded.then_some("software encoding"),
        };
        judge(&facts, now)
    }

    /// Everything is known, and nothing is wrong.
    fn live(now: Instant) -> Self {
        Self {
            process: Some(snapshot(State::Running, now)),
            signaling: Some(snapshot(State::Running, now)),
            source: Some(SourceState::Live),
            ..Self::default()
        }
    }
}

/// A process that has been in `state` for 4 s; one that waits goes on in 13 s.
fn snapshot(state: State, now: Instant) -> Snapshot {
    let exit = Exit {
        status: ExitStatus::Signal(9),
        last_words: None,
    };
    let waits = matches!(state, State::BackingOff | State::Parked);
    Snapshot {
        state,
        since: now.checked_sub(FOR_4_S).expect("the machine has run for longer"),
        pid: None,
        started_at: None,
        restarts: 1,
        last_end: Some(Cause::Exited(exit)),
        heartbeat_at: None,
        next_try_at: waits.then(|| now + Duration::from_secs(13)),
        step: 0,
        recover_at: Some(now + Duration::from_secs(20)),
    }
}

fn parked_for_good(now: Instant) -> Snapshot {
    Snapshot {
        next_try_at: None,
        ..snapshot(State::Parked, now)
    }
}

fn reason() -> String {
    "no such device".into()
}

#[test]
fn every_row_of_the_table_says_what_is_wrong_and_what_is_done() {
    let now = Instant::now();
    let rows = rows();
    for kind in FaultKind::ALL {
        assert_eq!(rows.iter().filter(|row| row.0 == *kind).count(), 1, "{kind}");
    }
    for (kind, condition, set, sentence, retry) in rows {
        let mut world = World::live(now);
        set(&mut world, now);
        let health = world.judge(now);
        assert_eq!((health.fault, health.condition), (Some(kind), condition));
        assert_eq!(health.to_string(), sentence);
        assert_eq!(health.retry_in.map(|wait| wait.as_secs()), retry, "{kind}");
    }
}

#[test]
fn of_two_faults_the_one_that_stands_first_in_the_table_is_said() {
    let now = Instant::now();
    let rows = rows();
    for (at, (first, _, set_first, ..)) in rows.iter().enumerate() {
        for (second, _, set_second, ..) in &rows[at + 1..] {
            let mut world = World::live(now);
            set_second(&mut world, now);
            set_first(&mut world, now);
            assert_eq!(world.judge(now).fault, Some(*first), "{first} and {second}");
        }
    }
}

#[test]
fn what_is_well_is_said_in_the_words_of_its_state() {
    let now = Instant::now();
    for (source, state, sentence, absence) in [
        (SourceState::Live, StreamState::Live, "live", None),
        (
            SourceState::Untried,
            StreamState::Untried,
            "never tried: it starts with its first viewer, if its source can be opened",
            None,
        ),
        (
            SourceState::Idle,
            StreamState::Idle,
            "idle: it starts with its first viewer",
            None,
        ),
        (
            SourceState::Opening,
            StreamState::Opening,
            "its source is being opened",
            Some("its source is being opened"),
        ),
        (
            SourceState::Paused,
            StreamState::Paused,
            "paused by its operator",
            Some("paused by its operator"),
        ),
    ] {
        let health = World {
            source: Some(source),
            ..World::live(now)
        }
        .judge(now);
        let condition = if state == StreamState::Untried {
            Condition::Untried
        } else {
            Condition::Well
        };
        assert_eq!((health.state, health.condition), (state, condition));
        assert_eq!((&*health.to_string(), health.absence()), (sentence, absence));
    }
}

#[test]
fn slow_source_that_is_live_is_well_and_told_as_slow() {
    let now = Instant::now();
    let paced = |source, interval_ms| World {
        source: Some(source),
        pace: Some(SourcePace {
            interval_ms,
            ..SourcePace::default()
        }),
        ..World::live(now)
    };
    for (interval_ms, sentence) in [
        (0, "live"),
        (1_499, "live"),
        (1_500, "live: 1 picture in 2 s"),
        (7_000, "live: 1 picture in 7 s"),
    ] {
        let health = paced(SourceState::Live, interval_ms).judge(now);
        assert_eq!((health.condition, health.absence()), (Condition::Well, None));
        assert_eq!(health.to_string(), sentence);
    }
    let paused = paced(SourceState::Paused, 7_000).judge(now);
    assert_eq!(paused.to_string(), "paused by its operator");
}

#[test]
fn picture_that_stands_still_or_is_black_is_told_as_a_fact() {
    let now = Instant::now();
    for (unchanged_s, black_s, sentence) in [
        (29, 0, "live"),
        (30, 0, "live: unchanged for 30 s; it may be still"),
        (138, 0, "live: unchanged for 2 m 10 s; it may be still"),
        (7_460, 0, "live: unchanged for 2 h 4 m; it may be still"),
        (138, 45, "live: black for 40 s"),
        (0, 61, "live: black for 1 m"),
    ] {
        let live = World {
            source: Some(SourceState::Live),
            pace: Some(SourcePace {
                interval_ms: 7_000 * u32::from(unchanged_s >= 30),
                unchanged_ms: unchanged_s * 1000,
                black_ms: black_s * 1000,
                ..SourcePace::default()
            }),
            ..World::live(now)
        };
        let health = live.judge(now);
        assert_eq!((health.condition, health.absence()), (Condition::Well, None));
        assert_eq!(health.to_string(), sentence);
    }
}

#[test]
fn machine_that_decodes_too_slowly_shows_a_picture_and_is_told_while_its_source_is_live() {
    let now = Instant::now();
    let slow = |source| World {
        source: Some(source),
        pace: Some(SourcePace {
            interval_ms: 7_000,
            decodes: Some((14, 30)),
            ..SourcePace::default()
        }),
        ..World::live(now)
    };
    let health = slow(SourceState::Live).judge(now);
    assert_eq!((health.fault, health.absence()), (Some(DecodesTooSlowly), None));
    for source in [SourceState::Idle, SourceState::Opening, SourceState::Paused] {
        assert!(slow(source.clone()).judge(now).is_well(), "{source:?}");
    }
}

#[test]
fn source_that_could_not_be_opened_stays_unavailable_until_it_was() {
    let now = Instant::now();
    let idle_since = |tried_ago_ms| SourceState::UnavailableIdle {
        reason: reason(),
        tried_ago_ms,
    };
    let failed = "source unavailable: no such device";
    for (source, failed_before, remedy) in [
        (
            idle_since(39_000),
            None,
            "last tried 40 s ago, it is tried again with the next viewer",
        ),
        (
            idle_since(7_300_000),
            None,
            "last tried 2 h ago, it is tried again with the next viewer",
        ),
        (
            SourceState::Idle,
            Some("no such device"),
            "it is tried again with the next viewer",
        ),
        (SourceState::Opening, Some("no such device"), "it is being tried again"),
    ] {
        let world = World {
            source: Some(source.clone()),
            failed: failed_before,
            ..World::live(now)
        };
        let health = world.judge(now);
        assert_eq!(
            (health.condition, &*health.what, &*health.remedy),
            (Condition::Dark, failed, remedy)
        );
        let is_opening = source == SourceState::Opening;
        assert_eq!(health.state == StreamState::Opening, is_opening, "{source:?}");
        assert_eq!(health.absence(), Some(failed));
    }
    let live = World {
        failed: Some("no such device"),
        ..World::live(now)
    };
    assert!(live.judge(now).is_well());
}

/// The same fault as the supervisor sees it, who knows all, and as signaling does, who sees the link to the encoder only.
#[test]
fn supervisor_and_signaling_call_the_same_fault_equally_bad() {
    use Condition::{Dark, Faulty, Untried, Well};
    let now = Instant::now();
    let of = |source: Option<SourceState>| {
        let all = World {
            source: source.clone(),
            ..World::live(now)
        };
        let some = World {
            source,
            ..World::default()
        };
        (all, some)
    };
    let unavailable = SourceState::Unavailable {
        reason: reason(),
        retry_in_ms: 8_000,
    };
    let idle = SourceState::UnavailableIdle {
        reason: reason(),
        tried_ago_ms: 8_000,
    };
    let slate = SourceState::Slate {
        reason: reason(),
        retry_in_ms: 8_000,
    };
    let mut silent = of(Some(SourceState::Live));
    silent.0.encoder = Some(EncoderStall::SourceSilent { lasted: FOR_4_S });
    silent.1.ingest = Some(IngestGap::Silent(FOR_4_S));
    let mut gone = of(None);
    gone.0.process = Some(snapshot(State::BackingOff, now));
    let mut again = of(Some(SourceState::Opening));
    (again.0.failed, again.1.failed) = (Some("no such device"), Some("no such device"));
    for (what, (all, some), condition) in [
        ("live", of(Some(SourceState::Live)), Well),
        ("idle", of(Some(SourceState::Idle)), Well),
        ("never tried", of(Some(SourceState::Untried)), Untried),
        ("paused", of(Some(SourceState::Paused)), Well),
        ("silent", silent, Faulty),
        ("unavailable", of(Some(unavailable)), Dark),
        ("unavailable and idle", of(Some(idle)), Dark),
        ("tried again", again, Dark),
        ("slate", of(Some(slate)), Dark),
        ("encoder gone", gone, Dark),
    ] {
        for health in [all.judge(now), some.judge(now)] {
            assert_eq!(health.condition, condition, "{what}: {health}");
        }
        assert_eq!(all.judge(now).state, some.judge(now).state, "{what}");
    }
}

#[test]
fn process_says_what_became_of_it_and_what_follows() {
    let now = Instant::now();
    let said = |snapshot: Snapshot| {
        let world = World {
            process: Some(snapshot),
            ..World::live(now)
        };
        world.judge(now).to_string()
    };
    for (snapshot, sentence) in [
        (
            snapshot(State::Stalled, now),
            "its encoder is stalled: killed by signal 9; told to stop 4.0 s ago",
        ),
        (
            snapshot(State::Stopping, now),
            "its encoder is stopping on request; told to stop 4.0 s ago",
        ),
        (
            snapshot(State::Stopped, now),
            "its encoder is stopped on request; left alone until `bridgectl restart encoder-test`",
        ),
        (
            parked_for_good(now),
            "its encoder ended: killed by signal 9; no restart helps: mend it, then `bridgectl resume encoder-test`",
        ),
    ] {
        assert_eq!(said(snapshot), sentence);
    }
    let untold = World {
        source: None,
        ..World::live(now)
    };
    assert_eq!(untold.judge(now).fault, Some(EncoderStarting));
    assert_eq!(World::default().judge(now).fault, Some(EncoderDown), "nothing is known");
}

#[test]
fn who_is_refused_is_told_when_to_come_back() {
    let known = Some(Duration::from_secs(17));
    assert_eq!(retry_after(Some(SourceUnavailable), known), Duration::from_secs(17));
    assert_eq!(retry_after(Some(EncoderParked), None), HOPELESS);
    assert_eq!(retry_after(Some(EncoderDown), None), SOON);
    assert_eq!(retry_after(None, None), SOON, "it is being opened");
}

#[test]
fn sum_is_down_where_nothing_can_be_watched_and_healthy_where_nothing_is_wrong() {
    use Condition::{Dark, Faulty, Untried, Well};
    for (streams, processes_run, sum) in [
        (&[Untried, Well][..], true, Overall::Healthy),
        (&[Untried, Dark], true, Overall::Degraded),
        (&[Untried, Untried], false, Overall::Degraded),
        (&[][..], true, Overall::Down),
        (&[Dark, Dark], true, Overall::Down),
        (&[Dark, Well], true, Overall::Degraded),
        (&[Faulty], true, Overall::Degraded),
        (&[Well, Well], true, Overall::Healthy),
        (&[Well, Well], false, Overall::Degraded),
    ] {
        assert_eq!(overall(streams.iter().copied(), processes_run), sum, "{streams:?}");
    }
}
