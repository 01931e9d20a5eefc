//! A box's task: one loop that waits for an event, lets the session's machine decide, and does what follows.

mod jobs;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use framebridge_core::studio::{
    box_session::{self, BoxSession},
    job_dispatch::{self, JobDispatch},
};
use framebridge_daemon::unix_ms;
use framebridge_studio_proto::{
    Access, BoxState, Farewell, Heartbeat, JobId, PublicId, Refusal, RefusalKind, ToBox, ToStudio,
};
use tokio::{sync::mpsc, time::sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    event::Event,
    link::Link,
    session::{Session, View},
};
use crate::{
    nodes::{Here, NodeId, Nodes},
    random,
    store::{MOST_SHARES, Record, ShareHash, ShareRow, Store, StoreError},
    visits::Visits,
};
use jobs::Strange;

/// How often the time at which a box was last seen is written, so that it is known after the studio's death.
const SAVE_MS: u64 = 60_000;

/// The shortest time between two writes, log lines and messages to other nodes about one box: a person reads no faster.
const PACE: Duration = Duration::from_secs(1);

/// The longest life of a share.
const LONGEST_SHARE_S: u64 = 10 * 365 * 24 * 3600;

/// What boxes' tasks act through.
#[derive(Debug)]
pub(crate) struct Works {
    pub(crate) store: Store,
    pub(crate) nodes: Nodes,
    pub(crate) visits: Arc<Visits>,
    pub(crate) uploads: PathBuf,
    /// Without a slash at its end.
    pub(crate) public_url: String,
}

impl Works {
    /// The address that viewers use.
    pub(crate) fn address(&self, id: PublicId) -> String {
        format!("{}/s/{id}", self.public_url)
    }
}

/// A box's task.
pub(super) struct BoxTask {
    session: Arc<Session>,
    works: Arc<Works>,
    machine: BoxSession,
    dispatch: JobDispatch<JobId>,
    link: Option<Arc<Link>>,
    view: View,
    /// When what is known of it was made known last: in the records, in the log, to the other nodes.
    told_at: Option<Instant>,
    untold: Untold,
    /// What came of a job of which this node has not heard.
    strange: Option<Strange>,
}

/// What is to be made known.
#[derive(Debug, Clone, Copy, Default)]
struct Untold {
    /// How the box is: to everybody.
    change: bool,
    /// When it was heard of last: to the records.
    seen: bool,
    /// What it said of itself: to the other nodes, which believe what is said again and again.
    report: bool,
}

impl BoxTask {
    pub(super) fn new(session: Arc<Session>, machine: BoxSession, works: Arc<Works>, now: Instant) -> Self {
        Self {
            view: session.view(),
            session,
            works,
            machine,
            dispatch: JobDispatch::new(job_dispatch::Config::default()),
            link: None,
            told_at: Some(now),
            untold: Untold::default(),
            strange: None,
        }
    }

    /// Lives until the box is forgotten, or the studio stops and the box has left.
    pub(super) async fn live(mut self, mut events: mpsc::Receiver<Event>, stop: CancellationToken) {
        loop {
            let due = self.due();
            // Every arm is cancel-safe.
            let event = tokio::select! {
                event = events.recv() => event,
                () = self.session.forgotten.cancelled() => return self.part_for_good(),
                () = stop.cancelled(), if !self.is_here() => break,
                () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {
                    self.on_time().await;
                    continue;
                }
            };
            let Some(event) = event else { return };
            self.take(event).await;
        }
        // What was said before the end still counts.
        while let Ok(event) = events.try_recv() {
            self.take(event).await;
        }
    }

    async fn take(&mut self, event: Event) {
        if let Err(error) = self.on_event(event).await {
            tracing::error!("{:#}", anyhow::Error::from(error));
            // Without its records a studio can't do what it promises the box.
            if let Some(link) = self.link.clone() {
                link.fail();
            }
        }
    }

    fn due(&self) -> Option<Instant> {
        // Without the other nodes it can't be said for how long a box has been away.
        let unsure = self.link.is_none() && self.works.nodes.are_cut_off();
        let machine = self
            .machine
            .poll_timeout()
            .map(|(due, _)| if unsure { due.max(Instant::now() + PACE) } else { due });
        let Untold { change, seen, report } = self.untold;
        let untold = change || seen || report;
        let news = self.told_at.filter(|_| untold).map(|told_at| told_at + PACE);
        let strange = self.strange.as_ref().map(|strange| strange.due);
        [machine, news, strange].into_iter().flatten().min()
    }

