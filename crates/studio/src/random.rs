//! Randomness that nobody can guess.

use ring::rand::{SecureRandom as _, SystemRandom};

/// Random bytes.
///
/// # Panics
/// The system has none, which leaves nothing to go on with.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the system's randomness");
    bytes
}

/// 128 random bits, for an id.
pub(crate) fn bits() -> u128 {
    u128::from_be_bytes(bytes())
}
