//! The engine over loopback, watched by the project's own light viewer.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod publishers;
mod rungs;
mod tcp;
mod world;

use std::{
    net::{Ipv4Addr, UdpSocket},
    sync::atomic::Ordering::Relaxed,
    thread,
    time::{Duration, Instant},
};

use framebridge_rtc::{
    CandidateKind, Config, IfMatch, JoinError, PatchError, SessionId,
    dtls::Identity,
    srtp::Profile,
    stun::{self, Stun},
};
use framebridge_testkit::{Options, Seat, Viewer};

use crate::world::{PATIENCE, World, block_on, have_frames, wait_until, watch_until};

/// How long a viewer that is cut to the next keyframe gets nothing.
const HOLD: Duration = Duration::from_secs(1);

#[test]
fn workers_with_nothing_to_do_come_round_when_they_are_looked_at() {
    let world = World::new(Config {
        workers: 3,
        ..Config::default()
    });
    let media = world.engine.handle();
    let first = media.rounds();
    assert_eq!(first.len(), 3);
    let deadline = Instant::now() + PATIENCE;
    while media.rounds().iter().zip(&first).any(|(now, first)| now == first) {
        assert!(Instant::now() < deadline, "{first:?} {:?}", media.rounds());
        thread::yield_now();
    }
}

#[test]
fn both_profiles_play_over_both_families() {
    for workers in [1, 3] {
        let world = World::new(Config {
            workers,
            ..Config::default()
        });
        let mut seats = Vec::new();
        let mut profiles = Vec::new();
        for profile in [Profile::AeadAes128Gcm, Profile::Aes128CmSha1] {
            for is_ipv4 in [true, false] {
                for _ in 0..workers {
                    let options = Options {
                        profiles: vec![profile],
                        sample: 1,
                        ..Options::default()
                    };
                    seats.push(world.join(options, is_ipv4).1);
                    profiles.push(profile);
                }
            }
        }
        watch_until(&mut seats, "30 pictures", have_frames(30));
        for (seat, profile) in seats.iter().zip(profiles) {
            let reception = seat.viewer.reception();
            assert_eq!(seat.viewer.profile(), Some(profile));
            assert!(reception.has_picture(), "it starts at a keyframe: {reception:?}");
            assert_eq!(
                (reception.forged, reception.duplicates, reception.timestamp_reversals),
                (0, 0, 0)
            );
            assert_eq!(reception.lost(), 0, "{reception:?}");
            assert_eq!(reception.authenticated, reception.packets);
        }
        let stats = world.stats();
        assert_eq!(stats.viewers as usize, seats.len());
        seats.iter_mut().for_each(Seat::close);
        wait_until("all have left", || world.stats().viewers == 0);
    }
}

#[test]
fn lost_packets_are_sent_again() {
    let world = World::new(Config::default());
    let mut seats = vec![
        world
            .join(
                Options {
                    drop: 20,
                    ..Options::default()
                },
                true,
            )
            .1,
    ];
    watch_until(&mut seats, "retransmissions", |seats| {
        let reception = seats[0].viewer.reception();
        reception.frames > 60 && reception.reordered >= 10
    });
    let (stats, reception) = (world.stats(), seats[0].viewer.reception());
    assert!(
        stats.retransmitted >= reception.reordered && stats.nacks >= stats.retransmitted,
        "{stats:?}"
    );
    assert!(reception.lost() * 10 < reception.reordered + 10, "{reception:?}");
    assert_eq!(reception.forged, 0, "what is sent again is the same packet");
    // And whoever looks sees what the link is like.
    let session = world.engine.handle().sessions()[0];
    let link = || world.engine.handle().session(&session).unwrap().link;
    watch_until(&mut seats, "loss and rate", |_| {
        link().loss.is_some() && link().bits_per_second.is_some()
    });
    let link = link();
    assert!(link.remote.is_some_and(|remote| remote.ip().is_loopback()), "{link:?}");
    assert_eq!(
        link.kind,
        Some(CandidateKind::PeerReflexive),
        "its offer names no candidate"
    );
    // The stream has 2 Mb/s.
    assert!(
        link.bits_per_second
            .is_some_and(|rate| (500_000..4_000_000).contains(&rate)),
        "{link:?}"
    );
}

