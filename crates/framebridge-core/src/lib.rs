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
//! let mut now = Instant::now();
//! let mut life = SourceLife::new(Config { linger, retry: Config::RETRY, probe: None }, now, 1);
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

pub mod as_it_comes;
pub mod backoff;
pub mod budget;
pub mod cadence;
pub mod camera_mode;
pub mod control;
pub mod crash_loop;
pub mod decode_backlog;
pub mod degradation;
pub mod disk;
pub mod egress;
pub mod encode_load;
pub mod group_queue;
pub mod h264;
pub mod half_open;
pub mod health;
pub mod hook;
pub mod ingest;
pub mod interfaces;
pub mod keyframe_gate;
mod observed_time;
pub mod orphan;
pub mod places;
pub mod pre_roll;
pub mod probe;
pub mod process;
pub mod publisher_place;
pub mod push;
pub mod random;
pub mod rate_limit;
pub mod rate_meter;
pub mod reception;
pub mod rung;
pub mod rung_budget;
pub mod rung_supply;
pub mod session_news;
pub mod source_clock;
pub mod source_life;
pub mod source_pace;
pub mod stage_watch;
pub mod stall;
pub mod stillness;
pub mod stream;
pub mod studio;
pub mod threads;
