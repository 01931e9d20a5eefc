//! When a process whose supervisor is gone ends by itself.

use std::{
    fmt,
    time::{Duration, Instant},
};

use crate::observed_time::ObservedTime;

/// A supervisor that was killed is back within seconds where anything starts it; after this nobody will. Until then viewers
/// are worth more than what the process holds: ports, memory, a camera.
const PATIENCE: Duration = Duration::from_secs(600);

/// Without a runtime directory no supervisor finds it; one that makes the directory again is given as long as that takes.
const PATIENCE_WITHOUT_HOME: Duration = Duration::from_secs(10);

/// More than the usual time between two looks, which is 100 ms.
const LOOKS: Duration = Duration::from_secs(1);

/// Why a process is an orphan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orphaned {
    /// No supervisor can find it any more.
    Homeless,
    /// No supervisor has come for this long.
    Waited,
}

impl fmt::Display for Orphaned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Homeless => {
                f.write_str("its supervisor is gone, and so is the directory where another would find it")
            }
            Self::Waited => write!(f, "its supervisor has been gone for {} min", PATIENCE.as_secs() / 60),
        }
    }
}

/// Watches whether a process has lost its supervisor for good. One that never had any is nobody's orphan.
#[derive(Debug, Clone)]
pub struct OrphanWatch {
    time: ObservedTime,
    /// Since when there has been no supervisor, if there was one.
    alone_since: Option<Instant>,
    /// Since when there has been no directory besides.
    homeless_since: Option<Instant>,
}

impl OrphanWatch {
    /// Begins to watch.
    pub fn new(now: Instant) -> Self {
        Self {
            time: ObservedTime::new(LOOKS, now),
            alone_since: None,
            homeless_since: None,
        }
    }

    /// The supervisor is there.
    pub fn on_linked(&mut self, now: Instant) {
        self.alone_since = Some(self.time.look(now));
        self.homeless_since = None;
    }

    /// Takes in that there is no supervisor, and whether the runtime directory is there. Time in which nobody looked does not count.
    pub fn observe(&mut self, has_home: bool, now: Instant) -> Option<Orphaned> {
        let now = self.time.look(now);
        let alone_since = self.alone_since?;
        if has_home {
            self.homeless_since = None;
        } else {
            self.homeless_since.get_or_insert(now);
        }
        let lasts = |since: Instant| now.saturating_duration_since(since);
        if self
            .homeless_since
            .is_some_and(|since| lasts(since) >= PATIENCE_WITHOUT_HOME)
        {
            Some(Orphaned::Homeless)
        } else {
            (lasts(alone_since) >= PATIENCE).then_some(Orphaned::Waited)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_millis(100);

    /// Looks every 100 ms until it is an orphan: why, and after how long. `None`: it is none within 20 minutes.
    fn left_alone(
        watch: &mut OrphanWatch,
        start: Instant,
        has_home: impl Fn(Duration) -> bool,
    ) -> Option<(Orphaned, u64)> {
        (1..12_000_u32).find_map(|look| {
            let passed = LOOK * look;
            let orphaned = watch.observe(has_home(passed), start + passed)?;
            Some((orphaned, passed.as_secs()))
        })
    }

    #[test]
    fn orphan_waits_ten_minutes_and_seconds_where_nobody_can_find_it() {
        let start = Instant::now();
        let linked = || {
            let mut watch = OrphanWatch::new(start);
            watch.on_linked(start);
            watch
        };
        let ten = Duration::from_secs(10);
        assert_eq!(
            left_alone(&mut linked(), start, |_| true),
            Some((Orphaned::Waited, 600))
        );
        assert_eq!(
            left_alone(&mut linked(), start, |_| false),
            Some((Orphaned::Homeless, 10))
        );
        let late = |passed| passed < ten * 3;
        assert_eq!(left_alone(&mut linked(), start, late), Some((Orphaned::Homeless, 40)));
        let back = |passed| passed < ten || passed > ten * 2 - LOOK;
        assert_eq!(
            left_alone(&mut linked(), start, back),
            Some((Orphaned::Waited, 600)),
            "it came back in time"
        );
        assert_eq!(
            left_alone(&mut OrphanWatch::new(start), start, |_| false),
            None,
            "nobody's"
        );
    }

    #[test]
    fn machine_that_slept_makes_no_orphans_and_a_new_supervisor_ends_the_wait() {
        let start = Instant::now();
        let mut watch = OrphanWatch::new(start);
        watch.on_linked(start);
        let woken = start + Duration::from_secs(3600);
        assert_eq!(watch.observe(true, woken), None);
        assert_eq!(left_alone(&mut watch, woken, |_| true), Some((Orphaned::Waited, 599)));
        let later = woken + Duration::from_secs(700);
        watch.on_linked(later);
        assert_eq!(left_alone(&mut watch, later, |_| true), Some((Orphaned::Waited, 600)));
    }
}
