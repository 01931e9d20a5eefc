//! Processes: those we start, and what `/proc` says of any.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use rustix::process::{Pid, Signal, geteuid, kill_process, kill_process_group};

use crate::{python, wait};

/// A command for a program that a test starts.
#[expect(
    clippy::disallowed_methods,
    reason = "starting real processes is what these tests are about"
)]
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    Command::new(program)
}

/// A process of ours, leader of a group of its own that is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts it; what it says goes to the file `log`.
    ///
    /// # Errors
    /// It can't be started.
    pub fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Self::start_as_is(command)
    }

    /// Starts it with its standard streams as the command has them.
    ///
    /// # Errors
    /// It can't be started.
    pub fn start_as_is(command: &mut Command) -> anyhow::Result<Self> {
        let name = command.get_program().to_owned();
        let child = command
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {}", name.display()))?;
        Ok(Self { child })
    }

    /// Its pid, which is its group's id too.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The child itself, for its standard streams.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        wait::until("a process to end", limit, || Ok(self.child.try_wait()?))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // Either may fail only because it is gone already, which is what is wanted.
            _ = pid(self.child.id()).map(|group| kill_process_group(group, Signal::KILL));
            _ = self.child.wait();
        }
    }
}

/// Whether the tests may make something that only root may; where not, it is said what is left out.
pub(crate) fn may_make(what: &str) -> bool {
    let is_root = geteuid().is_root();
    if !is_root {
        #[expect(clippy::print_stderr, reason = "what is left out is said")]
        {
            eprintln!("left out: only root may make {what}");
        }
    }
    is_root
}

/// Sends a signal.
///
/// # Errors
/// There is no such process.
pub fn signal(number: u32, signal: Signal) -> anyhow::Result<()> {
    kill_process(pid(number)?, signal).with_context(|| format!("signalling {number}"))
}

fn pid(number: u32) -> anyhow::Result<Pid> {
    i32::try_from(number)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| anyhow!("{number} is no pid"))
}

/// Pids of the processes that were started with this in their environment, zombies left out.
///
/// # Errors
/// `/proc` can't be read.
pub fn with_environment(variable: &str) -> anyhow::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // Processes come and go, and others' are none of our business.
        let Ok(environment) = fs::read(proc(pid, "environ")) else {
            continue;
        };
        if environment
            .split(|byte| *byte == 0)
            .any(|entry| entry == variable.as_bytes())
        {
            found.push(pid);
        }
    }
    Ok(found)
}

/// What a process takes of the machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Footprint {
    /// Resident memory, KiB.
    pub rss_kib: u64,
    /// Open file descriptors.
    pub descriptors: usize,
    /// Threads.
    pub threads: u64,
    /// CPU time so far, user and system.
    pub cpu: Duration,
}

/// What a process takes of the machine now.
///
/// # Errors
/// There is no such process.
pub fn footprint(pid: u32) -> anyhow::Result<Footprint> {
    let status = fs::read_to_string(proc(pid, "status"))?;
    let field = |name: &str| -> anyhow::Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let value = line.and_then(|line| line.split_whitespace().next());
        value
            .and_then(|value| value.parse().ok())
            .ok_or_else(|| anyhow!("no {name} in /proc/{pid}/status"))
    };
    Ok(Footprint {
        rss_kib: field("VmRSS:")?,
        descriptors: fs::read_dir(proc(pid, "fd"))?.count(),
        threads: field("Threads:")?,
        cpu: cpu(pid)?,
    })
}

/// Stops one thread of a process, by its name, until what is given back is dropped; the others go on.
///
/// # Errors
/// There is no such thread, or the system does not allow it.
pub fn stop_thread(pid: u32, name: &str) -> anyhow::Result<Process> {
    for task in fs::read_dir(proc(pid, "task"))? {
        let task = task?;
        if fs::read_to_string(task.path().join("comm"))?.trim_end() == name {
            let thread = task.file_name().to_string_lossy().into_owned();
            return python::run_until_dropped(include_str!("thread_stop.py"), &[thread]);
        }
    }
    Err(anyhow!("{pid} has no thread called {name}"))
}

/// Whether a process is there and stopped, as by SIGSTOP. It is when its last thread is: until then the kernel does not
/// count it as stopped, and does not wake it when its group becomes an orphan.
pub fn is_stopped(pid: u32) -> bool {
    fs::read_dir(proc(pid, "task")).is_ok_and(|mut threads| {
        threads.all(|thread| {
            // The name in parentheses may hold anything; the state is the first field after it.
            let stat = thread.and_then(|thread| fs::read_to_string(thread.path().join("stat")));
            stat.is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')))
        })
    })
}

/// The unit of CPU times in `/proc/<pid>/stat`: USER_HZ, which is 100 on every architecture we build for.
const TICK: Duration = Duration::from_millis(10);

fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(proc(pid, "stat"))?;
    // The name in parentheses may hold anything; utime and stime are the 12th and 13th fields after it, in ticks.
    let fields: Vec<&str> = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    let (user, system) = ticks(11)
        .zip(ticks(12))
        .ok_or_else(|| anyhow!("/proc/{pid}/stat is not as expected"))?;
    Ok(TICK * u32::try_from(user + system)?)
}

fn proc(pid: u32, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{file}"))
}
