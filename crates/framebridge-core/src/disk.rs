//! Judges whether a file system is almost full.

/// Below this, bytes, the journal, the records of viewers and a new picture may find no room soon.
const LOW: u64 = 64 << 20;

/// A file system may be small, as the memory under `/run` is: then less than a tenth of it is little.
const LOW_SHARE: u64 = 10;

/// So many times as much has to be free before it counts as well again: what is written meanwhile must not toggle it.
const WELL_AGAIN: u64 = 2;

/// Watches one file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskWatch {
    is_low: bool,
}

impl DiskWatch {
    /// Takes in how many of its bytes are `free`, of `total`. `Some`: whether it is almost full has changed, to this.
    pub fn observe(&mut self, free: u64, total: u64) -> Option<bool> {
        let low = LOW.min(total / LOW_SHARE);
        let limit = if self.is_low {
            low.saturating_mul(WELL_AGAIN)
        } else {
            low
        };
        let is_low = free < limit;
        (std::mem::replace(&mut self.is_low, is_low) != is_low).then_some(is_low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn low_is_said_once_and_well_again_only_with_room_to_spare() {
        let mut watch = DiskWatch::default();
        let disk = 100 << 30;
        let said = [900, 64, 63, 30, 64, 127, 128, 64].map(|free| watch.observe(free * MIB, disk));
        assert_eq!(said, [None, None, Some(true), None, None, None, Some(false), None]);
    }

    #[test]
    fn small_file_system_is_not_low_for_being_small() {
        let mut watch = DiskWatch::default();
        let small = 40 * MIB;
        assert_eq!(watch.observe(20 * MIB, small), None);
        assert_eq!(watch.observe(3 * MIB, small), Some(true));
        assert_eq!(
            DiskWatch::default().observe(0, 0),
            None,
            "one that says nothing of its size"
        );
    }
}
