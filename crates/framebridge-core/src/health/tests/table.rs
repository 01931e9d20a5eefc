//! Every fault there is, and what is said of it.

use super::*;

pub(super) type Set = fn(&mut World, Instant);

pub(super) type Row = (FaultKind, Condition, Set, &'static str, Option<u64>);

/// Every fault there is, in the order in which it is said, with what the judge says of it alone and the time until the next
/// attempt.
pub(super) fn rows() -> Vec<Row> {
    let groups = [dark_rows(), rows_of_the_encoder(), rows_of_the_way_to_viewers()];
    groups.into_iter().flatten().collect()
}

fn dark_rows() -> Vec<Row> {
    use Condition::Dark;
    vec![
        (
            EncoderParked,
            Dark,
            |world, now| world.process = Some(snapshot(State::Parked, now)),
            "its encoder failed too often: killed by signal 9; parked for 4 s, next try in 13 s",
            Some(13),
        ),
        (
            EncoderDown,
            Dark,
            |world, now| world.process = Some(snapshot(State::BackingOff, now)),
            "its encoder ended: killed by signal 9; restarts in 13.0 s",
            Some(13),
        ),
        (
            SignalingDown,
            Dark,
            |world, now| world.signaling = Some(snapshot(State::BackingOff, now)),
            "nobody can watch: signaling ended: killed by signal 9; restarts in 13.0 s",
            Some(13),
        ),
        (
            SourceUnavailable,
            Dark,
            |world, _| {
                world.source = Some(SourceState::Unavailable {
                    reason: reason(),
                    retry_in_ms: 8_500,
                });
            },
            "source unavailable: no such device; next try in 8 s",
            Some(7),
        ),
        (
            Slate,
            Dark,
            |world, _| {
                world.source = Some(SourceState::Slate {
                    reason: "Its encoder failed too often: exit code 70".into(),
                    retry_in_ms: 42_000,
                });
            },
            "Its encoder failed too often: exit code 70; viewers see a slate, and the source is tried again in 41 s",
            Some(41),
        ),
    ]
}

fn rows_of_the_encoder() -> Vec<Row> {
    use Condition::Faulty;
    vec![
        (
            EncoderStarting,
            Faulty,
            |world, now| world.process = Some(snapshot(State::Starting, now)),
            "its encoder is starting again: killed by signal 9; started 4.0 s ago, waiting for its first report",
            None,
        ),
        (
            EncoderWedged,
            Faulty,
            |world, _| world.encoder = Some(EncoderStall::Wedged { lasted: FOR_4_S }),
            "encoder wedged: pictures go in and none has come out for 4 s; its encoder is being restarted",
            None,
        ),
        (
            SourceNeverOpen,
            Faulty,
            |world, _| world.encoder = Some(EncoderStall::NeverOpen { lasted: FOR_4_S }),
            "its source has been opening for 4 s; its encoder is being restarted",
            None,
        ),
        (
            SourceSilent,
            Faulty,
            |world, _| world.encoder = Some(EncoderStall::SourceSilent { lasted: FOR_4_S }),
            "source silent: it is open and has given no picture for 4 s; its encoder opens it again, and is restarted if it does \
             not",
            None,
        ),
    ]
}

fn rows_of_the_way_to_viewers() -> Vec<Row> {
    use Condition::Faulty;
    vec![
        (
            IngestBroken,
            Faulty,
            |world, _| world.ingest = Some(IngestGap::Broken(FOR_4_S)),
            "its encoder sends frames, and none has reached signaling for 4 s; its encoder and signaling are restarted one after \
             the other",
            None,
        ),
        (
            Refused,
            Faulty,
            |world, _| world.refused = true,
            "this machine has refused all that signaling sends to viewers for 4 s: no route; no restart mends that, so look for a \
             firewall or a missing route; signaling goes on sending",
            None,
        ),
        (
            ViewersStarved,
            Faulty,
            |world, _| world.starved = true,
            "signaling gets its frames and has sent its viewers none for 4 s; signaling asks for a keyframe again and again",
            None,
        ),
        (
            FramesMissing,
            Faulty,
            |world, _| world.ingest = Some(IngestGap::Silent(FOR_4_S)),
            "no frame has come from its encoder for 4.0 s; its encoder opens a silent source again, and the supervisor restarts \
             what is stuck",
            None,
        ),
        (
            DecodesTooSlowly,
            Faulty,
            |world, _| {
                world.pace = Some(SourcePace {
                    decodes: Some((14, 30)),
                    ..SourcePace::default()
                });
            },
            "this machine decodes 14 of 30 pictures a second; pictures are left out, so that it stays current",
            None,
        ),
        (
            SubscriberSlow,
            Faulty,
            |world, _| world.encoder = Some(EncoderStall::SubscriberSlow),
            "subscriber slow: it does not take what the encoder sends; it is skipped to the next keyframe",
            None,
        ),
        (
            Degraded,
            Faulty,
            |world, _| world.degraded = true,
            "live, with software encoding, since its encoder failed too often: killed by signal 9; more is tried in 20 s if it \
             stays well",
            Some(20),
        ),
    ]
}
