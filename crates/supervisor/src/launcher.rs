//! What is started, and how.

use std::{env, ffi::OsString, io, path::PathBuf, process::Command};

use anyhow::Context as _;
use framebridge_ipc::RuntimeDir;
use framebridge_proto::{Role, StreamName};

use crate::{child::Child, degradation::Overrides};

/// Names another directory of binaries than the supervisor's own.
const BIN_DIR: &str = "FRAMEBRIDGE_BIN_DIR";

/// Starts processes: from the directory of our own executable, with our own flags and environment.
#[derive(Debug)]
pub(crate) struct Launcher {
    bin_dir: PathBuf,
    runtime_dir: PathBuf,
    arguments: Vec<OsString>,
}

impl Launcher {
    /// Finds the binaries: in `$FRAMEBRIDGE_BIN_DIR`, else beside the one that runs.
    pub(crate) fn new(dir: &RuntimeDir, arguments: Vec<OsString>) -> anyhow::Result<Self> {
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
    pub(crate) fn start(&self, role: Role, stream: Option<&StreamName>, overrides: Overrides) -> io::Result<Child> {
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
        Child::spawn(&mut command).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    }

    fn executable(&self, role: Role) -> PathBuf {
        self.bin_dir.join(role.as_str())
    }
}
