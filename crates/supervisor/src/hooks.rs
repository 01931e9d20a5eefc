//! Tells the operator's hooks what happens: beside the loop, which never waits for it.

mod bulletin;
mod command;
mod post;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use framebridge_config::{Hook, HookTarget};
use framebridge_core::hook::{self, Input, Output};
use framebridge_ipc::Identity;
use framebridge_proto::{
    Refusal, RefusalKind,
    hooks::{HookEvent, HookStatus, HookTrial},
    millis,
    supervisor::SupervisorAnswer,
};
use serde_json::{Map, Value};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{AbortHandle, JoinSet},
    time::{sleep_until, timeout},
};

use crate::{event::Answer, hooks::bulletin::Bulletin};

/// Orders that wait for the deliveries, which take each at once. Past it an event is lost, and counted.
const QUEUE: usize = 256;

/// Hooks that are tried at once; one more is refused.
const MOST_TRIALS: usize = 4;

/// The wait while no attempt is due.
const NOTHING_DUE: Duration = Duration::from_secs(3600);

/// How the loop has hooks told.
#[derive(Debug)]
pub(crate) struct Hooks {
    orders: mpsc::Sender<Order>,
    wanted: watch::Sender<Vec<Hook>>,
    /// Tells one life of the supervisor from another, in the ids of events.
    life: String,
    number: AtomicU64,
    /// Events that found no room in the queue of orders.
    lost: AtomicU64,
}

#[derive(Debug)]
enum Order {
    Tell(Arc<Bulletin>),
    List(oneshot::Sender<Answer>),
    Try {
        hook: String,
        bulletin: Arc<Bulletin>,
        answer: oneshot::Sender<Answer>,
    },
}

/// Why an attempt came to nothing.
#[derive(Debug)]
struct Failure {
    why: String,
    /// Whether another may succeed.
    again: bool,
}

impl Failure {
    /// It may pass.
    fn passing(why: impl Into<String>) -> Self {
        let why = why.into();
        Self { why, again: true }
    }

    /// The same event would fail in the same way.
    fn lasting(why: impl Into<String>) -> Self {
        let why = why.into();
        Self { why, again: false }
    }
}

impl Hooks {
    /// The deliveries have to be [run](Deliveries::run).
    pub(crate) fn new(wanted: Vec<Hook>, identity: &Identity, runtime_dir: &Path) -> (Self, Deliveries) {
        let (orders, taken) = mpsc::channel(QUEUE);
        let (wanted, settings) = watch::channel(wanted);
        let life = identity.instance.0.iter().take(8);
        let hooks = Self {
            orders,
            wanted,
            life: life.map(|byte| format!("{byte:02x}")).collect(),
            number: AtomicU64::new(1),
            lost: AtomicU64::new(0),
        };
        let deliveries = Deliveries {
            orders: taken,
            settings,
            places: Vec::new(),
            lives: 0,
            attempts: JoinSet::new(),
            trials: JoinSet::new(),
            runtime_dir: runtime_dir.to_owned(),
        };
        (hooks, deliveries)
    }

    /// These are the hooks from here on.
    pub(crate) fn configure(&self, wanted: &[Hook]) {
        self.wanted.send_if_modified(|before| {
            let differs = before != wanted;
            if differs {
                *before = wanted.to_vec();
            }
            differs
        });
    }

    /// Tells who wants to know. `details` have plain values.
    pub(crate) fn tell(&self, event: HookEvent, sentence: String, details: Map<String, Value>) {
        if !self.wanted.borrow().iter().any(|hook| hook.events.contains(&event)) {
            return;
        }
        let bulletin = self.bulletin(event, sentence, details);
        if self.orders.try_send(Order::Tell(bulletin)).is_err() {
            let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::warn!(lost, %event, "hooks are not told: too much happens at once");
        }
    }

    /// Answers with how the hooks fare.
    pub(crate) fn list(&self, answer: oneshot::Sender<Answer>) {
        self.order(Order::List(answer));
    }

