//! Verbs that stay until Ctrl-C.

use tokio::{signal, time::Interval};

/// Waits for the next tick; `false` if Ctrl-C came first.
pub(crate) async fn tick(ticks: &mut Interval) -> anyhow::Result<bool> {
    tokio::select! {
        _ = ticks.tick() => Ok(true),
        stopped = signal::ctrl_c() => Ok(stopped.map(|()| false)?),
    }
}
