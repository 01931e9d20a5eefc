//! The supervisor under systemd: a small stand-in for `org.freedesktop.systemd1` on a bus of its own, with real processes.

#![expect(clippy::unwrap_used, reason = "a test that can't go on says so by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use framebridge_proto::{
    status::{ProcessState, Status},
    supervisor::SupervisorRequest,
};
use rustix::process::Signal;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    task::JoinSet,
};
use zbus::{Connection, connection, fdo, interface, object_server::ObjectServer, zvariant::OwnedObjectPath};

use crate::bench::{self, Bench};

const MANAGER: &str = "/org/freedesktop/systemd1";
const CONFIG: &str = "[supervisor]\nmanage = \"systemd\"\n";

/// What the stand-in knows: unit by unit, its process and how often it was told to stop.
#[derive(Default)]
struct Units {
    pids: BTreeMap<String, u32>,
    stopped: Vec<String>,
    /// Whose latest process was ended for want of memory.
    starved: Option<String>,
    /// By which signal, or with which code, the latest process of a unit ended.
    ends: BTreeMap<String, (u32, ExitStatus)>,
    /// Of whose end somebody has asked.
    told: BTreeSet<String>,
    tasks: JoinSet<()>,
}

type SharedUnits = Arc<Mutex<Units>>;

/// systemd waits a moment before it starts again what has ended; here at most so long, and no longer than until it was asked about.
const RESTART: Duration = Duration::from_secs(1);

/// Starts units as systemd does with `Restart=always`: again whenever they end, unless told to stop.
struct Manager {
    units: SharedUnits,
    bench: PathBuf,
}

struct Service {
    unit: String,
    units: SharedUnits,
}

#[interface(name = "org.freedesktop.systemd1.Service")]
impl Service {
    #[zbus(property, name = "MainPID")]
    fn main_pid(&self) -> u32 {
        self.units.lock().unwrap().pids.get(&self.unit).copied().unwrap_or(0)
    }

    #[zbus(property, name = "ExecMainPID")]
    fn exec_main_pid(&self) -> u32 {
        let units = self.units.lock().unwrap();
        let ended = || units.ends.get(&self.unit).map(|(pid, _)| *pid);
        units.pids.get(&self.unit).copied().or_else(ended).unwrap_or(0)
    }

    #[zbus(property)]
    fn exec_main_code(&self) -> i32 {
        let units = self.units.lock().unwrap();
        let ended = units
            .ends
            .get(&self.unit)
            .filter(|_| !units.pids.contains_key(&self.unit));
        // `CLD_EXITED` and `CLD_KILLED`
        ended.map_or(0, |(_, status)| if status.signal().is_some() { 2 } else { 1 })
    }

    #[zbus(property)]
    fn exec_main_status(&self) -> i32 {
        let mut units = self.units.lock().unwrap();
        if units.pids.contains_key(&self.unit) {
            return 0;
        }
        units.told.insert(self.unit.clone());
        let ended = units.ends.get(&self.unit);
        ended
            .and_then(|(_, status)| status.signal().or(status.code()))
            .unwrap_or(0)
    }

    #[zbus(property)]
    fn result(&self) -> String {
        let is_starved = self.units.lock().unwrap().starved.as_ref() == Some(&self.unit);
        if is_starved { "oom-kill" } else { "success" }.to_owned()
    }

    #[zbus(property)]
    fn memory_max(&self) -> u64 {
        1 << 30
    }
}

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    fn start_unit(&self, name: &str, mode: &str) -> fdo::Result<OwnedObjectPath> {
        assert_eq!(mode, "replace");
        if !self.units.lock().unwrap().pids.contains_key(name) {
            let child =
                spawn(&self.bench, name).ok_or_else(|| fdo::Error::Failed(format!("Unit {name} not found.")))?;
            let mut units = self.units.lock().unwrap();
            units.stopped.retain(|stopped| stopped != name);
            units.pids.insert(name.to_owned(), child.id().unwrap());
            let keep = keep_running(child, self.bench.clone(), name.to_owned(), Arc::clone(&self.units));
            units.tasks.spawn(keep);
        }
        Ok(path("job"))
    }

    fn stop_unit(&self, name: &str, _mode: &str) -> OwnedObjectPath {
        let mut units = self.units.lock().unwrap();
        units.stopped.push(name.to_owned());
        if let Some(pid) = units.pids.get(name) {
            bench::signal(*pid, Signal::TERM);
        }
        path("job")
    }

    async fn load_unit(&self, name: String, #[zbus(object_server)] server: &ObjectServer) -> OwnedObjectPath {
        let at = path(&name);
        let service = Service {
            unit: name,
            units: Arc::clone(&self.units),
        };
        // It is there already from the second time on.
        server.at(&at, service).await.unwrap();
        at
    }
}

