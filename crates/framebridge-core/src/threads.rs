//! Detects threads that stop answering wake-ups.

use std::time::{Duration, Instant};

use crate::{observed_time::ObservedTime, stall::StallWatchdog};

/// Far longer than any round takes, and half of what a viewer waits for a picture before it gives its session up.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Watches threads by the number of rounds that each has done. Only time between looks counts, so a process that was stopped as
/// a whole and continues has no thread that hangs.
#[derive(Debug, Clone)]
pub struct ThreadWatch {
    threads: Vec<StallWatchdog>,
    clock: ObservedTime,
}

impl ThreadWatch {
    /// Watches `threads` threads, each of which is woken at least once between two looks. `interval`: time between two looks.
    pub fn new(threads: usize, interval: Duration, now: Instant) -> Self {
        Self {
            threads: vec![StallWatchdog::new(TIMEOUT, now); threads],
            clock: ObservedTime::new(interval * 2, now),
        }
    }

    /// Takes in the rounds of each thread. Returns the index of a thread that hangs, and for how long it has.
    pub fn observe(&mut self, rounds: &[u64], now: Instant) -> Option<(usize, Duration)> {
        let clock = self.clock.look(now);
        let hangs = self
            .threads
            .iter_mut()
            .zip(rounds)
            .map(|(thread, rounds)| thread.observe(*rounds, false, clock).then(|| thread.silent_for(clock)));
        // All are looked at, whichever hangs.
        hangs
            .enumerate()
            .filter_map(|(place, hangs)| Some((place, hangs?)))
            .last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_secs(1);

    #[test]
    fn one_that_hangs_among_others_is_found_once() {
        let mut now = Instant::now();
        let mut watch = ThreadWatch::new(3, LOOK, now);
        let found: Vec<_> = (0..20)
            .filter_map(|round: u64| {
                now += LOOK;
                watch.observe(&[round, round.min(3), round], now)
            })
            .collect();
        assert_eq!(found, [(1, TIMEOUT)]);
    }

    #[test]
    fn process_that_was_stopped_as_a_whole_has_no_thread_that_hangs() {
        let mut now = Instant::now();
        let mut watch = ThreadWatch::new(1, LOOK, now);
        for round in 0..20 {
            now += Duration::from_secs(600);
            // The same number twice: the threads were stopped before they could come round.
            assert_eq!(watch.observe(&[round / 2], now), None);
        }
    }
}
