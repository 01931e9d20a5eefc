//! What WHEP, WHIP and the lines of steering have in common: an offer in and an answer out, and what is said of a session after that.

mod headers;

use std::{net::IpAddr, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use framebridge_auth::Principal;
use framebridge_proto::{StreamName, bridge::SEEN_AS};
use framebridge_rtc::{Arrival, Handle, JoinError, PatchError, Patched, SessionId};

use crate::{access::now, app_state::AppState, body, client::Visitor, problem::Problem};

use headers::{Malformed, accepts, if_match};

pub(crate) use headers::prefix;

pub(crate) const SDP: &str = "application/sdp";
pub(crate) const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
pub(crate) const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
pub(crate) const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// When a viewer that found no place may try again.
pub(crate) const FULL_RETRY: Duration = Duration::from_secs(5);

/// When whoever comes may try again while this process is being replaced.
const DRAIN_RETRY: Duration = Duration::from_secs(1);

/// The offer of whoever begins a session, if there may be one more.
pub(crate) async fn offer(
    shared: &AppState,
    visitor: Visitor,
    headers: &HeaderMap,
    body: Body,
) -> Result<String, Problem> {
    if shared.is_draining() {
        return Err(draining());
    }
    shared.limits.join(visitor.client)?;
    if !accepts(headers, SDP) {
        return Err(not_acceptable());
    }
    body::read_text(headers, body, SDP).await
}

/// Says that a session is open: the answer, and what is needed to change and to end it. `location` is from the root, for players of
/// others know no relative one.
pub(crate) fn created(
    shared: &AppState,
    location: &str,
    (session, etag): (&SessionId, &str),
    answer: String,
) -> Result<Response, Problem> {
    let mut response = (StatusCode::CREATED, answer).into_response();
    let told = response.headers_mut();
    told.insert(header::CONTENT_TYPE, HeaderValue::from_static(SDP));
    told.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let location = HeaderValue::from_str(location);
    told.insert(header::LOCATION, location.map_err(|_| Problem::unwritten())?);
    told.insert(header::ETAG, entity_tag(etag)?);
    told.insert(ACCEPT_PATCH, HeaderValue::from_static(FRAGMENT));
    for link in shared.ice_servers.links(&session.to_string(), now()) {
        told.append(header::LINK, link);
    }
    Ok(response)
}

/// Trickles candidates or restarts ICE; `etag` looks the session's entity tag up once the fragment has been read.
pub(crate) async fn patch(
    shared: &AppState,
    visitor: Visitor,
    (session, etag): (&SessionId, impl FnOnce() -> Option<String>),
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    shared.limits.patch(visitor.client)?;
    let fragment = body::read_text(&headers, body, FRAGMENT).await?;
    let etag = etag().ok_or_else(Problem::unknown_session)?;
    let if_match = if_match(&headers, &etag).map_err(|Malformed| malformed_if_match())?;
    let patched = engine(shared, visitor, &headers)
        .patch(session, &fragment, if_match)
        .await;
    match patched.map_err(patch_problem)? {
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

/// The media plane, for a viewer who may come from outside: by the bridge, which alone may say so.
pub(crate) fn engine(shared: &AppState, visitor: Visitor, headers: &HeaderMap) -> Handle {
    let seen_as: Option<IpAddr> = headers.get(SEEN_AS).and_then(|value| value.to_str().ok()?.parse().ok());
    let is_local = seen_as.map_or(visitor.arrival.is_local, |address| address.is_loopback());
    let engine = shared.engine.arrived(Arrival {
        is_local,
        ..visitor.arrival
    });
    seen_as.map_or_else(|| engine.clone(), |address| engine.seen_as(address))
}

/// The session of a URL, which names its stream and itself: it has to exist (`found` looks up what it is of), to be one of the URL's
/// stream, and `who`'s own; or it is not known whose it is, where that `will_do`.
pub(crate) fn known_session(
    shared: &AppState,
    who: &Principal,
    (stream, session): (&str, &str),
    found: impl FnOnce(&SessionId) -> Option<StreamName>,
    will_do: bool,
) -> Result<SessionId, Problem> {
    let stream = &shared.stream(stream)?.name;
    let session: SessionId = session.parse().map_err(|_| Problem::unknown_session())?;
    let of = found(&session).ok_or_else(Problem::unknown_session)?;
    let is_own = shared
        .owners
        .of(&session)
        .map_or(will_do, |owner| owner.principal.is_same(who));
    if of == *stream && is_own {
        shared.owners.prolong(session, who);
        Ok(session)
    } else {
        Err(Problem::unknown_session())
    }
}

pub(crate) fn join_problem(error: JoinError) -> Problem {
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
        JoinError::OnlyMode0 => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "packetization_mode_0",
            "The offer has H.264 in packetization mode 0 alone, where each slice has to fit into a packet: offer packetization-mode=1.",
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
                Err(unwritten) => unwritten,
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

fn malformed_if_match() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "malformed_if_match",
        "If-Match is neither `*` nor entity tags.",
    )
}

pub(crate) fn entity_tag(opaque: &str) -> Result<HeaderValue, Problem> {
    headers::entity_tag(opaque).map_err(|_| Problem::unwritten())
}

fn not_acceptable() -> Problem {
    let detail = "The answer is application/sdp, which Accept does not take.";
    Problem::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", detail)
}

pub(crate) fn draining() -> Problem {
    let detail = "The server is being stopped or replaced.";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "draining", detail).retry_after(DRAIN_RETRY)
}
