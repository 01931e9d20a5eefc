//! Viewers who came by a shared address: their sessions end when it does.
//!
//! | a session is | left by |
//! | --- | --- |
//! | open | its address's end, the viewer's leaving |
//! | ending | the server's word that it is gone; asked again until it answers |
//!
//! Viewers leave without a word, too. So with many sessions each new one has the oldest two looked at, and what is gone is
//! forgotten: what is kept follows what is watched.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// With more sessions than these the oldest are looked at when another comes.
const MANY: usize = 256;

/// So many of them: with two for each that comes, no more are kept than twice those that are open.
const LOOKS: usize = 2;

/// With more sessions than these the oldest is ended: as many as a server of some streams can have.
const MOST: usize = 4096;

/// Between two attempts to end a session whose server does not answer: some fit into the 2 s that a viewer may stay.
const RETRY: Duration = Duration::from_millis(500);

/// What an address lets in, as of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass<K> {
    /// The address.
    pub share: K,
    /// When it ends by itself; `None`: never.
    pub ends_at: Option<Instant>,
    /// How often addresses had been taken back before.
    generation: u64,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input<K, S> {
    /// A viewer who was let in has a session now.
    Joined {
        /// What let it in.
        pass: Pass<K>,
        /// Its session.
        session: S,
    },
    /// A session is no more: the viewer left, or the server does not know it.
    Gone {
        /// Which.
        session: S,
    },
    /// A session that was looked at is open.
    Open {
        /// Which.
        session: S,
    },
    /// The server has not answered about a session.
    Unanswered {
        /// Which.
        session: S,
    },
    /// All shared addresses were taken back.
    Unshared,
    /// What [`SharedViewers::poll_timeout`] announced may be due.
    Timeout,
}

/// What is to be done, in order. Each is answered by `Gone`, `Open` or `Unanswered`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output<S> {
    /// End this session.
    End(S),
    /// Look whether this session is open still.
    Look(S),
}

/// What [`SharedViewers::poll_timeout`] waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// An address ends, or a server that did not answer is asked again to end a session that came by one.
    EndDue,
}

/// A session as it is kept over the life of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedViewer<K, S> {
    /// The address it came by.
    pub share: K,
    /// When that ends; `None`: never.
    pub ends_at: Option<Instant>,
    /// The session.
    pub session: S,
}

/// The machine.
#[derive(Debug)]
pub struct SharedViewers<K, S> {
    /// Oldest first.
    entries: VecDeque<Entry<K, S>>,
    generation: u64,
    outputs: VecDeque<Output<S>>,
}

#[derive(Debug)]
struct Entry<K, S> {
    viewer: SharedViewer<K, S>,
    /// Something is asked of the server about it.
    asked: bool,
    /// It is not asked again before.
    rests_until: Option<Instant>,
}

impl<K, S> Entry<K, S> {
    /// When its session is to be ended.
    fn due(&self) -> Option<Instant> {
        let ends_at = self.viewer.ends_at.filter(|_| !self.asked)?;
        Some(self.rests_until.map_or(ends_at, |until| until.max(ends_at)))
    }
}

impl<K: Copy, S: Clone + PartialEq> SharedViewers<K, S> {
    /// The machine, with the sessions that are known from the process's life before this one.
    pub fn restore(viewers: impl IntoIterator<Item = SharedViewer<K, S>>) -> Self {
        let entry = |viewer| Entry {
            viewer,
            asked: false,
            rests_until: None,
        };
        Self {
            entries: viewers.into_iter().take(MOST).map(entry).collect(),
            generation: 0,
            outputs: VecDeque::new(),
        }
    }

    /// What an address that has `left` to live lets in now; nothing once its time is up.
    pub fn admit(&self, share: K, left: Option<Duration>, now: Instant) -> Option<Pass<K>> {
        if left == Some(Duration::ZERO) {
            return None;
        }
        Some(Pass {
            share,
            // One that ends beyond what a clock can say never ends.
            ends_at: left.and_then(|left| now.checked_add(left)),
            generation: self.generation,
        })
    }

