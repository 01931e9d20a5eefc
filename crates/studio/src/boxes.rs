//! The boxes: each has one task that owns its session's machine, and at most one link.
//!
//! What happens to a box comes to its task as an event. What follows, it does by what it is given: records to write, other
//! nodes to tell, frames to send. Nothing that a link reads is decided in the link.

mod ask;
mod calls;
mod event;
mod link;
mod registry;
mod session;
mod task;

pub(crate) use ask::{Answer, ask};
pub(crate) use calls::Budget;
pub(crate) use event::Event;
pub(crate) use link::{Leaving, Link};
pub(crate) use registry::Registry;
pub(crate) use session::{Session, View};
pub(crate) use task::{Works, unknown_token};
