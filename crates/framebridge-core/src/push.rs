//! Sending a stream on to a receiver elsewhere (WHIP, RFC 9725): when it is offered, when again, and what is said of it meanwhile.
//! It never gives up: what was wrong with a receiver may be mended at any time, and nobody tells us.

use std::{
    collections::VecDeque,
    fmt,
    time::{Duration, Instant},
};

use framebridge_proto::status::PushState;

use crate::backoff::{self, Backoff};

/// Pauses after what may pass in a moment: the receiver restarts, or the network fails.
const SOON: backoff::Config = backoff::Config {
    base: Duration::from_secs(1),
    factor: 2.0,
    cap: Duration::from_secs(30),
    jitter: 0.2,
    reset_after: Duration::from_secs(60),
};

/// Pauses after a refusal that a person has to resolve: receivers lock out clients that ask with a wrong token too often.
const LATER: backoff::Config = backoff::Config {
    base: Duration::from_secs(15),
    factor: 2.0,
    cap: Duration::from_secs(300),
    jitter: 0.2,
    reset_after: Duration::from_secs(60),
};

/// The pause before a stream without a picture is looked at again: the attempt before has waited for one already.
const PICTURE_PAUSE: Duration = Duration::from_secs(1);

/// How long a push stays ended after an operator has ended it by hand.
const KICKED_PAUSE: Duration = Duration::from_secs(600);

/// A receiver's word on when to come back is heeded up to this: a mistake there must not end a push for a day.
const LONGEST_WORD: Duration = Duration::from_secs(3600);

/// Places that one offer is sent on to. A receiver has one or two: the nearest node, and what that one stands before.
const MOST_HOPS: u8 = 3;

/// What happens to a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// [`Push::poll_timeout`] has passed.
    Timeout,
    /// What came of the offer.
    Answered(Answer),
    /// The session's life went on.
    Session(Session),
    /// An operator ends it for now.
    Kick,
    /// The operator has read the configuration again: what one has ended begins again.
    Resume,
    /// Why the stream has no picture; `None`: it has one.
    Picture(Option<String>),
    /// It is not wanted any more.
    End,
}

/// What came of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The receiver has agreed, and a session has begun.
    Taken,
    /// The stream has no picture, so nothing was offered; why.
    NoPicture(String),
    /// The receiver can't be reached; why.
    Unreachable(String),
    /// It redirects.
    Redirected {
        /// To the same host, by the same or a safer scheme.
        is_same_host: bool,
    },
    /// It answers something else.
    Status {
        /// HTTP's.
        code: u16,
        /// When it may be asked again, by its own word.
        retry_after: Option<Duration>,
    },
    /// It agrees, in words that can't be used; why.
    Unusable(String),
    /// It agrees, and there is no place for the session here; why.
    NoPlace(String),
}

/// Where the session with the receiver is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Session {
    /// Media goes there.
    Live,
    /// Nothing was heard from there for a while.
    Silent,
    /// It has ended; how.
    Ended(String),
}

/// What a push wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Make an offer at the configured address. One answer is to come.
    Offer,
    /// Make the same offer where the receiver led. One answer is to come.
    Follow,
    /// End what there is: an offer under way, the session here, and the one there.
    Leave,
}

/// Why [`Push::poll_timeout`] is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The next attempt.
    Retry,
}

/// How a push is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// In a word.
    pub state: PushState,
    /// What is wrong and what to do, where anything is.
    pub reason: Option<String>,
    /// Until the next attempt.
    pub retry_in: Option<Duration>,
}

/// What keeps a push from being live.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trouble {
    NoPicture(String),
    Unreachable(String),
    Refused(u16),
    Unusable(String),
    NoPlace(String),
    Elsewhere,
    Astray,
    NotConnected(String),
    Lost(String),
    Kicked,
}

/// When a trouble is looked at again.
enum Pace {
    Fixed(Duration),
    /// By [`SOON`].
    Soon,
    /// By [`LATER`].
    Later,
}

#[derive(Debug)]
enum Stage {
    /// An offer is on its way.
    Asking {
        /// How often it was sent on.
        hops: u8,
        /// What kept the one before from being taken: it is shown until it is known to be over.
        after: Option<Trouble>,
    },
    /// Agreed on, and not connected yet.
    Connecting,
    Live,
    Silent,
    /// Nothing is under way until then.
    Waiting {
        until: Instant,
        trouble: Trouble,
    },
    Over,
}

/// One push.
#[derive(Debug)]
pub struct Push {
    stage: Stage,
    soon: Backoff,
    later: Backoff,
    /// Why there is nothing to send, though there may be a session.
    absence: Option<String>,
    outputs: VecDeque<Output>,
}

impl Push {
    /// One that begins; `seed` is for the jitter of its pauses.
    pub fn new(seed: u64) -> Self {
        let mut push = Self::at(Stage::Over, seed);
        push.offer(None);
        push
    }

