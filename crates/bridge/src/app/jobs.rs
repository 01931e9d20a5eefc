//! The studio's jobs: taken, done, and brought back.

use framebridge_core::studio::job_slot;
use framebridge_daemon::isolated;
use framebridge_studio_proto::{JobResult, Rejection};
use serde_json::json;

use super::*;
use crate::{
    jobs::{Desk, is_supported},
    upload::{self, Destination, File},
};

/// Offers that are remembered until they are taken or refused, which is at once.
const MOST_OFFERS: usize = 8;

/// Frames that must not be left out and wait for room: results are few, and so is what else is said of jobs.
const MOST_OWED: usize = 64;

impl App {
    pub(super) fn on_offer(&mut self, job: JobId, kind: JobKind, deadline_ms: u64, now: Instant) {
        let supported = is_supported(&kind, &self.streams);
        // One may come twice, and of those that are not taken the newest count.
        self.offers.retain(|(offered, _)| *offered != job);
        self.offers.truncate(MOST_OFFERS - 1);
        self.offers.insert(0, (job, kind));
        let deadline = Duration::from_millis(deadline_ms);
        let offered = job_slot::Input::Offered {
            id: job,
            supported,
            deadline,
        };
        self.slot.handle(offered, now);
    }

    pub(super) fn apply_job(&mut self, output: job_slot::Output<JobId, Made>) {
        match output {
            job_slot::Output::Start { id } => self.start_job(id),
            job_slot::Output::Abort { .. } => {
                if let Some(job) = self.job.take() {
                    job.cancel();
                }
            }
            job_slot::Output::Accept { id } => self.send_surely(ToStudio::Accept { job: id }),
            job_slot::Output::Reject { id, why } => {
                self.offers.retain(|(offered, _)| *offered != id);
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
        let Some(at) = self.offers.iter().position(|(offered, _)| *offered == id) else {
            return;
        };
        let (_, kind) = self.offers.swap_remove(at);
        self.offers.clear();
        tracing::info!(job = %id, kind = %json!(kind), "a job");
        let desk = Desk {
            dir: self.dir.clone(),
            identity: self.identity.clone(),
            status: self.status.clone(),
            settings: Arc::clone(&self.configuration),
        };
        let (cancel, events, worker) = (CancellationToken::new(), self.events.clone(), self.worker);
        self.job = Some(cancel.clone());
        self.tasks.spawn(async move {
            let work = isolated(worker(desk, kind));
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
            studio: self.studio().clone(),
            token: self.settings.token.clone(),
            job,
        };
        let Some(wire) = self.wire.as_ref().filter(|_| self.welcome.is_some()) else {
            return;
        };
        if self.bringing.replace(job) == Some(job) {
            return;
        }
        let (number, over, events) = (wire.number, wire.over.clone(), self.events.clone());
        wire.tasks.spawn(over.run_until_cancelled_owned(async move {
            let outcome = upload::bring(&destination, &file).await;
            // With the app gone there is nobody to tell.
            _ = events.send(Event::Brought(number, job, outcome)).await;
        }));
    }

    pub(super) fn on_brought(&mut self, number: u64, id: JobId, outcome: Result<(), String>, now: Instant) {
        let is_of_this_link = self.wire.as_ref().is_some_and(|wire| wire.number == number);
        if !is_of_this_link || self.bringing.take_if(|job| *job == id).is_none() {
            return;
        }
        match (outcome, self.slot.result()) {
            (Ok(()), Some((known, Ok(Made::File(file))))) if *known == id => {
                let result = JobResult::Uploaded {
                    media_type: file.media_type.to_owned(),
                    bytes: file.bytes.len() as u64,
                };
                self.complete(id, result);
            }
            (Ok(()), _) => {}
            (Err(why), _) => self.slot.handle(job_slot::Input::Undeliverable { id, why }, now),
        }
    }

    pub(super) fn list_jobs(&self) -> BridgeAnswer {
        let running = self.slot.running().map(|id| BridgeJob {
            id: id.to_string(),
            state: "running".to_owned(),
            error: None,
        });
        let ended = self.slot.result().map(|(id, outcome)| BridgeJob {
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
            paused: self.slot.is_paused(),
            jobs: running.into_iter().chain(ended).collect(),
        }
    }

    /// Sends a frame of a job, now or when there is room for it. With the link goes what waits: the slot tells it again.
    fn send_surely(&mut self, frame: ToStudio) {
        if self.welcome.is_none() {
            // Nothing goes before the greeting; the slot says it again after it.
            return;
        }
        self.owed.push_back(frame);
        self.owed.truncate(MOST_OWED);
        self.pay();
    }

    /// Sends what waits for room, as far as there is some.
    pub(super) fn pay(&mut self) {
        while let Some(frame) = self.owed.pop_front() {
            if !self.send(frame.clone()) {
                return self.owed.push_front(frame);
            }
        }
    }
}
