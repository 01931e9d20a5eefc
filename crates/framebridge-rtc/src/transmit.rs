//! A viewer's transmit state, and a publisher's, as one plain value, so that another process can go on where this one ends.

use crate::{
    ReceiveState,
    ice::{Credentials, Path},
    srtp::{MasterKey, Profile},
    track::TrackState,
};

/// The SRTP keys of a session. Wiped when dropped, never printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// The protection profile.
    pub profile: Profile,
    /// What we encrypt with.
    pub send: MasterKey,
    /// What the viewer encrypts with.
    pub receive: MasterKey,
}

/// Everything it takes to go on sending to a viewer, answer its checks and read its reports, with no new handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransmitState {
    /// Our ICE credentials.
    pub local: Credentials,
    /// The viewer's ICE credentials.
    pub remote: Credentials,
    /// Whether ICE is ours to nominate.
    pub controls: bool,
    /// The nominated path.
    pub path: Path,
    /// The SRTP keys.
    pub keys: Keys,
    /// Where its RTP stream stands.
    pub track: TrackState,
    /// What it sends us, if it does.
    pub receives: Option<ReceiveState>,
}