#[test]
fn viewer_that_takes_no_repairs_gets_the_same_packet_again() {
    let world = World::new(Config::default());
    let options = Options {
        drop: 20,
        transport: false,
        ..Options::default()
    };
    let mut seats = vec![world.join(options, true).1];
    watch_until(&mut seats, "retransmissions", |seats| {
        seats[0].viewer.reception().reordered >= 10
    });
    let session = world.engine.handle().sessions()[0];
    let link = world.engine.handle().session(&session).unwrap().link;
    assert_eq!((link.estimate, link.queue_delay), (None, None), "it tells nothing");
    assert_eq!(seats[0].viewer.reception().forged, 0);
}

#[test]
fn what_a_viewers_link_carries_is_known_by_when_its_packets_come() {
    let world = World::new(Config::default());
    let mut seats = vec![world.join(Options::default(), true).1];
    let session = world.engine.handle().sessions()[0];
    let link = || world.engine.handle().session(&session).unwrap().link;
    // The stream has 2 Mb/s, and loopback carries more than anybody has tried.
    watch_until(&mut seats, "an estimate", |_| {
        link().estimate.is_some_and(|estimate| estimate > 2_000_000)
    });
    assert!(link().queue_delay.is_some(), "{:?}", link());
}

#[test]
fn a_viewer_on_a_bad_link_is_cut_to_the_next_keyframe_and_costs_the_others_nothing() {
    let world = World::new(Config::default());
    let options = Options {
        nack: false,
        sample: 1,
        // Its own word of its link is what counts then.
        transport: false,
        ..Options::default()
    };
    let mut seats: Vec<Seat> = (0..4).map(|_| world.join(options.clone(), true).1).collect();
    watch_until(&mut seats, "all play", |seats| {
        seats.iter().all(|seat| seat.viewer.reception().is_intact())
    });
    let asked = world.stats().keyframe_requests;
    // Neither is enough: one packet lost of twelve, and an estimate of a seventh of the stream.
    let low = Some(300_000);
    seats[1].viewer.options_mut().drop = 12;
    seats[2].viewer.options_mut().estimate = low;
    for (held, (drop, estimate)) in (1..).zip([(3, None), (12, low)]) {
        let slow = seats[0].viewer.options_mut();
        (slow.drop, slow.estimate) = (drop, estimate);
        watch_until(&mut seats, "it is held", |_| world.stats().holds == held);
        seats[0].viewer.restart_gap();
        // What comes next is whole again, as of a link whose queue has drained.
        *seats[0].viewer.options_mut() = options.clone();
        watch_until(&mut seats, "it starts at a keyframe", |seats| {
            seats[0].viewer.reception().is_intact()
        });
        let frames = seats[0].viewer.reception().frames;
        watch_until(&mut seats, "it plays on", have_frames(frames + 30));
        let reception = seats[0].viewer.reception();
        assert!(
            reception.is_intact() && reception.longest_gap >= HOLD * 9 / 10,
            "{reception:?}"
        );
    }
    for steady in &seats[1..] {
        let reception = steady.viewer.reception();
        assert!(reception.longest_gap < HOLD / 2, "{reception:?}");
    }
    for lossless in &seats[2..] {
        let reception = lossless.viewer.reception();
        assert!(reception.is_intact() && reception.lost() == 0, "{reception:?}");
    }
    let stats = world.stats();
    assert_eq!(stats.holds, 2, "of the slow one alone");
    assert_eq!(stats.keyframe_requests, asked, "no viewer had to ask");
}

