//! What a publisher sends, and where it is in that, as one plain value: another process can go on with it.

/// Packets after which what is kept of a publisher's stream is written anew. A packet's number has 16 bits of its index, and the next
/// process finds the rest by what is kept: it may be 32,768 packets old then, of which this leaves half for the time without a process.
const FAR: u64 = 16_384;

/// What a publisher sends by its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receives {
    /// The payload type of the media stream.
    pub payload_type: u8,
    /// That of what is sent again (RFC 4588), if it goes so.
    pub repair: Option<u8>,
    /// The header extension of transport-wide numbers, if packets have them.
    pub numbering: Option<u8>,
}

/// What it takes to go on with what a publisher sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiveState {
    /// What was agreed on.
    pub receives: Receives,
    /// SSRC of the media stream and the highest index that has come of it; `None`: nothing has.
    pub media: Option<(u32, u64)>,
    /// Likewise of what is sent again.
    pub repairs: Option<(u32, u64)>,
}

impl ReceiveState {
    /// Whether `kept` would not do in place of this one: it knows another stream, or one whose index would be taken wrong before long.
    pub(crate) fn is_far_from(&self, kept: &Self) -> bool {
        let is_far = |now: Option<(u32, u64)>, kept: Option<(u32, u64)>| match (now, kept) {
            (Some((ssrc, index)), Some((known, at))) => ssrc != known || index.abs_diff(at) > FAR,
            (now, kept) => now != kept,
        };
        is_far(self.media, kept.media) || is_far(self.repairs, kept.repairs)
    }
}
