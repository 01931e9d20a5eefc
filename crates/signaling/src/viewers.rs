//! Lists who watches, and sends viewers away.

use std::{sync::Arc, time::Instant};

use axum::{
    Extension, Json,
    extract::{Path, Query, State},
    http::StatusCode,
};
use framebridge_proto::{StreamName, media::Rung, millis};
use framebridge_rtc::{HoldReason, Link, SessionId, ViewerState};
use serde::{Deserialize, Serialize};
use tokio::time::{Duration, MissedTickBehavior, interval};
use utoipa::{IntoParams, ToSchema};

use crate::{
    app_state::AppState,
    films::Film,
    gate::Asker,
    owners::{DIGITS, brief},
    problem::{Details, Problem},
    whip,
};

/// How often it is looked whether everybody may still watch. With what ends a session it stays below two seconds.
const LOOK: Duration = Duration::from_millis(500);

/// Everybody who watches, and everybody who publishes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ViewerList {
    viewers: Vec<ViewerView>,
    publishers: Vec<PublisherView>,
}

/// One who publishes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PublisherView {
    /// The first 8 digits of its session's id.
    session: String,
    /// The stream.
    stream: String,
    /// Who it is, as of viewers.
    principal: Option<String>,
    /// Where it asked from.
    address: Option<String>,
    /// Since when, seconds since 1970.
    since: Option<u64>,
}

/// One who watches.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ViewerView {
    /// The first 8 digits of its session's id.
    session: String,
    /// The stream.
    stream: String,
    /// `connecting`, `live` or `grace`.
    state: &'static str,
    /// Who it is: `token NAME`, `jwt SUBJECT`, `link ID`, `share (view)`, `push NAME`, `local` or `anyone`; `null` where a full disk kept that
    /// from being written down.
    principal: Option<String>,
    /// Where it asked from.
    address: Option<String>,
    /// How media goes to it: `udp` or `tcp`, and the kind of its candidate: `host`, `srflx` (behind a NAT), `prflx` (an address
    /// that it had not named) or `relay`. No kind where an earlier life of the server connected it; null before it is connected.
    /// `http`: it watches `live.mp4`.
    path: Option<String>,
    /// Why not a better one; null where it is the best.
    path_reason: Option<&'static str>,
    /// Where media goes: its own address or its relay's.
    media_address: Option<String>,
    /// Of 100 packets, those that did not come in the last seconds, by its own reports.
    #[schema(minimum = 0, maximum = 100)]
    loss_percent: Option<f64>,
    /// Bits of media a second that are sent to it, without what is sent again.
    bitrate: Option<u64>,
    /// There and back, milliseconds.
    round_trip_ms: Option<u64>,
    /// Bits a second that its link carries, as far as is known: of a link that carries all, at least what is sent and up to half
    /// as much again. `null`: it is not known yet, or the viewer does not tell.
    estimate: Option<u64>,
    /// How long packets wait for their turn on its link, milliseconds; `null`: the viewer does not tell when they come.
    queue_ms: Option<u64>,
    /// Why it is sent nothing for now: `loss`, `circuit breaker` (so much loss at such a distance that others on the link suffer)
    /// or `behind` (by TCP). `null`: it is sent its stream.
    held: Option<&'static str>,
    /// Which rung it is given: `full`, `half` or `quarter` of the edge.
    rung: &'static str,
    /// Bits per second that the full rung takes.
    full_rung: Option<u32>,
    /// Pictures shown a second, as its page says.
    fps: Option<f64>,
    /// From capture to its screen, milliseconds: our way, and what its page says of the rest.
    latency_ms: Option<u64>,
    /// Times its picture has frozen, as its page says.
    freezes: Option<u32>,
    /// Since when, seconds since 1970.
    since: Option<u64>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// Only those of this stream.
    stream: Option<String>,
}

/// Who watches, and who publishes.
#[utoipa::path(
    get, path = "/api/v1/viewers", operation_id = "list_viewers", tag = "api", params(Which),
    responses((status = 200, description = "Those who watch and those who publish now.", body = ViewerList))
)]
pub(crate) async fn list(
    State(shared): State<Arc<AppState>>,
    Query(Which { stream: only }): Query<Which>,
) -> Json<ViewerList> {
    let mut sessions = shared.engine.sessions();
    sessions.sort();
    let viewers = sessions.into_iter().filter_map(|session| of_session(&shared, session));
    let films = shared.films.all().into_iter().map(|(id, film)| of_film(id, &film));
    let viewers = viewers.chain(films);
    let is_wanted = |stream: &str| only.as_ref().is_none_or(|only| stream == only);
    let publishers = shared.engine.publishers().into_iter();
    let publishers = publishers.filter(|(_, stream)| is_wanted(stream.as_str()));
    Json(ViewerList {
        viewers: viewers.filter(|viewer| is_wanted(&viewer.stream)).collect(),
        publishers: publishers
            .map(|(session, stream)| of_publisher(&shared, session, &stream))
            .collect(),
    })
}

