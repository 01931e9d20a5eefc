//! Jobs: offered to their box one at a time, kept until there is a result.

use std::time::Duration;

use framebridge_core::studio::{job_dispatch, job_slot};
use framebridge_studio_proto::{JobId, JobResult, Rejection, ToBox, limits::MAX_INLINE_RESULT};

use crate::{
    hub::Hub,
    session::Session,
    store::{JobState, Record, StoreError, now_ms},
};

/// A job that no box took for so long has failed.
const PATIENCE: Duration = Duration::from_secs(3600);

/// One that a box has begun is waited for so long: it keeps what came of it over any outage of the link.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Offers the next job, if the box would take one and there is one.
pub(crate) async fn offer_next(hub: &Hub, session: &Session) -> Result<(), StoreError> {
    while let Some(job) = hub.store.next_job(session.id).await? {
        let Some((link, decision)) = session.decide(&job.id) else {
            break;
        };
        match decision {
            job_dispatch::Decision::Wait => break,
            job_dispatch::Decision::Offer => {
                let offer = ToBox::Offer {
                    job: job.id,
                    kind: job.kind,
                    deadline_ms: job.deadline_ms,
                };
                // A link that is gone takes its offer along.
                _ = link.reply(offer);
                break;
            }
            job_dispatch::Decision::GiveUp { begun } => {
                let error = format!("the box has begun it {begun} times, and it came to nothing");
                end(hub, session, job.id, Err(error)).await?;
            }
        }
    }
    Ok(())
}

/// Other nodes know of a job what this one does: whichever its box comes to next goes on with it.
pub(crate) async fn tell_others(hub: &Hub, job: JobId) -> Result<(), StoreError> {
    if hub.nodes.are_there()
        && let Some(row) = hub.store.job(job).await?
    {
        hub.nodes.on_record(Record::Job(row));
    }
    Ok(())
}

async fn end(hub: &Hub, session: &Session, job: JobId, outcome: Result<JobResult, String>) -> Result<(), StoreError> {
    hub.store
        .end_job(job, session.id, outcome, hub.nodes.are_there())
        .await?;
    tell_others(hub, job).await
}

async fn set(hub: &Hub, session: &Session, job: JobId, to: JobState, why: Option<String>) -> Result<(), StoreError> {
    hub.store.move_job(job, session.id, to, why).await?;
    tell_others(hub, job).await
}

/// The box does the job.
pub(crate) async fn on_accepted(hub: &Hub, session: &Session, job: JobId) -> Result<(), StoreError> {
    session.dispatch(|dispatch| dispatch.on_accepted(job));
    set(hub, session, job, JobState::Running, None).await
}

/// The box does not do the job.
pub(crate) async fn on_rejected(hub: &Hub, session: &Session, job: JobId, why: Rejection) -> Result<(), StoreError> {
    let (why, said) = match why {
        Rejection::Paused => (job_slot::Rejection::Paused, "the box's operator wants no jobs just now"),
        Rejection::Busy => (job_slot::Rejection::Busy, "the box is busy"),
        Rejection::Unsupported => (
            job_slot::Rejection::Unsupported,
            "the box can't do this, or has no such stream",
        ),
    };
    match session.dispatch(|dispatch| dispatch.on_rejected(&job, why)) {
        job_dispatch::Fate::Waits => set(hub, session, job, JobState::Waiting, Some(said.to_owned())).await,
        job_dispatch::Fate::Ended => {
            end(hub, session, job, Err(said.to_owned())).await?;
            offer_next(hub, session).await
        }
    }
}

/// The box has done the job.
pub(crate) async fn on_completed(
    hub: &Hub,
    session: &Session,
    job: JobId,
    result: JobResult,
) -> Result<ToBox, StoreError> {
    session.dispatch(|dispatch| dispatch.on_completed(&job));
    tracing::info!(name = session.name, %job, "a job is done");
    end(hub, session, job, check(hub, job, result)).await?;
    Ok(ToBox::CompleteAck { job })
}

/// The box could not do the job.
pub(crate) async fn on_failed(
    hub: &Hub,
    session: &Session,
    job: JobId,
    error: &str,
    retryable: bool,
) -> Result<ToBox, StoreError> {
    let error: String = error.chars().take(500).collect();
    match session.dispatch(|dispatch| dispatch.on_failed(&job, retryable)) {
        job_dispatch::Fate::Waits => {
            tracing::info!(%job, error, "a job is tried again");
            set(hub, session, job, JobState::Waiting, Some(error)).await?;
        }
        job_dispatch::Fate::Ended => end(hub, session, job, Err(error)).await?,
    }
    Ok(ToBox::FailAck { job })
}

/// The box would take another job.
pub(crate) async fn on_free(hub: &Hub, session: &Session) -> Result<(), StoreError> {
    session.dispatch(framebridge_core::studio::job_dispatch::JobDispatch::on_ready);
    offer_next(hub, session).await
}

/// What a box says is a result has to be one.
fn check(hub: &Hub, job: JobId, result: JobResult) -> Result<JobResult, String> {
    match &result {
        JobResult::Inline { value } if value.to_string().len() > MAX_INLINE_RESULT => {
            Err("the box sent a result that is too large".to_owned())
        }
        // Its link may have moved since: then the node that it was uploaded to has it.
        JobResult::Uploaded { .. } if !hub.nodes.are_there() && !hub.uploads.join(job.to_string()).is_file() => {
            Err("the box's upload is not here (any more)".to_owned())
        }
        JobResult::Inline { .. } | JobResult::Uploaded { .. } => Ok(result),
    }
}

/// Gives up on what nobody took, and forgets what is old.
pub(crate) async fn tidy(hub: &Hub) {
    let before = |span: Duration| now_ms().saturating_sub(u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
    if let Err(error) = hub
        .store
        .tidy(before(PATIENCE), before(LONGEST), before(hub.keep.age))
        .await
    {
        tracing::error!("{:#}", anyhow::Error::from(error));
    }
}
