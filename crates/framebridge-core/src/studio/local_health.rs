//! Decides what a bridge says of its box, and when it asks the supervisor for help.
//!
//! The box's own HTTP server may be down for a while: that is shown, logged now and then, and after some patience
//! mended by having `signaling` started again. Only the end of the supervisor is the end.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Times of a [`LocalHealth`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Time between two log lines of one outage.
    pub log_every: Duration,
    /// Outage after which the supervisor is asked to restart signaling, and the shortest time between two such requests.
    pub patience: Duration,
    /// How long another supervisor may take to stand in for one that is gone.
    pub succession: Duration,
}

impl Default for Config {
    /// The supervisor mends signaling within seconds by itself, so the bridge asks only after three quarters of a minute. A
    /// supervisor under a service manager is back within a second or two.
    fn default() -> Self {
        Self {
            log_every: Duration::from_secs(30),
            patience: Duration::from_secs(45),
            succession: Duration::from_secs(4),
        }
    }
}

/// What was found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The box's HTTP server answered, or did not and why.
    Probed(Result<(), String>),
    /// Some stream can be watched, or none and why.
    Streams(Result<(), String>),
    /// The supervisor lives.
    SupervisorSeen,
    /// The supervisor's process is no more.
    SupervisorGone,
    /// The restart that was asked for was, or was not, begun.
    RestartAnswered(Result<(), String>),
    /// What [`LocalHealth::poll_timeout`] announced may be due.
    Timeout,
}

/// What is to be done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// What may be said of the box is something else now.
    Changed,
    /// Log for how long HTTP has been down, and why.
    LogOutage {
        /// For how long.
        lasted: Duration,
        /// Why, as the last probe found.
        why: String,
    },
    /// Ask the supervisor to start `signaling` again; [`Input::RestartAnswered`] answers.
    RestartSignaling,
    /// Say that the session has failed, and end.
    Abandon,
}

/// What may be said of the box, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its server has not answered yet.
    Starting,
    /// A stream can be watched.
    Ready,
    /// Its server answers, and no stream can be watched.
    Online,
    /// Its server does not answer any more, or its supervisor is gone.
    Degraded,
}

/// What may be said of the box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// In one word.
    pub state: State,
    /// Why, where the word alone does not say.
    pub reason: Option<String>,
}

/// The machine.
#[derive(Debug)]
pub struct LocalHealth {
    config: Config,
    ever_answered: bool,
    outage: Option<Outage>,
    streams: Result<(), String>,
    /// When the supervisor's absence becomes final.
    orphaned_until: Option<Instant>,
    abandoned: bool,
    /// A restart was asked for and not answered.
    asking: bool,
    ask_after: Instant,
    /// When an outage is logged next, at the earliest: one that comes and goes is not logged each time.
    log_after: Instant,
    shown: View,
    now: Instant,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
struct Outage {
    since: Instant,
    why: String,
    log_at: Instant,
}

/// What [`LocalHealth::poll_timeout`] waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// An outage that lasts is logged again.
    LogDue,
    /// An outage has lasted long enough to ask for a restart of signaling.
    PatienceOver,
    /// No other supervisor has stood in for the one that is gone.
    NoSuccessor,
}

impl LocalHealth {
    /// Nothing is known yet.
    pub fn new(config: Config, now: Instant) -> Self {
        let starting = Outage {
            since: now,
            why: "it has not answered yet".to_owned(),
            log_at: now + config.log_every,
        };
        Self {
            config,
            ever_answered: false,
            outage: Some(starting),
            streams: Err("no stream has been heard of yet".to_owned()),
            orphaned_until: None,
            abandoned: false,
            asking: false,
            ask_after: now,
            log_after: now,
            shown: View {
                state: State::Starting,
                reason: None,
            },
            now,
            outputs: VecDeque::new(),
        }
    }

