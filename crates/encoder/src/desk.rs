//! The desk: a thread of its own that steers the desktop, for a display that is stopped blocks whoever speaks to it.
//!
//! What is held and when it is let go is `framebridge_core::control::held`'s to decide.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use framebridge_capture::Desktop;
use framebridge_config::{Region, Source};
use framebridge_core::control::held::{Held, Input, Output};
use framebridge_proto::control::{Act, Desk as Told, Grant, Steer};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use tokio::sync::{mpsc, oneshot};

/// What waits for the display: as much as a term may have waiting on its way here. Full: the display is stopped. The term ends,
/// and all that waits is forgotten.
const WAITING: usize = 256;

/// How often a display that is not there is tried while it may hold something of a life before this one.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// The desk, for connections. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Desk(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: SyncSender<(Steer, mpsc::Sender<Told>)>,
    bell: OwnedFd,
    /// What waited did not find room: nothing that is held can be trusted.
    overflowed: AtomicBool,
    stopped: AtomicBool,
}

/// Waits for the thread to end.
#[derive(Debug)]
pub(crate) struct Ended(oneshot::Receiver<()>);

impl Ended {
    pub(crate) async fn wait(self) {
        // It fails where the thread has panicked, which ends the process.
        _ = self.0.await;
    }
}

impl Desk {
    /// Starts the thread of a source that can be steered; `None`: it is no desktop.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(source: &Source) -> io::Result<Option<(Self, Ended)>> {
        let Source::X11 { display, region } = source else {
            return Ok(None);
        };
        let (queue, inlet) = sync_channel(WAITING);
        let shared = Arc::new(Shared {
            queue,
            bell: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
            overflowed: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        });
        let (ended, has_ended) = oneshot::channel();
        let worker = Worker {
            shared: Arc::clone(&shared),
            inlet,
            display: display.clone(),
            region: *region,
            desktop: None,
            is_clean: false,
            tried: None,
            held: Held::new(Instant::now()),
            teller: None,
        };
        thread::Builder::new().name("desk".to_owned()).spawn(move || {
            worker.run();
            drop(ended);
        })?;
        Ok(Some((Self(shared), Ended(has_ended))))
    }

    /// Signaling says this; what is to be told goes to `teller`.
    fn steer(&self, steer: Steer, teller: &mpsc::Sender<Told>) {
        if self.0.queue.try_send((steer, teller.clone())).is_err() {
            self.0.overflowed.store(true, Ordering::Release);
        }
        self.0.ring();
    }

    /// Lets go of everything, and ends the thread.
    pub(crate) fn stop(&self) {
        self.0.stopped.store(true, Ordering::Release);
        self.0.ring();
    }
}

impl Shared {
    fn ring(&self) {
        // Fails only when it rings already.
        _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }
}

/// One connection's way to the desk. Its end ends the term that it began.
#[derive(Debug)]
pub(crate) struct DeskLink {
    desk: Option<Desk>,
    teller: mpsc::Sender<Told>,
    begun: Option<Grant>,
}

impl DeskLink {
    pub(crate) fn new(desk: Option<Desk>, teller: mpsc::Sender<Told>) -> Self {
        Self {
            desk,
            teller,
            begun: None,
        }
    }

    pub(crate) fn steer(&mut self, steer: Steer) {
        match (&self.desk, &steer) {
            (Some(desk), _) => {
                if let Steer::Begin(grant) = steer {
                    self.begun = Some(grant);
                }
                desk.steer(steer, &self.teller);
            }
            (None, Steer::Begin(grant)) => {
                let why = "This stream's desktop may not be steered.".to_owned();
                // Full: who reads nothing hears nothing.
                _ = self.teller.try_send(Told::Ended(*grant, why));
            }
            (None, Steer::Act(..) | Steer::Alive(_) | Steer::End(_)) => {}
        }
    }
}

impl Drop for DeskLink {
    fn drop(&mut self) {
        if let (Some(desk), Some(grant)) = (&self.desk, self.begun) {
            desk.steer(Steer::End(grant), &self.teller);
        }
    }
}

/// The thread.
struct Worker {
    shared: Arc<Shared>,
    inlet: Receiver<(Steer, mpsc::Sender<Told>)>,
    display: String,
    region: Option<Region>,
    desktop: Option<Desktop>,
    /// Whether what a life before this one held was let go.
    is_clean: bool,
    tried: Option<Instant>,
    held: Held,
    /// Who hears what becomes of the term.
    teller: Option<mpsc::Sender<Told>>,
}

