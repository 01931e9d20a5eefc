//! A supervisor of one's own, over processes that play parts.

use std::{
    env, fs,
    io::Write as _,
    os::{fd::OwnedFd, unix::fs::PermissionsExt as _},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use framebridge_ipc::{Identity, RequestError, RuntimeDir, SupervisorClient};
use framebridge_proto::{
    Role,
    status::{Overall, ProcessStatus, Status},
    supervisor::{JournalEntry, SupervisorAnswer, SupervisorRequest},
};
use rustix::{
    fs::OFlags,
    pipe::{PipeFlags, pipe_with},
    process::{Pid, Signal, getpgid, kill_process, kill_process_group},
};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::{sleep, timeout},
};

/// Far more than anything here takes, for a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(40);

const STEP: Duration = Duration::from_millis(50);

/// A running supervisor with a runtime directory, a configuration and a cast of its own.
pub(crate) struct Bench {
    scratch: TempDir,
    supervisor: Option<Child>,
    piped: bool,
    /// A pipe that is full, for what is printed.
    stuffed: Option<(OwnedFd, OwnedFd)>,
    /// The system's D-Bus, if it has one.
    bus: Option<String>,
}

impl Bench {
    /// Starts one with `config`, over a cast that is well.
    pub(crate) fn start(config: &str) -> Self {
        let mut bench = Self::prepare(config);
        bench.start_supervisor();
        bench
    }

    /// The same, with what it and its children print going to a pipe of ours.
    pub(crate) fn start_piped() -> Self {
        let mut bench = Self::prepare("");
        bench.piped = true;
        bench.start_supervisor();
        bench
    }

    /// One whose supervisor is still to be started.
    pub(crate) fn prepare(config: &str) -> Self {
        let scratch = tempfile::tempdir().expect("a directory");
        let bench = Self {
            scratch,
            supervisor: None,
            piped: false,
            stuffed: None,
            bus: None,
        };
        let this = env::current_exe().expect("this test");
        for dir in ["bin", "parts"] {
            fs::create_dir(bench.path(dir)).expect("a directory");
        }
        for role in ["encoder", "signaling", "bridge"] {
            let script = format!(
                "#!/bin/sh\nexport FAKE_ROLE={role} FAKE_STREAM=\"$1\" FAKE_FLAGS=\"$*\"\nexec {} --exact child::plays_its_part --nocapture >/dev/null\n",
                this.display()
            );
            let path = bench.path("bin").join(role);
            let mut file = fs::File::create(&path).expect("writable");
            file.write_all(script.as_bytes()).expect("written");
            file.set_permissions(fs::Permissions::from_mode(0o755))
                .expect("executable");
            bench.set(role, "well");
        }
        bench.configure(&format!("[streams.test]\nsource = \"test:\"\n{config}"));
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Where the cast, its parts and the runtime directory are.
    pub(crate) fn directory(&self) -> &Path {
        self.scratch.path()
    }

    /// Tells the supervisor that is started next which system bus there is.
    pub(crate) fn on_bus(&mut self, address: String) {
        self.bus = Some(address);
    }

    pub(crate) fn runtime_dir(&self) -> PathBuf {
        self.path("run")
    }

    /// Replaces the configuration; whoever starts next reads it.
    pub(crate) fn configure(&self, config: &str) {
        fs::write(self.path("framebridge.toml"), config).expect("writable");
    }

    /// The supervisor's command line.
    pub(crate) fn supervisor(&self) -> Command {
        #[expect(clippy::disallowed_methods, reason = "tests start what they test")]
        let mut command = Command::new(env!("CARGO_BIN_EXE_supervisor"));
        command
            .arg("--config")
            .arg(self.path("framebridge.toml"))
            .env("FRAMEBRIDGE_RUNTIME_DIR", self.runtime_dir())
            .env("FRAMEBRIDGE_BIN_DIR", self.path("bin"))
            .env("FAKE_PARTS", self.path("parts"))
            .env_remove("STATE_DIRECTORY")
            .envs(self.bus.iter().map(|address| ("DBUS_SYSTEM_BUS_ADDRESS", address)));
        command
    }

    /// The same, going to a pipe that is full and that nobody reads.
    pub(crate) fn start_unread() -> Self {
        let (end, full) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).expect("a pipe");
        while rustix::io::write(&full, &[b'x'; 4096]).is_ok() {}
        rustix::fs::fcntl_setfl(&full, OFlags::empty()).expect("it blocks");
        let mut bench = Self::prepare("");
        bench.stuffed = Some((end, full));
        bench.start_supervisor();
        bench
    }

