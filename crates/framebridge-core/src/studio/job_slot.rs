//! A box's one slot for jobs: from the offer until the studio has what came of it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Bounds of a [`JobSlot`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Ids of acknowledged jobs that are remembered, so that a late offer of one is not done twice.
    pub most_remembered: usize,
    /// No job may take longer, whatever its offer says. To bring what came of it takes what it takes.
    pub longest: Duration,
    /// After a failure that may not be one another time, the next job is asked for so much later.
    pub retry_pause: Duration,
    /// When a job is offered whose end the studio has acknowledged: one of its nodes has not heard of it, and will have by
    /// then.
    pub news_take: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            most_remembered: 64,
            longest: Duration::from_secs(300),
            retry_pause: Duration::from_secs(2),
            news_take: Duration::from_secs(5),
        }
    }
}

/// Why an offer was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// The operator wants none now.
    Paused,
    /// There is one in hand, or the result of one; or this one has ended long ago, and whoever offers it has not heard so.
    Busy,
    /// It can't be done here.
    Unsupported,
}

/// Why a job came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For a person.
    pub error: String,
    /// Whether it may work another time.
    pub retryable: bool,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input<I, R> {
    /// The studio offers a job.
    Offered {
        /// Which.
        id: I,
        /// Whether it can be done here.
        supported: bool,
        /// How long it may take.
        deadline: Duration,
    },
    /// A job that was started has ended, by itself, by a panic or because it was aborted.
    Ended {
        /// Which.
        id: I,
        /// What came of it.
        outcome: Result<R, Failure>,
    },
    /// What came of a job can't be brought to the studio, by a link that works: another time is not better.
    Undeliverable {
        /// Which job's.
        id: I,
        /// Why, for a person.
        why: String,
    },
    /// The studio has a result.
    Acknowledged {
        /// Which job's.
        id: I,
    },
    /// The studio can be told things again.
    Linked,
    /// The operator wants no jobs for now.
    Pause,
    /// The operator wants jobs again.
    Resume,
    /// What [`JobSlot::poll_timeout`] announced may be due.
    Timeout,
}

/// What is to be done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output<I, R> {
    /// Begin it; [`Input::Ended`] answers.
    Start {
        /// Which.
        id: I,
    },
    /// Stop it; its end need not be reported.
    Abort {
        /// Which.
        id: I,
    },
    /// Tell the studio: it is being done.
    Accept {
        /// Which.
        id: I,
    },
    /// Tell the studio: it is not going to be done.
    Reject {
        /// Which.
        id: I,
        /// Why not.
        why: Rejection,
    },
    /// Tell the studio what came of it.
    Deliver {
        /// Which.
        id: I,
        /// What came of it.
        outcome: Result<R, Failure>,
    },
    /// Tell the studio that another would be taken.
    ReadyForMore,
}

/// What [`JobSlot::poll_timeout`] waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A job takes longer than it may.
    Late,
    /// The studio is told again that another job would be taken.
    TellAgain,
}

/// The machine, over ids `I` and results `R`.
#[derive(Debug)]
pub struct JobSlot<I, R> {
    config: Config,
    paused: bool,
    running: Option<(I, Instant)>,
    /// What came of the last one, until it is acknowledged.
    result: Option<(I, Result<R, Failure>)>,
    acknowledged: VecDeque<I>,
    /// When to say again that another job would be taken.
    tell_at: Option<Instant>,
    now: Instant,
    outputs: VecDeque<Output<I, R>>,
}

impl<I: Clone + PartialEq, R: Clone> JobSlot<I, R> {
    /// An empty slot.
    pub fn new(config: Config, now: Instant) -> Self {
        Self {
            config,
            paused: false,
            running: None,
            result: None,
            acknowledged: VecDeque::new(),
            tell_at: None,
            now,
            outputs: VecDeque::new(),
        }
    }

