//! A push and its receivers, in virtual time.

use proptest::prelude::*;

use super::*;

fn outputs(push: &mut Push) -> Vec<Output> {
    std::iter::from_fn(|| push.poll_output()).collect()
}

/// A push whose offer came to that.
fn answered(answer: Answer, now: Instant) -> Push {
    let mut push = Push::new(7);
    assert_eq!(outputs(&mut push), [Output::Offer]);
    push.handle(Input::Answered(answer), now);
    push
}

fn status(code: u16) -> Answer {
    Answer::Status {
        code,
        retry_after: None,
    }
}

#[test]
fn each_refusal_has_its_word_its_remedy_and_its_pause() {
    let now = Instant::now();
    let unreachable = || Answer::Unreachable("connection refused".to_owned());
    let elsewhere = Answer::Redirected { is_same_host: false };
    // Seconds at least and at most until the next attempt.
    for (answer, state, said, pause) in [
        (status(401), PushState::Unauthorized, "`token`", (12, 15)),
        (status(403), PushState::Unauthorized, "`token`", (12, 15)),
        (status(404), PushState::NotFound, "mend the path", (0, 1)),
        (status(409), PushState::Conflict, "another publishes", (0, 1)),
        (status(400), PushState::Unacceptable, "in its log", (12, 15)),
        (status(406), PushState::Unacceptable, "H.264", (12, 15)),
        (status(415), PushState::Unacceptable, "H.264", (12, 15)),
        (status(200), PushState::Failed, "WHIP address", (12, 15)),
        (status(405), PushState::Failed, "WHIP address", (12, 15)),
        (status(429), PushState::Failed, "too often", (0, 1)),
        (status(500), PushState::Failed, "in its log", (0, 1)),
        (status(503), PushState::Failed, "in its log", (0, 1)),
        (unreachable(), PushState::Unreachable, "connection refused", (0, 1)),
        (elsewhere, PushState::Failed, "another host", (12, 15)),
        (
            Answer::Unusable("it lacks something".to_owned()),
            PushState::Unacceptable,
            "lacks",
            (12, 15),
        ),
        (
            Answer::NoPlace("full".to_owned()),
            PushState::Failed,
            "viewers have all",
            (0, 1),
        ),
        (
            Answer::NoPicture("idle".to_owned()),
            PushState::Waiting,
            "no picture",
            (1, 1),
        ),
    ] {
        let mut push = answered(answer.clone(), now);
        assert_eq!(outputs(&mut push), [], "{answer:?}");
        let snapshot = push.snapshot(now);
        assert_eq!(snapshot.state, state, "{answer:?}");
        let reason = snapshot.reason.unwrap();
        assert!(reason.contains(said), "{answer:?}: {reason}");
        let seconds = snapshot.retry_in.unwrap().as_secs_f64();
        let (least, most) = (f64::from(pause.0), f64::from(pause.1));
        assert!((least..=most).contains(&seconds), "{answer:?}: {seconds}");
        let (due, Reason::Retry) = push.poll_timeout().unwrap();
        push.handle(Input::Timeout, due);
        assert_eq!(outputs(&mut push), [Output::Offer], "{answer:?}");
        let again = push.snapshot(due);
        assert_eq!(
            (again.state, again.reason),
            (state, Some(reason)),
            "shown until it is over"
        );
    }
}

#[test]
fn receiver_that_is_back_has_the_stream_within_seconds_however_long_it_was_away() {
    let mut now = Instant::now();
    let mut push = answered(Answer::Taken, now);
    assert_eq!(push.snapshot(now).state, PushState::Connecting);
    push.handle(Input::Session(Session::Live), now);
    assert_eq!(push.snapshot(now).state, PushState::Live);
    now += Duration::from_secs(3600);
    push.handle(Input::Session(Session::Silent), now);
    assert_eq!(push.snapshot(now).state, PushState::Silent);
    push.handle(Input::Session(Session::Live), now);
    assert_eq!(push.snapshot(now).state, PushState::Live);
    push.handle(Input::Session(Session::Ended("silent for too long".to_owned())), now);
    assert_eq!(outputs(&mut push), [Output::Leave], "the receiver may keep the place");
    for _ in 0..1000 {
        let (due, _) = push.poll_timeout().unwrap();
        assert!(due - now <= SOON.cap);
        now = due;
        push.handle(Input::Timeout, now);
        assert_eq!(outputs(&mut push), [Output::Offer]);
        push.handle(Input::Answered(Answer::Unreachable("no route".to_owned())), now);
    }
}

#[test]
fn redirect_is_followed_on_the_same_host_and_not_for_ever() {
    let now = Instant::now();
    let on = || Input::Answered(Answer::Redirected { is_same_host: true });
    let mut push = Push::new(7);
    assert_eq!(outputs(&mut push), [Output::Offer]);
    for _ in 0..MOST_HOPS {
        push.handle(on(), now);
        assert_eq!(outputs(&mut push), [Output::Follow]);
    }
    push.handle(on(), now);
    assert_eq!(outputs(&mut push), []);
    let snapshot = push.snapshot(now);
    assert_eq!(snapshot.state, PushState::Failed);
    assert!(snapshot.reason.unwrap().contains("leads on"));
}

