//! A box's session as the studio shows it: always one of six states, each true, none for ever but the last.
//!
//! | state | means | left by |
//! | --- | --- | --- |
//! | starting | the box is connected and has not said how it is, or its server has not answered yet | a report, its patience |
//! | ready | a stream can be watched | a report, a loss |
//! | provider-online | the box serves, and none of its streams can be watched now | a report, a loss |
//! | degraded | the box can't serve, or its link is down and it is expected back | a report, its patience |
//! | failed | it is not expected back by itself | a welcome, its patience |
//! | expired | it was stopped, or has been gone for long | a welcome |

use std::time::{Duration, Instant};

/// Patience of a [`BoxSession`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Starting for longer is degraded.
    pub starting: Duration,
    /// Without a link for longer is failed.
    pub absent: Duration,
    /// Failed for longer is expired.
    pub failed: Duration,
}

impl Default for Config {
    /// A box's own start takes seconds; a router's takes a minute or two; nobody comes back to an address after a month.
    fn default() -> Self {
        Self {
            starting: Duration::from_secs(60),
            absent: Duration::from_secs(120),
            failed: Duration::from_secs(30 * 24 * 3600),
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The box is connected and was welcomed.
    Welcomed,
    /// The box said how it is.
    Reported(Report),
    /// Its link is gone.
    Lost {
        /// Why, for a person.
        why: String,
    },
    /// It said that it goes: broken, or stopped.
    Left {
        /// Whether it is broken.
        broken: bool,
        /// Why, for a person.
        why: String,
    },
    /// What [`BoxSession::poll_timeout`] announced may be due.
    Timeout,
}

/// What a box says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// Its server has not answered yet.
    Starting,
    /// A stream can be watched.
    Ready,
    /// No stream can be watched now, and why.
    Online(String),
    /// It can't serve, and why.
    Degraded(String),
}

/// A session's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// See the module's table, as for all of them.
    Starting,
    /// A stream can be watched.
    Ready,
    /// The box serves, and no stream can be watched now.
    ProviderOnline,
    /// The box can't serve, and is expected to again.
    Degraded,
    /// It is not expected back by itself.
    Failed,
    /// It was stopped, or has been gone for long.
    Expired,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Starting,
        Self::Ready,
        Self::ProviderOnline,
        Self::Degraded,
        Self::Failed,
        Self::Expired,
    ];

    /// The state in one word, for JSON, pages and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::ProviderOnline => "provider-online",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }

    /// What happens next, in words.
    pub fn next(self) -> &'static str {
        match self {
            Self::Starting => "It is coming up. This takes some seconds.",
            Self::Ready => "Watch.",
            Self::ProviderOnline => "The picture appears here as soon as there is one.",
            Self::Degraded => "It is being mended. The picture returns by itself.",
            Self::Failed => "Somebody has to look after the box. When it is back, so is the picture, at this address.",
            Self::Expired => "When it is started again, the picture is back at this address.",
        }
    }
}

/// How a session stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// In one word.
    pub state: State,
    /// Why, where the word alone does not say.
    pub reason: Option<String>,
    /// Whether the box has a link.
    pub linked: bool,
    /// Since when it is so.
    pub since: Instant,
}

/// What [`BoxSession::poll_timeout`] waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The box is connected, and its server has not come up.
    StartOverdue,
    /// The box has been away for too long.
    Absent,
    /// It has failed so long ago that its session is over.
    Expiry,
}

/// The machine.
#[derive(Debug)]
pub struct BoxSession {
    config: Config,
    state: State,
    reason: Option<String>,
    linked: bool,
    since: Instant,
    /// When patience ends.
    deadline: Option<Instant>,
    now: Instant,
}