    /// Answers with what comes of telling one hook of a test.
    pub(crate) fn attempt(&self, hook: String, answer: oneshot::Sender<Answer>) {
        let sentence = format!("this is a test of the hook `{hook}`");
        let bulletin = self.bulletin(HookEvent::Test, sentence, Map::new());
        self.order(Order::Try { hook, bulletin, answer });
    }

    fn bulletin(&self, event: HookEvent, sentence: String, details: Map<String, Value>) -> Arc<Bulletin> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{number}", self.life);
        Arc::new(Bulletin::new(id, event, sentence, details))
    }

    fn order(&self, order: Order) {
        if let Err(refused) = self.orders.try_send(order) {
            let refusal = Refusal::new(RefusalKind::Unavailable, "too much waits for the hooks: try again");
            match refused.into_inner() {
                // Whoever asked may be gone by now.
                Order::List(answer) | Order::Try { answer, .. } => _ = answer.send(Err(refusal)),
                Order::Tell(_) => {}
            }
        }
    }
}

/// A hook and what it is still to be told.
#[derive(Debug)]
struct Place {
    hook: Hook,
    machine: hook::Hook<Arc<Bulletin>>,
    /// Tells an attempt of it from one of a hook that had its name before.
    life: u64,
    attempt: Option<AbortHandle>,
}

/// What waits for each hook, and what is being delivered.
#[derive(Debug)]
pub(crate) struct Deliveries {
    orders: mpsc::Receiver<Order>,
    settings: watch::Receiver<Vec<Hook>>,
    places: Vec<Place>,
    lives: u64,
    attempts: JoinSet<(u64, Result<(), Failure>)>,
    trials: JoinSet<()>,
    runtime_dir: PathBuf,
}

