//! A stream's rungs: what each takes, and how many viewers need each.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use framebridge_proto::media::Rung;
use tokio::sync::watch;

/// By [`Rung::index`].
pub(crate) type PerRung<T> = [T; Rung::COUNT];

/// How many viewers need each rung: they get it, or are on their way to it. By [`Rung::index`].
pub type RungNeeds = PerRung<u32>;

/// What a stream knows of its rungs.
#[derive(Debug, Default)]
pub(crate) struct Rungs {
    /// Bits per second; 0: not to be had.
    rates: PerRung<AtomicU32>,
    needs: watch::Sender<RungNeeds>,
    /// How many are given each.
    fed: PerRung<AtomicU32>,
}

impl Rungs {
    /// From now on these are to be had, at so many bits per second.
    pub(crate) fn offer(&self, rates: PerRung<Option<u32>>) {
        for (known, rate) in self.rates.iter().zip(rates) {
            known.store(rate.unwrap_or(0), Relaxed);
        }
    }

    /// What each takes, if it is to be had.
    pub(crate) fn rates(&self) -> PerRung<Option<u32>> {
        self.rates
            .each_ref()
            .map(|rate| Some(rate.load(Relaxed)).filter(|rate| *rate > 0))
    }

    /// Whether there is more than the full one.
    pub(crate) fn is_ladder(&self) -> bool {
        Rung::LOWER
            .iter()
            .any(|rung| self.rates[rung.index()].load(Relaxed) > 0)
    }

    /// Whether anybody is given this one.
    pub(crate) fn is_fed(&self, rung: Rung) -> bool {
        self.fed[rung.index()].load(Relaxed) > 0
    }

    /// A viewer more, or less, is given the one and is on its way to the other.
    pub(crate) fn count(&self, in_use: Rung, aim: Rung, by: i32) {
        let fed = &self.fed[in_use.index()];
        _ = fed.fetch_update(Relaxed, Relaxed, |count| Some(count.saturating_add_signed(by)));
        self.needs.send_modify(|needs| {
            for rung in Rung::ALL.into_iter().filter(|rung| [in_use, aim].contains(rung)) {
                let count = &mut needs[rung.index()];
                *count = count.saturating_add_signed(by);
            }
        });
    }

    /// Follows how many need each.
    pub(crate) fn follow(&self) -> watch::Receiver<RungNeeds> {
        self.needs.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_offered_is_what_there_is() {
        let rungs = Rungs::default();
        assert_eq!((rungs.rates(), rungs.is_ladder()), ([None; 3], false));
        rungs.offer([Some(9), None, Some(1)]);
        assert_eq!((rungs.rates(), rungs.is_ladder()), ([Some(9), None, Some(1)], true));
        rungs.offer([Some(9), None, None]);
        assert!(!rungs.is_ladder());
    }
}
