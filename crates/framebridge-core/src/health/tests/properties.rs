//! What holds whatever is known.

use proptest::prelude::*;

use super::*;

fn sources() -> impl Strategy<Value = Option<SourceState>> {
    prop_oneof![
        Just(None),
        Just(Some(SourceState::Idle)),
        Just(Some(SourceState::Untried)),
        Just(Some(SourceState::Opening)),
        Just(Some(SourceState::Live)),
        Just(Some(SourceState::Paused)),
        any::<u32>().prop_map(|ms| Some(SourceState::Unavailable {
            reason: reason(),
            retry_in_ms: ms.into()
        })),
        any::<u32>().prop_map(|ms| Some(SourceState::Slate {
            reason: reason(),
            retry_in_ms: ms.into()
        })),
        any::<u32>().prop_map(|ms| Some(SourceState::UnavailableIdle {
            reason: reason(),
            tried_ago_ms: ms.into()
        })),
    ]
}

fn stalls() -> impl Strategy<Value = Option<EncoderStall>> {
    prop_oneof![
        Just(None),
        Just(Some(EncoderStall::NeverOpen { lasted: FOR_4_S })),
        Just(Some(EncoderStall::Wedged { lasted: FOR_4_S })),
        Just(Some(EncoderStall::SourceSilent { lasted: FOR_4_S })),
        Just(Some(EncoderStall::SubscriberSlow)),
    ]
}

fn paces() -> impl Strategy<Value = Option<SourcePace>> {
    let pace = (any::<[u32; 2]>(), any::<Option<(u32, u32)>>());
    prop::option::of(pace.prop_map(|([interval_ms, patience_ms], decodes)| SourcePace {
        interval_ms,
        patience_ms,
        decodes,
        ..SourcePace::default()
    }))
}

fn gaps() -> impl Strategy<Value = Option<IngestGap>> {
    prop_oneof![
        Just(None),
        Just(Some(IngestGap::Silent(FOR_4_S))),
        Just(Some(IngestGap::Broken(FOR_4_S))),
    ]
}

const STATES: [State; 7] = [
    State::Stopped,
    State::Starting,
    State::Running,
    State::Stalled,
    State::Stopping,
    State::BackingOff,
    State::Parked,
];

fn processes(now: Instant) -> impl Strategy<Value = Option<Snapshot>> {
    prop::option::of(prop_oneof![
        prop::sample::select(&STATES[..]).prop_map(move |state| snapshot(state, now)),
        Just(parked_for_good(now)),
    ])
}

fn worlds(now: Instant) -> impl Strategy<Value = World> {
    let flags = (prop::option::of(Just("no such device")), any::<[bool; 3]>());
    let encoder = (sources(), paces(), stalls());
    (processes(now), processes(now), encoder, gaps(), flags).prop_map(
        |(process, signaling, (source, pace, encoder), ingest, (failed, [refused, starved, degraded]))| World {
            process,
            signaling,
            source,
            failed,
            pace,
            encoder,
            ingest,
            refused,
            starved,
            degraded,
        },
    )
}

/// What `known` knows, and of the rest what `more` does.
fn together(known: &World, more: &World) -> World {
    World {
        process: known.process.clone().or(more.process.clone()),
        signaling: known.signaling.clone().or(more.signaling.clone()),
        source: known.source.clone(),
        failed: known.failed.or(more.failed),
        pace: known.pace.or(more.pace),
        encoder: known.encoder.clone().or(more.encoder.clone()),
        ingest: known.ingest.or(more.ingest),
        refused: known.refused || more.refused,
        starved: known.starved || more.starved,
        degraded: known.degraded || more.degraded,
    }
}

proptest! {
    #[test]
    fn well_has_no_fault_a_fault_names_what_is_done_and_more_facts_make_nothing_well(
        (known, more) in (worlds(Instant::now()), worlds(Instant::now()))
    ) {
        let now = Instant::now();
        let health = known.judge(now);
        let has_none = matches!(health.condition, Condition::Well | Condition::Untried);
        prop_assert_eq!(has_none, health.fault.is_none());
        prop_assert_eq!(health.fault.is_none(), health.remedy.is_empty());
        prop_assert!(!health.what.is_empty());
        let sentence = health.to_string();
        prop_assert!(sentence.contains(&*health.what) && sentence.contains(&*health.remedy));
        if health.condition == Condition::Dark {
            prop_assert!(health.absence().is_some(), "{}", sentence);
        }
        if !health.is_well() {
            let told_more = together(&known, &more).judge(now);
            prop_assert!(!told_more.is_well(), "{} turned into {}", sentence, told_more);
        }
    }
}
