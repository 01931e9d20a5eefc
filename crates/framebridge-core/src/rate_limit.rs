//! Limits how often one address may ask.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// A bucket of tokens per key: `burst` at once, then one each `every`.
#[derive(Debug)]
pub struct RateLimit<K> {
    burst: u32,
    every: Duration,
    /// When each key's bucket is full again; a key that is not here has a full one.
    full_at: BTreeMap<K, Instant>,
    most_keys: usize,
}

impl<K: Ord> RateLimit<K> {
    /// A limit that remembers up to `most_keys` keys at once.
    pub fn new(burst: u32, every: Duration, most_keys: usize) -> Self {
        Self {
            burst: burst.max(1),
            every,
            full_at: BTreeMap::new(),
            most_keys: most_keys.max(1),
        }
    }

    /// Takes one token of `key`'s.
    ///
    /// # Errors
    /// There is none: how long until there is one.
    pub fn take(&mut self, key: K, now: Instant) -> Result<(), Duration> {
        if self.full_at.len() >= self.most_keys {
            self.full_at.retain(|_, full_at| *full_at > now);
        }
        if self.full_at.len() >= self.most_keys && !self.full_at.contains_key(&key) {
            // Under an attack from everywhere, strangers wait.
            return Err(self.every);
        }
        let full_at = self.full_at.entry(key).or_insert(now);
        let missing = (*full_at).saturating_duration_since(now);
        let room = self.every * (self.burst - 1);
        match missing.checked_sub(room) {
            None | Some(Duration::ZERO) => {
                *full_at = (*full_at).max(now) + self.every;
                Ok(())
            }
            Some(wait) => Err(wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_window_sees_more_than_the_burst_and_what_has_dripped_since(
            burst in 1_u32..10,
            gaps in prop::collection::vec(0_u64..3_000, 1..200),
        ) {
            let every = Duration::from_secs(1);
            let start = Instant::now();
            let mut limit = RateLimit::new(burst, every, 10);
            let mut now = start;
            let mut taken = Vec::new();
            for gap in gaps {
                now += Duration::from_millis(gap);
                match limit.take("here", now) {
                    Ok(()) => taken.push(now),
                    Err(wait) => {
                        prop_assert!(wait <= every && wait > Duration::ZERO);
                        let full_at = limit.full_at.clone();
                        let mut later = RateLimit { full_at, ..RateLimit::new(burst, every, 10) };
                        let taken = later.take("here", now + wait).is_ok();
                        prop_assert!(taken);
                    }
                }
            }
            for (at, first) in taken.iter().enumerate() {
                for (upto, last) in taken.iter().enumerate().skip(at) {
                    let most = u64::from(burst) + (*last - *first).as_secs();
                    prop_assert!((upto - at + 1) as u64 <= most);
                }
            }
        }
    }

    #[test]
    fn memory_is_bounded_and_old_keys_make_room() {
        let now = Instant::now();
        let mut limit = RateLimit::new(2, Duration::from_secs(1), 100);
        let taken = (0..1000).filter(|key| limit.take(*key, now).is_ok()).count();
        assert_eq!(taken, 100);
        assert_eq!(limit.take(5000, now + Duration::from_secs(2)), Ok(()));
        assert_eq!(limit.full_at.len(), 1);
    }
}
