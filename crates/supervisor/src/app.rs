//! The process: one loop that waits for one thing, hands it to the machine it concerns, and carries out what comes.

mod reload;
mod requests;
mod tell;

use std::{
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use framebridge_config::Settings;
use framebridge_core::{
    ingest,
    process::{Exit, ExitStatus, Input, Output, State},
};
use framebridge_daemon::{Args, Context, Hangups, Tasks, last_words, notify, tail};
use framebridge_ipc::{FdStore, Identity, Listener, Peer, RuntimeDir};
use framebridge_proto::{Role, supervisor::Progress};
use rustix::process::Signal;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::sleep_until,
};

use self::tell::Disk;
use crate::{
    child::{Child, Mark, Started},
    disk,
    event::{Event, Target},
    first_start::Greeting,
    hangups::{Hangup, hangup, has_terminal},
    hooks::Hooks,
    journal::Journal,
    launcher::{Launch, Launcher},
    ledger::{Entry, Ledger},
    lock::Lock,
    peers::{self, Door},
    probe,
    seeds::Seeds,
    settings_files::SettingsFiles,
    slot::{Meeting, Slot, slots},
    status,
    systemd_fd_store::SystemdFdStore,
};

/// Events that wait for the loop; a full queue holds up the link or probe that fills it.
const QUEUE: usize = 256;

/// When told to stop, everything is gone within 5 s: no more than this is the processes' own.
const STOP_PATIENCE: Duration = Duration::from_secs(4);

/// For tasks to end, once the processes have.
const TASKS_LIMIT: Duration = Duration::from_millis(500);

/// The loop's wait while no machine has a timeout.
const NOTHING_DUE: Duration = Duration::from_secs(3600);

/// A process ended: its slot, its pid, how.
type End = (usize, u32, ExitStatus);

/// The supervisor, loaded.
#[derive(Debug)]
pub struct App {
    slots: Vec<Slot>,
    /// What everything runs by.
    settings: Settings,
    /// Where that comes from.
    args: Args,
    /// What is wrong with the configuration, where it was not taken when it was read last.
    refused: Option<String>,
    files: SettingsFiles,
    launcher: Launcher,
    ledger: Ledger,
    journal: Journal,
    hooks: Hooks,
    disks: Vec<Disk>,
    fd_store: Arc<FdStore>,
    stop_timeout: Duration,
    dir: RuntimeDir,
    exits: JoinSet<End>,
    /// For the tasks around the loop.
    told: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
    probed: watch::Sender<Target>,
    started_at: Instant,
    greeting: Greeting,
    seeds: Seeds,
    /// Told to stop: nothing is started any more.
    stopping: bool,
    tasks: Tasks,
    /// Given up last.
    _lock: Lock,
}

impl App {
    /// Takes the runtime directory for its own, adopts what lives there, starts the rest.
    ///
    /// # Errors
    /// Another supervisor runs there, or the system refuses.
    pub async fn load(context: Context) -> anyhow::Result<Self> {
        let Context {
            settings,
            refused,
            args,
            dir,
            tasks,
            ..
        } = context;
        let lock = Lock::take(dir.path()).context(framebridge_daemon::Exit::Unavailable)?;
        args.remove_stale(dir.path());
        let identity = Identity::new(Role::Supervisor);
        let listener = Listener::bind(dir.place(Role::Supervisor, None), &identity).await?;
        let fd_store = Arc::new(FdStore::bind(&dir, &identity, Box::new(SystemdFdStore)).await?);
        let (journal, writer) = Journal::open(dir.path());
        let launcher = Launcher::new(settings.supervisor.manage, &dir).await?;
        let (told, events) = mpsc::channel(QUEUE);
        let (hooks, deliveries) = Hooks::new(settings.hooks.clone(), &identity, dir.path());
        tasks.spawn(deliveries.run());
        let places = disk::places(dir.path().to_owned());
        let disks = places.iter().cloned().map(Disk::new).collect();
        tasks.spawn(disk::watch(places, told.clone()));
        let (probed, target) = watch::channel(None);
        let rules = &settings.supervisor;
        let kept = Arc::clone(&fd_store);
        tasks.spawn(async move { kept.serve().await });
        tasks.spawn_graceful(writer.run());
        tasks.spawn(probe::watch(
            dir.clone(),
            target,
            told.clone(),
            rules.probe_interval,
            rules.probe_timeout,
        ));
        tasks.spawn(peers::serve(listener, Door::Own, told.clone(), tasks.clone()));
        if let Some(door) = dir.door() {
            let listener = Listener::bind(door, &identity).await?;
            let door = Door::Encoders(dir.clone());
            tasks.spawn(peers::serve(listener, door, told.clone(), tasks.clone()));
        }
        let now = Instant::now();
        let (ledger, files) = (Ledger::of(dir.path()), SettingsFiles::of(dir.path()));
        let mut seeds = Seeds::of(&identity);
        // What lives was started by the settings of its supervisor: they hold until those of now are applied.
        let before = args.fallback.as_deref().and_then(|path| Settings::handed(path).ok());
        let held = before.as_ref().unwrap_or(&settings).clone();
        let mut app = Self {
            slots: slots(&held, now, || seeds.next()),
            settings: held,
            args,
            refused: None,
            files,
            launcher,
            ledger,
            journal,
            hooks,
            disks,
            fd_store,
            stop_timeout: rules.stop_timeout,
            dir,
            exits: JoinSet::new(),
            told,
            events,
            probed,
            started_at: now,
            greeting: Greeting::new(settings.http.tls.is_some()),
            seeds,
            stopping: false,
            tasks,
            _lock: lock,
        };
        app.keep_settings();
        app.adopt_all(now);
        match refused {
            Some(why) => app.refuse(why),
            None if before.is_some() => _ = app.apply(settings, &[]),
            None => {}
        }
        Ok(app)
    }

