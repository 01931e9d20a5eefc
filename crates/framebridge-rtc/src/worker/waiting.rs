//! When a worker wakes up, and what for.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Worker;
use crate::channel::Channel;

/// Where many viewers have something to say, their words are read together, so far apart: to wake up costs more than a word. Nothing
/// that viewers report is late by that, and a packet that is asked for again is by half of it.
const REST: Duration = Duration::from_millis(5);
/// Words that come less often are read at once.
const SELDOM: Duration = Duration::from_millis(20);
/// For so long after a step of somebody who connects, the next one is waited for without a rest: steps follow each other by less.
const ATTENTION: Duration = Duration::from_millis(500);

/// When a worker reads what comes from the net.
#[derive(Debug, Default)]
pub(super) struct Reading {
    last: Option<Instant>,
    rest: Option<Instant>,
    attention: Option<Instant>,
}

impl Reading {
    /// Everything that had come was read.
    pub(super) fn on_read(&mut self, now: Instant) {
        let is_often = |last: Instant| now.saturating_duration_since(last) < SELDOM;
        self.rest = self.last.is_some_and(is_often).then(|| now + REST);
        self.last = Some(now);
    }

    /// Somebody connects.
    pub(super) fn attend(&mut self, now: Instant) {
        self.attention = Some(now + ATTENTION);
    }

    /// Nothing is read before then; `None`: now.
    pub(super) fn rest(&self, now: Instant) -> Option<Instant> {
        let is_attentive = self.attention.is_some_and(|until| now < until);
        self.rest.filter(|until| now < *until && !is_attentive)
    }
}

impl Worker {
    /// Sleeps until there is something to do. Notes which sockets have something to read.
    pub(super) fn wait(&mut self) {
        self.readable.clear();
        let pace = self.channels.iter().flatten().filter_map(Channel::poll_timeout).min();
        let due = [self.tick, pace].into_iter().flatten().min();
        // Who steers over a line, or publishes, is never waited with.
        let rest = self
            .reading
            .rest(Instant::now())
            .filter(|_| !self.viewers.has_senders());
        let first = [rest, due].into_iter().flatten().min();
        if rest.is_some() && (self.sleep(first, false) || first != rest) {
            return;
        }
        self.sleep(due, true);
    }

    /// Sleeps until then, or until the bell rings, or, if that is to be `heard`, something comes from the net; false: it is time.
    fn sleep(&mut self, until: Option<Instant>, is_heard: bool) -> bool {
        let timeout = until.map(|until| {
            let left = until.saturating_duration_since(Instant::now());
            Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        let heard = if is_heard { &self.sockets[..] } else { &[] };
        let mut sources = vec![PollFd::new(&self.inlet.bell, PollFlags::IN)];
        sources.extend(heard.iter().map(|socket| PollFd::new(socket, PollFlags::IN)));
        match poll(&mut sources, timeout.as_ref()) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "poll");
                return true;
            }
        }
        let is_ready = |source: &PollFd<'_>| !source.revents().is_empty();
        if is_ready(&sources[0]) {
            self.inlet.bell.silence();
        }
        self.readable
            .extend((0..heard.len()).filter(|number| is_ready(&sources[number + 1])));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// How often what comes at these times, milliseconds, is read.
    fn reads(reading: &mut Reading, start: Instant, times: impl IntoIterator<Item = u64>) -> usize {
        let mut reads: Vec<Instant> = Vec::new();
        for time in times {
            let came = start + ms(time);
            if reads.last().is_some_and(|last| came < *last) {
                continue;
            }
            let read = reading.rest(came).unwrap_or(came);
            reading.on_read(read);
            reads.push(read);
        }
        reads.len()
    }

    #[test]
    fn words_of_many_are_read_together_and_those_of_few_at_once() {
        let start = Instant::now();
        let mut many = Reading::default();
        assert_eq!(
            reads(&mut many, start, 0..1000),
            202,
            "the first two, and then each 5 ms"
        );
        let mut few = Reading::default();
        assert_eq!(reads(&mut few, start, (0..1000).step_by(50)), 20);
        assert_eq!(few.rest(start + ms(951)), None);
    }

    #[test]
    fn who_connects_is_heard_at_once() {
        let start = Instant::now();
        let mut reading = Reading::default();
        reads(&mut reading, start, 0..100);
        let now = start + ms(101);
        assert!(reading.rest(now).is_some());
        reading.attend(now);
        assert_eq!(reads(&mut reading, start, 101..300), 199);
        assert_eq!(reads(&mut reading, start, 601..1001), 82, "its time is over");
    }
}