    pub(crate) fn start_supervisor(&mut self) {
        let mut command = self.supervisor();
        if let Some((_, full)) = &self.stuffed {
            command.stderr(full.try_clone().expect("a descriptor"));
        }
        if self.piped {
            command.stderr(Stdio::piped());
        }
        self.supervisor = Some(command.spawn().expect("it starts"));
    }

    /// Starts it as `nohup` does.
    pub(crate) fn start_ignoring(&mut self, signal: Signal) {
        let supervisor = self.supervisor();
        let supervisor = supervisor.as_std();
        #[expect(clippy::disallowed_methods, reason = "tests start what they test")]
        let mut command = Command::new("sh");
        let script = format!("trap '' {}; exec \"$@\"", signal.as_raw());
        command
            .args(["-c", &script, "sh"])
            .arg(supervisor.get_program())
            .args(supervisor.get_args());
        for (name, value) in supervisor.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        self.supervisor = Some(command.spawn().expect("it starts"));
    }

    /// Closes our end of the pipe.
    pub(crate) fn hang_up(&mut self) {
        drop(self.supervisor.as_mut().and_then(|supervisor| supervisor.stderr.take()));
    }

    /// `kill -9`
    pub(crate) async fn kill_supervisor(&mut self) {
        self.supervisor.take().expect("it runs").kill().await.expect("killed");
    }

    /// Tells the supervisor to stop, and waits for its end.
    pub(crate) async fn stop(&mut self) -> Duration {
        let mut supervisor = self.supervisor.take().expect("it runs");
        let told = Instant::now();
        signal(supervisor.id().expect("it runs"), Signal::TERM);
        let status = timeout(PATIENCE, supervisor.wait())
            .await
            .expect("it ends")
            .expect("it ends");
        assert!(status.success(), "the supervisor ended with {status}");
        told.elapsed()
    }

    /// What a process of `role` does from its next life on.
    pub(crate) fn set(&self, role: &str, part: &str) {
        fs::write(self.path("parts").join(role), part).expect("writable");
    }

    /// Has the process of `role` start over with another part, and waits until it has read it.
    pub(crate) async fn play(&self, role: &str, part: &str) {
        self.set(role, part);
        let read = self.path("parts").join(format!("{role}.read"));
        fs::remove_file(&read).expect("it has read the part before");
        let status = self.status().await;
        let process = status
            .processes
            .into_iter()
            .find(|process| process.role.as_str() == role)
            .expect("a row")
            .name;
        self.ask(SupervisorRequest::Restart { process })
            .await
            .expect("restarted");
        wait("the part to be read", || read.exists()).await;
    }

    /// One request on a connection of its own.
    pub(crate) async fn ask(&self, request: SupervisorRequest) -> Result<SupervisorAnswer, RequestError> {
        let mut client = timeout(PATIENCE, async {
            loop {
                let dir = RuntimeDir::at(self.runtime_dir());
                match SupervisorClient::connect(&dir, &Identity::new(Role::Operator)).await {
                    Ok(client) => return client,
                    Err(_not_yet) => sleep(STEP).await,
                }
            }
        })
        .await
        .expect("a supervisor answers");
        client.request(request).await
    }

    pub(crate) async fn status(&self) -> Status {
        let answer = self.ask(SupervisorRequest::Status).await.expect("a status");
        let SupervisorAnswer::Status(status) = answer else {
            panic!("another answer: {answer:?}")
        };
        status
    }

    pub(crate) async fn events(&self) -> Vec<JournalEntry> {
        let answer = self.ask(SupervisorRequest::Journal { after: 0 }).await.expect("events");
        let SupervisorAnswer::Journal(events) = answer else {
            panic!("another answer: {answer:?}")
        };
        events
    }