    /// Supervises until told to stop; then stops everything, but for what is systemd's to stop.
    ///
    /// # Errors
    /// Something did not end in time.
    pub async fn run(mut self) -> anyhow::Result<()> {
        notify::ready();
        let stop = self.tasks.stop().clone();
        let patience = self.stop_timeout.min(STOP_PATIENCE);
        let mut pulse = notify::Pulse::new();
        let mut hangups = Hangups::catch().context("catching SIGHUP")?;
        let had_terminal = has_terminal();
        while !(self.stopping && self.slots.iter().all(|slot| slot.state() == State::Stopped)) {
            let timeout = self.next_timeout();
            // Every arm is cancel-safe.
            tokio::select! {
                () = stop.cancelled(), if !self.stopping => {
                    if self.launcher.is_systemds() {
                        break;
                    }
                    self.stopping = true;
                    self.feed_all(|_| Input::Stop { patience });
                }
                Some(end) = self.exits.join_next() => self.on_end(end.context("watching a process")?),
                Some(event) = self.events.recv() => self.on_event(event),
                () = sleep_until(timeout.into()) => self.feed_all(|_| Input::Timeout),
                () = hangups.recv() => match hangup(had_terminal) {
                    Hangup::Reload => self.read_configuration(None),
                    Hangup::Stop => stop.cancel(),
                },
                () = pulse.beat() => {}
            }
        }
        if !self.launcher.is_systemds() {
            self.clear_away();
        }
        self.journal.close();
        ensure!(
            self.tasks.end(TASKS_LIMIT).await,
            "a task did not end within {} ms",
            TASKS_LIMIT.as_millis()
        );
        Ok(())
    }

    /// Nothing lives any more: what the processes and we ourselves left in the runtime directory goes, but for the
    /// journal.
    fn clear_away(&mut self) {
        for index in 0..self.slots.len() {
            // What was killed could not remove its own.
            _ = fs::remove_file(self.socket(index));
            self.files.remove(&self.slots[index].name);
        }
        self.files.remove(Role::Supervisor.as_str());
        last_words::clear(&self.dir);
        tail::clear(&self.dir);
        self.ledger.close();
    }

    fn next_timeout(&self) -> Instant {
        let timeouts = self.slots.iter().filter_map(Slot::due);
        timeouts.min().unwrap_or_else(|| Instant::now() + NOTHING_DUE)
    }

    /// Adopts what an earlier supervisor left alive, ends what nobody wants any more, starts the rest.
    fn adopt_all(&mut self, now: Instant) {
        for Entry {
            name,
            mark,
            step,
            known,
        } in self.ledger.living()
        {
            let Some(child) = Child::adopt(mark) else { continue };
            let index = self.slots.iter().position(|slot| slot.name == name).unwrap_or_else(|| {
                self.slots.push(Slot::leftover(name, now));
                self.slots.len() - 1
            });
            self.adopt(index, child, step, now);
            self.slots[index].known = known;
        }
        self.write_down();
        last_words::clear(&self.dir);
        let patience = self.stop_timeout;
        self.feed_all(|slot| {
            if slot.is_leftover() {
                Input::Stop { patience }
            } else {
                Input::Start
            }
        });
    }
}

// What happened.
impl App {
    fn on_event(&mut self, event: Event) {
        match event {
            Event::Reported { peer, progress } => self.on_report(&peer, *progress),
            Event::Happened { peer, happening } => self.on_happened(&peer, happening),
            Event::Disk { place, free, total } => self.on_disk(place, free, total),
            Event::Asked { request, answer } => self.on_asked(request, answer),
            Event::Configuration { outcome, answer } => self.on_configuration(outcome, answer),
            Event::Started { index, outcome } => self.on_started(index, outcome),
            Event::Probed { pid, answered } => {
                if let Some(index) = self.living(pid) {
                    self.feed(index, Input::Probe { answered }, Instant::now());
                }
            }
        }
    }

