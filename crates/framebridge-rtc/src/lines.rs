//! What is known of lines where they are served: which are open, and where what comes by one goes.

use std::{collections::HashMap, sync::Mutex};

use tokio::sync::mpsc;

use crate::{Lane, SessionId, mutex::lock};

/// Lines at once: each may keep some 400 KB of half a message and of what it does not take.
pub(crate) const MAX_LINES: usize = 64;

/// What has come by a line and was not read. Full: the line ends, for nothing on the reliable lane may be lost.
const EVENTS: usize = 128;
/// Places of those that are kept from the lossy lane, whose messages are dropped then.
const RESERVED: usize = 64;

/// What happens on a line. It ends where nothing more comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineEvent {
    /// Both ends can talk.
    Open,
    /// The other end says something.
    Message(Lane, Vec<u8>),
}

/// The open lines, and who serves each.
#[derive(Debug, Default)]
pub(crate) struct Lines(Mutex<HashMap<SessionId, usize>>);

/// The worker's end of a line.
pub(crate) struct LineOutlet(mpsc::Sender<LineEvent>);

impl Lines {
    /// Takes a place for a line; false: there is none.
    pub(crate) fn open(&self, session: SessionId, worker: usize) -> bool {
        let mut lines = lock(&self.0);
        let has_room = lines.len() < MAX_LINES;
        if has_room {
            lines.insert(session, worker);
        }
        has_room
    }

    /// Who serves a line, if it is open.
    pub(crate) fn worker_of(&self, session: &SessionId) -> Option<usize> {
        lock(&self.0).get(session).copied()
    }

    /// A line has ended; who served it, if it was open still.
    pub(crate) fn close(&self, session: &SessionId) -> Option<usize> {
        lock(&self.0).remove(session)
    }
}

impl LineOutlet {
    /// One, and where what is told comes out.
    pub(crate) fn new() -> (Self, mpsc::Receiver<LineEvent>) {
        let (told, events) = mpsc::channel(EVENTS);
        (Self(told), events)
    }

    /// False: the event was lost, and should not have been.
    pub(crate) fn tell(&self, event: LineEvent) -> bool {
        let is_lossy = matches!(event, LineEvent::Message(Lane::Lossy, _));
        if is_lossy && self.0.capacity() <= RESERVED {
            return true;
        }
        self.0.try_send(event).is_ok()
    }
}
