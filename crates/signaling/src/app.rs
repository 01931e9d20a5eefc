//! Starts the parts, runs until told to stop, ends them in order.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    os::fd::AsFd as _,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use framebridge_config::{Settings, Webrtc};
use framebridge_core::{
    budget::{self, Claim},
    threads::ThreadWatch,
};
use framebridge_daemon::{
    Context, Exit, Meter, News, Tasks, heartbeats_with_news, isolated_now, last_words, notify,
    ports::{self, Transport},
};
use framebridge_ipc::{HttpListener, Identity, RuntimeDir};
use framebridge_proto::{
    Role, StreamName,
    supervisor::{Progress, SignalingProgress, StreamFlow},
};
use framebridge_rtc::{Config, Containment, Engine, Event, Handle, SessionId, ViewerState};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::spawn_blocking,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    access::{Access, now},
    app_state::AppState,
    candidates,
    debug::Debug,
    encoder_links::{self, EncoderLinks},
    ended::Ended,
    events,
    films::Films,
    glances::Glances,
    handover::{self, Restored},
    ice_servers::IceServers,
    limits::Limits,
    outside, own_addresses,
    owners::{Owners, brief},
    pictures, push,
    pushes::Pushes,
    reports::Reports,
    routes, serve,
    silenced::Silenced,
    site::Site,
    supervisor::Supervisor,
    viewers,
    visits::Visits,
    whip,
};

/// How often the service manager is told how many watch.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// How often the media workers are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// A keyframe and some tenths of a second after it.
const MIN_HISTORY: u64 = 256 << 10;
/// What a viewer takes at most: twice what `cargo xtask bench fanout` finds.
const VIEWER_BYTES: u64 = 48 << 10;
/// Viewers that there is always room for.
const MIN_VIEWERS: u64 = 16;

/// How long the media plane may take to say goodbye to its viewers.
const ENGINE_STOP: Duration = Duration::from_millis(1500);

/// How long requests under way and tasks may take to end. With [`ENGINE_STOP`] and the second that blocking work may take
/// after it, that is the 4 s after which a supervisor that is stopping kills.
const TASKS_STOP: Duration = Duration::from_millis(1500);

/// The signaling process.
#[derive(Debug)]
pub struct App {
    dir: RuntimeDir,
    stop: CancellationToken,
    tasks: Tasks,
    /// Ends the HTTP server, which outlives the media plane by a little to say why.
    http_stop: CancellationToken,
    engine: Engine,
    events: mpsc::Receiver<Event>,
    shared: Arc<AppState>,
}