#[test]
fn a_viewer_who_asks_for_everything_again_gets_a_share_of_the_stream_and_others_go_on() {
    let world = World::new(Config::default());
    let mut seats: Vec<Seat> = (0..2).map(|_| world.join(Options::default(), true).1).collect();
    watch_until(&mut seats, "both play", have_frames(30));
    seats[1].viewer.restart_gap();
    let before = world.stats();
    // Each packet that it gets, and those before it, it asks for again: some 40 times the stream.
    let mut asked = 0;
    for _ in 0..60 {
        for _ in 0..10 {
            seats[0].viewer.request_last(250);
            asked += 250;
        }
        let frames = seats[1].viewer.reception().frames;
        watch_until(&mut seats, "they go on", have_frames(frames + 1));
    }
    let stats = world.stats();
    let (repeated, sent) = (
        stats.retransmitted - before.retransmitted,
        stats.packets_sent - before.packets_sent,
    );
    assert!(stats.nacks - before.nacks <= asked);
    assert_eq!(
        stats.nacks - before.nacks - repeated,
        stats.repeats_refused - before.repeats_refused
    );
    // A quarter of what one viewer gets, which is half of the rest, and what may come at once.
    assert!(
        repeated > 0 && repeated <= (sent - repeated) / 8 + 100,
        "{repeated} of {sent}"
    );
    let reception = seats[1].viewer.reception();
    assert!(reception.longest_gap < HOLD / 2, "{reception:?}");
}

#[test]
fn many_requests_get_two_keyframes_and_then_one_in_two_seconds() {
    let world = World::new(Config::default());
    let mut seats: Vec<Seat> = (0..10).map(|_| world.join(Options::default(), true).1).collect();
    watch_until(&mut seats, "all play", have_frames(5));
    let (start, keyframes) = (Instant::now(), world.keyframes.load(Relaxed));
    let before = world.stats();
    for _ in 0..10 {
        seats.iter_mut().for_each(|seat| seat.viewer.request_keyframe());
        let frames = seats[0].viewer.reception().frames;
        watch_until(&mut seats, "they go on", have_frames(frames + 5));
    }
    let asked = world.keyframes.load(Relaxed) - keyframes;
    let stats = world.stats();
    let requests = stats.keyframe_requests - before.keyframe_requests;
    let refused = stats.keyframe_requests_refused - before.keyframe_requests_refused;
    assert!(requests >= 80);
    let earned = u64::try_from(seats.len()).unwrap() * (2 + start.elapsed().as_secs() / 2);
    assert!(requests - refused <= earned, "{requests}, {refused} refused");
    let most = start.elapsed().as_secs() + 1;
    assert!((1..=most).contains(&asked), "{asked} in {:?}", start.elapsed());
}

#[test]
fn a_new_life_of_the_encoder_is_not_seen_by_viewers() {
    let world = World::new(Config::default());
    let mut seats = vec![
        world
            .join(
                Options {
                    sample: 1,
                    ..Options::default()
                },
                true,
            )
            .1,
    ];
    for life in 1..=3 {
        watch_until(&mut seats, "it plays", have_frames(life * 20));
        world.restart.store(true, Relaxed);
    }
    watch_until(&mut seats, "it plays on", have_frames(80));
    let reception = seats[0].viewer.reception();
    assert_eq!(
        (reception.lost(), reception.forged, reception.timestamp_reversals),
        (0, 0, 0),
        "{reception:?}"
    );
    assert!(reception.longest_gap < Duration::from_millis(500), "{reception:?}");
}

#[test]
fn a_full_stream_refuses_and_a_place_given_back_is_taken() {
    let world = World::new(Config {
        max_viewers_per_stream: 2,
        ..Config::default()
    });
    let handle = world.engine.handle();
    let viewer = Viewer::new(Identity::generate().unwrap(), Options::default(), Instant::now());
    let join = || block_on(handle.join(&world.stream, &viewer.offer()));
    let (first, _second) = (join().unwrap(), join().unwrap());
    assert_eq!(join().unwrap_err(), JoinError::TooManyViewers { limit: 2 });
    assert!(block_on(handle.leave(&first.session)));
    wait_until("the place is free", || world.stats().viewers == 1);
    assert!(handle.session(&first.session).is_none() && !block_on(handle.leave(&first.session)));
    assert!(join().is_ok());
}

