//! What is said at a start: why it can't be one, and in the end where to look.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use framebridge_config::Manage;
use framebridge_core::process::State;
use framebridge_daemon::{Context, Exit, ports, reach};
use framebridge_ipc::connect_http;
use tokio::time::sleep;

use crate::missing::missing;

/// Looks whether a box could be started here at all: a first start that fails later says less, and leaves half a box behind. Where
/// one is to be taken over, or systemd starts the processes, this is no first start.
///
/// # Errors
/// The runtime directory takes no files, or a port is a stranger's.
pub async fn check(context: &Context) -> anyhow::Result<()> {
    let Context { settings, dir, .. } = context;
    // Who serves there is a signaling of ours that outlived its supervisor.
    if connect_http(dir).await.is_ok() {
        return Ok(());
    }
    dir.try_out().context(Exit::Unavailable)?;
    // What it costs is one process, which says so again: the others are worth a start.
    for problem in missing(settings).await {
        tracing::error!("{problem}");
    }
    if settings.supervisor.manage == Manage::Systemd {
        return Ok(());
    }
    let until = Instant::now() + RELEASE;
    while let Some(why) = ports::first_taken(ports::wanted(settings)) {
        if Instant::now() >= until {
            bail!(anyhow::Error::msg(why).context(Exit::Unavailable));
        }
        sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// What was killed a moment ago may have a port until the kernel has cleared it away.
const RELEASE: Duration = Duration::from_secs(2);

/// How often a port is tried meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How long the processes go on logging after the last has come up: signaling finds each encoder within a tenth of a second.
const QUIET: Duration = Duration::from_millis(500);

/// Says where to look, once: when each process has come up, or has failed to.
#[derive(Debug)]
pub(crate) struct Greeting {
    scheme: &'static str,
    up_since: Option<Instant>,
    is_said: bool,
}

impl Greeting {
    pub(crate) fn new(has_tls: bool) -> Self {
        Self {
            scheme: if has_tls { "https" } else { "http" },
            up_since: None,
            is_said: false,
        }
    }

    /// Says it, if it is time: by what the processes do, and where signaling listens.
    pub(crate) fn look(&mut self, mut states: impl Iterator<Item = State>, address: Option<SocketAddr>, now: Instant) {
        let Some(address) = address.filter(|_| !self.is_said) else {
            return;
        };
        if states.any(|state| matches!(state, State::Starting | State::Stopped)) {
            return;
        }
        let since = *self.up_since.get_or_insert(now);
        if now.duration_since(since) >= QUIET {
            self.is_said = true;
            let url = reach::url(self.scheme, address);
            tracing::info!("open {url}/ in a browser; `bridgectl status` says how it goes");
        }
    }
}
