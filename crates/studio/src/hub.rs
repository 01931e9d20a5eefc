//! All boxes, and what every handler shares.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use framebridge_core::studio::box_session;
use framebridge_studio_proto::{Access, BoxId, IceServer, PublicId};
use tokio::{
    sync::Semaphore,
    time::{MissedTickBehavior, interval},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    auth, jobs,
    limits::Limits,
    nodes::Nodes,
    session::Session,
    store::{SessionRow, Store, StoreError, TokenRow},
    turn::Turn,
    uploads,
};

/// How often deadlines of sessions are looked at: far finer than any of them.
const TICK: Duration = Duration::from_secs(1);

/// How often what is past its time is thrown away.
const TIDY: Duration = Duration::from_secs(600);

/// What every handler shares.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) store: Store,
    pub(crate) nodes: Nodes,
    pub(crate) limits: Limits,
    pub(crate) turn: Option<Turn>,
    /// Without a slash at its end.
    pub(crate) public_url: String,
    pub(crate) uploads: PathBuf,
    pub(crate) keep: Keep,
    pub(crate) uploading: Semaphore,
    /// Boxes' links end with these two: told to, and waited for.
    pub(crate) stop: CancellationToken,
    pub(crate) links: TaskTracker,
    sessions: Mutex<BTreeMap<PublicId, Arc<Session>>>,
}

/// How much of the jobs' files is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keep {
    pub(crate) age: Duration,
    pub(crate) bytes: u64,
}

/// What a public address opens.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) session: Arc<Session>,
    pub(crate) access: Access,
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
    pub(crate) keep: Keep,
    pub(crate) stop: CancellationToken,
}

impl Hub {
    /// All boxes as the records have them.
    pub(crate) fn load(parts: Parts) -> Result<Arc<Self>, StoreError> {
        let rows = parts.store.sessions()?.into_iter();
        let restore = |row| Arc::new(Session::restore(row, box_session::Config::default()));
        let sessions = rows.map(restore).map(|session| (session.id, session)).collect();
        Ok(Arc::new(Self {
            store: parts.store,
            nodes: parts.nodes,
            limits: parts.limits,
            turn: parts.turn,
            public_url: parts.public_url,
            uploads: parts.uploads,
            keep: parts.keep,
            uploading: Semaphore::new(uploads::MOST_AT_ONCE),
            stop: parts.stop,
            links: TaskTracker::new(),
            sessions: Mutex::new(sessions),
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
                let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
                sessions.remove(&forgotten);
            }
            self.adopt(row)
        }))
    }

    /// The session that is kept so.
    pub(crate) fn adopt(&self, row: SessionRow) -> Arc<Session> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions
            .entry(row.id)
            .or_insert_with(|| Arc::new(Session::restore(row, box_session::Config::default())));
        Arc::clone(session)
    }

    /// All boxes, in no order that means anything.
    pub(crate) fn sessions(&self) -> Vec<Arc<Session>> {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.values().map(Arc::clone).collect()
    }

    /// The box with this id.
    pub(crate) fn session(&self, id: PublicId) -> Option<Arc<Session>> {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.get(&id).map(Arc::clone)
    }

    /// What a public address opens: a session's own, everything to look at; a share's, what it was made for.
    pub(crate) async fn open(&self, id: PublicId) -> Result<Option<Opened>, StoreError> {
        if let Some(session) = self.session(id) {
            let access = Access::default();
            return Ok(Some(Opened { session, access }));
        }
        let share = self.store.share(id).await?;
        Ok(share.and_then(|share| {
            let session = self.session(share.session)?;
            let access = share.access;
            Some(Opened { session, access })
        }))
    }

    /// The address that viewers use.
    pub(crate) fn address(&self, id: PublicId) -> String {
        format!("{}/s/{id}", self.public_url)
    }

    /// Servers that help viewers through their own NAT.
    pub(crate) fn ice_servers(&self, session: PublicId) -> Vec<IceServer> {
        let turn = self.turn.iter();
        turn.map(|turn| turn.server(&session.to_string(), SystemTime::now()))
            .collect()
    }

    /// Sends boxes away whose token was revoked since they came.
    async fn revoke(&self) -> Result<(), StoreError> {
        let linked: Vec<_> = self
            .sessions()
            .into_iter()
            .filter(|session| session.link().is_some())
            .collect();
        if linked.is_empty() {
            return Ok(());
        }
        let tokens = self.store.current_tokens().await?;
        let is_revoked = |name: &str| tokens.iter().any(|token| token.name == name && token.revoked);
        for session in linked.iter().filter(|session| is_revoked(&session.name)) {
            if let Some(link) = session.link() {
                link.revoke();
            }
        }
        Ok(())
    }

    /// Lets time pass for all boxes and for what is kept, as long as it is polled.
    pub(crate) async fn keep_time(self: Arc<Self>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut tidy = interval(TIDY);
        tidy.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            // Both arms are cancel-safe.
            tokio::select! {
                _ = ticks.tick() => {
                    // Without the other nodes it can't be said for how long a box has been away.
                    let unsure = self.nodes.are_cut_off();
                    for session in self.sessions() {
                        if unsure && session.link().is_none() {
                            continue;
                        }
                        if let Err(error) = session.tick(&self.store).await {
                            tracing::error!("{:#}", anyhow::Error::from(error));
                        }
                    }
                    if let Err(error) = self.revoke().await {
                        tracing::error!("{:#}", anyhow::Error::from(error));
                    }
                }
                _ = tidy.tick() => {
                    jobs::tidy(&self).await;
                    uploads::tidy(&self).await;
                }
            }
        }
    }
}
