//! Reports this process's progress to the supervisor every half second.

use std::{sync::Arc, time::Instant};

use framebridge_core::orphan::OrphanWatch;
use framebridge_ipc::{Identity, Link, RuntimeDir, connect};
use framebridge_proto::{
    Role,
    limits::{HEARTBEAT_INTERVAL, RECONNECT_INTERVAL},
    supervisor::{FromSupervisor, Heartbeat, Progress, ToSupervisor},
};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::{news::News, notify};

/// Sends `progress()` every [`HEARTBEAT_INTERVAL`]; connects anew when the supervisor is gone. Ends where none is to come any more:
/// the process has been left alone, and who started it, if not a service manager, will not end it.
///
/// It says nothing while the process's work loop hangs ([`notify::Pulse`]): a heartbeat beside it would be a pulse without
/// life. The first heartbeat goes out as soon as the link is there. A supervisor that does not read is given up after one
/// interval, because a heartbeat that waits in a full socket says nothing.
pub async fn heartbeats(dir: RuntimeDir, identity: Identity, progress: impl FnMut() -> Progress) {
    heartbeats_with_news(dir, identity, Arc::default(), progress).await;
}

/// The same, and at once whenever there are `news`, with what happened in front of the heartbeat.
pub async fn heartbeats_with_news(
    dir: RuntimeDir,
    identity: Identity,
    news: Arc<News>,
    mut progress: impl FnMut() -> Progress,
) {
    let place = dir.place(Role::Supervisor, None);
    let is_managed = notify::is_managed();
    let mut orphan = OrphanWatch::new(Instant::now());
    let mut sequence = 0;
    loop {
        match connect::<FromSupervisor, ToSupervisor>(place.clone(), &identity, Role::Supervisor).await {
            Ok(link) => {
                tracing::debug!(pid = link.peer.pid, "linked to the supervisor");
                send(link, &mut sequence, &news, &mut progress).await;
                tracing::debug!("the link to the supervisor ended");
                orphan.on_linked(Instant::now());
            }
            Err(error) => tracing::trace!(%error, "no supervisor yet"),
        }
        sleep(RECONNECT_INTERVAL).await;
        if let Some(why) = orphan
            .observe(dir.path().is_dir(), Instant::now())
            .filter(|_| !is_managed)
        {
            return tracing::error!("ending: {why}");
        }
    }
}

/// Sends on one link, until that ends.
async fn send(
    mut link: Link<FromSupervisor, ToSupervisor>,
    sequence: &mut u64,
    news: &News,
    progress: &mut impl FnMut() -> Progress,
) {
    let mut ticks = interval(HEARTBEAT_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            // Nothing is asked on this link, so whatever comes is its end. All arms are cancel-safe.
            _ended = link.receiver.recv() => return,
            _ = ticks.tick() => {}
            () = news.come() => {}
        }
        if notify::hangs() {
            // Its silence is what tells.
            continue;
        }
        while let Some(first) = news.first() {
            let happened = ToSupervisor::Happened(first.clone());
            match timeout(HEARTBEAT_INTERVAL, link.sender.send(&happened)).await {
                Ok(Ok(())) => news.taken(&first),
                Ok(Err(_)) | Err(_) => return,
            }
        }
        let heartbeat = ToSupervisor::Heartbeat(Heartbeat {
            sequence: *sequence,
            progress: progress(),
        });
        *sequence += 1;
        match timeout(HEARTBEAT_INTERVAL, link.sender.send(&heartbeat)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}
