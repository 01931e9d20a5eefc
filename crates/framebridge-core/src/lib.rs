//! What Framebridge decides, as plain state machines: facts and the current time in, actions out.
//!
//! # The contract
//! A *machine* is fed by one method and asked by two:
//!
//! - `handle(input, now)` takes in what happened. Nothing else changes a machine.
//! - `poll_output()` gives what follows, one thing after another, until it gives none. Outputs are data. To carry one out may
//!   fail, and the failure comes back as an input.
//! - `poll_timeout()` says when to come back at the latest, and for what reason: then `handle(Input::Timeout, now)`. A timeout
//!   that comes early or twice does nothing.
//!
//! The shell around it is the same everywhere: wait for a fact or for the timeout, handle it, drain the outputs.
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! use framebridge_core::source_life::{Config, Input, Output, Reason, SourceLife};
//!
//! let linger = Duration::from_secs(5);
//! let mut life = SourceLife::new(Config { linger, retry: Config::RETRY }, 1);
//! let mut now = Instant::now();
//! let mut opened = 0;
//! for happened in [Input::Demand(true), Input::Picture, Input::Demand(false)] {
//!     life.handle(happened, now);
//!     while let Some(output) = life.poll_output() {
//!         match output {
//!             Output::Open => opened += 1,
//!             Output::Close | Output::Announce(_) => {}
//!         }
//!     }
//! }
//! assert_eq!(opened, 1);
//!
//! let (due, reason) = life.poll_timeout().expect("nobody watches any more");
//! assert_eq!((due, reason), (now + linger, Reason::Linger));
//! now = due;
//! life.handle(Input::Timeout, now);
//! assert_eq!(life.poll_output(), Some(Output::Close));
//! ```
//!
//! A *watch* only judges: `observe(what is seen, now)` returns a verdict when there is a new one. It does nothing by itself
//! and needs no timeout, because what it watches reports again and again.
//!
//! # What is kept absent
//! Nothing here has a clock, a socket, a task, a log or randomness other than a seed's, so that a year of crashes is a
//! test that runs in a millisecond. The caller reads the clock once per round and passes it in; an earlier `now` counts as
//! the latest one seen.

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "a test begins at some moment of the real clock"
    )
)]

mod backoff;
mod budget;
mod crash_loop;
mod degradation;
mod egress;
mod group_queue;
mod half_open;
pub mod health;
mod ingest;
mod keyframe_gate;
mod observed_time;
mod places;
mod pre_roll;
mod probe;
mod process;
mod random;
mod rate_limit;
pub mod source_life;
mod stage_watch;
mod stall;
mod stream;
pub mod studio;
mod threads;

pub use backoff::{Backoff, BackoffConfig};
pub use budget::{BudgetPlan, Claim};
pub use crash_loop::{CrashLoopConfig, CrashLoopGuard};
pub use degradation::{Degradation, DegradationConfig, Recovery};
pub use egress::EgressWatch;
pub use group_queue::{GroupLimits, GroupQueue, Next};
pub use half_open::HalfOpen;
pub use ingest::{IngestEnd, IngestWatch};
pub use keyframe_gate::KeyframeGate;
pub use places::{NoPlace, Places, network};
pub use pre_roll::{PreRoll, PreRollLimits};
pub use probe::ProbeWatch;
pub use process::{
    Cause, Exit, ExitStatus, Heartbeats, Input, Output, Process, ProcessConfig, Reason, Snapshot, State, Transition,
};
pub use random::Random;
pub use rate_limit::RateLimit;
pub use source_life::SourceLife;
pub use stage_watch::{Stage, StageWatch, Stuck};
pub use stall::StallWatchdog;
pub use stream::{EncoderReport, EncoderStall, StreamWatch};
pub use threads::ThreadWatch;
