//! How much arrives at a viewer.

use std::collections::VecDeque;

use super::history::Landed;

/// The rate is that of so long, by the viewer's clock: some fifteen pictures.
const WINDOW: i64 = 500_000;
/// Less says nothing of a rate: it begins with a keyframe. Microseconds.
const LEAST: i64 = 450_000;
/// Groups of packets remembered: what half a second has at 500 a second. Full: the oldest is forgotten.
const MOST: usize = 256;
/// A queue is busy for so long at least before what comes out of it is taken for what the link carries, microseconds.
const BUSY: i64 = 60_000;
/// And so much comes out of it: of a few small packets that are late, too, one might think that they wait for each other. Bytes.
const BUSY_BYTES: u64 = 12_000;

/// What arrives.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    /// When it came, and bytes.
    parts: VecDeque<(i64, u32)>,
    bytes: u64,
    first: Option<i64>,
    /// While the link has a queue: since when, and what has come since.
    busy: Option<(i64, i64, u64)>,
}

impl Delivered {
    /// This has come, while the link had a queue or not.
    pub(super) fn add(&mut self, part: &Landed, has_queue: bool) {
        let at = self
            .parts
            .back()
            .map_or(part.latest, |(last, _)| part.latest.max(*last));
        self.first.get_or_insert(at);
        self.bytes += u64::from(part.bytes);
        self.parts.push_back((at, part.bytes));
        while let Some((came, bytes)) = self.parts.front().copied()
            && (at - came >= WINDOW || self.parts.len() > MOST)
        {
            self.bytes -= u64::from(bytes);
            self.parts.pop_front();
        }
        self.busy = match (has_queue, self.busy) {
            (true, Some((since, _, bytes))) => Some((since, at, bytes + u64::from(part.bytes))),
            (true, None) => Some((at, at, 0)),
            (false, _) => None,
        };
    }

    /// Bits per second that arrive; `None` while too little has come.
    pub(super) fn rate(&self) -> Option<f64> {
        let (last, _) = self.parts.back()?;
        let span = (last - self.first?).min(WINDOW);
        (span >= LEAST).then(|| per_second(self.bytes, span))
    }

    /// What the link carries, as far as it has had a queue for long enough to show it.
    pub(super) fn capacity(&self) -> Option<f64> {
        let (since, last, bytes) = self.busy?;
        (last - since >= BUSY && bytes >= BUSY_BYTES).then(|| per_second(bytes, last - since))
    }
}

#[expect(clippy::cast_precision_loss, reason = "bytes and microseconds of seconds")]
pub(super) fn per_second(bytes: u64, micros: i64) -> f64 {
    bytes as f64 * 8e6 / micros.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(latest: i64, bytes: u32) -> Landed {
        Landed {
            sent: 0,
            soonest: latest,
            latest,
            bytes,
        }
    }

    #[test]
    fn rate_is_of_the_last_half_second_and_capacity_of_a_busy_link() {
        let mut delivered = Delivered::default();
        for number in 0..60 {
            delivered.add(&part(number * 33_333, 10_000), false);
        }
        let rate = delivered.rate().unwrap();
        assert!((2_300_000.0..2_600_000.0).contains(&rate), "{rate}");
        assert_eq!(delivered.capacity(), None);
        for number in 0..10 {
            delivered.add(&part(2_000_000 + number * 10_000, 10_000), true);
        }
        assert_eq!(delivered.capacity(), Some(8_000_000.0));
    }
}