    async fn on_time(&mut self) {
        let unsure = self.link.is_none() && self.works.nodes.are_cut_off();
        if !unsure {
            let changed = self.machine.handle(box_session::Input::Timeout, Instant::now());
            self.publish(changed, false);
        }
        let done = match self.make_known(false).await {
            Ok(()) => self.on_strange().await,
            failed => failed,
        };
        if let Err(error) = done {
            tracing::error!("{:#}", anyhow::Error::from(error));
        }
    }

    async fn on_event(&mut self, event: Event) -> Result<(), StoreError> {
        match event {
            Event::Linked { link, build } => self.on_linked(link, build).await,
            Event::Said(link, frame) if self.is_present(&link) => self.on_frame(&link, frame).await,
            Event::Told { node, build, report } if self.is_at(node) => {
                self.view.build = build;
                match report {
                    Some(report) => self.on_report(report).await,
                    None => Ok(()),
                }
            }
            Event::Parted(link, input) if self.is_present(&link) => self.on_parted(input).await,
            Event::Left { node, input } if self.is_at(node) => self.on_parted(input).await,
            Event::Said(..) | Event::Told { .. } | Event::Parted(..) | Event::Left { .. } => Ok(()),
            Event::Logged(batch) => {
                self.session.log(batch);
                Ok(())
            }
            Event::Revoked => {
                if let Some(link) = &self.link {
                    link.send(ToBox::Error(unknown_token()));
                }
                Ok(())
            }
            Event::JobWaits => self.offer_next().await,
        }
    }

