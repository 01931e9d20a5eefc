//! WHEP: viewers join, trickle, restart ICE and leave over HTTP (draft-ietf-wish-whep; ICE as in RFC 9725).

use std::{sync::Arc, time::Duration};

use axum::{
    Extension,
    body::Body,
    extract::{Path, Query, State},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{self, InvalidHeaderValue},
    },
    response::{IntoResponse, Response},
};
use framebridge_auth::Principal;
use framebridge_core::session_news::Kinds;
use framebridge_proto::media::{CodecParameters, Rung};
use framebridge_rtc::{Handle, JoinError, Joined, Load, SessionId, ViewerState};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    access::now,
    app_state::AppState,
    client::Visitor,
    gate::Asker,
    negotiation::{self, ACCEPT_PATCH, ACCEPT_POST, FRAGMENT, SDP, prefix},
    owners::{Owner, brief},
    problem::{Details, Problem},
    sessions,
    stream::Stream,
};

/// The name of the extension by which a session tells what happens.
const EVENTS: &str = "urn:ietf:params:whep:ext:core:server-sent-events";

/// How long a POST waits for a stream that it has just woken up: opening a camera or an RTSP feed takes one to two
/// seconds, and a client that sees 409 too early waits longer in the end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// How long the answer waits to know what will be sent, so that it can say H.264's level: a keyframe is on its way, and
/// without one there is no picture either.
pub(crate) const PARAMETERS_PATIENCE: Duration = Duration::from_millis(300);

/// Sessions that make room for one viewer at most: one does, unless others take its place first.
const MAKE_ROOM: usize = 8;

/// What a viewer asks for besides.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// `full`, `half` or `quarter` of the edge: no better rung is wanted.
    rung: Option<String>,
}

/// Starts a session: an SDP offer in, an answer out.
///
/// An idle stream is started, and waited for up to 3 seconds.
#[utoipa::path(
    post, path = "/whep/{stream}", operation_id = "whep_start_session", tag = "whep",
    params(("stream" = String, Path, description = "The stream's name"), Wanted),
    request_body(content = String, content_type = "application/sdp", description = "The offer"),
    responses(
        (status = 201, description = "The session is open.", content_type = "application/sdp", body = String,
            headers(
                ("Location" = String, description = "The session's URL"),
                ("ETag" = String, description = "Strong entity tag of the session's ICE generation"),
                ("Link" = String, description = "STUN and TURN servers, rel=\"ice-server\"; where the session's events are"),
            )),
        (status = 400, description = "The offer is malformed, or there is no such rung.", body = Details, content_type = "application/problem+json"),
        (status = 404, description = "There is no such stream.", body = Details, content_type = "application/problem+json"),
        (status = 406, description = "The client takes no application/sdp.", body = Details, content_type = "application/problem+json"),
        (status = 409, description = "The stream's source or encoder is unavailable now, or those who watch see a slate; see Retry-After.", body = Details, content_type = "application/problem+json"),
        (status = 413, description = "The body has over 64 KiB.", body = Details, content_type = "application/problem+json"),
        (status = 415, description = "The body is no application/sdp.", body = Details, content_type = "application/problem+json"),
        (status = 422, description = "The offer has no H.264 that can be sent, or asks for a transport that there is not.", body = Details, content_type = "application/problem+json"),
        (status = 429, description = "Too many of this address join, or are still connecting; see Retry-After.", body = Details, content_type = "application/problem+json"),
        (status = 503, description = "Too many viewers, or shutting down; see Retry-After.", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn post(
    State(shared): State<Arc<AppState>>,
    visitor: Visitor,
    Extension(who): Asker,
    Path(stream): Path<String>,
    Query(Wanted { rung }): Query<Wanted>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let stream = &shared.stream(&stream)?;
    let best = rung.map_or(Ok(Rung::Full), |word| sessions::rung(&word))?;
    let offer = negotiation::offer(&shared, visitor, &headers, body).await?;
    let Visitor { client, address, .. } = visitor;
    let engine = negotiation::engine(&shared, visitor, &headers).with_best(best);
    let joined = join(&shared, &engine, stream, &offer).await?;
    let session = joined.session;
    let owner = Owner {
        principal: who.clone(),
        address,
        since: now(),
        pushed: None,
        parameter_sets: Vec::new(),
    };
    shared.owners.note(session, owner);
    let unanswered = Unanswered {
        shared: &shared,
        joined: Some(joined),
    };
    shared.limits.open(session, &stream.name, client)?;
    // Whoever has joined is counted, and so wants frames.
    if let Err(unavailable) = stream.ready(PATIENCE).await {
        drop(unanswered);
        let health = shared.health(stream).await;
        let is_known_better = health.reason.is_some();
        let told = if is_known_better { health } else { unavailable };
        return Err(Problem::from(told).told(&who, stream.words_for_viewers()));
    }
    let parameters = stream.parameters(PARAMETERS_PATIENCE).await;
    let joined = unanswered.answered().ok_or_else(Problem::unwritten)?;
    tracing::info!(stream = %stream.name, session = brief(&joined.session), %who, %address, "viewer joined");
    let location = format!("{}/whep/{}/{session}", prefix(&headers), stream.name);
    created(&shared, &location, &joined, parameters)
}

/// Joins; when places run out, sessions that nobody connects to make room.
async fn join(shared: &AppState, engine: &Handle, stream: &Stream, offer: &str) -> Result<Joined, Problem> {
    for _place in 0..MAKE_ROOM {
        let full = match engine.join(&stream.name, offer).await {
            Err(JoinError::TooManyViewers { .. }) => Some(&stream.name),
            Err(JoinError::OutOfPlaces { .. }) => None,
            outcome => return outcome.map_err(negotiation::join_problem),
        };
        let Some(session) = shared.limits.give_up(full) else {
            break;
        };
        let info = engine.session(&session);
        if info.is_some_and(|info| info.state == ViewerState::Connecting) {
            tracing::debug!(%session, "a session that nobody connects to makes room for another");
            engine.abandon(&session);
        }
    }
    engine
        .join(&stream.name, offer)
        .await
        .map_err(negotiation::join_problem)
}

/// A viewer that is yet to be told that it was taken. Until then it goes with the request: a client that does not wait for
/// the answer leaves no place taken.
struct Unanswered<'a> {
    shared: &'a AppState,
    joined: Option<Joined>,
}

impl Unanswered<'_> {
    fn answered(mut self) -> Option<Joined> {
        self.joined.take()
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(joined) = &self.joined {
            self.shared.engine.abandon(&joined.session);
            self.shared.owners.forget(&joined.session);
        }
    }
}

