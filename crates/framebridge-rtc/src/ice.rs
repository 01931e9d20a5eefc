//! Our end of ICE (RFC 8445) for one viewer, sans-IO.
//!
//! A full agent with few candidates: it answers checks, checks back so that NATs on the viewer's side open, learns
//! peer-reflexive addresses, follows the viewer's nomination and keeps its consent fresh (RFC 7675). Where the offer was ours it is
//! [controlling](Agent::controlling), and nominates the first pair that is answered. It never gathers: local candidates are the sockets.

mod consent;
mod credentials;

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use consent::Consent;

use crate::{
    reach::Pacer,
    stun::{self, Check, IceRole, Kind, Stun, Transaction},
};

pub use credentials::Credentials;

/// Addresses one viewer may have: a browser offers some ten. Further candidates are ignored, so that an offer can't make us
/// send checks all over the net; a check from a further address makes room for itself, so that a viewer whose NAT moves it
/// about for weeks is still followed.
const MAX_PAIRS: usize = 24;
/// The pause between two checks of one viewer (RFC 8445 section 14: Ta is at least 5 ms).
const PACE: Duration = Duration::from_millis(20);
/// The first check's patience; doubles with every repetition.
const FIRST_TIMEOUT: Duration = Duration::from_millis(250);
/// Checks sent on one pair before it counts as dead: with doubling some 16 s, longer than a viewer may take.
const MAX_CHECKS: u32 = 6;
/// Another nominated pair of lower priority takes over when the selected one was not confirmed for so long: browsers
/// check the pair they use every 2.5 s or less.
const NOMINATION_STALE: Duration = Duration::from_secs(6);
/// Priority of our end as a peer-reflexive candidate (RFC 8445 section 5.1.2.1): type 110, component 1.
const REFLEXIVE_PRIORITY: u32 = (110 << 24) | (65_535 << 8) | 255;
/// Priority of a remote candidate that did not say.
const UNKNOWN_PRIORITY: u32 = 1;

/// A way to a viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Path {
    /// Which of the worker's sockets.
    pub socket: usize,
    /// The address to send from, where the socket has more than one; `None` leaves it to the system.
    pub source: Option<IpAddr>,
    /// Where to.
    pub remote: SocketAddr,
}

impl Path {
    /// Whether it is between the same two ends; the address we are seen at may differ.
    fn is_between_ends_of(&self, other: &Self) -> bool {
        (self.socket, self.remote) == (other.socket, other.remote)
    }
}

/// Where a pair's own check stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// To be checked as soon as it is its turn.
    Waiting,
    /// Sent `sent` times, the last time as `transaction`; given up or repeated at `due`.
    UnderWay {
        transaction: Transaction,
        sent: u32,
        due: Instant,
    },
    /// An answer came back.
    Valid,
    /// No answer came in time. A check from the other end revives it.
    Failed,
}

#[derive(Debug)]
struct Pair {
    path: Path,
    priority: u32,
    attempt: Attempt,
    /// Whether an authentic check of the viewer has come over it.
    is_checked: bool,
    /// When the controlling end last nominated it.
    nominated: Option<Instant>,
    /// Our checks nominate it; never of the controlled end.
    is_chosen: bool,
}

impl Pair {
    fn is_over(&self, path: &Path) -> bool {
        self.path.is_between_ends_of(path)
    }
}

/// The agent. After every call drain [`Agent::poll_transmit`].
#[derive(Debug)]
pub struct Agent {
    role: IceRole,
    local: Credentials,
    /// The generation in use, after a restart and until the new one has a nominated pair.
    previous: Option<Credentials>,
    remote: Credentials,
    /// Index and family (IPv4 or not) of each socket.
    sockets: Vec<(usize, bool)>,
    pairs: Vec<Pair>,
    selected: Option<Path>,
    next_check: Option<Instant>,
    consent: Option<Consent>,
    /// The path in use has lost its address here: the first other way that answers is taken.
    is_moving: bool,
    transmits: VecDeque<(Path, Vec<u8>)>,
}

