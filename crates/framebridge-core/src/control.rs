//! Hands on a desktop: who may steer, what of it counts, and what is let go when.
//!
//! Three machines between a controller's fingers and the display. [`floor`] is signaling's, one for a stream: one controller at
//! a time. [`intake`] is signaling's, one for a controller's term: order, age and amount. [`held`] is the encoder's, beside the
//! display: nothing stays pressed that nobody presses.

pub mod floor;
pub mod held;
pub mod intake;
