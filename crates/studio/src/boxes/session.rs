//! One box as everybody sees it: what its task has published, and its latest log lines. Events reach its task through it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use framebridge_core::studio::box_session;
use framebridge_daemon::unix_ms;
use framebridge_studio_proto::{BoxId, Heartbeat, LogBatch, LogLine, PublicId, limits};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{event::Event, link::Link};
use crate::store::SessionRow;

/// Log lines kept of one box: all that it can bring after an outage, with the gap before them, and as many again. Some
/// 5 MB at their longest, and 800 KB as they usually are.
const MOST_LINES: usize = 2 * limits::LOG_BUFFER;

/// One box.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: PublicId,
    /// The name of the token it came with, which is what operators call it.
    pub(crate) name: String,
    pub(crate) instance: BoxId,
    /// Cancelled when the box is forgotten.
    pub(super) forgotten: CancellationToken,
    events: mpsc::Sender<Event>,
    published: Mutex<Published>,
}

#[derive(Debug)]
struct Published {
    view: View,
    link: Option<Arc<Link>>,
    lines: VecDeque<(u64, LogLine)>,
    next_line: u64,
}

/// How a box is, all at once.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) shown: box_session::Snapshot,
    pub(crate) last_seen_ms: Option<u64>,
    pub(crate) build: String,
    pub(crate) report: Option<Heartbeat>,
}

impl Session {
    /// A box, whose task takes `events`.
    pub(super) fn new(row: &SessionRow, shown: box_session::Snapshot, events: mpsc::Sender<Event>) -> Self {
        Self {
            id: row.id,
            name: row.token.clone(),
            instance: row.instance,
            forgotten: CancellationToken::new(),
            events,
            published: Mutex::new(Published {
                view: View {
                    shown,
                    last_seen_ms: row.last_seen_ms,
                    build: String::new(),
                    report: None,
                },
                link: None,
                lines: VecDeque::new(),
                next_line: 0,
            }),
        }
    }

    fn published(&self) -> MutexGuard<'_, Published> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the box's task, when there is room for it. One that has ended does not care.
    pub(crate) async fn tell(&self, event: Event) {
        _ = self.events.send(event).await;
    }

    /// How it is.
    pub(crate) fn view(&self) -> View {
        self.published().view.clone()
    }

    /// The link, while there is one.
    pub(crate) fn link(&self) -> Option<Arc<Link>> {
        self.published().link.clone()
    }

    /// The box as the records have it.
    pub(crate) fn row(&self) -> SessionRow {
        let View {
            shown, last_seen_ms, ..
        } = self.view();
        SessionRow {
            id: self.id,
            token: self.name.clone(),
            instance: self.instance,
            state: shown.state,
            reason: shown.reason,
            last_seen_ms,
        }
    }

    /// The lines from number `from` on, and the number of the next one.
    pub(crate) fn lines(&self, from: u64) -> (Vec<LogLine>, u64) {
        let published = self.published();
        let lines = published.lines.iter().filter(|(number, _)| *number >= from);
        (lines.map(|(_, line)| line.clone()).collect(), published.next_line)
    }

    /// Makes known how the box is.
    pub(super) fn publish(&self, view: View, link: Option<Arc<Link>>) {
        let mut published = self.published();
        (published.view, published.link) = (view, link);
    }

    /// Keeps lines that the box has logged.
    pub(super) fn log(&self, batch: LogBatch) {
        let mut published = self.published();
        if batch.lost > 0 {
            published.push(LogLine {
                at_ms: batch.lines.first().map_or_else(unix_ms, |line| line.at_ms),
                level: "warn".to_owned(),
                text: format!("({} lines were lost here)", batch.lost),
            });
        }
        for line in batch.lines {
            published.push(line);
        }
    }
}

impl Published {
    fn push(&mut self, line: LogLine) {
        if self.lines.len() >= MOST_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back((self.next_line, line));
        self.next_line += 1;
    }
}

impl View {
    /// Why there is nothing to see, for a person, and when trying again makes sense.
    pub(crate) fn excuse(&self) -> (String, Duration) {
        let because = self.shown.reason.as_deref().unwrap_or("The box is not connected.");
        let because = because.trim_end_matches('.');
        let sentence = format!("{because}. {}", self.shown.state.next());
        let wait = match self.shown.state {
            box_session::State::Starting
            | box_session::State::Ready
            | box_session::State::ProviderOnline
            | box_session::State::Degraded => Duration::from_secs(2),
            box_session::State::Failed | box_session::State::Expired => Duration::from_secs(10),
        };
        (sentence, wait)
    }
}
