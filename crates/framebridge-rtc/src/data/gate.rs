//! What stands between the other end and `rtc-sctp`.
//!
//! `rtc-sctp` 0.21.1 keeps data of any number ahead of what it waits for, makes a stream of each number that is named, and
//! counts one by one to where a FORWARD-TSN tells it to go: one packet could have it count to two thousand million. So the gate
//! lets through the chunks that two channels need, about those two, and not further ahead than a window.

/// SCTP streams: one for each lane.
pub(super) const STREAMS: u16 = 2;

/// How far ahead of what was acknowledged data may be, in chunks. 1,000 moves a second and 200 ms of delayed
/// acknowledgements are 200; a message of the longest kind is 110.
const WINDOW: u32 = 2048;
/// Chunks in one packet: 1,200 bytes of the shortest data have 60.
const MAX_CHUNKS: usize = 64;
const COMMON_HEADER: usize = 12;
const CHUNK_HEADER: usize = 4;

const DATA: u8 = 0;
const INIT: u8 = 1;
const SACK: u8 = 3;
const HEARTBEAT: u8 = 4;
const HEARTBEAT_ACK: u8 = 5;
const ABORT: u8 = 6;
const SHUTDOWN: u8 = 7;
const SHUTDOWN_ACK: u8 = 8;
const ERROR: u8 = 9;
const COOKIE_ECHO: u8 = 10;
const SHUTDOWN_COMPLETE: u8 = 14;
const FORWARD_TSN: u8 = 192;

/// The gate of one association.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// The last TSN of the other end that we have acknowledged with all before it; `None`: it has not begun.
    acknowledged: Option<u32>,
}

impl Gate {
    /// Whether a packet of the other end may be read.
    pub(super) fn admits(&mut self, packet: &[u8]) -> bool {
        let Some(chunks) = chunks(packet) else {
            return false;
        };
        if let [(INIT, value)] = chunks.as_slice() {
            let Some(first) = number(value, 12) else {
                return false;
            };
            self.acknowledged = Some(first.wrapping_sub(1));
            return true;
        }
        !chunks.is_empty() && chunks.iter().all(|(kind, value)| self.admits_chunk(*kind, value))
    }

    fn admits_chunk(&self, kind: u8, value: &[u8]) -> bool {
        match kind {
            // At least a byte of data (RFC 9260, section 3.3.1).
            DATA => {
                let is_ours = short(value, 4).is_some_and(|stream| stream < STREAMS);
                is_ours && value.len() > 12 && self.is_near(number(value, 0))
            }
            FORWARD_TSN => {
                let streams = value.get(4..).unwrap_or_default().chunks(4);
                let are_ours = streams
                    .into_iter()
                    .all(|pair| pair.len() == 4 && short(pair, 0) < Some(STREAMS));
                are_ours && self.is_near(number(value, 0))
            }
            SACK => value.len() >= 12,
            ABORT | ERROR => are_causes(value),
            HEARTBEAT | HEARTBEAT_ACK | SHUTDOWN | SHUTDOWN_ACK | COOKIE_ECHO | SHUTDOWN_COMPLETE => true,
            // We begin nothing, so there is nothing to answer to; and channels are as they are.
            _ => false,
        }
    }

    /// Whether a TSN is at most so far ahead; one that is behind is for `rtc-sctp` to drop.
    fn is_near(&self, tsn: Option<u32>) -> bool {
        let (Some(tsn), Some(acknowledged)) = (tsn, self.acknowledged) else {
            return false;
        };
        let ahead = tsn.wrapping_sub(acknowledged);
        ahead <= WINDOW || ahead > 1 << 31
    }

    /// We send this, which may acknowledge something.
    pub(super) fn note_sent(&mut self, packet: &[u8]) {
        let chunks = chunks(packet).unwrap_or_default();
        let told = chunks.iter().filter(|(kind, _)| *kind == SACK);
        if let Some(acknowledged) = told.filter_map(|(_, value)| number(value, 0)).next_back() {
            self.acknowledged = Some(acknowledged);
        }
    }
}

/// A packet's chunks: kind and value; `None`: it is malformed.
fn chunks(packet: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut rest = packet.get(COMMON_HEADER..)?;
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        let length = usize::from(short(rest, 2)?);
        chunks.push((rest[0], rest.get(CHUNK_HEADER..length)?));
        if chunks.len() > MAX_CHUNKS {
            return None;
        }
        rest = &rest[length.next_multiple_of(4).min(rest.len())..];
    }
    Some(chunks)
}