#[test]
fn all_streams_together_take_no_more_than_there_is_memory_for() {
    let world = World::new(Config {
        max_viewers: 2,
        ..Config::default()
    });
    let handle = world.engine.handle();
    let viewer = Viewer::new(Identity::generate().unwrap(), Options::default(), Instant::now());
    let other = "other".parse().unwrap();
    let join = |stream| block_on(handle.join(stream, &viewer.offer()));
    let (_first, second) = (join(&world.stream).unwrap(), join(&other).unwrap());
    assert_eq!(join(&other).unwrap_err(), JoinError::OutOfPlaces { limit: 2 });
    assert!(block_on(handle.leave(&second.session)));
    assert!(join(&world.stream).is_ok());
}

/// Pictures wake the workers more often than their timers are due, which must not put the timers off.
#[test]
fn timers_come_due_while_pictures_flow() {
    let world = World::new(Config {
        connect_timeout: Duration::from_millis(300),
        ..Config::default()
    });
    let handle = world.engine.handle();
    let (_, seat) = world.join(Options::default(), true);
    let mut seats = [seat];
    watch_until(&mut seats, "pictures", have_frames(3));
    let stranger = Viewer::new(Identity::generate().unwrap(), Options::default(), Instant::now());
    block_on(handle.join(&world.stream, &stranger.offer())).unwrap();
    assert_eq!(world.stats().viewers, 2);
    watch_until(&mut seats, "a sender report a second", |seats| {
        seats[0].viewer.reception().reports >= 3
    });
    assert_eq!(world.stats().viewers, 1, "who never connected holds no place");
}

#[test]
fn viewer_that_is_dropped_silently_hears_no_goodbye() {
    let world = World::new(Config::default());
    let handle = world.engine.handle();
    let (dropped, seat) = world.join(Options::default(), true);
    let (left, other) = world.join(Options::default(), true);
    let mut seats = [seat, other];
    watch_until(&mut seats, "pictures", have_frames(3));
    assert!(block_on(handle.drop_silently(&dropped)) && block_on(handle.leave(&left)));
    assert!(handle.sessions().is_empty());
    // One worker serves both, in this order.
    watch_until(&mut seats, "the goodbye to the one who left", |seats| {
        seats[1].viewer.is_closed()
    });
    assert!(!seats[0].viewer.is_closed());
}

#[test]
fn patches_follow_the_rules_of_if_match() {
    let world = World::new(Config::default());
    let handle = world.engine.handle();
    let (session, seat) = world.join(Options::default(), true);
    let mut seats = [seat];
    watch_until(&mut seats, "it plays", have_frames(5));
    let etag = handle.session(&session).unwrap().etag;
    let patch = |fragment: &str, if_match| block_on(handle.patch(&session, fragment, if_match));
    let trickle = "a=candidate:1 1 udp 5 127.0.0.1 9 typ host\r\n";
    assert_eq!(patch(trickle, IfMatch::None), Ok(framebridge_rtc::Patched::Trickled));
    let wrong = patch(trickle, IfMatch::Etag("other".to_owned()));
    assert_eq!(wrong, Err(PatchError::PreconditionFailed { etag: etag.clone() }));
    assert!(matches!(
        patch("nonsense", IfMatch::Etag(etag.clone())),
        Err(PatchError::Malformed(_))
    ));
    assert!(matches!(
        patch(trickle, IfMatch::Etag(etag.clone())),
        Ok(framebridge_rtc::Patched::Trickled)
    ));
    let restart = format!("a=ice-ufrag:fresh\r\na=ice-pwd:{}\r\n", "p".repeat(24));
    assert_eq!(patch(&restart, IfMatch::None), Err(PatchError::PreconditionRequired));
    let Ok(framebridge_rtc::Patched::Restarted { etag: fresh, fragment }) = patch(&restart, IfMatch::Any) else {
        panic!("a restart was asked for");
    };
    assert_ne!(fresh, etag);
    assert!(fragment.contains("a=ice-ufrag:") && fragment.contains("a=candidate:"));
    assert_eq!(handle.session(&session).unwrap().etag, fresh);
    let again = patch(&restart.replace("fresh", "fresher"), IfMatch::Any);
    assert!(matches!(again, Err(PatchError::TooManyRestarts { retry_after }) if retry_after <= Duration::from_secs(1)));
    assert_eq!(handle.session(&session).unwrap().etag, fresh);
    // The old path goes on until the new generation nominates one.
    let frames = seats[0].viewer.reception().frames;
    watch_until(&mut seats, "it plays on", have_frames(frames + 30));
    let unknown = block_on(handle.patch(&"0".repeat(32).parse().unwrap(), trickle, IfMatch::Any));
    assert_eq!(unknown, Err(PatchError::UnknownSession));
}

