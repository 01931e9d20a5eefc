//! The life of an encoder's source: closed while nobody watches, opened on demand, tried again when it fails.
//!
//! | in state | demand | no demand for the linger | first picture | ended by itself | closed |
//! | --- | --- | --- | --- | --- | --- |
//! | idle | opening | – | – | – | – |
//! | opening | – | closing | live | unavailable | – |
//! | live, paused | – | closing | – | unavailable | – |
//! | closing | told as opening | – | – | idle, or opening if wanted | the same |
//! | unavailable | – | idle, and said to be unavailable | – | – | – |
//!
//! An unavailable source is opened again when its backoff is over; one that nobody wants any more stays unavailable until an
//! attempt gives a picture. A pause is told in place of all states but those. A source that hangs is in none of these states for
//! long: its process is ended by a watchdog ([`StageWatch`](crate::stage_watch::StageWatch)) and started anew.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::backoff::{self, Backoff};

/// How patient a source's life is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// How long it stays open after the last who wanted it.
    pub linger: Duration,
    /// How long to wait before an unavailable source is tried again.
    pub retry: backoff::Config,
}

impl Config {
    /// Retries that follow a replugged camera within a second at first, and cost nothing for one that is gone for good.
    pub const RETRY: backoff::Config = backoff::Config {
        base: Duration::from_millis(500),
        factor: 2.0,
        cap: Duration::from_secs(10),
        jitter: 0.2,
        reset_after: Duration::from_secs(10),
    };
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Somebody wants pictures, or nobody does any more.
    Demand(bool),
    /// Go on or stop sending pictures; the source stays open.
    Pause(bool),
    /// The opened source gave its first picture.
    Picture,
    /// What was opened has ended and is gone: by itself, or because it was told to close.
    Ended {
        /// Why, for people.
        reason: String,
    },
    /// The time that [`SourceLife::poll_timeout`] named has come.
    Timeout,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Open the source.
    Open,
    /// Close it; [`Input::Ended`] says when that is done.
    Close,
    /// Tell everybody the new state.
    Announce(State),
}

/// Where a source is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Closed, because nobody wants it.
    Idle,
    /// Closed, because nobody wants it, after an attempt that failed.
    UnavailableIdle {
        /// Why it failed, for people.
        reason: String,
        /// When.
        tried_at: Instant,
    },
    /// Being opened.
    Opening,
    /// Pictures come.
    Live,
    /// No pictures are sent, whether or not they come.
    Paused,
    /// It can't be opened, or ended.
    Unavailable {
        /// Why, for people.
        reason: String,
        /// When it is tried again.
        retry_at: Instant,
    },
}

/// What [`SourceLife::poll_timeout`] waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Nobody has wanted the source for long enough.
    Linger,
    /// An unavailable source is due again.
    Retry,
}

/// The life of one source, over as many openings as it takes.
#[derive(Debug)]
pub struct SourceLife {
    config: Config,
    backoff: Backoff,
    phase: Phase,
    paused: bool,
    wanted: bool,
    linger_until: Option<Instant>,
    /// Why and when it could not be opened or ended, until it gives a picture.
    failed: Option<(String, Instant)>,
    announced: State,
    outputs: VecDeque<Output>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Idle,
    Opening,
    Live,
    Closing,
    Unavailable { reason: String, retry_at: Instant },
}

