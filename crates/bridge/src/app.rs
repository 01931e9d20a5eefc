//! The process: one loop that waits for one thing, lets the machines of `framebridge-core` decide, and does what they
//! say.

mod jobs;
mod orders;
mod outputs;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::ensure;
use framebridge_config::{Settings, Studio as StudioSettings};
use framebridge_core::studio::{
    bridge_link, job_slot,
    local_health::{self, LocalHealth},
    shared_viewers,
};
use framebridge_daemon::{Context, LogTap, Tasks, heartbeats_with_news, notify};
use framebridge_ipc::{Identity, RuntimeDir};
use framebridge_proto::{
    Refusal, RefusalKind, Role, StreamName,
    bridge::BridgeAnswer,
    hooks::Happening,
    status::{BridgeState, Status},
    supervisor::{BridgeProgress, Progress},
};
use framebridge_studio_proto::{BoxId, Farewell, RefusalKind as StudioRefusal, RpcRequest, ToBox, Welcome, limits};
use tokio::{sync::mpsc, time::sleep_until};
use tokio_util::sync::CancellationToken;

use crate::{
    control,
    event::{ConnectionEvent, Event, LocalEvent},
    identity,
    jobs::Worker,
    local,
    paths::Grant,
    proxy::Proxy,
    report::{self, News},
    requests::{Asked, Lane, Requests},
    shares::Shares,
    uplink::Uplink,
};
use jobs::Jobs;
use orders::Orders;

/// Tasks here hold nothing that takes long to give back.
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// Events that may wait for the loop; past it whoever has one waits.
const QUEUE: usize = 256;

/// What is logged, for the studio too.
pub fn log_tap() -> LogTap {
    LogTap::new(limits::LOG_BUFFER)
}

