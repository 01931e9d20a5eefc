//! Seeds for the slots.

use framebridge_ipc::Identity;

/// Seeds, from the random bits that this life was given.
#[derive(Debug)]
pub(crate) struct Seeds {
    bits: u128,
    round: u32,
}

impl Seeds {
    pub(crate) fn of(identity: &Identity) -> Self {
        Self {
            bits: u128::from_be_bytes(identity.instance.0),
            round: 0,
        }
    }

    /// Another one.
    pub(crate) fn next(&mut self) -> u64 {
        self.round += 1;
        u64::try_from(self.bits.rotate_left(self.round * 7) & u128::from(u64::MAX)).unwrap_or_default()
    }
}
