//! The system under test and the servers under its sources, and how each of them is damaged and repaired.

use std::{
    fs, hint,
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
    chaos::plan::{Daemon, Fault, STREAMS},
    display::Display,
    http::Request,
    process::{is_stopped, signal},
    system::System,
};

/// All pictures small: what is tried here is who comes back when, not how fast the machine encodes. And a drill is a crash
/// loop all by itself, which must not park what it breaks five times a minute.
const FURTHER: &str = "[video]\nlongest_edge = 640\nencoder = \"software\"\n[supervisor]\ncrash_loop_failures = 100\n";

/// What is open stays open, and nothing more can be opened: the standard streams take up the places below.
const NO_DESCRIPTORS: u64 = 3;

/// An answer of HTTP that takes longer is none.
const HTTP_TIMEOUT: Duration = Duration::from_secs(1);

/// A system with a stream of each kind of source that can be broken from outside.
#[derive(Debug)]
pub(super) struct Stage {
    // In this order: the system goes before its sources.
    pub(super) system: System,
    display: Display,
    camera: Camera,
    damage: Damage,
}

/// What has to be known to repair what is broken now.
#[derive(Debug, Default)]
struct Damage {
    frozen: Option<u32>,
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
    /// Starts everything.
    pub(super) fn set() -> anyhow::Result<Self> {
        let mut display = Display::start()?;
        display.paint()?;
        let camera = Camera::start()?;
        let sources = ["test:".to_owned(), format!("x11:{}", display.name()), camera.url()];
        let streams: Vec<(&str, &str)> = STREAMS
            .iter()
            .zip(&sources)
            .map(|(stream, source)| (stream.name(), source.as_str()))
            .collect();
        Ok(Self {
            system: System::start_to_be_broken(&streams, FURTHER)?,
            display,
            camera,
            damage: Damage::default(),
        })
    }

    /// Why a fault can't be tried here; `None`: it can.
    pub(super) fn obstacle(&self, fault: Fault) -> Option<&'static str> {
        (fault == Fault::FullDisk && self.system.disk().is_none()).then_some("only root may mount a small disk")
    }

    /// Does the damage.
    pub(super) fn inflict(&mut self, fault: Fault) -> anyhow::Result<()> {
        self.damage = Damage::default();
        match fault {
            Fault::Nothing => Ok(()),
            Fault::Kill(daemon) => signal(self.pid(daemon)?, Signal::KILL),
            Fault::Freeze(daemon) => self.freeze(self.pid(daemon)?),
            Fault::KillDisplay => signal(self.display.pid(), Signal::KILL),
            Fault::FreezeDisplay => self.freeze(self.display.pid()),
            Fault::KillCamera => signal(self.camera.pid(), Signal::KILL),
            Fault::FreezeCamera => self.freeze(self.camera.pid()),
            Fault::FullDisk => {
                self.system.disk().context("there is no small disk")?.fill()?;
                signal(self.pid(Daemon::Bridge)?, Signal::KILL)
            }
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
    pub(super) fn repair(&mut self, fault: Fault) -> anyhow::Result<()> {
        if let Some(pid) = self.damage.frozen.take() {
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
            Fault::FullDisk => self.system.disk().context("there is no small disk")?.empty(),
            Fault::Nothing
            | Fault::Kill(_)
            | Fault::Freeze(_)
            | Fault::FreezeDisplay
            | Fault::FreezeCamera
            | Fault::FewDescriptors(_)
            | Fault::DeleteSocket(_)
            | Fault::CloseListener
            | Fault::Starve
            | Fault::Wedge(_)
            | Fault::WedgeRung(_) => Ok(()),
        }
    }

    /// Damage that nobody has done anything about yet, though it is Framebridge's to repair.
    pub(super) fn unmended(&self) -> Option<String> {
        let missing = self.damage.deleted.as_ref().filter(|path| !path.exists());
        let frozen = self.damage.frozen.filter(|pid| is_stopped(*pid));
        missing
            .map(|path| format!("{} is missing", path.display()))
            .or_else(|| frozen.map(|pid| format!("process {pid} is still frozen")))
    }

    /// Whether a new viewer would find the page.
    pub(super) fn answers(&self) -> bool {
        let health = Request::new("GET", "/api/v1/health").within(HTTP_TIMEOUT);
        health.send(self.system.http()).is_ok_and(|answer| answer.status < 500)
    }

    fn pid(&self, daemon: Daemon) -> anyhow::Result<u32> {
        self.system.pid(&daemon.name())
    }

    fn freeze(&mut self, pid: u32) -> anyhow::Result<()> {
        self.damage.frozen = Some(pid);
        signal(pid, Signal::STOP)
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
