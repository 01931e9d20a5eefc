//! The queue of one subscriber. It is bounded, and drops whole groups.
//!
//! A picture is of no use without those before it up to the last keyframe. So a queue that is full lets go of all it
//! holds and takes nothing more until a keyframe comes, and the subscriber is told how many pictures it lost.

use std::collections::VecDeque;

/// How much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most pictures that wait.
    pub items: usize,
    /// Bytes in all; a single picture may exceed it.
    pub bytes: usize,
}

/// A queue of encoded pictures.
#[derive(Debug)]
pub struct GroupQueue<T> {
    limits: Limits,
    /// What may wait besides: the group that it began with.
    extra: Limits,
    waiting: VecDeque<(T, usize)>,
    bytes: usize,
    /// Lost and not yet told.
    lost: u64,
    /// Nothing but a keyframe is taken in.
    broken: bool,
    /// The first keyframe has come: pictures before it were never this subscriber's to lose.
    started: bool,
}

/// What comes out of a [`GroupQueue`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next<T> {
    /// A picture.
    Item(T),
    /// So many pictures were left out here; a keyframe follows.
    Lost(u64),
}

impl<T> GroupQueue<T> {
    /// An empty queue, which begins with the first keyframe.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            extra: Limits { items: 0, bytes: 0 },
            waiting: VecDeque::new(),
            bytes: 0,
            lost: 0,
            broken: true,
            started: false,
        }
    }

    /// Takes in a picture of `bytes` bytes. Returns how many pictures are lost by that.
    pub fn push(&mut self, item: T, bytes: usize, keyframe: bool) -> u64 {
        if self.broken && !keyframe {
            return self.lose(usize::from(self.started));
        }
        let full = self.waiting.len() >= self.limits.items + self.extra.items
            || (!self.waiting.is_empty() && self.bytes + bytes > self.limits.bytes + self.extra.bytes);
        let mut lost = 0;
        if full {
            lost = self.lose(self.waiting.len());
            self.waiting.clear();
            self.bytes = 0;
            self.broken = !keyframe;
        }
        if full && !keyframe {
            return lost + self.lose(1);
        }
        (self.broken, self.started) = (false, true);
        self.bytes += bytes;
        self.waiting.push_back((item, bytes));
        lost
    }

    /// The next thing to send.
    pub fn pop(&mut self) -> Option<Next<T>> {
        if self.waiting.is_empty() {
            return None;
        }
        // What is lost was always lost before what waits now.
        if self.lost > 0 {
            return Some(Next::Lost(std::mem::take(&mut self.lost)));
        }
        let (item, bytes) = self.waiting.pop_front()?;
        self.bytes -= bytes;
        Some(Next::Item(item))
    }

    /// Whether it has caught up and gets on only with a keyframe, which is then worth asking for.
    pub fn needs_keyframe(&self) -> bool {
        self.broken && self.waiting.is_empty()
    }

    /// Takes in a whole group, from its keyframe on, for who has caught up and needs one. It may be longer than what may wait
    /// otherwise: it is what whoever comes now gets, too. False: there was none to take.
    pub fn begin_again(&mut self, group: impl IntoIterator<Item = (T, usize, bool)>) -> bool {
        for (item, bytes, keyframe) in group {
            if keyframe {
                self.extra = Limits { items: 0, bytes: 0 };
            }
            self.extra.items += 1;
            self.extra.bytes += bytes;
            self.push(item, bytes, keyframe);
        }
        !self.broken
    }

    fn lose(&mut self, items: usize) -> u64 {
        let lost = u64::try_from(items).unwrap_or(u64::MAX);
        self.lost += lost;
        lost
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { items: 4, bytes: 100 };

    fn queue() -> GroupQueue<u32> {
        GroupQueue::new(LIMITS)
    }

    fn drain(queue: &mut GroupQueue<u32>) -> Vec<Next<u32>> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn who_was_too_slow_gets_the_last_group_again_whole_and_goes_on() {
        let mut queue = queue();
        queue.push(0, 1, true);
        for item in 1..9 {
            queue.push(item, 1, false);
        }
        while queue.pop().is_some() {}
        assert!(queue.needs_keyframe());
        assert!(!queue.begin_again([]));
        assert!(queue.begin_again((0..9).map(|item| (item, 1, item == 0))));
        let all = drain(&mut queue);
        assert!(matches!(all[0], Next::Lost(_)));
        assert_eq!(all[1..], (0..9).map(Next::Item).collect::<Vec<_>>());
        assert_eq!(queue.push(9, 1, false), 0);
        assert_eq!(drain(&mut queue), [Next::Item(9)]);
    }

    #[test]
    fn it_begins_with_a_keyframe_and_nothing_before_it_is_lost() {
        let mut queue = queue();
        assert!(queue.needs_keyframe());
        assert_eq!(
            (queue.push(1, 1, false), queue.push(2, 1, true), queue.push(3, 1, false)),
            (0, 0, 0)
        );
        assert_eq!(drain(&mut queue), [Next::Item(2), Next::Item(3)]);
        assert!(!queue.needs_keyframe());
    }

    #[test]
    fn a_full_queue_loses_all_up_to_the_next_keyframe_and_says_how_many() {
        let mut queue = queue();
        let lost: Vec<u64> = (0..7).map(|n| queue.push(n, 1, n == 0)).collect();
        assert_eq!(lost, [0, 0, 0, 0, 5, 1, 1]);
        assert!(queue.needs_keyframe());
        assert_eq!(queue.pop(), None, "told only together with what follows");
        assert_eq!(queue.push(7, 1, true), 0);
        assert_eq!(drain(&mut queue), [Next::Lost(7), Next::Item(7)]);
    }

    #[test]
    fn a_keyframe_that_finds_it_full_takes_the_place_of_all() {
        let mut queue = queue();
        (0..4).for_each(|n| _ = queue.push(n, 1, n == 0));
        assert_eq!(queue.push(4, 1, true), 4);
        assert_eq!(drain(&mut queue), [Next::Lost(4), Next::Item(4)]);
    }

    #[test]
    fn bytes_count_too_but_one_large_picture_always_fits() {
        let mut queue = queue();
        assert_eq!((queue.push(0, 500, true), queue.push(1, 1, false)), (0, 2));
        assert_eq!(queue.push(2, 500, true), 0);
        assert_eq!(drain(&mut queue), [Next::Lost(2), Next::Item(2)]);
    }

    proptest! {
        #[test]
        fn nothing_is_unaccounted_for_and_no_group_has_a_hole(
            steps in prop::collection::vec((any::<bool>(), 0..8_u8, 1..60_usize), 1..300)
        ) {
            let mut queue = GroupQueue::new(LIMITS);
            // The first picture in the queue's life is a keyframe here, so that all that follow count.
            queue.push((0, true), 1, true);
            let (mut pushed, mut out, mut lost, mut expected) = (1_u64, 0_u64, 0_u64, 0_u64);
            for (take, kind, bytes) in steps {
                if take {
                    match queue.pop() {
                        Some(Next::Lost(count)) => { lost += count; expected += count; }
                        Some(Next::Item((number, keyframe))) => {
                            prop_assert_eq!(number, expected, "the numbers of those left out were told");
                            prop_assert!(keyframe || out > 0);
                            out += 1;
                            expected += 1;
                        }
                        None => {}
                    }
                } else {
                    queue.push((pushed, kind == 0), bytes, kind == 0);
                    pushed += 1;
                }
                prop_assert!(queue.waiting.len() <= LIMITS.items);
                prop_assert_eq!(pushed, out + lost + queue.lost + u64::try_from(queue.waiting.len()).unwrap());
            }
        }
    }
}
