use proptest::prelude::*;

use super::*;

const CONFIG: Config = Config {
    linger: Duration::from_secs(5),
    retry: backoff::Config {
        jitter: 0.0,
        ..Config::RETRY
    },
    probe: None,
};

const PROBE: Duration = Duration::from_secs(60);

struct World {
    life: SourceLife,
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self::with(CONFIG)
    }

    fn with(config: Config) -> Self {
        let now = Instant::now();
        Self {
            life: SourceLife::new(config, now, 1),
            now,
        }
    }

    /// One that is tried now and then.
    fn probed() -> Self {
        Self::with(Config {
            probe: Some(PROBE),
            ..CONFIG
        })
    }

    /// A machine that was brought into a state by its inputs.
    fn after(inputs: &[Input]) -> Self {
        let mut world = Self::new();
        for input in inputs {
            world.on(input.clone());
        }
        world
    }

    fn on(&mut self, input: Input) -> Vec<Output> {
        self.life.handle(input, self.now);
        self.outputs()
    }

    fn pass(&mut self, time: Duration) -> Vec<Output> {
        self.now += time;
        self.life.handle(Input::Timeout, self.now);
        self.outputs()
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.life.poll_output()).collect()
    }
}

fn ended() -> Input {
    ended_by(Failure::Other)
}

fn ended_by(failure: Failure) -> Input {
    Input::Ended {
        reason: "gone".to_owned(),
        failure,
    }
}

const WANTED: Input = Input::Demand(true);
const UNWANTED: Input = Input::Demand(false);

#[test]
fn every_state_answers_every_event_as_the_table_says() {
    let idle: &[Input] = &[];
    let opening = &[WANTED];
    let live = &[WANTED, Input::Picture];
    let unavailable = &[WANTED, ended()];
    let retry_at = |world: &World| world.now + CONFIG.retry.base;
    type Expected = fn(Instant) -> Vec<Output>;
    let nothing: Expected = |_| vec![];
    let opens: Expected = |_| vec![Output::Open, Output::Announce(State::Opening)];
    let fails: Expected = |at| {
        vec![Output::Announce(State::Unavailable {
            reason: "gone".to_owned(),
            retry_at: at,
        })]
    };
    let cases: [(&[Input], Input, Expected); 12] = [
        (idle, WANTED, opens),
        (idle, Input::Picture, nothing),
        (idle, ended(), nothing),
        (opening, WANTED, nothing),
        (opening, Input::Picture, |_| vec![Output::Announce(State::Live)]),
        (opening, ended(), fails),
        (live, WANTED, nothing),
        (live, Input::Picture, nothing),
        (live, ended(), fails),
        (live, Input::Pause(true), |_| vec![Output::Announce(State::Paused)]),
        (unavailable, WANTED, nothing),
        (unavailable, Input::Picture, nothing),
    ];
    for (before, input, expected) in cases {
        let mut world = World::after(before);
        let expected = expected(retry_at(&world));
        assert_eq!(world.on(input.clone()), expected, "{before:?} then {input:?}");
    }
}

#[test]
fn it_closes_when_nobody_has_wanted_it_for_the_linger() {
    let never_seen = (vec![WANTED], State::Untried);
    for (before, closed) in [never_seen, (vec![WANTED, Input::Picture], State::Idle)] {
        let mut world = World::after(&before);
        assert_eq!(world.on(UNWANTED), []);
        assert_eq!(world.pass(CONFIG.linger / 2), []);
        assert_eq!(world.on(UNWANTED), [], "said twice, counted from the first time");
        assert_eq!(world.pass(CONFIG.linger / 2), [Output::Close, Output::Announce(closed)]);
        assert_eq!(world.life.poll_timeout(), None);
        assert_eq!(world.on(ended()), []);
        assert_eq!(world.on(WANTED), [Output::Open, Output::Announce(State::Opening)]);
    }
}

