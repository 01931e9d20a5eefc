//! The API of operators' programs and of the page: what is, and the few things that can be changed.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    body::{Body, Bytes},
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use framebridge_http::Place;
use framebridge_ipc::RequestError;
use framebridge_proto::{
    RefusalKind, StreamName,
    encoder::{ClipSpan, EncoderAnswer, EncoderRequest, QualityChange},
    media::CodecParameters,
    status::{Condition, FaultKind, Status, StreamState},
};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use crate::{
    app_state::AppState,
    body,
    gate::Asker,
    limits::ClientAddress,
    meter::millis,
    own_status,
    problem::{Details, Problem},
    stream::{AskError, Stream},
};

/// When a request to an encoder that is not there may be worth another try.
const ENCODER_RETRY: Duration = Duration::from_secs(1);

/// When a clip that is being made may be done.
const CLIP_RETRY: Duration = Duration::from_secs(5);

/// What of a clip is handed on at once: so much of it may be in memory after its place was given back.
const PART_BYTES: usize = 64 << 10;

/// How this process is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// It answers. Always true; what does not answer is not alive.
    live: bool,
    /// It takes viewers: false while it is being stopped.
    ready: bool,
}

/// All streams.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StreamList {
    /// By name.
    streams: Vec<StreamView>,
}

/// One stream as this process sees it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StreamView {
    /// Its name.
    pub(crate) name: String,
    /// Its source as configured, secrets left out, for operators; for others its kind, e.g. `rtsp:`.
    source: String,
    /// `idle`, `opening`, `live`, `paused`, `unavailable` or `slate`; `down` while its encoder is not there.
    #[schema(value_type = String)]
    state: StreamState,
    /// `well`, `faulty` (it can be watched, or soon can) or `dark` (it can't).
    #[schema(value_type = String)]
    condition: Condition,
    /// What is wrong, in one word; null exactly where it is well.
    #[schema(value_type = Option<String>)]
    fault: Option<FaultKind>,
    /// Why there is no picture, in a sentence for viewers; null where there is one, or will be once somebody watches.
    reason: Option<String>,
    /// Milliseconds until what is wrong is tried again, where that is known.
    retry_in_ms: Option<u64>,
    /// Encoder in use; empty until known.
    encoder: String,
    /// Encoded width in pixels; 0 until known.
    width: u32,
    /// Encoded height in pixels; 0 until known.
    height: u32,
    /// Frames per second in force, or configured until known.
    fps: u32,
    /// Bits per second in force, or configured until known.
    bitrate: u32,
    /// Viewers with an open session.
    viewers: u32,
    /// Frames received from the encoder since this process started.
    frames_received: u64,
    /// Frames sent since then, summed over viewers.
    frames_sent: u64,
    /// Milliseconds since the last frame was received.
    last_frame_age_ms: Option<u64>,
    /// Where a player POSTs its offer.
    whep: String,
}

/// A change of quality; what is left out stays.
#[derive(Debug, ToSchema)]
#[expect(
    dead_code,
    reason = "documents the request; it is read field by field, so that a wrong one can be named"
)]
pub(crate) struct QualityBody {
    /// Target bitrate, bits per second.
    #[schema(minimum = 100_000, maximum = 50_000_000)]
    bitrate: Option<u32>,
    /// Frames per second.
    #[schema(minimum = 1, maximum = 60)]
    fps: Option<u32>,
    /// Longest edge of the picture in pixels.
    #[schema(minimum = 64, maximum = 4096)]
    longest_edge: Option<u32>,
}

/// Whether a stream is paused.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PauseView {
    /// Whether it is paused now.
    paused: bool,
    /// Whether this request changed it.
    changed: bool,
}

/// The quality in force.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QualityView {
    /// Target bitrate, bits per second.
    bitrate: u32,
    /// Frames per second.
    fps: u32,
    /// Longest edge of the picture in pixels.
    longest_edge: u32,
    /// Whether this request changed it.
    changed: bool,
}

/// Whether this process answers, and whether it takes viewers. Never depends on another process.
#[utoipa::path(get, path = "/api/v1/health", tag = "api", responses((status = 200, body = Health)))]
pub(crate) async fn health(State(shared): State<Arc<AppState>>) -> Json<Health> {
    Json(Health {
        live: true,
        ready: !shared.is_draining(),
    })
}

