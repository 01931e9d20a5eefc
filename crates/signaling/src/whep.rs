//! WHEP: viewers join, trickle, restart ICE and leave over HTTP (draft-ietf-wish-whep; ICE as in RFC 9725).

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Extension,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use framebridge_auth::Principal;
use framebridge_proto::bridge::SEEN_AS;
use framebridge_rtc::{Handle, IfMatch, JoinError, Joined, PatchError, Patched, SessionId, ViewerState};

use crate::{
    access::now,
    app_state::AppState,
    body,
    client::{Address, ClientAddress},
    gate::Asker,
    owners::{Owner, brief},
    problem::{Details, Problem},
    stream::Stream,
};

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// How long a POST waits for a stream that it has just woken up: opening a camera or an RTSP feed takes one to two
/// seconds, and a client that sees 409 too early waits longer in the end.
const PATIENCE: Duration = Duration::from_secs(3);

/// When a viewer that found no place may try again.
const FULL_RETRY: Duration = Duration::from_secs(5);

/// Sessions that make room for one viewer at most: one does, unless others take its place first.
const MAKE_ROOM: usize = 8;

/// When a viewer may try again while this process is being replaced.
const DRAIN_RETRY: Duration = Duration::from_secs(1);

/// Starts a session: an SDP offer in, an answer out.
///
/// An idle stream is started, and waited for up to 3 seconds.
#[utoipa::path(
    post, path = "/whep/{stream}", operation_id = "whep_start_session", tag = "whep",
    params(("stream" = String, Path, description = "The stream's name")),
    request_body(content = String, content_type = "application/sdp", description = "The offer"),
    responses(
        (status = 201, description = "The session is open.", content_type = "application/sdp", body = String,
            headers(
                ("Location" = String, description = "The session's URL"),
                ("ETag" = String, description = "Strong entity tag of the session's ICE generation"),
                ("Link" = String, description = "STUN and TURN servers, rel=\"ice-server\""),
            )),
        (status = 400, description = "The offer is malformed.", body = Details, content_type = "application/problem+json"),
        (status = 404, description = "There is no such stream.", body = Details, content_type = "application/problem+json"),
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
    client: ClientAddress,
    Extension(who): Asker,
    Extension(Address(address)): Extension<Address>,
    Path(stream): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let stream = &shared.stream(&stream)?;
    if shared.is_draining() {
        return Err(draining());
    }
    shared.limits.join(client)?;
    let offer = body::read_text(&headers, body, SDP).await?;
    let joined = join(&shared, &engine(&shared, &headers, address), stream, &offer).await?;
    let session = joined.session;
    let owner = Owner {
        principal: who.clone(),
        address,
        since: now(),
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
    let joined = unanswered.answered().ok_or_else(internal)?;
    tracing::info!(stream = %stream.name, session = brief(&joined.session), %who, %address, "viewer joined");
    created(&shared, stream, joined)
}

/// Joins; when places run out, sessions that nobody connects to make room.
async fn join(shared: &AppState, engine: &Handle, stream: &Stream, offer: &str) -> Result<Joined, Problem> {
    for _place in 0..MAKE_ROOM {
        let full = match engine.join(&stream.name, offer).await {
            Err(JoinError::TooManyViewers { .. }) => Some(&stream.name),
            Err(JoinError::OutOfPlaces { .. }) => None,
            outcome => return outcome.map_err(join_problem),
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
    engine.join(&stream.name, offer).await.map_err(join_problem)
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
    client: ClientAddress,
    Extension(who): Asker,
    Extension(Address(address)): Extension<Address>,
    Path((stream, session)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let session = known_session(&shared, &who, &stream, &session)?;
    shared.limits.patch(client)?;
    let fragment = body::read_text(&headers, body, FRAGMENT).await?;
    let current = shared
        .engine
        .session(&session)
        .ok_or_else(Problem::unknown_session)?
        .etag;
    let if_match = if_match(&headers, &current)?;
    match engine(&shared, &headers, address)
        .patch(&session, &fragment, if_match)
        .await
        .map_err(patch_problem)?
    {
        Patched::Trickled => Ok(StatusCode::NO_CONTENT.into_response()),
        Patched::Restarted { etag, fragment } => {
            let headers = [
                (header::ETAG, entity_tag(&etag)?),
                (header::CONTENT_TYPE, HeaderValue::from_static(FRAGMENT)),
            ];
            Ok((StatusCode::OK, headers, fragment).into_response())
        }
    }
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
        (header::ETAG, entity_tag(&info.etag)?),
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

fn created(shared: &AppState, stream: &Stream, joined: Joined) -> Result<Response, Problem> {
    let location = format!("/whep/{}/{}", stream.name, joined.session);
    let mut response = (StatusCode::CREATED, joined.answer).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(SDP));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::LOCATION,
        HeaderValue::from_str(&location).map_err(|_| internal())?,
    );
    headers.insert(header::ETAG, entity_tag(&joined.etag)?);
    headers.insert(ACCEPT_PATCH, HeaderValue::from_static(FRAGMENT));
    for link in shared.ice_servers.links(&joined.session.to_string(), now()) {
        headers.append(header::LINK, link);
    }
    Ok(response)
}

/// The media plane, for a viewer at `address`, or from outside: by the bridge, which alone may say so.
fn engine(shared: &AppState, headers: &HeaderMap, address: IpAddr) -> Handle {
    let seen_as = headers.get(SEEN_AS).and_then(|value| value.to_str().ok()?.parse().ok());
    match seen_as {
        Some(seen_as) => shared.engine.seen_as(seen_as),
        None if address.is_loopback() => shared.engine.clone(),
        None => shared.engine.elsewhere(),
    }
}

/// The session of a URL: it has to exist, to be one of the URL's stream, and `who`'s own. Of whom it is not known whose it is,
/// the id alone has to do.
fn known_session(shared: &AppState, who: &Principal, stream: &str, session: &str) -> Result<SessionId, Problem> {
    let stream = &shared.stream(stream)?;
    let session: SessionId = session.parse().map_err(|_| Problem::unknown_session())?;
    let info = shared.engine.session(&session).ok_or_else(Problem::unknown_session)?;
    let owner = shared.owners.of(&session);
    if info.stream == stream.name && owner.is_none_or(|owner| owner.principal.is_same(who)) {
        shared.owners.prolong(session, who);
        Ok(session)
    } else {
        Err(Problem::unknown_session())
    }
}

/// Reads `If-Match` (RFC 9110, section 13.1.1): `*`, or a list of entity tags of which one may be the `current` one.
/// Weak tags never match. `"*"`, as an example of the WHEP draft has it, is taken for `*`, and the current tag also without
/// its quotes.
fn if_match(headers: &HeaderMap, current: &str) -> Result<IfMatch, Problem> {
    let malformed = || {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "malformed_if_match",
            "If-Match is neither `*` nor entity tags.",
        )
    };
    let mut found = IfMatch::None;
    for value in headers.get_all(header::IF_MATCH) {
        for tag in value.to_str().map_err(|_| malformed())?.split(',').map(str::trim) {
            if tag == "*" || tag == "\"*\"" {
                return Ok(IfMatch::Any);
            }
            if tag == current {
                found = IfMatch::Etag(tag.to_owned());
                continue;
            }
            let opaque = tag
                .strip_prefix("W/")
                .unwrap_or(tag)
                .strip_prefix('"')
                .and_then(|tag| tag.strip_suffix('"'))
                .ok_or_else(malformed)?;
            let matched = matches!(&found, IfMatch::Etag(tag) if tag == current);
            if !matched {
                found = IfMatch::Etag(if tag.starts_with("W/") {
                    String::new()
                } else {
                    opaque.to_owned()
                });
            }
        }
    }
    Ok(found)
}

fn entity_tag(opaque: &str) -> Result<HeaderValue, Problem> {
    HeaderValue::from_str(&format!("\"{opaque}\"")).map_err(|_| internal())
}

fn join_problem(error: JoinError) -> Problem {
    match error {
        JoinError::MalformedOffer(reason) => Problem::new(
            StatusCode::BAD_REQUEST,
            "malformed_sdp",
            format!("The offer is malformed: {reason}."),
        ),
        JoinError::NoAcceptableCodec => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "no_acceptable_codec",
            "The offer has no H.264 that can be sent (constrained baseline, packetization-mode=1).",
        ),
        JoinError::UnacceptableOffer(reason) => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "unacceptable_offer",
            format!("The offer asks for a transport that there is not: {reason}."),
        ),
        JoinError::TooManyViewers { limit } => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_viewers",
            format!("The stream has all the viewers it takes ({limit})."),
        )
        .retry_after(FULL_RETRY),
        JoinError::OutOfPlaces { limit } => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_viewers",
            format!("All streams together have the {limit} viewers that webrtc.memory_budget_mb leaves room for."),
        )
        .retry_after(FULL_RETRY),
        JoinError::Stopped => draining(),
    }
}

