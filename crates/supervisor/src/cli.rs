//! The command line.

use std::{convert::Infallible, env, io, os::unix::process::CommandExt as _, process::Command};

use framebridge_daemon::Args;
use framebridge_ipc::RuntimeDir;
use framebridge_proto::Role;

use crate::{ledger::Ledger, settings_files::SettingsFiles};

/// Runs and watches encoder, signaling and bridge.
#[derive(Debug, clap::Parser)]
#[command(version)]
pub struct Cli {
    /// What all daemons take; processes that are started get what comes of it.
    #[command(flatten)]
    pub args: Args,
}

impl Cli {
    /// Everybody on a machine reads the arguments of all its processes: where a source in them has a password, this process
    /// becomes the same one without it. Returns where there is nothing to hide.
    ///
    /// # Errors
    /// What is to be hidden can't be: it goes on being seen.
    pub fn hide_secrets(&self) -> io::Result<()> {
        if !self.args.has_secrets() {
            return Ok(());
        }
        let dir = RuntimeDir::resolve();
        dir.create().map_err(io::Error::other)?;
        let args = self.args.without_secrets(dir.path())?;
        become_again(&args).map(|never| match never {})
    }

    /// Where processes of an earlier supervisor live, what that held is what they run by: it holds if the configuration makes no
    /// sense now.
    pub fn heed_predecessor(&mut self) {
        let dir = RuntimeDir::resolve();
        if !Ledger::of(dir.path()).living().is_empty() {
            let path = SettingsFiles::of(dir.path()).path(Role::Supervisor.as_str());
            self.args.fallback = Some(path);
        }
    }
}

/// Starts this program anew, as this process.
fn become_again(args: &Args) -> io::Result<Infallible> {
    #[expect(clippy::disallowed_methods, reason = "it starts no process: it is one")]
    let mut command = Command::new(env::current_exe()?);
    Err(command.args(args.forward()).exec())
}