    /// One whose session an earlier process has left, which goes on.
    pub fn resumed(seed: u64) -> Self {
        Self::at(Stage::Live, seed)
    }

    fn at(stage: Stage, seed: u64) -> Self {
        Self {
            stage,
            soon: Backoff::new(SOON, seed),
            later: Backoff::new(LATER, seed.wrapping_add(1)),
            absence: None,
            outputs: VecDeque::new(),
        }
    }

    /// Takes in what happened.
    pub fn handle(&mut self, input: Input, now: Instant) {
        match (input, &self.stage) {
            (_, Stage::Over) => {}
            (Input::Picture(absence), _) => self.absence = absence,
            (Input::Timeout, Stage::Waiting { until, trouble }) if *until <= now => self.offer(Some(trouble.clone())),
            (
                Input::Resume,
                Stage::Waiting {
                    trouble: Trouble::Kicked,
                    ..
                },
            ) => {
                self.soon.reset();
                self.later.reset();
                self.offer(None);
            }
            (Input::Answered(answer), Stage::Asking { hops, after }) => {
                let before = (*hops, after.clone());
                self.on_answer(answer, before, now);
            }
            (Input::Session(session), Stage::Connecting | Stage::Live | Stage::Silent) => self.on_session(session, now),
            (Input::Kick, Stage::Waiting { .. }) => self.wait(Trouble::Kicked, None, now),
            (Input::Kick, _) => {
                self.outputs.push_back(Output::Leave);
                self.wait(Trouble::Kicked, None, now);
            }
            (Input::End, stage) => {
                if !matches!(stage, Stage::Waiting { .. }) {
                    self.outputs.push_back(Output::Leave);
                }
                self.stage = Stage::Over;
            }
            // Too early, twice, or of what was left meanwhile.
            (Input::Timeout | Input::Resume | Input::Answered(_) | Input::Session(_), _) => {}
        }
    }

    /// What follows.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Timeout`] is due.
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        match &self.stage {
            Stage::Waiting { until, .. } => Some((*until, Reason::Retry)),
            Stage::Asking { .. } | Stage::Connecting | Stage::Live | Stage::Silent | Stage::Over => None,
        }
    }

    /// Whether its source is to be open: whatever is wrong elsewhere, it begins at once when that is over. What an operator has
    /// ended costs nothing.
    pub fn wants_source(&self) -> bool {
        match &self.stage {
            Stage::Waiting { trouble, .. } => *trouble != Trouble::Kicked,
            Stage::Over => false,
            Stage::Asking { .. } | Stage::Connecting | Stage::Live | Stage::Silent => true,
        }
    }

    /// Whether it is not wanted any more.
    pub fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// How it is.
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        if let (Stage::Live | Stage::Silent, Some(why)) = (&self.stage, &self.absence) {
            let trouble = Trouble::NoPicture(why.clone());
            return Snapshot {
                state: trouble.state(),
                reason: Some(trouble.to_string()),
                retry_in: None,
            };
        }
        let (state, trouble, retry_in) = match &self.stage {
            Stage::Asking {
                after: Some(trouble), ..
            } => (trouble.state(), Some(trouble), None),
            Stage::Asking { after: None, .. } | Stage::Connecting | Stage::Over => (PushState::Connecting, None, None),
            Stage::Live => (PushState::Live, None, None),
            Stage::Silent => {
                let reason = "nothing is heard from the receiver; if that goes on, the session is begun anew";
                return Snapshot {
                    state: PushState::Silent,
                    reason: Some(reason.to_owned()),
                    retry_in: None,
                };
            }
            Stage::Waiting { until, trouble } => {
                let left = until.saturating_duration_since(now);
                (trouble.state(), Some(trouble), Some(left))
            }
        };
        Snapshot {
            state,
            reason: trouble.map(Trouble::to_string),
            retry_in,
        }
    }

    fn offer(&mut self, after: Option<Trouble>) {
        let after = after.filter(|trouble| *trouble != Trouble::Kicked);
        self.stage = Stage::Asking { hops: 0, after };
        self.outputs.push_back(Output::Offer);
    }

    fn on_answer(&mut self, answer: Answer, (hops, after): (u8, Option<Trouble>), now: Instant) {
        let (trouble, word) = match answer {
            Answer::Taken => {
                self.stage = Stage::Connecting;
                return;
            }
            Answer::Redirected { is_same_host: true } if hops < MOST_HOPS => {
                self.stage = Stage::Asking { hops: hops + 1, after };
                self.outputs.push_back(Output::Follow);
                return;
            }
            Answer::Redirected { is_same_host: true } => (Trouble::Astray, None),
            Answer::Redirected { is_same_host: false } => (Trouble::Elsewhere, None),
            Answer::NoPicture(why) => (Trouble::NoPicture(why), None),
            Answer::Unreachable(why) => (Trouble::Unreachable(why), None),
            Answer::Status { code, retry_after } => (Trouble::Refused(code), retry_after),
            Answer::Unusable(why) => (Trouble::Unusable(why), None),
            Answer::NoPlace(why) => (Trouble::NoPlace(why), None),
        };
        self.wait(trouble, word, now);
    }

    fn on_session(&mut self, session: Session, now: Instant) {
        let was_connected = !matches!(self.stage, Stage::Connecting);
        match session {
            Session::Live => {
                self.soon.succeeded(now);
                self.later.reset();
                self.stage = Stage::Live;
            }
            Session::Silent if was_connected => self.stage = Stage::Silent,
            Session::Silent => {}
            Session::Ended(how) => {
                // The receiver may not know of it, and keeps the place.
                self.outputs.push_back(Output::Leave);
                let trouble = if was_connected {
                    Trouble::Lost
                } else {
                    Trouble::NotConnected
                };
                self.wait(trouble(how), None, now);
            }
        }
    }

    /// Nothing is done for as long as this trouble, and the receiver's own word, want it so.
    fn wait(&mut self, trouble: Trouble, word: Option<Duration>, now: Instant) {
        let pause = match trouble.pace() {
            Pace::Fixed(pause) => pause,
            Pace::Later => self.later.next_delay(now),
            Pace::Soon => self.soon.next_delay(now),
        };
        let word = word.unwrap_or_default().min(LONGEST_WORD);
        self.stage = Stage::Waiting {
            until: now + pause.max(word),
            trouble,
        };
    }
}

