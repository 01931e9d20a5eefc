//! A look at the ClientHello before `rtc-dtls` sees it, to choose the SRTP profile ourselves: the family follows the
//! client's order, and browsers put the dear profile first.

/// The longest ClientHello waited for: Chromium's, with a post-quantum key share, has 1.4 KB.
const MAX_HELLO: usize = 8 << 10;
/// Datagrams kept while it is incomplete, repetitions included.
const MAX_DATAGRAMS: usize = 8;
const RECORD_HEADER: usize = 13;
const HANDSHAKE_HEADER: usize = 12;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;

/// Datagrams held back until the ClientHello in them is whole.
#[derive(Default)]
pub(super) struct Hello {
    datagrams: Vec<Vec<u8>>,
    message: Vec<u8>,
    /// Which bytes of the message have come, as start and end, in order and apart.
    received: Vec<(usize, usize)>,
}

/// What is known once it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decision {
    /// Whether the client knows AEAD_AES_128_GCM.
    pub(super) gcm: bool,
    /// What was held back.
    pub(super) datagrams: Vec<Vec<u8>>,
}

impl Hello {
    /// Takes the next datagram. What is no ClientHello, or one too large, is let through undecided: it is for
    /// `rtc-dtls` to refuse.
    pub(super) fn handle(&mut self, datagram: &[u8]) -> Option<Decision> {
        self.datagrams.push(datagram.to_vec());
        let mut rest = datagram;
        let mut is_hello = false;
        while let Some((header, after)) = rest.split_at_checked(RECORD_HEADER) {
            let length = usize::from(u16::from_be_bytes([header[11], header[12]]));
            let Some((record, after)) = after.split_at_checked(length) else {
                break;
            };
            is_hello |= header[0] == HANDSHAKE && self.fragment(record).is_some();
            rest = after;
        }
        let is_whole = self.received == [(0, self.message.len())];
        if is_hello && !is_whole && self.datagrams.len() < MAX_DATAGRAMS {
            return None;
        }
        let gcm = is_whole && offers_gcm(&self.message);
        Some(Decision {
            gcm,
            datagrams: std::mem::take(&mut self.datagrams),
        })
    }

    /// Notes a fragment; `None` if it is not one of a ClientHello.
    fn fragment(&mut self, record: &[u8]) -> Option<()> {
        let (header, body) = record.split_at_checked(HANDSHAKE_HEADER)?;
        let number = |at: usize| {
            header[at..at + 3]
                .iter()
                .fold(0, |number, byte| number << 8 | usize::from(*byte))
        };
        let (total, start, length) = (number(1), number(6), number(9));
        let end = start + length;
        if header[0] != CLIENT_HELLO || total > MAX_HELLO || end > total {
            return None;
        }
        if self.message.len() != total {
            self.message = vec![0; total];
            self.received.clear();
        }
        self.message[start..end].copy_from_slice(body.get(..length)?);
        self.received.push((start, end));
        self.received.sort_unstable();
        self.received.dedup_by(|next, last| {
            let touches = next.0 <= last.1;
            if touches {
                last.1 = last.1.max(next.1);
            }
            touches
        });
        Some(())
    }
}

/// Whether a ClientHello's use_srtp extension (RFC 5764 section 4.1.1) names AEAD_AES_128_GCM.
fn offers_gcm(message: &[u8]) -> bool {
    const USE_SRTP: u16 = 14;
    const AEAD_AES_128_GCM: [u8; 2] = [0, 7];
    // Version and random.
    let mut rest = message.get(2 + 32..).unwrap_or_default();
    // Session id, cookie, cipher suites, compression methods.
    for length_bytes in [1, 1, 2, 1] {
        if take_vector(&mut rest, length_bytes).is_none() {
            return false;
        }
    }
    let mut extensions = take_vector(&mut rest, 2).unwrap_or_default();
    while let Some((kind, after)) = extensions.split_first_chunk() {
        extensions = after;
        let Some(mut body) = take_vector(&mut extensions, 2) else {
            return false;
        };
        if u16::from_be_bytes(*kind) == USE_SRTP {
            let profiles = take_vector(&mut body, 2).unwrap_or_default();
            return profiles.chunks(2).any(|profile| profile == AEAD_AES_128_GCM);
        }
    }
    false
}

/// Takes a TLS vector off the front: its length in so many bytes, then its content.
fn take_vector<'a>(from: &mut &'a [u8], length_bytes: usize) -> Option<&'a [u8]> {
    let length = from
        .get(..length_bytes)?
        .iter()
        .fold(0, |length, byte| length << 8 | usize::from(*byte));
    let content = from.get(length_bytes..length_bytes + length)?;
    *from = &from[length_bytes + length..];
    Some(content)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A ClientHello's body with a use_srtp extension that names SHA-1 first, then `second`.
    fn hello(second: u8) -> Vec<u8> {
        let extensions = [
            &[0, 23, 0, 0, 0, 14, 0, 7, 0, 4, 0, 1, 0, second, 0][..],
            &[0, 51, 0, 200],
            &[9; 200],
        ]
        .concat();
        let length = u16::try_from(extensions.len()).unwrap().to_be_bytes();
        [
            &[0xfe, 0xfd][..],
            &[7; 32],
            &[0, 0, 0, 2, 0xc0, 0x2b, 1, 0],
            &length,
            &extensions,
        ]
        .concat()
    }

    /// A datagram with the bytes `from..to` of a message of ours.
    fn datagram(message: &[u8], from: usize, to: usize) -> Vec<u8> {
        let three = |number: usize| u32::try_from(number).unwrap().to_be_bytes()[1..].to_vec();
        let record = [
            &[CLIENT_HELLO][..],
            &three(message.len()),
            &[0, 0],
            &three(from),
            &three(to - from),
            &message[from..to],
        ]
        .concat();
        let length = u16::try_from(record.len()).unwrap().to_be_bytes();
        [&[HANDSHAKE, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0][..], &length, &record].concat()
    }

    #[test]
    fn gcm_is_found_wherever_it_stands() {
        for (second, gcm) in [(7, true), (8, false)] {
            let message = hello(second);
            let whole = datagram(&message, 0, message.len());
            assert_eq!(
                Hello::default().handle(&whole),
                Some(Decision {
                    gcm,
                    datagrams: vec![whole]
                })
            );
        }
    }

    #[test]
    fn fragments_are_put_together_in_any_order() {
        let message = hello(7);
        let parts = [(100, 180), (0, 60), (0, 60), (50, 110), (180, message.len())];
        let parts = parts.map(|(from, to)| datagram(&message, from, to));
        let mut hello = Hello::default();
        for part in &parts[..4] {
            assert_eq!(hello.handle(part), None);
        }
        assert_eq!(
            hello.handle(&parts[4]),
            Some(Decision {
                gcm: true,
                datagrams: parts.to_vec()
            })
        );
    }

    #[test]
    fn waiting_has_an_end() {
        let message = hello(7);
        let mut hello = Hello::default();
        let decided = (0..MAX_DATAGRAMS)
            .filter_map(|_| hello.handle(&datagram(&message, 0, 50)))
            .count();
        assert_eq!(decided, 1);
    }

    proptest! {
        #[test]
        fn any_bytes_may_come(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0usize..200, byte in any::<u8>()) {
            Hello::default().handle(&bytes);
            let message = hello(7);
            let mut touched = datagram(&message, 0, message.len());
            touched[at] = byte;
            Hello::default().handle(&touched);
        }
    }
}
