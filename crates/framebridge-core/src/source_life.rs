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
//! attempt gives a picture. A pause is told in place of all states but those. A source that nobody wants is tried now and then
//! (probed), and closed again after its first picture. A failure is told, and so is the first picture after one, for the linger; a probe
//! that finds what is known already is not. A source that hangs is in none of these states for
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
    /// How long a source is closed before it is tried, so that a dead one is known before somebody wants it. `None`: it is not.
    pub probe: Option<Duration>,
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
    /// A closed source is to be tried.
    Probe,
}

/// How long a source that is back is live at least, though nobody wants it: two heartbeats tell of it.
const SHOWN_FOR: Duration = Duration::from_secs(1);

/// The life of one source, over as many openings as it takes.
#[derive(Debug)]
pub struct SourceLife {
    config: Config,
    backoff: Backoff,
    phase: Phase,
    paused: bool,
    wanted: bool,
    linger_until: Option<Instant>,
    /// When it is to be tried, while it is closed.
    probe_at: Option<Instant>,
    /// It was opened only to see whether it can be.
    probing: bool,
    /// It has given a picture since this life began, and since it last failed: there is nothing to tell of another.
    has_shown: bool,
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
    pub fn new(config: Config, now: Instant, seed: u64) -> Self {
        Self {
            config,
            backoff: Backoff::new(config.retry, seed),
            phase: Phase::Idle,
            paused: false,
            wanted: false,
            linger_until: None,
            probe_at: config.probe.map(|probe| now + probe),
            probing: false,
            has_shown: false,
            failed: None,
            announced: State::Idle,
            outputs: VecDeque::new(),
        }
    }

    /// Where it is.
    pub fn state(&self) -> State {
        // A probe is not told of: to everybody else the source is closed.
        let phase = if self.probing { &Phase::Idle } else { &self.phase };
        match (phase, &self.failed) {
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
                (self.wanted, self.linger_until, self.probing) = (true, None, false);
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
                    self.probed(now);
                    self.has_shown = true;
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
        let is_idle = self.phase == Phase::Idle && !self.wanted && !self.paused;
        let probe = self.probe_at.filter(|_| is_idle).map(|due| (due, Reason::Probe));
        linger.into_iter().chain(retry).chain(probe).min_by_key(|(due, _)| *due)
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
                    Phase::Opening | Phase::Live => self.close(),
                    Phase::Unavailable { .. } => self.rest(now),
                    Phase::Idle | Phase::Closing => {}
                }
            }
            Some((due, Reason::Retry)) if due <= now => self.open(),
            Some((due, Reason::Probe)) if due <= now => {
                self.probing = true;
                self.open();
            }
            Some(_) | None => {}
        }
    }

    fn open(&mut self) {
        self.phase = Phase::Opening;
        self.outputs.push_back(Output::Open);
    }

    /// A probe has ended with a picture.
    fn probed(&mut self, now: Instant) {
        if self.probing && self.has_shown {
            self.close();
        } else if self.probing {
            // Whoever remembers a failure, of this life or an earlier one, sees that it is over.
            self.probing = false;
            self.linger_until = Some(now + self.config.linger.max(SHOWN_FOR));
        }
    }

    fn close(&mut self) {
        self.phase = Phase::Closing;
        self.outputs.push_back(Output::Close);
    }

    /// It is closed, and nobody wants it.
    fn rest(&mut self, now: Instant) {
        self.phase = Phase::Idle;
        self.probing = false;
        self.probe_at = self.config.probe.map(|probe| now + probe);
    }

    fn ended(&mut self, reason: String, now: Instant) {
        match self.phase {
            Phase::Closing if self.wanted => self.open(),
            Phase::Closing => self.rest(now),
            Phase::Opening | Phase::Live if self.probing => {
                self.failed = Some((reason, now));
                self.has_shown = false;
                self.rest(now);
            }
            Phase::Opening | Phase::Live => {
                let retry_at = now + self.backoff.next_delay(now);
                self.failed = Some((reason.clone(), now));
                self.has_shown = false;
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
        fn histories_keep_the_invariants(steps in prop::collection::vec((0..6_u8, 0..8_000_u64), 1..200), probes in any::<bool>()) {
            let mut world = if probes { World::probed() } else { World::new() };
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
            while let Some((due, why)) = world.life.poll_timeout() {
                if why == Reason::Probe { break; }
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
