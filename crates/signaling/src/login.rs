//! Logs people in: a page gets a cookie for a token, or for the code of a one-time link.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use framebridge_auth::{Scope, Streams};
use framebridge_proto::StreamName;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    access::LINK_LIFE,
    app_state::AppState,
    body,
    client::{Address, IsSecure},
    gate::{self, Asker},
    page,
    problem::{Details, Problem},
};

/// How long one stays in who opened a link, unless it says otherwise: an evening.
const LINK_STAY: Duration = Duration::from_secs(12 * 3600);
/// And at most.
const LONGEST_STAY: Duration = Duration::from_secs(30 * 24 * 3600);

/// What is shown at the door; one of the two.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginBody {
    /// A token.
    token: Option<String>,
    /// A one-time link's code.
    code: Option<String>,
}

/// Where to go from there.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Welcome {
    /// The page, below the login's own address.
    next: String,
}

/// What a link is to open.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinkBody {
    /// Only this stream.
    #[schema(value_type = Option<String>)]
    stream: Option<StreamName>,
    /// `view` or `control`.
    #[serde(default = "view")]
    #[schema(value_type = Option<String>)]
    scope: Scope,
    /// Seconds until whoever opened it is out again.
    expires_s: Option<u64>,
}

fn view() -> Scope {
    Scope::View
}

/// A link.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LinkView {
    /// What to put behind the server's address. What follows `#` is sent nowhere and logged nowhere.
    path: String,
    /// Where this server listens, e.g. `https://0.0.0.0:8890`.
    base: String,
    /// Seconds in which it has to be opened, once.
    open_within_s: u64,
}

/// The login page.
#[utoipa::path(get, path = "/login", operation_id = "get_login_page", tag = "page", responses((status = 200, description = "The page.", content_type = "text/html")))]
pub(crate) async fn form() -> Response {
    page::login("/login").into_response()
}

/// Lets in who shows a token or a one-time link's code: by a cookie.
#[utoipa::path(
    post, path = "/login", operation_id = "log_in", tag = "page",
    request_body(content = LoginBody, content_type = "application/json"),
    responses(
        (status = 200, description = "Come in.", body = Welcome, headers(("Set-Cookie" = String, description = "Who you are"))),
        (status = 400, description = "Neither or both are given.", body = Details, content_type = "application/problem+json"),
        (status = 401, description = "The token, or the link, is not known here or has ended.", body = Details, content_type = "application/problem+json"),
        (status = 413, description = "The body has over 64 KiB.", body = Details, content_type = "application/problem+json"),
        (status = 415, description = "The body is no application/json.", body = Details, content_type = "application/problem+json"),
        (status = 429, description = "Too many were wrong; see Retry-After.", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn log_in(
    State(shared): State<Arc<AppState>>,
    Extension(Address(address)): Extension<Address>,
    Extension(IsSecure(is_secure)): Extension<IsSecure>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = body::read(&headers, body, "application/json").await?;
    let bad = || {
        let detail = "The body has to be {\"token\": \"…\"} or {\"code\": \"…\"}.";
        Problem::new(StatusCode::BAD_REQUEST, "invalid_login", detail)
    };
    let shown: LoginBody = serde_json::from_slice(&body).map_err(|_| bad())?;
    let access = &shared.access;
    if !access.asks_for_tokens {
        return Ok(Json(Welcome { next: "./".to_owned() }).into_response());
    }
    let principal = match (shown.token, shown.code) {
        (Some(token), None) => access.holder(token.trim(), address),
        (None, Some(code)) => access.open_link(&code, address),
        (None, None) | (Some(_), Some(_)) => return Err(bad()),
    }
    .map_err(gate::refusal)?;
    let cookie = access.bake(&principal).ok_or_else(bad)?;
    let cookie = HeaderValue::from_str(&access.set_cookie(&cookie, is_secure)).map_err(|_| bad())?;
    tracing::info!(target: "audit", who = %principal, %address, "logged in");
    if !is_secure && !address.is_loopback() {
        tracing::warn!(%address, "logged in without TLS: whoever is on the way can take the cookie");
    }
    let next = match &principal.streams {
        Streams::Only(named) if named.len() == 1 => named.iter().map(|name| format!("./s/{name}")).collect(),
        Streams::Only(_) | Streams::All => "./".to_owned(),
    };
    Ok(([(header::SET_COOKIE, cookie)], Json(Welcome { next })).into_response())
}

/// Takes the cookie away.
#[utoipa::path(post, path = "/logout", operation_id = "log_out", tag = "page", responses((status = 204, description = "The cookie is gone.")))]
pub(crate) async fn log_out(
    State(shared): State<Arc<AppState>>,
    Extension(IsSecure(is_secure)): Extension<IsSecure>,
) -> Response {
    let cookie = shared.access.set_cookie("", is_secure);
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response()
}

/// Makes a one-time link: whoever opens it first is let in.
#[utoipa::path(
    post, path = "/api/v1/links", operation_id = "make_link", tag = "api",
    request_body(content = LinkBody, content_type = "application/json"),
    responses(
        (status = 201, description = "The link.", body = LinkView),
        (status = 400, description = "The body makes no sense.", body = Details, content_type = "application/problem+json"),
        (status = 404, description = "There is no such stream.", body = Details, content_type = "application/problem+json"),
        (status = 413, description = "The body has over 64 KiB.", body = Details, content_type = "application/problem+json"),
        (status = 415, description = "The body is no application/json.", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn make_link(
    State(shared): State<Arc<AppState>>,
    Extension(who): Asker,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = body::read(&headers, body, "application/json").await?;
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "invalid_link", detail);
    let wanted: LinkBody =
        serde_json::from_slice(&body).map_err(|error| bad(format!("The body is no link: {error}.")))?;
    if matches!(wanted.scope, Scope::Admin | Scope::Publish) {
        return Err(bad(
            "A link opens `view` or `control`; an operator or a publisher needs a token.".to_owned(),
        ));
    }
    if let Some(stream) = &wanted.stream {
        shared.stream(stream.as_str())?;
    }
    let stay = wanted
        .expires_s
        .map_or(LINK_STAY, Duration::from_secs)
        .min(LONGEST_STAY);
    let stream = wanted.stream.as_ref().map(StreamName::as_str);
    tracing::info!(target: "audit", %who, scope = %wanted.scope, stream, "made a link");
    let code = shared
        .access
        .make_link(wanted.scope, Streams::only(wanted.stream), stay);
    let link = LinkView {
        path: format!("/login#{code}"),
        base: shared.base(),
        open_within_s: LINK_LIFE.as_secs(),
    };
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(link)).into_response())
}