    /// Takes in what happened. Drain [`poll_output`](Self::poll_output) afterwards.
    pub fn handle(&mut self, input: Input<I, R>, now: Instant) {
        self.now = self.now.max(now);
        match input {
            Input::Offered {
                id,
                supported,
                deadline,
            } => self.on_offered(id, supported, deadline),
            Input::Ended { id, outcome } => {
                if self.running.as_ref().is_some_and(|(running, _)| *running == id) {
                    self.finish(id, outcome);
                }
            }
            Input::Undeliverable { id, why } => self.on_undeliverable(id, why),
            Input::Acknowledged { id } => self.on_acknowledged(id),
            Input::Linked => self.on_linked(),
            Input::Pause => self.paused = true,
            Input::Resume => {
                if std::mem::take(&mut self.paused) {
                    self.tell_if_free();
                }
            }
            Input::Timeout => {
                if let Some((id, deadline)) = self.running.clone()
                    && self.now >= deadline
                {
                    self.outputs.push_back(Output::Abort { id: id.clone() });
                    let late = Failure {
                        error: "it took longer than it may".to_owned(),
                        retryable: true,
                    };
                    self.finish(id, Err(late));
                }
                if self.tell_at.take_if(|at| *at <= self.now).is_some() {
                    self.tell_if_free();
                }
            }
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output<I, R>> {
        self.outputs.pop_front()
    }

    /// When [`Input::Timeout`] is due, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let late = self.running.as_ref().map(|(_, deadline)| (*deadline, Reason::Late));
        let tell = self.tell_at.map(|at| (at, Reason::TellAgain));
        late.into_iter().chain(tell).min_by_key(|(due, _)| *due)
    }

    /// The job in hand.
    pub fn running(&self) -> Option<&I> {
        self.running.as_ref().map(|(id, _)| id)
    }

    /// Whether the operator wants no jobs for now.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// What came of the last job, while the studio has not acknowledged it.
    pub fn result(&self) -> Option<&(I, Result<R, Failure>)> {
        self.result.as_ref()
    }

    fn on_offered(&mut self, id: I, supported: bool, deadline: Duration) {
        if self.result.as_ref().is_some_and(|(known, _)| *known == id) {
            return self.deliver();
        }
        if self.running() == Some(&id) {
            return self.outputs.push_back(Output::Accept { id });
        }
        if self.acknowledged.contains(&id) {
            self.tell_at.get_or_insert(self.now + self.config.news_take);
            let why = Rejection::Busy;
            return self.outputs.push_back(Output::Reject { id, why });
        }
        let refused = if self.paused {
            Some(Rejection::Paused)
        } else if !supported {
            Some(Rejection::Unsupported)
        } else if !self.is_free() {
            Some(Rejection::Busy)
        } else {
            None
        };
        if let Some(why) = refused {
            return self.outputs.push_back(Output::Reject { id, why });
        }
        let until = self.now + deadline.min(self.config.longest);
        self.running = Some((id.clone(), until));
        self.outputs.push_back(Output::Accept { id: id.clone() });
        self.outputs.push_back(Output::Start { id });
    }

    fn on_acknowledged(&mut self, id: I) {
        let Some((_, outcome)) = self.result.take_if(|(known, _)| *known == id) else {
            return;
        };
        if matches!(outcome, Err(Failure { retryable: true, .. })) {
            // It may be offered again, and not at once.
            self.tell_at = Some(self.now + self.config.retry_pause);
            return;
        }
        if self.acknowledged.len() >= self.config.most_remembered {
            self.acknowledged.pop_front();
        }
        self.acknowledged.push_back(id);
        self.tell_if_free();
    }

    fn on_undeliverable(&mut self, id: I, error: String) {
        if let Some((known, outcome)) = &mut self.result
            && *known == id
        {
            let retryable = false;
            *outcome = Err(Failure { error, retryable });
            self.deliver();
        }
    }

    fn on_linked(&mut self) {
        self.deliver();
        self.tell_if_free();
    }

    fn finish(&mut self, id: I, outcome: Result<R, Failure>) {
        self.running = None;
        self.result = Some((id, outcome));
        self.deliver();
    }

    fn deliver(&mut self) {
        if let Some((id, outcome)) = self.result.clone() {
            self.outputs.push_back(Output::Deliver { id, outcome });
        }
    }

    fn is_free(&self) -> bool {
        self.running.is_none() && self.result.is_none()
    }

    fn tell_if_free(&mut self) {
        if self.is_free() && !self.paused {
            self.outputs.push_back(Output::ReadyForMore);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::random::Random;

    type Slot = JobSlot<u64, u64>;

    fn drain(slot: &mut Slot) -> Vec<Output<u64, u64>> {
        std::iter::from_fn(|| slot.poll_output()).collect()
    }

    fn offer(id: u64) -> Input<u64, u64> {
        Input::Offered {
            id,
            supported: true,
            deadline: Duration::from_secs(20),
        }
    }

    #[test]
    fn result_is_kept_and_told_again_until_it_is_acknowledged() {
        let now = Instant::now();
        let mut slot = Slot::new(Config::default(), now);
        slot.handle(offer(1), now);
        assert_eq!(drain(&mut slot), [Output::Accept { id: 1 }, Output::Start { id: 1 }]);
        slot.handle(Input::Ended { id: 1, outcome: Ok(11) }, now);
        let delivery = Output::Deliver { id: 1, outcome: Ok(11) };
        assert_eq!(drain(&mut slot), std::slice::from_ref(&delivery));
        slot.handle(Input::Linked, now);
        assert_eq!(drain(&mut slot), std::slice::from_ref(&delivery));
        slot.handle(offer(1), now);
        assert_eq!(drain(&mut slot), [delivery]);
        slot.handle(Input::Acknowledged { id: 1 }, now);
        assert_eq!(drain(&mut slot), [Output::ReadyForMore]);
        slot.handle(offer(1), now);
        let why = Rejection::Busy;
        assert_eq!(drain(&mut slot), [Output::Reject { id: 1, why }]);
    }

    #[test]
    fn refusals_say_which() {
        let now = Instant::now();
        let mut slot = Slot::new(Config::default(), now);
        let reject = |id, why| Output::Reject { id, why };
        let strange = Input::Offered {
            id: 1,
            supported: false,
            deadline: Duration::from_secs(1),
        };
        slot.handle(strange, now);
        assert_eq!(drain(&mut slot), [reject(1, Rejection::Unsupported)]);
        slot.handle(offer(2), now);
        slot.handle(offer(3), now);
        assert_eq!(drain(&mut slot).pop(), Some(reject(3, Rejection::Busy)));
        slot.handle(Input::Pause, now);
        slot.handle(offer(4), now);
        assert_eq!(drain(&mut slot), [reject(4, Rejection::Paused)]);
    }

    #[test]
    fn job_past_its_deadline_is_aborted_and_frees_the_slot() {
        let now = Instant::now();
        let mut slot = Slot::new(Config::default(), now);
        slot.handle(offer(1), now);
        drain(&mut slot);
        slot.handle(Input::Timeout, slot.poll_timeout().unwrap().0);
        assert_eq!(drain(&mut slot)[0], Output::Abort { id: 1 });
        slot.handle(Input::Acknowledged { id: 1 }, now);
        slot.handle(offer(2), now);
        assert!(drain(&mut slot).contains(&Output::Start { id: 2 }));
        slot.handle(Input::Ended { id: 1, outcome: Ok(1) }, now);
        assert_eq!(slot.running(), Some(&2));
    }

    #[test]
    fn result_that_cannot_be_brought_becomes_a_failure_and_is_not_made_again() {
        let now = Instant::now();
        let mut slot = Slot::new(Config::default(), now);
        slot.handle(offer(1), now);
        slot.handle(Input::Ended { id: 1, outcome: Ok(11) }, now);
        drain(&mut slot);
        let why = "there is no room".to_owned();
        let undeliverable = Input::Undeliverable {
            id: 1,
            why: why.clone(),
        };
        slot.handle(undeliverable.clone(), now);
        let failure = Failure {
            error: why,
            retryable: false,
        };
        let outcome = Err(failure);
        assert_eq!(drain(&mut slot), [Output::Deliver { id: 1, outcome }]);
        slot.handle(Input::Acknowledged { id: 1 }, now);
        assert_eq!(drain(&mut slot), [Output::ReadyForMore]);
        slot.handle(undeliverable, now);
        assert_eq!(drain(&mut slot), [], "it has been acknowledged");
    }

    #[test]
    fn failure_that_may_work_another_time_is_tried_again_and_a_done_job_is_not() {
        let mut now = Instant::now();
        let mut slot = Slot::new(Config::default(), now);
        for (id, retryable) in [(1, true), (2, false)] {
            slot.handle(offer(id), now);
            let error = "no room".to_owned();
            let outcome = Err(Failure { error, retryable });
            slot.handle(Input::Ended { id, outcome }, now);
            slot.handle(Input::Acknowledged { id }, now);
            let asks_at_once = drain(&mut slot).contains(&Output::ReadyForMore);
            assert_eq!(asks_at_once, !retryable, "what failed may need a moment");
            slot.handle(offer(id), now);
            assert_eq!(drain(&mut slot).contains(&Output::Start { id }), retryable);
            if retryable {
                slot.handle(Input::Ended { id, outcome: Ok(id) }, now);
                slot.handle(Input::Acknowledged { id }, now);
                drain(&mut slot);
            }
        }
        // Who has offered what is over has taken our readiness for it, and is told again once it must know better.
        let (due, reason) = slot.poll_timeout().expect("it is said again");
        assert_eq!(reason, Reason::TellAgain);
        now = due;
        slot.handle(Input::Timeout, now);
        assert_eq!(drain(&mut slot), [Output::ReadyForMore]);
        assert_eq!(slot.poll_timeout(), None);
    }

    #[test]
    fn random_histories_do_each_job_once_and_lose_no_result() {
        for seed in 0..3_000 {
            let outcome = std::panic::catch_unwind(|| history(seed));
            assert!(outcome.is_ok(), "seed of the failing history: {seed}");
        }
    }

    fn history(seed: u64) {
        let mut random = Random::new(seed);
        let mut now = Instant::now();
        let mut slot = Slot::new(Config::default(), now);
        let mut started = BTreeSet::new();
        let mut running: Option<u64> = None;
        let mut owed = BTreeMap::new();
        let mut next = 0;
        for _ in 0..200 {
            now += Duration::from_millis(random.next() % 5_000);
            let some_id = random.next() % (next + 1);
            let input = match random.next() % 11 {
                0 | 1 => {
                    next += 1;
                    offer(next)
                }
                2 => offer(some_id),
                3 | 4 => match running {
                    Some(id) => Input::Ended { id, outcome: Ok(id) },
                    None => Input::Linked,
                },
                5 | 6 => {
                    owed.remove(&some_id);
                    Input::Acknowledged { id: some_id }
                }
                7 => Input::Pause,
                8 => Input::Resume,
                9 => Input::Undeliverable {
                    id: some_id,
                    why: String::new(),
                },
                _ => Input::Timeout,
            };
            slot.handle(input, now);
            while let Some(output) = slot.poll_output() {
                match output {
                    Output::Start { id } => {
                        assert!(running.replace(id).is_none(), "two at once");
                        assert!(started.insert(id), "{id} was done twice");
                    }
                    Output::Abort { id } => assert_eq!(running, Some(id)),
                    Output::Deliver { id, outcome } => {
                        running = running.filter(|running| *running != id);
                        if matches!(outcome, Err(Failure { retryable: true, .. })) {
                            started.remove(&id);
                        }
                        owed.insert(id, outcome);
                    }
                    Output::Accept { id } => assert!(running.is_none_or(|running| running == id)),
                    Output::Reject { id, .. } => assert!(running != Some(id)),
                    Output::ReadyForMore => assert!(running.is_none() && !slot.is_paused()),
                }
            }
            assert_eq!(slot.running().copied(), running);
            let kept: BTreeMap<_, _> = slot.result().cloned().into_iter().collect();
            assert_eq!(kept, owed, "a result was lost, or kept too long");
        }
    }
}
