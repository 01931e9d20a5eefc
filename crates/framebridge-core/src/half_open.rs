//! Limits sessions that are not connected yet: how many each client may have, and which one goes when places run out.
//!
//! Asking costs a stranger one request, and holds a viewer's place until it has not connected in time.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

/// Half-open sessions `S` of groups `G`, by who asked, `K`.
#[derive(Debug)]
pub struct HalfOpen<S, G, K> {
    each: usize,
    spared: usize,
    lasts: Duration,
    /// Oldest first.
    sessions: VecDeque<Entry<S, G, K>>,
}

#[derive(Debug)]
struct Entry<S, G, K> {
    session: S,
    group: G,
    /// `None`: who is trusted.
    whose: Option<K>,
    since: Instant,
}

impl<S: PartialEq, G: PartialEq, K: Ord> HalfOpen<S, G, K> {
    /// Each may have `each` at once, and keeps `spared` whatever others need; one `lasts` no longer than this, whether or not
    /// its end is told.
    pub fn new(each: usize, spared: usize, lasts: Duration) -> Self {
        Self {
            each,
            spared,
            lasts,
            sessions: VecDeque::new(),
        }
    }

    /// Whether `whose` may ask for one more. Who is trusted (`None`) may.
    pub fn has_room(&mut self, whose: Option<&K>, now: Instant) -> bool {
        self.forget_old(now);
        whose.is_none()
            || self
                .sessions
                .iter()
                .filter(|entry| entry.whose.as_ref() == whose)
                .count()
                < self.each
    }

    /// A session was opened.
    pub fn open(&mut self, session: S, group: G, whose: Option<K>, now: Instant) {
        self.forget_old(now);
        self.sessions.push_back(Entry {
            session,
            group,
            whose,
            since: now,
        });
    }

    /// A session has connected, or ended.
    pub fn settle(&mut self, session: &S) {
        self.sessions.retain(|entry| entry.session != *session);
    }

    /// Which goes when a place is needed, in one group or any: the oldest of whoever has the most, if
    /// that is more than what is spared. It is settled by that.
    pub fn give_up(&mut self, group: Option<&G>, now: Instant) -> Option<S> {
        self.forget_old(now);
        let is_meant = |entry: &Entry<S, G, K>| group.is_none_or(|group| entry.group == *group);
        let mut counts = BTreeMap::<&Option<K>, usize>::new();
        for entry in self.sessions.iter().filter(|entry| is_meant(entry)) {
            *counts.entry(&entry.whose).or_default() += 1;
        }
        let most = counts.values().max().filter(|most| **most > self.spared)?;
        let at = self
            .sessions
            .iter()
            .position(|entry| is_meant(entry) && counts.get(&entry.whose) == Some(most))?;
        Some(self.sessions.remove(at)?.session)
    }

    fn forget_old(&mut self, now: Instant) {
        while self
            .sessions
            .front()
            .is_some_and(|entry| now.saturating_duration_since(entry.since) > self.lasts)
        {
            self.sessions.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTS: Duration = Duration::from_secs(15);

    #[test]
    fn each_has_so_many_until_they_connect_end_or_are_too_old_and_who_is_trusted_any_number() {
        let now = Instant::now();
        let mut half_open = HalfOpen::new(2, 0, LASTS);
        for session in 0..2 {
            assert!(half_open.has_room(Some(&"a"), now));
            half_open.open(session, "door", Some("a"), now);
        }
        assert!(!half_open.has_room(Some(&"a"), now));
        assert!(half_open.has_room(Some(&"b"), now));
        for session in 10..20 {
            assert!(half_open.has_room(None, now));
            half_open.open(session, "door", None, now);
        }
        half_open.settle(&0);
        assert!(half_open.has_room(Some(&"a"), now));
        half_open.open(2, "door", Some("a"), now + Duration::from_secs(1));
        assert!(!half_open.has_room(Some(&"a"), now + LASTS));
        assert!(half_open.has_room(Some(&"a"), now + LASTS + Duration::from_millis(1)));
    }

    #[test]
    fn the_oldest_of_whoever_has_the_most_goes_and_only_of_the_group_that_is_full() {
        let now = Instant::now();
        let mut half_open = HalfOpen::new(8, 0, LASTS);
        for (session, group, whose) in [
            (0, "desk", Some("viewer")),
            (1, "door", Some("flood")),
            (2, "door", Some("flood")),
            (3, "door", Some("flood")),
            (4, "desk", None),
            (5, "desk", None),
        ] {
            half_open.open(session, group, whose, now);
        }
        assert_eq!(
            half_open.give_up(Some(&"desk"), now),
            Some(4),
            "who is trusted counts as one"
        );
        assert_eq!(half_open.give_up(None, now), Some(1));
        assert_eq!(half_open.give_up(None, now), Some(2));
        assert_eq!(
            half_open.give_up(Some(&"desk"), now),
            Some(0),
            "the oldest, where all have one"
        );
        assert_eq!(half_open.give_up(Some(&"none"), now), None);
        assert_eq!(half_open.give_up(Some(&"desk"), now), Some(5));
        assert_eq!(half_open.give_up(Some(&"desk"), now), None);
    }

    #[test]
    fn who_has_few_keeps_them_whatever_others_need() {
        let now = Instant::now();
        let mut half_open = HalfOpen::new(8, 2, LASTS);
        for session in 0..2 {
            half_open.open(session, "door", Some("a"), now);
            half_open.open(10 + session, "door", Some("b"), now);
        }
        assert_eq!(half_open.give_up(Some(&"door"), now), None);
        half_open.open(2, "door", Some("a"), now);
        assert_eq!(half_open.give_up(Some(&"door"), now), Some(0));
        assert_eq!(half_open.give_up(Some(&"door"), now), None);
    }
}
