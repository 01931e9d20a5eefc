//! The real encoder process, over its real socket: what subscribers get, what requests do, and what happens when the
//! source fails in each of the ways that sources fail.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]
#![expect(clippy::cast_precision_loss, reason = "test arithmetic on small numbers")]

mod backlog;
mod clip;
mod confined;
mod control;
mod copy;
mod desktops;
mod faults;
mod frames;
mod harness;
mod progress;
mod rtsp;
mod rungs;
mod users;