/// What a STUN message told about the viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Nothing that can be trusted.
    Nothing,
    /// It is there.
    Alive,
    /// It is there, and media goes another way from now on.
    Selected(Path),
    /// Likewise, and the way before had lost its address here: what went out meanwhile is lost.
    Moved(Path),
}

impl Agent {
    /// An agent whose own candidates are `sockets`: index, and whether it is IPv4.
    pub fn new(local: Credentials, remote: Credentials, sockets: Vec<(usize, bool)>) -> Self {
        Self {
            role: IceRole::Controlled,
            local,
            previous: None,
            remote,
            sockets,
            pairs: Vec::new(),
            selected: None,
            next_check: None,
            consent: None,
            is_moving: false,
            transmits: VecDeque::new(),
        }
    }

    /// The end that nominates: of who has made the offer (RFC 8445 section 6.1.1).
    #[must_use]
    pub fn controlling(mut self) -> Self {
        self.role = IceRole::Controlling;
        self
    }

    /// Whether it is the end that nominates.
    pub(crate) fn controls(&self) -> bool {
        self.role == IceRole::Controlling
    }

    /// Puts an agent back on the path it had, as if it had just been nominated.
    pub fn resume(&mut self, path: Path, now: Instant) {
        self.pairs.push(Pair {
            path,
            priority: UNKNOWN_PRIORITY,
            attempt: Attempt::Valid,
            is_checked: true,
            nominated: Some(now),
            is_chosen: self.controls(),
        });
        self.select(path, now);
    }

    /// Our credentials.
    pub fn local(&self) -> &Credentials {
        &self.local
    }

    /// The names that checks may be for: of our credentials, and of those before a restart that is under way.
    pub(crate) fn ufrags(&self) -> impl Iterator<Item = &str> {
        let generations = self.previous.iter().chain([&self.local]);
        generations.map(|credentials| credentials.ufrag.as_str())
    }

    /// The viewer's credentials.
    pub fn remote(&self) -> &Credentials {
        &self.remote
    }

    /// The nominated path.
    pub fn selected(&self) -> Option<Path> {
        self.selected
    }

    /// Whether an authentic check of the viewer has come over `path`. What an offer names alone may be anybody's.
    pub fn has_heard_over(&self, path: &Path) -> bool {
        let is_in_use = |used: Path| used.is_between_ends_of(path);
        let is_checked = |pair: &Pair| pair.is_checked && pair.is_over(path);
        self.selected.is_some_and(is_in_use) || self.pairs.iter().any(is_checked)
    }

    /// Adds a candidate of the viewer; one check will be tried from each socket of its family. Once there is a path, the viewer
    /// shows itself where it is.
    pub fn add_remote(&mut self, address: SocketAddr, priority: u32, now: Instant) {
        if self.selected.is_some() && self.previous.is_none() {
            return;
        }
        for at in 0..self.sockets.len() {
            let (socket, is_ipv4) = self.sockets[at];
            if is_ipv4 == address.is_ipv4() {
                self.pair(
                    Path {
                        socket,
                        source: None,
                        remote: address,
                    },
                    priority,
                    false,
                );
            }
        }
        self.schedule(now);
    }

    /// There is one more way, which is no socket of ours: it is checked like any other, if none is in use yet. It is a connection that
    /// the other end has taken: where there is no room it gets that of one that has failed, or is liked least.
    pub(crate) fn add_way(&mut self, path: Path, now: Instant) {
        if self.selected.is_none() {
            if self.pairs.len() == MAX_PAIRS {
                let is_unanswered = |pair: &Pair| !pair.is_checked && pair.attempt != Attempt::Valid;
                let unanswered = (0..MAX_PAIRS).filter(|at| is_unanswered(&self.pairs[*at]));
                let least = |at: &usize| (self.pairs[*at].attempt != Attempt::Failed, self.pairs[*at].priority);
                if let Some(at) = unanswered.min_by_key(least) {
                    self.pairs.remove(at);
                }
            }
            self.pair(path, UNKNOWN_PRIORITY, false);
            self.schedule(now);
        }
    }

