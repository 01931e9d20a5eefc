//! Damage done on purpose to a real system with real viewers, from a seed, and what it costs them until the system has
//! mended itself.
//!
//! [`plan`], [`targets`] and [`trace`] decide and judge, and are pure; the rest starts, breaks and watches.

pub(crate) mod audience;
mod clock;
pub(crate) mod drill;
mod network;
pub(crate) mod operator;
pub mod plan;
pub mod report;
pub(crate) mod stage;
pub mod targets;
pub mod trace;

pub use drill::{Options, Outcome, run};
