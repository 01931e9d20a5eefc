//! Errors as clients see them: RFC 9457 problem details.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use framebridge_studio_proto::Header;
use serde_json::{Value, json};

use crate::store::StoreError;

/// RFC 9457, section 3.
const MEDIA_TYPE: &str = "application/problem+json";

/// An answer that says what is wrong, for a person (`detail`) and for a program (`code`).
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    code: &'static str,
    detail: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            headers: Vec::new(),
        }
    }

    pub(crate) fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "There is nothing here, or not any more.",
        )
    }

    /// A public address opens nothing. Which of the two it is nobody is told who may be guessing.
    pub(crate) fn address_ended() -> Self {
        let detail = "This address has ended, or was never given out.";
        Self::new(StatusCode::NOT_FOUND, "address_ended", detail)
    }

    /// Says when trying again makes sense.
    pub(crate) fn retry_after(self, wait: Duration) -> Self {
        let seconds = wait.as_millis().div_ceil(1000).max(1);
        self.header(header::RETRY_AFTER, &seconds.to_string())
    }

    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.headers
            .extend(HeaderValue::from_str(value).map(|value| (name, value)));
        self
    }

    /// The answer's body.
    pub(crate) fn json(&self) -> Value {
        json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or_default(),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        })
    }

    /// The answer's headers, for another node's viewer.
    pub(crate) fn travelling_headers(&self) -> Vec<Header> {
        let own = self.headers.iter();
        let own = own.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
        own.chain([("content-type".to_owned(), MEDIA_TYPE.to_owned())])
            .collect()
    }

    /// The box's link has broken off.
    pub(crate) fn link_lost() -> Self {
        let detail = "The box's link broke off; it connects again by itself.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "link_lost", detail).retry_after(Duration::from_secs(2))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.json())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(self.headers);
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!("{:#}", anyhow::Error::from(error));
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "storage",
            "The studio can't read or write its records just now.",
        )
    }
}
