//! The media plane: takes each encoded picture once and sends it to every WebRTC viewer.

mod batch;
mod config;
mod delay;
pub mod dtls;
mod engine;
mod feed;
mod feedback;
mod frame;
mod heirloom;
pub mod ice;
mod kept;
#[doc(hidden)]
pub mod measure;
mod peer;
mod random;
mod sdp;
mod session;
mod shared;
mod socket;
mod source;
pub mod srtp;
mod stats;
pub mod stun;
mod track;
mod transmit;
mod vault;
mod viewer;
mod worker;

pub use config::Config;
pub use delay::DelayStats;
pub use engine::{Engine, Handle, IfMatch, JoinError, Joined, PatchError, Patched, StartError};
pub use feedback::Feedback;
pub use heirloom::Heirlooms;
pub use peer::{Input, Output, Peer, PeerConfig};
pub use sdp::Candidate;
pub use session::{CloseReason, Event, InvalidSessionId, SessionId, SessionInfo, ViewerState};
pub use stats::StreamStats;
pub use track::TrackState;
pub use transmit::{Keys, TransmitState};
