//! What is broken when, all of it from a seed. Pure.

use std::{fmt, time::Duration};

use framebridge_core::random::Random;

/// A fault is left in place for so long where it does not end by itself; each of these is as likely.
const HOLDS_MS: [u64; 4] = [500, 1_500, 3_000, 6_000];

/// Quiet before a fault, in which the rate of pictures is seen.
const RESTS_MS: [u64; 3] = [500, 1_000, 2_000];

/// A stream of the system under test, by its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// The built-in test pattern.
    Test,
    /// A display of the drill's own.
    Desk,
    /// An RTSP server of the drill's own.
    Camera,
}

/// A process of Framebridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Daemon {
    /// The supervisor.
    Supervisor,
    /// Signaling.
    Signaling,
    /// The bridge.
    Bridge,
    /// The encoder of a stream.
    Encoder(Stream),
}

/// One kind of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// None: what the machine does to the picture by itself.
    Nothing,
    /// SIGKILL.
    Kill(Daemon),
    /// SIGSTOP.
    Freeze(Daemon),
    /// SIGKILL to the X server; it is started again later.
    KillDisplay,
    /// SIGSTOP to the X server; it goes on later.
    FreezeDisplay,
    /// SIGKILL to the RTSP server; it is started again later.
    KillCamera,
    /// SIGSTOP to the RTSP server; it goes on later.
    FreezeCamera,
    /// The disk under the journal and the sockets is full for a while, and a process is killed, which has to start without room.
    FullDisk(Daemon),
    /// A process may open no further descriptor for a while.
    FewDescriptors(Daemon),
    /// The file of a socket is deleted while its process lives.
    DeleteSocket(Daemon),
    /// Signaling's HTTP listener is closed, and everything else in it goes on.
    CloseListener,
    /// The encoder takes pictures and gives none.
    Wedge(Stream),
    /// The encoder makes no lower rung any more, and says nothing of it.
    WedgeRung(Stream),
    /// Busy loops on every processor, four each, for a while.
    Starve,
    /// The time of day is hours ahead for a while, then right again.
    StepClock,
    /// The interface that media goes over loses its address, is called otherwise, and gets its address back later.
    RenameNetwork,
    /// SIGSTOP to every process of ours; all go on later.
    Suspend,
}

/// Every stream, in the order of the status.
pub const STREAMS: [Stream; 3] = [Stream::Test, Stream::Desk, Stream::Camera];

/// A machine that slept, or a virtual one that was moved, is away for so long.
const SUSPENDED: Duration = Duration::from_secs(120);

/// Faults that take so long that they come only where they are asked for by name.
const LONG_FAULTS: [Fault; 1] = [Fault::Suspend];

/// Every other fault. Each comes once before any comes again.
const FAULTS: [Fault; 33] = [
    Fault::Nothing,
    Fault::Kill(Daemon::Supervisor),
    Fault::Kill(Daemon::Signaling),
    Fault::Kill(Daemon::Bridge),
    Fault::Kill(Daemon::Encoder(Stream::Test)),
    Fault::Kill(Daemon::Encoder(Stream::Desk)),
    Fault::Kill(Daemon::Encoder(Stream::Camera)),
    Fault::Freeze(Daemon::Supervisor),
    Fault::Freeze(Daemon::Signaling),
    Fault::Freeze(Daemon::Bridge),
    Fault::Freeze(Daemon::Encoder(Stream::Test)),
    Fault::Freeze(Daemon::Encoder(Stream::Desk)),
    Fault::Freeze(Daemon::Encoder(Stream::Camera)),
    Fault::KillDisplay,
    Fault::FreezeDisplay,
    Fault::KillCamera,
    Fault::FreezeCamera,
    Fault::FullDisk(Daemon::Bridge),
    Fault::FullDisk(Daemon::Signaling),
    Fault::FullDisk(Daemon::Encoder(Stream::Test)),
    Fault::FewDescriptors(Daemon::Supervisor),
    Fault::FewDescriptors(Daemon::Signaling),
    Fault::FewDescriptors(Daemon::Encoder(Stream::Test)),
    Fault::DeleteSocket(Daemon::Supervisor),
    Fault::DeleteSocket(Daemon::Encoder(Stream::Test)),
    Fault::DeleteSocket(Daemon::Encoder(Stream::Desk)),
    Fault::DeleteSocket(Daemon::Encoder(Stream::Camera)),
    Fault::CloseListener,
    Fault::Wedge(Stream::Test),
    Fault::WedgeRung(Stream::Test),
    Fault::Starve,
    Fault::StepClock,
    Fault::RenameNetwork,
];

/// One fault and its times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strike {
    /// What is done.
    pub fault: Fault,
    /// Quiet before it.
    pub rest: Duration,
    /// From the damage to its repair, where the system can't repair it.
    pub hold: Duration,
}

/// Strikes without end, the same for the same seed.
#[derive(Debug, Clone)]
pub struct Plan {
    random: Random,
    faults: Vec<Fault>,
    left: Vec<Fault>,
}

impl Plan {
    /// The plan that belongs to `seed`, of the faults whose names contain `only`; without such a fault it is empty.
    pub fn new(seed: u64, only: &str) -> Self {
        let wanted = |fault: &Fault| fault.to_string().contains(only);
        Self {
            random: Random::new(seed),
            faults: FAULTS
                .into_iter()
                .chain(LONG_FAULTS.into_iter().filter(|_| !only.is_empty()))
                .filter(wanted)
                .collect(),
            left: Vec::new(),
        }
    }

    fn pick(&mut self, of: &[u64]) -> Duration {
        Duration::from_millis(of[self.random.below(of.len())])
    }
}