#[test]
fn address_that_a_stun_server_names_is_offered() {
    let world = World::new(Config::default());
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let handle = world.engine.handle();
    handle.ask_outside(vec![server.local_addr().unwrap()]);
    let mut question = [0; 200];
    let (len, from) = server.recv_from(&mut question).unwrap();
    assert_eq!(
        from.port(),
        world.engine.local_port(),
        "it is asked from where media comes to"
    );
    let question = Stun::decode(&question[..len]).unwrap();
    let answer = stun::success(question.transaction(), "203.0.113.7:4242".parse().unwrap(), "any");
    server.send_to(&answer, from).unwrap();
    wait_until("it is offered", || {
        let viewer = Viewer::new(Identity::generate().unwrap(), Options::default(), Instant::now());
        let joined = block_on(handle.join(&world.stream, &viewer.offer())).unwrap();
        block_on(handle.leave(&joined.session));
        joined.answer.contains("203.0.113.7 4242 typ srflx")
    });
}

#[test]
fn garbage_from_strangers_changes_nothing() {
    let world = World::new(Config::default());
    let mut seats = vec![world.join(Options::default(), true).1];
    watch_until(&mut seats, "it plays", have_frames(5));
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = (Ipv4Addr::LOCALHOST, world.engine.local_port());
    let mut state = 1u32;
    for round in 0..3000u32 {
        let len = round as usize % 600;
        let mut datagram: Vec<u8> = (0..len)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_be_bytes()[0]
            })
            .collect();
        if round % 3 == 0 && len >= 20 {
            // Half a STUN header, to get past the first look.
            datagram[..8].copy_from_slice(&[0, 1, 0, u8::try_from(len % 200).unwrap() & !3, 0x21, 0x12, 0xa4, 0x42]);
        }
        stranger.send_to(&datagram, to).unwrap();
    }
    let frames = seats[0].viewer.reception().frames;
    watch_until(&mut seats, "it plays on", have_frames(frames + 30));
    assert_eq!(seats[0].viewer.reception().lost(), 0);
}

/// What a process holds: open files, threads, resident bytes.
fn holdings() -> (usize, usize, usize) {
    let count = |path: &str| std::fs::read_dir(path).unwrap().count();
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let resident: usize = pages.split(' ').nth(1).unwrap().parse().unwrap();
    (count("/proc/self/fd"), count("/proc/self/task"), resident * 4096)
}

#[test]
fn a_thousand_joins_and_leaves_leave_nothing_behind() {
    let world = World::new(Config::default());
    let handle = world.engine.handle();
    let round = |number: u32| {
        let mut seats: Vec<_> = (0..50).map(|_| world.join(Options::default(), true)).collect();
        let sessions: Vec<SessionId> = seats.iter().map(|(session, _)| *session).collect();
        let mut seats: Vec<Seat> = seats.drain(..).map(|(_, seat)| seat).collect();
        // Some leave before they have connected.
        if number % 4 != 3 {
            watch_until(&mut seats, "all play", have_frames(2));
        }
        for (at, session) in sessions.iter().enumerate() {
            if at % 2 == 0 {
                assert!(block_on(handle.leave(session)));
            } else {
                seats[at].close();
                block_on(handle.leave(session));
            }
        }
        drop(seats);
        wait_until("all have left", || world.stats().viewers == 0);
        assert!(sessions.iter().all(|session| handle.session(session).is_none()));
    };
    // The first rounds fill the allocator's pools.
    (0..4).for_each(&round);
    let before = holdings();
    (0..20).for_each(round);
    let after = holdings();
    // Other tests run in this process at the same time; a leak of one per viewer would show as a thousand.
    assert!(
        after.0 < before.0 + 300 && after.1 < before.1 + 50,
        "{before:?} {after:?}"
    );
    assert!(after.2 < before.2 + (32 << 20), "{before:?} {after:?}");
}
