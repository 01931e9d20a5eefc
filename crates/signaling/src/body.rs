//! Request bodies: their type checked, their size capped, their arrival timed.

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, StatusCode, header},
};
use http_body_util::BodyExt as _;

use crate::problem::Problem;

/// The largest body taken. A browser's offer with every codec it has is some 10 KB.
pub(crate) const MAX_BODY: usize = 64 * 1024;

/// How much more than [`MAX_BODY`] is read and thrown away before the refusal: a client that is still writing would
/// see a reset connection instead of the answer.
const MAX_DISCARDED: usize = 1024 * 1024;

/// How long a body may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(10);

/// Reads a body of type `media_type`; parameters such as `charset` are allowed.
pub(crate) async fn read(headers: &HeaderMap, body: Body, media_type: &str) -> Result<Bytes, Problem> {
    let found = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = found.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case(media_type) {
        return Err(Problem::unsupported_media_type(media_type));
    }
    tokio::time::timeout(ARRIVAL, collect(body))
        .await
        .unwrap_or_else(|_elapsed| {
            Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "body_timeout",
                "The body did not arrive in time.",
            ))
        })
}

/// Like [`read`], for text.
pub(crate) async fn read_text(headers: &HeaderMap, body: Body, media_type: &str) -> Result<String, Problem> {
    let bytes = read(headers, body, media_type).await?;
    String::from_utf8(bytes.into())
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "not_utf8", "The body is not UTF-8."))
}

async fn collect(mut body: Body) -> Result<Bytes, Problem> {
    let mut kept = Vec::new();
    let mut seen = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "broken_body", "The body broke off."))?;
        let Ok(data) = frame.into_data() else { continue };
        seen += data.len();
        if seen > MAX_BODY + MAX_DISCARDED {
            break;
        }
        if seen <= MAX_BODY {
            kept.extend_from_slice(&data);
        }
    }
    if seen > MAX_BODY {
        let detail = format!("A body may have up to {MAX_BODY} bytes.");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail));
    }
    Ok(kept.into())
}