impl App {
    /// Binds the sockets and starts everything; from here on HTTP is answered.
    ///
    /// # Errors
    /// A port is taken, or the runtime directory can't be used.
    pub async fn load(context: Context) -> anyhow::Result<Self> {
        let Context {
            settings,
            args,
            dir,
            stop,
            tasks,
            ..
        } = context;
        let identity = Identity::new(Role::Signaling);
        let Restored { listener, media } = handover::restore(&dir, &identity, settings.http.listen).await;
        let listener = match listener {
            Some(listener) => listener,
            None => bind(&settings).await?,
        };
        let address = listener.local_addr().context("reading the HTTP address")?;
        let (engine, events) = Engine::restore(engine_config(&settings), media, |name| {
            settings.streams.iter().any(|stream| stream.name == *name)
        })
        .with_context(|| no_media(&settings))
        .context(Exit::Unavailable)?;
        let handover = engine.handover().try_clone().context("sharing the media sockets")?;
        let share = || {
            let shared = listener.as_fd().try_clone_to_owned();
            shared.context("sharing the HTTP listener")
        };
        let (http, breakable) = (share()?, settings.debug_endpoints.then(share).transpose()?);
        tasks.spawn(handover::hand_over(dir.clone(), identity.clone(), http, handover));

        let mut links = EncoderLinks::new(tasks.clone(), engine.handle(), dir.clone(), identity.clone());
        let streams = links.begin(&settings.streams);
        let ((news, glances), told) = (watch::channel(Arc::default()), Arc::<News>::default());
        let shared = Arc::new(AppState {
            address,
            streams,
            engine: engine.handle(),
            supervisor: Supervisor::new(dir.clone(), identity.clone()),
            access: Access::load(&settings.http, &dir, address.port())?,
            owners: Owners::load(&dir, &open(&engine.handle())),
            ended: Ended::default(),
            pushes: Pushes::default(),
            visits: Visits::new(Arc::clone(&told), watching(&engine.handle())),
            films: Arc::new(Films::new(Arc::clone(&told))),
            reports: Reports::default(),
            silenced: Silenced::default(),
            limits: Limits::new(),
            site: Site::new(&settings.http),
            ice_servers: IceServers::new(&settings.webrtc.ice_servers),
            tls: settings.http.tls.as_ref().map(serve::load_tls).transpose()?,
            glances,
            started: Instant::now(),
            draining: AtomicBool::new(false),
            tasks: tasks.clone(),
        });
        viewers::end_strangers(&shared).await;
        whip::resume(&shared);
        spawn_chores(&tasks, &settings, &shared, news);
        tasks.spawn(encoder_links::follow(links, Arc::clone(&shared), args));
        let http_stop = CancellationToken::new();
        let debug = breakable.map(|listener| Debug {
            shared: Arc::clone(&shared),
            listener,
            http_stop: http_stop.clone(),
        });
        let router = routes::router(Arc::clone(&shared), debug);
        let own = HttpListener::bind(&dir).await.context(Exit::Unavailable)?;
        let framed = serve::framed_media(&settings.webrtc, engine.handle(), address);
        let speaks = (shared.tls.as_ref(), framed);
        serve::start(&tasks, (listener, own), router, speaks, &http_stop);
        spawn_heartbeats(&tasks, (dir.clone(), identity, told), Arc::clone(&shared));
        tracing::info!(http = %format!("{}/", shared.base()), udp = engine.local_port(), "serving viewers");
        Ok(Self {
            dir,
            stop,
            tasks,
            http_stop,
            engine,
            events,
            shared,
        })
    }

    /// Where HTTP listens.
    pub fn http_address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Serves until it is told to stop.
    ///
    /// # Errors
    /// The media plane ended by itself.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let mut statuses = interval(STATUS_INTERVAL);
        statuses.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut pulse = notify::Pulse::new();
        notify::ready();
        let mut told = None;
        let media = self.engine.handle();
        let mut threads = ThreadWatch::new(media.rounds().len(), LOOK_INTERVAL, Instant::now());
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let ended_by_itself = loop {
            // All arms are cancel-safe.
            tokio::select! {
                () = self.stop.cancelled() => break false,
                event = self.events.recv() => match event {
                    Some(event) => on_event(&self.shared, event),
                    None => break true,
                },
                _ = looks.tick() => {
                    if let Some((worker, hangs)) = threads.observe(&media.rounds(), Instant::now()) {
                        die(&self.dir, &format!("media worker {worker} has not come round for {} s", hangs.as_secs()));
                    }
                }
                _ = statuses.tick() => {
                    let viewers = self.shared.streams.all().iter().map(|stream| stream.viewers()).sum::<u32>();
                    if told.replace(viewers) != Some(viewers) {
                        notify::status(&format!("{viewers} viewers"));
                    }
                }
                () = pulse.beat() => {}
            }
        };
        self.end().await;
        if ended_by_itself {
            bail!(anyhow::anyhow!("the media plane ended by itself").context(Exit::Software));
        }
        Ok(())
    }

    /// Refuses new viewers, says goodbye to those there are, then stops answering.
    async fn end(self) {
        self.shared.drain();
        // It joins threads, so it may not run on the runtime's own.
        if timeout(ENGINE_STOP, spawn_blocking(|| self.engine.stop()))
            .await
            .is_err()
        {
            tracing::warn!("the media plane did not stop in time");
        }
        self.http_stop.cancel();
        if !self.tasks.end(TASKS_STOP).await {
            tracing::warn!("some tasks did not end in time");
        }
    }
}

/// Why there is no media plane.
fn no_media(settings: &Settings) -> String {
    taken(settings, Transport::Udp).unwrap_or_else(|| "webrtc.port: starting the media plane".to_owned())
}