/// The whole system, as `bridgectl status --json` prints it.
///
/// It is the supervisor's view. While the supervisor can't be reached it is this process's own: `overall` is
/// `degraded` then, and the row of the supervisor says why.
#[utoipa::path(
    get, path = "/api/v1/status", tag = "api",
    responses((status = 200, description = "overall, http, processes, streams, bridge", body = Object))
)]
pub(crate) async fn status(State(shared): State<Arc<AppState>>) -> Json<Status> {
    let answer = shared.supervisor.status().await;
    Json(answer.unwrap_or_else(|reason| own_status::build(&shared, reason)))
}

/// All streams.
#[utoipa::path(get, path = "/api/v1/streams", tag = "api", responses((status = 200, body = StreamList)))]
pub(crate) async fn streams(State(shared): State<Arc<AppState>>, Extension(who): Asker) -> Json<StreamList> {
    let own = views(&shared)
        .await
        .into_iter()
        .filter(|(name, _)| who.streams.has(name));
    let streams = own.map(|(_, view)| {
        if who.is_operator() {
            view
        } else {
            view.for_viewers(&shared)
        }
    });
    Json(StreamList {
        streams: streams.collect(),
    })
}

/// One stream.
#[utoipa::path(
    get, path = "/api/v1/streams/{stream}", tag = "api",
    params(("stream" = String, Path, description = "The stream's name")),
    responses(
        (status = 200, body = StreamView),
        (status = 404, description = "There is no such stream.", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn stream(
    State(shared): State<Arc<AppState>>,
    Extension(who): Asker,
    Path(stream): Path<String>,
) -> Result<Json<StreamView>, Problem> {
    let stream = shared.stream(&stream)?;
    shared.sample();
    let view = view(&shared, stream).await;
    Ok(Json(if who.is_operator() {
        view
    } else {
        view.for_viewers(&shared)
    }))
}

/// Changes how a stream is encoded, for all its viewers. What is so already is left as it is.
#[utoipa::path(
    put, path = "/api/v1/streams/{stream}/quality", tag = "api",
    params(("stream" = String, Path, description = "The stream's name")),
    request_body(content = QualityBody, content_type = "application/json"),
    responses(
        (status = 200, description = "The quality in force now.", body = QualityView),
        (status = 400, description = "`field` names what is wrong.", body = Details, content_type = "application/problem+json"),
        (status = 404, description = "There is no such stream.", body = Details, content_type = "application/problem+json"),
        (status = 409, description = "Its encoder is not there now; see Retry-After.", body = Details, content_type = "application/problem+json"),
        (status = 413, description = "The body has over 64 KiB.", body = Details, content_type = "application/problem+json"),
        (status = 415, description = "The body is no application/json.", body = Details, content_type = "application/problem+json"),
        (status = 429, description = "It is changed more often than once a second; see Retry-After.", body = Details, content_type = "application/problem+json"),
        (status = 503, description = "The encoder has all the requests it takes; see Retry-After.", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn put_quality(
    State(shared): State<Arc<AppState>>,
    Extension(who): Asker,
    Path(stream): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<QualityView>, Problem> {
    let stream = shared.stream(&stream)?;
    let body = body::read(&headers, body, "application/json").await?;
    let change = quality_change(&body)?;
    if stream.would_change(change) {
        shared.limits.change_quality(&stream.name)?;
    }
    let request = EncoderRequest::SetQuality(change);
    let answered = stream.request(request).await.map_err(request_problem);
    let EncoderAnswer::Quality { quality, changed } = answered.map_err(|problem| problem.told(&who, stream))? else {
        return Err(odd_answer());
    };
    if changed {
        tracing::info!(target: "audit", %who, stream = %stream.name, ?quality, "changed the quality");
    }
    Ok(Json(QualityView {
        bitrate: quality.bitrate,
        fps: quality.fps,
        longest_edge: quality.longest_edge,
        changed,
    }))
}

/// Stops a stream for all its viewers, until it is resumed: also over restarts of its encoder. They keep their sessions.
#[utoipa::path(
    post, path = "/api/v1/streams/{stream}/pause", tag = "api",
    params(("stream" = String, Path, description = "The stream's name")),
    responses(
        (status = 200, description = "The stream is paused.", body = PauseView),
        (status = 404, description = "There is no such stream.", body = Details, content_type = "application/problem+json"),
        (status = 409, description = "Its encoder is not there now; see Retry-After.", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn post_pause(
    State(shared): State<Arc<AppState>>,
    Path(stream): Path<String>,
) -> Result<Json<PauseView>, Problem> {
    pause(&shared, &stream, true).await
}

/// Ends a pause. The picture comes back to the viewers in the sessions they have.
#[utoipa::path(
    post, path = "/api/v1/streams/{stream}/resume", tag = "api",
    params(("stream" = String, Path, description = "The stream's name")),
    responses(
        (status = 200, description = "The stream is not paused.", body = PauseView),
        (status = 404, description = "There is no such stream.", body = Details, content_type = "application/problem+json"),
        (status = 409, description = "Its encoder is not there now; see Retry-After.", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn post_resume(
    State(shared): State<Arc<AppState>>,
    Path(stream): Path<String>,
) -> Result<Json<PauseView>, Problem> {
    pause(&shared, &stream, false).await
}

async fn pause(shared: &AppState, stream: &str, paused: bool) -> Result<Json<PauseView>, Problem> {
    let stream = shared.stream(stream)?;
    let request = if paused {
        EncoderRequest::Pause
    } else {
        EncoderRequest::Resume
    };
    let EncoderAnswer::Done { changed } = stream.request(request).await.map_err(request_problem)? else {
        return Err(odd_answer());
    };
    Ok(Json(PauseView { paused, changed }))
}

/// Asks the encoder for a keyframe. Several requests within 250 ms get one.
#[utoipa::path(
    post, path = "/api/v1/streams/{stream}/keyframe", tag = "api",
    params(("stream" = String, Path, description = "The stream's name")),
    responses(
        (status = 202, description = "It was asked for."),
        (status = 404, description = "There is no such stream.", body = Details, content_type = "application/problem+json"),
        (status = 409, description = "Its encoder is not there now; see Retry-After.", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn post_keyframe(
    State(shared): State<Arc<AppState>>,
    Path(stream): Path<String>,
) -> Result<StatusCode, Problem> {
    let stream = shared.stream(&stream)?;
    if stream.request_keyframe() {
        Ok(StatusCode::ACCEPTED)
    } else {
        Err(encoder_absent())
    }
}

/// The latest picture as a JPEG, at most a quarter of a second old. An idle stream is started for it; a paused one gives none.
#[utoipa::path(
    get, path = "/api/v1/streams/{stream}/snapshot.jpg", tag = "api",
    params(("stream" = String, Path, description = "The stream's name")),
    responses(
        (status = 200, description = "The picture.", content_type = "image/jpeg"),
        (status = 403, description = "A page of another site asks.", body = Details, content_type = "application/problem+json"),
        (status = 404, description = "There is no such stream.", body = Details, content_type = "application/problem+json"),
        (status = 409, description = "There is no picture to be had now; see Retry-After.", body = Details, content_type = "application/problem+json"),
        (status = 429, description = "This address has too many, or asks too often; see Retry-After.", body = Details, content_type = "application/problem+json"),
        (status = 503, description = "Too many snapshots are being made or sent; see Retry-After.", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn snapshot(
    State(shared): State<Arc<AppState>>,
    Extension(who): Asker,
    client: ClientAddress,
    Path(stream): Path<String>,
) -> Result<Response, Problem> {
    let stream = shared.stream(&stream)?;
    let image = stream.snapshots.get(stream, client).await;
    let image = image.map_err(|problem| problem.told(&who, stream))?;
    let place = shared.limits.snapshot(client)?;
    Ok(whole_file("image/jpeg", image, place))
}

/// Which piece of a stream, in whole seconds; one of the two.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Piece {
    /// The last ones, as far as they were kept.
    #[param(minimum = 1, maximum = 60)]
    last: Option<u32>,
    /// Those that come.
    #[param(minimum = 1, maximum = 60)]
    next: Option<u32>,
}

/// A piece of the stream as MP4, from the keyframe at its beginning or before it. An idle stream is started for what comes.
///
/// It is what there is, and at most 15 MiB: how long it lasts its own header says.
#[utoipa::path(
    get, path = "/api/v1/streams/{stream}/clip.mp4", tag = "api",
    params(("stream" = String, Path, description = "The stream's name"), Piece),
    responses(
        (status = 200, description = "The film: H.264, no sound.", content_type = "video/mp4"),
        (status = 400, description = "Neither or both are given, or it is out of range.", body = Details, content_type = "application/problem+json"),
        (status = 403, description = "A page of another site asks.", body = Details, content_type = "application/problem+json"),
        (status = 404, description = "There is no such stream.", body = Details, content_type = "application/problem+json"),
        (status = 409, description = "There are no pictures to be had now; see Retry-After.", body = Details, content_type = "application/problem+json"),
        (status = 429, description = "This address has too many, or asks too often; see Retry-After.", body = Details, content_type = "application/problem+json"),
        (status = 503, description = "Too many clips are being made or sent; see Retry-After.", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn clip(
    State(shared): State<Arc<AppState>>,
    Extension(who): Asker,
    client: ClientAddress,
    Path(stream): Path<String>,
    Query(piece): Query<Piece>,
) -> Result<Response, Problem> {
    let stream = shared.stream(&stream)?;
    let ms = |seconds: u32| seconds.saturating_mul(1000);
    let span = match (piece.last, piece.next) {
        (Some(last), None) => ClipSpan::Last { ms: ms(last) },
        (None, Some(next)) => ClipSpan::Next { ms: ms(next) },
        (None, None) | (Some(_), Some(_)) => {
            let detail = "One of `last` and `next` has to say how many seconds.";
            return Err(Problem::new(StatusCode::BAD_REQUEST, "invalid_clip", detail));
        }
    };
    let place = shared.limits.clip(client)?;
    let Ok(_making) = stream.clips.try_acquire() else {
        let detail = "As many clips as may be are being made of this stream.";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_clips", detail).retry_after(CLIP_RETRY));
    };
    let request = EncoderRequest::Clip(span);
    let answered = stream.request(request).await.map_err(request_problem);
    let EncoderAnswer::Clip { mp4, .. } = answered.map_err(|problem| problem.told(&who, stream))? else {
        return Err(odd_answer());
    };
    Ok(whole_file("video/mp4", mp4, place))
}

/// A file whose bytes hold a place until they have been read.
fn whole_file(media_type: &'static str, bytes: Bytes, place: Place) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::CONTENT_LENGTH, HeaderValue::from(bytes.len())),
    ];
    (headers, in_parts(bytes, place)).into_response()
}

/// A body that lets go of its place when it has been read, or is given up. Its parts are copies: a slice that waits to be read
/// would keep all of it in memory, without a place.
fn in_parts(bytes: Bytes, place: Place) -> Body {
    Body::from_stream(stream::unfold((bytes, place), |(mut rest, place)| async {
        let part = Bytes::copy_from_slice(&rest.split_to(rest.len().min(PART_BYTES)));
        (!part.is_empty()).then_some((Ok::<_, Infallible>(part), (rest, place)))
    }))
}

impl StreamView {
    /// As it is shown to who is no operator.
    pub(crate) fn for_viewers(self, shared: &AppState) -> Self {
        let stream = shared.stream(&self.name).ok();
        let kind = stream.map_or("", |stream| stream.source_kind);
        let words = stream.and_then(|stream| stream.words_for_viewers());
        Self {
            source: kind.to_owned(),
            reason: self
                .reason
                .map(|_| words.unwrap_or("No picture arrives from the source.").to_owned()),
            ..self
        }
    }
}

/// All streams as they are now, for operators.
pub(crate) async fn views(shared: &AppState) -> Vec<(StreamName, StreamView)> {
    shared.sample();
    let mut views = Vec::with_capacity(shared.streams.len());
    for stream in shared.streams.values() {
        views.push((stream.name.clone(), view(shared, stream).await));
    }
    views
}

async fn view(shared: &AppState, stream: &Stream) -> StreamView {
    let health = shared.health(stream).await;
    let upstream = stream.upstream();
    let received = stream.received.read();
    let parameters = upstream.parameters.as_ref();
    let known = |read: fn(&CodecParameters) -> u32| parameters.map(read);
    StreamView {
        name: stream.name.to_string(),
        source: stream.source.clone(),
        state: stream.health().state,
        condition: health.condition,
        fault: health.fault,
        retry_in_ms: health.retry_in.map(millis),
        reason: health.reason,
        encoder: parameters.map(|found| found.encoder.clone()).unwrap_or_default(),
        width: known(|found| found.width).unwrap_or(0),
        height: known(|found| found.height).unwrap_or(0),
        fps: known(|found| found.fps).unwrap_or(stream.quality.fps),
        bitrate: stream.bitrate(),
        viewers: stream.viewers(),
        frames_received: received.count,
        frames_sent: stream.sent.count(),
        last_frame_age_ms: received.age_ms,
        whep: format!("/whep/{}", stream.name),
    }
}

/// Reads the change field by field, so that the wrong one can be named.
fn quality_change(body: &[u8]) -> Result<QualityChange, Problem> {
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "invalid_quality", detail);
    let object: Map<String, Value> =
        serde_json::from_slice(body).map_err(|error| bad(format!("The body is no JSON object: {error}.")))?;
    let mut change = QualityChange::default();
    for (name, value) in &object {
        let slot = match name.as_str() {
            "bitrate" => &mut change.bitrate,
            "fps" => &mut change.fps,
            "longest_edge" => &mut change.longest_edge,
            _ => {
                let detail = "There is no such field; there are bitrate, fps and longest_edge.";
                return Err(bad(detail.to_owned()).field(name));
            }
        };
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        *slot = Some(number.ok_or_else(|| bad(format!("`{name}` has to be a whole number from 1 on.")).field(name))?);
    }
    if let Some((name, value, range)) = change.out_of_range() {
        let detail = format!("`{name}` is {value}; it may be {} to {}.", range.start(), range.end());
        return Err(bad(detail).field(name));
    }
    Ok(change)
}

pub(crate) fn request_problem(error: AskError) -> Problem {
    let refusal = match error {
        AskError::Failed(RequestError::Refused(refusal)) => refusal,
        AskError::Failed(_) => {
            let detail = "The encoder did not answer.";
            return Problem::new(StatusCode::CONFLICT, "encoder_unavailable", detail).retry_after(ENCODER_RETRY);
        }
        AskError::Busy { retry_after } => {
            let detail = "As many requests to this stream's encoder as may be are under way.";
            return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_requests", detail).retry_after(retry_after);
        }
    };
    match refusal.kind {
        RefusalKind::Unavailable => {
            Problem::new(StatusCode::CONFLICT, "encoder_unavailable", refusal.message).retry_after(ENCODER_RETRY)
        }
        RefusalKind::Invalid => Problem::new(StatusCode::BAD_REQUEST, "refused", refusal.message),
        RefusalKind::NotFound => Problem::new(StatusCode::NOT_FOUND, "refused", refusal.message),
        RefusalKind::Failed => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", refusal.message),
    }
}

fn encoder_absent() -> Problem {
    let detail = "The encoder is not running; it is being started.";
    Problem::new(StatusCode::CONFLICT, "encoder_unavailable", detail).retry_after(ENCODER_RETRY)
}

pub(crate) fn odd_answer() -> Problem {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "failed",
        "The encoder answered something else.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field_of(body: &str) -> Option<String> {
        quality_change(body.as_bytes()).expect_err("refused").field
    }

    #[test]
    fn wrong_field_of_a_quality_is_named() {
        for (body, field) in [
            (r#"{"fps": 61}"#, "fps"),
            (r#"{"fps": 0}"#, "fps"),
            (r#"{"fps": "30"}"#, "fps"),
            (r#"{"fps": 29.97}"#, "fps"),
            (r#"{"fps": null}"#, "fps"),
            (r#"{"bitrate": -1}"#, "bitrate"),
            (r#"{"bitrate": 99999999999}"#, "bitrate"),
            (r#"{"fps": 30, "longest_edge": 1}"#, "longest_edge"),
            (r#"{"fsp": 30}"#, "fsp"),
        ] {
            assert_eq!(field_of(body).as_deref(), Some(field), "{body}");
        }
        for body in ["", "[]", "30", "{", "{\"fps\": 30} x"] {
            assert_eq!(field_of(body), None, "{body}");
        }
    }

    #[test]
    fn quality_left_out_stays() {
        let change = quality_change(br#"{"fps": 15}"#).expect("accepted");
        assert_eq!(
            change,
            QualityChange {
                fps: Some(15),
                ..QualityChange::default()
            }
        );
        assert_eq!(quality_change(b"{}").expect("accepted"), QualityChange::default());
    }
}