/// Whether a value is causes of errors one after another (RFC 9260, section 3.3.10): `rtc-sctp` 0.21.1 reads as far as each says
/// it goes, there or not. It steps over no padding either: a cause that has some must be the last.
fn are_causes(mut rest: &[u8]) -> bool {
    while rest.len() >= CHUNK_HEADER {
        let length = short(rest, 2).map_or(0, usize::from);
        if length < CHUNK_HEADER || length > rest.len() {
            return false;
        }
        rest = &rest[length..];
    }
    true
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(chunks: &[(u8, &[u8])]) -> Vec<u8> {
        let mut packet = vec![0; COMMON_HEADER];
        for (kind, value) in chunks {
            let length = u16::try_from(value.len() + CHUNK_HEADER).unwrap();
            packet.extend([*kind, 3]);
            packet.extend(length.to_be_bytes());
            packet.extend(*value);
            packet.resize(packet.len().next_multiple_of(4), 0);
        }
        packet
    }

    fn data(tsn: u32, stream: u16) -> Vec<u8> {
        [&tsn.to_be_bytes()[..], &stream.to_be_bytes(), &[0; 6], b"x"].concat()
    }

    fn begun(first: u32) -> Gate {
        let mut gate = Gate::default();
        let init = [&[0; 12][..], &first.to_be_bytes()].concat();
        assert!(gate.admits(&packet(&[(INIT, &init)])));
        gate
    }

    #[test]
    fn only_what_two_channels_need_and_not_far_ahead_is_let_through() {
        // The numbers go round.
        let first = u32::MAX - 5;
        let mut gate = begun(first);
        let at = |ahead: u32| first.wrapping_add(ahead);
        let cases: &[(&str, u8, Vec<u8>, bool)] = &[
            ("data", DATA, data(at(0), 0), true),
            ("data past the end of the numbers", DATA, data(at(100), 1), true),
            ("data again", DATA, data(at(0).wrapping_sub(9), 1), true),
            ("data of a third stream", DATA, data(at(0), 2), false),
            ("data too far ahead", DATA, data(at(WINDOW), 0), false),
            ("no data", DATA, data(at(0), 0)[..12].to_vec(), false),
            ("forward", FORWARD_TSN, at(9).to_be_bytes().to_vec(), true),
            (
                "forward too far",
                FORWARD_TSN,
                at(1 << 30).to_be_bytes().to_vec(),
                false,
            ),
            (
                "forward of a third stream",
                FORWARD_TSN,
                [at(0).to_be_bytes(), [0, 2, 0, 0]].concat(),
                false,
            ),
            ("an answer to what we did not ask", 2, vec![0; 16], false),
            ("closing a channel", 130, vec![0; 16], false),
            ("a sign of life", HEARTBEAT, vec![0; 8], true),
            ("an end, and why", ABORT, vec![0, 12, 0, 6, b'n', b'o'], true),
            ("an end", ABORT, Vec::new(), true),
            ("an error that is longer than it is", ERROR, vec![0, 3, 0, 8], false),
            ("an error without a length", ERROR, vec![0, 3, 0, 0], false),
        ];
        for (what, kind, value, admitted) in cases {
            assert_eq!(gate.admits(&packet(&[(*kind, value)])), *admitted, "{what}");
        }
        let both = packet(&[(HEARTBEAT, &[0; 8]), (DATA, &data(at(0), 2))]);
        assert!(!gate.admits(&both), "one bad chunk spoils the packet");
        let sack = [&at(WINDOW).to_be_bytes()[..], &[0; 8]].concat();
        gate.note_sent(&packet(&[(SACK, &sack)]));
        assert!(gate.admits(&packet(&[(DATA, &data(at(WINDOW + 9), 0))])));
    }

    proptest! {
        #[test]
        fn nothing_at_all_panics(bytes in prop::collection::vec(any::<u8>(), 0..80), kind in 0_u8..16) {
            let mut gate = begun(7);
            gate.admits(&bytes);
            gate.admits(&packet(&[(kind, &bytes)]));
            gate.note_sent(&bytes);
        }
    }
}
