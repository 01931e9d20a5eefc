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
pub(crate) struct Ended(Mutex<VecDeque<(SessionId, StreamName, CloseReason)>>);

impl Ended {
    /// A session has ended.
    pub(crate) fn note(&self, session: SessionId, stream: StreamName, reason: CloseReason) {
        let mut ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.len() == REMEMBERED {
            ended.pop_front();
        }
        ended.push_back((session, stream, reason));
    }

    pub(crate) fn of(&self, session: &SessionId) -> Option<(StreamName, ViewerState)> {
        let ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, stream, reason) = ended.iter().rev().find(|(known, ..)| known == session)?;
        Some((stream.clone(), ViewerState::Closed(*reason)))
    }
}