impl Iterator for Plan {
    type Item = Strike;

    fn next(&mut self) -> Option<Strike> {
        if self.left.is_empty() {
            self.left.clone_from(&self.faults);
        }
        if self.left.is_empty() {
            return None;
        }
        let fault = self.left.swap_remove(self.random.below(self.left.len()));
        let (rest, hold) = (self.pick(&RESTS_MS), self.pick(&HOLDS_MS));
        Some(Strike {
            fault,
            rest,
            hold: if fault == Fault::Suspend { SUSPENDED } else { hold },
        })
    }
}

impl Stream {
    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Desk => "desk",
            Self::Camera => "camera",
        }
    }
}

impl Daemon {
    /// Its name in the status.
    pub fn name(self) -> String {
        match self {
            Self::Supervisor => "supervisor".into(),
            Self::Signaling => "signaling".into(),
            Self::Bridge => "bridge".into(),
            Self::Encoder(stream) => format!("encoder-{}", stream.name()),
        }
    }
}

impl Fault {
    /// The process of ours that it is done to, or that notices it first. `None`: whatever is noticed is a false alarm.
    pub fn concerns(self) -> Option<Daemon> {
        match self {
            Self::Nothing | Self::Starve | Self::StepClock | Self::RenameNetwork | Self::Suspend => None,
            Self::Kill(daemon)
            | Self::Freeze(daemon)
            | Self::FullDisk(daemon)
            | Self::FewDescriptors(daemon)
            | Self::DeleteSocket(daemon) => Some(daemon),
            Self::KillDisplay | Self::FreezeDisplay => Some(Daemon::Encoder(Stream::Desk)),
            Self::KillCamera | Self::FreezeCamera => Some(Daemon::Encoder(Stream::Camera)),
            Self::CloseListener => Some(Daemon::Signaling),
            Self::Wedge(stream) | Self::WedgeRung(stream) => Some(Daemon::Encoder(stream)),
        }
    }

    /// Whether it lasts until somebody outside of Framebridge repairs it: its owner, or the service manager.
    pub fn needs_repair(self) -> bool {
        match self {
            Self::Kill(daemon) | Self::Freeze(daemon) => daemon == Daemon::Supervisor,
            // A new life of signaling starts with the limits of the supervisor's; its HTTP, dead under a fresh
            // heartbeat, has to be noticed.
            Self::Nothing
            | Self::DeleteSocket(_)
            | Self::FewDescriptors(Daemon::Signaling)
            | Self::CloseListener
            | Self::Wedge(_)
            | Self::WedgeRung(_) => false,
            Self::KillDisplay
            | Self::FreezeDisplay
            | Self::KillCamera
            | Self::FreezeCamera
            | Self::FullDisk(_)
            | Self::Starve
            | Self::StepClock
            | Self::RenameNetwork
            | Self::Suspend
            | Self::FewDescriptors(_) => true,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing (control)"),
            Self::Kill(daemon) => write!(f, "{} killed", daemon.name()),
            Self::Freeze(daemon) => write!(f, "{} frozen", daemon.name()),
            Self::KillDisplay => f.write_str("X server killed"),
            Self::FreezeDisplay => f.write_str("X server frozen"),
            Self::KillCamera => f.write_str("RTSP server killed"),
            Self::FreezeCamera => f.write_str("RTSP server frozen"),
            Self::FullDisk(daemon) => write!(f, "disk full, {} killed", daemon.name()),
            Self::FewDescriptors(daemon) => write!(f, "{} out of descriptors", daemon.name()),
            Self::DeleteSocket(daemon) => write!(f, "{}'s socket deleted", daemon.name()),
            Self::CloseListener => f.write_str("HTTP listener closed"),
            Self::Wedge(stream) => write!(f, "{} wedged", Daemon::Encoder(*stream).name()),
            Self::WedgeRung(stream) => write!(f, "half rung of {} wedged", Daemon::Encoder(*stream).name()),
            Self::Starve => f.write_str("starved of processor"),
            Self::StepClock => f.write_str("clock stepped by 5 h"),
            Self::RenameNetwork => f.write_str("network renamed"),
            Self::Suspend => f.write_str("machine suspended for 120 s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(seed: u64, count: usize) -> Vec<Strike> {
        Plan::new(seed, "").take(count).collect()
    }

    #[test]
    fn same_seed_gives_the_same_plan_and_another_gives_another() {
        assert_eq!(first(7, 200), first(7, 200));
        assert_ne!(first(7, 200), first(8, 200));
    }

    #[test]
    fn plan_of_some_faults_has_no_others() {
        let mut names: Vec<_> = Plan::new(7, "frozen")
            .take(100)
            .map(|strike| strike.fault.to_string())
            .collect();
        assert!(names.iter().all(|name| name.ends_with("frozen")));
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 8);
        assert_eq!(Plan::new(7, "no such fault").count(), 0);
    }

    #[test]
    fn what_takes_minutes_comes_only_where_it_is_asked_for() {
        let suspended = |only: &str| {
            let strikes = Plan::new(7, only).take(100);
            strikes.filter(|strike| strike.fault == Fault::Suspend).count()
        };
        assert_eq!((suspended(""), suspended("suspended")), (0, 100));
    }

    #[test]
    fn every_fault_comes_once_before_any_comes_again() {
        for round in first(3, 4 * FAULTS.len()).chunks(FAULTS.len()) {
            for fault in FAULTS {
                let times = round.iter().filter(|strike| strike.fault == fault).count();
                assert_eq!(times, 1, "{fault:?}");
            }
        }
    }
}
