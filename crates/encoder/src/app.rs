//! The process: what it is made of, and the one loop that all news comes to.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use framebridge_capture::{Feed, NETWORK_OPEN_LIMIT, PICTURE_LIMIT, confine, lacks};
use framebridge_config::{Keep, Settings, Stream};
use framebridge_core::{
    health::{Facts, SourceFacts, judge},
    source_life::{Config, Input, Output, SourceLife, State},
    source_pace::SourcePace,
    stage_watch::StageWatch,
};
use framebridge_daemon::{Context, Exit, News, Tasks, heartbeats_with_news, notify};
use framebridge_ipc::{Identity, Incoming, Listener, RuntimeDir};
use framebridge_proto::{
    Refusal, RefusalKind, Role, StreamName,
    encoder::{EncoderAnswer, EncoderRequest, FromEncoder, Quality, QualityChange, ToEncoder},
    media::Rung,
    status::StreamState,
    supervisor::{EncoderProgress, Progress as Report, SourcePace as ToldPace},
};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::{sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    broadcast::Broadcast,
    clip::MAX_CLIPS,
    connection::{Service, serve, to_wire},
    controls::{Controls, lock},
    copying::Copying,
    desk::{self, Desk},
    door,
    pause_file::PauseFile,
    pipeline::{Event, Pipeline},
    progress::Progress,
    quality_file::QualityFile,
    rung::Ladder,
    state::{EncoderState, Latest},
    watchdog::{self, Stages},
};

/// News from a pipeline: two in each of its lives. Its threads wait when it is full.
const EVENTS: usize = 8;

/// Requests on their way to the app. Connections wait when it is full.
const COMMANDS: usize = 16;

/// A camera may take this long to open, and a display that is stopped is found out no sooner.
const LOCAL_OPEN_LIMIT: Duration = Duration::from_secs(5);

/// What network calls may take beyond their own deadlines before they count as stuck.
const NETWORK_MARGIN: Duration = Duration::from_secs(2);

/// How long the threads have to end when the process does; one that hangs is left behind.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// Pause after the system refused a connection, which it does when descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One encoder process.
#[derive(Debug)]
pub struct App {
    stream: Stream,
    /// Whether requests may break this process.
    breakable: bool,
    dir: RuntimeDir,
    identity: Identity,
    listener: Listener<ToEncoder, FromEncoder>,
    stop: CancellationToken,
    tasks: Tasks,
    shared: Arc<EncoderState>,
    quality_file: QualityFile,
    pause_file: PauseFile,
    life: SourceLife,
    state: watch::Sender<State>,
    /// Rung when there is something to tell the supervisor at once.
    news: Arc<News>,
    pipeline: Option<Pipeline>,
    events: (mpsc::Sender<Event>, mpsc::Receiver<Event>),
}

