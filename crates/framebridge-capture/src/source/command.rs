//! A command whose standard output is a source.
//!
//! It runs in a process group of its own, which ends with the source: by SIGTERM, then SIGKILL. A guard in the same group
//! waits for the end of our pipe, and so the group also ends where we are killed.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Child, ChildStderr, ChildStdin, Command as Process, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use framebridge_config::program;
use framebridge_proto::plain;
use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    process::{Pid, Signal, kill_process_group},
};

use crate::Interrupt;

/// How long a command has to end after SIGTERM.
const END_LIMIT: Duration = Duration::from_millis(500);

/// How long after its output has ended a command's end and its last line are waited for.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(10);

/// A command's lines are cut here.
const MOST_WORDS: usize = 300;

/// No line of it is read beyond this.
const LONGEST_LINE: u64 = 4096;

/// Runs the command `$1`, with a guard that kills the group when its own standard input ends.
const SCRIPT: &str = "exec 3<&0 </dev/null; (trap '' TERM; exec >/dev/null 2>&1; read -r _ <&3; kill -s KILL 0) & \
    exec 3<&-; eval \"$1\"";

/// A running command. Its group ends when it is dropped.
pub(super) struct Command {
    child: Child,
    /// The guard's: it acts when this is closed.
    guard: Option<ChildStdin>,
    output: OwnedFd,
    said: Arc<Mutex<Option<String>>>,
}

impl Command {
    pub(super) fn start(command: &str) -> std::io::Result<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the operator has allowed this command as a source"
        )]
        let mut process = Process::new("/bin/sh");
        process
            // The shell begins its complaints with what it takes for its name: arguments may be passwords.
            .args(["-c", SCRIPT, program(command).unwrap_or("command"), command])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (name, _) in std::env::vars_os() {
            // They are ours, and may hold secrets.
            if name.as_encoded_bytes().starts_with(b"FRAMEBRIDGE_") || name == "NOTIFY_SOCKET" {
                process.env_remove(name);
            }
        }
        let mut child = process.spawn()?;
        let (guard, output) = (child.stdin.take(), child.stdout.take());
        let output = output.map(OwnedFd::from);
        let output = output.ok_or_else(|| std::io::Error::other("the command has no output"))?;
        // FFmpeg then looks at the interrupt while it waits.
        fcntl_setfl(&output, fcntl_getfl(&output)? | OFlags::NONBLOCK)?;
        let said: Arc<Mutex<Option<String>>> = Arc::default();
        if let Some(errors) = child.stderr.take() {
            let last = Arc::clone(&said);
            thread::Builder::new()
                .name("command".to_owned())
                .spawn(move || listen(errors, &last))?;
        }
        Ok(Self {
            child,
            guard,
            output,
            said,
        })
    }

    /// What FFmpeg opens to read from it.
    pub(super) fn url(&self) -> String {
        format!("pipe:{}", self.output.as_raw_fd())
    }

    /// How it ended, if it has, and what it said last.
    pub(super) fn last_words(&mut self) -> Option<String> {
        let mut said = None;
        let status = within(LAST_WORDS, || self.child.try_wait().ok().flatten())?;
        within(LAST_WORDS, || {
            said = self.said.lock().unwrap_or_else(PoisonError::into_inner).clone();
            said.is_some().then_some(())
        });
        Some(match said {
            Some(said) => format!("{status}: {said}"),
            None => status.to_string(),
        })
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself.
            _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Command {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
        within(END_LIMIT, || self.child.try_wait().ok().flatten());
        // Also what its first process has left behind. The group is still ours: the guard, which heeds no SIGTERM, is in it.
        self.signal(Signal::KILL);
        self.guard = None;
        _ = self.child.wait();
    }
}

/// What `look` finds, within a limit.
fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let (clock, until) = (Interrupt::new(), Instant::now() + limit);
    loop {
        let found = look();
        if found.is_some() || Instant::now() >= until {
            return found;
        }
        clock.wait_until(Instant::now() + LOOK);
    }
}

/// Reads what a command complains of, so that it never waits for that, and keeps the last line.
fn listen(errors: ChildStderr, last: &Mutex<Option<String>>) {
    let mut reader = BufReader::new(errors);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = plain(String::from_utf8_lossy(&line).trim(), MOST_WORDS);
        if !text.is_empty() {
            tracing::debug!("the command says: {text}");
            *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        }
    }
}