#[test]
fn receivers_word_on_when_to_come_back_is_heeded_within_reason() {
    let now = Instant::now();
    for (told, waits) in [(20, 20), (86_400, 3600)] {
        let push = answered(
            Answer::Status {
                code: 503,
                retry_after: Some(Duration::from_secs(told)),
            },
            now,
        );
        assert_eq!(push.snapshot(now).retry_in, Some(Duration::from_secs(waits)));
    }
}

#[test]
fn what_an_operator_ends_stays_ended_for_a_while_or_until_a_reload() {
    let now = Instant::now();
    let mut push = answered(Answer::Taken, now);
    push.handle(Input::Session(Session::Live), now);
    push.handle(Input::Kick, now);
    assert_eq!(outputs(&mut push), [Output::Leave]);
    assert!(!push.wants_source());
    assert_eq!(push.snapshot(now).state, PushState::Kicked);
    push.handle(Input::Session(Session::Ended("left".to_owned())), now);
    push.handle(Input::Timeout, now + KICKED_PAUSE / 2);
    assert_eq!(outputs(&mut push), []);
    push.handle(Input::Resume, now);
    assert_eq!(outputs(&mut push), [Output::Offer]);
    assert!(push.wants_source());
    assert_eq!(push.snapshot(now).state, PushState::Connecting);
    push.handle(Input::Resume, now);
    assert_eq!(outputs(&mut push), [], "it is under way");
    push.handle(Input::Kick, now);
    assert_eq!(
        outputs(&mut push),
        [Output::Leave],
        "so is what an offer may have begun"
    );
}

#[test]
fn session_that_is_never_reached_by_media_says_so() {
    let now = Instant::now();
    let mut push = answered(Answer::Taken, now);
    push.handle(
        Input::Session(Session::Ended("did not connect in time".to_owned())),
        now,
    );
    assert!(push.snapshot(now).reason.unwrap().contains("let UDP through"));
    let resumed = Push::resumed(7);
    assert_eq!(resumed.snapshot(now).state, PushState::Live);
}

#[test]
fn session_that_carries_nothing_is_not_said_to_be_live() {
    let now = Instant::now();
    let mut push = answered(Answer::Taken, now);
    push.handle(Input::Session(Session::Live), now);
    push.handle(Input::Picture(Some("the camera is away".to_owned())), now);
    let snapshot = push.snapshot(now);
    assert_eq!(snapshot.state, PushState::Waiting);
    assert!(snapshot.reason.unwrap().contains("the camera is away"));
    push.handle(Input::Picture(None), now);
    assert_eq!(push.snapshot(now).state, PushState::Live);
}

#[test]
fn reload_begins_what_was_kicked_and_hurries_nothing_else() {
    let now = Instant::now();
    let mut push = answered(status(401), now);
    push.handle(Input::Resume, now);
    assert_eq!(outputs(&mut push), []);
}

fn input() -> impl Strategy<Value = Input> {
    let answer = prop_oneof![
        Just(Answer::Taken),
        Just(Answer::NoPicture(String::new())),
        Just(Answer::Unreachable(String::new())),
        any::<bool>().prop_map(|is_same_host| Answer::Redirected { is_same_host }),
        (100_u16..600, proptest::option::of(0_u64..100_000)).prop_map(|(code, seconds)| Answer::Status {
            code,
            retry_after: seconds.map(Duration::from_secs),
        }),
        Just(Answer::Unusable(String::new())),
    ];
    let session = prop_oneof![
        Just(Session::Live),
        Just(Session::Silent),
        Just(Session::Ended(String::new()))
    ];
    prop_oneof![
        4 => Just(Input::Timeout),
        6 => answer.prop_map(Input::Answered),
        4 => session.prop_map(Input::Session),
        1 => Just(Input::Kick),
        1 => Just(Input::Resume),
    ]
}

proptest! {
    #[test]
    fn there_is_one_offer_or_one_session_at_a_time_and_always_a_next_step(
        seed: u64,
        steps in prop::collection::vec((input(), 0_u64..120), 1..200),
    ) {
        let mut now = Instant::now();
        let mut push = Push::new(seed);
        // An offer under way; a session that was agreed on.
        let (mut asks, mut has) = (outputs(&mut push) == [Output::Offer], false);
        for (input, seconds) in steps.into_iter().map(Some).chain([None]).map(|step| step.unwrap_or((Input::End, 0))) {
            now += Duration::from_secs(seconds);
            if let Input::Answered(answer) = &input {
                has |= asks && *answer == Answer::Taken;
                asks = false;
            }
            let is_end = input == Input::End;
            push.handle(input, now);
            for output in outputs(&mut push) {
                match output {
                    Output::Offer | Output::Follow => {
                        prop_assert!(!asks && !has, "it begins anew beside what there is");
                        asks = true;
                    }
                    Output::Leave => {
                        prop_assert!(is_end || asks || has, "there is nothing to leave");
                        (asks, has) = (false, false);
                    }
                }
            }
            let waits = push.poll_timeout();
            prop_assert_eq!(waits.is_none(), asks || has || is_end);
            if let Some((due, _)) = waits {
                prop_assert!(due - now <= LONGEST_WORD);
                prop_assert!(push.snapshot(now).reason.is_some());
            }
        }
        prop_assert!(!asks && !has, "it has left all that there was");
        prop_assert!(!push.wants_source());
    }
}