/// Trickles candidates (`If-Match` with the session's entity tag, or without it) or restarts ICE (`If-Match: *`).
#[utoipa::path(
    patch, path = "/whep/{stream}/{session}", operation_id = "whep_change_session", tag = "whep",
    params(
        ("stream" = String, Path, description = "The stream's name"),
        ("session" = String, Path, description = "The session's id"),
        ("If-Match" = Option<String>, Header, description = "The session's entity tag, or `*`; required for an ICE restart"),
    ),
    request_body(content = String, content_type = "application/trickle-ice-sdpfrag"),
    responses(
        (status = 200, description = "ICE was restarted: new credentials and candidates, new ETag.",
            content_type = "application/trickle-ice-sdpfrag", body = String,
            headers(("ETag" = String, description = "Strong entity tag of the new ICE generation"))),
        (status = 204, description = "The candidates were taken."),
        (status = 400, description = "The fragment is malformed.", body = Details, content_type = "application/problem+json"),
        (status = 404, description = "There is no such session.", body = Details, content_type = "application/problem+json"),
        (status = 412, description = "If-Match names another ICE generation.", body = Details, content_type = "application/problem+json"),
        (status = 413, description = "The body has over 64 KiB.", body = Details, content_type = "application/problem+json"),
        (status = 415, description = "The body is no application/trickle-ice-sdpfrag.", body = Details, content_type = "application/problem+json"),
        (status = 428, description = "If-Match is missing from an ICE restart.", body = Details, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests of this address, or ICE was restarted too often; see Retry-After.", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn patch(
    State(shared): State<Arc<AppState>>,
    visitor: Visitor,
    Extension(who): Asker,
    Path((stream, session)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let session = known_session(&shared, &who, &stream, &session)?;
    let etag = || Some(shared.engine.session(&session)?.etag);
    negotiation::patch(&shared, visitor, (&session, etag), headers, body).await
}

/// Ends a session. `If-Match` is ignored, as the draft wants it.
#[utoipa::path(
    delete, path = "/whep/{stream}/{session}", operation_id = "whep_end_session", tag = "whep",
    params(
        ("stream" = String, Path, description = "The stream's name"),
        ("session" = String, Path, description = "The session's id"),
    ),
    responses(
        (status = 200, description = "The session has ended."),
        (status = 404, description = "There is no such session (any more).", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn delete(
    State(shared): State<Arc<AppState>>,
    Extension(who): Asker,
    Path((stream, session)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let session = known_session(&shared, &who, &stream, &session)?;
    if shared.end(&session).await {
        Ok(StatusCode::OK)
    } else {
        Err(Problem::unknown_session())
    }
}

/// Says by its type that there is an endpoint here, for players that look for one (draft-ietf-wish-whep, "WHEP Endpoint URL
/// Discoverability"), and nothing more: the draft gives it no representation.
#[utoipa::path(
    get, path = "/whep/{stream}", operation_id = "whep_get_endpoint", tag = "whep",
    params(("stream" = String, Path, description = "The stream's name")),
    responses(
        (status = 200, description = "POST an offer here; the content is empty.", content_type = "application/sdp"),
        (status = 404, description = "There is no such stream.", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get_endpoint(
    State(shared): State<Arc<AppState>>,
    Path(stream): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    shared.stream(&stream)?;
    Ok([(header::CONTENT_TYPE, SDP), (ACCEPT_POST, SDP)])
}

/// Says whether a session is open: the draft gives it no representation.
#[utoipa::path(
    get, path = "/whep/{stream}/{session}", operation_id = "whep_check_session", tag = "whep",
    params(
        ("stream" = String, Path, description = "The stream's name"),
        ("session" = String, Path, description = "The session's id"),
    ),
    responses(
        (status = 204, description = "The session is open.",
            headers(("ETag" = String, description = "Strong entity tag of the session's ICE generation"))),
        (status = 404, description = "There is no such session (any more).", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get_session(
    State(shared): State<Arc<AppState>>,
    Extension(who): Asker,
    Path((stream, session)): Path<(String, String)>,
) -> Result<impl IntoResponse, Problem> {
    let session = known_session(&shared, &who, &stream, &session)?;
    let info = shared.engine.session(&session).ok_or_else(Problem::unknown_session)?;
    let headers = [
        (header::ETAG, negotiation::entity_tag(&info.etag)?),
        (ACCEPT_PATCH, HeaderValue::from_static(FRAGMENT)),
    ];
    Ok((StatusCode::NO_CONTENT, headers))
}

/// What can be done at an endpoint.
#[utoipa::path(
    options, path = "/whep/{stream}", operation_id = "whep_get_endpoint_options", tag = "whep",
    params(("stream" = String, Path, description = "The stream's name")),
    responses((status = 200, description = "See Allow, Accept-Post and the CORS headers."))
)]
pub(crate) async fn options_endpoint() -> impl IntoResponse {
    [(header::ALLOW, "GET, HEAD, POST, OPTIONS"), (ACCEPT_POST, SDP)]
}

/// What can be done with a session.
#[utoipa::path(
    options, path = "/whep/{stream}/{session}", operation_id = "whep_get_session_options", tag = "whep",
    params(
        ("stream" = String, Path, description = "The stream's name"),
        ("session" = String, Path, description = "The session's id"),
    ),
    responses((status = 200, description = "See Allow, Accept-Patch and the CORS headers."))
)]
pub(crate) async fn options_session() -> impl IntoResponse {
    [
        (header::ALLOW, "GET, HEAD, PATCH, DELETE, OPTIONS"),
        (ACCEPT_PATCH, FRAGMENT),
    ]
}

/// What whoever decodes these frames has to carry.
pub(crate) fn load(sent: CodecParameters) -> Load {
    Load {
        width: sent.width,
        height: sent.height,
        fps: sent.fps,
        bitrate: sent.bitrate,
        level: sent.copied.map(|[_, _, level]| level),
    }
}

/// `location` is from the root, for players of others know no relative one.
fn created(
    shared: &AppState,
    location: &str,
    joined: &Joined,
    parameters: Option<CodecParameters>,
) -> Result<Response, Problem> {
    let answer = parameters.map_or_else(|| joined.answer.clone(), |sent| joined.answer_for(load(sent)));
    let mut response = negotiation::created(shared, location, (&joined.session, &joined.etag), answer)?;
    let events = events_link(location).map_err(|_| Problem::unwritten())?;
    response.headers_mut().append(header::LINK, events);
    Ok(response)
}

/// Where a session at `location` tells of what happens, and what (draft-ietf-wish-whep, "Server-Sent Events extension").
fn events_link(location: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    let events = Kinds::ALL.to_string().replace('-', ",");
    HeaderValue::from_str(&format!("<{location}/sse>; rel=\"{EVENTS}\"; events=\"{events}\""))
}

/// The session of a URL. Of whom it is not known whose it is, the id alone has to do.
pub(crate) fn known_session(
    shared: &AppState,
    who: &Principal,
    stream: &str,
    session: &str,
) -> Result<SessionId, Problem> {
    let found = |session: &SessionId| Some(shared.engine.session(session)?.stream);
    negotiation::known_session(shared, who, (stream, session), found, true)
}
