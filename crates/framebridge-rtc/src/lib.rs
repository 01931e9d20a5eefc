//! The media plane: takes each encoded picture once and sends it to every WebRTC viewer.

mod batch;
mod channel;
mod config;
mod congestion;
mod delay;
pub mod dtls;
mod engine;
mod feedback;
mod frame;
mod handover;
#[doc(hidden)]
pub mod hot_path;
pub mod ice;
mod packetizer;
mod peer;
mod random;
mod reach;
mod repeats;
mod sdp;
mod session;
mod shared;
mod socket;
pub mod srtp;
mod stats;
pub mod stun;
mod track;
mod transmit;
mod viewer;
mod worker;

pub use config::Config;
pub use delay::DelayStats;
pub use engine::{Engine, Handle, IfMatch, JoinError, Joined, PatchError, Patched, StartError};
pub use feedback::{Feedback, Report};
pub use handover::Handover;
pub use peer::{Input, Output, Peer, PeerConfig};
pub use reach::Pacer;
pub use sdp::Candidate;
pub use session::{CloseReason, Event, InvalidSessionId, SessionId, SessionInfo, ViewerState};
pub use stats::StreamStats;
pub use track::TrackState;
pub use transmit::{Keys, TransmitState};