impl BoxSession {
    /// The session of a box that is not connected: new, or as a studio that starts again finds it in its records.
    pub fn restore(config: Config, state: State, reason: Option<String>, now: Instant) -> Self {
        let mut session = Self {
            config,
            state,
            reason,
            linked: false,
            since: now,
            deadline: None,
            now,
        };
        match state {
            State::Expired => {}
            State::Failed => session.deadline = Some(now + config.failed),
            State::Starting | State::Ready | State::ProviderOnline | State::Degraded => {
                session.enter(
                    State::Degraded,
                    Some("The box has not come back yet since the studio was started.".to_owned()),
                );
            }
        }
        session
    }

    /// Takes in what happened; true if what is shown has changed.
    pub fn handle(&mut self, input: Input, now: Instant) -> bool {
        self.now = self.now.max(now);
        match input {
            Input::Welcomed => {
                self.linked = true;
                self.enter(State::Starting, None)
            }
            Input::Reported(report) if self.linked => self.on_report(report),
            Input::Reported(_) => false,
            Input::Lost { why } => self.on_lost(&why),
            Input::Left { broken, why } => {
                let state = if broken { State::Failed } else { State::Expired };
                self.linked = false;
                self.enter(state, Some(why))
            }
            Input::Timeout => self.on_timeout(),
        }
    }

