//! One stream's lower rungs: which of them its encoder can be counted on for, and the wishes for their keyframes.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use framebridge_core::rung_supply::{Input, RungSupply};
use framebridge_proto::{encoder::Quality, media::Rung};
use tokio::sync::watch;

/// What each rung takes, bits per second, by [`Rung::index`]; `None`: it is not to be had.
pub(crate) type Offer = [Option<u32>; Rung::COUNT];

/// The lower rungs of one stream.
#[derive(Debug)]
pub(crate) struct Rungs {
    is_allowed: bool,
    lower: [Lower; Rung::LOWER.len()],
    offered: Mutex<Offer>,
}

#[derive(Debug)]
struct Lower {
    rung: Rung,
    supply: Mutex<RungSupply>,
    /// Why its encoder does not make it, as it said last.
    refusal: Mutex<Option<String>>,
    keyframes: watch::Sender<()>,
}

impl Rungs {
    /// `is_allowed`: as the stream's settings say.
    pub(crate) fn new(is_allowed: bool) -> Self {
        Self {
            is_allowed,
            lower: Rung::LOWER.map(|rung| Lower {
                rung,
                supply: Mutex::default(),
                refusal: Mutex::default(),
                keyframes: watch::Sender::default(),
            }),
            offered: Mutex::default(),
        }
    }

    /// What there is to be offered of a stream of this quality, if that is news.
    pub(crate) fn offer(&self, quality: Quality, now: Instant) -> Option<Offer> {
        let offer = Rung::ALL.map(|rung| {
            let supply = self.lower(rung).map(|lower| lock(&lower.supply));
            let is_there = supply.is_none_or(|supply| self.is_allowed && supply.is_to_be_had(now));
            rung.bitrate(quality.bitrate).filter(|_| is_there)
        });
        let before = std::mem::replace(&mut *lock(&self.offered), offer);
        (before != offer).then_some(offer)
    }

    /// Something happened to a lower rung.
    pub(crate) fn handle(&self, rung: Rung, input: Input, now: Instant) {
        if let Some(lower) = self.lower(rung)
            && lock(&lower.supply).handle(input, now)
        {
            tracing::warn!(%rung, "a rung is not to be had");
        }
    }

    /// A picture of the full rung came.
    pub(crate) fn full_picture(&self, now: Instant) {
        for rung in Rung::LOWER {
            self.handle(rung, Input::FullPicture, now);
        }
    }

    /// The encoder says why it does not make a rung.
    pub(crate) fn refuse(&self, rung: Rung, reason: String, now: Instant) {
        self.handle(rung, Input::Refused, now);
        if let Some(lower) = self.lower(rung) {
            *lock(&lower.refusal) = Some(reason);
        }
    }

    /// What each takes, as was offered last, and why one is not to be had, as far as the encoder said.
    pub(crate) fn offered(&self) -> [(Rung, Option<u32>, Option<String>); Rung::COUNT] {
        let offered = *lock(&self.offered);
        Rung::ALL.map(|rung| {
            let rate = offered[rung.index()];
            let refusal = self.lower(rung).and_then(|lower| lock(&lower.refusal).clone());
            (rung, rate, refusal.filter(|_| rate.is_none()))
        })
    }

    /// Viewers of a lower rung need a keyframe; false: it is none.
    pub(crate) fn request_keyframe(&self, rung: Rung) -> bool {
        let lower = self.lower(rung);
        lower.is_some_and(|lower| {
            lower.keyframes.send_replace(());
            true
        })
    }

    /// Follows who wishes for a keyframe of a lower rung.
    pub(crate) fn keyframe_wishes(&self, rung: Rung) -> Option<watch::Receiver<()>> {
        Some(self.lower(rung)?.keyframes.subscribe())
    }

    fn lower(&self, rung: Rung) -> Option<&Lower> {
        self.lower.iter().find(|lower| lower.rung == rung)
    }
}

/// What is behind these locks is whole at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUALITY: Quality = Quality {
        bitrate: 2_500_000,
        fps: 30,
        longest_edge: 1280,
    };

    #[test]
    fn what_is_offered_follows_quality_settings_and_encoder() {
        let now = Instant::now();
        let rungs = Rungs::new(true);
        let all = [Some(2_500_000), Some(625_000), Some(208_333)];
        assert_eq!(rungs.offer(QUALITY, now), Some(all));
        assert_eq!(rungs.offer(QUALITY, now), None, "no news");
        rungs.refuse(Rung::Half, "too slow".to_owned(), now);
        assert_eq!(rungs.offer(QUALITY, now), Some([all[0], None, all[2]]));
        assert_eq!(rungs.offered()[1], (Rung::Half, None, Some("too slow".to_owned())));
        rungs.handle(Rung::Half, Input::Picture, now);
        assert_eq!(rungs.offer(QUALITY, now), Some(all));
        let none = Rungs::new(false);
        assert_eq!(none.offer(QUALITY, now), Some([all[0], None, None]));
    }
}
