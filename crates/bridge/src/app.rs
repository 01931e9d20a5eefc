//! The process: one loop that waits for one thing, lets the machines of `framebridge-core` decide, and does what they
//! say.

mod jobs;
mod outputs;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::ensure;
use framebridge_config::{Settings, Studio as StudioSettings};
use framebridge_core::{
    backoff,
    studio::{
        bridge_link::{self, BridgeLink},
        job_slot::{self, JobSlot},
        local_health::{self, LocalHealth},
    },
};
use framebridge_daemon::{Context, LogTap, Tasks, heartbeats, notify};
use framebridge_ipc::{Identity, RuntimeDir};
use framebridge_proto::{
    Refusal, RefusalKind, Role,
    bridge::{BridgeAnswer, BridgeJob, BridgeRequest},
    status::{BridgeState, Status},
    supervisor::{BridgeProgress, Progress},
};
use framebridge_studio_proto::{
    BoxId, Farewell, JobId, JobKind, RefusalKind as StudioRefusal, ToBox, ToStudio, Welcome, limits,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep_until,
};
use tokio_util::sync::CancellationToken;

use crate::{
    control::{self, Order},
    dial::Studio,
    identity,
    jobs::{Made, Worker},
    local::{self, LocalEvent},
    logs::Outbox,
    proxy::{Proxy, Requests},
    report::{self, News},
    websocket::{Wire, WireEvent},
};

/// Tasks here hold nothing that takes long to give back.
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// Events that may wait for the loop; past it whoever has one waits.
const QUEUE: usize = 256;

/// Orders that wait for the studio's answer at once.
const MOST_SHARES: usize = 16;

/// What can happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// On the connection of this number.
    Wire(u64, WireEvent),
    /// On this machine.
    Local(LocalEvent),
    /// A job has ended.
    Job(JobId, Result<Made, job_slot::Failure>),
    /// The file of a job was brought over the connection of this number, or can't be, and why.
    Brought(u64, JobId, Result<(), String>),
    /// An operator wants something.
    Order(Order),
}

/// What is logged, for the studio too.
pub fn log_tap() -> LogTap {
    LogTap::new(limits::LOG_BUFFER)
}

/// What the supervisor is told with each heartbeat.
#[derive(Debug, Clone)]
pub(crate) struct Shown(Arc<Mutex<BridgeProgress>>);

/// What an operator is told who wants something of a studio that is not there.
const NO_SESSION: &str = "there is no session with the studio now: see `bridgectl status`";

impl Shown {
    fn new(state: BridgeState) -> Self {
        notify::status(&format!("session {state}"));
        Self(Arc::new(Mutex::new(BridgeProgress { state, reason: None })))
    }

    fn set(&self, state: BridgeState, reason: Option<String>) {
        notify::status(&match &reason {
            Some(reason) => format!("session {state}: {reason}"),
            None => format!("session {state}"),
        });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = BridgeProgress { state, reason };
    }