    /// Takes in what happened. Drain [`poll_output`](Self::poll_output) afterwards.
    pub fn handle(&mut self, input: Input<K, S>, now: Instant) {
        match input {
            Input::Joined { pass, session } => self.on_joined(pass, session, now),
            Input::Gone { session } => self.entries.retain(|entry| entry.viewer.session != session),
            Input::Open { session } => {
                if let Some(mut entry) = self.take(&session) {
                    entry.asked = false;
                    self.entries.push_back(entry);
                }
            }
            Input::Unanswered { session } => {
                let found = self.entries.iter_mut().find(|entry| entry.viewer.session == session);
                if let Some(entry) = found {
                    entry.asked = false;
                    entry.rests_until = Some(now + RETRY);
                }
            }
            Input::Unshared => {
                self.generation += 1;
                for entry in &mut self.entries {
                    entry.viewer.ends_at = Some(entry.viewer.ends_at.map_or(now, |ends_at| ends_at.min(now)));
                }
            }
            Input::Timeout => {}
        }
        self.end_what_is_due(now);
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output<S>> {
        self.outputs.pop_front()
    }

    /// When [`Input::Timeout`] is due, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let due = self.entries.iter().filter_map(Entry::due).min()?;
        Some((due, Reason::EndDue))
    }

    /// The sessions there are, oldest first.
    pub fn viewers(&self) -> impl Iterator<Item = &SharedViewer<K, S>> {
        self.entries.iter().map(|entry| &entry.viewer)
    }

    fn take(&mut self, session: &S) -> Option<Entry<K, S>> {
        let at = self.entries.iter().position(|entry| entry.viewer.session == *session)?;
        self.entries.remove(at)
    }

    fn on_joined(&mut self, pass: Pass<K>, session: S, now: Instant) {
        let taken_back = pass.generation != self.generation;
        let ends_at = if taken_back { Some(now) } else { pass.ends_at };
        drop(self.take(&session));
        self.entries.push_back(Entry {
            viewer: SharedViewer {
                share: pass.share,
                ends_at,
                session,
            },
            asked: false,
            rests_until: None,
        });
        let count = self.entries.len();
        let mut oldest = self.entries.iter_mut().filter(|entry| !entry.asked);
        if count > MOST {
            if let Some(entry) = oldest.next() {
                entry.viewer.ends_at = Some(now);
            }
        } else if count > MANY {
            for entry in oldest.take(LOOKS) {
                entry.asked = true;
                let session = entry.viewer.session.clone();
                self.outputs.push_back(Output::Look(session));
            }
        }
    }

