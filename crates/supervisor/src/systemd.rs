//! Has systemd start the processes from their units, while the supervisor judges them.
//!
//! systemd restarts by itself what ends, so asking it to start what runs already is no fault. What only we can see, a
//! wedge, we end; what we park, we have systemd stop.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, bail};
use framebridge_core::process::ExitStatus;
use framebridge_proto::{Role, StreamName};
use rustix::process::Signal;
use tokio::time::{sleep, timeout};
use zbus::{Connection, fdo::DBusProxy, zvariant::OwnedObjectPath};

use crate::child::{Child, Mark, Started};

/// systemd answers once a unit's job is queued; its process is there some time after.
const START_LIMIT: Duration = Duration::from_secs(5);

/// How often systemd is asked for a unit's process meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Replace a job of the same unit that is queued: the newest wish counts.
const MODE: &str = "replace";

/// `CLD_EXITED`: a process exited by itself; any other code means that a signal ended it.
const EXITED: i32 = 1;

/// A unit's signals go to all of its processes: a command that its source runs must not outlive it.
const WHOLE: &str = "all";

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1",
    gen_blocking = false
)]
trait Manager {
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn kill_unit(&self, name: &str, whom: &str, signal: i32) -> zbus::Result<()>;
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
}

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Service",
    default_service = "org.freedesktop.systemd1",
    gen_blocking = false
)]
trait Service {
    #[zbus(property(emits_changed_signal = "false"), name = "MainPID")]
    fn main_pid(&self) -> zbus::Result<u32>;
    /// The latest process, whether it lives or not.
    #[zbus(property(emits_changed_signal = "false"), name = "ExecMainPID")]
    fn exec_main_pid(&self) -> zbus::Result<u32>;
    /// How that ended: one of `waitid`'s CLD_ codes; 0: it has not.
    #[zbus(property(emits_changed_signal = "false"))]
    fn exec_main_code(&self) -> zbus::Result<i32>;
    /// With which exit code, or by which signal.
    #[zbus(property(emits_changed_signal = "false"))]
    fn exec_main_status(&self) -> zbus::Result<i32>;
    /// How the latest run ended, in one word, until the next begins.
    #[zbus(property(emits_changed_signal = "false"))]
    fn result(&self) -> zbus::Result<String>;
    /// Its limit in bytes; the largest number there is where it has none.
    #[zbus(property(emits_changed_signal = "false"))]
    fn memory_max(&self) -> zbus::Result<u64>;
}

/// systemd, as far as we need it.
#[derive(Debug, Clone)]
pub(crate) struct Systemd {
    connection: Arc<Mutex<Connection>>,
}