async fn keep_running(mut child: Child, bench: PathBuf, unit: String, units: SharedUnits) {
    loop {
        let pid = child.id().unwrap();
        let status = child.wait().await.unwrap();
        {
            let mut known = units.lock().unwrap();
            known.pids.remove(&unit);
            known.told.remove(&unit);
            known.ends.insert(unit.clone(), (pid, status));
        }
        let dead = Instant::now();
        while dead.elapsed() < RESTART && !units.lock().unwrap().told.contains(&unit) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut known = units.lock().unwrap();
        if known.stopped.contains(&unit) {
            return;
        }
        child = spawn(&bench, &unit).unwrap();
        known.pids.insert(unit.clone(), child.id().unwrap());
    }
}

fn path(name: &str) -> OwnedObjectPath {
    let escaped: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    format!("{MANAGER}/unit/{escaped}").try_into().unwrap()
}

/// The process of a unit: the bench's scripts play the daemons.
fn spawn(bench: &Path, unit: &str) -> Option<Child> {
    let name = unit.strip_prefix("framebridge-")?.strip_suffix(".service")?;
    let (role, stream) = name
        .split_once('@')
        .map_or((name, None), |(role, stream)| (role, Some(stream)));
    #[expect(clippy::disallowed_methods, reason = "this is systemd here")]
    let mut command = Command::new(bench.join("bin").join(role));
    let process = stream.map_or_else(|| role.to_owned(), |stream| format!("{role}-{stream}"));
    command
        .args(stream)
        .arg("--settings")
        .arg(bench.join("run").join(format!("{process}.toml")))
        .env("FRAMEBRIDGE_RUNTIME_DIR", bench.join("run"))
        .env("FAKE_PARTS", bench.join("parts"))
        .process_group(0)
        .kill_on_drop(true);
    command.spawn().ok()
}

/// A bus of its own with the stand-in on it, and a supervisor that is told of it.
struct Stage {
    bench: Bench,
    units: SharedUnits,
    address: String,
    bus: Option<(Child, Connection)>,
}

impl Stage {
    async fn set() -> Self {
        let mut bench = Bench::prepare(CONFIG);
        let address = format!("unix:path={}", bench.directory().join("bus").display());
        bench.on_bus(address.clone());
        let mut stage = Self {
            bench,
            units: SharedUnits::default(),
            address,
            bus: None,
        };
        stage.start_bus().await;
        stage.bench.start_supervisor();
        stage
    }

    /// Starts the bus, or another one after its end: it knows nobody of before.
    async fn start_bus(&mut self) {
        if let Some((mut bus, _connection)) = self.bus.take() {
            bus.kill().await.unwrap();
        }
        // The file of the one before is in the way of the next.
        _ = std::fs::remove_file(self.bench.directory().join("bus"));
        #[expect(clippy::disallowed_methods, reason = "tests start what they test against")]
        let mut bus = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--nopidfile", "--print-address", "--address"])
            .arg(&self.address)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("dbus-daemon, from the package dbus");
        let mut address = BufReader::new(bus.stdout.take().unwrap()).lines();
        address.next_line().await.unwrap().unwrap();
        let manager = Manager {
            units: Arc::clone(&self.units),
            bench: self.bench.directory().to_owned(),
        };
        let connection = connection::Builder::address(self.address.as_str())
            .unwrap()
            .name("org.freedesktop.systemd1")
            .unwrap()
            .serve_at(MANAGER, manager)
            .unwrap()
            .build()
            .await
            .unwrap();
        self.bus = Some((bus, connection));
    }

