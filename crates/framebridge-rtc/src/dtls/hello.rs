//! A look at the ClientHello before `rtc-dtls` sees it: to tell one client from another, and to choose the SRTP profile
//! ourselves, for the family follows the client's order, and browsers put the dear profile first.

/// What is read of a ClientHello.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientHello {
    /// Whoever sends the hello again with a cookie sends this again.
    pub(super) random: [u8; 32],
    /// Whether the client knows AEAD_AES_128_GCM.
    pub(super) gcm: bool,
}

impl ClientHello {
    /// Reads a hello's body; `None` if it is malformed.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let (_version, rest) = body.split_at_checked(2)?;
        let (random, mut rest) = rest.split_first_chunk()?;
        // Session id, cookie, cipher suites, compression methods.
        for length_bytes in [1, 1, 2, 1] {
            take_vector(&mut rest, length_bytes)?;
        }
        let extensions = if rest.is_empty() {
            rest
        } else {
            take_vector(&mut rest, 2)?
        };
        Some(Self {
            random: *random,
            gcm: offers_gcm(extensions)?,
        })
        .filter(|_| rest.is_empty())
    }
}

/// Whether the use_srtp extension (RFC 5764 section 4.1.1) names AEAD_AES_128_GCM.
fn offers_gcm(mut extensions: &[u8]) -> Option<bool> {
    const USE_SRTP: u16 = 14;
    const AEAD_AES_128_GCM: [u8; 2] = [0, 7];
    let mut gcm = false;
    while !extensions.is_empty() {
        let (kind, after) = extensions.split_first_chunk()?;
        extensions = after;
        let mut body = take_vector(&mut extensions, 2)?;
        if u16::from_be_bytes(*kind) == USE_SRTP {
            let profiles = take_vector(&mut body, 2)?;
            gcm |= profiles.chunks(2).any(|profile| profile == AEAD_AES_128_GCM);
        }
    }
    Some(gcm)
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

    #[test]
    fn gcm_is_found_wherever_it_stands() {
        for (second, gcm) in [(7, true), (8, false)] {
            let random = [7; 32];
            assert_eq!(ClientHello::parse(&hello(second)), Some(ClientHello { random, gcm }));
        }
    }

    #[test]
    fn a_damaged_hello_is_none() {
        let whole = hello(7);
        let without_extensions = 2 + 32 + 8;
        for length in (0..whole.len()).filter(|length| *length != without_extensions) {
            assert_eq!(ClientHello::parse(&whole[..length]), None, "{length} bytes of it");
        }
        assert_eq!(ClientHello::parse(&[&whole[..], &[0]].concat()), None);
    }

    proptest! {
        #[test]
        fn any_bytes_may_come(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0usize..200, byte in any::<u8>()) {
            ClientHello::parse(&bytes);
            let mut touched = hello(7);
            touched[at] = byte;
            ClientHello::parse(&touched);
        }
    }
}