impl Systemd {
    /// Connects to the system's bus.
    pub(crate) async fn connect() -> anyhow::Result<Self> {
        let connection = Connection::system().await.context("connecting to the system's D-Bus")?;
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
        })
    }

    /// A connection to the bus: another one, if the bus was started again since the last.
    async fn connection(&self) -> zbus::Result<Connection> {
        let lock = || self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = lock().clone();
        let answered = DBusProxy::new(&connection).await?.get_id().await;
        let Err(error) = answered else {
            return Ok(connection);
        };
        tracing::warn!(%error, "the system's D-Bus does not answer on this connection: connecting again");
        let fresh = Connection::system().await?;
        lock().clone_from(&fresh);
        Ok(fresh)
    }

    /// Has a process running, and takes it on.
    pub(crate) async fn start(&self, role: Role, stream: Option<StreamName>) -> anyhow::Result<Started> {
        let unit = unit(role, stream.as_ref());
        let started = async {
            let connection = self.connection().await?;
            let manager = ManagerProxy::new(&connection).await?;
            let path = manager.load_unit(&unit).await?;
            let service = ServiceProxy::builder(&connection).path(path)?.build().await?;
            let before = service.exec_main_pid().await.ok();
            manager.start_unit(&unit, MODE).await?;
            loop {
                // 0: none yet. A process of our own user may be hidden from us until it is that (ProtectProc=invisible).
                let pid = service.main_pid().await?;
                if let Some(child) = Mark::of(pid).and_then(Child::adopt) {
                    return zbus::Result::Ok(Started::Lives(child));
                }
                if let Some(died) = died(&service, before).await.filter(|_| pid == 0) {
                    return Ok(died);
                }
                sleep(LOOK_AGAIN).await;
            }
        };
        match timeout(START_LIMIT, started).await {
            Ok(started) => started.with_context(|| format!("systemd did not start {unit}")),
            Err(_elapsed) => bail!(
                "{unit} had no process for {} s: `systemctl status {unit}` says why",
                START_LIMIT.as_secs()
            ),
        }
    }

    /// How a unit's process has ended. `None`: systemd has forgotten, for it starts the next one soon.
    pub(crate) async fn end_of(&self, role: Role, stream: Option<StreamName>, pid: u32) -> Option<ExitStatus> {
        let asked = async {
            let connection = self.connection().await?;
            let path = ManagerProxy::new(&connection)
                .await?
                .load_unit(&unit(role, stream.as_ref()))
                .await?;
            let service = ServiceProxy::builder(&connection).path(path)?.build().await?;
            loop {
                // The cgroup that says so, too, may be gone before we look.
                if service.result().await? == "oom-kill" {
                    let limit = service.memory_max().await.ok().filter(|bytes| *bytes < u64::MAX);
                    let limit_mib = limit.map(|bytes| bytes >> 20);
                    return zbus::Result::Ok(Some(ExitStatus::OutOfMemory { limit_mib }));
                }
                if service.exec_main_pid().await? != pid {
                    return Ok(None);
                }
                let (code, status) = (service.exec_main_code().await?, service.exec_main_status().await?);
                match code {
                    // We may have seen its end first.
                    0 => sleep(LOOK_AGAIN).await,
                    EXITED => return Ok(Some(ExitStatus::Code(status))),
                    _killed => return Ok(Some(ExitStatus::Signal(status))),
                }
            }
        };
        // What it does not say in time it has forgotten.
        timeout(START_LIMIT, asked).await.ok()?.ok()?
    }

    /// Has systemd signal a process that is another user's, if that is still the unit's.
    pub(crate) async fn signal(
        &self,
        role: Role,
        stream: Option<StreamName>,
        pid: u32,
        signal: Signal,
    ) -> anyhow::Result<()> {
        let unit = unit(role, stream.as_ref());
        let signalled = async {
            let connection = self.connection().await?;
            let manager = ManagerProxy::new(&connection).await?;
            let path = manager.load_unit(&unit).await?;
            let service = ServiceProxy::builder(&connection).path(path)?.build().await?;
            if service.main_pid().await? == pid {
                manager.kill_unit(&unit, WHOLE, signal.as_raw()).await?;
            }
            zbus::Result::Ok(())
        };
        match timeout(START_LIMIT, signalled).await {
            Ok(signalled) => signalled.with_context(|| format!("systemd did not signal {unit}")),
            Err(_elapsed) => bail!("systemd did not signal {unit} within {} s", START_LIMIT.as_secs()),
        }
    }

    /// Has systemd leave a process alone.
    pub(crate) async fn stop(&self, role: Role, stream: Option<StreamName>) -> anyhow::Result<()> {
        let unit = unit(role, stream.as_ref());
        let stopped = async {
            let connection = self.connection().await?;
            ManagerProxy::new(&connection).await?.stop_unit(&unit, MODE).await
        };
        match timeout(START_LIMIT, stopped).await {
            Ok(stopped) => stopped
                .map(drop)
                .with_context(|| format!("systemd did not stop {unit}")),
            Err(_elapsed) => bail!("systemd did not stop {unit} within {} s", START_LIMIT.as_secs()),
        }
    }
}

/// How a process later than `before` has ended with an exit that is final, so that systemd does not start another. Of any
/// other end we see the next life.
async fn died(service: &ServiceProxy<'_>, before: Option<u32>) -> Option<Started> {
    let pid = service.exec_main_pid().await.ok()?;
    let (code, status) = (
        service.exec_main_code().await.ok()?,
        service.exec_main_status().await.ok()?,
    );
    let status = ExitStatus::Code(status);
    let is_news = before.is_some_and(|before| before != pid) && code == EXITED && status.is_final();
    is_news.then_some(Started::Died { pid, status })
}

/// The unit of a process: `framebridge-signaling.service`, `framebridge-encoder@test.service`.
fn unit(role: Role, stream: Option<&StreamName>) -> String {
    match stream {
        Some(stream) => format!("framebridge-{role}@{stream}.service"),
        None => format!("framebridge-{role}.service"),
    }
}
