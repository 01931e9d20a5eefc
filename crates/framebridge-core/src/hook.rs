//! Decides when a hook is told of what, and for how long one that fails is tried.
//!
//! One at a time, in order, so that a receiver never hears of an end before its beginning. What can't be delivered is tried again
//! and again until it is too old; what comes meanwhile waits, and where too much waits the oldest goes. Nothing is lost unsaid:
//! each delivery says how many were lost since the one before.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::backoff::{self, Backoff};

/// How a [`Hook`] delivers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// Events that wait at most, without the one under way.
    pub capacity: usize,
    /// How long an event is tried.
    pub keep: Duration,
    /// Waits between attempts.
    pub backoff: backoff::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            // A bad day's worth of one stream; a few hundred bytes each.
            capacity: 128,
            // What happened longer ago is no news: `bridgectl journal` has it.
            keep: Duration::from_secs(3600),
            backoff: backoff::Config {
                base: Duration::from_secs(1),
                cap: Duration::from_secs(60),
                ..backoff::Config::default()
            },
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input<T> {
    /// Something to tell.
    Happened(T),
    /// [`Output::Deliver`] was carried out.
    Delivered,
    /// It failed.
    Failed {
        /// Why.
        why: String,
        /// Whether another attempt may succeed.
        again: bool,
    },
    /// Time has passed.
    Timeout,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output<T> {
    /// Tell the hook; [`Input::Delivered`] or [`Input::Failed`] has to follow.
    Deliver {
        /// What.
        event: T,
        /// The first attempt is 1.
        attempt: u32,
        /// Events before it that were lost since the last delivery.
        lost: u64,
    },
    /// Say that events are lost: this one is the first since a delivery, or was given up.
    Lost {
        /// How many since the last delivery.
        lost: u64,
        /// Why.
        why: String,
    },
}

/// Why [`Input::Timeout`] is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The next attempt.
    Retry,
}

/// How a hook fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Events that wait, the one under way included.
    pub waiting: usize,
    /// Events that were delivered.
    pub delivered: u64,
    /// Events that were given up, or had no room.
    pub lost: u64,
    /// Attempts in a row that failed.
    pub failures: u32,
    /// Why the last attempt failed, if it did.
    pub last_error: Option<String>,
    /// When the next attempt is, where one waits.
    pub retry_at: Option<Instant>,
}

/// An event that is being told.
#[derive(Debug, Clone)]
struct UnderWay<T> {
    since: Instant,
    event: T,
    /// Lost events that are told with it.
    lost: u64,
}

/// One hook.
#[derive(Debug, Clone)]
pub struct Hook<T> {
    config: Config,
    backoff: Backoff,
    /// Oldest first. At `capacity` the oldest goes for the next.
    waiting: VecDeque<(Instant, T)>,
    under_way: Option<UnderWay<T>>,
    /// Of the one that is under way or waits first.
    attempt: u32,
    retry_at: Option<Instant>,
    delivered: u64,
    lost: u64,
    /// Of these, since the last delivery.
    unsaid: u64,
    failures: u32,
    last_error: Option<String>,
    outputs: VecDeque<Output<T>>,
}

