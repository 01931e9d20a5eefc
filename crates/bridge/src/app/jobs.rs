//! Takes the studio's jobs, does them, and brings back the results.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use framebridge_core::studio::job_slot::{self, JobSlot};
use framebridge_daemon::isolated;
use framebridge_proto::bridge::{BridgeAnswer, BridgeJob};
use framebridge_studio_proto::{JobId, JobKind, JobResult, Rejection, ToStudio};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::App;
use crate::{
    event::Event,
    jobs::{Context, Made, Worker, is_allowed, is_supported},
    upload::{self, Destination, File},
};

/// Offers that are remembered until they are taken or refused, which is at once.
const MOST_OFFERS: usize = 8;

/// Frames that must not be left out and wait for room: results are few, and so is what else is said of jobs.
const MOST_OWED: usize = 64;

/// The job in hand, if there is one, and what is to be said of it.
pub(super) struct Jobs {
    pub(super) slot: JobSlot<JobId, Made>,
    worker: Worker,
    offers: Vec<(JobId, JobKind)>,
    /// What of a job there was no room for on the link.
    owed: VecDeque<ToStudio>,
    running: Option<CancellationToken>,
    /// The job whose file is being brought over the present link.
    bringing: Option<JobId>,
}

impl Jobs {
    pub(super) fn new(worker: Worker, now: Instant) -> Self {
        Self {
            slot: JobSlot::new(job_slot::Config::default(), now),
            worker,
            offers: Vec::new(),
            owed: VecDeque::new(),
            running: None,
            bringing: None,
        }
    }

    /// The link is gone, and with it what waited for room on it: the slot tells it again.
    pub(super) fn on_link_lost(&mut self) {
        self.owed.clear();
        self.bringing = None;
    }
}

impl App {
    pub(super) fn on_offer(&mut self, job: JobId, kind: JobKind, deadline_ms: u64, now: Instant) {
        let supported = is_allowed(kind.name(), self.link.settings.allow) && is_supported(&kind, &self.about.streams);
        // One may come twice, and of those that are not taken the newest count.
        self.jobs.offers.retain(|(offered, _)| *offered != job);
        self.jobs.offers.truncate(MOST_OFFERS - 1);
        self.jobs.offers.insert(0, (job, kind));
        let deadline = Duration::from_millis(deadline_ms);
        let offered = job_slot::Input::Offered {
            id: job,
            supported,
            deadline,
        };
        self.jobs.slot.handle(offered, now);
    }

    pub(super) fn apply_job(&mut self, output: job_slot::Output<JobId, Made>) {
        match output {
            job_slot::Output::Start { id } => self.start_job(id),
            job_slot::Output::Abort { .. } => {
                if let Some(job) = self.jobs.running.take() {
                    job.cancel();
                }
            }
            job_slot::Output::Accept { id } => self.send_surely(ToStudio::Accept { job: id }),
            job_slot::Output::Reject { id, why } => {
                self.jobs.offers.retain(|(offered, _)| *offered != id);
                let why = match why {
                    job_slot::Rejection::Paused => Rejection::Paused,
                    job_slot::Rejection::Busy => Rejection::Busy,
                    job_slot::Rejection::Unsupported => Rejection::Unsupported,
                };
                self.send_surely(ToStudio::Reject { job: id, why });
            }
            job_slot::Output::Deliver { id, outcome } => match outcome {
                Ok(Made::Inline(value)) => self.complete(id, JobResult::Inline { value }),
                Ok(Made::File(file)) => self.bring(id, file),
                Err(job_slot::Failure { error, retryable }) => self.send_surely(ToStudio::Fail {
                    job: id,
                    error,
                    retryable,
                }),
            },
            job_slot::Output::ReadyForMore => self.send_surely(ToStudio::ReadyForMore),
        }
    }

