//! Damage done on purpose to a real system with real viewers, from a seed, and what it costs them until the system has
//! mended itself.
//!
//! [`plan`], [`targets`] and [`trace`] decide and judge, and are pure; the rest starts, breaks and watches.

mod audience;
mod clock;
mod drill;
mod network;
mod operator;
pub mod plan;
pub mod report;
mod stage;
pub mod targets;
pub mod trace;

pub use drill::{Options, Outcome, run};