    fn progress(&self) -> Progress {
        Progress::Bridge(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// Runs until SIGTERM or SIGINT, until the studio sends it away, or until there is no box left to speak for.
///
/// # Errors
/// Anything but the signals.
pub async fn run(context: Context, tap: LogTap, parent_pid: Option<u32>) -> anyhow::Result<()> {
    run_with(context, tap, parent_pid, |desk, kind| {
        Box::pin(crate::jobs::run(desk, kind))
    })
    .await
}

async fn run_with(context: Context, tap: LogTap, parent_pid: Option<u32>, worker: Worker) -> anyhow::Result<()> {
    let Context {
        settings,
        dir,
        stop,
        tasks,
        ..
    } = context;
    let identity = Identity::new(Role::Bridge);
    let (sender, events) = mpsc::channel(QUEUE);
    let shown = Shown::new(if settings.studio.is_some() {
        BridgeState::Connecting
    } else {
        BridgeState::Disabled
    });
    let told = shown.clone();
    tasks.spawn(heartbeats(dir.clone(), identity.clone(), move || told.progress()));
    control::listen(&dir, &identity, &tasks, sender.clone()).await?;
    if let Some(pid) = parent_pid {
        tasks.spawn(local::watch_parent(pid, sender.clone()));
    }
    let outcome = match &settings.studio {
        None => disabled(events, stop).await,
        Some(studio) => {
            let mut app = App::new(
                &settings,
                studio,
                dir,
                identity,
                tap,
                shown,
                tasks.clone(),
                sender,
                worker,
            )?;
            app.live(events, stop).await
        }
    };
    let ended = tasks.end(STOP_LIMIT).await;
    outcome?;
    ensure!(ended, "a task did not end within {} s", STOP_LIMIT.as_secs());
    Ok(())
}

/// Without a studio there is nothing to do but to say so.
async fn disabled(mut events: mpsc::Receiver<Event>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut pulse = notify::Pulse::new();
    notify::ready();
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            event = events.recv() => event,
            () = pulse.beat() => continue,
        };
        match event {
            None | Some(Event::Local(LocalEvent::ParentGone)) => return Ok(()),
            Some(Event::Order(order)) => {
                let why = "no studio is configured: set studio.url and studio.token";
                // Whoever asked may have gone.
                _ = order.answer.send(Err(Refusal::new(RefusalKind::Unavailable, why)));
            }
            Some(Event::Wire(..) | Event::Local(_) | Event::Job(..) | Event::Brought(..)) => {}
        }
    }
}

/// The shell around the machines.
struct App {
    // What decides.
    link: BridgeLink,
    health: LocalHealth,
    slot: JobSlot<JobId, Made>,
    // What it knows.
    settings: StudioSettings,
    studios: Vec<Studio>,
    streams: Vec<framebridge_proto::StreamName>,
    dir: RuntimeDir,
    identity: Identity,
    instance: BoxId,
    status: Option<Status>,
    news: News,
    welcome: Option<Welcome>,
    /// What the studio is told at the end.
    farewell: (Farewell, String),
    offers: Vec<(JobId, JobKind)>,
    /// What of a job there was no room for on the link.
    owed: VecDeque<ToStudio>,
    /// As it was read, for a diagnosis.
    configuration: Arc<Settings>,
    worker: Worker,
    job: Option<CancellationToken>,
    /// The job whose file is being brought over the present link.
    bringing: Option<JobId>,
    shares: Vec<(u32, oneshot::Sender<Result<BridgeAnswer, Refusal>>)>,
    next_share: u32,
    // What it acts through.
    proxy: Proxy,
    requests: Requests,
    wire: Option<Wire>,
    /// Connections begun so far.
    wires: u64,
    /// Whose turn it is among the studio's nodes.
    node_index: usize,
    refusal: Option<StudioRefusal>,
    logs: Outbox,
    shown: Shown,
    tasks: Tasks,
    events: mpsc::Sender<Event>,
}

impl App {
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a part of the process, made once and in one place"
    )]
    fn new(
        settings: &Settings,
        studio: &StudioSettings,
        dir: RuntimeDir,
        identity: Identity,
        tap: LogTap,
        shown: Shown,
        tasks: Tasks,
        events: mpsc::Sender<Event>,
        worker: Worker,
    ) -> anyhow::Result<Self> {
        let now = Instant::now();
        let defaults = bridge_link::Config::default();
        let link = bridge_link::Config {
            backoff: backoff::Config {
                base: studio.backoff,
                cap: studio.backoff_cap,
                ..defaults.backoff
            },
            read_idle: studio.read_idle,
            attempts: studio.reconnect_attempts,
            ..defaults
        };
        let health = local_health::Config {
            patience: studio.outage_patience,
            ..local_health::Config::default()
        };
        let seed = u64::from_be_bytes(identity.instance.0[..8].try_into()?);
        let proxy = Proxy::new(dir.clone());
        if settings.http.listen.port() != 0 {
            proxy.set_target(settings.http.listen);
        }
        tasks.spawn(local::watch_server(proxy.clone(), events.clone()));
        tasks.spawn(local::watch_supervisor(dir.clone(), identity.clone(), events.clone()));
        let studios = studio.urls.iter().map(|url| Studio::parse(url));
        Ok(Self {
            link: BridgeLink::new(link, now, seed),
            health: LocalHealth::new(health, now),
            slot: JobSlot::new(job_slot::Config::default(), now),
            settings: studio.clone(),
            studios: studios.collect::<Result<_, _>>()?,
            streams: settings.streams.iter().map(|stream| stream.name.clone()).collect(),
            instance: identity::box_id(&dir),
            dir,
            identity,
            status: None,
            news: News::default(),
            welcome: None,
            farewell: (Farewell::Expired, "The box was stopped.".to_owned()),
            offers: Vec::new(),
            owed: VecDeque::new(),
            configuration: Arc::new(settings.clone()),
            worker,
            job: None,
            bringing: None,
            shares: Vec::new(),
            next_share: 0,
            proxy,
            requests: Requests::default(),
            wire: None,
            wires: 0,
            node_index: 0,
            refusal: None,
            logs: Outbox::new(tap),
            shown,
            tasks,
            events,
        })
    }

    /// The one loop.
    async fn live(&mut self, mut events: mpsc::Receiver<Event>, stop: CancellationToken) -> anyhow::Result<()> {
        let mut pulse = notify::Pulse::new();
        notify::ready();
        loop {
            if let Some(end) = self.apply().await {
                return self.conclude(end).await;
            }
            let due = [
                self.link.poll_timeout().map(|(at, _)| at),
                self.health.poll_timeout().map(|(at, _)| at),
                self.slot.poll_timeout().map(|(at, _)| at),
            ];
            let due = due.into_iter().flatten().min();
            // Every arm is cancel-safe.
            let event = tokio::select! {
                () = stop.cancelled() => None,
                event = events.recv() => event,
                () = pulse.beat() => continue,
                () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {
                    let now = Instant::now();
                    self.link.handle(bridge_link::Input::Timeout, now);
                    self.health.handle(local_health::Input::Timeout, now);
                    self.slot.handle(job_slot::Input::Timeout, now);
                    continue;
                }
            };
            let now = Instant::now();
            match event {
                None => self.link.handle(bridge_link::Input::Stop, now),
                Some(Event::Wire(number, event)) => self.on_wire(number, event, now),
                Some(Event::Local(event)) => self.on_local(event, now),
                Some(Event::Job(id, outcome)) => self.slot.handle(job_slot::Input::Ended { id, outcome }, now),
                Some(Event::Brought(number, id, outcome)) => self.on_brought(number, id, outcome, now),
                Some(Event::Order(order)) => self.on_order(order, now),
            }
        }
    }

    fn on_wire(&mut self, number: u64, event: WireEvent, now: Instant) {
        if self.wire.as_ref().is_none_or(|wire| wire.number != number) {
            return;
        }
        match event {
            WireEvent::Connected => self.link.handle(bridge_link::Input::Connected, now),
            WireEvent::Lost(why) => self.link.handle(bridge_link::Input::Lost { why }, now),
            WireEvent::Frame(frame) => {
                self.link.handle(bridge_link::Input::Received, now);
                self.on_frame(frame, now);
            }
        }
    }

    fn on_frame(&mut self, frame: ToBox, now: Instant) {
        let Some(wire) = &self.wire else { return };
        match frame {
            ToBox::Welcome(welcome) => {
                let heartbeat = Duration::from_millis(welcome.heartbeat_ms);
                tracing::info!(studio = self.studio().authority(), "viewers are welcome at the studio");
                self.proxy.set_seen_as(welcome.seen_as);
                self.welcome = Some(welcome);
                self.link.handle(bridge_link::Input::Welcomed { heartbeat }, now);
                self.slot.handle(job_slot::Input::Linked, now);
            }
            ToBox::Error(refusal) => {
                self.refusal = Some(refusal.code);
                let why = refusal.message;
                self.link.handle(bridge_link::Input::Refused { why }, now);
            }
            // Before its welcome a studio has nothing else to say.
            _ if self.welcome.is_none() => tracing::debug!("ignored a frame before the welcome"),
            ToBox::RpcRequest(request) => self.requests.on_request(&self.proxy, wire, request),
            ToBox::RpcChunk(chunk) => self.requests.on_chunk(&self.proxy, wire, chunk),
            ToBox::RpcCancel { id } => self.requests.on_cancel(id),
            ToBox::Offer { job, kind, deadline_ms } => self.on_offer(job, kind, deadline_ms, now),
            ToBox::CompleteAck { job } | ToBox::FailAck { job } => {
                self.slot.handle(job_slot::Input::Acknowledged { id: job }, now);
            }
            ToBox::Shared { request, url, .. } => self.answer_share(request, Ok(BridgeAnswer::Shared { url })),
            ToBox::ShareRefused { request, why } => {
                self.answer_share(request, Err(Refusal::new(RefusalKind::Unavailable, why)));
            }
            ToBox::Unshared { request, ended } => self.answer_share(request, Ok(BridgeAnswer::Unshared { ended })),
            ToBox::HeartbeatAck => self.logs.on_answer(),
            ToBox::Unknown => tracing::debug!("ignored a frame of an unknown type"),
        }
    }

    fn on_local(&mut self, event: LocalEvent, now: Instant) {
        match event {
            LocalEvent::Probed(answered) => self.health.handle(local_health::Input::Probed(answered), now),
            LocalEvent::Status(status) => {
                if let Some(server) = report::server(&status) {
                    self.proxy.set_target(server);
                }
                self.news.log(&status);
                self.health.handle(local_health::Input::SupervisorSeen, now);
                self.health
                    .handle(local_health::Input::Streams(report::watchable(&status)), now);
                self.status = Some(*status);
            }
            LocalEvent::SupervisorSilent => {
                let why = "the supervisor does not answer, so nothing is known of the streams".to_owned();
                self.health.handle(local_health::Input::Streams(Err(why)), now);
            }
            LocalEvent::SupervisorGone => {
                tracing::warn!("the supervisor is gone");
                self.health.handle(local_health::Input::SupervisorGone, now);
            }
            LocalEvent::RestartAnswered(answered) => {
                match &answered {
                    Ok(()) => tracing::info!("signaling is being restarted"),
                    Err(why) => tracing::warn!(why, "signaling could not be restarted"),
                }
                self.health.handle(local_health::Input::RestartAnswered(answered), now);
            }
            LocalEvent::ParentGone => {
                self.farewell = (Farewell::Expired, "Whoever started the bridge has ended.".to_owned());
                self.link.handle(bridge_link::Input::Stop, now);
            }
        }
    }

    fn on_order(&mut self, Order { request, answer }: Order, now: Instant) {
        let done = match request {
            BridgeRequest::Pause => {
                self.slot.handle(job_slot::Input::Pause, now);
                Ok(BridgeAnswer::Done)
            }
            BridgeRequest::Resume => {
                self.slot.handle(job_slot::Input::Resume, now);
                Ok(BridgeAnswer::Done)
            }
            BridgeRequest::Reconnect => {
                self.link.handle(bridge_link::Input::Reconnect, now);
                Ok(BridgeAnswer::Done)
            }
            BridgeRequest::Jobs => Ok(self.list_jobs()),
            BridgeRequest::Share {
                stream,
                control,
                expires_s,
            } => {
                let unknown = stream.as_ref().filter(|stream| !self.streams.contains(stream));
                if let Some(unknown) = unknown {
                    Err(Refusal::new(
                        RefusalKind::NotFound,
                        format!("no stream is called `{unknown}`"),
                    ))
                } else {
                    let frame = |request| ToStudio::Share {
                        request,
                        stream,
                        control,
                        expires_s,
                    };
                    return self.ask_studio(frame, answer);
                }
            }
            BridgeRequest::Address => match &self.welcome {
                Some(welcome) => Ok(BridgeAnswer::Shared {
                    url: welcome.url.clone(),
                }),
                None => Err(Refusal::new(RefusalKind::Unavailable, NO_SESSION)),
            },
            BridgeRequest::Unshare => {
                return self.ask_studio(|request| ToStudio::Unshare { request, share: None }, answer);
            }
        };
        // Whoever asked may have gone.
        _ = answer.send(done);
    }

    /// Asks the studio for something about shares; its answer is the operator's.
    fn ask_studio(
        &mut self,
        frame: impl FnOnce(u32) -> ToStudio,
        answer: oneshot::Sender<Result<BridgeAnswer, Refusal>>,
    ) {
        self.next_share = self.next_share.wrapping_add(1);
        let sent = self.welcome.is_some() && self.send(frame(self.next_share));
        if sent {
            self.shares.retain(|(_, waiting)| !waiting.is_closed());
            self.shares.truncate(MOST_SHARES - 1);
            self.shares.push((self.next_share, answer));
        } else {
            // Whoever asked may have gone.
            _ = answer.send(Err(Refusal::new(RefusalKind::Unavailable, NO_SESSION)));
        }
    }

    fn answer_share(&mut self, request: u32, with: Result<BridgeAnswer, Refusal>) {
        if let Some(at) = self.shares.iter().position(|(asked, _)| *asked == request) {
            // Whoever asked may have gone.
            _ = self.shares.swap_remove(at).1.send(with);
        }
    }

    /// Sends a frame, if there is a connection with room for it.
    fn send(&self, frame: ToStudio) -> bool {
        self.wire
            .as_ref()
            .is_some_and(|wire| wire.frames.try_send(frame).is_ok())
    }
}