impl Deliveries {
    /// Tells hooks, until it is dropped: what is under way is ended then.
    pub(crate) async fn run(mut self) {
        self.settle();
        loop {
            let due = self.places.iter().filter_map(|place| place.machine.poll_timeout());
            let due = due
                .map(|(at, _)| at)
                .min()
                .unwrap_or_else(|| Instant::now() + NOTHING_DUE);
            // Every arm is cancel-safe.
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => self.on_order(order),
                    None => return,
                },
                changed = self.settings.changed() => match changed {
                    Ok(()) => self.settle(),
                    Err(_) => return,
                },
                Some(ended) = self.attempts.join_next() => {
                    // One that was aborted has no place any more.
                    if let Ok((life, outcome)) = ended {
                        self.on_outcome(life, outcome);
                    }
                }
                Some(_) = self.trials.join_next() => {}
                () = sleep_until(due.into()) => {
                    for at in 0..self.places.len() {
                        self.feed(at, Input::Timeout);
                    }
                }
            }
        }
    }

    /// Makes a place for each hook that is wanted; those that stay as they are keep what waits for them.
    fn settle(&mut self) {
        let wanted = self.settings.borrow_and_update().clone();
        let mut before = std::mem::take(&mut self.places);
        for hook in wanted {
            let place = match before.iter().position(|place| place.hook == hook) {
                Some(at) => before.swap_remove(at),
                None => {
                    self.lives += 1;
                    Place {
                        hook,
                        machine: hook::Hook::new(hook::Config::default(), self.lives),
                        life: self.lives,
                        attempt: None,
                    }
                }
            };
            self.places.push(place);
        }
        for attempt in before.into_iter().filter_map(|place| place.attempt) {
            attempt.abort();
        }
    }

    fn on_order(&mut self, order: Order) {
        if self.settings.has_changed().unwrap_or(false) {
            // Who orders after a change means the hooks of after.
            self.settle();
        }
        match order {
            Order::Tell(bulletin) => {
                for at in 0..self.places.len() {
                    if self.places[at].hook.events.contains(&bulletin.event) {
                        self.feed(at, Input::Happened(Arc::clone(&bulletin)));
                    }
                }
            }
            Order::List(answer) => {
                let now = Instant::now();
                let all = self.places.iter().map(|place| place.status(now)).collect();
                // Whoever asked may be gone by now.
                _ = answer.send(Ok(SupervisorAnswer::Hooks(all)));
            }
            Order::Try { hook, bulletin, answer } => self.attempt(&hook, &bulletin, answer),
        }
    }

    fn attempt(&mut self, name: &str, bulletin: &Arc<Bulletin>, answer: oneshot::Sender<Answer>) {
        let place = self.places.iter().find(|place| place.hook.name == name);
        let refusal = match place {
            Some(_) if self.trials.len() >= MOST_TRIALS => {
                Refusal::new(RefusalKind::Unavailable, "other hooks are being tried: wait for them")
            }
            Some(place) => {
                let delivery = deliver(place.hook.clone(), Arc::clone(bulletin), 0, self.runtime_dir.clone());
                self.trials.spawn(async move {
                    let begun = Instant::now();
                    let outcome = delivery.await;
                    let trial = HookTrial {
                        took_ms: millis(begun.elapsed()),
                        error: outcome.err().map(|failure| failure.why),
                    };
                    // Whoever asked may be gone by now.
                    _ = answer.send(Ok(SupervisorAnswer::HookTried(trial)));
                });
                return;
            }
            None => Refusal::new(RefusalKind::NotFound, format!("no hook is called `{name}`")),
        };
        // Likewise.
        _ = answer.send(Err(refusal));
    }

    fn on_outcome(&mut self, life: u64, outcome: Result<(), Failure>) {
        let Some(at) = self.places.iter().position(|place| place.life == life) else {
            return;
        };
        let place = &mut self.places[at];
        place.attempt = None;
        let name = &place.hook.name;
        let input = match outcome {
            Ok(()) => {
                let failures = place.machine.snapshot().failures;
                if failures > 0 {
                    tracing::info!(hook = name, failures, "hook told at last");
                }
                Input::Delivered
            }
            Err(Failure { why, again }) => {
                tracing::warn!(hook = name, "hook failed: {why}");
                Input::Failed { why, again }
            }
        };
        self.feed(at, input);
    }

    fn feed(&mut self, at: usize, input: Input<Arc<Bulletin>>) {
        let place = &mut self.places[at];
        place.machine.handle(input, Instant::now());
        while let Some(output) = place.machine.poll_output() {
            match output {
                Output::Deliver { event, lost, .. } => {
                    let life = place.life;
                    let delivery = deliver(place.hook.clone(), event, lost, self.runtime_dir.clone());
                    let attempt = self.attempts.spawn(async move { (life, delivery.await) });
                    place.attempt = Some(attempt);
                }
                Output::Lost { lost, why } => {
                    tracing::warn!(hook = place.hook.name, lost, "hook is not told of everything: {why}");
                }
            }
        }
    }
}

impl Place {
    fn status(&self, now: Instant) -> HookStatus {
        let hook::Snapshot {
            waiting,
            delivered,
            lost,
            failures,
            last_error,
            retry_at,
        } = self.machine.snapshot();
        HookStatus {
            name: self.hook.name.clone(),
            target: self.hook.target.to_string(),
            events: self.hook.events.iter().copied().collect(),
            waiting: u32::try_from(waiting).unwrap_or(u32::MAX),
            delivered,
            lost,
            failures,
            last_error,
            retry_in_ms: retry_at.map(|at| millis(at.saturating_duration_since(now))),
        }
    }
}

/// Tells one hook of one event, within its time.
async fn deliver(hook: Hook, bulletin: Arc<Bulletin>, lost: u64, runtime_dir: PathBuf) -> Result<(), Failure> {
    let limit = hook.time_limit;
    match &hook.target {
        HookTarget::Command(command) => command::run(&hook.name, command, &bulletin, lost, limit, &runtime_dir).await,
        HookTarget::Web { url, secret_file } => {
            let posted = timeout(limit, post::send(url, secret_file.as_deref(), &bulletin, lost));
            posted.await.unwrap_or_else(|_late| {
                let why = format!("{} did not answer within {} ms", hook.target, limit.as_millis());
                Err(Failure::passing(why))
            })
        }
    }
}