impl Worker {
    fn run(mut self) {
        while !self.shared.stopped.load(Ordering::Acquire) {
            let now = Instant::now();
            if !self.is_clean && self.tried.is_none_or(|tried| tried + TRY_AGAIN <= now) {
                self.connect();
            }
            self.wait();
            self.take_in();
            self.listen();
        }
        self.handle(Input::Lost);
    }

    /// Connects, if that is still to be done; why not.
    fn connect(&mut self) -> Option<String> {
        if self.desktop.is_some() {
            return None;
        }
        self.tried = Some(Instant::now());
        let connected = Desktop::connect(&self.display, self.region).and_then(|mut desktop| {
            if !self.is_clean {
                desktop.let_go_of_everything()?;
            }
            Ok(desktop)
        });
        match connected {
            Ok(desktop) => {
                self.is_clean = true;
                self.desktop = Some(desktop);
                None
            }
            Err(error) => {
                let error = anyhow::Error::from(error);
                tracing::debug!("the desktop can't be steered: {error:#}");
                Some(format!("The desktop can't be reached: {error:#}."))
            }
        }
    }

    /// Sleeps until there is something to do.
    fn wait(&self) {
        let retry = self.tried.filter(|_| !self.is_clean).map(|tried| tried + TRY_AGAIN);
        let due = [self.held.poll_timeout().map(|(due, _)| due), retry]
            .into_iter()
            .flatten()
            .min();
        let timeout = due.map(|due| {
            let left = due.saturating_duration_since(Instant::now());
            Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        let mut sources = vec![PollFd::new(&self.shared.bell, PollFlags::IN)];
        let display = self.desktop.as_ref().map(|desktop| desktop.as_fd());
        sources.extend(display.iter().map(|display| PollFd::new(display, PollFlags::IN)));
        if let Err(error) = poll(&mut sources, timeout.as_ref()) {
            tracing::debug!(%error, "poll");
        }
        // Fails only when it does not ring.
        _ = rustix::io::read(&self.shared.bell, &mut [0; 8]);
    }

    fn take_in(&mut self) {
        if self.shared.overflowed.swap(false, Ordering::AcqRel) {
            while self.inlet.try_recv().is_ok() {}
            self.fail("The desktop did not take what was done in time.".to_owned());
        }
        while let Ok((steer, teller)) = self.inlet.try_recv() {
            if matches!(steer, Steer::Begin(_)) {
                self.teller = Some(teller);
            }
            self.handle(Input::Steer(steer));
        }
        self.handle(Input::Timeout);
    }

    fn handle(&mut self, input: Input) {
        self.held.handle(input, Instant::now());
        while let Some(output) = self.held.poll_output() {
            match output {
                Output::Begun(grant) => {
                    if let Some(why) = self.connect() {
                        self.tell(Told::Ended(grant, why));
                        self.held.handle(Input::Lost, Instant::now());
                    }
                }
                Output::Inject(act) => self.inject(&act),
                Output::Released(grant) => self.tell(Told::Released(grant)),
                Output::Ended(_) => {}
            }
        }
    }

    fn inject(&mut self, act: &Act) {
        let Some(desktop) = &mut self.desktop else { return };
        match desktop.inject(act) {
            Ok(()) => {}
            Err(error) if error.is_passing() => {
                if let Some(grant) = self.held.grant() {
                    self.tell(Told::Failed(grant, format!("{error}.")));
                }
            }
            Err(error) => self.lose(error),
        }
    }

    fn listen(&mut self) {
        let grant = self.held.grant();
        let Some(desktop) = &mut self.desktop else { return };
        match desktop.listen(grant.is_some()) {
            Ok(copied) => {
                if let (Some(grant), Some(text)) = (grant, copied) {
                    self.tell(Told::Clipboard(grant, text));
                }
            }
            Err(error) => self.lose(error),
        }
    }

    /// The display is gone, and what was held with it.
    fn lose(&mut self, error: framebridge_capture::DesktopError) {
        self.desktop = None;
        let error = anyhow::Error::from(error);
        tracing::info!("the desktop can't be steered any more: {error:#}");
        self.fail(format!("The desktop is gone: {error:#}."));
    }

    fn fail(&mut self, why: String) {
        if let Some(grant) = self.held.grant() {
            self.tell(Told::Ended(grant, why));
        }
        self.held.handle(Input::Lost, Instant::now());
        while let Some(output) = self.held.poll_output() {
            // What a display that is there still holds.
            if let (Output::Inject(act), Some(desktop)) = (output, &mut self.desktop) {
                drop(desktop.inject(&act));
            }
        }
    }

    fn tell(&self, told: Told) {
        if let Some(teller) = &self.teller {
            // Full: who reads nothing hears nothing.
            _ = teller.try_send(told);
        }
    }
}
