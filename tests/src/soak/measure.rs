//! What is measured of a process, and what it may come to.

use crate::soak::growth::Bound;

/// One number of a process, or of the box as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Resident memory, KiB.
    Memory,
    /// Open descriptors.
    Descriptors,
    /// Threads.
    Threads,
    /// Tasks of the runtime, where a process tells them.
    Tasks,
    /// CPU since the sample before, percent of a core.
    Cpu,
    /// From capture to what the page shows, median of the time since the sample before, ms.
    LatencyMiddle,
    /// Likewise, the 99th percentile.
    LatencyTail,
    /// What the runtime directory has on its disk, KiB.
    Disk,
}

/// All of them.
pub const MEASURES: [Measure; 8] = [
    Measure::Memory,
    Measure::Descriptors,
    Measure::Threads,
    Measure::Tasks,
    Measure::Cpu,
    Measure::LatencyMiddle,
    Measure::LatencyTail,
    Measure::Disk,
];

impl Measure {
    /// Its name in the record.
    pub fn key(self) -> &'static str {
        match self {
            Self::Memory => "memory_kib",
            Self::Descriptors => "descriptors",
            Self::Threads => "threads",
            Self::Tasks => "tasks",
            Self::Cpu => "cpu_percent",
            Self::LatencyMiddle => "latency_p50_ms",
            Self::LatencyTail => "latency_p99_ms",
            Self::Disk => "disk_kib",
        }
    }

    /// Its name for people, with the unit that [`shown`](Self::shown) has.
    pub fn title(self) -> &'static str {
        match self {
            Self::Memory => "memory MiB",
            Self::Descriptors => "descriptors",
            Self::Threads => "threads",
            Self::Tasks => "tasks",
            Self::Cpu => "CPU %",
            Self::LatencyMiddle => "latency p50 ms",
            Self::LatencyTail => "latency p99 ms",
            Self::Disk => "disk MiB",
        }
    }

    /// A value in the unit that people are shown.
    pub fn shown(self, value: f64) -> f64 {
        match self {
            Self::Memory | Self::Disk => value / 1024.0,
            Self::Descriptors | Self::Threads | Self::Tasks | Self::Cpu | Self::LatencyMiddle | Self::LatencyTail => {
                value
            }
        }
    }

    /// What it may come to over a whole soak, however long that is: so a longer one finds slower leaks.
    pub fn bound(self) -> Bound {
        let rise = |by, share| Bound::Rise { by, share };
        match self {
            // Allocators keep what they had for the worst moment so far.
            Self::Memory => rise(2048.0, 0.03),
            // A stray connection and the one after it.
            Self::Descriptors => rise(2.0, 0.0),
            // The pool for what blocks keeps a thread or two more or less.
            Self::Threads => rise(2.0, 0.0),
            // As the thousand viewers of the end-to-end tests.
            Self::Tasks => rise(10.0, 0.0),
            // The machine does other things.
            Self::Cpu => rise(5.0, 0.25),
            Self::LatencyMiddle => rise(10.0, 0.1),
            // A single busy moment makes it.
            Self::LatencyTail => rise(50.0, 0.25),
            // The journal and its predecessor, each a MiB and a day of the soak, and of each process the last lines twice.
            Self::Disk => Bound::Most(3840.0),
        }
    }
}
