//! Looks how much room is left where the supervisor and the others write.

use std::{env, path::PathBuf, time::Duration};

use rustix::fs::statvfs;
use tokio::{
    sync::mpsc,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};

use crate::event::Event;

/// A disk that something fills at 100 MB/s has half a gigabyte less by the next look; looking costs microseconds.
const LOOK: Duration = Duration::from_secs(5);

/// Where things are written: the runtime directory, and systemd's for what is to stay.
pub(crate) fn places(runtime_dir: PathBuf) -> Vec<PathBuf> {
    let state = env::var_os("STATE_DIRECTORY").map(PathBuf::from);
    std::iter::once(runtime_dir).chain(state).collect()
}

/// Looks for ever. One that can't be looked at says nothing.
pub(crate) async fn watch(places: Vec<PathBuf>, events: mpsc::Sender<Event>) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        for (place, path) in places.iter().cloned().enumerate() {
            // A file system may hang.
            let Ok(Ok(found)) = spawn_blocking(move || statvfs(&path)).await else {
                continue;
            };
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let total = found.f_blocks.saturating_mul(found.f_frsize);
            if events.send(Event::Disk { place, free, total }).await.is_err() {
                return;
            }
        }
    }
}