    fn pid(&self, unit: &str) -> Option<u32> {
        self.units.lock().unwrap().pids.get(unit).copied()
    }
}

#[tokio::test]
async fn systemd_starts_and_restarts_what_the_supervisor_judges() {
    let mut stage = Stage::set().await;
    let status = stage.bench.healthy().await;
    for (row, unit) in [
        ("signaling", "framebridge-signaling.service"),
        ("encoder-test", "framebridge-encoder@test.service"),
        ("bridge", "framebridge-bridge.service"),
    ] {
        let pid = bench::row(&status, row).pid;
        assert_eq!(pid, stage.pid(unit), "{row} is systemd's own");
    }
    let killed = bench::row(&status, "encoder-test").pid.unwrap();
    bench::signal(killed, Signal::KILL);
    let status = stage
        .bench
        .until("the encoder is back", |status| {
            bench::row(status, "encoder-test").restarts == 1
        })
        .await;
    let row = bench::row(&status, "encoder-test");
    assert_eq!(row.pid, stage.pid("framebridge-encoder@test.service"));
    assert_eq!(row.last_reason.as_deref(), Some("killed by signal 9"), "systemd knows");
    stage.bench.healthy().await;

    let starved = "framebridge-encoder@test.service";
    stage.units.lock().unwrap().starved = Some(starved.to_owned());
    bench::signal(stage.pid(starved).unwrap(), Signal::KILL);
    let reason = Some("killed for want of memory: it may have 1024 MiB");
    let named = |status: &_| bench::row(status, "encoder-test").last_reason.as_deref() == reason;
    stage.bench.until("the reason", named).await;
    stage.units.lock().unwrap().starved = None;
    stage.bench.healthy().await;

    let living = stage.pid("framebridge-signaling.service").unwrap();
    stage.bench.stop().await;
    assert!(bench::is_alive(living), "what systemd has started, systemd stops");
}

#[tokio::test]
async fn parked_process_is_not_started_by_systemd_either_and_comes_back_over_a_bus_that_was_started_again() {
    let mut stage = Stage::set().await;
    stage.bench.healthy().await;
    stage
        .bench
        .play("bridge", "exit 78 framebridge.toml:3: studio.url")
        .await;
    stage
        .bench
        .until("a park", |status| {
            bench::row(status, "bridge").state == ProcessState::Parked
        })
        .await;
    bench::wait("systemd to leave it alone", || {
        stage.pid("framebridge-bridge.service").is_none()
    })
    .await;

    stage.start_bus().await;
    stage.bench.set("bridge", "well");
    let process = "bridge".to_owned();
    stage
        .bench
        .ask(SupervisorRequest::Resume { process })
        .await
        .expect("resumed");
    stage.bench.healthy().await;
}

#[tokio::test]
async fn streams_that_come_and_go_are_started_and_stopped_as_units() {
    let stage = Stage::set().await;
    stage.bench.healthy().await;
    let with = |more: &str| format!("[streams.test]\nsource = \"test:\"\n{more}{CONFIG}");
    stage.bench.configure(&with("[streams.door]\nsource = \"test:\"\n"));
    stage.bench.ask(SupervisorRequest::Reload).await.expect("taken");
    let unit = "framebridge-encoder@door.service";
    let row = |status: &Status| {
        let mut rows = status.processes.iter();
        rows.find(|row| row.name == "encoder-door").and_then(|row| row.pid)
    };
    let status = stage.bench.until("an encoder", |status| row(status).is_some()).await;
    assert_eq!(row(&status), stage.pid(unit));
    stage.bench.healthy().await;

    stage.bench.configure(&with(""));
    stage.bench.ask(SupervisorRequest::Reload).await.expect("taken");
    bench::wait("systemd to have stopped it", || {
        let units = stage.units.lock().unwrap();
        units.stopped.iter().any(|stopped| stopped == unit) && !units.pids.contains_key(unit)
    })
    .await;
    assert_eq!(stage.bench.healthy().await.streams.len(), 1);
}
