//! Errors as clients see them: RFC 9457 problem details, for every error there is.

use std::time::Duration;

use axum::{
    Json,
    extract::Request,
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use framebridge_auth::Principal;
use serde::Serialize;
use utoipa::ToSchema;

const CONTENT_TYPE: &str = "application/problem+json";

/// An answer that says what is wrong, for a person (`detail`) and for a program (`code`).
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    /// The field of the request that is wrong.
    pub(crate) field: Option<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// A [`Problem`] on the wire.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Details {
    /// Always `about:blank`: `code` tells the kinds apart.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status's own phrase.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What kind of problem it is, in one stable word.
    code: &'static str,
    /// One sentence for a person: what is wrong, and what to do about it where there is something.
    detail: String,
    /// The field of the request that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            field: None,
            headers: Vec::new(),
        }
    }

    /// Names the field of the request that is wrong.
    pub(crate) fn field(mut self, name: &str) -> Self {
        self.field = Some(name.to_owned());
        self
    }

    /// Says when it is worth another try, in whole seconds and at least one.
    pub(crate) fn retry_after(self, delay: Duration) -> Self {
        let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
        self.header(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// To anybody but an operator in these words: where a source is, and what FFmpeg says of it, is for operators.
    pub(crate) fn told(mut self, who: &Principal, words: Option<&str>) -> Self {
        if !who.is_operator() {
            self.detail = words.unwrap_or("The stream can't be had now.").to_owned();
        }
        self
    }

    pub(crate) fn unknown_stream() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "unknown_stream",
            "There is no stream of this name.",
        )
    }

    pub(crate) fn unknown_session() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "unknown_session",
            "There is no such session (any more).",
        )
    }

    pub(crate) fn cross_origin() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "cross_origin",
            "A page of another origin may not change anything here.",
        )
    }

    /// An encoder has broken the protocol.
    pub(crate) fn odd_answer() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "failed",
            "The encoder answered something else.",
        )
    }

    /// An answer that has no words for itself.
    pub(crate) fn unwritten() -> Self {
        let detail = "The answer could not be written.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    pub(crate) fn unsupported_media_type(wanted: &str) -> Self {
        let detail = format!("The body has to be {wanted}.");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let details = Details {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: self.code,
            detail: self.detail,
            field: self.field,
        };
        let mut response = (self.status, Json(details)).into_response();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.headers_mut().extend(self.headers);
        response
    }
}

/// Outermost layer: makes a problem of an error that a library answered in its own words, which are plain text or none
/// (405, a rejected path, ...). The library's headers stay, its words go.
pub(crate) async fn seal(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let kind = response.headers().get(header::CONTENT_TYPE);
    let is_ours = kind.is_some_and(|kind| !kind.as_bytes().starts_with(b"text/plain"));
    if !is_error || is_ours {
        return response;
    }
    let (code, detail) = match status {
        StatusCode::NOT_FOUND => ("not_found", "There is nothing here."),
        StatusCode::METHOD_NOT_ALLOWED => ("method_not_allowed", "`Allow` names the methods there are here."),
        _ => ("bad_request", "The request can't be read."),
    };
    let (parts, _body) = response.into_parts();
    let mut problem = Problem::new(status, code, detail).into_response();
    for (name, value) in &parts.headers {
        if !matches!(*name, header::CONTENT_TYPE | header::CONTENT_LENGTH) {
            problem.headers_mut().append(name, value.clone());
        }
    }
    *problem.extensions_mut() = parts.extensions;
    problem
}