impl<T: Clone> Hook<T> {
    /// One that has been told nothing.
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            config,
            backoff: Backoff::new(config.backoff, seed),
            waiting: VecDeque::new(),
            under_way: None,
            attempt: 0,
            retry_at: None,
            delivered: 0,
            lost: 0,
            unsaid: 0,
            failures: 0,
            last_error: None,
            outputs: VecDeque::new(),
        }
    }

    /// Takes in what happened.
    pub fn handle(&mut self, input: Input<T>, now: Instant) {
        match input {
            Input::Happened(event) => self.on_happened(event, now),
            Input::Delivered => self.on_delivered(now),
            Input::Failed { why, again } => self.on_failed(why, again, now),
            Input::Timeout => {}
        }
        self.go_on(now);
    }

    /// What is to be done next, if anything.
    pub fn poll_output(&mut self) -> Option<Output<T>> {
        self.outputs.pop_front()
    }

    /// When [`Input::Timeout`] is due, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        self.retry_at.map(|at| (at, Reason::Retry))
    }

    /// How it fares.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            waiting: self.waiting.len() + usize::from(self.under_way.is_some()),
            delivered: self.delivered,
            lost: self.lost,
            failures: self.failures,
            last_error: self.last_error.clone(),
            retry_at: self.retry_at,
        }
    }

    fn on_happened(&mut self, event: T, now: Instant) {
        if self.waiting.len() >= self.config.capacity {
            self.waiting.pop_front();
            if self.under_way.is_none() {
                self.attempt = 0;
            }
            let is_first = self.unsaid == 0;
            self.lose();
            if is_first {
                self.say_lost(format!("more than {} wait", self.config.capacity));
            }
        }
        self.waiting.push_back((now, event));
    }

    fn on_delivered(&mut self, now: Instant) {
        let Some(UnderWay { lost, .. }) = self.under_way.take() else {
            return;
        };
        self.delivered += 1;
        // More may have been lost while it was told.
        self.unsaid -= lost;
        (self.attempt, self.failures, self.last_error) = (0, 0, None);
        self.backoff.succeeded(now);
    }

    fn on_failed(&mut self, why: String, again: bool, now: Instant) {
        let Some(UnderWay { since, event, .. }) = self.under_way.take() else {
            return;
        };
        self.failures = self.failures.saturating_add(1);
        let is_old = now.saturating_duration_since(since) >= self.config.keep;
        if again && !is_old {
            self.waiting.push_front((since, event));
            self.retry_at = Some(now + self.backoff.next_delay(now));
        } else {
            self.attempt = 0;
            self.lose();
            self.say_lost(why.clone());
            if again {
                self.retry_at = Some(now + self.backoff.next_delay(now));
            }
        }
        self.last_error = Some(why);
    }

    /// Begins the next attempt, if it is time for one.
    fn go_on(&mut self, now: Instant) {
        if self.retry_at.is_some_and(|at| at > now) || self.under_way.is_some() {
            return;
        }
        self.retry_at = None;
        let keep = self.config.keep;
        while let Some((since, _)) = self.waiting.front()
            && now.saturating_duration_since(*since) >= keep
        {
            self.waiting.pop_front();
            self.attempt = 0;
            let is_first = self.unsaid == 0;
            self.lose();
            if is_first {
                self.say_lost(format!("it waited for {} s", keep.as_secs()));
            }
        }
        let Some((since, event)) = self.waiting.pop_front() else {
            return;
        };
        self.attempt += 1;
        self.outputs.push_back(Output::Deliver {
            event: event.clone(),
            attempt: self.attempt,
            lost: self.unsaid,
        });
        let lost = self.unsaid;
        self.under_way = Some(UnderWay { since, event, lost });
    }

    fn lose(&mut self) {
        (self.lost, self.unsaid) = (self.lost + 1, self.unsaid + 1);
    }

    fn say_lost(&mut self, why: String) {
        let lost = self.unsaid;
        self.outputs.push_back(Output::Lost { lost, why });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEEP: Duration = Duration::from_secs(3600);

    fn hook(capacity: usize) -> Hook<u32> {
        let config = Config {
            capacity,
            keep: KEEP,
            backoff: backoff::Config {
                base: Duration::from_secs(1),
                cap: Duration::from_secs(8),
                jitter: 0.0,
                ..backoff::Config::default()
            },
        };
        Hook::new(config, 7)
    }

    fn failed(again: bool) -> Input<u32> {
        Input::Failed {
            why: "no".into(),
            again,
        }
    }

    fn deliver(event: u32, attempt: u32, lost: u64) -> Output<u32> {
        Output::Deliver { event, attempt, lost }
    }

    #[test]
    fn one_is_told_at_a_time_and_in_order() {
        let (mut hook, now) = (hook(9), Instant::now());
        (1..=3).for_each(|event| hook.handle(Input::Happened(event), now));
        for event in 1..=3 {
            assert_eq!(hook.poll_output(), Some(deliver(event, 1, 0)));
            assert_eq!(hook.poll_output(), None);
            hook.handle(Input::Delivered, now);
        }
        assert_eq!((hook.snapshot().delivered, hook.snapshot().waiting), (3, 0));
    }

    #[test]
    fn one_that_fails_is_tried_again_with_longer_and_longer_waits() {
        let (mut hook, mut now) = (hook(9), Instant::now());
        hook.handle(Input::Happened(1), now);
        hook.handle(Input::Happened(2), now);
        for (attempt, wait) in (1..).zip([1, 2, 4, 8, 8]) {
            assert_eq!(hook.poll_output(), Some(deliver(1, attempt, 0)));
            hook.handle(failed(true), now);
            let (at, Reason::Retry) = hook.poll_timeout().expect("a next try");
            assert_eq!(at - now, Duration::from_secs(wait));
            hook.handle(Input::Timeout, at - Duration::from_millis(1));
            assert_eq!(hook.poll_output(), None, "not before its time");
            now = at;
            hook.handle(Input::Timeout, now);
        }
        assert_eq!(hook.snapshot().failures, 5);
        assert_eq!(hook.poll_output(), Some(deliver(1, 6, 0)));
        hook.handle(Input::Delivered, now);
        assert_eq!(hook.poll_output(), Some(deliver(2, 1, 0)));
        assert_eq!(hook.snapshot().last_error, None);
    }

    #[test]
    fn one_that_no_attempt_will_help_is_given_up_and_the_next_goes_at_once() {
        let (mut hook, now) = (hook(9), Instant::now());
        hook.handle(Input::Happened(1), now);
        hook.handle(Input::Happened(2), now);
        assert_eq!(hook.poll_output(), Some(deliver(1, 1, 0)));
        hook.handle(failed(false), now);
        let why = "no".to_owned();
        assert_eq!(hook.poll_output(), Some(Output::Lost { lost: 1, why }));
        assert_eq!(
            hook.poll_output(),
            Some(deliver(2, 1, 1)),
            "it says what is missing before it"
        );
    }

    #[test]
    fn what_is_too_old_is_lost_and_counted() {
        let (mut hook, now) = (hook(9), Instant::now());
        (1..=3).for_each(|event| hook.handle(Input::Happened(event), now));
        hook.handle(Input::Happened(4), now + KEEP / 2);
        assert_eq!(hook.poll_output(), Some(deliver(1, 1, 0)));
        hook.handle(failed(true), now + KEEP);
        assert!(matches!(hook.poll_output(), Some(Output::Lost { lost: 1, .. })));
        let (at, _) = hook.poll_timeout().expect("whoever refused is not pressed");
        hook.handle(Input::Timeout, at);
        assert_eq!(hook.poll_output(), Some(deliver(4, 1, 3)));
        assert_eq!(hook.snapshot().lost, 3);
    }

    #[test]
    fn where_too_much_waits_the_oldest_goes_and_that_is_said_once() {
        let (mut hook, now) = (hook(2), Instant::now());
        (1..=6).for_each(|event| hook.handle(Input::Happened(event), now));
        assert_eq!(hook.poll_output(), Some(deliver(1, 1, 0)));
        assert!(matches!(hook.poll_output(), Some(Output::Lost { lost: 1, .. })));
        assert_eq!(hook.poll_output(), None);
        hook.handle(Input::Delivered, now);
        assert_eq!(hook.poll_output(), Some(deliver(5, 1, 3)));
    }

    proptest! {
        #[test]
        fn whatever_happens_every_event_is_delivered_lost_or_waits(steps in prop::collection::vec((0_u8..5, 0_u64..600), 0..400)) {
            let (mut hook, mut now) = (hook(8), Instant::now());
            let (mut told, mut under_way) = (0_u32, 0_u32);
            for (step, seconds) in steps {
                now += Duration::from_secs(seconds);
                match step {
                    0 | 1 => { told += 1; hook.handle(Input::Happened(told), now); }
                    2 if under_way == 1 => { under_way = 0; hook.handle(Input::Delivered, now); }
                    3 if under_way == 1 => { under_way = 0; hook.handle(failed(true), now); }
                    4 if under_way == 1 => { under_way = 0; hook.handle(failed(false), now); }
                    _ => hook.handle(Input::Timeout, now),
                }
                while let Some(output) = hook.poll_output() {
                    under_way += u32::from(matches!(output, Output::Deliver { .. }));
                }
                prop_assert!(under_way <= 1);
                let Snapshot { waiting, delivered, lost, .. } = hook.snapshot();
                prop_assert!(waiting <= 9);
                prop_assert_eq!(u64::from(told), delivered + lost + u64::try_from(waiting).unwrap_or(0));
                prop_assert!(waiting == 0 || under_way == 1 || hook.poll_timeout().is_some(), "nothing waits for nothing");
            }
        }
    }
}
