//! A box's one slot for jobs, and the results it keeps until the studio has them.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Bounds of a [`JobSlot`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobSlotConfig {
    /// Results kept unacknowledged; with so many, offers are refused as busy.
    pub most_results: usize,
    /// Ids of acknowledged jobs that are remembered, so that a late offer of one is not done twice.
    pub most_remembered: usize,
    /// No job may take longer, whatever its offer says.
    pub longest: Duration,
    /// When a job is offered whose end the studio has acknowledged: one of its nodes has not heard of it, and will have by
    /// then.
    pub news_take: Duration,
}

impl Default for JobSlotConfig {
    fn default() -> Self {
        Self {
            most_results: 8,
            most_remembered: 64,
            longest: Duration::from_secs(300),
            news_take: Duration::from_secs(5),
        }
    }
}

/// Why an offer was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobRejection {
    /// The operator wants none now.
    Paused,
    /// There is one in hand, or too many results wait.
    Busy,
    /// It can't be done here.
    Unsupported,
}

/// Why a job came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFailure {
    /// For a person.
    pub error: String,
    /// Whether it may work another time.
    pub retryable: bool,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobInput<I, R> {
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
        outcome: Result<R, JobFailure>,
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
pub enum JobOutput<I, R> {
    /// Begin it; [`JobInput::Ended`] answers.
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
        why: JobRejection,
    },
    /// Tell the studio what came of it.
    Deliver {
        /// Which.
        id: I,
        /// What came of it.
        outcome: Result<R, JobFailure>,
    },
    /// Tell the studio that another would be taken.
    ReadyForMore,
}

/// The machine, over ids `I` and results `R`.
#[derive(Debug)]
pub struct JobSlot<I, R> {
    config: JobSlotConfig,
    paused: bool,
    running: Option<(I, Instant)>,
    results: VecDeque<(I, Result<R, JobFailure>)>,
    acknowledged: VecDeque<I>,
    /// When to say again that another job would be taken.
    tell_at: Option<Instant>,
    now: Instant,
    outputs: VecDeque<JobOutput<I, R>>,
}

impl<I: Clone + PartialEq, R: Clone> JobSlot<I, R> {
    /// An empty slot.
    pub fn new(config: JobSlotConfig, now: Instant) -> Self {
        Self {
            config,
            paused: false,
            running: None,
            results: VecDeque::new(),
            acknowledged: VecDeque::new(),
            tell_at: None,
            now,
            outputs: VecDeque::new(),
        }
    }