impl App {
    /// Makes the encoder of `stream` ready: its socket is bound, its source is closed.
    ///
    /// # Errors
    /// The configuration has no such stream, or its socket is taken.
    pub async fn load(context: Context, name: &StreamName) -> anyhow::Result<Self> {
        let Context {
            settings,
            dir,
            stop,
            tasks,
            ..
        } = context;
        let breakable = settings.debug_endpoints;
        let stream = configured(&settings, name)?;
        if let Err(error) = confine(&stream.source) {
            tracing::warn!("this process keeps the rights that its source does not need: {error}");
        }
        let identity = Identity::new(Role::Encoder);
        let listener = Listener::bind(dir.place(Role::Encoder, Some(name)), &identity).await?;
        let quality_file = QualityFile::new(dir.path(), name, stream.quality);
        let pause_file = PauseFile::new(dir.path(), name);
        let controls = Arc::new(Controls::new(quality_file.load()));
        let progress = Arc::new(Progress::default());
        let broadcast = Arc::new(Broadcast::new(
            Arc::clone(controls.keyframes()),
            Arc::clone(&progress),
            stream.pre_roll,
        ));
        let ladder = Ladder::new(stream.lower_rungs, &progress);
        let stages = Arc::new(Stages::new());
        let (latest, choice) = (Latest::new(), Mutex::new(None));
        let slate = stream.source.slate().cloned();
        let shared = Arc::new(EncoderState {
            controls,
            progress,
            broadcast,
            latest,
            copying: Copying::new(),
            ladder,
            stages,
            choice,
            slate,
            feed: feed(&dir, name),
            clips: Semaphore::new(MAX_CLIPS),
            pace: Mutex::new(SourcePace::new()),
            stillness: Mutex::default(),
            left_out: AtomicU32::new(0),
            stall_timeout: stream.stall_timeout,
        });
        let config = Config {
            linger: stream.linger,
            retry: if stream.source.traits().listens {
                Config::RETRY_LISTENING
            } else {
                Config::RETRY
            },
            probe: stream.probe,
        };
        let seed = u64::from_le_bytes(std::array::from_fn(|byte| identity.instance.0[byte]));
        let mut life = SourceLife::new(config, Instant::now(), seed);
        if pause_file.is_there() {
            tracing::info!("paused by its operator, as before");
            life.handle(Input::Pause(true), Instant::now());
            shared.controls.set_paused(true);
        }
        Ok(Self {
            state: watch::Sender::new(life.state()),
            news: Arc::default(),
            life,
            pipeline: None,
            events: mpsc::channel(EVENTS),
            stream,
            breakable,
            dir,
            identity,
            listener,
            stop,
            tasks,
            shared,
            quality_file,
            pause_file,
        })
    }

    /// Serves until told to stop.
    ///
    /// # Errors
    /// The system gives no threads.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let limits = limits(&self.stream, &self.shared);
        watchdog::start(Arc::clone(&self.shared.stages), limits).context("starting the watchdog")?;
        self.tasks.spawn_vital(heartbeats_with_news(
            self.dir.clone(),
            self.identity.clone(),
            Arc::clone(&self.news),
            self.report(),
        ));
        let (desk, desk_ended) = start_desk(&self.stream)?.unzip();
        let (commands, mut commanded) = mpsc::channel(COMMANDS);
        let service = Service {
            shared: Arc::clone(&self.shared),
            state: self.state.subscribe(),
            commands,
            desk: desk.clone(),
        };
        let _kept = (self.stream.keep == Keep::Always).then(|| self.shared.broadcast.demand());
        let mut demand = self.shared.broadcast.watch_demand();
        // What is wanted already is news, too.
        demand.mark_changed();
        let mut pulse = notify::Pulse::new();
        tracing::info!(source = %self.stream.source, "ready");
        notify::ready();
        notify::status("idle");
        while !self.stop.is_cancelled() {
            let timeout = self.life.poll_timeout();
            let door = self.life.is_unreachable().then(|| self.stream.source.door()).flatten();
            // All arms are cancel-safe.
            tokio::select! {
                () = self.stop.cancelled() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok(incoming) => self.welcome(incoming, service.clone()),
                    Err(error) => {
                        tracing::warn!("can't accept connections: {error}");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Ok(()) = demand.changed() => {
                    let wanted = *demand.borrow_and_update() > 0;
                    self.life.handle(Input::Demand(wanted), Instant::now());
                }
                Some(event) = self.events.1.recv() => self.on_event(event),
                Some(command) = commanded.recv() => {
                    // A connection that has ended meanwhile has no use for its answer.
                    _ = command.reply.send(self.on_request(command.request));
                }
                () = door::answers(door) => self.life.handle(Input::Answers, Instant::now()),
                () = wait(timeout.map(|(due, _)| due)) => self.life.handle(Input::Timeout, Instant::now()),
                () = pulse.beat() => {}
            }
            self.apply_outputs()?;
        }
        if let (Some(desk), Some(ended)) = (desk, desk_ended) {
            desk.stop();
            if timeout(STOP_LIMIT, ended.wait()).await.is_err() {
                tracing::warn!("the display does not answer; what is held on it stays so");
            }
        }
        self.end().await;
        Ok(())
    }