    /// Takes in what was found out. Drain [`poll_output`](Self::poll_output) afterwards.
    pub fn handle(&mut self, input: Input, now: Instant) {
        self.now = self.now.max(now);
        match input {
            Input::Probed(Ok(())) => {
                self.ever_answered = true;
                self.outage = None;
            }
            Input::Probed(Err(why)) => self.on_failed_probe(why),
            Input::Streams(streams) => self.streams = streams,
            Input::SupervisorSeen => self.orphaned_until = None,
            Input::SupervisorGone => {
                let until = self.now + self.config.succession;
                self.orphaned_until.get_or_insert(until);
            }
            Input::RestartAnswered(_) => self.asking = false,
            Input::Timeout => {}
        }
        self.look_at_the_clock();
        let view = self.compose();
        if view != self.shown {
            self.shown = view;
            self.outputs.push_back(Output::Changed);
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Timeout`] is due, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        if self.abandoned {
            return None;
        }
        let outage = self.outage.as_ref();
        let log = outage.map(|outage| (outage.log_at, Reason::LogDue));
        let ask = outage.filter(|_| self.may_ask());
        let ask = ask.map(|outage| (self.ask_at(outage), Reason::PatienceOver));
        let orphaned = self.orphaned_until.map(|until| (until, Reason::NoSuccessor));
        log.into_iter().chain(ask).chain(orphaned).min_by_key(|(due, _)| *due)
    }

    /// What may be said of the box.
    pub fn view(&self) -> &View {
        &self.shown
    }

    fn on_failed_probe(&mut self, why: String) {
        let log_every = self.config.log_every;
        match &mut self.outage {
            Some(outage) => outage.why = why,
            // The first line comes at once, the next ones after a while.
            None => {
                if self.now >= self.log_after {
                    self.log_after = self.now + log_every;
                    self.outputs.push_back(Output::LogOutage {
                        lasted: Duration::ZERO,
                        why: why.clone(),
                    });
                }
                self.outage = Some(Outage {
                    since: self.now,
                    why,
                    log_at: self.log_after,
                });
            }
        }
    }

    /// With the supervisor gone there is nobody to ask.
    fn may_ask(&self) -> bool {
        !self.asking && self.orphaned_until.is_none()
    }

    fn ask_at(&self, outage: &Outage) -> Instant {
        (outage.since + self.config.patience).max(self.ask_after)
    }

    fn look_at_the_clock(&mut self) {
        if self.abandoned {
            return;
        }
        if self.orphaned_until.is_some_and(|until| self.now >= until) {
            self.abandoned = true;
            self.outputs.push_back(Output::Abandon);
            return;
        }
        let now = self.now;
        if let Some(outage) = &mut self.outage
            && now >= outage.log_at
        {
            outage.log_at = now + self.config.log_every;
            self.log_after = outage.log_at;
            self.outputs.push_back(Output::LogOutage {
                lasted: now.saturating_duration_since(outage.since),
                why: outage.why.clone(),
            });
        }
        if self.may_ask() && self.outage.as_ref().is_some_and(|outage| now >= self.ask_at(outage)) {
            self.asking = true;
            self.ask_after = now + self.config.patience;
            self.outputs.push_back(Output::RestartSignaling);
        }
    }

    fn compose(&self) -> View {
        let (state, reason) = match (&self.outage, &self.streams) {
            _ if self.orphaned_until.is_some() => (State::Degraded, Some("the box's supervisor is gone".to_owned())),
            (Some(_), _) if !self.ever_answered => (State::Starting, None),
            (Some(outage), _) => {
                let reason = format!("the box's server does not answer: {}", outage.why);
                (State::Degraded, Some(reason))
            }
            (None, Ok(())) => (State::Ready, None),
            (None, Err(why)) => (State::Online, Some(why.clone())),
        };
        View { state, reason }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn down() -> Input {
        Input::Probed(Err("connection refused".into()))
    }

    fn drain(health: &mut LocalHealth) -> Vec<Output> {
        std::iter::from_fn(|| health.poll_output()).collect()
    }

    fn ready() -> (LocalHealth, Instant) {
        let now = Instant::now();
        let mut health = LocalHealth::new(Config::default(), now);
        for input in [Input::SupervisorSeen, Input::Probed(Ok(())), Input::Streams(Ok(()))] {
            health.handle(input, now);
        }
        assert_eq!(health.view().state, State::Ready);
        drain(&mut health);
        (health, now)
    }

    #[test]
    fn outage_is_told_at_once_and_mended_after_patience_once_per_patience() {
        let (mut health, start) = ready();
        let mut asked = Vec::new();
        let mut logged = 0;
        for second in 0..=100 {
            let now = start + Duration::from_secs(second);
            health.handle(down(), now);
            assert_eq!(health.view().state, State::Degraded);
            for output in drain(&mut health) {
                match output {
                    Output::RestartSignaling => {
                        asked.push(second);
                        health.handle(Input::RestartAnswered(Ok(())), now);
                    }
                    Output::LogOutage { .. } => logged += 1,
                    Output::Changed | Output::Abandon => {}
                }
            }
        }
        assert_eq!(asked, [45, 90]);
        assert_eq!(logged, 4);
        health.handle(Input::Probed(Ok(())), start + Duration::from_secs(101));
        assert_eq!(health.view().state, State::Ready);
    }

    #[test]
    fn question_that_is_not_answered_is_not_asked_twice() {
        let (mut health, start) = ready();
        health.handle(down(), start);
        for minute in 1..10 {
            health.handle(down(), start + Duration::from_secs(60 * minute));
        }
        let asked = drain(&mut health)
            .iter()
            .filter(|output| **output == Output::RestartSignaling)
            .count();
        assert_eq!(asked, 1);
    }

    #[test]
    fn supervisor_that_is_succeeded_in_time_is_no_end_and_one_that_is_not_is() {
        let (mut health, start) = ready();
        health.handle(Input::SupervisorGone, start);
        assert_eq!(health.view().state, State::Degraded);
        health.handle(Input::SupervisorSeen, start + Duration::from_secs(3));
        assert_eq!(health.view().state, State::Ready);
        health.handle(Input::SupervisorGone, start + Duration::from_secs(10));
        health.handle(Input::SupervisorGone, start + Duration::from_secs(13));
        assert!(!drain(&mut health).contains(&Output::Abandon));
        health.handle(Input::Timeout, start + Duration::from_secs(14));
        assert_eq!(drain(&mut health), [Output::Abandon]);
        assert_eq!(health.poll_timeout(), None);
    }

    #[test]
    fn source_that_is_unavailable_leaves_the_box_online() {
        let (mut health, now) = ready();
        health.handle(Input::Streams(Err("no camera".into())), now);
        let expected = View {
            state: State::Online,
            reason: Some("no camera".into()),
        };
        assert_eq!(*health.view(), expected);
    }

    proptest! {
        #[test]
        fn never_ready_for_a_box_that_can_not_serve_and_restarts_keep_their_distance(
            steps in prop::collection::vec((0_u8..8, 0_u64..20), 0..300),
        ) {
            let config = Config::default();
            let mut now = Instant::now();
            let mut health = LocalHealth::new(config, now);
            let (mut answers, mut watchable, mut orphan, mut over) = (false, false, false, false);
            let mut asked_at = None;
            for (step, seconds) in steps {
                now += Duration::from_secs(seconds);
                let input = match step {
                    0 => { answers = true; Input::Probed(Ok(())) }
                    1 | 2 => { answers = false; down() }
                    3 => { watchable = true; Input::Streams(Ok(())) }
                    4 => { watchable = false; Input::Streams(Err("none".into())) }
                    5 => { orphan = false; Input::SupervisorSeen }
                    6 => { orphan = true; Input::SupervisorGone }
                    _ => Input::RestartAnswered(Ok(())),
                };
                health.handle(input, now);
                for output in drain(&mut health) {
                    prop_assert!(!over, "{output:?} after the end");
                    match output {
                        Output::RestartSignaling => {
                            prop_assert!(!answers && !orphan);
                            prop_assert!(asked_at.is_none_or(|at| now - at >= config.patience));
                            asked_at = Some(now);
                        }
                        Output::Abandon => { prop_assert!(orphan); over = true; }
                        Output::Changed | Output::LogOutage { .. } => {}
                    }
                }
                if over { break; }
                prop_assert_eq!(health.view().state == State::Ready, answers && watchable && !orphan);
            }
        }
    }
}
