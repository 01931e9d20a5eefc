//! What Framebridge decides, as plain state machines: facts and the current time in, actions out.
//!
//! Nothing here has a clock, a socket, a task, a log or randomness other than a seed's, so that a year of crashes is a
//! test that runs in a millisecond. Whoever acts reads the clock once per turn and passes it in; a clock that steps
//! back is read as one that stands still.

mod backoff;
mod random;

pub use backoff::{Backoff, BackoffConfig};
