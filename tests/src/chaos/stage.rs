//! The system under test and the servers under its sources, and how each of them is damaged and repaired.

use std::{
    fs, hint,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Context as _;
use framebridge_ipc::RuntimeDir;
use framebridge_proto::Role;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

use crate::{
    camera::Camera,
    chaos::{
        clock::Clock,
        network::{INTERFACES, Network},
        plan::{Daemon, Fault, STREAMS},
    },
    display::Display,
    http::Request,
    process::{is_stopped, signal},
    system::System,
};

/// All pictures small: what is tried here is who comes back when, not how fast the machine encodes. And a drill is a crash
/// loop all by itself, which must not park what it breaks five times a minute.
const SMALL: &str = "[supervisor]\ncrash_loop_failures = 100\n[video]\nlongest_edge = 640\nencoder = \"software\"\n";

/// Viewers come over an interface that other machines might be at.
const OPEN: &str = "[http.auth]\nmode = \"none\"\n";

/// What is open stays open, and nothing more can be opened: the standard streams take up the places below.
const NO_DESCRIPTORS: u64 = 3;

/// By so much the clock is ahead: summer time, a wrong time zone and a dead battery together. A lease of minutes is over.
const STEP: Duration = Duration::from_secs(5 * 3600);

/// An answer of HTTP that takes longer is none.
const HTTP_TIMEOUT: Duration = Duration::from_secs(1);

/// A system with a stream of each kind of source that can be broken from outside.
#[derive(Debug)]
pub(crate) struct Stage {
    // In this order: the system goes before its sources.
    pub(crate) system: System,
    display: Display,
    camera: Camera,
    clock: Option<Clock>,
    network: Option<Network>,
    damage: Damage,
}

/// What has to be known to repair what is broken now.
#[derive(Debug, Default)]
struct Damage {
    frozen: Vec<u32>,
    limited: Option<(u32, Rlimit)>,
    deleted: Option<PathBuf>,
    busy: Option<Busy>,
}

/// Busy loops, until dropped.
#[derive(Debug)]
struct Busy {
    over: Arc<AtomicBool>,
    loops: Vec<JoinHandle<()>>,
}

impl Stage {
    /// Starts everything, for viewers that come over an interface of its own where there may be one.
    pub(crate) fn set() -> anyhow::Result<Self> {
        let has_network = Network::is_possible();
        Self::set_with(if has_network { OPEN } else { "" }, has_network)
    }

    /// [`set`](Self::set), with further lines of configuration: those of `[video]` come first.
    pub(crate) fn set_with(further: &str, has_network: bool) -> anyhow::Result<Self> {
        let mut display = Display::start()?;
        display.paint()?;
        let camera = Camera::start()?;
        let sources = ["test:".to_owned(), format!("x11:{}", display.name()), camera.url()];
        let streams: Vec<(&str, &str)> = STREAMS
            .iter()
            .zip(&sources)
            .map(|(stream, source)| (stream.name(), source.as_str()))
            .collect();
        let clock = Clock::make().ok();
        let variables = clock.as_ref().map(Clock::variables).unwrap_or_default();
        let interfaces = if has_network { INTERFACES } else { "" };
        let further = format!("{interfaces}{SMALL}{further}");
        let system = System::start_to_be_broken(&streams, &further, variables, has_network)?;
        let network = has_network.then(Network::make).transpose()?;
        Ok(Self {
            system,
            display,
            camera,
            clock,
            network,
            damage: Damage::default(),
        })
    }

    /// Where viewers ask: over the drill's own interface, if it has one, so that their media goes over that.
    pub(crate) fn door(&self) -> SocketAddr {
        let http = self.system.http();
        self.network
            .as_ref()
            .map_or(http, |_| SocketAddr::new(Network::HERE, http.port()))
    }

    /// Why a fault can't be tried here; `None`: it can.
    pub(crate) fn obstacle(&self, fault: Fault) -> Option<&'static str> {
        let (disk, clock, network) = (self.system.disk(), &self.clock, &self.network);
        let obstacles = [
            (
                matches!(fault, Fault::FullDisk(_)) && disk.is_none(),
                "only root may mount a small disk",
            ),
            (
                fault == Fault::StepClock && clock.is_none(),
                "there is no C compiler to make a clock with",
            ),
            (
                fault == Fault::RenameNetwork && network.is_none(),
                "only root may make an interface",
            ),
        ];
        obstacles.into_iter().find_map(|(holds, why)| holds.then_some(why))
    }

    /// Does the damage.
    pub(crate) fn inflict(&mut self, fault: Fault) -> anyhow::Result<()> {
        self.damage = Damage::default();
        match fault {
            Fault::Nothing => Ok(()),
            Fault::Kill(daemon) => signal(self.pid(daemon)?, Signal::KILL),
            Fault::Freeze(daemon) => self.freeze(self.pid(daemon)?),
            Fault::KillDisplay => signal(self.display.pid(), Signal::KILL),
            Fault::FreezeDisplay => self.freeze(self.display.pid()),
            Fault::KillCamera => signal(self.camera.pid(), Signal::KILL),
            Fault::FreezeCamera => self.freeze(self.camera.pid()),
            Fault::FullDisk(daemon) => {
                // Whom to kill is asked while there is room for the question.
                let pid = self.pid(daemon)?;
                self.system.disk().context("there is no small disk")?.fill()?;
                signal(pid, Signal::KILL)
            }
            Fault::StepClock => self.step_clock(STEP),
            Fault::RenameNetwork => self.network.as_mut().context("there is no interface")?.rename(),
            Fault::Suspend => self.suspend(),
            Fault::FewDescriptors(daemon) => self.limit_descriptors(self.pid(daemon)?),
            Fault::DeleteSocket(daemon) => self.delete_socket(daemon),
            Fault::CloseListener => self.system.damage("close-http-listener"),
            Fault::Wedge(stream) => {
                let what = format!("stall-encoder?stream={}", stream.name());
                self.system.damage(&what)
            }
            Fault::WedgeRung(stream) => {
                let what = format!("stall-encoder?stream={}&rung=half", stream.name());
                self.system.damage(&what)
            }
            Fault::Starve => {
                self.damage.busy = Some(Busy::start()?);
                Ok(())
            }
        }
    }

    /// Repairs what is not Framebridge's to repair.
    pub(crate) fn repair(&mut self, fault: Fault) -> anyhow::Result<()> {
        for pid in std::mem::take(&mut self.damage.frozen) {
            // What was frozen may have been killed for it and started again, by whoever is in charge of it.
            _ = signal(pid, Signal::CONT);
        }
        if let Some((pid, limit)) = self.damage.limited.take() {
            // Likewise.
            _ = limit_descriptors(pid, limit);
        }
        self.damage.busy = None;
        match fault {
            Fault::Kill(Daemon::Supervisor) => self.system.start_supervisor(),
            Fault::KillDisplay => {
                self.display.restart()?;
                self.display.paint()
            }
            Fault::KillCamera => self.camera.restart(),
            Fault::FullDisk(_) => self.system.disk().context("there is no small disk")?.empty(),
            Fault::StepClock => self.step_clock(Duration::ZERO),
            Fault::RenameNetwork => self.network.as_ref().context("there is no interface")?.bring_up(),
            Fault::Nothing
            | Fault::Kill(_)
            | Fault::Freeze(_)
            | Fault::FreezeDisplay
            | Fault::FreezeCamera
            | Fault::FewDescriptors(_)
            | Fault::DeleteSocket(_)
            | Fault::CloseListener
            | Fault::Starve
            | Fault::Suspend
            | Fault::Wedge(_)
            | Fault::WedgeRung(_) => Ok(()),
        }
    }

    /// Damage that nobody has done anything about yet, though it is Framebridge's to repair.
    pub(crate) fn unmended(&self) -> Option<String> {
        let missing = self.damage.deleted.as_ref().filter(|path| !path.exists());
        let frozen = self.damage.frozen.iter().find(|pid| is_stopped(**pid));
        missing
            .map(|path| format!("{} is missing", path.display()))
            .or_else(|| frozen.map(|pid| format!("process {pid} is still frozen")))
    }

    /// Whether a new viewer would find the page.
    pub(crate) fn answers(&self) -> bool {
        let health = Request::new("GET", "/api/v1/health").within(HTTP_TIMEOUT);
        health.send(self.system.http()).is_ok_and(|answer| answer.status < 500)
    }

    fn pid(&self, daemon: Daemon) -> anyhow::Result<u32> {
        self.system.pid(&daemon.name())
    }

    fn freeze(&mut self, pid: u32) -> anyhow::Result<()> {
        self.damage.frozen.push(pid);
        signal(pid, Signal::STOP)
    }

    /// The supervisor goes first, so that it sees nobody else stop, and comes first, so that it sees all of them stand still.
    fn suspend(&mut self) -> anyhow::Result<()> {
        let encoders = STREAMS.into_iter().map(Daemon::Encoder);
        let others = [Daemon::Signaling, Daemon::Bridge].into_iter().chain(encoders);
        let all: Vec<_> = std::iter::once(Daemon::Supervisor).chain(others).collect();
        // Who is where only the supervisor knows.
        let pids = all.into_iter().map(|daemon| self.pid(daemon));
        for pid in pids.collect::<anyhow::Result<Vec<_>>>()? {
            self.freeze(pid)?;
        }
        Ok(())
    }

    /// The time of day of the whole system is so much ahead of the machine's.
    pub(crate) fn step_clock(&self, ahead: Duration) -> anyhow::Result<()> {
        self.clock.as_ref().context("there is no clock")?.step(ahead)
    }

    fn limit_descriptors(&mut self, pid: u32) -> anyhow::Result<()> {
        let limit = Rlimit {
            current: Some(NO_DESCRIPTORS),
            maximum: getrlimit(Resource::Nofile).maximum,
        };
        self.damage.limited = Some((pid, limit_descriptors(pid, limit)?));
        Ok(())
    }

    fn delete_socket(&mut self, daemon: Daemon) -> anyhow::Result<()> {
        let (role, stream) = match daemon {
            Daemon::Supervisor => (Role::Supervisor, None),
            Daemon::Signaling => (Role::Signaling, None),
            Daemon::Bridge => (Role::Bridge, None),
            Daemon::Encoder(stream) => (Role::Encoder, Some(stream.name().parse()?)),
        };
        let path = RuntimeDir::at(self.system.runtime_dir()).socket(role, stream.as_ref());
        fs::remove_file(&path)?;
        self.damage.deleted = Some(path);
        Ok(())
    }
}

impl Busy {
    /// Four times as many as there are processors: each process of ours gets a fifth of one where it wants a whole.
    fn start() -> anyhow::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let loops = (0..4 * thread::available_parallelism()?.get()).map(|_| {
            let over = Arc::clone(&over);
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    hint::spin_loop();
                }
            })
        });
        Ok(Self {
            loops: loops.collect(),
            over,
        })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for spinning in self.loops.drain(..) {
            // A loop does not panic.
            _ = spinning.join();
        }
    }
}

fn limit_descriptors(pid: u32, limit: Rlimit) -> anyhow::Result<Rlimit> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    Ok(prlimit(pid, Resource::Nofile, limit)?)
}
