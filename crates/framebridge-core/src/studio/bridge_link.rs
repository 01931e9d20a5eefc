//! The box's end of its link to a studio.
//!
//! | state | left by |
//! | --- | --- |
//! | waiting | its delay, a command |
//! | connecting | the connection, its failure, its deadline, a command |
//! | greeting | `welcome`, a refusal, a loss, its deadline, a command |
//! | online | a loss, silence, a refusal, a command |
//! | ended | nothing: the process ends |

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::backoff::{self, Backoff};

/// Times of a [`BridgeLink`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// The wait between attempts. Only a welcome resets it.
    pub backoff: backoff::Config,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long the studio may take to say `welcome`.
    pub greeting_timeout: Duration,
    /// Silence while online after which the link is dead, whatever TCP thinks.
    pub read_idle: Duration,
    /// How often gathered log lines are sent while online.
    pub log_flush: Duration,
    /// How long a studio that put the box off is left alone: somebody has to mend something there, and it need not be
    /// somebody here who says that it was mended.
    pub put_off: Duration,
    /// Failed attempts in a row after which it ends; `None`: never.
    pub attempts: Option<u32>,
}

impl Default for Config {
    /// Attempts follow each other within seconds, for a router restarts in a minute; half a minute apart at most, so that a studio
    /// that comes back has its boxes within that. Silence of 20 s is several heartbeats.
    fn default() -> Self {
        Self {
            backoff: backoff::Config {
                base: Duration::from_secs(1),
                factor: 2.0,
                cap: Duration::from_secs(30),
                jitter: 0.3,
                reset_after: Duration::ZERO,
            },
            connect_timeout: Duration::from_secs(10),
            greeting_timeout: Duration::from_secs(10),
            read_idle: Duration::from_secs(20),
            log_flush: Duration::from_secs(1),
            put_off: Duration::from_secs(3600),
            attempts: None,
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The connection is there.
    Connected,
    /// No connection came about, or the one there was is gone.
    Lost {
        /// Why, for a person.
        why: String,
    },
    /// A frame came, whichever.
    Received,
    /// The studio said `welcome`.
    Welcomed {
        /// How often it wants a heartbeat.
        heartbeat: Duration,
    },
    /// The studio sent the box away for good.
    Refused {
        /// Why, for a person.
        why: String,
    },
    /// The studio does not want the box now.
    PutOff {
        /// Why, for a person.
        why: String,
    },
    /// What a heartbeat says has changed.
    News,
    /// Connect anew, now.
    Reconnect,
    /// Say goodbye and end.
    Stop,
    /// What [`BridgeLink::poll_timeout`] announced may be due.
    Timeout,
}

/// What is to be done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Open a connection; [`Connected`](Input::Connected) or [`Lost`](Input::Lost) answers.
    Connect,
    /// Send `hello`.
    SendHello,
    /// Send a heartbeat.
    SendHeartbeat,
    /// Send the log lines there are.
    FlushLogs,
    /// Send `goodbye`.
    SendGoodbye,
    /// Drop the connection, or the attempt at one. It is not reported as lost.
    Disconnect {
        /// Why, for the close frame and the log.
        why: String,
    },
    /// The state is another one, or its reason is.
    Changed(State),
    /// It is over.
    End(End),
}

/// Where a link is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Between two attempts.
    Waiting {
        /// Why the last one failed.
        why: String,
        /// Failed attempts in a row.
        attempts: u32,
    },
    /// Opening a connection.
    Connecting,
    /// Connected, and not yet welcome.
    Greeting,
    /// Welcome.
    Online,
    /// Over.
    Ended,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// As asked.
    Stopped,
    /// The studio does not want this box.
    Refused {
        /// Its reason.
        why: String,
    },
    /// As many attempts failed as were allowed.
    OutOfAttempts {
        /// Why the last one failed.
        why: String,
    },
}

/// What [`BridgeLink::poll_timeout`] waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The wait before the next attempt is over: after a failure, or because the studio put the box off.
    BackoffOver,
    /// No connection has come about.
    ConnectOverdue,
    /// The studio has not said `welcome`.
    WelcomeOverdue,
    /// The next heartbeat is to be sent.
    BeatDue,
    /// Nothing came for too long.
    Silent,
    /// Gathered log lines are to be sent.
    FlushDue,
}

/// The machine.
#[derive(Debug)]
pub struct BridgeLink {
    config: Config,
    backoff: Backoff,
    phase: Phase,
    /// Failed attempts since the last welcome.
    attempts: u32,
    now: Instant,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
enum Phase {
    Waiting { until: Instant, why: String },
    Connecting { deadline: Instant },
    Greeting { deadline: Instant },
    Online(Online),
    Ended,
}

#[derive(Debug)]
struct Online {
    heartbeat: Duration,
    beat_at: Instant,
    idle_at: Instant,
    flush_at: Instant,
}

/// A studio's wish outside of this is bent into it: it must fit several times into the other side's patience.
const HEARTBEAT: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(10);

impl BridgeLink {
    /// A link that connects at once. `seed` spreads its attempts.
    pub fn new(config: Config, now: Instant, seed: u64) -> Self {
        let mut link = Self {
            backoff: Backoff::new(config.backoff, seed),
            config,
            phase: Phase::Ended,
            attempts: 0,
            now,
            outputs: VecDeque::new(),
        };
        link.connect();
        link
    }

