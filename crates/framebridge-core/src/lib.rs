//! What Framebridge decides, as plain state machines: facts and the current time in, actions out.
//!
//! Nothing here has a clock, a socket, a task, a log or randomness other than a seed's, so that a year of crashes is a
//! test that runs in a millisecond. Whoever acts reads the clock once per round and passes it in; a clock that steps
//! back is read as one that stands still.

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
pub use budget::{BudgetPlan, Share};
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
