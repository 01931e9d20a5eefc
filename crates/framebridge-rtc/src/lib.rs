//! The media plane: takes each encoded picture once and sends it to every WebRTC viewer.

mod batch;
mod bind;
mod channel;
mod clock;
mod config;
mod congestion;
mod delay;
pub mod dtls;
mod engine;
mod error;
mod feedback;
mod frame;
mod handle;
mod handover;
#[doc(hidden)]
pub mod hostile;
#[doc(hidden)]
pub mod hot_path;
pub mod ice;
mod link;
mod mailbox;
mod mutex;
mod packetizer;
mod peer;
mod random;
mod reach;
mod repeats;
mod sdp;
mod session;
mod sessions;
mod socket;
pub mod srtp;
mod state;
mod stats;
mod stream;
pub mod stun;
mod track;
mod transmit;
mod viewer;
mod worker;

pub use config::Config;
pub use delay::DelayStats;
pub use engine::Engine;
pub use error::{JoinError, PatchError, StartError};
pub use feedback::{Feedback, Report};
pub use handle::{Handle, IfMatch, Joined, Patched};
pub use handover::Handover;
pub use link::Link;
pub use peer::{Input, Output, Peer, PeerConfig};
pub use reach::Pacer;
pub use sdp::{Candidate, CandidateKind};
pub use session::{CloseReason, Event, InvalidSessionId, SessionId, SessionInfo, ViewerState};
pub use stats::{StreamStats, ViewerCount};
pub use stream::StreamCounts;
pub use track::TrackState;
pub use transmit::{Keys, TransmitState};