impl Trouble {
    fn state(&self) -> PushState {
        match self {
            Self::NoPicture(_) => PushState::Waiting,
            Self::Unreachable(_) | Self::NotConnected(_) | Self::Lost(_) => PushState::Unreachable,
            Self::Refused(401 | 403) => PushState::Unauthorized,
            Self::Refused(404 | 410) => PushState::NotFound,
            Self::Refused(409) => PushState::Conflict,
            Self::Refused(400 | 406 | 415 | 422) | Self::Unusable(_) => PushState::Unacceptable,
            Self::Refused(_) | Self::NoPlace(_) | Self::Elsewhere | Self::Astray => PushState::Failed,
            Self::Kicked => PushState::Kicked,
        }
    }

    /// When it is tried again: later where it takes somebody to end it.
    fn pace(&self) -> Pace {
        match self {
            Self::NoPicture(_) => Pace::Fixed(PICTURE_PAUSE),
            Self::Kicked => Pace::Fixed(KICKED_PAUSE),
            Self::Refused(404 | 408..=410 | 425 | 429 | 500..) => Pace::Soon,
            Self::Refused(_) | Self::Unusable(_) | Self::Elsewhere | Self::Astray => Pace::Later,
            Self::Unreachable(_) | Self::NoPlace(_) | Self::NotConnected(_) | Self::Lost(_) => Pace::Soon,
        }
    }
}

impl fmt::Display for Trouble {
    /// What is wrong, and what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPicture(why) => write!(f, "the stream has no picture to send: {why}"),
            Self::Unreachable(why) => write!(f, "the receiver can't be reached: {why}"),
            Self::Refused(code @ (401 | 403)) => write!(
                f,
                "the receiver does not let us publish ({code}): set `token` of this push to one that may"
            ),
            Self::Refused(code @ (404 | 410)) => write!(
                f,
                "the receiver has nothing at this address ({code}): mend the path in `url`, or create the stream there"
            ),
            Self::Refused(409) => f.write_str(
                "another publishes there, or the stream there is not for publishers (409): end the other, or push to another path",
            ),
            Self::Refused(code @ (400 | 406 | 415 | 422)) => write!(
                f,
                "the receiver does not take what it is offered ({code}): H.264 without sound; look in its log what it lacks"
            ),
            Self::Refused(code @ (408 | 425 | 429)) => {
                write!(f, "the receiver is asked too often or too soon ({code})")
            }
            Self::Refused(code @ 500..) => write!(f, "the receiver fails ({code}): look in its log"),
            Self::Refused(code) => write!(
                f,
                "the receiver answers {code}, as no receiver of streams does: mend `url`, which has to be its WHIP address"
            ),
            Self::Unusable(why) => write!(f, "the receiver agrees, but {why}"),
            Self::NoPlace(why) => write!(
                f,
                "viewers have all places here ({why}): raise webrtc.max_viewers_per_stream or webrtc.memory_budget_mb"
            ),
            Self::Elsewhere => {
                f.write_str("the receiver leads to another host, where no token is sent: name that one in `url`, if it is right")
            }
            Self::Astray => write!(f, "the receiver leads on more than {MOST_HOPS} times: name in `url` where that ends"),
            Self::NotConnected(how) => write!(
                f,
                "the receiver has agreed, but is not reached by media ({how}): let UDP through between here and there"
            ),
            Self::Lost(how) => write!(f, "the session with the receiver has ended: {how}"),
            Self::Kicked => f.write_str("an operator has ended it; `bridgectl reload` begins it again at once"),
        }
    }
}

#[cfg(test)]
mod tests;
