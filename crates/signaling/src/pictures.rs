//! Pictures of a stream as files: the latest one, and pieces of film.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::{Path, Query, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use framebridge_http::{Client, Place};
use framebridge_proto::{
    encoder::{ClipSpan, EncoderAnswer, EncoderRequest},
    status::StreamState,
};
use futures_util::stream;
use serde::Deserialize;
use tokio::time::{MissedTickBehavior, interval};
use utoipa::IntoParams;

use crate::{
    app_state::AppState,
    client::ClientAddress,
    gate::Asker,
    problem::{Details, Problem},
    stream::Stream,
};

/// How often a still of a watched stream is kept, for cards that show it when nobody watches any more: 5 ms of a core each.
const KEEP: Duration = Duration::from_secs(10);

/// When a clip that is being made may be done.
const CLIP_RETRY: Duration = Duration::from_secs(5);

/// What of a clip is handed on at once: so much of it may be in memory after its place was given back.
const PART_BYTES: usize = 64 << 10;

/// Which picture.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// `true`: the one that was kept when the stream was last watched, however old (`still_age_ms`); nothing is started for it.
    #[serde(default)]
    kept: bool,
}

/// The latest picture as a JPEG, at most a quarter of a second old. An idle stream is started for it; a paused one gives none.
#[utoipa::path(
    get, path = "/api/v1/streams/{stream}/snapshot.jpg", operation_id = "get_snapshot", tag = "api",
    params(("stream" = String, Path, description = "The stream's name"), Which),
    responses(
        (status = 200, description = "The picture.", content_type = "image/jpeg"),
        (status = 403, description = "A page of another site asks.", body = Details, content_type = "application/problem+json"),
        (status = 404, description = "There is no such stream.", body = Details, content_type = "application/problem+json"),
        (status = 409, description = "No picture is available now; see Retry-After.", body = Details, content_type = "application/problem+json"),
        (status = 429, description = "This address has too many, or asks too often; see Retry-After.", body = Details, content_type = "application/problem+json"),
        (status = 503, description = "Too many snapshots are being made or sent; see Retry-After.", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn snapshot(
    State(shared): State<Arc<AppState>>,
    Extension(who): Asker,
    client: ClientAddress,
    Path(stream): Path<String>,
    Query(Which { kept }): Query<Which>,
) -> Result<Response, Problem> {
    let stream = &shared.stream(&stream)?;
    let image = if kept {
        kept_still(stream)?
    } else {
        let image = stream.snapshot(client).await;
        image.map_err(|problem| problem.told(&who, stream.words_for_viewers()))?
    };
    let place = shared.limits.snapshot(client)?;
    Ok(whole_file("image/jpeg", image, place))
}

fn kept_still(stream: &Stream) -> Result<Bytes, Problem> {
    let kept = stream.kept_still().map(|(_, image)| image);
    kept.ok_or_else(|| {
        let detail = "No still was kept: nobody has watched the stream yet.";
        Problem::new(StatusCode::NOT_FOUND, "no_still", detail)
    })
}

/// Keeps stills of the streams that are watched, for as long as it is polled.
pub(crate) async fn keep_stills(shared: Arc<AppState>) {
    let mut ticks = interval(KEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for stream in shared.streams.all() {
            if stream.viewers() > 0 && stream.health().state == StreamState::Live {
                // If there is no picture now, the next tick may get one.
                _ = stream.snapshot(ClientAddress(Client(None))).await;
            }
        }
    }
}

/// Which piece of a stream, in whole seconds; one of the two, which the derive can't say (`document.rs` does).
#[derive(Debug, Deserialize)]
pub(crate) struct Piece {
    /// The last seconds, as far as they were kept.
    last: Option<u32>,
    /// The next seconds.
    next: Option<u32>,
}

/// A piece of the stream as MP4, from the keyframe at its beginning or before it. `next` starts an idle stream.
///
/// It may be shorter than asked, and has at most 15 MiB; its own header says how long it lasts.
#[utoipa::path(
    get, path = "/api/v1/streams/{stream}/clip.mp4", operation_id = "get_clip", tag = "api",
    params(("stream" = String, Path, description = "The stream's name")),
    responses(
        (status = 200, description = "The film: H.264, no sound.", content_type = "video/mp4"),
        (status = 400, description = "Neither or both are given, or it is out of range.", body = Details, content_type = "application/problem+json"),
        (status = 403, description = "A page of another site asks.", body = Details, content_type = "application/problem+json"),
        (status = 404, description = "There is no such stream.", body = Details, content_type = "application/problem+json"),
        (status = 409, description = "No pictures are available now; see Retry-After.", body = Details, content_type = "application/problem+json"),
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
    let stream = &shared.stream(&stream)?;
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
    let answered = stream.request(request).await.map_err(Problem::from);
    let told = |problem: Problem| problem.told(&who, stream.words_for_viewers());
    let EncoderAnswer::Clip { mp4, .. } = answered.map_err(told)? else {
        return Err(Problem::odd_answer());
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