/// Ends the process where it stands: a thread that hangs can't be waited for, and the next life goes on with the viewers.
fn die(dir: &RuntimeDir, why: &str) -> ! {
    let code = Exit::Temporary.code();
    tracing::error!(code, "{why}; ending, to be restarted");
    last_words::leave(dir, code, why);
    #[expect(clippy::exit, reason = "the way out that waits for no thread")]
    std::process::exit(i32::from(code))
}

async fn bind(settings: &Settings) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(settings.http.listen).await;
    listener.map_err(|error| {
        let why = taken(settings, Transport::Tcp).unwrap_or_else(|| format!("http.listen: {error}"));
        anyhow!(why).context(Exit::Unavailable)
    })
}

/// Who has the ports that we want, if anybody.
fn taken(settings: &Settings, transport: Transport) -> Option<String> {
    let wanted = ports::wanted(settings).into_iter();
    ports::first_taken(wanted.filter(|port| port.transport == transport))
}

fn on_event(shared: &AppState, event: Event) {
    match event {
        Event::KeyframeWanted { stream, rung } => {
            if let Some(stream) = shared.streams.get(&stream) {
                stream.request_keyframe(rung);
            }
        }
        Event::ViewerState {
            session: whole,
            stream,
            state,
        } => {
            if state != ViewerState::Connecting {
                shared.limits.settled(&whole);
            }
            let session = brief(&whole);
            match state {
                ViewerState::Connecting => tracing::debug!(%stream, %session, "viewer connecting"),
                ViewerState::Live => {
                    tracing::info!(%stream, %session, "viewer live");
                    shared.visits.on_live(whole, &stream, shared.owners.of(&whole).as_ref());
                }
                ViewerState::Grace => {
                    tracing::info!(%stream, %session, "viewer silent: its session is kept for a while")
                }
                ViewerState::Closed(reason) => {
                    tracing::info!(%stream, %session, %reason, "viewer gone");
                    shared.visits.on_closed(&whole, &stream, reason.to_string());
                    shared.owners.forget(&whole);
                    shared.ended.note(whole, stream, reason);
                }
            }
            shared.pushes.look(&whole);
        }
    }
}

fn engine_config(settings: &Settings) -> Config {
    let webrtc = &settings.webrtc;
    let (history_bytes, max_viewers) = divide_memory(webrtc, settings.streams.len());
    Config {
        history_bytes,
        max_viewers,
        port: webrtc.port,
        bind: webrtc.bind.clone(),
        candidates: candidates::fixed(&webrtc.candidates),
        interfaces: webrtc.interfaces.clone(),
        workers: webrtc.workers,
        max_viewers_per_stream: webrtc.max_viewers_per_stream,
        disconnect_grace: webrtc.disconnect_grace,
        containment: Containment(|work| isolated_now(work).is_ok()),
        ..Config::default()
    }
}

/// The memory budget: to each stream its history, for retransmission and late joiners, and no more than is of use;
/// what is left to viewers. Returns a history's bytes, and how many viewers that is.
fn divide_memory(webrtc: &Webrtc, streams: usize) -> (usize, usize) {
    let budget = u64::from(webrtc.memory_budget_mb) << 20;
    let history = Claim {
        floor: MIN_HISTORY,
        weight: 1,
    };
    let viewers = Claim {
        floor: MIN_VIEWERS * VIEWER_BYTES,
        weight: 1,
    };
    let mut shares = vec![history; streams];
    shares.push(viewers);
    let plan = budget::Plan::divide(budget, &shares);
    if plan.is_overdrawn() {
        tracing::warn!(
            "webrtc.memory_budget_mb is less than {streams} streams and {MIN_VIEWERS} viewers need: it will be exceeded"
        );
    }
    let useful = u64::try_from(Config::default().history_bytes).unwrap_or(u64::MAX);
    let history = plan.parts()[0].min(useful);
    let left = budget.saturating_sub(history * u64::try_from(streams).unwrap_or(u64::MAX));
    let viewers = (left / VIEWER_BYTES).max(MIN_VIEWERS);
    (
        usize::try_from(history).unwrap_or(usize::MAX),
        usize::try_from(viewers).unwrap_or(usize::MAX),
    )
}

