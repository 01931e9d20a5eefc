//! How the latest sessions ended, for those who ask after the end.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use framebridge_proto::StreamName;
use framebridge_rtc::{CloseReason, SessionId, ViewerState};

/// Ended sessions that are remembered; the oldest goes for the next. A page asks within a second.
const REMEMBERED: usize = 256;

/// How the latest sessions ended.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    sessions: Mutex<VecDeque<(SessionId, StreamName, CloseReason)>>,
    sent_away: Mutex<VecDeque<SessionId>>,
}

impl Ended {
    /// A session has ended.
    pub(crate) fn note(&self, session: SessionId, stream: StreamName, reason: CloseReason) {
        remember(&self.sessions, (session, stream, reason));
    }

    /// An operator sends this viewer of `stream` away: noted before it is done, for the page asks at once.
    pub(crate) fn send_away(&self, session: SessionId, stream: StreamName) {
        remember(&self.sent_away, session);
        self.note(session, stream, CloseReason::Left);
    }

    pub(crate) fn was_sent_away(&self, session: &SessionId) -> bool {
        let sent_away = self.sent_away.lock().unwrap_or_else(PoisonError::into_inner);
        sent_away.contains(session)
    }

    pub(crate) fn of(&self, session: &SessionId) -> Option<(StreamName, ViewerState)> {
        let ended = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, stream, reason) = ended.iter().rev().find(|(known, ..)| known == session)?;
        Some((stream.clone(), ViewerState::Closed(*reason)))
    }
}

fn remember<T>(in_order: &Mutex<VecDeque<T>>, item: T) {
    let mut in_order = in_order.lock().unwrap_or_else(PoisonError::into_inner);
    if in_order.len() == REMEMBERED {
        in_order.pop_front();
    }
    in_order.push_back(item);
}