fn patch_problem(error: PatchError) -> Problem {
    match error {
        PatchError::UnknownSession => Problem::unknown_session(),
        PatchError::PreconditionFailed { etag } => {
            let problem = Problem::new(
                StatusCode::PRECONDITION_FAILED,
                "ice_generation_changed",
                "If-Match names another ICE generation of this session.",
            );
            match entity_tag(&etag) {
                Ok(tag) => problem.header(header::ETAG, tag),
                Err(internal) => internal,
            }
        }
        PatchError::PreconditionRequired => Problem::new(
            StatusCode::PRECONDITION_REQUIRED,
            "if_match_required",
            "An ICE restart needs If-Match, with the session's entity tag or `*`.",
        ),
        PatchError::Malformed(reason) => Problem::new(
            StatusCode::BAD_REQUEST,
            "malformed_fragment",
            format!("The SDP fragment is malformed: {reason}."),
        ),
        PatchError::TooManyRestarts { retry_after } => Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_restarts",
            "This session has restarted ICE too often; see Retry-After.",
        )
        .retry_after(retry_after),
    }
}

fn draining() -> Problem {
    let detail = "The server is being stopped or replaced.";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "draining", detail).retry_after(DRAIN_RETRY)
}

fn internal() -> Problem {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "The answer could not be written.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(value: &'static str) -> Option<IfMatch> {
        let headers = HeaderMap::from_iter([(header::IF_MATCH, HeaderValue::from_static(value))]);
        if_match(&headers, "now").ok()
    }

    #[test]
    fn if_match_reads_star_lists_and_weak_tags() {
        assert_eq!(if_match(&HeaderMap::new(), "now").ok(), Some(IfMatch::None));
        assert_eq!(parsed("*"), Some(IfMatch::Any));
        assert_eq!(parsed("\"now\""), Some(IfMatch::Etag("now".into())));
        assert_eq!(parsed("\"now\", \"other\""), Some(IfMatch::Etag("now".into())));
        assert_eq!(parsed("\"other\" , \"now\""), Some(IfMatch::Etag("now".into())));
        assert_eq!(parsed("W/\"now\""), Some(IfMatch::Etag(String::new())));
        assert_eq!(parsed("\"*\""), Some(IfMatch::Any));
        assert_eq!(parsed("now"), Some(IfMatch::Etag("now".into())));
        assert_eq!(parsed("other"), None);
        assert_eq!(parsed("now, \"other\""), Some(IfMatch::Etag("now".into())));
    }
}