/// What is looked after all the time.
fn spawn_chores(tasks: &Tasks, settings: &Settings, shared: &Arc<AppState>, news: watch::Sender<Arc<Glances>>) {
    tasks.spawn(own_addresses::follow(shared.engine.clone()));
    tasks.spawn(events::tell(Arc::clone(shared), news));
    tasks.spawn(viewers::keep_current(Arc::clone(shared)));
    push::begin(shared, &settings.streams);
    tasks.spawn(push::end_unwanted(Arc::clone(shared)));
    tasks.spawn(pictures::keep_stills(Arc::clone(shared)));
    let places = settings.webrtc.candidates.clone();
    tasks.spawn(candidates::keep_resolved(places, shared.engine.clone()));
    let servers = settings.webrtc.stun.clone();
    tasks.spawn(outside::keep_asked(servers, shared.engine.clone()));
}

/// Those who watch or publish: the life before this one had them.
fn open(engine: &Handle) -> Vec<SessionId> {
    let publishers = engine.publishers().into_iter().map(|(session, _)| session);
    engine.sessions().into_iter().chain(publishers).collect()
}

/// Those to whom media goes already: the life before this one had them.
fn watching(engine: &Handle) -> Vec<SessionId> {
    let is_known = |session: &SessionId| {
        let state = engine.session(session).map(|info| info.state);
        matches!(state, Some(ViewerState::Live | ViewerState::Grace))
    };
    engine.sessions().into_iter().filter(is_known).collect()
}

fn spawn_heartbeats(tasks: &Tasks, (dir, identity, news): (RuntimeDir, Identity, Arc<News>), shared: Arc<AppState>) {
    let packets = Meter::default();
    let mut meters: BTreeMap<StreamName, (Meter, Meter)> = BTreeMap::new();
    tasks.spawn_vital(heartbeats_with_news(dir, identity, news, move || {
        let mut packets_sent = 0;
        let all = shared.streams.all();
        meters.retain(|name, _| all.iter().any(|stream| stream.name == *name));
        let streams: Vec<_> = all
            .iter()
            .map(|stream| {
                let fresh = || (Meter::default(), Meter::default());
                let (published, sent) = meters.entry(stream.name.clone()).or_insert_with(fresh);
                let stats = stream.counts.stats();
                packets_sent += stats.packets_sent;
                published.raise_to(stats.frames_published);
                sent.raise_to(stats.frames_sent);
                StreamFlow {
                    stream: stats.stream,
                    viewers: stats.viewers,
                    live: stats.live,
                    frames_published: published.read(),
                    frames_sent: sent.read(),
                    pushes: shared.pushes.of(&stream.name),
                }
            })
            .collect();
        packets.raise_to(packets_sent);
        Progress::Signaling(SignalingProgress {
            http: shared.address.to_string(),
            rtp: packets.read(),
            datagrams: shared.engine.datagrams(),
            streams,
            certificate: shared.tls.as_ref().and_then(|tls| tls.certificate().notice(now())),
        })
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histories_and_viewers_stay_within_the_budget() {
        let mut webrtc = Settings::load(None, &[]).unwrap().webrtc;
        for (megabytes, streams) in [(32, 0), (32, 1), (32, 20), (512, 1), (512, 64), (65_536, 3)] {
            webrtc.memory_budget_mb = megabytes;
            let (history, viewers) = divide_memory(&webrtc, streams);
            assert!(
                history * streams + viewers * usize::try_from(VIEWER_BYTES).unwrap()
                    <= usize::try_from(megabytes).unwrap() << 20
            );
            assert!(viewers > 16, "{megabytes} MiB, {streams} streams: {viewers} viewers");
        }
    }

    #[test]
    fn the_default_budget_has_room_for_one_full_stream() {
        let webrtc = Settings::load(None, &[]).unwrap().webrtc;
        let limit = usize::try_from(webrtc.max_viewers_per_stream).unwrap();
        assert!(divide_memory(&webrtc, 8).1 >= limit);
    }

    #[test]
    fn a_budget_that_is_too_small_leaves_what_nobody_can_do_without() {
        let mut webrtc = Settings::load(None, &[]).unwrap().webrtc;
        webrtc.memory_budget_mb = 32;
        let least = (
            usize::try_from(MIN_HISTORY).unwrap(),
            usize::try_from(MIN_VIEWERS).unwrap(),
        );
        assert_eq!(divide_memory(&webrtc, 1000), least);
    }
}
