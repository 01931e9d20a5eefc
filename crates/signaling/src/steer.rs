//! Steering a desktop: a line for who may, over which it is asked for and done.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use framebridge_auth::Principal;
use framebridge_rtc::{Line, LineError, LineEvent, Opened, SessionId};
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};
use utoipa::ToSchema;

use crate::{
    access::now,
    app_state::AppState,
    body,
    client::Visitor,
    gate::Asker,
    hands::page,
    negotiation::{self, FULL_RETRY, SDP},
    owners::{Owner, brief},
    problem::{Details, Problem},
    stream::Stream,
};

/// How often a line's right to be is looked at, and time passes for who has the floor.
const LOOK: Duration = Duration::from_millis(500);

/// Whether somebody steered.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TakenBack {
    /// Whether somebody did, and does not any more.
    ended: bool,
}

/// Opens a line to steer the stream's desktop by: an SDP offer of data channels alone in, an answer out.
///
/// The channels are `negotiated`, 0 in order and reliable, 1 without either; `docs/protocol.md` has what is said on them.
#[utoipa::path(
    post, path = "/api/v1/streams/{stream}/control", operation_id = "open_control_line", tag = "api",
    params(("stream" = String, Path, description = "The stream's name")),
    request_body(content = String, content_type = "application/sdp", description = "The offer"),
    responses(
        (status = 201, description = "The line is open. It ends with its connection, and with DELETE.", content_type = "application/sdp", body = String,
            headers(("Location" = String, description = "The line's URL"))),
        (status = 400, description = "The offer is malformed.", body = Details, content_type = "application/problem+json"),
        (status = 403, description = "This stream is for looking only.", body = Details, content_type = "application/problem+json"),
        (status = 404, description = "There is no such stream.", body = Details, content_type = "application/problem+json"),
        (status = 413, description = "The body has over 64 KiB.", body = Details, content_type = "application/problem+json"),
        (status = 415, description = "The body is no application/sdp.", body = Details, content_type = "application/problem+json"),
        (status = 422, description = "It does not offer data channels alone.", body = Details, content_type = "application/problem+json"),
        (status = 429, description = "Too many of this address join; see Retry-After.", body = Details, content_type = "application/problem+json"),
        (status = 503, description = "There are all the lines that there may be, or shutting down; see Retry-After.", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn open(
    State(shared): State<Arc<AppState>>,
    visitor: Visitor,
    Extension(who): Asker,
    Path(stream): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let stream = shared.stream(&stream)?;
    if !stream.control {
        let detail = "This stream is for looking only: its operator has not set `control` for it.";
        return Err(Problem::new(StatusCode::FORBIDDEN, "view_only", detail));
    }
    if shared.is_draining() {
        return Err(negotiation::draining());
    }
    shared.limits.join(visitor.client)?;
    let offer = body::read_text(&headers, body, SDP).await?;
    let engine = negotiation::engine(&shared, visitor, &headers);
    let (prefix, name) = (negotiation::prefix(&headers), stream.name.clone());
    let Opened { answer, line } = engine.open_line(&stream.name, &offer).await.map_err(problem)?;
    let session = *line.session();
    tracing::info!(stream = %stream.name, line = brief(&session), %who, address = %visitor.address, "a line to steer by was opened");
    let owner = Owner {
        principal: who.clone(),
        address: visitor.address,
        since: now(),
        pushed: None,
        parameter_sets: Vec::new(),
    };
    shared.owners.note(session, owner);
    shared.tasks.spawn(serve(Arc::clone(&shared), stream, line, who));
    let location = format!("{prefix}/api/v1/streams/{name}/control/{session}");
    let headers = [
        (header::CONTENT_TYPE, SDP),
        (header::CACHE_CONTROL, "no-store"),
        (header::LOCATION, location.as_str()),
    ];
    Ok((StatusCode::CREATED, headers, answer).into_response())
}

/// Says whether a line is open.
#[utoipa::path(
    get, path = "/api/v1/streams/{stream}/control/{line}", operation_id = "check_control_line", tag = "api",
    params(("stream" = String, Path, description = "The stream's name"), ("line" = String, Path, description = "The line's id")),
    responses(
        (status = 204, description = "The line is open."),
        (status = 404, description = "There is no such line (any more).", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn line(
    State(shared): State<Arc<AppState>>,
    Extension(who): Asker,
    Path((stream, line)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    known_line(&shared, &who, &stream, &line)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends a line.
#[utoipa::path(
    delete, path = "/api/v1/streams/{stream}/control/{line}", operation_id = "close_control_line", tag = "api",
    params(("stream" = String, Path, description = "The stream's name"), ("line" = String, Path, description = "The line's id")),
    responses(
        (status = 204, description = "The line has ended."),
        (status = 404, description = "There is no such line (any more).", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn close(
    State(shared): State<Arc<AppState>>,
    Extension(who): Asker,
    Path((stream, line)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let line = known_line(&shared, &who, &stream, &line)?;
    if shared.engine.close_line(&line) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(unknown_line())
    }
}

/// The line of a URL: it has to be open, and `who`'s own.
fn known_line(shared: &AppState, who: &Principal, stream: &str, line: &str) -> Result<SessionId, Problem> {
    shared.stream(stream)?;
    let line: SessionId = line.parse().map_err(|_| unknown_line())?;
    let owner = shared.owners.of(&line).ok_or_else(unknown_line)?;
    if owner.principal.is_same(who) && shared.engine.has_line(&line) {
        Ok(line)
    } else {
        Err(unknown_line())
    }
}

fn unknown_line() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "unknown_line",
        "There is no such line (any more).",
    )
}

/// Takes the stream's desktop back from whoever steers it.
#[utoipa::path(
    delete, path = "/api/v1/streams/{stream}/control", operation_id = "take_control_back", tag = "api",
    params(("stream" = String, Path, description = "The stream's name")),
    responses(
        (status = 200, description = "Nobody steers now.", body = TakenBack),
        (status = 404, description = "There is no such stream.", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn take_back(
    State(shared): State<Arc<AppState>>,
    Extension(who): Asker,
    Path(stream): Path<String>,
) -> Result<Json<TakenBack>, Problem> {
    let ended = shared.stream(&stream)?.hands.take_back(&who.to_string());
    Ok(Json(TakenBack { ended }))
}

/// Serves a line until it ends, or its owner may not steer any more.
async fn serve(shared: Arc<AppState>, stream: Arc<Stream>, mut line: Line, who: Principal) {
    let (seat, mut sayings) = stream.hands.join(&who.to_string());
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // All arms are cancel-safe.
        tokio::select! {
            event = line.next() => match event {
                None => break,
                Some(LineEvent::Open) => {}
                Some(LineEvent::Message(_, message)) => {
                    let meant = page::read(&message);
                    if !meant.is_some_and(|meant| seat.hear(meant)) {
                        tracing::debug!(line = brief(line.session()), "a line ends: what came can't be read, or nobody hears");
                        break;
                    }
                }
            },
            said = sayings.recv() => match said {
                Some((lane, text)) => line.send(lane, text).await,
                // Its page has another line.
                None => break,
            },
            _ = looks.tick() => {
                stream.hands.tick();
                let is_there = shared.streams.get(&stream.name).is_some_and(|there| Arc::ptr_eq(&there, &stream));
                if !is_there || !shared.access.is_good(&who) {
                    break;
                }
            }
        }
    }
    drop(seat);
    shared.owners.forget(line.session());
}

fn problem(error: LineError) -> Problem {
    match error {
        LineError::MalformedOffer(reason) => Problem::new(
            StatusCode::BAD_REQUEST,
            "malformed_sdp",
            format!("The offer is malformed: {reason}."),
        ),
        LineError::UnacceptableOffer(reason) => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "unacceptable_offer",
            format!("The offer is not for steering: {reason}."),
        ),
        LineError::OutOfPlaces { limit } => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_lines",
            format!("There are all the {limit} lines that there may be."),
        )
        .retry_after(FULL_RETRY),
        LineError::Stopped => negotiation::draining(),
    }
}
