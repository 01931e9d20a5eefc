//! Decides when a studio offers a box its next job, and whether it offers a failed one again.

use std::collections::VecDeque;

use crate::studio::job_slot;

/// Bounds of a [`JobDispatch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// A job that a box has begun this often has failed: the box dies of it, or nothing comes of it.
    pub most_attempts: u32,
    /// Jobs of which it is remembered how often they were begun: all that may wait at once.
    pub most_remembered: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            most_attempts: 3,
            most_remembered: 32,
        }
    }
}

/// What to do with the next job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Offer it now.
    Offer,
    /// Keep it: the box would not take one now.
    Wait,
    /// It was begun too often, so it has failed.
    GiveUp {
        /// How often it was begun.
        begun: u32,
    },
}

/// What becomes of a job that the box has not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is offered again later.
    Waits,
    /// It has failed.
    Ended,
}

/// Whether the box would take a job, as far as it has said.
#[derive(Debug)]
enum Readiness<I> {
    /// It has not said so.
    Silent,
    /// It has.
    Ready,
    /// It was offered this one, and what it says before its answer is older than the offer.
    Offered(I),
}

/// The machine, over ids `I`: one for each box.
#[derive(Debug)]
pub struct JobDispatch<I> {
    config: Config,
    readiness: Readiness<I>,
    /// How often each of the latest jobs was begun, oldest first.
    begun: VecDeque<(I, u32)>,
}

