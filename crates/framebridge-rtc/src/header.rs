//! The RTP header that a viewer's packets begin with (RFC 3550 section 5.1), and its extensions.

use crate::srtp::RTP_HEADER;

/// Bytes of an extension of one element: its head, and a word that holds the element (RFC 8285 section 4.2).
pub(crate) const EXTENSION: usize = 8;
/// Bytes of the element of a transport-wide number.
const NUMBER: usize = 3;
/// Bytes that all other elements add at most.
pub(crate) const TOLD: usize = 12;

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
    pub(crate) told: Told,
}

/// What only a few packets tell, and the extensions that it goes under.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// The playout delay.
    pub(crate) playout: Option<u8>,
    /// When the picture was captured, in NTP's format (abs-capture-time).
    pub(crate) captured: Option<(u8, u64)>,
}

impl Told {
    /// Bytes of the elements.
    const fn len(self) -> usize {
        let playout = if self.playout.is_some() { 1 + PLAYOUT.len() } else { 0 };
        let captured = if self.captured.is_some() {
            1 + size_of::<u64>()
        } else {
            0
        };
        playout + captured
    }

    fn is_nothing(self) -> bool {
        self.len() == 0
    }
}

impl Header {
    /// Bytes of a header with or without a transport-wide number, and with what it tells besides.
    #[inline]
    pub(crate) const fn len(is_numbered: bool, told: Told) -> usize {
        match (is_numbered, told.len()) {
            (false, 0) => RTP_HEADER,
            (true, 0) => RTP_HEADER + EXTENSION,
            (is_numbered, told) => RTP_HEADER + 4 + (told + if is_numbered { NUMBER } else { 0 }).next_multiple_of(4),
        }
    }

    /// Writes it to the front of `datagram`; its length.
    #[inline]
    pub(crate) fn write(self, datagram: &mut [u8]) -> usize {
        let len = Self::len(self.number.is_some(), self.told);
        datagram[0] = 0x80 | u8::from(len > RTP_HEADER) << 4;
        datagram[1] = u8::from(self.marker) << 7 | self.payload_type;
        datagram[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        datagram[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        datagram[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        match self.number {
            None if self.told.is_nothing() => {}
            // The profile of one-byte elements, and words of them; then each element's number and its length less one.
            Some((id, number)) if self.told.is_nothing() => {
                let [high, low] = number.to_be_bytes();
                datagram[RTP_HEADER..RTP_HEADER + EXTENSION].copy_from_slice(&[
                    0xbe,
                    0xde,
                    0,
                    1,
                    id << 4 | 1,
                    high,
                    low,
                    0,
                ]);
            }
            Some(_) | None => self.write_all(&mut datagram[RTP_HEADER..len]),
        }
        len
    }

    /// Writes all elements, one behind the other, filled up with zeros.
    #[cold]
    fn write_all(self, extension: &mut [u8]) {
        #[expect(clippy::cast_possible_truncation, reason = "five words at most")]
        let words = (extension.len() / 4 - 1) as u8;
        extension.fill(0);
        extension[..4].copy_from_slice(&[0xbe, 0xde, 0, words]);
        let mut at = 4;
        let mut element = |id: u8, data: &[u8]| {
            #[expect(clippy::cast_possible_truncation, reason = "eight bytes at most")]
            let head = id << 4 | (data.len() - 1) as u8;
            extension[at] = head;
            extension[at + 1..=at + data.len()].copy_from_slice(data);
            at += 1 + data.len();
        };
        if let Some((id, number)) = self.number {
            element(id, &number.to_be_bytes());
        }
        if let Some(id) = self.told.playout {
            element(id, &PLAYOUT);
        }
        if let Some((id, captured)) = self.told.captured {
            element(id, &captured.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_stand_behind_each_other_and_fill_words() {
        let captured = Some((7, 0x0102_0304_0506_0708));
        for (number, playout, captured, extension) in [
            (None, None, None, &[][..]),
            (Some((3, 0x1234)), None, None, &[0xbe, 0xde, 0, 1, 0x31, 0x12, 0x34, 0]),
            (None, Some(5), None, &[0xbe, 0xde, 0, 1, 0x52, 0, 0, 20]),
            (
                Some((3, 0x1234)),
                Some(5),
                None,
                &[0xbe, 0xde, 0, 2, 0x31, 0x12, 0x34, 0x52, 0, 0, 20, 0],
            ),
            (
                Some((3, 0x1234)),
                None,
                captured,
                &[0xbe, 0xde, 0, 3, 0x31, 0x12, 0x34, 0x77, 1, 2, 3, 4, 5, 6, 7, 8],
            ),
            (
                Some((3, 0x1234)),
                Some(5),
                captured,
                &[
                    0xbe, 0xde, 0, 4, 0x31, 0x12, 0x34, 0x52, 0, 0, 20, 0x77, 1, 2, 3, 4, 5, 6, 7, 8,
                ],
            ),
        ] {
            let header = Header {
                payload_type: 96,
                marker: true,
                sequence: 1,
                timestamp: 2,
                ssrc: 3,
                number,
                told: Told { playout, captured },
            };
            let mut datagram = [0xff; 40];
            let len = header.write(&mut datagram);
            assert!(len <= RTP_HEADER + EXTENSION + TOLD);
            assert_eq!(datagram[0], if extension.is_empty() { 0x80 } else { 0x90 });
            assert_eq!(datagram[1..12], [0xe0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]);
            assert_eq!(datagram[12..len], *extension);
        }
    }
}
