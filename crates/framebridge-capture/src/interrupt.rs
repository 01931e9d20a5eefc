//! Calls back a thread that is inside FFmpeg, or waits for its next picture.

use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Ends blocking calls: at once by [`stop`](Self::stop), or when a call's own deadline is over. FFmpeg polls it in
/// network code; a display server, a FIFO and most drivers never look at it, which is why the process that embeds
/// this crate keeps a watchdog too. Clones are the same interrupt.
#[derive(Debug, Clone)]
pub struct Interrupt(Arc<InterruptState>);

#[derive(Debug)]
struct InterruptState {
    epoch: Instant,
    /// Nanoseconds after `epoch`; [`NO_DEADLINE`] while none is set.
    deadline: AtomicU64,
    stopped: AtomicBool,
    /// Whether what was opened is being closed, which a stop must not cut short.
    closing: AtomicBool,
    waiting: Mutex<()>,
    stop: Condvar,
}

const NO_DEADLINE: u64 = u64::MAX;

impl Interrupt {
    /// One that has not been stopped and has no deadline.
    pub fn new() -> Self {
        Self(Arc::new(InterruptState {
            epoch: Instant::now(),
            deadline: AtomicU64::new(NO_DEADLINE),
            stopped: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            waiting: Mutex::new(()),
            stop: Condvar::new(),
        }))
    }

    /// Ends the call that is under way and every later one.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::Release);
        // With the lock taken, nobody is between looking at `stopped` and going to sleep.
        drop(self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.stop.notify_all();
    }

    /// Whether [`stop`](Self::stop) was called.
    pub fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::Acquire)
    }

    /// Waits until `due`, or until stopped. Says whether it may go on.
    pub fn wait_until(&self, due: Instant) -> bool {
        let mut guard = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.is_stopped() {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            guard = self
                .0
                .stop
                .wait_timeout(guard, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        false
    }

    /// Gives the calls from now on, together, `limit`.
    pub(crate) fn arm(&self, limit: Duration) {
        self.0.closing.store(false, Ordering::Release);
        self.set_deadline(limit);
    }

    /// Gives the calls from now on as long as they take.
    pub(crate) fn disarm(&self) {
        self.0.closing.store(false, Ordering::Release);
        self.0.deadline.store(NO_DEADLINE, Ordering::Release);
    }

    /// Gives what is closed from now on `limit`, stopped or not: a camera that is not told good-bye keeps its session, and may
    /// have but one.
    pub(crate) fn begin_closing(&self, limit: Duration) {
        self.set_deadline(limit);
        self.0.closing.store(true, Ordering::Release);
    }

    fn set_deadline(&self, limit: Duration) {
        let deadline = u64::try_from((self.0.epoch.elapsed() + limit).as_nanos()).unwrap_or(NO_DEADLINE);
        self.0.deadline.store(deadline, Ordering::Release);
    }

    /// Whether the deadline is over.
    pub(crate) fn is_overdue(&self) -> bool {
        u128::from(self.0.deadline.load(Ordering::Acquire)) < self.0.epoch.elapsed().as_nanos()
    }

    /// What FFmpeg asks: is this call to end?
    pub(crate) fn is_tripped(&self) -> bool {
        let stopped = self.is_stopped() && !self.0.closing.load(Ordering::Acquire);
        stopped || self.is_overdue()
    }
}

impl Default for Interrupt {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_lasts_until_it_is_due() {
        let due = Instant::now() + Duration::from_millis(20);
        assert!(Interrupt::new().wait_until(due));
        assert!(Instant::now() >= due);
    }

    #[test]
    fn a_stop_ends_a_wait_on_another_thread_and_all_later_ones() {
        let interrupt = Interrupt::new();
        let far = Instant::now() + Duration::from_secs(60);
        let waiter = std::thread::spawn({
            let interrupt = interrupt.clone();
            move || interrupt.wait_until(far)
        });
        interrupt.stop();
        assert!(!waiter.join().unwrap());
        assert!(!interrupt.wait_until(far));
        assert!(interrupt.is_tripped());
    }

    #[test]
    fn a_deadline_trips_the_interrupt_without_stopping_it() {
        let interrupt = Interrupt::new();
        assert!(!interrupt.is_tripped());
        interrupt.arm(Duration::ZERO);
        assert!(interrupt.wait_until(Instant::now() + Duration::from_millis(1)));
        assert!(interrupt.is_tripped() && interrupt.is_overdue() && !interrupt.is_stopped());
        interrupt.arm(Duration::from_secs(60));
        assert!(!interrupt.is_tripped());
    }

    #[test]
    fn what_is_closed_after_a_stop_has_its_own_deadline() {
        let interrupt = Interrupt::new();
        interrupt.stop();
        interrupt.begin_closing(Duration::from_secs(60));
        assert!(!interrupt.is_tripped() && interrupt.is_stopped());
        interrupt.arm(Duration::from_secs(60));
        assert!(interrupt.is_tripped());
    }
}