    /// Starts over with new credentials on both sides. Media stays on its path until a new one is nominated.
    pub fn restart(&mut self, local: Credentials, remote: Credentials) {
        let before = std::mem::replace(&mut self.local, local);
        // One that was restarted again before it had a path was never in use.
        self.previous.get_or_insert(before);
        self.remote = remote;
        self.pairs.clear();
        self.next_check = None;
    }

    /// The path in use has lost its address here. The viewer is checked where it is from whatever address the system has by now:
    /// an answer is consent (RFC 7675 section 5.1) and makes the pair valid, on which a controlled end may send before the other
    /// one has nominated it (RFC 8445 section 12.1).
    pub(crate) fn relocate(&mut self, now: Instant) {
        let Some(lost) = self.selected else { return };
        self.is_moving = true;
        let controls = self.controls();
        for pair in self.pairs.iter_mut().filter(|pair| pair.is_checked) {
            pair.is_chosen = controls;
            pair.path.source = pair.path.source.filter(|source| Some(*source) != lost.source);
            pair.attempt = Attempt::Waiting;
        }
        for at in 0..self.sockets.len() {
            let (socket, is_ipv4) = self.sockets[at];
            let path = Path {
                socket,
                source: None,
                remote: lost.remote,
            };
            if is_ipv4 == lost.remote.is_ipv4()
                && let Some(at) = self.pair(path, UNKNOWN_PRIORITY, true)
            {
                self.check(at, now);
            }
        }
        self.schedule(now);
    }

    /// Takes a STUN message that came over `path`.
    pub fn handle(&mut self, mut message: Stun, path: Path, now: Instant) -> Heard {
        match message.kind() {
            Some(Kind::Request) => self.on_request(&mut message, path, now),
            Some(Kind::Success) if message.is_authentic(&self.remote.password) => self.on_success(&message, path, now),
            Some(Kind::Success | Kind::Error) | None => Heard::Nothing,
        }
    }

    fn on_request(&mut self, message: &mut Stun, path: Path, now: Instant) -> Heard {
        let Some((ours, theirs)) = message.username() else {
            return Heard::Nothing;
        };
        let is_current = ours == self.local.ufrag && theirs == self.remote.ufrag;
        let password = if is_current {
            &self.local.password
        } else {
            match &self.previous {
                Some(previous) if previous.ufrag == ours => &previous.password,
                _ => return Heard::Nothing,
            }
        };
        if !message.is_authentic(password) {
            return Heard::Nothing;
        }
        if message.role() == Some(self.role) {
            self.transmits
                .push_back((path, stun::role_conflict(message.transaction(), password)));
            return Heard::Alive;
        }
        self.transmits
            .push_back((path, stun::success(message.transaction(), path.remote, password)));
        if !is_current {
            return Heard::Alive;
        }
        let Some(at) = self.pair(path, message.priority(), true) else {
            return Heard::Alive;
        };
        // The way back is known now, with the address the viewer sees us at.
        self.pairs[at].path = path;
        self.pairs[at].is_checked = true;
        if self.pairs[at].attempt == Attempt::Failed {
            self.pairs[at].attempt = Attempt::Waiting;
        }
        if message.nominates() && !self.controls() {
            self.pairs[at].nominated = Some(now);
        }
        if self.pairs[at].attempt == Attempt::Waiting {
            self.check(at, now);
        }
        self.schedule(now);
        self.follow_nomination(at, now)
    }