    /// Takes in what happened. Drain [`poll_output`](Self::poll_output) afterwards.
    pub fn handle(&mut self, input: JobInput<I, R>, now: Instant) {
        self.now = self.now.max(now);
        match input {
            JobInput::Offered {
                id,
                supported,
                deadline,
            } => self.on_offered(id, supported, deadline),
            JobInput::Ended { id, outcome } => {
                if self.running.as_ref().is_some_and(|(running, _)| *running == id) {
                    self.finish(id, outcome);
                }
            }
            JobInput::Acknowledged { id } => self.on_acknowledged(id),
            JobInput::Linked => self.on_linked(),
            JobInput::Pause => self.paused = true,
            JobInput::Resume => {
                if std::mem::take(&mut self.paused) {
                    self.tell_if_free();
                }
            }
            JobInput::Timeout => {
                if let Some((id, deadline)) = self.running.clone()
                    && self.now >= deadline
                {
                    self.outputs.push_back(JobOutput::Abort { id: id.clone() });
                    let late = JobFailure {
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
    pub fn poll_output(&mut self) -> Option<JobOutput<I, R>> {
        self.outputs.pop_front()
    }

    /// When [`JobInput::Timeout`] is due next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadline = self.running.as_ref().map(|(_, deadline)| *deadline);
        deadline.into_iter().chain(self.tell_at).min()
    }

    /// The job in hand.
    pub fn running(&self) -> Option<&I> {
        self.running.as_ref().map(|(id, _)| id)
    }

    /// Whether the operator wants no jobs for now.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Results that the studio has not acknowledged, oldest first.
    pub fn results(&self) -> impl Iterator<Item = (&I, &Result<R, JobFailure>)> {
        self.results.iter().map(|(id, outcome)| (id, outcome))
    }

    fn on_offered(&mut self, id: I, supported: bool, deadline: Duration) {
        if let Some((_, outcome)) = self.results.iter().find(|(known, _)| *known == id) {
            let outcome = outcome.clone();
            return self.outputs.push_back(JobOutput::Deliver { id, outcome });
        }
        if self.running() == Some(&id) {
            return self.outputs.push_back(JobOutput::Accept { id });
        }
        if self.acknowledged.contains(&id) {
            self.tell_at.get_or_insert(self.now + self.config.news_take);
            return;
        }
        let refused = match () {
            () if self.paused => Some(JobRejection::Paused),
            () if !supported => Some(JobRejection::Unsupported),
            () if !self.is_free() => Some(JobRejection::Busy),
            () => None,
        };
        if let Some(why) = refused {
            return self.outputs.push_back(JobOutput::Reject { id, why });
        }
        let until = self.now + deadline.min(self.config.longest);
        self.running = Some((id.clone(), until));
        self.outputs.push_back(JobOutput::Accept { id: id.clone() });
        self.outputs.push_back(JobOutput::Start { id });
    }

    fn on_acknowledged(&mut self, id: I) {
        let Some(at) = self.results.iter().position(|(known, _)| *known == id) else {
            return;
        };
        let ended = self.results.remove(at).map(|(_, outcome)| outcome);
        // What may work another time may be offered again.
        if !matches!(ended, Some(Err(JobFailure { retryable: true, .. }))) {
            if self.acknowledged.len() >= self.config.most_remembered {
                self.acknowledged.pop_front();
            }
            self.acknowledged.push_back(id);
        }
        self.tell_if_free();
    }

    fn on_linked(&mut self) {
        for (id, outcome) in &self.results {
            let (id, outcome) = (id.clone(), outcome.clone());
            self.outputs.push_back(JobOutput::Deliver { id, outcome });
        }
        self.tell_if_free();
    }

    fn finish(&mut self, id: I, outcome: Result<R, JobFailure>) {
        self.running = None;
        self.results.push_back((id.clone(), outcome.clone()));
        self.outputs.push_back(JobOutput::Deliver { id, outcome });
    }

    fn is_free(&self) -> bool {
        self.running.is_none() && self.results.len() < self.config.most_results
    }

    fn tell_if_free(&mut self) {
        if self.is_free() && !self.paused {
            self.outputs.push_back(JobOutput::ReadyForMore);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::random::Random;

    type Slot = JobSlot<u64, u64>;

    fn drain(slot: &mut Slot) -> Vec<JobOutput<u64, u64>> {
        std::iter::from_fn(|| slot.poll_output()).collect()
    }

    fn offer(id: u64) -> JobInput<u64, u64> {
        JobInput::Offered {
            id,
            supported: true,
            deadline: Duration::from_secs(20),
        }
    }

    #[test]
    fn result_is_kept_and_told_again_until_it_is_acknowledged() {
        let now = Instant::now();
        let mut slot = Slot::new(JobSlotConfig::default(), now);
        slot.handle(offer(1), now);
        assert_eq!(
            drain(&mut slot),
            [JobOutput::Accept { id: 1 }, JobOutput::Start { id: 1 }]
        );
        slot.handle(JobInput::Ended { id: 1, outcome: Ok(11) }, now);
        let delivery = JobOutput::Deliver { id: 1, outcome: Ok(11) };
        assert_eq!(drain(&mut slot), std::slice::from_ref(&delivery));
        slot.handle(JobInput::Linked, now);
        assert_eq!(drain(&mut slot), [delivery.clone(), JobOutput::ReadyForMore]);
        slot.handle(offer(1), now);
        assert_eq!(drain(&mut slot), [delivery]);
        slot.handle(JobInput::Acknowledged { id: 1 }, now);
        assert_eq!(drain(&mut slot), [JobOutput::ReadyForMore]);
        slot.handle(offer(1), now);
        assert_eq!(drain(&mut slot), []);
    }

    #[test]
    fn refusals_say_which() {
        let now = Instant::now();
        let mut slot = Slot::new(JobSlotConfig::default(), now);
        let reject = |id, why| JobOutput::Reject { id, why };
        let strange = JobInput::Offered {
            id: 1,
            supported: false,
            deadline: Duration::from_secs(1),
        };
        slot.handle(strange, now);
        assert_eq!(drain(&mut slot), [reject(1, JobRejection::Unsupported)]);
        slot.handle(offer(2), now);
        slot.handle(offer(3), now);
        assert_eq!(drain(&mut slot).pop(), Some(reject(3, JobRejection::Busy)));
        slot.handle(JobInput::Pause, now);
        slot.handle(offer(4), now);
        assert_eq!(drain(&mut slot), [reject(4, JobRejection::Paused)]);
    }

    #[test]
    fn job_past_its_deadline_is_aborted_and_frees_the_slot() {
        let now = Instant::now();
        let mut slot = Slot::new(JobSlotConfig::default(), now);
        slot.handle(offer(1), now);
        drain(&mut slot);
        slot.handle(JobInput::Timeout, slot.poll_timeout().unwrap());
        assert_eq!(drain(&mut slot)[0], JobOutput::Abort { id: 1 });
        slot.handle(offer(2), now);
        assert!(drain(&mut slot).contains(&JobOutput::Start { id: 2 }));
        slot.handle(JobInput::Ended { id: 1, outcome: Ok(1) }, now);
        assert_eq!(slot.running(), Some(&2));
    }

    #[test]
    fn failure_that_may_work_another_time_is_tried_again_and_a_done_job_is_not() {
        let mut now = Instant::now();
        let mut slot = Slot::new(JobSlotConfig::default(), now);
        for (id, retryable) in [(1, true), (2, false)] {
            slot.handle(offer(id), now);
            let error = "no room".to_owned();
            let outcome = Err(JobFailure { error, retryable });
            slot.handle(JobInput::Ended { id, outcome }, now);
            slot.handle(JobInput::Acknowledged { id }, now);
            drain(&mut slot);
            slot.handle(offer(id), now);
            assert_eq!(drain(&mut slot).contains(&JobOutput::Start { id }), retryable);
            if retryable {
                slot.handle(JobInput::Ended { id, outcome: Ok(id) }, now);
                slot.handle(JobInput::Acknowledged { id }, now);
                drain(&mut slot);
            }
        }
        // Who has offered what is over has taken our readiness for it, and is told again once it must know better.
        now = slot.poll_timeout().expect("it is said again");
        slot.handle(JobInput::Timeout, now);
        assert_eq!(drain(&mut slot), [JobOutput::ReadyForMore]);
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
        let config = JobSlotConfig::default();
        let mut slot = Slot::new(config, now);
        let mut started = BTreeSet::new();
        let mut running: Option<u64> = None;
        let mut owed = BTreeMap::new();
        let mut next = 0;
        for _ in 0..200 {
            now += Duration::from_millis(random.next() % 5_000);
            let some_id = random.next() % (next + 1);
            let input = match random.next() % 10 {
                0 | 1 => {
                    next += 1;
                    offer(next)
                }
                2 => offer(some_id),
                3 | 4 => match running {
                    Some(id) => JobInput::Ended { id, outcome: Ok(id) },
                    None => JobInput::Linked,
                },
                5 | 6 => {
                    owed.remove(&some_id);
                    JobInput::Acknowledged { id: some_id }
                }
                7 => JobInput::Pause,
                8 => JobInput::Resume,
                _ => JobInput::Timeout,
            };
            slot.handle(input, now);
            while let Some(output) = slot.poll_output() {
                match output {
                    JobOutput::Start { id } => {
                        assert!(running.replace(id).is_none(), "two at once");
                        assert!(started.insert(id), "{id} was done twice");
                    }
                    JobOutput::Abort { id } => assert_eq!(running, Some(id)),
                    JobOutput::Deliver { id, outcome } => {
                        running = running.filter(|running| *running != id);
                        if matches!(outcome, Err(JobFailure { retryable: true, .. })) {
                            started.remove(&id);
                        }
                        owed.insert(id, outcome);
                    }
                    JobOutput::Accept { id } => assert!(running.is_none_or(|running| running == id)),
                    JobOutput::Reject { id, .. } => assert!(running != Some(id)),
                    JobOutput::ReadyForMore => assert!(running.is_none() && !slot.is_paused()),
                }
            }
            assert_eq!(slot.running().copied(), running);
            assert!(owed.len() <= config.most_results);
            let kept: BTreeMap<_, _> = slot.results().map(|(id, outcome)| (*id, outcome.clone())).collect();
            assert_eq!(kept, owed, "a result was lost, or kept too long");
        }
    }
}