    fn welcome(&self, incoming: Incoming<ToEncoder, FromEncoder>, service: Service) {
        self.tasks.spawn(async move {
            match incoming.handshake().await {
                Ok(link) => serve(link, service).await,
                Err(error) => tracing::warn!("refused a connection: {:#}", anyhow::Error::from(error)),
            }
        });
    }

    fn on_event(&mut self, event: Event) {
        let input = match event {
            Event::Picture => Input::Picture,
            Event::Ended(reason, failure) => {
                self.pipeline = None;
                Input::Ended { reason, failure }
            }
        };
        self.life.handle(input, Instant::now());
    }

    fn on_request(&mut self, request: EncoderRequest) -> Result<EncoderAnswer, Refusal> {
        match request {
            EncoderRequest::SetQuality(change) => self.set_quality(change),
            EncoderRequest::ResetQuality => Ok(self.reset_quality()),
            EncoderRequest::GetQuality => Ok(EncoderAnswer::Quality {
                quality: self.shared.controls.quality(),
                changed: false,
            }),
            EncoderRequest::Pause => Ok(self.pause(true)),
            EncoderRequest::Resume => Ok(self.pause(false)),
            EncoderRequest::Snapshot(_) | EncoderRequest::Clip(_) => Err(Refusal::new(
                RefusalKind::Failed,
                "pictures are answered by the connection",
            )),
            EncoderRequest::Stall if self.breakable => {
                tracing::warn!("stalled, as asked");
                Ok(EncoderAnswer::Done {
                    changed: !self.shared.controls.stall(),
                })
            }
            EncoderRequest::StallRung(rung) if self.breakable => self.stall_rung(rung),
            EncoderRequest::Stall | EncoderRequest::StallRung(_) => Err(Refusal::new(
                RefusalKind::Invalid,
                "this encoder does not run under FRAMEBRIDGE_DEBUG_ENDPOINTS=1",
            )),
        }
    }

    fn set_quality(&self, change: QualityChange) -> Result<EncoderAnswer, Refusal> {
        if let Some((field, value, range)) = change.out_of_range() {
            let message = format!(
                "{field} = {value} is out of range: use {} to {}",
                range.start(),
                range.end()
            );
            return Err(Refusal::new(RefusalKind::Invalid, message));
        }
        let before = self.shared.controls.quality();
        let quality = before.with(change);
        let changed = quality != before;
        if changed {
            let Quality {
                bitrate,
                fps,
                longest_edge,
            } = quality;
            tracing::info!(bitrate, fps, longest_edge, "quality set");
            self.shared.controls.set_quality(quality);
            if let Err(error) = self.quality_file.store(quality) {
                tracing::warn!(
                    "the quality set will not outlive this process: {:#}",
                    anyhow::Error::from(error)
                );
            }
        }
        Ok(EncoderAnswer::Quality { quality, changed })
    }

    fn stall_rung(&self, rung: Rung) -> Result<EncoderAnswer, Refusal> {
        let Some(lower) = self.shared.ladder.lower(rung) else {
            return Err(Refusal::new(
                RefusalKind::Invalid,
                "the full rung stalls with the stream",
            ));
        };
        tracing::warn!(%rung, "stalled, as asked");
        Ok(EncoderAnswer::Done {
            changed: !lower.stall(),
        })
    }

    fn reset_quality(&self) -> EncoderAnswer {
        let quality = self.stream.quality;
        let changed = self.shared.controls.quality() != quality;
        if let Err(error) = self.quality_file.forget() {
            tracing::warn!("the quality set before will be back with the next life: {error}");
        }
        if changed {
            tracing::info!("quality as configured again");
            self.shared.controls.set_quality(quality);
        }
        EncoderAnswer::Quality { quality, changed }
    }