    fn on_report(&mut self, peer: &Peer, progress: Progress) {
        let now = Instant::now();
        let index = match self.living(peer.pid) {
            Some(index) => index,
            None => match self.welcome(peer, &progress, now) {
                Some(index) => index,
                None => return,
            },
        };
        match self.slots[index].meet(peer) {
            Meeting::First => self.write_down(),
            Meeting::Again => {}
            Meeting::Stranger => {
                let why = "another program reports under its pid".to_owned();
                return self.feed(index, Input::Wedged { why }, now);
            }
        }
        // Where the directory is gone, a new life has no place for its socket either.
        let reachable = self.slots[index].stream.is_none() || self.socket(index).exists() || !self.dir.path().is_dir();
        let wedged = self.slots[index].report(progress, reachable, now);
        self.feed(index, Input::Beat, now);
        // What one process reports may change what is known of each stream.
        for stream in 0..self.slots.len() {
            if let Some(note) = status::change(&mut self.slots, stream, now) {
                self.tell(note);
            }
        }
        self.tell_of_streams(now);
        if let Some(why) = wedged {
            self.feed(index, Input::Wedged { why }, now);
        }
        let wanted = self.slots.iter().filter(|slot| !slot.is_leftover());
        let address = self.slots.iter().find_map(Slot::probe_target);
        self.greeting
            .look(wanted.map(Slot::state), address.map(|(_, address)| address), now);
        if self.slots[index].role == Role::Signaling {
            self.judge_ingest(index, now);
        }
    }

    /// Judges whether the frames of each encoder arrive, by what signaling last said.
    fn judge_ingest(&mut self, signaling: usize, now: Instant) {
        for flow in self.slots[signaling].flows().to_vec() {
            let of_stream = |slot: &Slot| slot.stream_name() == Some(&flow.stream);
            let Some(encoder) = self.slots.iter().position(of_stream) else {
                continue;
            };
            let Some((end, why)) = self.slots[encoder].judge_ingest(&flow, now) else {
                continue;
            };
            let index = match end {
                ingest::End::Encoder => encoder,
                ingest::End::Signaling => signaling,
            };
            self.feed(index, Input::Wedged { why }, now);
        }
    }

    /// A process that we did not start reports: one that an earlier supervisor had no time to write down. It gets the
    /// place it is for if nothing lives there; two of one kind are one too many.
    fn welcome(&mut self, peer: &Peer, progress: &Progress, now: Instant) -> Option<usize> {
        let index = self.slots.iter().position(|slot| slot.is_for(peer.role, progress))?;
        if self.launcher.is_systemds() && self.slots[index].state() == State::Starting {
            // systemd is about to name it to us; it reports again.
            return None;
        }
        let stranger = Mark::of(peer.pid).and_then(Child::adopt)?;
        let name = &self.slots[index].name;
        if self.slots[index].child.is_some() || self.stopping {
            tracing::warn!(name, pid = peer.pid, "ended a second one");
            // Another user's is the service manager's to end.
            stranger.signal(Signal::TERM);
            return None;
        }
        let step = self.slots[index].step_of(progress);
        self.adopt(index, stranger, step, now);
        Some(index)
    }

    fn on_started(&mut self, index: usize, outcome: Result<Started, String>) {
        let now = Instant::now();
        let (input, ended) = match outcome {
            Ok(Started::Lives(child)) => {
                let pid = self.occupy(index, child, now);
                (Input::Spawned { pid }, None)
            }
            Ok(Started::Died { pid, status }) => (Input::Spawned { pid }, Some((index, pid, status))),
            Err(reason) => (Input::SpawnFailed { reason }, None),
        };
        self.feed(index, input, now);
        if let Some(end) = ended {
            self.on_end(end);
        }
    }

    fn on_end(&mut self, (index, pid, status): End) {
        let now = Instant::now();
        let slot = &self.slots[index];
        let last = last_words::take(&self.dir.of(slot.role, slot.encodes()), pid);
        let status = match (status, &last) {
            // No child of ours: only it can tell.
            (ExitStatus::Unknown, Some(last)) => ExitStatus::Code(last.code.into()),
            (status, _) => status,
        };
        let last_words = last.map(|last| last.words).filter(|words| !words.is_empty());
        let slot = &mut self.slots[index];
        // Another may live there by now.
        if slot.child.as_ref().is_none_or(|child| child.mark.pid == pid) {
            slot.vacate();
        }
        let exit = Exit { status, last_words };
        self.write_down();
        self.feed(index, Input::Exited { pid, exit }, now);
    }