impl SourceLife {
    /// A closed source that nobody wants yet. `seed` spreads the retries of many.
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            config,
            backoff: Backoff::new(config.retry, seed),
            phase: Phase::Idle,
            paused: false,
            wanted: false,
            linger_until: None,
            failed: None,
            announced: State::Idle,
            outputs: VecDeque::new(),
        }
    }

    /// Where it is.
    pub fn state(&self) -> State {
        match (&self.phase, &self.failed) {
            (Phase::Unavailable { reason, retry_at }, _) => State::Unavailable {
                reason: reason.clone(),
                retry_at: *retry_at,
            },
            (Phase::Idle | Phase::Closing, Some((reason, tried_at))) if !self.wanted => State::UnavailableIdle {
                reason: reason.clone(),
                tried_at: *tried_at,
            },
            (Phase::Idle | Phase::Opening | Phase::Live | Phase::Closing, _) if self.paused => State::Paused,
            // Wanted again before it was closed: it is opened as soon as that is done.
            (Phase::Closing, _) if self.wanted => State::Opening,
            (Phase::Idle | Phase::Closing, _) => State::Idle,
            (Phase::Opening, _) => State::Opening,
            (Phase::Live, _) => State::Live,
        }
    }

    /// Whether sending is paused, whatever the source does.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Takes in what happened.
    pub fn handle(&mut self, input: Input, now: Instant) {
        match input {
            Input::Demand(true) => {
                (self.wanted, self.linger_until) = (true, None);
                if self.phase == Phase::Idle {
                    self.open();
                }
            }
            Input::Demand(false) => {
                if self.wanted {
                    self.linger_until = Some(now + self.config.linger);
                }
                self.wanted = false;
            }
            Input::Pause(paused) => self.paused = paused,
            Input::Picture => {
                if self.phase == Phase::Opening {
                    self.phase = Phase::Live;
                    self.failed = None;
                    self.backoff.succeeded(now);
                }
            }
            Input::Ended { reason } => self.ended(reason, now),
            Input::Timeout => self.on_timeout(now),
        }
        self.announce();
    }

    /// When [`Input::Timeout`] is due, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let linger = self.linger_until.map(|due| (due, Reason::Linger));
        let retry = match self.phase {
            Phase::Unavailable { retry_at, .. } => Some((retry_at, Reason::Retry)),
            Phase::Idle | Phase::Opening | Phase::Live | Phase::Closing => None,
        };
        linger.into_iter().chain(retry).min_by_key(|(due, _)| *due)
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn on_timeout(&mut self, now: Instant) {
        match self.poll_timeout() {
            Some((due, Reason::Linger)) if due <= now => {
                self.linger_until = None;
                match self.phase {
                    Phase::Opening | Phase::Live => {
                        self.phase = Phase::Closing;
                        self.outputs.push_back(Output::Close);
                    }
                    Phase::Unavailable { .. } => self.phase = Phase::Idle,
                    Phase::Idle | Phase::Closing => {}
                }
            }
            Some((due, Reason::Retry)) if due <= now => self.open(),
            Some(_) | None => {}
        }
    }

    fn open(&mut self) {
        self.phase = Phase::Opening;
        self.outputs.push_back(Output::Open);
    }

    fn ended(&mut self, reason: String, now: Instant) {
        match self.phase {
            Phase::Closing if self.wanted => self.open(),
            Phase::Closing => self.phase = Phase::Idle,
            Phase::Opening | Phase::Live => {
                let retry_at = now + self.backoff.next_delay(now);
                self.failed = Some((reason.clone(), now));
                self.phase = Phase::Unavailable { reason, retry_at };
            }
            Phase::Idle | Phase::Unavailable { .. } => {}
        }
    }

    fn announce(&mut self) {
        let state = self.state();
        if state != self.announced {
            self.announced = state.clone();
            self.outputs.push_back(Output::Announce(state));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONFIG: Config = Config {
        linger: Duration::from_secs(5),
        retry: backoff::Config {
            jitter: 0.0,
            ..Config::RETRY
        },
    };

    struct World {
        life: SourceLife,
        now: Instant,
    }

    impl World {
        fn new() -> Self {
            Self {
                life: SourceLife::new(CONFIG, 1),
                now: Instant::now(),
            }
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
        Input::Ended {
            reason: "gone".to_owned(),
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
        for before in [vec![WANTED], vec![WANTED, Input::Picture]] {
            let mut world = World::after(&before);
            assert_eq!(world.on(UNWANTED), []);
            assert_eq!(world.pass(CONFIG.linger / 2), []);
            assert_eq!(world.on(UNWANTED), [], "said twice, counted from the first time");
            assert_eq!(
                world.pass(CONFIG.linger / 2),
                [Output::Close, Output::Announce(State::Idle)]
            );
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
        fn histories_keep_the_invariants(steps in prop::collection::vec((0..6_u8, 0..8_000_u64), 1..200)) {
            let mut world = World::new();
            let mut open = false;
            for (step, millis) in steps {
                let outputs = match step {
                    0 => world.on(WANTED),
                    1 => world.on(UNWANTED),
                    2 if open => world.on(Input::Picture),
                    3 if open => { open = false; world.on(ended()) }
                    4 => world.on(Input::Pause(millis % 2 == 0)),
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
            while let Some((due, _)) = world.life.poll_timeout() {
                let wait = due.saturating_duration_since(world.now);
                if world.pass(wait).contains(&Output::Open) { world.on(ended()); }
                rounds += 1;
                prop_assert!(rounds < 100);
            }
            let state = world.life.state();
            prop_assert!(matches!(state, State::Idle | State::UnavailableIdle { .. }), "{:?}", state);
        }
    }
}
