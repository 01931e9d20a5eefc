//! How processes are started: by us, or by systemd for us.

use std::{
    env,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    process::Command,
};

use anyhow::Context as _;
use framebridge_config::Manage;
use framebridge_core::process::ExitStatus;
use framebridge_ipc::RuntimeDir;
use framebridge_proto::{Role, StreamName};
use rustix::process::Signal;

use crate::{
    child::{Child, Started},
    systemd::Systemd,
};

/// Names another directory of binaries than the supervisor's own.
const BIN_DIR: &str = "FRAMEBRIDGE_BIN_DIR";

/// Starts processes, or has them started.
#[derive(Debug)]
pub(crate) enum Launcher {
    /// They are ours.
    Spawn(Spawn),
    /// They are systemd's, from their units.
    Systemd(Systemd),
}

/// Starts processes from the directory of our own executable.
#[derive(Debug)]
pub(crate) struct Spawn {
    bin_dir: PathBuf,
    runtime_dir: PathBuf,
}

/// What comes of starting a process; in words where it fails.
type Outcome = Result<Started, String>;

/// A process is started.
pub(crate) enum Launch {
    /// This has come of it.
    Done(Outcome),
    /// systemd does it, and this will come of it.
    Asked(Pin<Box<dyn Future<Output = Outcome> + Send>>),
}

impl Launcher {
    /// # Errors
    /// Our own executable can't be found, or systemd does not answer.
    pub(crate) async fn new(manage: Manage, dir: &RuntimeDir) -> anyhow::Result<Self> {
        Ok(match manage {
            Manage::Spawn => Self::Spawn(Spawn::new(dir)?),
            Manage::Systemd => Self::Systemd(Systemd::connect().await.context("supervisor.manage = systemd")?),
        })
    }

    /// Whether the processes are systemd's: it names them to us once they run, and it stops them.
    pub(crate) fn is_systemds(&self) -> bool {
        matches!(self, Self::Systemd(_))
    }

    /// Starts a process of `role`, an encoder for `stream`, with the settings in a file. A unit says itself where they are.
    pub(crate) fn start(&self, role: Role, stream: Option<&StreamName>, settings: &Path) -> Launch {
        match self {
            Self::Spawn(spawn) => {
                let started = spawn.start(role, stream, settings);
                Launch::Done(started.map(Started::Lives).map_err(|error| error.to_string()))
            }
            Self::Systemd(systemd) => {
                let (systemd, stream) = (systemd.clone(), stream.cloned());
                Launch::Asked(Box::pin(async move {
                    let started = systemd.start(role, stream).await;
                    started.map_err(|error| format!("{error:#}"))
                }))
            }
        }
    }

    /// Waits for the end of a process, and says how it came.
    pub(crate) fn ended(
        &self,
        child: Child,
        role: Role,
        stream: Option<StreamName>,
    ) -> impl Future<Output = ExitStatus> + use<> {
        let systemd = match self {
            Self::Spawn(_) => None,
            Self::Systemd(systemd) => Some(systemd.clone()),
        };
        async move {
            let pid = child.mark.pid;
            let status = child.exited().await;
            match systemd.filter(|_| status == ExitStatus::Unknown) {
                Some(systemd) => systemd.end_of(role, stream, pid).await.unwrap_or(status),
                None => status,
            }
        }
    }

    /// Has a process signalled that we may not signal ourselves, for it has a user of its own. `None`: nobody can.
    pub(crate) fn signal(
        &self,
        role: Role,
        stream: Option<StreamName>,
        pid: u32,
        signal: Signal,
    ) -> Option<impl Future<Output = anyhow::Result<()>> + use<>> {
        match self {
            Self::Spawn(_) => None,
            Self::Systemd(systemd) => {
                let systemd = systemd.clone();
                Some(async move { systemd.signal(role, stream, pid, signal).await })
            }
        }
    }

    /// Keeps a process that is parked from being started by others than us. `None`: nobody else would.
    pub(crate) fn leave_alone(
        &self,
        role: Role,
        stream: Option<StreamName>,
    ) -> Option<impl Future<Output = anyhow::Result<()>> + use<>> {
        match self {
            Self::Spawn(_) => None,
            Self::Systemd(systemd) => {
                let systemd = systemd.clone();
                Some(async move { systemd.stop(role, stream).await })
            }
        }
    }
}

/// Begins the names of variables that are ours.
const OURS: &str = "FRAMEBRIDGE_";

/// Of our variables, those that are no settings: where things are, and switches for tests.
const PASSED_ON: [&str; 3] = ["FRAMEBRIDGE_RUNTIME_DIR", BIN_DIR, "FRAMEBRIDGE_DEBUG_ENDPOINTS"];

/// Of our environment, what a process does not get: settings are in its file, among them secrets that are another's.
fn withheld(ours: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    ours.filter(|name| {
        let name = name.to_string_lossy();
        name.starts_with(OURS) && !PASSED_ON.contains(&&*name)
    })
}

impl Spawn {
    /// Finds the binaries: in `$FRAMEBRIDGE_BIN_DIR`, else beside the one that runs.
    fn new(dir: &RuntimeDir) -> anyhow::Result<Self> {
        let bin_dir = match env::var_os(BIN_DIR) {
            Some(named) => named.into(),
            None => {
                let own = env::current_exe().context("finding our own executable")?;
                own.parent().context("our executable lies in no directory")?.to_owned()
            }
        };
        Ok(Self {
            bin_dir,
            runtime_dir: dir.path().to_owned(),
        })
    }

    fn start(&self, role: Role, stream: Option<&StreamName>, settings: &Path) -> io::Result<Child> {
        let path = self.executable(role);
        #[expect(clippy::disallowed_methods, reason = "the one place where processes are started")]
        let mut command = Command::new(&path);
        command
            .args(stream.map(StreamName::as_str))
            .arg("--settings")
            .arg(settings);
        for name in withheld(env::vars_os().map(|(name, _)| name)) {
            command.env_remove(name);
        }
        command
            .env("FRAMEBRIDGE_RUNTIME_DIR", &self.runtime_dir)
            // Our service manager is ours: a child's word would count for us.
            .env_remove("NOTIFY_SOCKET");
        Child::spawn(&mut command).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    }

    fn executable(&self, role: Role) -> PathBuf {
        self.bin_dir.join(role.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_gets_no_setting_by_its_environment() {
        let ours = [
            "FRAMEBRIDGE_STUDIO_TOKEN",
            "FRAMEBRIDGE_WEBRTC_ICE_SERVERS_0_SECRET",
            "FRAMEBRIDGE_CONFIG",
            "FRAMEBRIDGE_RUNTIME_DIR",
            "HOME",
        ];
        let withheld: Vec<_> = withheld(ours.map(OsString::from).into_iter()).collect();
        assert_eq!(withheld, ours[..3]);
    }
}