    /// Where others reach the process of a slot.
    fn socket(&self, index: usize) -> PathBuf {
        let slot = &self.slots[index];
        self.dir.socket(slot.role, slot.encodes())
    }

    /// The slot in which `pid` lives.
    fn living(&self, pid: u32) -> Option<usize> {
        let lives = |slot: &Slot| slot.child.as_ref().is_some_and(|child| child.mark.pid == pid);
        self.slots.iter().position(lives)
    }
}

// What is done about it.
impl App {
    fn feed_all(&mut self, input: impl Fn(&Slot) -> Input) {
        let now = Instant::now();
        for index in 0..self.slots.len() {
            self.feed(index, input(&self.slots[index]), now);
        }
    }

    /// Tells a slot's machine, and carries out what it asks for, until it asks for nothing more.
    fn feed(&mut self, index: usize, input: Input, now: Instant) {
        self.slots[index].feed(input, now);
        while let Some(output) = self.slots[index].next_output() {
            match output {
                Output::Spawn { .. } => self.apply_spawn(index, now),
                Output::Terminate { .. } => self.apply_signal(index, Signal::TERM),
                Output::Kill { .. } => self.apply_signal(index, Signal::KILL),
                Output::Changed(transition) => {
                    let note = self.slots[index].change(&transition, now);
                    self.tell_of_process(index, &transition, &note);
                    self.tell(note);
                    self.tell_of_streams(now);
                    self.prepare_next_start(index, now);
                    let slot = &self.slots[index];
                    let ended = matches!(transition.to, State::BackingOff | State::Parked);
                    // Where it is parked nobody takes its connections up soon: those at the other end may know.
                    if ended && (slot.forgets() || transition.to == State::Parked) {
                        self.fd_store.forget(slot.role);
                    }
                    let ends = matches!(transition.to, State::Stopping | State::Stopped) && slot.is_leftover();
                    if transition.to == State::Parked || ends {
                        self.leave_alone(index);
                    }
                }
            }
        }
        let target = self.slots.iter().find_map(Slot::probe_target);
        self.probed
            .send_if_modified(|before| std::mem::replace(before, target) != target);
    }

    fn apply_spawn(&mut self, index: usize, now: Instant) {
        let settings = match self.write_settings(index, now) {
            Ok(path) => path,
            Err(error) => return self.on_started(index, Err(error.to_string())),
        };
        let slot = &self.slots[index];
        match self.launcher.start(slot.role, slot.encodes(), &settings) {
            Launch::Done(outcome) => self.on_started(index, outcome),
            Launch::Asked(outcome) => {
                let told = self.told.clone();
                self.tasks.spawn(async move {
                    let outcome = outcome.await;
                    // The loop that is gone wants nothing any more.
                    _ = told.send(Event::Started { index, outcome }).await;
                });
            }
        }
    }

    fn leave_alone(&self, index: usize) {
        let slot = &self.slots[index];
        if let Some(left) = self.launcher.leave_alone(slot.role, slot.encodes().cloned()) {
            self.tasks.spawn(async move {
                if let Err(error) = left.await {
                    tracing::warn!("{error:#}");
                }
            });
        }
    }

    fn apply_signal(&self, index: usize, signal: Signal) {
        let slot = &self.slots[index];
        let Some(child) = slot.child.as_ref().filter(|child| !child.signal(signal)) else {
            return;
        };
        let pid = child.mark.pid;
        let stream = slot.encodes().cloned();
        let Some(signalled) = self.launcher.signal(slot.role, stream, pid, signal) else {
            return tracing::error!(pid, "it is another user's, and can't be signalled");
        };
        self.tasks.spawn(async move {
            if let Err(error) = signalled.await {
                tracing::error!(pid, "{error:#}");
            }
        });
    }

    /// `step`: how much it was started without.
    fn adopt(&mut self, index: usize, child: Child, step: usize, now: Instant) {
        let (started_at, pid) = (child.mark.started_at(now), child.mark.pid);
        let adopt = Input::Adopt { pid, started_at, step };
        self.feed(index, adopt, now);
        self.occupy(index, child, now);
    }

    fn occupy(&mut self, index: usize, child: Child, now: Instant) -> u32 {
        let pid = child.mark.pid;
        let slot = &mut self.slots[index];
        let ended = self.launcher.ended(child.clone(), slot.role, slot.encodes().cloned());
        self.exits.spawn(async move { (index, pid, ended.await) });
        slot.occupy(child, now);
        self.write_down();
        pid
    }

    fn write_down(&self) {
        let entry = |slot: &Slot| {
            let mark = slot.child.as_ref()?.mark;
            Some(Entry {
                name: slot.name.clone(),
                mark,
                step: slot.given_up().len(),
                known: slot.known,
            })
        };
        self.ledger
            .write(&self.slots.iter().filter_map(entry).collect::<Vec<_>>());
    }
}
