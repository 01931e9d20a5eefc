//! What the two ends of a box's session with its studio decide.
//!
//! At the box: [`BridgeLink`] (when to connect, greet, beat and give up), [`LocalHealth`] (what may truthfully be said of
//! the box, and when to ask for help), [`JobSlot`] (one job at a time, no result lost). At the studio: [`BoxSession`] (what
//! a session's page says), [`JobDispatch`] (which box is offered which job, and how often) and [`Presence`] (which node has
//! which box).

mod box_session;
mod bridge_link;
mod job_dispatch;
mod job_slot;
mod local_health;
mod presence;

pub use box_session::{BoxInput, BoxReport, BoxSession, BoxSessionConfig, BoxSessionState, BoxSnapshot};
pub use bridge_link::{
    BridgeLink, BridgeLinkConfig, BridgeLinkEnd, BridgeLinkInput, BridgeLinkOutput, BridgeLinkState,
};
pub use job_dispatch::{JobDecision, JobDispatch, JobDispatchConfig, JobFate};
pub use job_slot::{JobFailure, JobInput, JobOutput, JobRejection, JobSlot, JobSlotConfig};
pub use local_health::{LocalHealth, LocalHealthConfig, LocalInput, LocalOutput, LocalState, LocalView};
pub use presence::{Presence, PresenceConfig, PresenceInput, PresenceOutput};
