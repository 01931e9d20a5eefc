//! Waiting for a state, with a bound.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{anyhow, ensure};

/// Long enough for the slowest machine that runs the tests; a wait that ends well ends much sooner.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Pause between two looks: short against anything a test asserts, long against what a look costs.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

/// Somebody has ended the program: nothing is waited for any more.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Ends every wait from now on with an error, so that whoever waits cleans up and goes.
pub fn interrupt() {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Looks until it sees something, for at most `limit`. An error of a look means "not yet"; the last one is reported
/// when time is up.
///
/// # Errors
/// Time is up.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let started = Instant::now();
    loop {
        ensure!(
            !INTERRUPTED.load(Ordering::Relaxed),
            "interrupted while waiting for {what}"
        );
        let seen = look();
        if let Ok(Some(found)) = seen {
            return Ok(found);
        }
        if started.elapsed() > limit {
            let why = seen.err().unwrap_or_else(|| anyhow!("it was looked for until the end"));
            return Err(why.context(format!("waited {} s in vain: {what}", limit.as_secs())));
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "the one pause there is, between two looks at a state"
        )]
        thread::sleep(PAUSE);
    }
}

/// Lets time pass that is not waited for: its passing is what is tested.
///
/// # Errors
/// The program is interrupted.
pub fn pause(length: Duration) -> anyhow::Result<()> {
    let until = Instant::now() + length;
    // Longer than its own end, so that only an interruption fails.
    until_true("a pause to end", length + PATIENCE, || Ok(Instant::now() >= until))
}

/// [`until`], for a look that only says whether.
///
/// # Errors
/// Time is up.
pub fn until_true(what: &str, limit: Duration, mut look: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    until(what, limit, || Ok(look()?.then_some(())))
}
