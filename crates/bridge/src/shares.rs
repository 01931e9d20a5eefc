//! Addresses that the box has shared, and the viewers who came by them.
//!
//! Viewers' sessions outlive the bridge. So what is known of them is kept beside its socket, as long as the machine runs:
//! the next bridge ends what is to end.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use framebridge_core::studio::shared_viewers::{self, Pass, SharedViewer, SharedViewers};
use framebridge_daemon::monotonic_ns;
use framebridge_ipc::RuntimeDir;
use framebridge_studio_proto::{PublicId, UsedShare};
use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::{
    event::Event,
    proxy::{Known, Proxy, ViewerSession},
};

/// Addresses for control that are remembered: as many as a studio lets be good at once. Past it the first to end goes.
const MOST_FOR_CONTROL: usize = 256;

/// Sessions that are ended or looked at at the same time.
const AT_ONCE: usize = 8;

/// Tells one life of the machine from the next.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// What was shared, and who came by it.
#[derive(Debug)]
pub(crate) struct Shares {
    viewers: SharedViewers<PublicId, ViewerSession>,
    /// Addresses that this box's operator has made to change things, and when they end.
    for_control: BTreeMap<PublicId, Option<Instant>>,
    file: PathBuf,
    /// The file is behind.
    changed: bool,
}

/// What is in the file. Times are the machine's monotonic clock's, in ms.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    boot: String,
    viewers: Vec<KeptViewer>,
    for_control: Vec<(PublicId, Option<u64>)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptViewer {
    share: PublicId,
    ends_ms: Option<u64>,
    session: ViewerSession,
}

/// The clock that the file has, beside the one that this process has.
struct Clocks {
    instant: Instant,
    ms: u64,
}

impl Clocks {
    fn now() -> Self {
        Self {
            instant: Instant::now(),
            ms: monotonic_ns() / 1_000_000,
        }
    }

    /// What has passed by then is due now.
    fn instant(&self, ms: u64) -> Instant {
        let later = Duration::from_millis(ms.saturating_sub(self.ms));
        self.instant.checked_add(later).unwrap_or(self.instant)
    }

    fn ms(&self, instant: Instant) -> u64 {
        let later = instant.saturating_duration_since(self.instant).as_millis();
        self.ms.saturating_add(u64::try_from(later).unwrap_or(u64::MAX))
    }
}

impl Shares {
    /// What the bridge before this one has left in `dir`.
    pub(crate) fn load(dir: &RuntimeDir) -> Self {
        let file = dir.path().join("bridge.shares.json");
        let kept = match read(&file) {
            Ok(kept) => kept,
            Err(error) => {
                tracing::warn!("viewers by shared addresses are forgotten: {}: {error}", file.display());
                Kept::default()
            }
        };
        let clocks = Clocks::now();
        let instant = |ms: Option<u64>| ms.map(|ms| clocks.instant(ms));
        let viewers = kept.viewers.into_iter().map(|kept| SharedViewer {
            share: kept.share,
            ends_at: instant(kept.ends_ms),
            session: kept.session,
        });
        let for_control = kept.for_control.into_iter();
        Self {
            viewers: SharedViewers::restore(viewers),
            for_control: for_control.map(|(share, ends_ms)| (share, instant(ends_ms))).collect(),
            file,
            changed: false,
        }
    }

    /// What a shared address lets in now; nothing once its time is up.
    pub(crate) fn admit(&self, share: UsedShare, now: Instant) -> Option<Pass<PublicId>> {
        self.viewers
            .admit(share.id, share.left_ms.map(Duration::from_millis), now)
    }

    /// Whether this box's operator has made that address to change things.
    pub(crate) fn is_for_control(&self, share: PublicId, now: Instant) -> bool {
        let ends_at = self.for_control.get(&share);
        ends_at.is_some_and(|ends_at| ends_at.is_none_or(|ends_at| ends_at > now))
    }

    /// The operator has made an address that may change things; it ends after `lasts`.
    pub(crate) fn on_shared_for_control(&mut self, share: PublicId, lasts: Option<Duration>, now: Instant) {
        let ends_at = lasts.and_then(|lasts| now.checked_add(lasts));
        self.for_control
            .retain(|_, ends_at| ends_at.is_none_or(|ends_at| ends_at > now));
        if self.for_control.len() >= MOST_FOR_CONTROL {
            let first = self
                .for_control
                .iter()
                .min_by_key(|(_, ends_at)| ends_at.map_or((true, now), |at| (false, at)));
            if let Some(first) = first.map(|(share, _)| *share) {
                self.for_control.remove(&first);
            }
        }
        self.for_control.insert(share, ends_at);
        self.changed = true;
    }

    /// Takes in what happened to a viewer, or to all.
    pub(crate) fn handle(&mut self, input: shared_viewers::Input<PublicId, ViewerSession>, now: Instant) {
        match input {
            shared_viewers::Input::Joined { .. } | shared_viewers::Input::Gone { .. } => self.changed = true,
            shared_viewers::Input::Unshared => {
                self.for_control.clear();
                self.changed = true;
            }
            shared_viewers::Input::Open { .. }
            | shared_viewers::Input::Unanswered { .. }
            | shared_viewers::Input::Timeout => {}
        }
        self.viewers.handle(input, now);
    }