    fn pause(&mut self, paused: bool) -> EncoderAnswer {
        let changed = self.life.is_paused() != paused;
        self.life.handle(Input::Pause(paused), Instant::now());
        self.shared.controls.set_paused(paused);
        if let Err(error) = self.pause_file.store(paused) {
            tracing::warn!("whether the stream is paused will not outlive this process: {error}");
        }
        if changed {
            tracing::info!("{} by its operator", if paused { "paused" } else { "resumed" });
            // What comes after the pause does not continue what came before it.
            self.shared.cut();
            for rung in Rung::ALL {
                self.shared.keyframes(rung).request();
            }
        }
        EncoderAnswer::Done { changed }
    }

    fn apply_outputs(&mut self) -> anyhow::Result<()> {
        while let Some(output) = self.life.poll_output() {
            match output {
                Output::Open => {
                    // The first picture after idle is an IDR; a new encoder makes it one by itself.
                    let events = self.events.0.clone();
                    let pipeline = Pipeline::start(&self.stream, &self.shared, events);
                    self.pipeline = Some(pipeline.context("starting the capture and encode threads")?);
                }
                Output::Close => {
                    if let Some(pipeline) = &self.pipeline {
                        pipeline.stop();
                    }
                    // Who comes now waits for the source to be opened again, not for what it showed last.
                    self.shared.cut();
                }
                Output::Announce(state) => self.announce(state),
            }
        }
        Ok(())
    }

    fn announce(&self, state: State) {
        let told = to_wire(&state, self.shared.slate.as_ref(), Instant::now());
        let source = SourceFacts {
            state: &told,
            age: Duration::ZERO,
            failed: None,
            is_known: false,
        };
        let facts = Facts {
            source: Some(source),
            ..Facts::default()
        };
        notify::status(&judge(&facts, Instant::now()).to_string());
        match &state {
            State::Unavailable { reason, retry_at } => {
                let retry = retry_at.saturating_duration_since(Instant::now());
                tracing::warn!(
                    "source unavailable: {reason}; trying again in {:.1} s",
                    retry.as_secs_f32()
                );
            }
            State::Untried
            | State::Idle
            | State::UnavailableIdle { .. }
            | State::Opening
            | State::Live
            | State::Paused => {
                tracing::info!("source {}", StreamState::from(&told));
            }
        }
        self.state.send_replace(state);
        self.news.hurry();
    }

    /// What a heartbeat says.
    fn report(&self) -> impl Fn() -> Report + Send + 'static {
        let pace = pace(&self.stream, &self.shared);
        let (shared, state) = (Arc::clone(&self.shared), self.state.subscribe());
        let load = shared.controls.watch_load();
        let (stream, source) = (self.stream.name.clone(), self.stream.source.to_string());
        move || {
            let encoding = shared.progress.encoding();
            Report::Encoder(EncoderProgress {
                stream: stream.clone(),
                source: source.clone(),
                state: to_wire(&state.borrow(), shared.slate.as_ref(), Instant::now()),
                encoder: encoding.encoder,
                encoder_reason: encoding.reason,
                quality: shared.controls.quality(),
                width: encoding.size.0,
                height: encoding.size.1,
                captured: shared.progress.captured.read(),
                encoded: shared.progress.encoded.read(),
                delivered: shared.progress.delivered.read(),
                lost: shared.progress.lost.load(Ordering::Relaxed),
                subscribers: shared.broadcast.subscribers(),
                pace: pace(),
                rungs: shared.ladder.report(),
                sent_on: encoding.sent_on,
                load: *load.borrow(),
            })
        }
    }

    async fn end(mut self) {
        if let Some(pipeline) = self.pipeline.take() {
            pipeline.stop();
            let ended = async {
                while let Some(event) = self.events.1.recv().await {
                    if matches!(event, Event::Ended(..)) {
                        break;
                    }
                }
            };
            if timeout(STOP_LIMIT, ended).await.is_err() {
                tracing::warn!("the source does not close; leaving it behind");
            }
        }
        if !self.tasks.end(STOP_LIMIT).await {
            tracing::warn!("some connections did not end in time");
        }
    }
}

