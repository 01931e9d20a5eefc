//! Consent to be sent media (RFC 7675): the other end is asked for it again and again while a path is in use.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{random, stun::Transaction};

/// The base of the time between consent checks (RFC 7675 section 5.1), drawn from 0.8 to 1.2 of it.
const INTERVAL: Duration = Duration::from_secs(5);
/// Consent ends so long after the last answer on the selected path (RFC 7675 section 5.1).
pub(super) const EXPIRY: Duration = Duration::from_secs(30);
/// Consent checks whose answer is still waited for: all that were sent within [`EXPIRY`] and some.
const CHECKS: usize = 6;
/// Consent to what goes over one path.
#[derive(Debug)]
pub(super) struct Consent {
    /// When the next check is due.
    due: Instant,
    /// When it ends without an answer.
    until: Instant,
    /// Checks that were not answered yet, the newest last.
    checks: VecDeque<Transaction>,
}

impl Consent {
    /// It has just been given.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            due: now + interval(),
            until: now + EXPIRY,
            checks: VecDeque::new(),
        }
    }

    /// A check was sent.
    pub(super) fn asked(&mut self, transaction: Transaction, now: Instant) {
        if self.checks.len() == CHECKS {
            self.checks.pop_front();
        }
        self.checks.push_back(transaction);
        self.due = now + interval();
    }

    /// An answer has come over the path; false: to none of the checks that are waited for.
    pub(super) fn answered(&mut self, transaction: Transaction, now: Instant) -> bool {
        let Some(at) = self.checks.iter().position(|sent| *sent == transaction) else {
            return false;
        };
        // Whatever was sent before has no better answer to give.
        self.checks.drain(..=at);
        self.until = now + EXPIRY;
        true
    }

    /// Whether it is to be asked for again.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due <= now
    }

    /// Whether it has ended.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.until <= now
    }

    /// When one of both changes.
    pub(super) fn poll_timeout(&self) -> Instant {
        self.due.min(self.until)
    }
}

/// 0.8 to 1.2 of the base, so that a thousand viewers do not check at once.
fn interval() -> Duration {
    let [draw] = random::bytes();
    INTERVAL * 4 / 5 + INTERVAL * 2 / 5 * u32::from(draw) / 255
}
