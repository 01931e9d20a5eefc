//! WHIP: publishers send a stream its pictures, trickle, restart ICE and leave over HTTP (RFC 9725).

use std::{cmp::Reverse, sync::Arc, time::Duration};

use axum::{
    Extension,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use framebridge_auth::Principal;
use framebridge_proto::StreamName;
use framebridge_rtc::{JoinError, Published, Publisher, PublisherEvent, SessionId, ViewerState};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    access::now,
    app_state::AppState,
    client::Visitor,
    feed::Feed,
    gate::Asker,
    negotiation::{self, ACCEPT_PATCH, ACCEPT_POST, FRAGMENT, SDP, prefix},
    owners::{Owner, brief},
    problem::{Details, Problem},
    stream::Stream,
};

/// How often it is looked whether a publisher may still publish.
const LOOK: Duration = Duration::from_millis(500);

/// Starts to publish: an SDP offer in, an answer out.
///
/// Video in H.264 is taken as it is; sound is not.
#[utoipa::path(
    post, path = "/whip/{stream}", operation_id = "whip_start_session", tag = "whip",
    params(("stream" = String, Path, description = "The stream's name; its source has to be `whip:`")),
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
        (status = 406, description = "The client takes no application/sdp.", body = Details, content_type = "application/problem+json"),
        (status = 409, description = "Somebody else publishes, see Retry-After; or the stream has a source of its own.", body = Details, content_type = "application/problem+json"),
        (status = 413, description = "The body has over 64 KiB.", body = Details, content_type = "application/problem+json"),
        (status = 415, description = "The body is no application/sdp.", body = Details, content_type = "application/problem+json"),
        (status = 422, description = "The offer has no H.264 that can be taken, or asks for a transport that there is not.", body = Details, content_type = "application/problem+json"),
        (status = 429, description = "Too many of this address join, or are still connecting; see Retry-After.", body = Details, content_type = "application/problem+json"),
        (status = 503, description = "Too many publishers, or shutting down; see Retry-After.", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn post(
    State(shared): State<Arc<AppState>>,
    visitor: Visitor,
    Extension(who): Asker,
    Path(stream): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let stream = shared.stream(&stream)?;
    let feed = stream.feed.as_ref().ok_or_else(has_its_own)?;
    let offer = negotiation::offer(&shared, visitor, &headers, body).await?;
    let engine = negotiation::engine(&shared, visitor, &headers);
    let address = visitor.address;
    let location = format!("{}/whip/{}", prefix(&headers), stream.name);
    let published = engine.publish_by(&stream.name, &offer).await;
    let Published {
        etag,
        answer,
        parameter_sets,
        publisher,
    } = published.map_err(publish_problem)?;
    let session = *publisher.session();
    // Dropped, the session ends that was opened in vain.
    if let Some(earlier) = feed.take(session, &parameter_sets).map_err(is_taken)? {
        tracing::info!(stream = %stream.name, session = brief(&earlier), "a publisher that has fallen silent gives way to another");
        shared.engine.end_publisher(&earlier);
    }
    tracing::info!(target: "audit", stream = %stream.name, session = brief(&session), %who, %address, "publishes");
    let owner = Owner {
        principal: who,
        address,
        since: now(),
        pushed: None,
        parameter_sets,
    };
    shared.owners.note(session, owner);
    shared
        .tasks
        .spawn(serve(Arc::clone(&shared), Arc::clone(&stream), publisher));
    negotiation::created(&shared, &format!("{location}/{session}"), (&session, &etag), answer)
}

/// Goes on with the publishers that the life before has left, as far as they may publish still.
pub(crate) fn resume(shared: &Arc<AppState>) {
    // One whose owner is not known is dropped, and ends by that.
    let owned = |publisher: Publisher| Some((shared.owners.of(publisher.session())?, publisher));
    let resumed = shared.engine.resumed_publishers();
    let mut resumed: Vec<(Owner, Publisher)> = resumed.into_iter().filter_map(owned).collect();
    // The end of one that had given way to another may have been lost.
    resumed.sort_by_key(|(owner, _)| Reverse(owner.since));
    for (owner, publisher) in resumed {
        let session = *publisher.session();
        let stream = shared.engine.published(&session).map(|(stream, _)| stream);
        let Some(stream) = stream.and_then(|stream| shared.streams.get(&stream)) else {
            shared.owners.forget(&session);
            continue;
        };
        let takes = |feed: &Feed| feed.take(session, &owner.parameter_sets).is_ok();
        if stream.feed.as_ref().is_some_and(takes) {
            tracing::info!(stream = %stream.name, session = brief(&session), "a publisher goes on");
            shared.tasks.spawn(serve(Arc::clone(shared), stream, publisher));
        } else {
            shared.owners.forget(&session);
        }
    }
}

/// Takes what a publisher sends until it ends, or its owner may not publish any more.
async fn serve(shared: Arc<AppState>, stream: Arc<Stream>, mut publisher: Publisher) {
    let session = *publisher.session();
    let Some(feed) = &stream.feed else { return };
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // All arms are cancel-safe.
        tokio::select! {
            event = publisher.next() => match event {
                None => break,
                Some(PublisherEvent::Unit(unit)) => feed.push(&session, &unit),
                Some(PublisherEvent::State(state)) => on_state(&stream, &session, state),
            },
            () = feed.keyframe_wanted.notified() => publisher.ask_keyframe(),
            _ = looks.tick() => {
                if let Some(at) = publisher.heard() {
                    feed.heard(&session, at);
                }
                let is_there = shared.streams.get(&stream.name).is_some_and(|there| Arc::ptr_eq(&there, &stream));
                // Its end may have been lost, and its owner may have shown something newer.
                let is_open = shared.engine.published(&session).is_some();
                let owner = shared.owners.of(&session);
                let may_publish = owner.is_some_and(|owner| shared.access.is_good(&owner.principal));
                if !(is_there && is_open && may_publish) {
                    break;
                }
            }
        }
    }
    feed.leave(&session);
    shared.owners.forget(&session);
    tracing::info!(stream = %stream.name, session = brief(&session), "a publisher has gone");
}

