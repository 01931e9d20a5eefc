use proptest::prelude::*;

use super::*;
use crate::{
    frame::Payloads,
    srtp::{MasterKey, Profile},
    track::TrackState,
};

const PATH: Path = Path {
    socket: 0,
    source: None,
    remote: std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9),
};

fn channel() -> Channel {
    let stream = Arc::new(Stream::new("test".parse().unwrap(), 0));
    Channel::new(stream, Rung::Full, 1 << 20)
}

fn track() -> Track {
    let key = MasterKey {
        key: [1; 16],
        salt: [2; 14],
    };
    Track::new(TrackState::random(7, 96), Profile::AeadAes128Gcm, &key)
}

fn frame(first: u64, packets: u64, keyframe: bool, now: Instant) -> Arc<Frame> {
    let units: Vec<u8> = (0..packets).flat_map(|_| [0, 0, 1, 0x65, 9]).collect();
    Arc::new(Frame::new(first, first * 100, keyframe, now, Payloads::of(&units)))
}

/// A viewer that counts.
struct Seen {
    standing: Standing,
    track: Track,
    packets: u64,
}

fn serve(channel: &mut Channel, seen: &mut Seen, now: Instant) {
    let mut batch = Batch::new(Arc::new([]));
    let standing = (&mut seen.standing, CATCH_UP);
    let sent = channel.serve(standing, &mut seen.track, &PATH, &mut batch, now);
    seen.packets += sent.packets;
}

#[test]
fn a_keyframe_is_let_go_in_steps_over_10_to_20_ms() {
    let (mut channel, start) = (channel(), Instant::now());
    let mut seen = Seen {
        standing: Standing::Waiting,
        track: track(),
        packets: 0,
    };
    channel.push(frame(0, 100, true, start), start);
    let (mut now, mut bursts) = (start, Vec::new());
    while let Some(due) = channel.poll_timeout() {
        now = now.max(due);
        channel.pace(now);
        let before = seen.packets;
        serve(&mut channel, &mut seen, now);
        bursts.push(seen.packets - before);
    }
    assert_eq!(bursts, [25, 25, 25, 25]);
    assert!((10..=20).contains(&(now - start).as_millis()));
}

#[test]
fn a_lost_frame_is_noticed_by_the_numbering() {
    let (mut channel, now) = (channel(), Instant::now());
    assert!(channel.push(frame(0, 3, true, now), now));
    assert!(channel.push(frame(3, 3, false, now), now));
    assert!(!channel.push(frame(9, 3, false, now), now));
    assert!(channel.lacks_entry(now), "what is left leans on what was lost");
}

#[test]
fn a_late_joiner_gets_the_young_group_and_no_old_one() {
    let (mut channel, start) = (channel(), Instant::now());
    channel.push(frame(0, 5, true, start), start);
    channel.push(frame(5, 5, false, start), start);
    for (later, packets) in [(Duration::from_millis(300), 10), (Duration::from_millis(301), 0)] {
        let mut seen = Seen {
            standing: Standing::Waiting,
            track: track(),
            packets: 0,
        };
        serve(&mut channel, &mut seen, start + later);
        assert_eq!(seen.packets, packets);
    }
}

#[test]
fn of_a_stream_that_is_sent_on_a_late_joiner_gets_the_whole_group_however_old() {
    let (mut channel, start) = (channel(), Instant::now());
    channel.stream.set_form(crate::Form::Copied([0x64, 0, 0x28]));
    let mut now = start;
    for number in 0..100 {
        now = start + Duration::from_millis(40) * u32::try_from(number).unwrap();
        let unit: Vec<u8> = (0..5).flat_map(|_| [0, 0, 1, 0x65, 9]).collect();
        let frame = Frame::new(
            number * 5,
            1_000_000 + number * 3600,
            number == 0,
            now,
            Payloads::of(&unit),
        );
        channel.push(Arc::new(frame), now);
    }
    let mut seen = Seen {
        standing: Standing::Waiting,
        track: track(),
        packets: 0,
    };
    let mut rounds = 0;
    serve(&mut channel, &mut seen, now);
    while let Some(due) = channel.poll_timeout() {
        now = due;
        rounds += 1;
        channel.pace(now);
        serve(&mut channel, &mut seen, now);
    }
    assert_eq!(seen.packets, 500);
    assert!(
        (40..200).contains(&rounds),
        "neither at once nor in its own time: {rounds}"
    );
    assert_eq!(seen.track.last_timestamp().unwrap_or(0), 1_000_000 + 99 * 3600);
    assert!(!channel.may_begin_again(&seen.track, now));
    assert!(channel.may_begin_again(&seen.track, now + Duration::from_secs(9)));
}

