//! The RTP header that a viewer's packets begin with (RFC 3550 section 5.1), and its extensions.

use crate::srtp::RTP_HEADER;

/// Bytes of an extension of one element: its head, and a word that holds the element (RFC 8285 section 4.2).
pub(crate) const EXTENSION: usize = 8;
/// Bytes that a second element adds.
pub(crate) const SECOND: usize = 4;

/// How long a receiver may keep a picture back to smooth what is unsteady (playout-delay, of 10 ms each): not at all at least,
/// and for 0.2 s at most. With a least of 0 Chromium shows a picture as soon as it is decoded.
const PLAYOUT: [u8; 3] = [0, 0, 20];

/// What of a packet's header is the packet's own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) payload_type: u8,
    /// Whether it ends the picture.
    pub(crate) marker: bool,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
    /// Its transport-wide number, and the extension that it goes under.
    pub(crate) number: Option<(u8, u16)>,
    /// The extension for the playout delay, if this packet tells it.
    pub(crate) playout: Option<u8>,
}

impl Header {
    /// Bytes of a header with or without a transport-wide number, and with or without a playout delay.
    #[inline]
    pub(crate) const fn len(is_numbered: bool, tells_playout: bool) -> usize {
        match (is_numbered, tells_playout) {
            (false, false) => RTP_HEADER,
            (true, true) => RTP_HEADER + EXTENSION + SECOND,
            _ => RTP_HEADER + EXTENSION,
        }
    }

    /// Writes it to the front of `datagram`; its length.
    #[inline]
    pub(crate) fn write(self, datagram: &mut [u8]) -> usize {
        let len = Self::len(self.number.is_some(), self.playout.is_some());
        datagram[0] = 0x80 | u8::from(len > RTP_HEADER) << 4;
        datagram[1] = u8::from(self.marker) << 7 | self.payload_type;
        datagram[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        datagram[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        datagram[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        // The profile of one-byte elements, and words of them; then each element's number and its length less one.
        let [high, low] = self.number.map_or([0; 2], |(_, number)| number.to_be_bytes());
        let [least, between, most] = PLAYOUT;
        let extension = &mut datagram[RTP_HEADER..];
        match (self.number, self.playout) {
            (None, None) => {}
            (Some((id, _)), None) => {
                extension[..EXTENSION].copy_from_slice(&[0xbe, 0xde, 0, 1, id << 4 | 1, high, low, 0])
            }
            (None, Some(id)) => {
                extension[..EXTENSION].copy_from_slice(&[0xbe, 0xde, 0, 1, id << 4 | 2, least, between, most]);
            }
            (Some((id, _)), Some(other)) => extension[..EXTENSION + SECOND].copy_from_slice(&[
                0xbe,
                0xde,
                0,
                2,
                id << 4 | 1,
                high,
                low,
                other << 4 | 2,
                least,
                between,
                most,
                0,
            ]),
        }
        len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_stand_behind_each_other_and_fill_words() {
        for (number, playout, extension) in [
            (None, None, &[][..]),
            (Some((3, 0x1234)), None, &[0xbe, 0xde, 0, 1, 0x31, 0x12, 0x34, 0]),
            (None, Some(5), &[0xbe, 0xde, 0, 1, 0x52, 0, 0, 20]),
            (
                Some((3, 0x1234)),
                Some(5),
                &[0xbe, 0xde, 0, 2, 0x31, 0x12, 0x34, 0x52, 0, 0, 20, 0],
            ),
        ] {
            let header = Header {
                payload_type: 96,
                marker: true,
                sequence: 1,
                timestamp: 2,
                ssrc: 3,
                number,
                playout,
            };
            let mut datagram = [0xff; 40];
            let len = header.write(&mut datagram);
            assert_eq!(datagram[0], if extension.is_empty() { 0x80 } else { 0x90 });
            assert_eq!(datagram[1..12], [0xe0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]);
            assert_eq!(datagram[12..len], *extension);
        }
    }
}
