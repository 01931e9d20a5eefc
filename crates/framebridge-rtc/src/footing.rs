//! Where one viewer stands among its stream's rungs.

use std::sync::Arc;

use framebridge_proto::media::Rung;

use crate::stream::Stream;

/// One viewer's share in what is needed, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Footing {
    stream: Arc<Stream>,
    in_use: Rung,
    aim: Rung,
    is_counted: bool,
}

impl Footing {
    /// A viewer that is given `rung`.
    pub(crate) fn new(stream: &Arc<Stream>, rung: Rung) -> Self {
        let footing = Self {
            stream: Arc::clone(stream),
            in_use: rung,
            aim: rung,
            is_counted: true,
        };
        footing.count(1);
        footing
    }

    /// It is given nothing: it has no media.
    pub(crate) fn leave(&mut self) {
        if std::mem::take(&mut self.is_counted) {
            self.count(-1);
        }
    }

    /// What it is given.
    #[inline]
    pub(crate) fn in_use(&self) -> Rung {
        self.in_use
    }

    /// What it is to be given as soon as that has a keyframe.
    #[inline]
    pub(crate) fn aim(&self) -> Rung {
        self.aim
    }

    /// From now on it is given the one and waits for the other.
    pub(crate) fn change(&mut self, in_use: Rung, aim: Rung) {
        if self.is_counted && (self.in_use, self.aim) != (in_use, aim) {
            let (before, aimed) = (self.in_use, self.aim);
            (self.in_use, self.aim) = (in_use, aim);
            // Counted first, so that what it keeps is never unneeded in between.
            self.count(1);
            self.stream.rungs.count(before, aimed, -1);
        }
    }

    fn count(&self, by: i32) {
        self.stream.rungs.count(self.in_use, self.aim, by);
    }
}

impl Drop for Footing {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_are_of_those_who_stand_on_a_rung_or_are_on_their_way() {
        let stream = Arc::new(Stream::new("test".parse().unwrap(), 0));
        let needs = stream.rungs.follow();
        let mut one = Footing::new(&stream, Rung::Full);
        let other = Footing::new(&stream, Rung::Full);
        assert_eq!(*needs.borrow(), [2, 0, 0]);
        one.change(Rung::Full, Rung::Half);
        assert_eq!(*needs.borrow(), [2, 1, 0]);
        assert!(!stream.rungs.is_fed(Rung::Half));
        one.change(Rung::Half, Rung::Half);
        assert_eq!(*needs.borrow(), [1, 1, 0]);
        assert!(stream.rungs.is_fed(Rung::Half));
        let mut line = Footing::new(&stream, Rung::Full);
        line.leave();
        assert_eq!(*needs.borrow(), [1, 1, 0]);
        drop((one, other, line));
        assert_eq!(*needs.borrow(), [0; 3]);
        assert!(!Rung::ALL.into_iter().any(|rung| stream.rungs.is_fed(rung)));
    }
}
