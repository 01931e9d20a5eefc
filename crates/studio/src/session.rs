//! One box as the studio knows it: its session's state, what it last said, its latest log lines, its link.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use framebridge_core::studio::{
    box_session::{self, BoxSession},
    job_dispatch::{self, JobDispatch},
};
use framebridge_studio_proto::{BoxId, BoxState, Heartbeat, JobId, LogBatch, LogLine, PublicId, limits};

use crate::{
    link::Link,
    store::{SessionRow, Store, StoreError, now_ms},
};

/// Log lines kept of one box: all that it can bring after an outage, with the gap before them, and as many again. Some
/// 800 KB.
const MOST_LINES: usize = 2 * limits::LOG_BUFFER;

/// Bytes of a log line's level: the longest is `error`.
const MOST_LEVEL: usize = 8;

/// When a box was seen last is written so often, so that it is known after the studio's death.
const SAVE: Duration = Duration::from_secs(60);

/// One box.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: PublicId,
    /// The name of the token it came with, which is what operators call it.
    pub(crate) name: String,
    pub(crate) instance: BoxId,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    machine: BoxSession,
    last_seen_ms: Option<u64>,
    build: String,
    report: Option<Heartbeat>,
    link: Option<Arc<Link>>,
    dispatch: JobDispatch<JobId>,
    /// When what the records say of it was written last.
    saved: Instant,
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
    /// A box as the records have it, without a link.
    pub(crate) fn restore(row: SessionRow, config: box_session::Config) -> Self {
        let machine = BoxSession::restore(config, row.state, row.reason, Instant::now());
        Self {
            id: row.id,
            name: row.token,
            instance: row.instance,
            inner: Mutex::new(Inner {
                machine,
                last_seen_ms: row.last_seen_ms,
                build: String::new(),
                report: None,
                link: None,
                dispatch: JobDispatch::new(job_dispatch::Config::default()),
                saved: Instant::now(),
                lines: VecDeque::new(),
                next_line: 0,
            }),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it is.
    pub(crate) fn view(&self) -> View {
        let inner = self.inner();
        View {
            shown: inner.machine.snapshot(),
            last_seen_ms: inner.last_seen_ms,
            build: inner.build.clone(),
            report: inner.report.clone(),
        }
    }

    /// The link, while there is one.
    pub(crate) fn link(&self) -> Option<Arc<Link>> {
        self.inner().link.clone()
    }

    /// The box came: `link` takes the place of the one before, if any, which is given back.
    pub(crate) fn welcome(&self, link: Arc<Link>) -> Option<Arc<Link>> {
        let mut inner = self.inner();
        inner.report = None;
        inner.dispatch.on_link();
        inner.link.replace(link)
    }

    /// Says which build it runs.
    pub(crate) fn set_build(&self, build: &str) {
        self.inner().build = build.chars().take(64).collect();
    }

    /// Takes in what `link` says happened, and keeps the state if it changed; false if another link has taken its place.
    pub(crate) async fn tell(
        &self,
        store: &Store,
        link: &Arc<Link>,
        input: box_session::Input,
    ) -> Result<bool, StoreError> {
        let (changed, due) = {
            let mut inner = self.inner();
            if !inner.link.as_ref().is_some_and(|current| Arc::ptr_eq(current, link)) {
                return Ok(false);
            }
            inner.last_seen_ms = Some(now_ms());
            if matches!(input, box_session::Input::Lost { .. } | box_session::Input::Left { .. }) {
                (inner.link, inner.report) = (None, None);
                inner.dispatch.on_link();
            }
            let now = Instant::now();
            let due = now.duration_since(inner.saved) >= SAVE;
            if due {
                inner.saved = now;
            }
            (inner.machine.handle(input, now), due)
        };
        if changed {
            self.announce();
        }
        if changed || due {
            self.save(store).await?;
        }
        Ok(true)
    }

    /// The box as the records have it.
    pub(crate) fn row(&self) -> SessionRow {
        let inner = self.inner();
        let shown = inner.machine.snapshot();
        SessionRow {
            id: self.id,
            token: self.name.clone(),
            instance: self.instance,
            state: shown.state,
            reason: shown.reason,
            last_seen_ms: inner.last_seen_ms,
        }
    }

    /// Lets time pass.
    pub(crate) async fn tick(&self, store: &Store) -> Result<(), StoreError> {
        let changed = self.inner().machine.handle(box_session::Input::Timeout, Instant::now());
        if changed {
            self.announce();
            self.save(store).await?;
        }
        Ok(())
    }

    fn announce(&self) {
        let shown = self.view().shown;
        let state = shown.state.as_str();
        tracing::info!(name = self.name, state, reason = shown.reason, "session");
    }

    async fn save(&self, store: &Store) -> Result<(), StoreError> {
        let View {
            shown, last_seen_ms, ..
        } = self.view();
        store.save_state(self.id, shown.state, shown.reason, last_seen_ms).await
    }

    /// Keeps what a heartbeat says, and gives back what the session's state makes of it.
    pub(crate) fn report(&self, mut heartbeat: Heartbeat) -> box_session::Input {
        heartbeat.streams.truncate(limits::MAX_STREAMS);
        let why = heartbeat.reason.clone();
        let report = match heartbeat.state {
            BoxState::Starting => box_session::Report::Starting,
            BoxState::Ready => box_session::Report::Ready,
            BoxState::Online => {
                box_session::Report::Online(why.unwrap_or_else(|| "no stream can be watched".to_owned()))
            }
            BoxState::Degraded => {
                box_session::Report::Degraded(why.unwrap_or_else(|| "the box can't serve".to_owned()))
            }
        };
        self.inner().report = Some(heartbeat);
        box_session::Input::Reported(report)
    }

    /// It is this job's turn, on the link there is, if any: what is to become of it.
    pub(crate) fn decide(&self, job: &JobId) -> Option<(Arc<Link>, job_dispatch::Decision)> {
        let mut inner = self.inner();
        let link = inner.link.clone()?;
        Some((link, inner.dispatch.decide(job)))
    }

    /// Lets the machine decide what becomes of the box's jobs.
    pub(crate) fn dispatch<T>(&self, decide: impl FnOnce(&mut JobDispatch<JobId>) -> T) -> T {
        decide(&mut self.inner().dispatch)
    }

    /// Keeps lines that the box has logged.
    pub(crate) fn log(&self, batch: LogBatch) {
        let mut inner = self.inner();
        if batch.lost > 0 {
            inner.push(LogLine {
                at_ms: batch.lines.first().map_or_else(now_ms, |line| line.at_ms),
                level: "warn".to_owned(),
                text: format!("({} lines were lost here)", batch.lost),
            });
        }
        for line in batch.lines.into_iter().take(limits::MAX_LOG_BATCH) {
            inner.push(line);
        }
    }

    /// The lines from number `from` on, and the number of the next one.
    pub(crate) fn lines(&self, from: u64) -> (Vec<LogLine>, u64) {
        let inner = self.inner();
        let lines = inner.lines.iter().filter(|(number, _)| *number >= from);
        (lines.map(|(_, line)| line.clone()).collect(), inner.next_line)
    }
}

impl Inner {
    fn push(&mut self, mut line: LogLine) {
        // The box cuts them, if it is one of ours.
        line.text.truncate(line.text.floor_char_boundary(limits::MAX_LOG_LINE));
        line.level.truncate(line.level.floor_char_boundary(MOST_LEVEL));
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
