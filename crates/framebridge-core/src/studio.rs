//! Decisions of both ends of a box's session with its studio.
//!
//! At the box: [`bridge_link`] (when to connect, greet, beat and give up), [`local_health`] (what may truthfully be said of
//! the box, and when to ask for help), [`job_slot`] (one job at a time, no result lost), [`shared_viewers`] (whose session
//! ends with which shared address). At the studio: [`box_session`] (what a session's page says), [`job_dispatch`] (which box
//! is offered which job, and how often), [`presence`] (which node has which box) and [`allowance`] (how fast a box may talk).

pub mod allowance;
pub mod box_session;
pub mod bridge_link;
pub mod job_dispatch;
pub mod job_slot;
pub mod local_health;
pub mod presence;
pub mod shared_viewers;
