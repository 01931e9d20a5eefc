//! Randomness from the system: ids, ICE credentials, SSRCs and starting points.

use ring::rand::{SecureRandom, SystemRandom};

/// `N` unpredictable bytes.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[expect(
        clippy::expect_used,
        reason = "a system without randomness can't serve anybody safely"
    )]
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("getrandom works on every supported kernel");
    bytes
}

/// `length` characters that are allowed in ICE credentials and need no quoting anywhere: 5.95 bits each.
pub(crate) fn text(length: usize) -> String {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut text = String::with_capacity(length);
    while text.len() < length {
        // 248 is the largest multiple of 62 in a byte: the rest would favour the alphabet's start.
        let drawn = bytes::<32>();
        let usable = drawn.iter().filter(|&&byte| byte < 248);
        text.extend(
            usable
                .take(length - text.len())
                .map(|&byte| char::from(ALPHABET[usize::from(byte) % 62])),
        );
    }
    text
}