impl<I: Clone + PartialEq> JobDispatch<I> {
    /// For a box that has no link yet.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            readiness: Readiness::Silent,
            begun: VecDeque::new(),
        }
    }

    /// The box has a new link, or none any more: what it said on the one before counts no more.
    pub fn on_link(&mut self) {
        self.readiness = Readiness::Silent;
    }

    /// The box would take a job.
    pub fn on_ready(&mut self) {
        match self.readiness {
            Readiness::Silent => self.readiness = Readiness::Ready,
            Readiness::Ready | Readiness::Offered(_) => {}
        }
    }

    /// What to do with the next job. A box with a job in hand is not ready, and the job in hand is not judged.
    pub fn decide(&mut self, id: &I) -> Decision {
        if !matches!(self.readiness, Readiness::Ready) {
            return Decision::Wait;
        }
        let begun = self.times(id);
        if begun >= self.config.most_attempts {
            self.forget(id);
            return Decision::GiveUp { begun };
        }
        self.readiness = Readiness::Offered(id.clone());
        Decision::Offer
    }

    /// The box has begun this job.
    pub fn on_accepted(&mut self, id: I) {
        self.on_answer(&id);
        let times = self.times(&id) + 1;
        self.forget(&id);
        if self.begun.len() >= self.config.most_remembered {
            self.begun.pop_front();
        }
        self.begun.push_back((id, times));
    }

    /// The box does not do this job, and says why.
    pub fn on_rejected(&mut self, id: &I, why: job_slot::Rejection) -> Fate {
        self.on_answer(id);
        match why {
            // It says when it would take one again.
            job_slot::Rejection::Paused | job_slot::Rejection::Busy => Fate::Waits,
            job_slot::Rejection::Unsupported => {
                self.on_ready();
                self.forget(id);
                Fate::Ended
            }
        }
    }

    /// The box has tried this job in vain.
    pub fn on_failed(&mut self, id: &I, retryable: bool) -> Fate {
        self.on_answer(id);
        if retryable && self.times(id) < self.config.most_attempts {
            return Fate::Waits;
        }
        self.forget(id);
        Fate::Ended
    }

    /// The box has done this job.
    pub fn on_completed(&mut self, id: &I) {
        self.on_answer(id);
        self.forget(id);
    }

    fn on_answer(&mut self, id: &I) {
        if matches!(&self.readiness, Readiness::Offered(offered) if offered == id) {
            self.readiness = Readiness::Silent;
        }
    }

    fn times(&self, id: &I) -> u32 {
        let known = self.begun.iter().find(|(known, _)| known == id);
        known.map_or(0, |(_, times)| *times)
    }

    fn forget(&mut self, id: &I) {
        self.begun.retain(|(known, _)| known != id);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        time::{Duration, Instant},
    };

    use super::*;
    use crate::{
        random::Random,
        studio::job_slot::{self, JobSlot},
    };

    #[test]
    fn job_that_is_begun_in_vain_is_given_up() {
        let mut dispatch = JobDispatch::new(Config::default());
        assert_eq!(dispatch.decide(&1), Decision::Wait);
        for left in (0..3).rev() {
            dispatch.on_ready();
            assert_eq!(dispatch.decide(&1), Decision::Offer);
            assert_eq!(dispatch.decide(&1), Decision::Wait, "one at a time");
            dispatch.on_accepted(1);
            // The box dies of it.
            dispatch.on_link();
            assert_eq!(dispatch.times(&1), 3 - left);
        }
        dispatch.on_ready();
        assert_eq!(dispatch.decide(&1), Decision::GiveUp { begun: 3 });
        assert_eq!(dispatch.decide(&2), Decision::Offer);
    }

    #[test]
    fn failure_for_good_and_what_cannot_be_done_end_at_once() {
        let mut dispatch = JobDispatch::new(Config::default());
        dispatch.on_accepted(1);
        assert_eq!(dispatch.on_failed(&1, true), Fate::Waits);
        assert_eq!(dispatch.on_failed(&1, false), Fate::Ended);
        assert_eq!(dispatch.on_rejected(&2, job_slot::Rejection::Unsupported), Fate::Ended);
        for why in [job_slot::Rejection::Paused, job_slot::Rejection::Busy] {
            assert_eq!(dispatch.on_rejected(&2, why), Fate::Waits);
        }
        assert!(dispatch.begun.is_empty());
    }

    /// What travels between the two ends.
    #[derive(Debug, Clone)]
    enum Frame {
        Offer(u64),
        Ack(u64),
        Tell(job_slot::Output<u64, u64>),
    }

    /// A studio's records and its machine, a box and its machine, and a link between them.
    struct World {
        now: Instant,
        dispatch: JobDispatch<u64>,
        /// How far each job is: begun so often by this life of the box or of one before, and ended so or not at all.
        jobs: BTreeMap<u64, Option<Result<u64, String>>>,
        /// Begun and not ended, as the studio knows: those go first.
        begun: BTreeSet<u64>,
        slot: JobSlot<u64, u64>,
        running: Option<u64>,
        /// How often the studio heard that each was begun.
        starts: BTreeMap<u64, u32>,
        linked: bool,
        to_box: VecDeque<Frame>,
        to_studio: VecDeque<Frame>,
    }

    impl World {
        fn new() -> Self {
            let now = Instant::now();
            Self {
                now,
                dispatch: JobDispatch::new(Config::default()),
                jobs: BTreeMap::new(),
                begun: BTreeSet::new(),
                slot: JobSlot::new(job_slot::Config::default(), now),
                running: None,
                starts: BTreeMap::new(),
                linked: false,
                to_box: VecDeque::new(),
                to_studio: VecDeque::new(),
            }
        }

        fn open(&self) -> impl Iterator<Item = u64> {
            let open = self.jobs.iter().filter(|(_, end)| end.is_none());
            open.map(|(id, _)| *id)
        }

        /// As the studio's shell does it.
        fn offer_next(&mut self) {
            while self.linked
                && let Some(id) = self.begun.first().copied().or_else(|| self.open().next())
            {
                match self.dispatch.decide(&id) {
                    Decision::Wait => return,
                    Decision::Offer => return self.to_box.push_back(Frame::Offer(id)),
                    Decision::GiveUp { .. } => self.end(id, Err("begun too often".to_owned())),
                }
            }
        }

        fn end(&mut self, id: u64, outcome: Result<u64, String>) {
            self.begun.remove(&id);
            if let Some(end @ None) = self.jobs.get_mut(&id) {
                *end = Some(outcome);
            }
        }

        fn at_the_studio(&mut self, told: job_slot::Output<u64, u64>) {
            match told {
                job_slot::Output::Accept { id } => {
                    self.dispatch.on_accepted(id);
                    *self.starts.entry(id).or_default() += 1;
                    if self.jobs[&id].is_none() {
                        self.begun.insert(id);
                    }
                }
                job_slot::Output::Reject { id, why } => {
                    self.begun.remove(&id);
                    if self.dispatch.on_rejected(&id, why) == Fate::Ended {
                        self.end(id, Err("not here".to_owned()));
                    }
                }
                job_slot::Output::Deliver { id, outcome } => {
                    match outcome {
                        Ok(result) => {
                            self.dispatch.on_completed(&id);
                            self.end(id, Ok(result));
                        }
                        Err(job_slot::Failure { error, retryable }) => {
                            if self.dispatch.on_failed(&id, retryable) == Fate::Ended {
                                self.end(id, Err(error));
                            } else {
                                self.begun.remove(&id);
                            }
                        }
                    }
                    self.to_box.push_back(Frame::Ack(id));
                }
                job_slot::Output::ReadyForMore => self.dispatch.on_ready(),
                job_slot::Output::Start { .. } | job_slot::Output::Abort { .. } => {
                    unreachable!("these stay at the box")
                }
            }
            self.offer_next();
        }

        fn at_the_box(&mut self, input: job_slot::Input<u64, u64>) {
            self.slot.handle(input, self.now);
            while let Some(output) = self.slot.poll_output() {
                match output {
                    job_slot::Output::Start { id } => {
                        assert!(self.running.replace(id).is_none(), "two at once");
                    }
                    job_slot::Output::Abort { .. } => self.running = None,
                    told @ (job_slot::Output::Accept { .. }
                    | job_slot::Output::Reject { .. }
                    | job_slot::Output::Deliver { .. }
                    | job_slot::Output::ReadyForMore) => {
                        // What is left out is said again once there is a link.
                        if self.linked {
                            self.to_studio.push_back(Frame::Tell(told));
                        }
                    }
                }
            }
        }

        fn cut(&mut self) {
            self.linked = false;
            self.to_box.clear();
            self.to_studio.clear();
            self.dispatch.on_link();
        }

        fn link(&mut self) {
            self.cut();
            self.linked = true;
            self.at_the_box(job_slot::Input::Linked);
        }

        /// The oldest frame under way arrives, of one way or the other.
        fn arrive(&mut self, at_the_box: bool) -> bool {
            let frame = if at_the_box {
                self.to_box.pop_front()
            } else {
                self.to_studio.pop_front()
            };
            match frame {
                None => return false,
                Some(Frame::Offer(id)) => self.at_the_box(job_slot::Input::Offered {
                    id,
                    supported: id % 7 != 0,
                    deadline: Duration::from_secs(20),
                }),
                Some(Frame::Ack(id)) => self.at_the_box(job_slot::Input::Acknowledged { id }),
                Some(Frame::Tell(told)) => self.at_the_studio(told),
            }
            true
        }

        fn work(&mut self, outcome: impl FnOnce(u64) -> Result<u64, job_slot::Failure>) {
            if let Some(id) = self.running.take() {
                self.at_the_box(job_slot::Input::Ended {
                    id,
                    outcome: outcome(id),
                });
            }
        }

        fn fault(&mut self, random: &mut Random) {
            match random.below(24) {
                0 => self.cut(),
                1 => {
                    // The box's bridge dies: what it had in hand is lost.
                    self.cut();
                    self.running = None;
                    self.slot = JobSlot::new(job_slot::Config::default(), self.now);
                }
                2 => self.at_the_box(job_slot::Input::Pause),
                3 => self.at_the_box(job_slot::Input::Resume),
                4 => {
                    let retryable = random.below(2) == 0;
                    let error = "in vain".to_owned();
                    self.work(|_| Err(job_slot::Failure { error, retryable }));
                }
                6 => {
                    // The studio is started again: its records last, its machine does not.
                    self.cut();
                    self.dispatch = JobDispatch::new(Config::default());
                    self.starts.clear();
                }
                7 => self.work(Ok),
                5 => {
                    let id = random.next() % (self.jobs.len() as u64 + 1);
                    let why = "no way".to_owned();
                    self.at_the_box(job_slot::Input::Undeliverable { id, why });
                }
                _ => {}
            }
        }

        fn step(&mut self, random: &mut Random) {
            self.now += Duration::from_millis(random.next() % 3_000);
            if !self.linked && random.below(3) == 0 {
                self.link();
            }
            self.at_the_box(job_slot::Input::Timeout);
            let at_the_box = random.below(2) == 0;
            if !self.arrive(at_the_box) && !self.arrive(!at_the_box) {
                self.work(Ok);
            }
        }
    }

    #[test]
    fn every_job_ends_once_whatever_happens_to_the_box_and_the_link() {
        for seed in 0..2_000 {
            let outcome = std::panic::catch_unwind(|| history(seed));
            assert!(outcome.is_ok(), "seed of the failing history: {seed}");
        }
    }

    fn history(seed: u64) {
        let mut random = Random::new(seed);
        let mut world = World::new();
        for at in 0..400 {
            if at % 20 == 0 {
                world.jobs.insert(world.jobs.len() as u64, None);
                world.offer_next();
            }
            world.fault(&mut random);
            let before = world.jobs.clone();
            world.step(&mut random);
            for (id, end) in before.iter().filter(|(_, end)| end.is_some()) {
                assert_eq!(&world.jobs[id], end, "{id} ended twice");
            }
        }
        // From here on nothing goes wrong, and nothing may be left.
        world.at_the_box(job_slot::Input::Resume);
        for _ in 0..1_000 {
            world.step(&mut random);
        }
        assert_eq!(world.open().collect::<Vec<_>>(), [] as [u64; 0], "left for ever");
        let most = Config::default().most_attempts;
        for (id, starts) in &world.starts {
            assert!(*starts <= most, "{id} was begun {starts} times");
        }
        for (id, end) in &world.jobs {
            if let Some(Ok(result)) = end {
                assert_eq!(result, id);
            }
        }
    }
}