#[test]
fn a_viewer_who_fell_too_far_behind_waits_for_the_next_keyframe() {
    let (mut channel, start) = (channel(), Instant::now());
    let mut seen = Seen {
        standing: Standing::Waiting,
        track: track(),
        packets: 0,
    };
    channel.push(frame(0, 5, true, start), start);
    serve(&mut channel, &mut seen, start);
    let later = start + HISTORY_AGE + Duration::from_millis(1);
    channel.push(frame(5, 5, false, later), later);
    channel.push(frame(10, 5, false, later), later);
    assert_eq!(channel.frames.len(), 2);
    seen.standing = Standing::At(0);
    serve(&mut channel, &mut seen, later);
    assert!(seen.standing == Standing::Waiting && channel.wants_keyframe);
}

#[test]
fn what_can_not_be_shown_any_more_is_not_repeated() {
    let (mut channel, start) = (channel(), Instant::now());
    let round_trip = Duration::from_millis(100);
    let at = |ms| start + Duration::from_millis(ms);
    channel.push(frame(0, 5, true, at(0)), at(0));
    channel.push(frame(5, 5, false, at(400)), at(400));
    channel.push(frame(10, 5, false, at(900)), at(900));
    assert_eq!(channel.oldest_of_use(round_trip, at(900)), 0);
    assert_eq!(channel.oldest_of_use(round_trip, at(1101)), 5, "the first is too old");
    channel.push(frame(15, 5, true, at(1200)), at(1200));
    assert_eq!(
        channel.oldest_of_use(round_trip, at(1500)),
        5,
        "what is before a keyframe is still shown"
    );
    assert_eq!(channel.oldest_of_use(round_trip, at(1501)), 15, "and now it is not");
    assert_eq!(channel.oldest_of_use(round_trip, at(9000)), u64::MAX);
}

#[test]
fn a_datagram_full_of_requests_gets_each_packet_once_and_no_more_than_was_earned() {
    let (mut channel, now) = (channel(), Instant::now());
    let mut seen = Seen {
        standing: Standing::Waiting,
        track: track(),
        packets: 0,
    };
    for number in 0..10 {
        channel.push(frame(number * 20, 20, number == 0, now), now);
        serve(&mut channel, &mut seen, now);
    }
    let (first, mut batch) = (seen.track.next() - 200, Batch::new(Arc::new([])));
    let missing: Vec<u16> = (first..seen.track.next())
        .map(|index| (index & 0xffff) as u16)
        .collect();
    let mut repeats = Repeats::new(now);
    let mut ask = |now| {
        let rate = channel.rate();
        let repeated = channel.repeat(
            &missing.repeat(26),
            (&mut repeats, rate),
            (&mut seen.track, &PATH),
            &mut batch,
            now,
        );
        repeated.packets
    };
    assert!((1..=200).contains(&ask(now)));
    assert_eq!(ask(now), 0, "they are under way");
}

proptest! {
    /// Frames of any size at any pace, viewers who join at any time: all that was pushed is let go, in order,
    /// to everybody who started.
    #[test]
    fn nothing_is_held_back_for_ever(
        frames in prop::collection::vec((1u64..200, any::<bool>(), 0u64..40), 1..30),
        joins in prop::collection::vec(0usize..30, 1..5),
    ) {
        let (mut channel, mut now) = (channel(), Instant::now());
        let mut viewers: Vec<Seen> = Vec::new();
        let mut head = 0;
        for (number, (packets, keyframe, wait)) in frames.into_iter().enumerate() {
            channel.push(frame(head, packets, keyframe || number == 0, now), now);
            head += packets;
            for _ in joins.iter().filter(|join| **join == number) {
                viewers.push(Seen { standing: Standing::Waiting, track: track(), packets: 0 });
            }
            let end = now + Duration::from_millis(wait);
            loop {
                channel.pace(now);
                viewers.iter_mut().for_each(|seen| serve(&mut channel, seen, now));
                match channel.poll_timeout().filter(|due| *due < end) {
                    Some(due) => now = now.max(due),
                    None => break,
                }
            }
            now = end;
        }
        for _ in 0..200 {
            let Some(due) = channel.poll_timeout() else { break };
            now = now.max(due);
            channel.pace(now);
            viewers.iter_mut().for_each(|seen| serve(&mut channel, seen, now));
        }
        prop_assert_eq!(channel.poll_timeout(), None, "pacing ends");
        prop_assert_eq!(channel.released, head);
        for seen in &viewers {
            prop_assert!(seen.standing == Standing::Waiting || seen.standing == Standing::At(head));
        }
    }
}
