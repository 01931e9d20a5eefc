//! Tells the supervisor who comes and who goes, for the operator's hooks.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use framebridge_daemon::News;
use framebridge_proto::{StreamName, hooks::Happening};
use framebridge_rtc::SessionId;

use crate::owners::{Owner, brief};

/// Who comes and who goes.
#[derive(Debug, Default)]
pub(crate) struct Visits {
    news: Arc<News>,
    /// Those who have been told of. As many as there are sessions.
    watching: Mutex<BTreeSet<SessionId>>,
}

impl Visits {
    /// `present`: the life before this one has told of them.
    pub(crate) fn new(news: Arc<News>, present: impl IntoIterator<Item = SessionId>) -> Self {
        Self {
            news,
            watching: Mutex::new(present.into_iter().collect()),
        }
    }

    /// Media reaches a viewer. One that comes back within its session has not joined again.
    pub(crate) fn on_live(&self, session: SessionId, stream: &StreamName, owner: Option<&Owner>) {
        if self.watching().insert(session) {
            self.news.tell(joined(brief(&session), stream, owner));
        }
    }

    /// A session has ended. One that never saw anything did not join.
    pub(crate) fn on_closed(&self, session: &SessionId, stream: &StreamName, reason: String) {
        if self.watching().remove(session) {
            self.news.tell(Happening::ViewerLeft {
                stream: stream.clone(),
                viewer: brief(session),
                reason,
            });
        }
    }

    fn watching(&self) -> MutexGuard<'_, BTreeSet<SessionId>> {
        self.watching.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody watches.
pub(crate) fn joined(viewer: String, stream: &StreamName, owner: Option<&Owner>) -> Happening {
    Happening::ViewerJoined {
        stream: stream.clone(),
        viewer,
        principal: owner.map(|owner| owner.principal.to_string()),
        address: owner.map(|owner| owner.address.to_string()),
    }
}