#[test]
fn demand_within_the_linger_keeps_it_open() {
    let mut world = World::after(&[WANTED, Input::Picture, UNWANTED]);
    assert_eq!(world.on(WANTED), []);
    assert_eq!(world.pass(CONFIG.linger * 2), []);
    assert_eq!(world.life.state(), State::Live);
}

#[test]
fn demand_while_it_closes_opens_it_again_once_it_is_closed() {
    let mut world = World::after(&[WANTED, Input::Picture, UNWANTED]);
    world.pass(CONFIG.linger);
    let opening = Output::Announce(State::Opening);
    assert_eq!(
        world.on(WANTED),
        std::slice::from_ref(&opening),
        "not opened yet: two at once would fight over the device"
    );
    assert_eq!(world.on(UNWANTED), [Output::Announce(State::Idle)]);
    assert_eq!(world.on(WANTED), [opening]);
    assert_eq!(world.on(ended()), [Output::Open]);
}

#[test]
fn an_unavailable_source_is_tried_again_and_again_ever_more_rarely_until_it_works() {
    let mut world = World::after(&[WANTED]);
    let mut delays = Vec::new();
    for _ in 0..7 {
        world.on(ended());
        let (due, why) = world.life.poll_timeout().unwrap();
        assert_eq!(why, Reason::Retry);
        let delay = due - world.now;
        delays.push(delay.as_millis());
        assert_eq!(world.pass(delay), [Output::Open, Output::Announce(State::Opening)]);
    }
    assert_eq!(delays, [500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
    world.on(Input::Picture);
    world.now += CONFIG.retry.reset_after;
    world.on(ended());
    assert_eq!(world.life.poll_timeout().unwrap().0 - world.now, CONFIG.retry.base);
}

#[test]
fn an_unavailable_source_that_nobody_wants_is_left_alone_and_stays_unavailable_until_it_shows() {
    let mut world = World::after(&[WANTED, ended(), UNWANTED]);
    let mut opened = 0;
    while let Some((due, _)) = world.life.poll_timeout() {
        let outputs = world.pass(due - world.now);
        if outputs.contains(&Output::Open) {
            opened += 1;
            world.on(ended());
        }
    }
    assert!((1..10).contains(&opened), "retried while lingering only");
    let State::UnavailableIdle { reason, tried_at } = world.life.state() else {
        panic!("{:?}", world.life.state())
    };
    assert!(reason == "gone" && tried_at < world.now);
    assert_eq!(world.on(WANTED), [Output::Open, Output::Announce(State::Opening)]);
    world.on(Input::Picture);
    world.on(UNWANTED);
    world.pass(CONFIG.linger);
    assert_eq!(world.life.state(), State::Idle, "it has shown");
}

#[test]
fn source_is_untried_until_it_was_seen_and_never_again() {
    let mut world = World::probed();
    assert_eq!(world.life.state(), State::Untried);
    world.pass(PROBE);
    assert_eq!(
        world.life.state(),
        State::Untried,
        "a probe that is under way says nothing yet"
    );
    world.on(Input::Picture);
    world.pass(CONFIG.linger);
    world.on(ended());
    assert_eq!(world.life.state(), State::Idle);
    world.pass(PROBE);
    world.on(ended());
    assert!(matches!(world.life.state(), State::UnavailableIdle { .. }));
}

#[test]
fn source_that_nobody_wants_is_tried_and_only_what_came_of_it_is_told() {
    let mut world = World::probed();
    assert_eq!(world.life.poll_timeout(), Some((world.now + PROBE, Reason::Probe)));
    assert_eq!(world.pass(PROBE), [Output::Open]);
    let tried_at = world.now;
    let reason = "gone".to_owned();
    let told = State::UnavailableIdle { reason, tried_at };
    assert_eq!(world.on(ended()), [Output::Announce(told)]);
    // It came back, and nobody looked.
    assert_eq!(world.pass(PROBE), [Output::Open]);
    assert_eq!(world.on(Input::Picture), [Output::Announce(State::Live)]);
    assert_eq!(
        world.pass(CONFIG.linger),
        [Output::Close, Output::Announce(State::Idle)]
    );
    assert_eq!(world.life.poll_timeout(), None, "it is still being closed");
    assert_eq!(world.on(ended()), []);
    // There is nothing new to tell.
    assert_eq!(world.pass(PROBE), [Output::Open]);
    assert_eq!(world.on(Input::Picture), [Output::Close]);
    assert_eq!(world.on(ended()), []);
    assert_eq!(world.life.poll_timeout(), Some((world.now + PROBE, Reason::Probe)));
}

#[test]
fn viewer_who_comes_during_a_probe_takes_it_over() {
    let opening = Output::Announce(State::Opening);
    let mut world = World::probed();
    world.pass(PROBE);
    assert_eq!(world.on(WANTED), std::slice::from_ref(&opening), "it is open already");
    assert_eq!(world.on(Input::Picture), [Output::Announce(State::Live)]);

    let mut world = World::probed();
    world.pass(PROBE);
    world.on(Input::Picture);
    world.pass(CONFIG.linger);
    world.on(ended());
    world.pass(PROBE);
    assert_eq!(world.on(Input::Picture), [Output::Close]);
    assert_eq!(world.on(WANTED), [opening], "opened again once it is closed");
    assert_eq!(world.on(ended()), [Output::Open]);
}

#[test]
fn paused_or_wanted_source_is_not_probed() {
    let mut world = World::probed();
    world.on(Input::Pause(true));
    assert_eq!(world.life.poll_timeout(), None);
    let mut world = World::probed();
    world.on(WANTED);
    assert_eq!(world.pass(PROBE * 2), []);
}

#[test]
fn what_answers_again_is_opened_at_once_and_nothing_else_is() {
    for (failure, opens) in [
        (Failure::Unreachable, true),
        (Failure::Other, false),
        (Failure::Refused, false),
    ] {
        let mut world = World::after(&[WANTED, ended_by(failure)]);
        assert_eq!(world.life.is_unreachable(), opens);
        assert_eq!(world.on(Input::Answers).contains(&Output::Open), opens, "{failure:?}");
        assert!(!world.on(Input::Answers).contains(&Output::Open), "once");
    }
    let mut unwanted = World::after(&[WANTED, ended_by(Failure::Unreachable), UNWANTED]);
    unwanted.pass(CONFIG.linger);
    assert_eq!(unwanted.on(Input::Answers), []);
}

#[test]
fn what_fails_for_another_reason_than_before_is_tried_again_soon() {
    let mut world = World::after(&[WANTED]);
    for _ in 0..5 {
        world.on(ended_by(Failure::Unreachable));
        world.on(Input::Answers);
    }
    world.on(ended());
    assert_eq!(world.life.poll_timeout().unwrap().0 - world.now, CONFIG.retry.base);
}

#[test]
fn what_was_off_and_shows_again_is_tried_soon_when_it_ends_soon_after() {
    for (failure, soon) in [(Failure::Unreachable, true), (Failure::Other, false)] {
        let mut world = World::after(&[WANTED]);
        for _ in 0..5 {
            world.on(ended_by(failure));
            let (due, _) = world.life.poll_timeout().unwrap();
            world.pass(due - world.now);
        }
        world.on(Input::Picture);
        world.pass(Duration::from_millis(100));
        world.on(ended());
        let wait = world.life.poll_timeout().unwrap().0 - world.now;
        assert_eq!(wait == CONFIG.retry.base, soon, "{failure:?}: {wait:?}");
    }
}

#[test]
fn a_password_that_is_refused_is_tried_three_times_and_then_once_in_five_minutes_whoever_comes() {
    let mut world = World::after(&[WANTED]);
    let mut waits = Vec::new();
    for _ in 0..5 {
        world.on(ended_by(Failure::Refused));
        let wait = world.life.poll_timeout().unwrap().0 - world.now;
        waits.push(wait.as_millis());
        world.pass(wait);
    }
    assert_eq!(waits, [500, 1000, 300_000, 300_000, 300_000]);
    world.on(ended_by(Failure::Refused));
    world.on(UNWANTED);
    world.pass(CONFIG.linger);
    assert!(matches!(world.life.state(), State::UnavailableIdle { .. }));
    let outputs = world.on(WANTED);
    assert!(!outputs.contains(&Output::Open), "{outputs:?}");
    assert!(matches!(world.life.state(), State::Unavailable { .. }));
    let wait = world.life.poll_timeout().unwrap().0 - world.now;
    assert_eq!(wait, REFUSED_WAIT - CONFIG.linger);
    assert!(world.pass(wait).contains(&Output::Open));
    world.on(Input::Picture);
    world.on(ended_by(Failure::Refused));
    let wait = world.life.poll_timeout().unwrap().0 - world.now;
    assert!(wait < REFUSED_WAIT, "it was right once, and counts from one again");
}

#[test]
fn a_probe_does_not_try_a_refused_password_sooner_than_anybody_else() {
    let mut world = World::probed();
    let began = world.now;
    let mut tries = Vec::new();
    while tries.len() < 5 {
        let (due, _) = world.life.poll_timeout().unwrap();
        let outputs = world.pass(due.saturating_duration_since(world.now));
        if outputs.contains(&Output::Open) {
            tries.push((world.now - began).as_secs());
            world.on(ended_by(Failure::Refused));
        }
    }
    assert_eq!(tries, [60, 120, 180, 480, 780], "three, and then one in five minutes");
}

#[test]
fn a_pause_outlives_the_source() {
    let mut world = World::new();
    assert_eq!(
        world.on(Input::Pause(true)),
        [Output::Announce(State::Paused)],
        "also of what is closed"
    );
    assert_eq!(world.on(WANTED), [Output::Open]);
    assert_eq!(world.on(Input::Picture), []);
    assert!(matches!(
        world.on(ended())[..],
        [Output::Announce(State::Unavailable { .. })]
    ));
    assert_eq!(
        world.pass(CONFIG.retry.base),
        [Output::Open, Output::Announce(State::Paused)]
    );
    assert_eq!(world.on(Input::Picture), []);
    assert_eq!(world.on(Input::Pause(false)), [Output::Announce(State::Live)]);
}

proptest! {
    /// Whatever happens in whatever order: never two sources open at once, never one left open that nobody wants,
    /// and no state that neither an event nor a timer leaves.
    #[test]
    fn histories_keep_the_invariants(steps in prop::collection::vec((0..8_u8, 0..8_000_u64), 1..200), probes in any::<bool>()) {
        let mut world = if probes { World::probed() } else { World::new() };
        let mut open = false;
        for (step, millis) in steps {
            let outputs = match step {
                0 => world.on(WANTED),
                1 => world.on(UNWANTED),
                2 if open => world.on(Input::Picture),
                3 if open => { open = false; world.on(ended()) }
                4 => world.on(Input::Pause(millis % 2 == 0)),
                5 if open => { open = false; world.on(ended_by(Failure::Unreachable)) }
                6 => world.on(Input::Answers),
                _ => world.pass(Duration::from_millis(millis)),
            };
            for output in outputs {
                match output {
                    Output::Open => { prop_assert!(!open); open = true; }
                    Output::Close => prop_assert!(open),
                    Output::Announce(state) => prop_assert_eq!(state, world.life.state()),
                }
            }
        }
        world.on(UNWANTED);
        // A pause would hide what the source does.
        world.on(Input::Pause(false));
        let mut rounds = 0;
        while let Some((due, why)) = world.life.poll_timeout() {
            if why == Reason::Probe { break; }
            let wait = due.saturating_duration_since(world.now);
            if world.pass(wait).contains(&Output::Open) { world.on(ended()); }
            rounds += 1;
            prop_assert!(rounds < 100);
        }
        let state = world.life.state();
        prop_assert!(matches!(state, State::Untried | State::Idle | State::UnavailableIdle { .. }), "{:?}", state);
    }
}
