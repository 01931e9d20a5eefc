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
//! An unavailable source is opened again when its backoff is over, or at once when what could not be reached answers again; one
//! that nobody wants any more stays unavailable until an attempt gives a picture. A pause is told in place of all states but those.
//! A source that nobody wants is tried now and then (probed), and closed again after its first picture. A failure is told, and so is
//! the first picture after one, for the linger; a probe that finds what is known already is not. A source that hangs is in none of
//! these states for long: its process is ended by a watchdog ([`StageWatch`](crate::stage_watch::StageWatch)) and started anew.

#[cfg(test)]
mod tests;

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

    /// Retries of a source that sends to us when it likes: what it sends while nobody listens is lost.
    pub const RETRY_LISTENING: backoff::Config = backoff::Config {
        cap: Self::RETRY.base,
        ..Self::RETRY
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
        /// What kind of failure it was.
        failure: Failure,
    },
    /// What could not be reached takes connections again.
    Answers,
    /// The time that [`SourceLife::poll_timeout`] named has come.
    Timeout,
}

/// Why a source could not be opened, or ended, as far as it changes when it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Anything else.
    Other,
    /// It takes no connection.
    Unreachable,
    /// It refuses the user or the password.
    Refused,
}

/// So often a password that was refused is tried again as anything else would be: it may have been set this very moment.
/// Cameras lock their user out after five.
const REFUSALS: u32 = 3;

/// How long a password that was refused that often is left alone. Cameras count wrong ones for some minutes.
const REFUSED_WAIT: Duration = Duration::from_secs(300);

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
    /// Closed, because nobody has wanted it yet, and never seen: whether it can be opened is not known.
    Untried,
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
    /// It has given a picture in this life.
    is_known: bool,
    /// Why and when it could not be opened or ended, until it gives a picture.
    failed: Option<(String, Instant)>,
    /// What kind of failure that was.
    failure: Failure,
    /// How often it refused the password since it gave a picture.
    refusals: u32,
    /// It is not tried again before, whoever wants it.
    not_before: Option<Instant>,
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
            is_known: false,
            failed: None,
            failure: Failure::Other,
            refusals: 0,
            not_before: None,
            announced: State::Untried,
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
            (Phase::Idle | Phase::Closing, _) if self.is_known => State::Idle,
            (Phase::Idle | Phase::Closing, _) => State::Untried,
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
                    self.open_or_wait(now);
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
                    if self.failure == Failure::Unreachable {
                        // What it was waited for is over: it was off, and not broken.
                        self.backoff.reset();
                    }
                    (self.failed, self.failure) = (None, Failure::Other);
                    (self.refusals, self.not_before) = (0, None);
                    self.backoff.succeeded(now);
                    self.probed(now);
                    (self.has_shown, self.is_known) = (true, true);
                }
            }
            Input::Ended { reason, failure } => self.ended(reason, failure, now),
            Input::Answers => {
                if self.is_unreachable() {
                    self.open();
                }
            }
            Input::Timeout => self.on_timeout(now),
        }
        self.announce();
    }

    /// Whether it waits for something that takes no connection: [`Input::Answers`] would be news.
    pub fn is_unreachable(&self) -> bool {
        matches!(self.phase, Phase::Unavailable { .. }) && self.failure == Failure::Unreachable
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
        let probe_at = self.config.probe.map(|probe| now + probe);
        self.probe_at = probe_at.map(|due| self.not_before.map_or(due, |earliest| due.max(earliest)));
    }

    /// Opens it for somebody who has just come, unless it has to be left alone.
    fn open_or_wait(&mut self, now: Instant) {
        match (self.not_before.filter(|due| *due > now), &self.failed) {
            (Some(retry_at), Some((reason, _))) => {
                let reason = reason.clone();
                self.phase = Phase::Unavailable { reason, retry_at };
            }
            (Some(_), None) | (None, _) => self.open(),
        }
    }

    fn ended(&mut self, reason: String, failure: Failure, now: Instant) {
        match self.phase {
            Phase::Closing if self.wanted => self.open_or_wait(now),
            Phase::Closing => self.rest(now),
            Phase::Opening | Phase::Live => {
                if std::mem::replace(&mut self.failure, failure) != failure {
                    // It is there again, or fails for another reason: what was waited for is over.
                    self.backoff.reset();
                }
                self.refusals += u32::from(failure == Failure::Refused);
                if failure == Failure::Refused && self.refusals >= REFUSALS {
                    self.not_before = Some(now + REFUSED_WAIT);
                }
                self.failed = Some((reason.clone(), now));
                self.has_shown = false;
                if self.probing {
                    self.rest(now);
                } else {
                    let retry_at = now + self.backoff.next_delay(now);
                    let retry_at = self.not_before.map_or(retry_at, |earliest| retry_at.max(earliest));
                    self.phase = Phase::Unavailable { reason, retry_at };
                }
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
