//! The viewer's page: a few static files, built in.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{
    app_state::AppState,
    problem::{Details, Problem},
};

/// A file of `page/`: its name, its type, its text.
type File = (&'static str, &'static str, &'static str);

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

const INDEX: File = ("index.html", HTML, include_str!("../page/index.html"));
const WATCH: File = ("watch.html", HTML, include_str!("../page/watch.html"));
const LOGIN: File = ("login.html", HTML, include_str!("../page/login.html"));
const PARTS: [File; 7] = [
    ("index.js", SCRIPT, include_str!("../page/index.js")),
    ("page.js", SCRIPT, include_str!("../page/page.js")),
    ("choices.js", SCRIPT, include_str!("../page/choices.js")),
    ("login.js", SCRIPT, include_str!("../page/login.js")),
    ("player.js", SCRIPT, include_str!("../page/player.js")),
    ("whep.js", SCRIPT, include_str!("../page/whep.js")),
    ("style.css", STYLE, include_str!("../page/style.css")),
];

/// The list of streams.
#[utoipa::path(get, path = "/", tag = "page", responses((status = 200, description = "The page.", content_type = "text/html")))]
pub(crate) async fn index(headers: HeaderMap) -> Response {
    file(&INDEX, &headers)
}

/// The player of one stream.
#[utoipa::path(
    get, path = "/s/{stream}", tag = "page",
    params(("stream" = String, Path, description = "The stream's name")),
    responses(
        (status = 200, description = "The page.", content_type = "text/html"),
        (status = 404, description = "The page too, which says that there is no such stream.", content_type = "text/html"),
    )
)]
pub(crate) async fn watch(
    State(shared): State<Arc<AppState>>,
    Path(stream): Path<String>,
    headers: HeaderMap,
) -> Response {
    match shared.stream(&stream) {
        Ok(_) => file(&WATCH, &headers),
        Err(_unknown) => (StatusCode::NOT_FOUND, file(&WATCH, &HeaderMap::new())).into_response(),
    }
}

/// Where to log in, for a page at `path`: as far up as that is down.
pub(crate) fn login(path: &str) -> impl IntoResponse + use<> {
    let (_, kind, text) = LOGIN;
    let depth = path.trim_start_matches('/').matches('/').count();
    let text = text.replace("{root}", &"../".repeat(depth));
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")];
    (headers, text)
}

/// In place of a page that not everybody may see.
pub(crate) fn please_log_in(path: &str) -> Response {
    let challenge = [(header::WWW_AUTHENTICATE, "Bearer realm=\"framebridge\"")];
    (StatusCode::UNAUTHORIZED, challenge, login(path)).into_response()
}

/// A part of the page.
#[utoipa::path(
    get, path = "/page/{file}", tag = "page",
    params(("file" = String, Path, description = "e.g. `style.css`")),
    responses(
        (status = 200, description = "The file."),
        (status = 304, description = "It is as If-None-Match has it."),
        (status = 404, description = "There is no such file.", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn part(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let found = PARTS.iter().find(|(known, ..)| *known == name);
    let found = found.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "not_found", "The page has no such part."))?;
    Ok(file(found, &headers))
}

/// The file, or 304 where the browser has it: it asks each time, so that an upgrade shows at once.
fn file((_, kind, text): &File, headers: &HeaderMap) -> Response {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let tag = format!("\"{:016x}\"", hasher.finish());
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let cached = known.is_some_and(|known| {
        known
            .split(',')
            .any(|known| known.trim().trim_start_matches("W/") == tag)
    });
    let headers = [(header::ETAG, tag.as_str()), (header::CACHE_CONTROL, "no-cache")];
    if cached {
        (StatusCode::NOT_MODIFIED, headers).into_response()
    } else {
        (headers, [(header::CONTENT_TYPE, *kind)], *text).into_response()
    }
}
