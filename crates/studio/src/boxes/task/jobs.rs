//! Jobs: offered to their box one at a time, kept until there is a result.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use framebridge_core::studio::{job_dispatch, job_slot};
use framebridge_studio_proto::{JobId, JobResult, Rejection, ToBox, limits::MAX_INLINE_RESULT};

use super::BoxTask;
use crate::{
    boxes::Link,
    store::{JobState, Record, StoreError},
};

/// How long another node may take to tell of a job that it has made: some rounds of telling everything.
const STRANGE: Duration = Duration::from_secs(30);

/// Between two looks for it.
const LOOK: Duration = Duration::from_secs(1);

/// What came of a job of which this node has not heard: another's, it may be. It counts once that has told of it.
#[derive(Debug)]
pub(super) struct Strange {
    link: Arc<Link>,
    job: JobId,
    result: JobResult,
    /// When it is looked for next.
    pub(super) due: Instant,
    until: Instant,
}

impl BoxTask {
    /// Offers the next job, if the box would take one and there is one.
    pub(super) async fn offer_next(&mut self) -> Result<(), StoreError> {
        while let Some(job) = self.works.store.next_job(self.session.id).await? {
            let Some(link) = self.link.clone() else { break };
            match self.dispatch.decide(&job.id) {
                job_dispatch::Decision::Wait => break,
                job_dispatch::Decision::Offer => {
                    link.send(ToBox::Offer {
                        job: job.id,
                        kind: job.kind,
                        deadline_ms: job.deadline_ms,
                    });
                    break;
                }
                job_dispatch::Decision::GiveUp { begun } => {
                    let error = format!("the box has begun it {begun} times, and it came to nothing");
                    self.end(job.id, Err(error)).await?;
                }
            }
        }
        Ok(())
    }

    /// The box does the job.
    pub(super) async fn on_accepted(&mut self, job: JobId) -> Result<(), StoreError> {
        self.dispatch.on_accepted(job);
        self.set(job, JobState::Running, None).await.map(drop)
    }

    /// The box does not do the job.
    pub(super) async fn on_rejected(&mut self, job: JobId, why: Rejection) -> Result<(), StoreError> {
        let (why, said) = match why {
            Rejection::Paused => (job_slot::Rejection::Paused, "the box's operator wants no jobs just now"),
            Rejection::Busy => (job_slot::Rejection::Busy, "the box is busy"),
            Rejection::Unsupported => (
                job_slot::Rejection::Unsupported,
                "the box can't do this, has no such stream, or its operator does not allow it (studio.allow)",
            ),
        };
        match self.dispatch.on_rejected(&job, why) {
            job_dispatch::Fate::Waits => self.set(job, JobState::Waiting, Some(said.to_owned())).await.map(drop),
            job_dispatch::Fate::Ended => {
                self.end(job, Err(said.to_owned())).await?;
                self.offer_next().await
            }
        }
    }

    /// The box has done the job.
    pub(super) async fn on_completed(
        &mut self,
        link: &Arc<Link>,
        job: JobId,
        result: JobResult,
    ) -> Result<(), StoreError> {
        self.dispatch.on_completed(&job);
        if self.works.nodes.are_there() && self.works.store.job(job).await?.is_none() {
            self.works.nodes.ask_all();
            let now = Instant::now();
            self.strange = Some(Strange {
                link: Arc::clone(link),
                job,
                result,
                due: now + LOOK,
                until: now + STRANGE,
            });
            return Ok(());
        }
        self.complete(link, job, result).await
    }

    /// Looks whether another node has told of a job whose result is here.
    pub(super) async fn on_strange(&mut self) -> Result<(), StoreError> {
        let now = Instant::now();
        let Some(mut strange) = self.strange.take_if(|strange| strange.due <= now) else {
            return Ok(());
        };
        let is_known = self.works.store.job(strange.job).await?.is_some();
        if !is_known && now < strange.until {
            strange.due = now + LOOK;
            self.strange = Some(strange);
            return Ok(());
        }
        // What nobody has told of was asked for by nobody, and is not kept.
        self.complete(&strange.link, strange.job, strange.result).await
    }

    async fn complete(&mut self, link: &Arc<Link>, job: JobId, result: JobResult) -> Result<(), StoreError> {
        let checked = self.check(job, result);
        if self.end(job, checked).await? {
            tracing::info!(name = self.session.name, %job, "a job is done");
        }
        link.send(ToBox::CompleteAck { job });
        Ok(())
    }

    /// The box could not do the job.
    pub(super) async fn on_failed(
        &mut self,
        link: &Arc<Link>,
        job: JobId,
        error: String,
        retryable: bool,
    ) -> Result<(), StoreError> {
        match self.dispatch.on_failed(&job, retryable) {
            job_dispatch::Fate::Waits => {
                if self.set(job, JobState::Waiting, Some(error.clone())).await? {
                    tracing::info!(%job, error, "a job is tried again");
                }
            }
            job_dispatch::Fate::Ended => self.end(job, Err(error)).await.map(drop)?,
        }
        link.send(ToBox::FailAck { job });
        Ok(())
    }

    /// The box would take another job.
    pub(super) async fn on_free(&mut self) -> Result<(), StoreError> {
        self.dispatch.on_ready();
        self.offer_next().await
    }

    /// Ends a job of this box; false if there is none that has not ended.
    async fn end(&self, job: JobId, outcome: Result<JobResult, String>) -> Result<bool, StoreError> {
        let ended = self.works.store.end_job(job, self.session.id, outcome).await?;
        self.tell_of(job).await?;
        Ok(ended)
    }

    async fn set(&self, job: JobId, to: JobState, why: Option<String>) -> Result<bool, StoreError> {
        let moved = self.works.store.move_job(job, self.session.id, to, why).await?;
        self.tell_of(job).await?;
        Ok(moved)
    }

    /// Other nodes know of a job what this one does: whichever its box comes to next goes on with it.
    async fn tell_of(&self, job: JobId) -> Result<(), StoreError> {
        if self.works.nodes.are_there()
            && let Some(row) = self.works.store.job(job).await?
        {
            self.works.nodes.on_record(Record::Job(row));
        }
        Ok(())
    }

    /// What a box says is a result has to be one.
    fn check(&self, job: JobId, result: JobResult) -> Result<JobResult, String> {
        match &result {
            JobResult::Inline { value } if value.to_string().len() > MAX_INLINE_RESULT => {
                Err("the box sent a result that is too large".to_owned())
            }
            // Its link may have moved since: then the node that it was uploaded to has it.
            JobResult::Uploaded { .. }
                if !self.works.nodes.are_there() && !self.works.uploads.join(job.to_string()).is_file() =>
            {
                Err("the box's upload is not here (any more)".to_owned())
            }
            JobResult::Inline { .. } | JobResult::Uploaded { .. } => Ok(result),
        }
    }
}
