//! One living process as the kernel knows it: started or adopted, watched through its pidfd, signalled, reaped.

use std::{
    fs, io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use framebridge_core::process::ExitStatus;
use rustix::{
    io::Errno,
    process::{
        Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, getpgid, kill_process_group, pidfd_open, pidfd_send_signal,
        waitid,
    },
    time::{ClockId, clock_gettime},
};
use serde::{Deserialize, Serialize};
use tokio::io::{Interest, unix::AsyncFd};

use crate::oom::MemoryGroup;

/// What `/proc` counts time in: USER_HZ is 100 on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// How the kernel ends a process, among others.
const KILLED: ExitStatus = ExitStatus::Signal(Signal::KILL.as_raw());

/// A process, from its start or adoption on. Clones are the same process.
#[derive(Debug, Clone)]
pub(crate) struct Child {
    pub(crate) mark: Mark,
    pid: Pid,
    pidfd: Arc<AsyncFd<OwnedFd>>,
    /// Where it was born: of a dead one not every kernel tells, and one that is not ours another reaps before we can ask.
    group: Option<MemoryGroup>,
}

/// What came of a start.
#[derive(Debug)]
pub(crate) enum Started {
    /// It runs.
    Lives(Child),
    /// It ran, has ended, and whoever started it leaves it at that.
    Died {
        /// It was this one.
        pid: u32,
        /// How it ended.
        status: ExitStatus,
    },
}

/// What tells one process from every other there ever was since the machine started: a pid is used again, a pid
/// with its start time is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) pid: u32,
    /// Clock ticks from the machine's start to the process's.
    pub(crate) started: u64,
}

impl Mark {
    /// The mark of a process that lives; a zombie does not.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may itself hold any character, so what follows its last one counts.
        let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let (state, started) = (*fields.first()?, fields.get(19)?.parse().ok()?);
        (!matches!(state, "Z" | "X")).then_some(Self { pid, started })
    }

    /// When it was started, on the clock of `now`.
    pub(crate) fn started_at(self, now: Instant) -> Instant {
        let boot = clock_gettime(ClockId::Boottime);
        let since_boot = Duration::try_from(boot).unwrap_or_default();
        let started = u32::try_from(self.started).map_or(since_boot, |ticks| TICK * ticks);
        now.checked_sub(since_boot.saturating_sub(started)).unwrap_or(now)
    }
}

impl Child {
    /// Starts `command` in a process group of its own, without input; its output goes where ours goes, so that it
    /// outlives us.
    pub(crate) fn spawn(command: &mut Command) -> io::Result<Self> {
        let mut spawned = command.stdin(Stdio::null()).process_group(0).spawn()?;
        // Not reaped yet, so this is still it, whatever became of it.
        let mark = Mark::of(spawned.id()).unwrap_or(Mark {
            pid: spawned.id(),
            started: 0,
        });
        let opened = Self::open(mark);
        if opened.is_err() {
            // What can't be watched must not run.
            spawned.kill()?;
            spawned.wait()?;
        }
        opened
    }

    /// Takes on a process that was started by somebody else. `None`: it is gone.
    pub(crate) fn adopt(mark: Mark) -> Option<Self> {
        let child = Self::open(mark).ok()?;
        // Between the mark and the pidfd the pid may have passed to another process.
        (Mark::of(mark.pid) == Some(mark)).then_some(child)
    }

    fn open(mark: Mark) -> io::Result<Self> {
        let pid = i32::try_from(mark.pid)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or(io::ErrorKind::InvalidInput)?;
        let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe for the sake of types whose descriptor changes; an OwnedFd's does not"
        )]
        let pidfd = AsyncFd::with_interest(pidfd, Interest::READABLE)?;
        let group = MemoryGroup::of(mark.pid);
        group.iter().for_each(MemoryGroup::begin);
        Ok(Self {
            mark,
            pid,
            pidfd: Arc::new(pidfd),
            group,
        })
    }

    /// Sends `signal` to its process group, or to it alone where it leads none: somebody else has started it then. `false`: it
    /// is another user's, and who started it would have to.
    pub(crate) fn signal(&self, signal: Signal) -> bool {
        let leads = getpgid(Some(self.pid)).is_ok_and(|group| group == self.pid);
        let sent = if leads {
            kill_process_group(self.pid, signal)
        } else {
            pidfd_send_signal(self.pidfd.get_ref(), signal)
        };
        match sent {
            // Gone already: its exit is on the way.
            Ok(()) | Err(Errno::SRCH) => {}
            Err(Errno::PERM) => return false,
            Err(error) => tracing::error!(pid = self.mark.pid, %error, "could not be signalled"),
        }
        true
    }

    /// Waits for its end, ends what it left of its group, and reaps it.
    pub(crate) async fn exited(self) -> ExitStatus {
        if let Err(error) = self.pidfd.readable().await {
            tracing::error!(pid = self.mark.pid, %error, "its pidfd can't be watched");
        }
        // A leader that is dead but not reaped keeps its group's number from being used again.
        if Mark::of(self.mark.pid).is_none() {
            // What another user's leaves, who started it ends.
            self.signal(Signal::KILL);
        }
        let status = match waitid(WaitId::PidFd(self.pidfd.get_ref().as_fd()), WaitIdOptions::EXITED) {
            Ok(Some(status)) => status
                .exit_status()
                .map(ExitStatus::Code)
                .or(status.terminating_signal().map(ExitStatus::Signal))
                .unwrap_or(ExitStatus::Unknown),
            Ok(None) | Err(_) => ExitStatus::Unknown,
        };
        let may_be_the_kernels = matches!(status, ExitStatus::Unknown) || status == KILLED;
        match self.group.filter(|group| may_be_the_kernels && group.claim()) {
            Some(group) => ExitStatus::OutOfMemory {
                limit_mib: group.limit_mib(),
            },
            None => status,
        }
    }
}
