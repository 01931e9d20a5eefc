//! A whole Framebridge of one's own.

use std::{
    env,
    ffi::OsString,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::Output,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, anyhow, ensure};
use framebridge_proto::status::{ProcessState, ProcessStatus, Status, StreamStatus};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    disk::Disk,
    http::{Request, Response},
    process::{Process, command, signal, with_environment},
    wait::{self, PATIENCE},
};

/// Ports for tests start here: below those that the system gives to whoever asks for any, so that nobody else takes
/// one between two lives of the process that it was chosen for.
const FIRST_PORT: u16 = 20_000;
const LAST_PORT: u16 = 32_000;

/// After Ctrl-C everything is gone within this.
pub const STOP_LIMIT: Duration = Duration::from_secs(5);

/// What few systems have.
#[derive(Debug, Default)]
struct Extras {
    small_disk: bool,
    /// HTTP on every address.
    is_public: bool,
    /// In its environment.
    variables: Vec<(&'static str, OsString)>,
    /// Another of this test has the machine.
    is_second: bool,
}

/// One system runs at a time: two would compete for the machine, and fail for no fault of theirs.
static MACHINE: Mutex<()> = Mutex::new(());

/// Waits for the machine, for what is no [`System`] but loads it like one; it is free again when the guard goes.
pub fn alone() -> MutexGuard<'static, ()> {
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running supervisor with all it supervises, in a runtime directory and on ports of its own.
#[derive(Debug)]
pub struct System {
    supervisor: Option<Process>,
    http: SocketAddr,
    udp: u16,
    /// Under the runtime directory, where that has one of its own. Unmounted before the directory goes.
    disk: Option<Disk>,
    variables: Vec<(&'static str, OsString)>,
    dir: TempDir,
    _machine: Option<MutexGuard<'static, ()>>,
}

impl System {
    /// Starts it with these streams, `(name, source)`, and waits until HTTP answers.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start(streams: &[(&str, &str)]) -> anyhow::Result<Self> {
        Self::start_with(streams, "")
    }

    /// [`start`](Self::start), with further configuration.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start_with(streams: &[(&str, &str)], further: &str) -> anyhow::Result<Self> {
        Self::launch(streams, further, Extras::default())
    }

    /// [`start_breakable`](Self::start_breakable), with the runtime directory on a small disk of its own, where only root
    /// may have one: [`disk`](Self::disk) says whether. `variables`: further ones of its environment; `is_public`: HTTP on every
    /// address.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start_to_be_broken(
        streams: &[(&str, &str)],
        further: &str,
        mut variables: Vec<(&'static str, OsString)>,
        is_public: bool,
    ) -> anyhow::Result<Self> {
        variables.push(breakable());
        let extras = Extras {
            small_disk: true,
            is_public,
            variables,
            is_second: false,
        };
        Self::launch(streams, further, extras)
    }

