//! Jobs: offered to their box one at a time, kept until there is a result.

use std::time::Duration;

use framebridge_studio_proto::{JobId, JobResult, Rejection, ToBox, limits::MAX_INLINE_RESULT};

use crate::{
    hub::Hub,
    session::Session,
    store::{JobState, Record, StoreError, now_ms},
};

/// A job that no box took for so long has failed.
const PATIENCE: Duration = Duration::from_secs(3600);

/// A job that a box has begun so often has failed: it dies of it, or can't bring what comes of it.
const MOST_ATTEMPTS: u32 = 3;

/// Offers the next job, if the box would take one and there is one.
pub(crate) async fn offer_next(hub: &Hub, session: &Session) -> Result<(), StoreError> {
    let Some(link) = session.link() else { return Ok(()) };
    // A box that has one in hand is not free, and that one is not judged.
    while session.is_free()
        && let Some(job) = hub.store.next_job(session.id).await?
    {
        if session.attempts_at(job.id) >= MOST_ATTEMPTS {
            let error = format!("the box has begun it {MOST_ATTEMPTS} times, and it came to nothing");
            hub.store.end_job(job.id, session.id, Err(error)).await?;
            tell_others(hub, job.id).await?;
            continue;
        }
        if session.take_free() {
            let offer = ToBox::Offer {
                job: job.id,
                kind: job.kind,
                deadline_ms: job.deadline_ms,
            };
            if link.send(offer).await.is_err() {
                session.set_free();
            }
        }
        break;
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

/// The box does the job.
pub(crate) async fn on_accepted(hub: &Hub, session: &Session, job: JobId) -> Result<(), StoreError> {
    session.attempt(job);
    hub.store.move_job(job, session.id, JobState::Running).await?;
    tell_others(hub, job).await
}

/// The box does not do the job.
pub(crate) async fn on_rejected(hub: &Hub, session: &Session, job: JobId, why: Rejection) -> Result<(), StoreError> {
    match why {
        // It says when it would take one again.
        Rejection::Paused | Rejection::Busy => {
            hub.store.move_job(job, session.id, JobState::Waiting).await?;
            tell_others(hub, job).await
        }
        Rejection::Unsupported => {
            let error = "the box can't do this, or has no such stream".to_owned();
            hub.store.end_job(job, session.id, Err(error)).await?;
            tell_others(hub, job).await?;
            on_free(hub, session).await
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
    hub.store.end_job(job, session.id, check(hub, job, result)).await?;
    tell_others(hub, job).await?;
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
    if retryable && session.attempts_at(job) < MOST_ATTEMPTS {
        tracing::info!(%job, error, "a job is tried again");
        hub.store.move_job(job, session.id, JobState::Waiting).await?;
    } else {
        hub.store.end_job(job, session.id, Err(error)).await?;
    }
    tell_others(hub, job).await?;
    Ok(ToBox::FailAck { job })
}

/// The box would take another job.
pub(crate) async fn on_free(hub: &Hub, session: &Session) -> Result<(), StoreError> {
    session.set_free();
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
    if let Err(error) = hub.store.tidy(before(PATIENCE), before(hub.keep.age)).await {
        tracing::error!("{:#}", anyhow::Error::from(error));
    }
}
