//! The viewer's page: a few static files, built in.

mod squeeze;

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    str::FromStr as _,
    sync::{Arc, LazyLock},
};

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use framebridge_proto::StreamName;
use squeeze::{Names, SCRIPT, STYLE, squeeze};

use crate::{
    app_state::AppState,
    problem::{Details, Problem},
};

/// A file of `page/`: its name, its type, its text.
type File = (&'static str, &'static str, &'static str);

const HTML: &str = "text/html; charset=utf-8";

/// The files of `page/` by their names.
macro_rules! files {
    ($kind:expr, $($name:literal),+) => { [$(($name, $kind, include_str!(concat!("../page/", $name)))),+] };
}

const PAGES: [File; 5] = files!(
    HTML,
    "index.html",
    "watch.html",
    "wall.html",
    "login.html",
    "nothing.html"
);
const INDEX: &File = &PAGES[0];
const WATCH: &File = &PAGES[1];
const WALL: &File = &PAGES[2];
const LOGIN: &File = &PAGES[3];
const NOTHING: &File = &PAGES[4];
const SCRIPTS: [File; 20] = files!(
    SCRIPT,
    "choices.js",
    "controls.js",
    "desk.js",
    "format.js",
    "http.js",
    "index.js",
    "keys.js",
    "keysyms.js",
    "layout.js",
    "line.js",
    "login.js",
    "page.js",
    "panel.js",
    "player.js",
    "quality.js",
    "stats.js",
    "streams.js",
    "viewer.js",
    "wall.js",
    "whep.js"
);
const STYLES: [File; 1] = files!(STYLE, "style.css");

/// What private members are called where they are sent.
static NAMES: LazyLock<Names> = LazyLock::new(|| Names::of(SCRIPTS.iter().map(|(_, _, text)| *text)));

/// The list of streams.
#[utoipa::path(get, path = "/", operation_id = "get_index_page", tag = "page", responses((status = 200, description = "The page.", content_type = "text/html")))]
pub(crate) async fn index(headers: HeaderMap) -> Response {
    file(INDEX, &headers)
}

/// The player of one stream.
#[utoipa::path(
    get, path = "/s/{stream}", operation_id = "get_stream_page", tag = "page",
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
        Ok(_) => file(WATCH, &headers),
        Err(_unknown) => (StatusCode::NOT_FOUND, file(WATCH, &HeaderMap::new())).into_response(),
    }
}

/// The wall: several streams side by side.
#[utoipa::path(get, path = "/wall", tag = "page", responses((status = 200, description = "The page.", content_type = "text/html")))]
pub(crate) async fn wall(headers: HeaderMap) -> Response {
    file(WALL, &headers)
}

/// The player's address with a slash too many.
#[utoipa::path(
    get, path = "/s/{stream}/", tag = "page",
    params(("stream" = String, Path, description = "The stream's name")),
    responses(
        (status = 308, description = "The same without the slash."),
        (status = 404, description = "No stream can have such a name.", content_type = "text/html"),
    )
)]
pub(crate) async fn without_slash(Path(name): Path<String>, uri: Uri) -> Response {
    if StreamName::from_str(&name).is_err() {
        return nothing(uri.path());
    }
    // Relative, so that it also leads there below a prefix.
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = format!("../{name}{query}");
    (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, location)]).into_response()
}

/// That there is nothing at `path`, for people.
pub(crate) fn nothing(path: &str) -> Response {
    (StatusCode::NOT_FOUND, rooted(NOTHING, path)).into_response()
}

/// Where to log in, for a page at `path`: as far up as that is down.
pub(crate) fn login(path: &str) -> impl IntoResponse + use<> {
    rooted(LOGIN, path)
}

/// A page that may stand at any `path`: what it loads is as far up as that is down.
fn rooted((_, kind, text): &File, path: &str) -> impl IntoResponse + use<> {
    let depth = path.trim_start_matches('/').matches('/').count();
    let text = squeeze(kind, text, &NAMES).replace("{root}", &"../".repeat(depth));
    let headers = [(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, "no-store")];
    (headers, text)
}

/// In place of a page that not everybody may see.
pub(crate) fn please_log_in(path: &str) -> Response {
    let challenge = [(header::WWW_AUTHENTICATE, "Bearer realm=\"framebridge\"")];
    (StatusCode::UNAUTHORIZED, challenge, login(path)).into_response()
}

/// A part of the page.
#[utoipa::path(
    get, path = "/page/{file}", operation_id = "get_page_file", tag = "page",
    params(("file" = String, Path, description = "e.g. `style.css`")),
    responses(
        (status = 200, description = "The file."),
        (status = 304, description = "It is as If-None-Match has it."),
        (status = 404, description = "There is no such file.", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn part(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let found = SCRIPTS.iter().chain(&STYLES).find(|(known, ..)| *known == name);
    let found = found.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "not_found", "The page has no such part."))?;
    Ok(file(found, &headers))
}

/// The file, or 304 where the browser has it: it asks each time, so that an upgrade shows at once.
fn file((_, kind, text): &File, headers: &HeaderMap) -> Response {
    let text = squeeze(kind, text, &NAMES);
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
        (headers, [(header::CONTENT_TYPE, *kind)], text).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_is_small() {
        const MOST: usize = 90_000;
        let all = PAGES.iter().chain(&SCRIPTS).chain(&STYLES);
        let size: usize = all.map(|(_, kind, text)| squeeze(kind, text, &NAMES).len()).sum();
        assert!(size < MOST, "{size} bytes");
    }

    #[test]
    fn no_text_of_a_script_goes_over_the_end_of_a_line() {
        for (file, _, text) in &SCRIPTS {
            for line in text.lines() {
                let is_comment = line.trim_start().starts_with(['*', '/']);
                assert!(is_comment || line.matches('`').count() % 2 == 0, "{file}: {line}");
            }
        }
    }
}
