//! All boxes that are known, each with its task.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use framebridge_core::studio::box_session::{self, BoxSession};
use framebridge_studio_proto::PublicId;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    session::Session,
    task::{BoxTask, Works},
};
use crate::store::SessionRow;

/// Events that may wait for a box's task; past it whoever has one waits, and so a box that talks too much is read more slowly.
const QUEUE: usize = 32;

/// All boxes.
#[derive(Debug)]
pub(crate) struct Registry {
    sessions: Mutex<BTreeMap<PublicId, Arc<Session>>>,
    works: Arc<Works>,
    /// Boxes' links and tasks end with these two: told to, and waited for.
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Registry {
    /// No boxes yet. Their tasks act through `works`.
    pub(crate) fn new(works: Works, stop: CancellationToken) -> Self {
        Self {
            sessions: Mutex::default(),
            works: Arc::new(works),
            stop,
            tasks: TaskTracker::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PublicId, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session that is kept so.
    pub(crate) fn adopt(&self, row: SessionRow) -> Arc<Session> {
        let mut sessions = self.lock();
        if let Some(known) = sessions.get(&row.id) {
            return Arc::clone(known);
        }
        let now = std::time::Instant::now();
        let machine = BoxSession::restore(box_session::Config::default(), row.state, row.reason.clone(), now);
        let (events, queue) = mpsc::channel(QUEUE);
        let session = Arc::new(Session::new(&row, machine.snapshot(), events));
        let task = BoxTask::new(Arc::clone(&session), machine, Arc::clone(&self.works), now);
        self.tasks.spawn(task.live(queue, self.stop.clone()));
        sessions.insert(row.id, Arc::clone(&session));
        session
    }

    /// Forgets a box.
    pub(crate) fn forget(&self, id: PublicId) {
        if let Some(session) = self.lock().remove(&id) {
            session.forgotten.cancel();
        }
    }

    /// All boxes, in no order that means anything.
    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        self.lock().values().map(Arc::clone).collect()
    }

    /// The box with this id.
    pub(crate) fn get(&self, id: PublicId) -> Option<Arc<Session>> {
        self.lock().get(&id).map(Arc::clone)
    }
}