    /// Takes in what happened. Drain [`poll_output`](Self::poll_output) afterwards.
    pub fn handle(&mut self, input: Input, now: Instant) {
        self.now = self.now.max(now);
        if matches!(self.phase, Phase::Ended) {
            return;
        }
        match input {
            Input::Connected => self.on_connected(),
            Input::Lost { why } => {
                if self.has_connection() {
                    self.fail(why);
                }
            }
            Input::Received => {
                if let Phase::Online(online) = &mut self.phase {
                    online.idle_at = self.now + self.config.read_idle;
                }
            }
            Input::Welcomed { heartbeat } => self.on_welcomed(heartbeat),
            Input::Refused { why } => {
                if self.has_connection() {
                    self.disconnect(why.clone());
                    self.end(End::Refused { why });
                }
            }
            Input::PutOff { why } => {
                if self.has_connection() {
                    self.disconnect(why.clone());
                    self.attempts = self.attempts.saturating_add(1);
                    let until = self.now + self.config.put_off;
                    self.enter(Phase::Waiting { until, why });
                }
            }
            Input::News => {
                if let Phase::Online(online) = &mut self.phase {
                    online.beat_at = self.now;
                    self.on_timeout();
                }
            }
            Input::Reconnect => self.on_reconnect(),
            Input::Stop => self.on_stop(),
            Input::Timeout => self.on_timeout(),
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Timeout`] is due, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        match &self.phase {
            Phase::Waiting { until, .. } => Some((*until, Reason::BackoffOver)),
            Phase::Connecting { deadline } => Some((*deadline, Reason::ConnectOverdue)),
            Phase::Greeting { deadline } => Some((*deadline, Reason::WelcomeOverdue)),
            Phase::Online(online) => [
                (online.beat_at, Reason::BeatDue),
                (online.idle_at, Reason::Silent),
                (online.flush_at, Reason::FlushDue),
            ]
            .into_iter()
            .min_by_key(|(due, _)| *due),
            Phase::Ended => None,
        }
    }

    /// Where it is in its life.
    pub fn state(&self) -> State {
        match &self.phase {
            Phase::Waiting { why, .. } => State::Waiting {
                why: why.clone(),
                attempts: self.attempts,
            },
            Phase::Connecting { .. } => State::Connecting,
            Phase::Greeting { .. } => State::Greeting,
            Phase::Online(_) => State::Online,
            Phase::Ended => State::Ended,
        }
    }

    fn has_connection(&self) -> bool {
        matches!(
            self.phase,
            Phase::Connecting { .. } | Phase::Greeting { .. } | Phase::Online(_)
        )
    }

    fn on_connected(&mut self) {
        if matches!(self.phase, Phase::Connecting { .. }) {
            let deadline = self.now + self.config.greeting_timeout;
            self.enter(Phase::Greeting { deadline });
            self.outputs.push_back(Output::SendHello);
        }
    }

    fn on_welcomed(&mut self, heartbeat: Duration) {
        if !matches!(self.phase, Phase::Greeting { .. }) {
            return;
        }
        self.attempts = 0;
        self.backoff.succeeded(self.now);
        self.enter(Phase::Online(Online {
            heartbeat: heartbeat.clamp(*HEARTBEAT.start(), *HEARTBEAT.end()),
            beat_at: self.now,
            idle_at: self.now + self.config.read_idle,
            flush_at: self.now + self.config.log_flush,
        }));
        self.on_timeout();
    }

    fn on_reconnect(&mut self) {
        if self.has_connection() {
            self.disconnect("asked to reconnect".to_owned());
        }
        self.connect();
    }

    fn on_stop(&mut self) {
        if matches!(self.phase, Phase::Online(_)) {
            self.outputs.push_back(Output::FlushLogs);
            self.outputs.push_back(Output::SendGoodbye);
        }
        if self.has_connection() {
            self.disconnect("stopping".to_owned());
        }
        self.end(End::Stopped);
    }

    fn on_timeout(&mut self) {
        let now = self.now;
        match &mut self.phase {
            Phase::Waiting { until, .. } if now >= *until => self.connect(),
            Phase::Connecting { deadline } if now >= *deadline => {
                self.give_up("the studio can't be reached in time".to_owned());
            }
            Phase::Greeting { deadline } if now >= *deadline => {
                self.give_up("the studio did not say welcome in time".to_owned());
            }
            Phase::Online(online) if now >= online.idle_at => {
                let idle = self.config.read_idle.as_secs_f64();
                self.give_up(format!("nothing came from the studio for {idle} s"));
            }
            Phase::Online(online) => {
                if now >= online.beat_at {
                    online.beat_at = now + online.heartbeat;
                    self.outputs.push_back(Output::SendHeartbeat);
                }
                if now >= online.flush_at {
                    online.flush_at = now + self.config.log_flush;
                    self.outputs.push_back(Output::FlushLogs);
                }
            }
            Phase::Waiting { .. } | Phase::Connecting { .. } | Phase::Greeting { .. } | Phase::Ended => {}
        }
    }

    fn connect(&mut self) {
        let deadline = self.now + self.config.connect_timeout;
        self.enter(Phase::Connecting { deadline });
        self.outputs.push_back(Output::Connect);
    }

    fn disconnect(&mut self, why: String) {
        self.outputs.push_back(Output::Disconnect { why });
    }

    fn give_up(&mut self, why: String) {
        self.disconnect(why.clone());
        self.fail(why);
    }

    /// The connection is gone: wait, then try again, unless that was the last attempt.
    fn fail(&mut self, why: String) {
        self.attempts = self.attempts.saturating_add(1);
        if self.config.attempts.is_some_and(|most| self.attempts >= most) {
            return self.end(End::OutOfAttempts { why });
        }
        let until = self.now + self.backoff.next_delay(self.now);
        self.enter(Phase::Waiting { until, why });
    }

    fn end(&mut self, end: End) {
        self.enter(Phase::Ended);
        self.outputs.push_back(Output::End(end));
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        let state = self.state();
        self.outputs.push_back(Output::Changed(state));
    }
}

#[cfg(test)]
#[path = "bridge_link/tests.rs"]
mod tests;