    /// Whether the box is connected to this node.
    fn is_here(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.node().is_none())
    }

    /// Whether the box is connected to that node.
    fn is_at(&self, node: NodeId) -> bool {
        self.link.as_ref().is_some_and(|link| link.node() == Some(node))
    }

    fn is_present(&self, link: &Arc<Link>) -> bool {
        self.link.as_ref().is_some_and(|present| Arc::ptr_eq(present, link))
    }

    async fn on_linked(&mut self, link: Arc<Link>, build: Option<String>) -> Result<(), StoreError> {
        if let Some(build) = build {
            let Session { name, instance, .. } = &*self.session;
            tracing::info!(name, %instance, build, "a box is here");
            self.view.build = build;
        }
        if let Some(before) = self.link.replace(link) {
            // Who waits for answers hears so, and a box that is connected here, too.
            before.calls.end();
            before.send(ToBox::Error(Refusal {
                code: RefusalKind::Replaced,
                message: "another bridge has connected as this box: only one of them may run".to_owned(),
            }));
        }
        self.view.report = None;
        self.dispatch.on_link();
        self.machine.handle(box_session::Input::Welcomed, Instant::now());
        self.publish(true, true);
        self.tell_nodes(box_session::Input::Welcomed);
        self.make_known(true).await
    }

    async fn on_parted(&mut self, input: box_session::Input) -> Result<(), StoreError> {
        if let Some(link) = self.link.take() {
            link.calls.end();
            let is_here = link.node().is_none();
            self.view.report = None;
            self.dispatch.on_link();
            let changed = self.machine.handle(input.clone(), Instant::now());
            self.note(changed, true);
            if is_here {
                self.tell_nodes(input);
            }
            // Its last word is kept before anybody is told: a studio that dies now says the same when it is back.
            let kept = self.make_known(true).await;
            self.show();
            return kept;
        }
        Ok(())
    }

    async fn on_frame(&mut self, link: &Arc<Link>, frame: ToStudio) -> Result<(), StoreError> {
        match frame {
            ToStudio::Heartbeat(heartbeat) => {
                self.on_report(heartbeat).await?;
                link.send(ToBox::HeartbeatAck);
            }
            ToStudio::LogBatch(batch) => {
                self.works.nodes.on_lines(self.session.id, &batch);
                self.session.log(batch);
            }
            ToStudio::Share {
                request,
                stream,
                control,
                expires_s,
            } => {
                let share = None;
                let access = Access { stream, control, share };
                let answer = self.share(request, access, expires_s).await?;
                link.send(answer);
            }
            ToStudio::Unshare { request, share } => {
                let ended = self.works.store.end_shares(self.session.id, share).await?;
                self.works.visits.end(self.session.id, share);
                self.works.nodes.on_unshared(self.session.id, share);
                link.send(ToBox::Unshared { request, ended });
            }
            ToStudio::Goodbye { ending, reason } => {
                let broken = ending == Farewell::Failed;
                self.on_parted(box_session::Input::Left { broken, why: reason }).await?;
            }
            ToStudio::Accept { job } => self.on_accepted(job).await?,
            ToStudio::Reject { job, why } => self.on_rejected(job, why).await?,
            ToStudio::Complete { job, result } => self.on_completed(link, job, result).await?,
            ToStudio::Fail { job, error, retryable } => self.on_failed(link, job, error, retryable).await?,
            ToStudio::ReadyForMore => self.on_free().await?,
            ToStudio::Hello(_) | ToStudio::RpcResponse(_) | ToStudio::RpcChunk(_) | ToStudio::Unknown => {
                tracing::debug!(name = self.session.name, "ignored a frame that says nothing of the box");
            }
        }
        Ok(())
    }

    /// Keeps what a heartbeat says.
    async fn on_report(&mut self, heartbeat: Heartbeat) -> Result<(), StoreError> {
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
        self.view.report = Some(heartbeat);
        let changed = self
            .machine
            .handle(box_session::Input::Reported(report), Instant::now());
        self.publish(changed, true);
        self.untold.report = true;
        self.make_known(false).await
    }

    /// Takes in how the box is now, and shows it. `heard`: it has just been heard of.
    fn publish(&mut self, changed: bool, heard: bool) {
        self.note(changed, heard);
        self.show();
    }

    fn note(&mut self, changed: bool, heard: bool) {
        if heard {
            let now = unix_ms();
            let before = self.view.last_seen_ms.replace(now);
            self.untold.seen |= before.is_none_or(|before| before / SAVE_MS != now / SAVE_MS);
        }
        if changed {
            self.view.shown = self.machine.snapshot();
            self.untold.change = true;
        }
    }

    fn show(&self) {
        self.session.publish(self.view.clone(), self.link.clone());
    }

    /// Writes, logs and tells what has changed, if it is time. `at_once`: it is.
    async fn make_known(&mut self, at_once: bool) -> Result<(), StoreError> {
        let now = Instant::now();
        if !at_once && self.told_at.is_some_and(|told_at| now < told_at + PACE) {
            return Ok(());
        }
        let Untold { change, seen, report } = std::mem::take(&mut self.untold);
        if !change && !seen && !report {
            return Ok(());
        }
        self.told_at = Some(now);
        if self.is_here() {
            self.works.nodes.on_report(self.here());
        }
        let View {
            shown, last_seen_ms, ..
        } = self.view.clone();
        if change {
            let (name, state) = (&self.session.name, shown.state.as_str());
            tracing::info!(name, state, reason = shown.reason, "session");
        }
        if !change && !seen {
            return Ok(());
        }
        let (id, store) = (self.session.id, &self.works.store);
        store.save_state(id, shown.state, shown.reason, last_seen_ms).await
    }

    fn here(&self) -> Here {
        Here {
            row: self.session.row(),
            build: self.view.build.clone(),
            report: self.view.report.clone(),
        }
    }

    /// Tells the other nodes that the box has come here, or has left.
    fn tell_nodes(&self, input: box_session::Input) {
        if self.link.as_ref().is_none_or(|link| link.node().is_none()) {
            self.works.nodes.on_box(self.here(), input);
        }
    }

    async fn share(&mut self, request: u32, access: Access, expires_s: Option<u64>) -> Result<ToBox, StoreError> {
        let id = PublicId::from_bits(random::bits());
        let row = ShareRow {
            hash: ShareHash::of(id),
            session: self.session.id,
            access,
            expires_ms: expires_s.map(|seconds| unix_ms() + seconds.min(LONGEST_SHARE_S) * 1000),
        };
        if !self.works.store.add_share(row.clone()).await? {
            let why =
                format!("{MOST_SHARES} addresses of this box are shared already: end them with `bridgectl unshare`");
            return Ok(ToBox::ShareRefused { request, why });
        }
        self.works.nodes.on_record(Record::Share(row));
        Ok(ToBox::Shared {
            request,
            share: id,
            url: self.works.address(id),
        })
    }

    /// The box has been forgotten: whoever waits for it hears so.
    fn part_for_good(&self) {
        if let Some(link) = &self.link {
            link.calls.end();
        }
    }
}

/// What a box is told whose token is no good.
pub(crate) fn unknown_token() -> Refusal {
    let message = "the studio does not know this token, or it was revoked: make one with `studio token new`";
    Refusal {
        code: RefusalKind::AuthFailed,
        message: message.to_owned(),
    }
}