/// Where the desktop may be steered, the thread that does it.
fn start_desk(stream: &Stream) -> anyhow::Result<Option<(Desk, desk::Ended)>> {
    let source = Some(&stream.source).filter(|_| stream.control);
    let started = source.map(Desk::start).transpose();
    Ok(started
        .context("starting the thread that steers the desktop")?
        .flatten())
}

/// How the source gives pictures, as far as was learnt.
fn pace(stream: &Stream, shared: &Arc<EncoderState>) -> impl Fn() -> ToldPace + Send + 'static {
    let shared = Arc::clone(shared);
    let patience = patience(stream);
    let millis = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    let gap = shared.copying.gap();
    move || {
        let stillness = lock(&shared.stillness).clone();
        let pace = lock(&shared.pace);
        ToldPace {
            interval_ms: millis(pace.interval()),
            patience_ms: millis(pace.patience(patience)),
            decodes: shared.progress.decodes().map(|rate| (rate.decoded, rate.coming)),
            unchanged_ms: millis(stillness.unchanged()),
            black_ms: millis(stillness.black()),
            gap_ms: millis(*gap.borrow()),
        }
    }
}

/// How long the source may give nothing before it is ended: a network source is ridden out in the same connection.
fn patience(stream: &Stream) -> Duration {
    if stream.source.traits().network {
        stream.pause_timeout.max(stream.stall_timeout)
    } else {
        stream.stall_timeout
    }
}

/// How long each step of this stream may take, by the frame rate in force and by what was learnt of the source.
fn limits(stream: &Stream, shared: &Arc<EncoderState>) -> impl Fn() -> StageWatch + Send + 'static {
    let kind = stream.source.traits();
    let (stall, patience) = (stream.stall_timeout, patience(stream));
    let shared = Arc::clone(shared);
    let (opening, margin) = if kind.interruptible {
        (NETWORK_OPEN_LIMIT, NETWORK_MARGIN)
    } else {
        (LOCAL_OPEN_LIMIT, Duration::ZERO)
    };
    move || {
        // A source that is in order may take one interval to its next picture, and be late by another.
        let two_pictures = Duration::from_secs(2) / shared.controls.quality().fps;
        let reading = lock(&shared.pace).patience(patience);
        StageWatch {
            opening: opening.max(stall) + margin,
            joining: PICTURE_LIMIT.max(reading) + margin,
            reading: reading + two_pictures + margin,
            encoding: stall * 2,
        }
    }
}

/// Where the stream is had from, if somebody publishes it.
fn feed(dir: &RuntimeDir, name: &StreamName) -> Feed {
    Feed {
        socket: dir.feed(name),
        endpoint: format!("/whip/{name}"),
    }
}

/// The stream `name` as it is configured, if this machine can have its source.
fn configured(settings: &Settings, name: &StreamName) -> anyhow::Result<Stream> {
    let stream = settings.streams.iter().find(|stream| stream.name == *name);
    let stream = stream
        .with_context(|| format!("no stream `{name}` is configured"))
        .context(Exit::Config)?;
    if let Some(lacking) = lacks(&stream.source) {
        let key = format!("streams.{name}.source");
        let entry = settings.entries().iter().find(|entry| entry.key == key);
        let place = entry.map_or("", |entry| &entry.origin);
        let told =
            format!("{place}: {key}: this machine's FFmpeg was built without `{lacking}`, which this source needs");
        return Err(anyhow::anyhow!(told).context(Exit::Config));
    }
    Ok(stream.clone())
}

async fn wait(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
