//! How processes are started: by us, or by systemd for us.

use std::{env, ffi::OsString, io, path::PathBuf, pin::Pin, process::Command};

use anyhow::Context as _;
use framebridge_config::Manage;
use framebridge_core::process::ExitStatus;
use framebridge_ipc::RuntimeDir;
use framebridge_proto::{Role, StreamName};

use crate::{
    child::{Child, Started},
    degradation::Overrides,
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

/// Starts processes from the directory of our own executable, with our own flags and environment.
#[derive(Debug)]
pub(crate) struct Spawn {
    bin_dir: PathBuf,
    runtime_dir: PathBuf,
    arguments: Vec<OsString>,
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
    pub(crate) async fn new(manage: Manage, dir: &RuntimeDir, arguments: Vec<OsString>) -> anyhow::Result<Self> {
        Ok(match manage {
            Manage::Spawn => Self::Spawn(Spawn::new(dir, arguments)?),
            Manage::Systemd => Self::Systemd(
                Systemd::connect(dir.path())
                    .await
                    .context("supervisor.manage = systemd")?,
            ),
        })
    }

    /// Whether the processes are systemd's: it names them to us once they run, and it stops them.
    pub(crate) fn is_systemds(&self) -> bool {
        matches!(self, Self::Systemd(_))
    }

    /// Starts a process of `role`; an encoder for `stream`, differently where `overrides` say so.
    pub(crate) fn start(&self, role: Role, stream: Option<&StreamName>, overrides: Overrides) -> Launch {
        match self {
            Self::Spawn(spawn) => {
                let started = spawn.start(role, stream, overrides);
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
            let status = child.exited().await;
            match systemd.filter(|_| status == ExitStatus::Unknown) {
                Some(systemd) => systemd.starved(role, stream).await.unwrap_or(status),
                None => status,
            }
        }
    }

    /// What an encoder is to do without at its next start is known: where it may be started before we ask for it, it is written
    /// down.
    pub(crate) fn prepare(&self, stream: &StreamName, overrides: &Overrides) -> io::Result<()> {
        match self {
            Self::Spawn(_) => Ok(()),
            Self::Systemd(systemd) => systemd.override_next_start(stream, overrides),
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

/// What of our environment a process of `role` does not get as it is: secrets that are another's. The studio is emptied and not
/// taken away, for half of one, from the file, would be no configuration.
fn withheld(role: Role, ours: impl Iterator<Item = OsString>) -> Vec<(OsString, Option<&'static str>)> {
    let studio = [STUDIO_URL, STUDIO_TOKEN].map(|name| (name.into(), Some("")));
    let studio = studio.into_iter().filter(|_| role != Role::Bridge);
    let of_viewers = ours.filter(|name| {
        let name = name.to_string_lossy();
        let is_secret = SECRET_ENDINGS.iter().any(|ending| name.ends_with(ending));
        role != Role::Signaling && name.starts_with("FRAMEBRIDGE_") && is_secret
    });
    studio.chain(of_viewers.map(|name| (name, None))).collect()
}

/// Where the bridge finds its studio, and by what it is known there.
const STUDIO_URL: &str = "FRAMEBRIDGE_STUDIO_URL";
const STUDIO_TOKEN: &str = "FRAMEBRIDGE_STUDIO_TOKEN";

/// Of variables that hold credentials of TURN servers, which viewers are given.
const SECRET_ENDINGS: [&str; 2] = ["_CREDENTIAL", "_SECRET"];

impl Spawn {
    /// Finds the binaries: in `$FRAMEBRIDGE_BIN_DIR`, else beside the one that runs.
    fn new(dir: &RuntimeDir, arguments: Vec<OsString>) -> anyhow::Result<Self> {
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
            arguments,
        })
    }

    /// Starts a process of `role`; an encoder for `stream`, differently where `overrides` say so.
    fn start(&self, role: Role, stream: Option<&StreamName>, overrides: Overrides) -> io::Result<Child> {
        let path = self.executable(role);
        #[expect(clippy::disallowed_methods, reason = "the one place where processes are started")]
        let mut command = Command::new(&path);
        command
            .args(stream.map(StreamName::as_str))
            .args(&self.arguments)
            .args(overrides.arguments)
            .envs(overrides.environment)
            .env("FRAMEBRIDGE_RUNTIME_DIR", &self.runtime_dir)
            // Our service manager is ours: a child's word would count for us.
            .env_remove("NOTIFY_SOCKET");
        for (name, value) in withheld(role, env::vars_os().map(|(name, _)| name)) {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
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
    fn process_gets_no_secret_of_another() {
        let ours = || {
            [STUDIO_TOKEN, "FRAMEBRIDGE_WEBRTC_ICE_SERVERS_0_SECRET", "HOME"]
                .map(OsString::from)
                .into_iter()
        };
        let names = |role| -> Vec<String> {
            let withheld = withheld(role, ours()).into_iter();
            withheld.map(|(name, _)| name.to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names(Role::Bridge), ["FRAMEBRIDGE_WEBRTC_ICE_SERVERS_0_SECRET"]);
        assert_eq!(names(Role::Signaling), [STUDIO_URL, STUDIO_TOKEN]);
        assert_eq!(
            names(Role::Encoder),
            [STUDIO_URL, STUDIO_TOKEN, "FRAMEBRIDGE_WEBRTC_ICE_SERVERS_0_SECRET"]
        );
    }
}