    /// When time is to be let pass next.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.viewers.poll_timeout().map(|(at, _)| at)
    }

    /// What is to be done about viewers; what has changed is kept first.
    pub(crate) fn poll_outputs(&mut self) -> Vec<shared_viewers::Output<ViewerSession>> {
        if std::mem::take(&mut self.changed)
            && let Err(error) = self.write()
        {
            tracing::warn!(
                "viewers by shared addresses can't be kept: {}: {error}",
                self.file.display()
            );
        }
        std::iter::from_fn(|| self.viewers.poll_output()).collect()
    }

    fn write(&self) -> io::Result<()> {
        let clocks = Clocks::now();
        let ms = |instant: Option<Instant>| instant.map(|instant| clocks.ms(instant));
        let kept = Kept {
            boot: fs::read_to_string(BOOT)?,
            viewers: self
                .viewers
                .viewers()
                .map(|viewer| KeptViewer {
                    share: viewer.share,
                    ends_ms: ms(viewer.ends_at),
                    session: viewer.session.clone(),
                })
                .collect(),
            for_control: self
                .for_control
                .iter()
                .map(|(share, ends_at)| (*share, ms(*ends_at)))
                .collect(),
        };
        // Whole or not at all: sessions in it are permissions, and so are addresses.
        let fresh = self.file.with_extension("json.new");
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all(&serde_json::to_vec(&kept)?)?;
        fs::rename(&fresh, &self.file)
    }
}

/// What was kept in this life of the machine.
fn read(file: &PathBuf) -> io::Result<Kept> {
    let text = match fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::default()),
        Err(error) => return Err(error),
    };
    let kept: Kept = serde_json::from_slice(&text)?;
    let same_boot = fs::read_to_string(BOOT)? == kept.boot;
    Ok(if same_boot { kept } else { Kept::default() })
}

/// Does what is to be done about viewers, and tells what came of it.
pub(crate) async fn attend(
    orders: Vec<shared_viewers::Output<ViewerSession>>,
    proxy: Proxy,
    events: mpsc::Sender<Event>,
) {
    stream::iter(orders)
        .for_each_concurrent(AT_ONCE, |order| {
            let (proxy, events) = (proxy.clone(), events.clone());
            async move {
                let happened = carry_out(order, &proxy).await;
                // With the app gone the next one finds what this one has kept.
                _ = events.send(Event::Viewer(happened)).await;
            }
        })
        .await;
}

async fn carry_out(
    order: shared_viewers::Output<ViewerSession>,
    proxy: &Proxy,
) -> shared_viewers::Input<PublicId, ViewerSession> {
    let (session, known) = match order {
        shared_viewers::Output::End(session) => {
            let known = proxy.end(&session).await;
            if known == Known::Gone {
                tracing::info!("a viewer's session has ended with the shared address it came by");
            }
            (session, known)
        }
        shared_viewers::Output::Look(session) => {
            let known = proxy.look(&session).await;
            (session, known)
        }
    };
    match known {
        Known::Open => shared_viewers::Input::Open { session },
        Known::Gone => shared_viewers::Input::Gone { session },
        Known::Unanswered => shared_viewers::Input::Unanswered { session },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_shared_outlives_the_bridge_and_not_the_machine() {
        let dir = tempfile::tempdir().unwrap();
        let dir = RuntimeDir::at(dir.path());
        let now = Instant::now();
        let [watched, steered] = [1, 2].map(PublicId::from_bits);
        let mut shares = Shares::load(&dir);
        let used = |left_ms| UsedShare { id: watched, left_ms };
        let pass = shares.admit(used(Some(60_000)), now).unwrap();
        let session = ViewerSession {
            path: "/whep/test/1".into(),
            access: "view".into(),
        };
        let joined = session.clone();
        shares.handle(shared_viewers::Input::Joined { pass, session: joined }, now);
        shares.on_shared_for_control(steered, None, now);
        assert_eq!(shares.poll_outputs(), []);
        assert_eq!(shares.admit(used(Some(0)), now), None);

        let mut next = Shares::load(&dir);
        assert!(next.is_for_control(steered, now) && !next.is_for_control(watched, now));
        let due = next.poll_timeout().unwrap();
        assert!(due > now + Duration::from_secs(59) && due < now + Duration::from_secs(61));
        next.handle(shared_viewers::Input::Timeout, due);
        assert_eq!(next.poll_outputs(), [shared_viewers::Output::End(session)]);
        next.handle(shared_viewers::Input::Unshared, due);
        assert!(!next.is_for_control(steered, due));
        drop(next.poll_outputs());

        let file = dir.path().join("bridge.shares.json");
        let text = fs::read_to_string(&file).unwrap();
        let boot = fs::read_to_string(BOOT).unwrap();
        fs::write(&file, text.replace(boot.trim(), "another life")).unwrap();
        assert_eq!(Shares::load(&dir).poll_timeout(), None);
        fs::write(&file, "damaged").unwrap();
        assert_eq!(Shares::load(&dir).poll_timeout(), None);
    }
}
