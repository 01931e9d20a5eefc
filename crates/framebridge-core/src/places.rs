//! Gives out a limited number of places so that no client can take all of them.

use std::{collections::BTreeMap, net::IpAddr};

/// Bits of an IPv6 address that name a network: what one customer of a provider has at least, and can pick addresses in.
const V6_NETWORK: u32 = 64;

/// Which address counts for limits: an IPv4 address itself, however it is written, and an IPv6 address's network.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & (u128::MAX << (128 - V6_NETWORK))).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Places of one kind: a limit for all clients together, and one for each. A trusted client may have all of them.
#[derive(Debug)]
pub struct Places<K> {
    all: usize,
    each: usize,
    taken: usize,
    by: BTreeMap<K, usize>,
}

/// Why there was no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPlace {
    /// Whoever asked has as many as it may.
    Yours {
        /// So many.
        each: usize,
    },
    /// All are taken.
    All {
        /// So many.
        all: usize,
    },
}

impl<K: Ord> Places<K> {
    /// `all` places, of which each may have `each`.
    pub fn new(all: usize, each: usize) -> Self {
        Self {
            all,
            each,
            taken: 0,
            by: BTreeMap::new(),
        }
    }

    /// Takes a place for `whom`; `None` is a trusted client.
    ///
    /// # Errors
    /// There is none.
    pub fn take(&mut self, whom: Option<K>) -> Result<(), NoPlace> {
        let (all, each) = (self.all, self.each);
        if let Some(whom) = &whom
            && self.by.get(whom).is_some_and(|has| *has >= each)
        {
            return Err(NoPlace::Yours { each });
        }
        if self.taken >= all {
            return Err(NoPlace::All { all });
        }
        self.taken += 1;
        if let Some(whom) = whom {
            *self.by.entry(whom).or_default() += 1;
        }
        Ok(())
    }

    /// Gives back one that was taken for `whom`.
    pub fn give_back(&mut self, whom: Option<&K>) {
        self.taken = self.taken.saturating_sub(1);
        let Some(whom) = whom else { return };
        if let Some(has) = self.by.get_mut(whom) {
            *has -= 1;
            if *has == 0 {
                self.by.remove(whom);
            }
        }
    }

    /// Places taken, by all holders together.
    pub fn taken(&self) -> usize {
        self.taken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_count_by_what_their_owner_can_choose_from() {
        for (address, counts_as) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2::1", "2001:db8:1:2::"),
            ("2001:db8:1:3::1", "2001:db8:1:3::"),
        ] {
            assert_eq!(network(address.parse().unwrap()).to_string(), counts_as, "{address}");
        }
    }

    #[test]
    fn one_asker_leaves_places_for_others_and_who_is_trusted_may_have_all() {
        let mut places = Places::new(4, 2);
        assert_eq!(places.take(Some("a")), Ok(()));
        assert_eq!(places.take(Some("a")), Ok(()));
        assert_eq!(places.take(Some("a")), Err(NoPlace::Yours { each: 2 }));
        assert_eq!(places.take(None), Ok(()));
        assert_eq!(places.take(Some("b")), Ok(()));
        assert_eq!(places.take(Some("b")), Err(NoPlace::All { all: 4 }));
        assert_eq!(places.take(None), Err(NoPlace::All { all: 4 }));
        places.give_back(Some(&"a"));
        assert_eq!(places.take(Some("b")), Ok(()));
        places.give_back(None);
        assert_eq!(places.take(Some("b")), Err(NoPlace::Yours { each: 2 }));
        assert_eq!(places.take(Some("a")), Ok(()));
    }

    proptest! {
        #[test]
        fn what_is_given_back_can_be_taken_again_and_nothing_is_remembered(
            askers in prop::collection::vec(prop::option::of(0_u8..5), 0..100),
        ) {
            let mut places = Places::new(20, 3);
            let taken: Vec<_> = askers.into_iter().filter(|whom| places.take(*whom).is_ok()).collect();
            prop_assert_eq!(places.taken(), taken.len());
            prop_assert!(taken.len() <= 20);
            for whom in 0..5 {
                prop_assert!(taken.iter().filter(|taken| **taken == Some(whom)).count() <= 3);
            }
            for whom in &taken {
                places.give_back(whom.as_ref());
            }
            prop_assert_eq!((places.taken(), places.by.len()), (0, 0));
        }
    }
}