fn on_state(stream: &Stream, session: &SessionId, state: ViewerState) {
    let (stream, session) = (&stream.name, brief(session));
    match state {
        ViewerState::Live => tracing::info!(%stream, session, "a publisher is connected"),
        ViewerState::Grace => {
            tracing::info!(%stream, session, "a publisher is silent: its session is kept for a while")
        }
        ViewerState::Connecting | ViewerState::Closed(_) => {}
    }
}

/// Trickles candidates (`If-Match` with the session's entity tag, or without it) or restarts ICE (`If-Match: *`).
#[utoipa::path(
    patch, path = "/whip/{stream}/{session}", operation_id = "whip_change_session", tag = "whip",
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
    let etag = || Some(shared.engine.published(&session)?.1);
    negotiation::patch(&shared, visitor, (&session, etag), headers, body).await
}

/// Ends a session.
#[utoipa::path(
    delete, path = "/whip/{stream}/{session}", operation_id = "whip_end_session", tag = "whip",
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
    let stream = &shared.stream(&stream)?.name;
    if end(&shared, stream, &session) {
        Ok(StatusCode::OK)
    } else {
        Err(Problem::unknown_session())
    }
}

/// Ends a publisher's session; false if there is none.
pub(crate) fn end(shared: &AppState, stream: &StreamName, session: &SessionId) -> bool {
    let has_ended = shared.engine.end_publisher(session);
    // Whoever comes next need not wait until the session's task has seen its end.
    let stream = shared.streams.get(stream).filter(|_| has_ended);
    if let Some(feed) = stream.as_ref().and_then(|stream| stream.feed.as_ref()) {
        feed.leave(session);
    }
    has_ended
}

/// What can be done at an endpoint.
#[utoipa::path(
    options, path = "/whip/{stream}", operation_id = "whip_get_endpoint_options", tag = "whip",
    params(("stream" = String, Path, description = "The stream's name")),
    responses((status = 200, description = "See Allow, Accept-Post and the CORS headers."))
)]
pub(crate) async fn options_endpoint() -> impl IntoResponse {
    [(header::ALLOW, "POST, OPTIONS"), (ACCEPT_POST, SDP)]
}

/// What can be done with a session.
#[utoipa::path(
    options, path = "/whip/{stream}/{session}", operation_id = "whip_get_session_options", tag = "whip",
    params(
        ("stream" = String, Path, description = "The stream's name"),
        ("session" = String, Path, description = "The session's id"),
    ),
    responses((status = 200, description = "See Allow, Accept-Patch and the CORS headers."))
)]
pub(crate) async fn options_session() -> impl IntoResponse {
    [(header::ALLOW, "PATCH, DELETE, OPTIONS"), (ACCEPT_PATCH, FRAGMENT)]
}

/// The session of a URL.
fn known_session(shared: &AppState, who: &Principal, stream: &str, session: &str) -> Result<SessionId, Problem> {
    let found = |session: &SessionId| Some(shared.engine.published(session)?.0);
    negotiation::known_session(shared, who, (stream, session), found, false)
}

fn publish_problem(error: JoinError) -> Problem {
    match error {
        JoinError::NoAcceptableCodec => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "no_acceptable_codec",
            "The offer has no H.264 that can be taken (packetization-mode=1).",
        ),
        JoinError::OutOfPlaces { limit } => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_publishers",
            format!("All streams together have all the publishers that there is room for ({limit})."),
        )
        .retry_after(negotiation::FULL_RETRY),
        JoinError::MalformedOffer(_)
        | JoinError::OnlyMode0
        | JoinError::UnacceptableOffer(_)
        | JoinError::TooManyViewers { .. }
        | JoinError::Stopped => negotiation::join_problem(error),
    }
}

fn has_its_own() -> Problem {
    let detail = "This stream has a source of its own: nobody publishes to it. Its source would have to be `whip:`.";
    Problem::new(StatusCode::CONFLICT, "not_for_publishing", detail)
}

fn is_taken(wait: Duration) -> Problem {
    let detail = "Somebody publishes to this stream already; one at a time does.";
    Problem::new(StatusCode::CONFLICT, "already_published", detail).retry_after(wait)
}
