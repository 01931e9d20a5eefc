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