/// What the supervisor is told with each heartbeat.
#[derive(Debug, Clone)]
pub(crate) struct Shown(Arc<Mutex<BridgeProgress>>);

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
    run_with(context, tap, parent_pid, |context, kind| {
        Box::pin(crate::jobs::run(context, kind))
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
    let news = Arc::<framebridge_daemon::News>::default();
    tasks.spawn_vital(heartbeats_with_news(
        dir.clone(),
        identity.clone(),
        Arc::clone(&news),
        move || told.progress(),
    ));
    control::listen(&dir, &identity, &tasks, sender.clone()).await?;
    if let Some(pid) = parent_pid {
        tasks.spawn(local::watch_parent(pid, sender.clone()));
    }
    let outcome = match &settings.studio {
        None => disabled(events, stop).await,
        Some(studio) => {
            let about = About {
                instance: identity::box_id(&dir),
                streams: settings.streams.iter().map(|stream| stream.name.clone()).collect(),
                configuration: Arc::new(settings.clone()),
                dir,
                identity,
            };
            let process = Process {
                shown,
                tasks: tasks.clone(),
                events: sender,
                told: news,
            };
            let mut app = App::new(studio, about, process, tap, worker)?;
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
            Some(Event::Connection(..) | Event::Local(_) | Event::Job(..) | Event::Brought(..) | Event::Viewer(_)) => {}
        }
    }
}

/// What the box is: the same from its start to its end.
struct About {
    dir: RuntimeDir,
    identity: Identity,
    instance: BoxId,
    streams: Vec<StreamName>,
    /// As it was read, for a diagnosis.
    configuration: Arc<Settings>,
}

/// What every part of the process acts through.
struct Process {
    shown: Shown,
    tasks: Tasks,
    events: mpsc::Sender<Event>,
    /// For the operator's hooks.
    told: Arc<framebridge_daemon::News>,
}

/// How the box is, as far as its own processes say.
struct Local {
    health: LocalHealth,
    status: Option<Status>,
    news: News,
}

/// What viewers ask, and by which addresses they came.
struct Viewers {
    proxy: Proxy,
    requests: Requests,
    shares: Shares,
}

/// The shell around the machines.
struct App {
    about: About,
    process: Process,
    local: Local,
    link: Uplink,
    viewers: Viewers,
    jobs: Jobs,
    orders: Orders,
}

impl App {
    fn new(
        studio: &StudioSettings,
        about: About,
        process: Process,
        tap: LogTap,
        worker: Worker,
    ) -> anyhow::Result<Self> {
        let now = Instant::now();
        let health = local_health::Config {
            patience: studio.outage_patience,
            ..local_health::Config::default()
        };
        let seed = u64::from_be_bytes(about.identity.instance.0[..8].try_into()?);
        let proxy = Proxy::new(about.dir.clone());
        let listen = about.configuration.http.listen;
        if listen.port() != 0 {
            proxy.set_target(listen);
        }
        let Process { tasks, events, .. } = &process;
        tasks.spawn(local::watch_server(proxy.clone(), events.clone()));
        tasks.spawn(local::watch_supervisor(
            about.dir.clone(),
            about.identity.clone(),
            events.clone(),
        ));
        Ok(Self {
            local: Local {
                health: LocalHealth::new(health, now),
                status: None,
                news: News::default(),
            },
            link: Uplink::new(studio, tap, now, seed)?,
            viewers: Viewers {
                proxy,
                requests: Requests::default(),
                shares: Shares::load(&about.dir),
            },
            jobs: Jobs::new(worker, now),
            orders: Orders::default(),
            about,
            process,
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
                self.link.machine.poll_timeout().map(|(at, _)| at),
                self.local.health.poll_timeout().map(|(at, _)| at),
                self.jobs.slot.poll_timeout().map(|(at, _)| at),
                self.viewers.shares.poll_timeout(),
            ];
            let due = due.into_iter().flatten().min();
            // Every arm is cancel-safe.
            let event = tokio::select! {
                () = stop.cancelled() => None,
                event = events.recv() => event,
                () = pulse.beat() => continue,
                () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {
                    let now = Instant::now();
                    self.link.machine.handle(bridge_link::Input::Timeout, now);
                    self.local.health.handle(local_health::Input::Timeout, now);
                    self.jobs.slot.handle(job_slot::Input::Timeout, now);
                    self.viewers.shares.handle(shared_viewers::Input::Timeout, now);
                    continue;
                }
            };
            let now = Instant::now();
            match event {
                None => self.link.machine.handle(bridge_link::Input::Stop, now),
                Some(Event::Connection(number, event)) => self.on_connection(number, event, now),
                Some(Event::Local(event)) => self.on_local(event, now),
                Some(Event::Job(id, outcome)) => self.jobs.slot.handle(job_slot::Input::Ended { id, outcome }, now),
                Some(Event::Brought(number, id, outcome)) => self.on_brought(number, id, outcome, now),
                Some(Event::Viewer(happened)) => self.viewers.shares.handle(happened, now),
                Some(Event::Order(order)) => self.on_order(order, now),
            }
        }
    }

    fn on_connection(&mut self, number: u64, event: ConnectionEvent, now: Instant) {
        if !self.link.is_present(number) {
            return;
        }
        let machine = &mut self.link.machine;
        match event {
            ConnectionEvent::Connected => machine.handle(bridge_link::Input::Connected, now),
            ConnectionEvent::Lost(why) => machine.handle(bridge_link::Input::Lost { why }, now),
            ConnectionEvent::Frame(frame) => {
                machine.handle(bridge_link::Input::Received, now);
                self.on_frame(frame, now);
            }
        }
    }

    fn on_frame(&mut self, frame: ToBox, now: Instant) {
        let Some(lane) = self.lane() else { return };
        let Viewers { proxy, requests, .. } = &mut self.viewers;
        match frame {
            ToBox::Welcome(welcome) => self.on_welcome(welcome, now),
            ToBox::Error(refusal) => self.on_refused(refusal.code, refusal.message, now),
            // Before its welcome a studio has nothing else to say.
            _ if self.link.welcome.is_none() => tracing::debug!("ignored a frame before the welcome"),
            ToBox::RpcRequest(request) => self.on_request(&lane, request, now),
            ToBox::RpcChunk(chunk) => requests.on_chunk(proxy, &lane, chunk),
            ToBox::RpcCancel { id } => requests.on_cancel(id),
            ToBox::Offer { job, kind, deadline_ms } => self.on_offer(job, kind, deadline_ms, now),
            ToBox::CompleteAck { job } | ToBox::FailAck { job } => {
                self.jobs.slot.handle(job_slot::Input::Acknowledged { id: job }, now);
            }
            ToBox::Shared { request, share, url } => self.on_shared(request, share, url, now),
            ToBox::ShareRefused { request, why } => {
                self.orders
                    .answer(request, Err(Refusal::new(RefusalKind::Unavailable, why)));
            }
            ToBox::Unshared { request, ended } => {
                self.viewers.shares.handle(shared_viewers::Input::Unshared, now);
                self.process.told.tell(Happening::SharesEnded { count: ended });
                self.orders.answer(request, Ok(BridgeAnswer::Unshared { ended }));
            }
            ToBox::HeartbeatAck => self.link.logs.on_answer(),
            ToBox::Unknown => tracing::debug!("ignored a frame of an unknown type"),
        }
    }

    fn on_welcome(&mut self, welcome: Welcome, now: Instant) {
        let heartbeat = Duration::from_millis(welcome.heartbeat_ms);
        tracing::info!(
            studio = self.link.studio().authority(),
            "viewers are welcome at the studio"
        );
        self.viewers.proxy.set_seen_as(welcome.seen_as);
        self.link.welcome = Some(welcome);
        self.link
            .machine
            .handle(bridge_link::Input::Welcomed { heartbeat }, now);
        self.jobs.slot.handle(job_slot::Input::Linked, now);
    }

    /// What only this machine's operator can mend ends the session; what may pass at the studio does not.
    fn on_refused(&mut self, code: StudioRefusal, why: String, now: Instant) {
        let input = match code {
            StudioRefusal::AuthFailed | StudioRefusal::Version | StudioRefusal::Replaced => {
                self.link.refusal = Some(code);
                bridge_link::Input::Refused { why }
            }
            StudioRefusal::Fatal => {
                let why = format!(
                    "the studio refuses the box ({why}); it is asked again in an hour, or by `bridgectl bridge reconnect`"
                );
                bridge_link::Input::PutOff { why }
            }
        };
        self.link.machine.handle(input, now);
    }

    /// How answers travel on the connection there is.
    fn lane(&self) -> Option<Lane> {
        let connection = self.link.connection.as_ref()?;
        Some(Lane {
            answers: connection.answers.clone(),
            tasks: connection.tasks.clone(),
            over: connection.over.clone(),
            own: self.process.tasks.clone(),
            events: self.process.events.clone(),
        })
    }

    fn on_request(&mut self, lane: &Lane, request: RpcRequest, now: Instant) {
        let Viewers {
            proxy,
            requests,
            shares,
        } = &mut self.viewers;
        let allow = self.link.settings.allow;
        let share = request.access.share;
        let is_for_control = share.is_some_and(|share| shares.is_for_control(share.id, now));
        let pass = share.map(|share| shares.admit(share, now));
        let grant = Grant {
            // An address whose time is up opens nothing any more.
            view: allow.view && pass != Some(None),
            control: allow.control || is_for_control,
        };
        requests.on_request(
            proxy,
            lane,
            Asked {
                request,
                pass: pass.flatten(),
                grant,
            },
        );
    }

    fn on_local(&mut self, event: LocalEvent, now: Instant) {
        let health = &mut self.local.health;
        match event {
            LocalEvent::Probed(answered) => health.handle(local_health::Input::Probed(answered), now),
            LocalEvent::Status(status) => {
                if let Some(server) = report::server(&status) {
                    self.viewers.proxy.set_target(server);
                }
                self.local.news.log(&status);
                health.handle(local_health::Input::SupervisorSeen, now);
                health.handle(local_health::Input::Streams(report::watchable(&status)), now);
                self.local.status = Some(*status);
            }
            LocalEvent::SupervisorSilent => {
                let why = "the supervisor does not answer, so nothing is known of the streams".to_owned();
                health.handle(local_health::Input::Streams(Err(why)), now);
            }
            LocalEvent::SupervisorGone => {
                tracing::warn!("the supervisor is gone");
                health.handle(local_health::Input::SupervisorGone, now);
            }
            LocalEvent::RestartAnswered(answered) => {
                match &answered {
                    Ok(()) => tracing::info!("signaling is being restarted"),
                    Err(why) => tracing::warn!(why, "signaling could not be restarted"),
                }
                health.handle(local_health::Input::RestartAnswered(answered), now);
            }
            LocalEvent::ParentGone => {
                self.link.farewell = (Farewell::Expired, "Whoever started the bridge has ended.".to_owned());
                self.link.machine.handle(bridge_link::Input::Stop, now);
            }
        }
    }
}
