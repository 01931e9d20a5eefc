//! A viewer's session as the API shows it, and for a while after its end why it ended; and what its page tells of it.

use std::{sync::Arc, time::Instant};

use axum::{
    Extension, Json,
    body::Body,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
};
use framebridge_auth::Principal;
use framebridge_proto::media::{Rung, UnknownRung};
use framebridge_rtc::{SessionId, ViewerState};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    app_state::AppState,
    body,
    gate::Asker,
    problem::{Details, Problem},
    reports::Report,
};

/// A viewer's session.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionView {
    /// The stream it watches.
    stream: String,
    /// `connecting`, `live`, `grace` (it has gone quiet and may come back) or `closed`.
    state: &'static str,
    /// It had a connection that is lost, and its place is kept.
    webrtc_reconnecting: bool,
    /// What is or was wrong with its connection; `null`: nothing.
    webrtc_error: Option<String>,
    /// The address that its media came from is gone, and the viewer could not be reached from another: ICE is to be restarted.
    addresses_changed: bool,
    /// It has ended because an operator sent the viewer away: it is not to come back by itself.
    sent_away: bool,
    /// Which rung it is given: `full`, `half` or `quarter` of the edge; `null`: it has ended.
    rung: Option<&'static str>,
    /// Bits per second that its link carries, as far as is known.
    estimate: Option<u64>,
    /// Bits per second that the full rung takes.
    full_rung: Option<u32>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AtMost {
    /// `full`, `half` or `quarter` of the edge: no better one is wanted from now on.
    best: String,
}

/// What a rung is called in addresses.
///
/// # Errors
/// No rung is called so.
pub(crate) fn rung(word: &str) -> Result<Rung, Problem> {
    word.parse().map_err(|error: UnknownRung| {
        let message = format!("`{word}` is no rung: {error}.");
        Problem::new(StatusCode::BAD_REQUEST, "unknown_rung", message)
    })
}

/// How a viewer's session is; for a while after its end, why it ended.
#[utoipa::path(
    get, path = "/api/v1/streams/{stream}/sessions/{session}", operation_id = "get_session", tag = "api",
    params(
        ("stream" = String, Path, description = "The stream's name"),
        ("session" = String, Path, description = "The session's id: the last part of its WHEP URL"),
    ),
    responses(
        (status = 200, description = "How it is, or was.", body = SessionView),
        (status = 404, description = "There is no such session (any more).", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn session(
    State(shared): State<Arc<AppState>>,
    Extension(who): Asker,
    Path((stream, session)): Path<(String, String)>,
) -> Result<Json<SessionView>, Problem> {
    let wanted = shared.stream(&stream)?.name.clone();
    let session: SessionId = session.parse().map_err(|_| Problem::unknown_session())?;
    let open = shared.engine.session(&session);
    check_owner(&shared, &session, &who)?;
    let link = open.as_ref().map(|info| info.link);
    let addresses_changed = open.as_ref().is_some_and(|info| info.is_lost);
    let (stream, state) = open
        .map(|info| (info.stream, info.state))
        .or_else(|| shared.ended.of(&session))
        .filter(|(stream, _)| *stream == wanted)
        .ok_or_else(Problem::unknown_session)?;
    let webrtc_error = match state {
        ViewerState::Connecting | ViewerState::Live => None,
        ViewerState::Grace => Some("Nothing has been heard from the viewer for a while.".to_owned()),
        ViewerState::Closed(reason) => reason.is_fault().then(|| format!("The connection was lost: {reason}.")),
    };
    Ok(Json(SessionView {
        stream: stream.to_string(),
        state: state.as_str(),
        webrtc_reconnecting: state == ViewerState::Grace,
        webrtc_error,
        addresses_changed,
        sent_away: shared.ended.was_sent_away(&session),
        rung: link.map(|link| link.rung.as_str()),
        estimate: link.and_then(|link| link.estimate),
        full_rung: link.and_then(|link| link.full_rate),
    }))
}

/// Has a viewer given no better rung than it can use: a cell of a wall shows no more.
#[utoipa::path(
    put, path = "/api/v1/streams/{stream}/sessions/{session}/rung", operation_id = "put_session_rung", tag = "api",
    params(
        ("stream" = String, Path, description = "The stream's name"),
        ("session" = String, Path, description = "The session's id: the last part of its WHEP URL"),
        AtMost,
    ),
    responses(
        (status = 204, description = "It gets no better one from its next keyframe on."),
        (status = 400, description = "There is no such rung.", body = Details, content_type = "application/problem+json"),
        (status = 404, description = "There is no such session.", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn put_rung(
    State(shared): State<Arc<AppState>>,
    Extension(who): Asker,
    Path((stream, session)): Path<(String, String)>,
    Query(AtMost { best }): Query<AtMost>,
) -> Result<StatusCode, Problem> {
    let wanted = shared.stream(&stream)?.name.clone();
    let session: SessionId = session.parse().map_err(|_| Problem::unknown_session())?;
    check_owner(&shared, &session, &who)?;
    let best = rung(&best)?;
    let is_open = shared
        .engine
        .session(&session)
        .is_some_and(|info| info.stream == wanted);
    if is_open && shared.engine.at_most(&session, best).await {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::unknown_session())
    }
}

/// How a viewer's page says it fares. It is kept for 15 s. One that comes within 2 s of the one before is left out.
#[utoipa::path(
    post, path = "/api/v1/streams/{stream}/sessions/{session}/report", operation_id = "post_report", tag = "api",
    params(
        ("stream" = String, Path, description = "The stream's name"),
        ("session" = String, Path, description = "The session's id: the last part of its WHEP URL"),
    ),
    request_body(content = Report, content_type = "application/json"),
    responses(
        (status = 204, description = "It was heard."),
        (status = 400, description = "It is no report.", body = Details, content_type = "application/problem+json"),
        (status = 404, description = "There is no such session (any more).", body = Details, content_type = "application/problem+json"),
        (status = 413, description = "The body has over 64 KiB.", body = Details, content_type = "application/problem+json"),
        (status = 415, description = "The body is no application/json.", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn report(
    State(shared): State<Arc<AppState>>,
    Extension(who): Asker,
    Path((stream, session)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let wanted = shared.stream(&stream)?.name.clone();
    let body = body::read(&headers, body, "application/json").await?;
    let told: Report = serde_json::from_slice(&body).map_err(|error| {
        let detail = format!("The body is no report: {error}.");
        Problem::new(StatusCode::BAD_REQUEST, "invalid", detail)
    })?;
    let session: SessionId = session.parse().map_err(|_| Problem::unknown_session())?;
    check_owner(&shared, &session, &who)?;
    let is_open = shared
        .engine
        .session(&session)
        .is_some_and(|info| info.stream == wanted);
    if !is_open {
        return Err(Problem::unknown_session());
    }
    // One that came too soon says nothing new.
    _ = shared.reports.take(session, &wanted, told, Instant::now());
    Ok(StatusCode::NO_CONTENT)
}

/// Nobody is told of others' sessions.
fn check_owner(shared: &AppState, session: &SessionId, who: &Principal) -> Result<(), Problem> {
    let owner = shared.owners.of(session);
    if owner.is_some_and(|owner| !owner.principal.is_same(who)) {
        return Err(Problem::unknown_session());
    }
    Ok(())
}
