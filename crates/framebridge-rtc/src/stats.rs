//! What was done for each stream.

use framebridge_proto::StreamName;

use crate::DelayStats;

/// How many watch a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ViewerCount {
    /// Open sessions.
    pub open: u32,
    /// Of these, viewers that are connected: pictures go out to them.
    pub live: u32,
}

/// Counters of one stream since the engine started; only `viewers` and `live` ever fall.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamStats {
    /// The stream.
    pub stream: StreamName,
    /// Open sessions.
    pub viewers: u32,
    /// Of these, viewers that are connected: pictures go out to them.
    pub live: u32,
    /// Pictures published that a decoder can show, and so meant for viewers.
    pub frames_published: u64,
    /// Pictures sent, summed over viewers.
    pub frames_sent: u64,
    /// Bytes of SRTP sent, summed over viewers.
    pub bytes_sent: u64,
    /// SRTP packets sent, summed over viewers, retransmissions included.
    pub packets_sent: u64,
    /// Packets that viewers reported lost.
    pub packets_lost: u64,
    /// Packets that viewers asked for again.
    pub nacks: u64,
    /// PLI and FIR received from viewers.
    pub keyframe_requests: u64,
    /// Of these, repeated ones and such as came too often from one viewer: not heard.
    pub keyframe_requests_refused: u64,
    /// Packets that viewers asked for again and did not get: too late to be shown, on their way already, beyond the viewer's
    /// share, or never sent.
    pub repeats_refused: u64,
    /// Packets sent again.
    pub retransmitted: u64,
    /// Times a viewer was held back, because its link could not carry the stream.
    pub holds: u64,
    /// Times a viewer was given another rung.
    pub moves: u64,
    /// From a picture's capture to its last packet's way to the kernel for every viewer of a worker who keeps up.
    pub capture_to_wire: DelayStats,
}
