//! What every handler shares.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use framebridge_daemon::unix_ms;
use framebridge_proto::millis;
use framebridge_studio_proto::{Access, BoxId, IceServer, PublicId, UsedShare};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    auth,
    boxes::{Budget, Event, Registry, Session, Works},
    limits::Limits,
    nodes::Nodes,
    store::{Store, StoreError, TokenRow},
    turn::Turn,
    uploads::{self, Uploads},
    visits::Visits,
};

/// How often the studio looks for revoked tokens.
const TICK: Duration = Duration::from_secs(1);

/// How often what is past its time is thrown away.
const TIDY: Duration = Duration::from_secs(600);

/// A job that no box has taken for this long has failed.
const UNTAKEN: Duration = Duration::from_secs(3600);

/// How long the studio waits for a job that a box has begun: the box keeps its result over any outage of the link.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// What every handler shares.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) store: Store,
    pub(crate) nodes: Nodes,
    pub(crate) boxes: Registry,
    /// What of boxes' answers waits for viewers.
    pub(crate) waiting: Arc<Budget>,
    pub(crate) visits: Arc<Visits>,
    pub(crate) limits: Limits,
    pub(crate) turn: Option<Turn>,
    /// Without a slash at its end.
    pub(crate) public_url: String,
    pub(crate) uploads: Uploads,
}

/// What a public address opens.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) session: Arc<Session>,
    pub(crate) access: Access,
}

impl Opened {
    /// How much longer the address is good; `None`: it has no end.
    pub(crate) fn left(&self) -> Option<Duration> {
        let left_ms = self.access.share.and_then(|share| share.left_ms);
        left_ms.map(Duration::from_millis)
    }
}

/// What a [`Hub`] is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) nodes: Nodes,
    pub(crate) limits: Limits,
    pub(crate) turn: Option<Turn>,
    pub(crate) public_url: String,
    pub(crate) uploads: PathBuf,
    pub(crate) keep: uploads::Keep,
    pub(crate) stop: CancellationToken,
}

impl Hub {
    /// All boxes as the records have them.
    pub(crate) fn load(parts: Parts) -> Result<Arc<Self>, StoreError> {
        let visits = Arc::new(Visits::default());
        let works = Works {
            store: parts.store.clone(),
            nodes: parts.nodes.clone(),
            visits: Arc::clone(&visits),
            uploads: parts.uploads.clone(),
            public_url: parts.public_url.clone(),
        };
        let boxes = Registry::new(works, parts.stop);
        for row in parts.store.sessions()? {
            boxes.adopt(row);
        }
        Ok(Arc::new(Self {
            store: parts.store,
            nodes: parts.nodes,
            boxes,
            waiting: Arc::default(),
            visits,
            limits: parts.limits,
            turn: parts.turn,
            public_url: parts.public_url,
            uploads: Uploads::new(parts.uploads, parts.keep),
        }))
    }

    /// The session of this box, a new one if it never had one; none if too many boxes have come with this token.
    pub(crate) async fn session_of(
        &self,
        token: &TokenRow,
        instance: BoxId,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        let fresh = auth::session(token, instance);
        let row = self.store.session_of(token.name.clone(), instance, fresh).await?;
        Ok(row.map(|(row, forgotten)| {
            for forgotten in forgotten {
                self.boxes.forget(forgotten);
            }
            self.boxes.adopt(row)
        }))
    }

    /// What a public address opens: a session's own, everything to look at; a share's, what it was made for.
    pub(crate) async fn open(&self, id: PublicId) -> Result<Option<Opened>, StoreError> {
        if let Some(session) = self.boxes.get(id) {
            let access = Access::default();
            return Ok(Some(Opened { session, access }));
        }
        let share = self.store.share(id).await?;
        Ok(share.and_then(|share| {
            let session = self.boxes.get(share.session)?;
            let left_ms = share.expires_ms.map(|expires_ms| expires_ms.saturating_sub(unix_ms()));
            let share_used = Some(UsedShare { id, left_ms });
            let access = Access {
                share: share_used,
                ..share.access
            };
            Some(Opened { session, access })
        }))
    }

    /// The address that viewers use.
    pub(crate) fn address(&self, id: PublicId) -> String {
        format!("{}/s/{id}", self.public_url)
    }

    /// Servers that help viewers through their own NAT, for an address that is good for `left`.
    pub(crate) fn ice_servers(&self, address: PublicId, left: Option<Duration>) -> Vec<IceServer> {
        let turn = self.turn.iter();
        turn.map(|turn| turn.server(&address.to_string(), left, SystemTime::now()))
            .collect()
    }

    /// Sends boxes away whose token was revoked since they came.
    async fn revoke(&self) -> Result<(), StoreError> {
        let here = |session: &Arc<Session>| session.link().is_some();
        let linked: Vec<_> = self.boxes.all().into_iter().filter(here).collect();
        if linked.is_empty() {
            return Ok(());
        }
        let tokens = self.store.current_tokens().await?;
        let is_revoked = |name: &str| tokens.iter().any(|token| token.name == name && token.revoked);
        for session in linked.iter().filter(|session| is_revoked(&session.name)) {
            session.tell(Event::Revoked).await;
        }
        Ok(())
    }

    /// Gives up on jobs that nobody took, and forgets what is old.
    async fn tidy(&self) -> Result<(), StoreError> {
        let before = |span: Duration| unix_ms().saturating_sub(millis(span));
        let forget = self.uploads.keep.age;
        self.store.tidy(before(UNTAKEN), before(LONGEST), before(forget)).await
    }

    /// Looks after what is kept, as long as it is polled.
    pub(crate) async fn keep_time(self: Arc<Self>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut tidy = interval(TIDY);
        tidy.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            // Both arms are cancel-safe.
            let done = tokio::select! {
                _ = ticks.tick() => self.revoke().await,
                _ = tidy.tick() => {
                    self.uploads.tidy().await;
                    self.tidy().await
                }
            };
            if let Err(error) = done {
                tracing::error!("{:#}", anyhow::Error::from(error));
            }
        }
    }
}