    fn end_what_is_due(&mut self, now: Instant) {
        for entry in &mut self.entries {
            if entry.due().is_some_and(|due| due <= now) {
                entry.asked = true;
                let session = entry.viewer.session.clone();
                self.outputs.push_back(Output::End(session));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Viewers = SharedViewers<u8, u32>;

    const SECOND: Duration = Duration::from_secs(1);

    fn drained(viewers: &mut Viewers) -> Vec<Output<u32>> {
        std::iter::from_fn(|| viewers.poll_output()).collect()
    }

    fn join(viewers: &mut Viewers, share: u8, left: Option<Duration>, session: u32, now: Instant) {
        let pass = viewers.admit(share, left, now).unwrap();
        viewers.handle(Input::Joined { pass, session }, now);
    }

    #[test]
    fn session_ends_with_its_address_and_is_asked_for_until_the_server_says_so() {
        let (mut viewers, start) = (Viewers::restore([]), Instant::now());
        assert_eq!(viewers.admit(1, Some(Duration::ZERO), start), None);
        join(&mut viewers, 1, Some(SECOND), 10, start);
        join(&mut viewers, 2, None, 20, start);
        assert_eq!(viewers.poll_timeout(), Some((start + SECOND, Reason::EndDue)));
        let due = start + SECOND;
        viewers.handle(Input::Timeout, due);
        assert_eq!(drained(&mut viewers), [Output::End(10)]);
        assert_eq!(viewers.poll_timeout(), None, "it is under way");
        viewers.handle(Input::Unanswered { session: 10 }, due);
        let (again, _) = viewers.poll_timeout().unwrap();
        assert!(again > due && again < due + SECOND);
        viewers.handle(Input::Timeout, again);
        assert_eq!(drained(&mut viewers), [Output::End(10)]);
        viewers.handle(Input::Gone { session: 10 }, again);
        assert_eq!(viewers.poll_timeout(), None);
        assert_eq!(viewers.viewers().map(|viewer| viewer.session).collect::<Vec<_>>(), [20]);
    }

    #[test]
    fn taking_back_ends_all_and_also_who_was_on_the_way() {
        let (mut viewers, now) = (Viewers::restore([]), Instant::now());
        join(&mut viewers, 1, None, 10, now);
        let on_the_way = viewers.admit(1, None, now).unwrap();
        viewers.handle(Input::Unshared, now);
        assert_eq!(drained(&mut viewers), [Output::End(10)]);
        let session = 11;
        viewers.handle(
            Input::Joined {
                pass: on_the_way,
                session,
            },
            now,
        );
        assert_eq!(drained(&mut viewers), [Output::End(11)]);
        join(&mut viewers, 3, None, 12, now);
        assert_eq!(drained(&mut viewers), []);
    }

    #[test]
    fn next_life_of_the_process_goes_on_where_this_one_was() {
        let (mut viewers, now) = (Viewers::restore([]), Instant::now());
        join(&mut viewers, 1, Some(SECOND), 10, now);
        let mut viewers = Viewers::restore(viewers.viewers().cloned().collect::<Vec<_>>());
        viewers.handle(Input::Timeout, now + SECOND);
        assert_eq!(drained(&mut viewers), [Output::End(10)]);
    }

    proptest! {
        #[test]
        fn nobody_stays_beyond_the_end_and_nobody_else_is_ended(
            steps in prop::collection::vec((0_u8..6, 0_u64..1500, 0_u32..400, prop::option::of(1_u64..5000)), 0..400),
        ) {
            let (mut viewers, mut now) = (Viewers::restore([]), Instant::now());
            let mut open: Vec<(u32, Option<Instant>)> = Vec::new();
            for (step, gap, number, left) in steps {
                now += Duration::from_millis(gap);
                match step {
                    0..=3 => {
                        let left = left.map(Duration::from_millis);
                        open.retain(|(session, _)| *session != number);
                        open.push((number, left.map(|left| now + left)));
                        join(&mut viewers, step, left, number, now);
                    }
                    4 => {
                        open.retain(|(session, _)| *session != number);
                        viewers.handle(Input::Gone { session: number }, now);
                    }
                    _ => {
                        for (_, ends_at) in &mut open {
                            *ends_at = Some(now);
                        }
                        viewers.handle(Input::Unshared, now);
                    }
                }
                viewers.handle(Input::Timeout, now);
                for output in drained(&mut viewers) {
                    match output {
                        Output::End(ended) => {
                            let at = open.iter().position(|(session, _)| *session == ended);
                            let (_, ends_at) = open.remove(at.expect("it was open"));
                            prop_assert!(ends_at.is_some_and(|at| at <= now), "{ended} was ended before its time");
                            viewers.handle(Input::Gone { session: ended }, now);
                        }
                        Output::Look(session) => viewers.handle(Input::Open { session }, now),
                    }
                }
                for output in drained(&mut viewers) {
                    let Output::End(ended) = output else { continue };
                    open.retain(|(session, _)| *session != ended);
                    viewers.handle(Input::Gone { session: ended }, now);
                }
                prop_assert!(open.iter().all(|(_, ends_at)| ends_at.is_none_or(|at| at > now)));
                prop_assert_eq!(viewers.viewers().count(), open.len());
            }
        }
    }

    #[test]
    fn what_is_kept_follows_what_is_watched() {
        let (mut viewers, now) = (Viewers::restore([]), Instant::now());
        // One watches for ever, all others come and go without a word.
        for session in 0..20_000 {
            join(&mut viewers, 1, None, session, now);
            for output in drained(&mut viewers) {
                let Output::Look(looked_at) = output else {
                    panic!("{output:?}")
                };
                let answer = if looked_at == 0 {
                    Input::Open { session: 0 }
                } else {
                    Input::Gone { session: looked_at }
                };
                viewers.handle(answer, now);
            }
            assert!(viewers.viewers().count() <= MANY + LOOKS);
        }
        assert!(viewers.viewers().any(|viewer| viewer.session == 0));
        // A server that answers nothing does not make it grow.
        for session in 20_000..20_000 + 2 * u32::try_from(MOST).unwrap() {
            join(&mut viewers, 1, None, session, now);
            for output in drained(&mut viewers) {
                if let Output::End(session) = output {
                    viewers.handle(Input::Gone { session }, now);
                }
            }
            assert!(viewers.viewers().count() <= MOST + 1);
        }
    }
}