    /// When [`Input::Timeout`] is due, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let reason = match self.state {
            State::Starting => Reason::StartOverdue,
            State::Degraded => Reason::Absent,
            State::Failed => Reason::Expiry,
            State::Ready | State::ProviderOnline | State::Expired => return None,
        };
        Some((self.deadline?, reason))
    }

    /// How it stands.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            state: self.state,
            reason: self.reason.clone(),
            linked: self.linked,
            since: self.since,
        }
    }

    fn on_report(&mut self, report: Report) -> bool {
        match report {
            // Still coming up: no news, and no new patience either. After anything else it is a step back, and true.
            Report::Starting if self.state == State::Starting => false,
            Report::Starting if self.state == State::Degraded => false,
            Report::Starting => self.enter(State::Starting, None),
            Report::Ready => self.enter(State::Ready, None),
            Report::Online(why) => self.enter(State::ProviderOnline, Some(why)),
            Report::Degraded(why) => self.enter(State::Degraded, Some(why)),
        }
    }

    fn on_lost(&mut self, why: &str) -> bool {
        if !std::mem::take(&mut self.linked) {
            return false;
        }
        let reason = format!("The box's link is down ({why}); it connects again by itself.");
        self.enter(State::Degraded, Some(reason))
    }

    fn on_timeout(&mut self) -> bool {
        if self.deadline.is_none_or(|deadline| self.now < deadline) {
            return false;
        }
        match self.state {
            State::Starting => {
                let reason = "The box is connected, but its server has not come up.".to_owned();
                self.enter(State::Degraded, Some(reason))
            }
            State::Degraded => {
                let minutes = self.config.absent.as_secs().div_ceil(60);
                let reason = format!("Nothing has been heard of the box for over {minutes} min.");
                self.enter(State::Failed, Some(reason))
            }
            State::Failed => self.enter(State::Expired, self.reason.clone()),
            State::Ready | State::ProviderOnline | State::Expired => false,
        }
    }

    fn enter(&mut self, state: State, reason: Option<String>) -> bool {
        let changed = self.state != state || self.reason != reason;
        if self.state != state {
            self.since = self.now;
        }
        let waits_for_link = state == State::Degraded && !self.linked;
        let patience = match state {
            State::Starting => Some(self.config.starting),
            State::Degraded => waits_for_link.then_some(self.config.absent),
            State::Failed => Some(self.config.failed),
            // A link that goes quiet is lost, so what a linked box last said needs no deadline of its own.
            State::Ready | State::ProviderOnline | State::Expired => None,
        };
        self.deadline = patience.map(|patience| self.now + patience);
        (self.state, self.reason) = (state, reason);
        changed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lost() -> Input {
        Input::Lost { why: "reset".into() }
    }

    fn linked() -> (BoxSession, Instant) {
        let now = Instant::now();
        let mut session = BoxSession::restore(Config::default(), State::Expired, None, now);
        assert!(session.handle(Input::Welcomed, now));
        (session, now)
    }

    #[test]
    fn starting_does_not_last() {
        let (mut session, start) = linked();
        for second in 0..60 {
            session.handle(Input::Reported(Report::Starting), start + Duration::from_secs(second));
        }
        assert_eq!(session.snapshot().state, State::Starting);
        assert!(session.handle(Input::Timeout, start + Duration::from_secs(60)));
        assert_eq!(session.snapshot().state, State::Degraded);
        session.handle(Input::Reported(Report::Starting), start + Duration::from_secs(61));
        assert_eq!(session.snapshot().state, State::Degraded);
        session.handle(Input::Reported(Report::Ready), start + Duration::from_secs(62));
        assert_eq!(session.snapshot().state, State::Ready);
    }

    #[test]
    fn box_that_is_gone_is_degraded_then_failed_then_expired_and_back_at_once() {
        let (mut session, start) = linked();
        session.handle(Input::Reported(Report::Ready), start);
        session.handle(lost(), start);
        assert_eq!(session.snapshot().state, State::Degraded);
        for expected in [State::Failed, State::Expired] {
            let (due, _) = session.poll_timeout().unwrap();
            assert!(session.handle(Input::Timeout, due));
            assert_eq!(session.snapshot().state, expected);
        }
        assert_eq!(session.poll_timeout(), None);
        session.handle(Input::Welcomed, start);
        session.handle(Input::Reported(Report::Ready), start);
        assert_eq!(session.snapshot().state, State::Ready);
    }

    #[test]
    fn last_words_outlive_the_link() {
        for (broken, expected) in [(true, State::Failed), (false, State::Expired)] {
            let (mut session, now) = linked();
            let why = "the supervisor is gone".to_owned();
            session.handle(
                Input::Left {
                    broken,
                    why: why.clone(),
                },
                now,
            );
            assert!(!session.handle(lost(), now));
            let snapshot = session.snapshot();
            assert_eq!((snapshot.state, snapshot.reason), (expected, Some(why)));
        }
    }

    fn any_input() -> impl Strategy<Value = Input> {
        prop_oneof![
            Just(Input::Welcomed),
            Just(Input::Reported(Report::Starting)),
            Just(Input::Reported(Report::Ready)),
            Just(Input::Reported(Report::Online("no camera".into()))),
            Just(Input::Reported(Report::Degraded("no HTTP".into()))),
            Just(lost()),
            any::<bool>().prop_map(|broken| Input::Left {
                broken,
                why: "bye".into()
            }),
            Just(Input::Timeout),
        ]
    }

    proptest! {
        #[test]
        fn what_is_shown_is_true_and_nothing_is_for_ever(
            steps in prop::collection::vec((any_input(), 0_u64..100), 0..100),
            first in prop::sample::select(&State::ALL[..]),
        ) {
            let mut now = Instant::now();
            let mut session = BoxSession::restore(Config::default(), first, None, now);
            for (input, seconds) in steps {
                now += Duration::from_secs(seconds);
                session.handle(input, now);
                let shown = session.snapshot();
                let claims_a_link = matches!(
                    shown.state,
                    State::Starting | State::Ready | State::ProviderOnline
                );
                prop_assert!(!claims_a_link || shown.linked, "{shown:?}");
                let may_last = shown.linked || shown.state == State::Expired;
                prop_assert!(may_last || session.poll_timeout().is_some(), "{shown:?}");
                prop_assert!(shown.state != State::Starting || session.poll_timeout().is_some());
            }
            // Left alone without its link, it ends.
            session.handle(lost(), now);
            while let Some((due, _)) = session.poll_timeout() {
                session.handle(Input::Timeout, due.max(now));
                now = now.max(due);
                if session.snapshot().linked { break; }
            }
            prop_assert!(session.snapshot().state == State::Expired);
        }
    }
}