    /// [`start_with`](Self::start_with), with the debug endpoints, by which [`damage`](Self::damage) works.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start_breakable(streams: &[(&str, &str)], further: &str) -> anyhow::Result<Self> {
        let extras = Extras {
            variables: vec![breakable()],
            ..Extras::default()
        };
        Self::launch(streams, further, extras)
    }

    /// [`start_with`](Self::start_with), on a machine that trusts this certificate authority and no other.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start_trusting(streams: &[(&str, &str)], further: &str, authority: &Path) -> anyhow::Result<Self> {
        let extras = Extras {
            variables: vec![("SSL_CERT_FILE", authority.into())],
            ..Extras::default()
        };
        Self::launch(streams, further, extras)
    }

    /// [`start_with`](Self::start_with), with WHEP open to the pages of an origin (`http.origins`).
    ///
    /// # Errors
    /// It does not come up.
    pub fn start_open_to(origin: &str, streams: &[(&str, &str)], further: &str) -> anyhow::Result<Self> {
        let extras = Extras {
            variables: vec![("FRAMEBRIDGE_HTTP_ORIGINS", origin.into())],
            ..Extras::default()
        };
        Self::launch(streams, further, extras)
    }

    /// [`start_with`](Self::start_with), with HTTP on every address of this machine.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start_public(streams: &[(&str, &str)], further: &str) -> anyhow::Result<Self> {
        let extras = Extras {
            is_public: true,
            ..Extras::default()
        };
        Self::launch(streams, further, extras)
    }

    /// [`start`](Self::start), for whoever reaches this machine.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start_for_others(streams: &[(&str, &str)]) -> anyhow::Result<Self> {
        Self::start_for_others_with(streams, "")
    }

    /// [`start_for_others`](Self::start_for_others), with further lines of `[webrtc]`.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start_for_others_with(streams: &[(&str, &str)], webrtc: &str) -> anyhow::Result<Self> {
        Self::start_public(streams, &format!("{webrtc}\n[http.auth]\nmode = \"none\""))
    }

    /// [`start_with`](Self::start_with), of one that another of the same test is to meet: that one goes on.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start_beside(_other: &Self, streams: &[(&str, &str)], further: &str) -> anyhow::Result<Self> {
        let extras = Extras {
            is_second: true,
            ..Extras::default()
        };
        Self::launch(streams, further, extras)
    }

    fn launch(streams: &[(&str, &str)], further: &str, extras: Extras) -> anyhow::Result<Self> {
        let machine = (!extras.is_second).then(alone);
        let dir = tempfile::Builder::new().prefix("framebridge-").tempdir()?;
        let (tcp, udp) = (free_port()?, free_port()?);
        let listen = if extras.is_public { "0.0.0.0" } else { "127.0.0.1" };
        let mut config = format!("[http]\nlisten = \"{listen}:{tcp}\"\n[webrtc]\nport = {udp}\n{further}\n");
        for (name, source) in streams {
            config += &format!("[streams.{name}]\nsource = {source:?}\n");
        }
        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, tcp));
        let mut system = Self {
            supervisor: None,
            http,
            udp,
            disk: None,
            variables: extras.variables,
            dir,
            _machine: machine,
        };
        if extras.small_disk {
            system.disk = Disk::mount(&system.runtime_dir()).ok();
        }
        fs::write(system.config(), config)?;
        system.start_supervisor()?;
        wait::until_true("HTTP to answer", PATIENCE, || {
            Ok(system.get("/api/v1/health")?.status < 500)
        })?;
        Ok(system)
    }

    /// Starts a supervisor: the first one, or another after the death of the one before.
    ///
    /// # Errors
    /// It can't be started.
    pub fn start_supervisor(&mut self) -> anyhow::Result<()> {
        let mut supervisor = command(binary("supervisor")?);
        supervisor.arg("--config").arg(self.config()).envs(self.environment());
        supervisor.envs(self.variables.clone());
        self.supervisor = Some(Process::start(&mut supervisor, &self.log_path())?);
        Ok(())
    }

    fn environment(&self) -> [(&'static str, PathBuf); 2] {
        [
            ("FRAMEBRIDGE_RUNTIME_DIR", self.runtime_dir()),
            ("FRAMEBRIDGE_CONFIG", self.config()),
        ]
    }

    /// Its configuration: what is changed there holds from the next `bridgectl reload` on.
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("framebridge.toml")
    }

    /// Where its sockets are.
    pub fn runtime_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    /// The disk under its sockets and its journal, if that is its own.
    pub fn disk(&self) -> Option<&Disk> {
        self.disk.as_ref()
    }

    /// A directory for the test's own files.
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// Where HTTP answers.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// The UDP port that media leaves from.
    pub fn udp_port(&self) -> u16 {
        self.udp
    }

    /// The address of a page.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    /// `GET`.
    ///
    /// # Errors
    /// No answer.
    pub fn get(&self, path: &str) -> anyhow::Result<Response> {
        Request::new("GET", path).send(self.http)
    }

    /// Breaks something from inside: a debug endpoint with its query, e.g. `stall-encoder?stream=test`.
    ///
    /// # Errors
    /// It is refused; or the system was not started with the debug endpoints.
    pub fn damage(&self, what: &str) -> anyhow::Result<()> {
        let path = format!("/api/v1/debug/{what}");
        let answer = Request::new("POST", &path).send(self.http)?;
        ensure!((200..300).contains(&answer.status), "{what}: {}", answer.text());
        Ok(())
    }

    /// What `bridgectl` says and how it exits.
    ///
    /// # Errors
    /// It can't be started.
    pub fn bridgectl(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut bridgectl = command(binary("bridgectl")?);
        bridgectl
            .args(arguments)
            .envs(self.environment())
            .envs(self.variables.clone());
        Ok(bridgectl.output()?)
    }

    /// Starts a `bridgectl` that goes on by itself; what it says goes to the file `log`.
    ///
    /// # Errors
    /// It can't be started.
    pub fn start_bridgectl(&self, arguments: &[&str], log: &Path) -> anyhow::Result<Process> {
        let mut bridgectl = command(binary("bridgectl")?);
        Process::start(bridgectl.args(arguments).envs(self.environment()), log)
    }

    /// The whole picture, as `bridgectl status --json` gives it to scripts.
    ///
    /// # Errors
    /// No supervisor answers.
    pub fn status(&self) -> anyhow::Result<Status> {
        let output = self.bridgectl(&["status", "--json"])?;
        serde_json::from_slice(&output.stdout).with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// One process's row of the picture.
    ///
    /// # Errors
    /// There is no such row.
    pub fn process(&self, name: &str) -> anyhow::Result<ProcessStatus> {
        let mut rows = self.status()?.processes.into_iter();
        rows.find(|process| process.name == name)
            .ok_or_else(|| anyhow!("status has no process `{name}`"))
    }

    /// One stream's row of the picture.
    ///
    /// # Errors
    /// There is no such row.
    pub fn stream(&self, name: &str) -> anyhow::Result<StreamStatus> {
        let mut rows = self.status()?.streams.into_iter();
        rows.find(|stream| stream.name == name)
            .ok_or_else(|| anyhow!("status has no stream `{name}`"))
    }

    /// The pid of a process that runs, once it does and has said so itself.
    ///
    /// # Errors
    /// It does not come up.
    pub fn pid(&self, name: &str) -> anyhow::Result<u32> {
        wait::until(&format!("{name} to run"), PATIENCE, || {
            let found = self.process(name)?;
            Ok(found
                .pid
                .filter(|_| found.state == ProcessState::Running && found.heartbeat_age_ms.is_some()))
        })
    }

    /// `kill -9`, then waits until the supervisor has it running again under another pid, and for that pid.
    ///
    /// # Errors
    /// It does not come back.
    pub fn kill_and_await(&self, name: &str) -> anyhow::Result<u32> {
        let old = self.pid(name)?;
        signal(old, Signal::KILL)?;
        wait::until(&format!("{name} to be back"), PATIENCE, || {
            Ok(Some(self.pid(name)?).filter(|new| *new != old))
        })
    }

    /// `kill -9` to all of it at once, as when the machine is reset.
    ///
    /// # Errors
    /// Something outlives it.
    pub fn kill_everything(&mut self) -> anyhow::Result<()> {
        self.supervisor = None;
        wait::until_true("everything to be gone", PATIENCE, || {
            let left = self.left_over()?;
            for pid in &left {
                // Between the look and the signal it may have gone by itself.
                _ = signal(*pid, Signal::KILL);
            }
            Ok(left.is_empty())
        })
    }

    /// Sends the supervisor SIGINT, as Ctrl-C does, and waits for its end: everything must be gone then.
    ///
    /// # Errors
    /// It takes too long, or leaves a process or a socket behind.
    pub fn interrupt(mut self) -> anyhow::Result<()> {
        let mut supervisor = self.supervisor.take().ok_or_else(|| anyhow!("no supervisor"))?;
        signal(supervisor.pid(), Signal::INT)?;
        let status = supervisor.wait(STOP_LIMIT)?;
        ensure!(status.success(), "the supervisor ended with {status}");
        let left = self.left_over()?;
        ensure!(left.is_empty(), "still running: {left:?}");
        let files: Vec<_> = fs::read_dir(self.runtime_dir())?.filter_map(Result::ok).collect();
        let sockets: Vec<_> = files
            .iter()
            .filter(|file| file.path().extension().is_some_and(|e| e == "sock"))
            .collect();
        ensure!(sockets.is_empty(), "left in the runtime directory: {sockets:?}");
        Ok(())
    }

    /// Everything that was started for this system and still runs.
    fn left_over(&self) -> anyhow::Result<Vec<u32>> {
        with_environment(&format!("FRAMEBRIDGE_RUNTIME_DIR={}", self.runtime_dir().display()))
    }

    /// What the processes have logged so far.
    ///
    /// # Errors
    /// There is no log.
    pub fn log(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(self.log_path())?)
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if let Some(mut supervisor) = self.supervisor.take() {
            // A supervisor that is gone, or does not end in time, is dealt with below.
            _ = signal(supervisor.pid(), Signal::TERM).and_then(|()| supervisor.wait(STOP_LIMIT * 2));
        }
        for pid in self.left_over().unwrap_or_default() {
            _ = signal(pid, Signal::KILL);
        }
        if std::thread::panicking() {
            let log = self.log().unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            #[expect(clippy::print_stderr, reason = "a test that fails shows what the processes said")]
            for line in &lines[lines.len().saturating_sub(60)..] {
                eprintln!("{line}");
            }
        }
    }
}

/// What lets tests break processes from inside.
fn breakable() -> (&'static str, OsString) {
    ("FRAMEBRIDGE_DEBUG_ENDPOINTS", "1".into())
}

/// A binary of the workspace, from the folder that this very program was built into.
///
/// # Errors
/// It was not built.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let own = env::current_exe()?;
    own.ancestors()
        .skip(1)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| anyhow!("{name} is not built: run `cargo xtask build`, or all tests by `cargo xtask test`"))
}

/// A port that is free for TCP and UDP.
///
/// # Errors
/// None is.
pub fn free_port() -> anyhow::Result<u16> {
    static NEXT: Mutex<Option<u16>> = Mutex::new(None);
    let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    // Test runs side by side start at different ports.
    let spread = || FIRST_PORT + u16::try_from(std::process::id() % 100).unwrap_or(0) * 100;
    for port in next.unwrap_or_else(spread)..LAST_PORT {
        let address = (Ipv4Addr::LOCALHOST, port);
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            *next = Some(port + 1);
            return Ok(port);
        }
    }
    Err(anyhow!("no free port up to {LAST_PORT}"))
}