    /// Takes an answer, which has to come from where its check went (RFC 8445 section 7.2.5.2.1).
    fn on_success(&mut self, message: &Stun, path: Path, now: Instant) -> Heard {
        let transaction = message.transaction();
        if let (Some(consent), Some(selected)) = (&mut self.consent, self.selected)
            && selected.is_between_ends_of(&path)
            && consent.answered(transaction, now)
        {
            return Heard::Alive;
        }
        let is_answered = |pair: &Pair| {
            let sent = matches!(pair.attempt, Attempt::UnderWay { transaction: sent, .. } if sent == transaction);
            sent && pair.path.is_between_ends_of(&path)
        };
        let Some(at) = self.pairs.iter().position(is_answered) else {
            return Heard::Nothing;
        };
        self.pairs[at].attempt = Attempt::Valid;
        if self.is_moving {
            // It has come to the address that the check went out from.
            self.pairs[at].path = path;
            self.pairs[at].is_checked = true;
            self.schedule(now);
            return self.select(path, now);
        }
        if self.controls() {
            // With the address that the answer came to; whoever knows the password is the one that was named.
            (self.pairs[at].path, self.pairs[at].is_checked) = (path, true);
            self.pairs[at].nominated = self.pairs[at].is_chosen.then_some(now);
            self.choose(now);
        }
        self.schedule(now);
        self.follow_nomination(at, now)
    }

    /// Has the best pair that was answered nominated, if none is and that is ours to do: by one more check (RFC 8445 section
    /// 8.1.1). The first answer counts, for a better pair that is slower to answer costs time now.
    fn choose(&mut self, now: Instant) {
        if !self.controls() || self.selected.is_some() || self.pairs.iter().any(|pair| pair.is_chosen) {
            return;
        }
        let valid = (0..self.pairs.len()).filter(|at| self.pairs[*at].attempt == Attempt::Valid);
        if let Some(best) = valid.max_by_key(|at| self.pairs[*at].priority) {
            self.pairs[best].is_chosen = true;
            self.check(best, now);
        }
    }

    /// Selects the pair at `at` if it is valid, nominated and better than what is in use.
    fn follow_nomination(&mut self, at: usize, now: Instant) -> Heard {
        let pair = &self.pairs[at];
        if pair.attempt != Attempt::Valid || pair.nominated.is_none() || self.selected == Some(pair.path) {
            return Heard::Alive;
        }
        let in_use = self.pairs.iter().find(|other| Some(other.path) == self.selected);
        let stays = in_use.is_some_and(|in_use| {
            in_use.priority > pair.priority
                && in_use
                    .nominated
                    .is_some_and(|last| now.duration_since(last) < NOMINATION_STALE)
        });
        if stays {
            return Heard::Alive;
        }
        let path = pair.path;
        self.select(path, now)
    }

    fn select(&mut self, path: Path, now: Instant) -> Heard {
        self.selected = Some(path);
        self.previous = None;
        // There is a way: where nothing has come from, nothing more is sent.
        for pair in self.pairs.iter_mut().filter(|pair| !pair.is_checked) {
            pair.attempt = Attempt::Failed;
        }
        self.consent = Some(Consent::new(now));
        if std::mem::take(&mut self.is_moving) {
            Heard::Moved(path)
        } else {
            Heard::Selected(path)
        }
    }

    /// Nobody at the selected path wants media any more: it has to be checked and nominated anew.
    fn withdraw_consent(&mut self) {
        let Some(path) = self.selected.take() else { return };
        self.consent = None;
        for pair in self.pairs.iter_mut().filter(|pair| pair.is_over(&path)) {
            pair.attempt = Attempt::Failed;
            pair.nominated = None;
            pair.is_chosen = false;
        }
    }

    /// The index of the pair with `path`'s socket and remote, made if there is room. One that a check has come over takes the
    /// place of the oldest that is not in use.
    fn pair(&mut self, path: Path, priority: u32, is_checked: bool) -> Option<usize> {
        if let Some(at) = self.pairs.iter().position(|pair| pair.is_over(&path)) {
            self.pairs[at].priority = self.pairs[at].priority.max(priority);
            return Some(at);
        }
        if self.pairs.len() == MAX_PAIRS {
            let unused = |pair: &Pair| is_checked && Some(pair.path) != self.selected;
            let oldest = self.pairs.iter().position(unused)?;
            self.pairs.remove(oldest);
        }
        let priority = priority.max(UNKNOWN_PRIORITY);
        self.pairs.push(Pair {
            path,
            priority,
            attempt: Attempt::Waiting,
            is_checked: false,
            nominated: None,
            is_chosen: false,
        });
        Some(self.pairs.len() - 1)
    }

