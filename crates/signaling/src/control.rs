//! What operators change of a stream: its quality, a pause, a keyframe.

use std::sync::Arc;

use axum::{
    Extension, Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use framebridge_proto::encoder::{EncoderAnswer, EncoderRequest, QualityChange};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    app_state::AppState,
    body,
    gate::Asker,
    problem::{Details, Problem},
};

/// A change of quality; what is left out stays.
#[derive(Debug, ToSchema)]
#[expect(
    dead_code,
    reason = "documents the request; it is read field by field, so that a wrong one can be named"
)]
pub(crate) struct QualityBody {
    /// Target bitrate, bits per second.
    #[schema(minimum = 100_000, maximum = 50_000_000, value_type = u32, required = false)]
    bitrate: Option<u32>,
    /// Frames per second.
    #[schema(minimum = 1, maximum = 60, value_type = u32, required = false)]
    fps: Option<u32>,
    /// Longest edge of the picture in pixels.
    #[schema(minimum = 64, maximum = 4096, value_type = u32, required = false)]
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

/// Changes how a stream is encoded, for all its viewers. Fields that are left out stay as they are; a quality that is in force already changes nothing.
#[utoipa::path(
    put, path = "/api/v1/streams/{stream}/quality", operation_id = "put_quality", tag = "api",
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
    let stream = &shared.stream(&stream)?;
    let body = body::read(&headers, body, "application/json").await?;
    let change = quality_change(&body)?;
    if stream.would_change(change) {
        shared.limits.change_quality(&stream.name)?;
    }
    let request = EncoderRequest::SetQuality(change);
    let answered = stream.request(request).await.map_err(Problem::from);
    let told = |problem: Problem| problem.told(&who, stream.words_for_viewers());
    let EncoderAnswer::Quality { quality, changed } = answered.map_err(told)? else {
        return Err(Problem::odd_answer());
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
    post, path = "/api/v1/streams/{stream}/pause", operation_id = "pause_stream", tag = "api",
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
    post, path = "/api/v1/streams/{stream}/resume", operation_id = "resume_stream", tag = "api",
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
    let stream = &shared.stream(stream)?;
    let request = if paused {
        EncoderRequest::Pause
    } else {
        EncoderRequest::Resume
    };
    let EncoderAnswer::Done { changed } = stream.request(request).await? else {
        return Err(Problem::odd_answer());
    };
    Ok(Json(PauseView { paused, changed }))
}

/// Asks the encoder for a keyframe: at once, or a second after the one before. All requests until then get one together.
#[utoipa::path(
    post, path = "/api/v1/streams/{stream}/keyframe", operation_id = "request_keyframe", tag = "api",
    params(("stream" = String, Path, description = "The stream's name")),
    responses(
        (status = 202, description = "It is made, for this request and others."),
        (status = 404, description = "There is no such stream.", body = Details, content_type = "application/problem+json"),
        (status = 409, description = "Its encoder is not there now; see Retry-After.", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn post_keyframe(
    State(shared): State<Arc<AppState>>,
    Path(stream): Path<String>,
) -> Result<StatusCode, Problem> {
    shared.stream(&stream)?.wish_keyframe()?;
    Ok(StatusCode::ACCEPTED)
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
