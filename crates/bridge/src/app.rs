//! The process: tell the supervisor how the session is, until told to stop.

use std::time::Duration;

use anyhow::ensure;
use framebridge_daemon::{Context, heartbeats};
use framebridge_ipc::Identity;
use framebridge_proto::{Role, supervisor::Progress};

use crate::session;

/// Tasks here hold nothing that takes time to give back.
const STOP_LIMIT: Duration = Duration::from_secs(1);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// A task did not end when told to.
pub async fn run(context: Context) -> anyhow::Result<()> {
    let Context {
        settings,
        dir,
        stop,
        tasks,
        ..
    } = context;
    let progress = session::progress(settings.studio.as_ref());
    tracing::info!(state = progress.state, reason = progress.reason, "started");
    let report = move || Progress::Bridge(progress.clone());
    tasks.spawn(heartbeats(dir, Identity::new(Role::Bridge), report));
    stop.cancelled().await;
    ensure!(
        tasks.end(STOP_LIMIT).await,
        "a task did not end within {} s",
        STOP_LIMIT.as_secs()
    );
    Ok(())
}