    /// Sends a check on a pair.
    fn check(&mut self, at: usize, now: Instant) {
        let sent = match self.pairs[at].attempt {
            Attempt::UnderWay { sent, .. } => sent,
            Attempt::Waiting | Attempt::Valid | Attempt::Failed => 0,
        };
        let (transaction, datagram) = self.binding_request(self.pairs[at].is_chosen);
        let due = now + FIRST_TIMEOUT * (1 << sent);
        let pair = &mut self.pairs[at];
        pair.attempt = Attempt::UnderWay {
            transaction,
            sent: sent + 1,
            due,
        };
        self.transmits.push_back((pair.path, datagram));
    }

    fn binding_request(&self, nominate: bool) -> (Transaction, Vec<u8>) {
        Check {
            ufrags: (&self.remote.ufrag, &self.local.ufrag),
            password: &self.remote.password,
            role: self.role,
            priority: REFLEXIVE_PRIORITY,
            nominate,
        }
        .encode()
    }

    /// Sets the timer for the next check: at once for a waiting pair, else when one is due.
    fn schedule(&mut self, now: Instant) {
        let due = |pair: &Pair| match pair.attempt {
            Attempt::Waiting => Some(now),
            Attempt::UnderWay { due, .. } => Some(due),
            Attempt::Valid | Attempt::Failed => None,
        };
        self.next_check = self.pairs.iter().filter_map(due).min();
    }

    /// When `handle_timeout` is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let consent = self.consent.as_ref().map(Consent::poll_timeout);
        [self.next_check, consent].into_iter().flatten().min()
    }

    /// Sends what is due, as far as the pacer lets it. False: consent to the selected path has just ended, and nothing
    /// may be sent there.
    pub(crate) fn handle_timeout(&mut self, pacer: &mut Pacer, now: Instant) -> bool {
        if self.next_check.is_some_and(|due| due <= now) {
            self.on_check_due(pacer, now);
        }
        let Some(consent) = &self.consent else {
            return true;
        };
        if consent.is_over(now) {
            self.withdraw_consent();
            return false;
        }
        if consent.is_due(now) {
            self.check_consent(now);
        }
        true
    }

    fn check_consent(&mut self, now: Instant) {
        // Nominated again: the other end follows where a NAT has given us another address.
        let (transaction, datagram) = self.binding_request(self.controls());
        let (Some(path), Some(consent)) = (self.selected, &mut self.consent) else {
            return;
        };
        consent.asked(transaction, now);
        self.transmits.push_back((path, datagram));
    }

    /// Sends one check, if the pacer lets it; the next one waits for its pace.
    fn on_check_due(&mut self, pacer: &mut Pacer, now: Instant) {
        let is_due = |pair: &Pair| match pair.attempt {
            Attempt::Waiting => true,
            Attempt::UnderWay { due, .. } => due <= now,
            Attempt::Valid | Attempt::Failed => false,
        };
        let mut checked = false;
        for at in 0..self.pairs.len() {
            let pair = &mut self.pairs[at];
            if !is_due(pair) {
                continue;
            }
            if matches!(pair.attempt, Attempt::UnderWay { sent, .. } if sent >= MAX_CHECKS) {
                (pair.attempt, pair.is_chosen) = (Attempt::Failed, false);
            } else if !checked && pacer.take(now) {
                self.check(at, now);
                checked = true;
            }
        }
        self.choose(now);
        self.schedule(now);
        self.next_check = self.next_check.map(|due| due.max(now + PACE).max(pacer.next()));
    }

    /// The next datagram to send, and the way it goes.
    pub fn poll_transmit(&mut self) -> Option<(Path, Vec<u8>)> {
        self.transmits.pop_front()
    }
}

#[cfg(test)]
mod tests;