    fn start_job(&mut self, id: JobId) {
        let Some(at) = self.jobs.offers.iter().position(|(offered, _)| *offered == id) else {
            return;
        };
        let (_, kind) = self.jobs.offers.swap_remove(at);
        self.jobs.offers.clear();
        tracing::info!(job = %id, kind = %json!(kind), "a job");
        let context = Context {
            dir: self.about.dir.clone(),
            identity: self.about.identity.clone(),
            status: self.local.status.clone(),
            settings: Arc::clone(&self.about.configuration),
        };
        let (cancel, events, worker) = (CancellationToken::new(), self.process.events.clone(), self.jobs.worker);
        self.jobs.running = Some(cancel.clone());
        self.process.tasks.spawn(async move {
            let work = isolated(worker(context, kind));
            if let Some(outcome) = cancel.run_until_cancelled(work).await {
                let outcome = outcome.unwrap_or_else(|panic| {
                    Err(job_slot::Failure {
                        error: format!("a mistake of ours: {panic}"),
                        retryable: false,
                    })
                });
                // With the app gone there is nobody to tell.
                _ = events.send(Event::Job(id, outcome)).await;
            }
        });
    }

    fn complete(&mut self, job: JobId, result: JobResult) {
        self.send_surely(ToStudio::Complete { job, result });
    }

    /// Begins to bring a job's file, by the link there is. What was not brought when that is lost is brought by the next.
    fn bring(&mut self, job: JobId, file: File) {
        let destination = Destination {
            studio: self.link.studio().clone(),
            token: self.link.token.clone(),
            job,
        };
        let Some(connection) = self.link.connection.as_ref().filter(|_| self.link.welcome.is_some()) else {
            return;
        };
        if self.jobs.bringing.replace(job) == Some(job) {
            return;
        }
        let (number, over, events) = (connection.number, connection.over.clone(), self.process.events.clone());
        connection.tasks.spawn(over.run_until_cancelled_owned(async move {
            let outcome = upload::bring(&destination, &file).await;
            // With the app gone there is nobody to tell.
            _ = events.send(Event::Brought(number, job, outcome)).await;
        }));
    }

    pub(super) fn on_brought(&mut self, number: u64, id: JobId, outcome: Result<(), String>, now: Instant) {
        if !self.link.is_present(number) || self.jobs.bringing.take_if(|job| *job == id).is_none() {
            return;
        }
        match (outcome, self.jobs.slot.result()) {
            (Ok(()), Some((known, Ok(Made::File(file))))) if *known == id => {
                let result = JobResult::Uploaded {
                    media_type: file.media_type.to_owned(),
                    bytes: file.bytes.len() as u64,
                };
                self.complete(id, result);
            }
            (Ok(()), _) => {}
            (Err(why), _) => self.jobs.slot.handle(job_slot::Input::Undeliverable { id, why }, now),
        }
    }

    pub(super) fn list_jobs(&self) -> BridgeAnswer {
        let running = self.jobs.slot.running().map(|id| BridgeJob {
            id: id.to_string(),
            state: "running".to_owned(),
            error: None,
        });
        let ended = self.jobs.slot.result().map(|(id, outcome)| BridgeJob {
            id: id.to_string(),
            state: match outcome {
                Ok(Made::File(_)) => "uploading",
                Ok(Made::Inline(_)) => "done",
                Err(_) => "failed",
            }
            .to_owned(),
            error: outcome.as_ref().err().map(|failure| failure.error.clone()),
        });
        BridgeAnswer::Jobs {
            paused: self.jobs.slot.is_paused(),
            jobs: running.into_iter().chain(ended).collect(),
        }
    }

    /// Sends a frame of a job, now or when there is room for it. With the link goes what waits: the slot tells it again.
    fn send_surely(&mut self, frame: ToStudio) {
        if self.link.welcome.is_none() {
            // Nothing goes before the greeting; the slot says it again after it.
            return;
        }
        self.jobs.owed.push_back(frame);
        self.jobs.owed.truncate(MOST_OWED);
        self.pay();
    }

    /// Sends what waits for room, as far as there is some.
    pub(super) fn pay(&mut self) {
        while let Some(frame) = self.jobs.owed.pop_front() {
            if !self.link.send(frame.clone()) {
                return self.jobs.owed.push_front(frame);
            }
        }
    }
}
