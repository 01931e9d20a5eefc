//! Where a box brings the bytes of a job's result.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{ConnectInfo, Path, State},
    http::{HeaderMap, StatusCode, header},
};
use framebridge_studio_proto::JobId;

use crate::{auth, hub::Hub, problem::Problem, store::Kind};

/// Takes the bytes of a job's result from the box that does it. Repeating it does no harm.
pub(crate) async fn put(
    State(hub): State<Arc<Hub>>,
    Path(job): Path<String>,
    ConnectInfo(connection): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let tokens = hub.store.current_tokens().await?;
    let given = auth::presented(&headers).unwrap_or_default();
    let Some(token) = auth::find(&tokens, &given, Kind::Box) else {
        hub.limits.wrong_tokens.take(hub.limits.address(connection, &headers))?;
        let detail = "This takes the token of a box.";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail));
    };
    let id: JobId = job.parse().map_err(|_| Problem::not_found())?;
    let Some(job) = hub.store.job(id).await? else {
        // Another node's, it may be, of which this one has not heard yet.
        return Err(if hub.nodes.are_there() {
            let detail = "This node of the studio does not know the job (yet).";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unknown_job", detail).retry_after(Duration::from_secs(5))
        } else {
            Problem::not_found()
        });
    };
    let owner = hub.boxes.get(job.session).map(|session| session.name.clone());
    if owner.as_ref() != Some(&token.name) {
        return Err(Problem::not_found());
    }
    if job.ended_ms.is_some() {
        let detail = "The job has ended: nobody waits for what came of it.";
        return Err(Problem::new(StatusCode::GONE, "job_ended", detail));
    }
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    hub.uploads.receive(id, job.session, length, body).await?;
    Ok(StatusCode::NO_CONTENT)
}