/// Who publishes.
fn of_publisher(shared: &AppState, session: SessionId, stream: &StreamName) -> PublisherView {
    let owner = shared.owners.of(&session);
    PublisherView {
        session: brief(&session),
        stream: stream.to_string(),
        principal: owner.as_ref().map(|owner| owner.principal.to_string()),
        address: owner.as_ref().map(|owner| owner.address.to_string()),
        since: owner.as_ref().map(|owner| owner.since),
    }
}

/// Who watches by WebRTC.
fn of_session(shared: &AppState, session: SessionId) -> Option<ViewerView> {
    let info = shared.engine.session(&session)?;
    let owner = shared.owners.of(&session);
    let told = shared.reports.of(&session, Instant::now());
    let Link {
        remote,
        is_tcp,
        kind,
        loss,
        bits_per_second,
        round_trip,
        estimate,
        queue_delay,
        hold,
        rung,
        full_rate,
        ..
    } = info.link;
    let kind = kind.map(|kind| kind.as_str());
    let transport = if is_tcp { "tcp" } else { "udp" };
    let path = |_| kind.map_or_else(|| transport.to_owned(), |kind| format!("{transport} {kind}"));
    let to_screen = told.as_ref().and_then(|told| told.wire_to_screen_ms);
    let to_wire = shared
        .streams
        .get(&info.stream)
        .and_then(|stream| stream.capture_to_wire_ms());
    let latency = to_wire
        .zip(to_screen)
        .map(|(to_wire, to_screen)| to_wire + whole(to_screen));
    Some(ViewerView {
        session: brief(&session),
        stream: info.stream.to_string(),
        state: info.state.as_str(),
        principal: owner.as_ref().map(|owner| owner.principal.to_string()),
        address: owner.as_ref().map(|owner| owner.address.to_string()),
        path: remote.map(path),
        path_reason: remote.and_then(|_| why_not_better(is_tcp, kind)),
        media_address: remote.map(|remote| remote.to_string()),
        // To a tenth: what is behind it says nothing.
        loss_percent: loss.map(|loss| tenth(f64::from(loss) * 100.0)),
        bitrate: bits_per_second,
        round_trip_ms: round_trip.map(millis),
        estimate,
        queue_ms: queue_delay.map(millis),
        held: hold.map(HoldReason::as_str),
        rung: rung.as_str(),
        full_rung: full_rate,
        fps: told.as_ref().and_then(|told| told.fps).map(tenth),
        latency_ms: latency,
        freezes: told.map(|told| told.freezes),
        since: owner.as_ref().map(|owner| owner.since),
    })
}

/// Who watches by plain HTTP.
fn of_film(session: String, film: &Film) -> ViewerView {
    let is_instead = film.page.is_some();
    ViewerView {
        session,
        stream: film.stream.to_string(),
        state: ViewerState::Live.as_str(),
        principal: Some(film.owner.principal.to_string()),
        address: Some(film.owner.address.to_string()),
        path: Some("http".to_owned()),
        path_reason: Some(if is_instead {
            "neither UDP nor TCP gets through"
        } else {
            "it asked for live.mp4"
        }),
        media_address: None,
        loss_percent: None,
        bitrate: film.bits_per_second(),
        round_trip_ms: None,
        estimate: None,
        queue_ms: None,
        held: None,
        rung: Rung::Full.as_str(),
        full_rung: None,
        fps: None,
        latency_ms: None,
        freezes: None,
        since: Some(film.owner.since),
    }
}

/// A viewer takes the best way that there is: why this is none of the better ones.
fn why_not_better(is_tcp: bool, kind: Option<&str>) -> Option<&'static str> {
    match (kind, is_tcp) {
        (Some("relay"), _) => Some("nothing gets through but by the relay"),
        (_, true) => Some("UDP does not get through"),
        (_, false) => None,
    }
}

/// To a tenth.
fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn whole(milliseconds: f64) -> u64 {
    millis(Duration::from_secs_f64(milliseconds.max(0.0) / 1000.0))
}

