//! When packets came, by their transport-wide numbers: what a sender estimates its link by
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01).

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How often it is told: libwebrtc tells every 50 to 250 ms, and its senders react as fast as they are told.
const INTERVAL: Duration = Duration::from_millis(50);

/// Packets that are told of at once; sooner where there are more. What is told has to fit into a datagram.
const MOST: usize = 256;

/// Numbers further ahead than that begin anew: so many that have not come still fit.
const JUMP: u64 = 1024;

/// What is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The number of the first packet.
    pub first: u16,
    /// When it and those that follow came; `None`: it has not come.
    pub times: Vec<Option<Instant>>,
}

/// What came and was not told yet.
#[derive(Debug, Default)]
pub struct Arrivals {
    /// The next number to tell of.
    next: Option<u64>,
    highest: Option<u64>,
    came: BTreeMap<u64, Instant>,
    due: Option<Instant>,
}

impl Arrivals {
    /// A packet with this number has come.
    pub fn packet(&mut self, number: u16, now: Instant) {
        let index = self.extend(number);
        let next = *self.next.get_or_insert(index);
        if index < next {
            // It was told that it had not come: the sender has taken that in.
            return;
        }
        if index - next > JUMP {
            self.came.clear();
            self.next = Some(index);
        }
        self.highest = self.highest.max(Some(index));
        self.came.entry(index).or_insert(now);
        self.due.get_or_insert(now + INTERVAL);
    }

    /// What is to be told by now.
    pub fn take(&mut self, now: Instant) -> Option<Told> {
        let is_due = self.due.is_some_and(|due| due <= now) || self.came.len() >= MOST;
        let (next, last) = (self.next?, *self.came.last_key_value()?.0);
        if !is_due {
            return None;
        }
        self.due = None;
        let came = std::mem::take(&mut self.came);
        // What is missing before the first that came is told as such; it need not be more than is of use.
        let first = next.max(last.saturating_sub(JUMP));
        self.next = Some(last + 1);
        #[expect(clippy::cast_possible_truncation, reason = "the number is the low 16 bits")]
        let number = first as u16;
        Some(Told {
            first: number,
            times: (first..=last).map(|index| came.get(&index).copied()).collect(),
        })
    }

    /// When there is something to tell.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    fn extend(&self, number: u16) -> u64 {
        // From one on, so that the first few may be before it.
        let highest = self.highest.unwrap_or(1 << 16 | u64::from(number));
        #[expect(clippy::cast_possible_truncation, reason = "the low 16 bits are meant")]
        let step = i64::from(number.wrapping_sub(highest as u16).cast_signed());
        highest.saturating_add_signed(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_told_once_also_where_it_wraps_and_where_it_is_missing() {
        let (mut arrivals, start) = (Arrivals::default(), Instant::now());
        for number in [65_534, 65_535, 1] {
            arrivals.packet(number, start);
        }
        assert_eq!(arrivals.take(start), None, "not yet");
        let due = arrivals.poll_timeout().expect("something came");
        let told = arrivals.take(due).expect("due");
        assert_eq!(
            (told.first, told.times),
            (65_534, vec![Some(start), Some(start), None, Some(start)])
        );
        arrivals.packet(0, due);
        assert_eq!(arrivals.poll_timeout(), None, "too late");
        arrivals.packet(3, due);
        let told = arrivals.take(due + INTERVAL).expect("due");
        assert_eq!((told.first, told.times), (2, vec![None, Some(due)]));
    }

    #[test]
    fn many_packets_are_told_of_at_once_and_a_jump_begins_anew() {
        let (mut arrivals, now) = (Arrivals::default(), Instant::now());
        for number in 0..256 {
            arrivals.packet(number, now);
        }
        assert_eq!(arrivals.take(now).map(|told| told.times.len()), Some(256));
        arrivals.packet(20_000, now);
        assert_eq!(arrivals.take(now + INTERVAL).map(|told| told.first), Some(20_000));
    }
}