    /// How encoders were started, in order.
    pub(crate) async fn started_with(&self) -> Vec<String> {
        let events = self.events().await.into_iter();
        events
            .map(|event| event.action)
            .filter(|action| action.starts_with("started with"))
            .collect()
    }

    /// Waits until the status is as wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        let start = Instant::now();
        loop {
            let status = self.status().await;
            if wanted(&status) {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "waited for {what}: {status:#?}");
            sleep(STEP).await;
        }
    }

    pub(crate) async fn healthy(&self) -> Status {
        self.until("health", |status| status.overall == Overall::Healthy).await
    }

    /// Makes sure that something holds all the time.
    pub(crate) async fn for_a_while(&self, while_: Duration, holds: impl Fn(&Status) -> bool) {
        let start = Instant::now();
        while start.elapsed() < while_ {
            let status = self.status().await;
            assert!(holds(&status), "{status:#?}");
            sleep(STEP).await;
        }
    }
}

impl Drop for Bench {
    /// Whatever a failed test leaves: the supervisor's list of processes says what there is.
    fn drop(&mut self) {
        if let Some(mut supervisor) = self.supervisor.take() {
            // It may have ended by itself.
            _ = supervisor.start_kill();
        }
        let list = fs::read(self.runtime_dir().join("processes.json")).unwrap_or_default();
        let entries: Vec<serde_json::Value> = serde_json::from_slice(&list).unwrap_or_default();
        for pid in entries.iter().filter_map(|entry| entry["pid"].as_u64()) {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                _ = kill_process_group(pid, Signal::KILL);
            }
        }
    }
}

/// A process's row.
pub(crate) fn row<'a>(status: &'a Status, name: &str) -> &'a ProcessStatus {
    status
        .processes
        .iter()
        .find(|process| process.name == name)
        .expect("a row")
}

pub(crate) async fn wait(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited for {what}");
        sleep(STEP).await;
    }
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(i32::try_from(number).expect("a pid")).expect("a pid")
}

pub(crate) fn signal(number: u32, signal: Signal) {
    kill_process(pid(number), signal).expect("alive");
}

pub(crate) fn group(number: u32) -> u32 {
    let group = getpgid(Some(pid(number))).expect("alive");
    u32::try_from(group.as_raw_nonzero().get()).expect("positive")
}

/// Whether it is there at all, be it as a zombie.
pub(crate) fn exists(number: u32) -> bool {
    fs::exists(format!("/proc/{number}")).expect("/proc is there")
}

/// Whether it lives. A zombie that is no child of ours waits for init, and does not.
pub(crate) fn is_alive(number: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// A cgroup with little memory, where this user may make one; it goes when this is dropped.
pub(crate) struct Cgroup(PathBuf);

impl Cgroup {
    pub(crate) fn limited_to(bytes: u64) -> Option<Self> {
        let root = Path::new("/sys/fs/cgroup");
        let (root, limit) = if root.join("memory").is_dir() {
            (root.join("memory"), "memory.limit_in_bytes")
        } else {
            // Where it is switched on already, and where it can't be, this does nothing.
            _ = fs::write(root.join("cgroup.subtree_control"), "+memory");
            (root.to_owned(), "memory.max")
        };
        let group = Self(root.join(format!("framebridge-test-{}", std::process::id())));
        let made = fs::create_dir(&group.0).and_then(|()| fs::write(group.0.join(limit), bytes.to_string()));
        if let Err(error) = &made {
            #[expect(clippy::print_stderr, reason = "what is left out is said")]
            {
                eprintln!("left out: no cgroup with a memory limit can be made: {error}");
            }
        }
        // Without a limit there is nothing to be ended for. Swap would only put it off.
        _ = fs::write(group.0.join("memory.swap.max"), "0");
        made.ok().map(|()| group)
    }

    /// Moves a process into it.
    pub(crate) fn take(&self, pid: u32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).expect("a process that lives");
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Whoever is still in it goes where it came from; one that is gone need not.
        let members = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        for member in members.lines() {
            _ = fs::write(self.0.join("../cgroup.procs"), member);
        }
        _ = fs::remove_dir(&self.0);
    }
}