/// Ends a viewer's session. Its page says so, and does not come back by itself. Or a publisher's, which may publish again.
#[utoipa::path(
    delete, path = "/api/v1/viewers/{session}", operation_id = "end_viewer_session", tag = "api",
    params(("session" = String, Path, description = "The session's id, or as many digits of it as `/api/v1/viewers` shows")),
    responses(
        (status = 204, description = "It has ended."),
        (status = 404, description = "There is no such session (any more).", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn kick(
    State(shared): State<Arc<AppState>>,
    Extension(who): Asker,
    Path(session): Path<String>,
) -> Result<StatusCode, Problem> {
    let mut named = shared
        .engine
        .sessions()
        .into_iter()
        .filter(|open| session.len() >= DIGITS && open.to_string().starts_with(&session));
    let (Some(found), None) = (named.next(), named.next()) else {
        if let Some((found, stream)) = publisher(&shared, &session) {
            tracing::info!(target: "audit", %who, %stream, session = brief(&found), "sent a publisher away");
            whip::end(&shared, &stream, &found);
            return Ok(StatusCode::NO_CONTENT);
        }
        if shared.films.send_away(&session) {
            tracing::info!(target: "audit", %who, session, "sent a viewer away");
            return Ok(StatusCode::NO_CONTENT);
        }
        return Err(Problem::unknown_session());
    };
    tracing::info!(target: "audit", %who, session = brief(&found), "sent a viewer away");
    // Its receiver would be tried again at once otherwise.
    if shared.pushes.kick(&found) {
        return Ok(StatusCode::NO_CONTENT);
    }
    if let Some(open) = shared.engine.session(&found) {
        shared.ended.send_away(found, open.stream);
    }
    if shared.end(&found).await {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::unknown_session())
    }
}

/// Ends a push for now, whether it has a session or is refused again and again. It begins again after 10 minutes, and when the
/// configuration is read again.
#[utoipa::path(
    delete, path = "/api/v1/streams/{stream}/pushes/{push}", operation_id = "end_push", tag = "api",
    params(
        ("stream" = String, Path, description = "The stream's name"),
        ("push" = String, Path, description = "The push's name, as `pushes` of the stream's status shows it"),
    ),
    responses(
        (status = 204, description = "It has ended."),
        (status = 404, description = "There is no such stream or push.", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn kick_push(
    State(shared): State<Arc<AppState>>,
    Extension(who): Asker,
    Path((stream, push)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let stream = shared.stream(&stream)?;
    if !shared.pushes.kick_named(&stream.name, &push) {
        let detail = format!("No push of this stream is called {push:?}.");
        return Err(Problem::new(StatusCode::NOT_FOUND, "unknown_push", detail));
    }
    tracing::info!(target: "audit", %who, stream = %stream.name, push, "ended a push");
    Ok(StatusCode::NO_CONTENT)
}

/// The one publisher whose session begins with these digits.
fn publisher(shared: &AppState, digits: &str) -> Option<(SessionId, StreamName)> {
    let open = shared.engine.publishers().into_iter();
    let mut named = open.filter(|(open, _)| digits.len() >= DIGITS && open.to_string().starts_with(digits));
    named.next().filter(|_| named.next().is_none())
}

/// Keeps tokens and keys as their files have them, and ends the sessions of those who may not watch any more. For as long as it is
/// polled.
pub(crate) async fn keep_current(shared: Arc<AppState>) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        shared.access.refresh();
        for (session, owner) in shared.owners.all() {
            if !shared.access.is_good(&owner.principal) {
                tracing::info!(target: "audit", who = %owner.principal, session = brief(&session), "may not watch any more");
                shared.end(&session).await;
            }
        }
    }
}

/// Of the sessions that a life before left, those of whom nobody knows whose they are: where tokens are asked for, they end.
pub(crate) async fn end_strangers(shared: &AppState) {
    if !shared.access.keeps_strangers_out() {
        return;
    }
    for session in shared.engine.sessions() {
        if shared.owners.of(&session).is_none() {
            tracing::warn!(
                session = brief(&session),
                "it is not known whose session this was: it ends"
            );
            shared.end(&session).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn way_that_is_not_the_best_has_its_reason() {
        assert_eq!(why_not_better(false, Some("host")), None);
        assert_eq!(why_not_better(false, None), None);
        assert_eq!(why_not_better(true, Some("host")), Some("UDP does not get through"));
        let relay = why_not_better(false, Some("relay"));
        assert!(relay.is_some_and(|why| why.contains("relay")), "{relay:?}");
    }
}
