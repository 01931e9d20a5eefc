//! The RTP header that a viewer's packets begin with (RFC 3550 section 5.1), and its one extension.

use crate::srtp::RTP_HEADER;

/// Bytes of the extension: its head, and one element of two bytes, padded to a word (RFC 8285 section 4.2).
pub(crate) const EXTENSION: usize = 8;

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
}

impl Header {
    /// Bytes of a header with or without a transport-wide number.
    #[inline]
    pub(crate) const fn len(is_numbered: bool) -> usize {
        if is_numbered { RTP_HEADER + EXTENSION } else { RTP_HEADER }
    }

    /// Writes it to the front of `datagram`; its length.
    #[inline]
    pub(crate) fn write(self, datagram: &mut [u8]) -> usize {
        datagram[0] = 0x80 | u8::from(self.number.is_some()) << 4;
        datagram[1] = u8::from(self.marker) << 7 | self.payload_type;
        datagram[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        datagram[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        datagram[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        if let Some((id, number)) = self.number {
            let [high, low] = number.to_be_bytes();
            // The profile of one-byte elements, one word of them; the element's number and its length less one.
            datagram[RTP_HEADER..RTP_HEADER + EXTENSION]
                .copy_from_slice(&[0xbe, 0xde, 0, 1, id << 4 | 1, high, low, 0]);
        }
        Self::len(self.number.is_some())
    }
}
