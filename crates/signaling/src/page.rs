//! The viewer's page: a few static files, built in.

mod rename;
mod script;
mod squeeze;

use std::{
    collections::BTreeMap,
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
use rename::Members;
use script::Token;

use crate::{
    app_state::AppState,
    problem::{Details, Problem},
};

/// A file of `page/`: its name, its type, its text.
type File = (&'static str, &'static str, &'static str);

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

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
const SCRIPTS: [File; 22] = files!(
    SCRIPT,
    "choices.js",
    "controls.js",
    "desk.js",
    "film.js",
    "format.js",
    "http.js",
    "index.js",
    "keys.js",
    "keysyms.js",
    "layout.js",
    "line.js",
    "login.js",
    "old.js",
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

/// The list of streams.
#[utoipa::path(get, path = "/", operation_id = "get_index_page", tag = "page", responses((status = 200, description = "The page.", content_type = "text/html")))]
pub(crate) async fn index(headers: HeaderMap) -> Response {
    sent("index.html", &headers)
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
        Ok(_) => sent("watch.html", &headers),
        Err(_unknown) => (StatusCode::NOT_FOUND, sent("watch.html", &HeaderMap::new())).into_response(),
    }
}

/// The wall: several streams side by side.
#[utoipa::path(get, path = "/wall", tag = "page", responses((status = 200, description = "The page.", content_type = "text/html")))]
pub(crate) async fn wall(headers: HeaderMap) -> Response {
    sent("wall.html", &headers)
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
    (StatusCode::NOT_FOUND, rooted("nothing.html", path)).into_response()
}

/// Where to log in, for a page at `path`: as far up as that is down.
pub(crate) fn login(path: &str) -> impl IntoResponse + use<> {
    rooted("login.html", path)
}

/// A page that may stand at any `path`: what it loads is as far up as that is down.
fn rooted(name: &str, path: &str) -> impl IntoResponse + use<> {
    let depth = path.trim_start_matches('/').matches('/').count();
    let text = SENT.get(name).map_or("", |page| page.text.as_str());
    let headers = [(header::CONTENT_TYPE, HTML), (header::CACHE_CONTROL, "no-store")];
    (headers, text.replace("{root}", &"../".repeat(depth)))
}

/// One of the pages.
fn sent(name: &str, headers: &HeaderMap) -> Response {
    SENT.get(name)
        .map_or_else(|| nothing("/"), |page| page.response(headers))
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
    let found = SENT.get(name.as_str()).filter(|file| file.kind != HTML);
    let found = found.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "not_found", "The page has no such part."))?;
    Ok(found.response(&headers))
}

/// The files as they are sent, by their names: made once.
static SENT: LazyLock<BTreeMap<&str, Sent>> = LazyLock::new(|| {
    let scripts: Vec<(&str, Vec<Token>)> = SCRIPTS
        .iter()
        .map(|(name, _, text)| (*name, script::tokens(text)))
        .collect();
    // Scripts use each other's members.
    let members = Members::of(scripts.iter().map(|(_, script)| script.as_slice()));
    let scripts = scripts.into_iter().map(|(name, mut script)| {
        rename::rename(&mut script, &members);
        (name, Sent::of(SCRIPT, script::written(&script)))
    });
    let styles = STYLES
        .iter()
        .map(|(name, kind, text)| (*name, Sent::of(kind, squeeze::style(text))));
    let pages = PAGES
        .iter()
        .map(|(name, kind, text)| (*name, Sent::of(kind, squeeze::page(text))));
    scripts.chain(styles).chain(pages).collect()
});

/// A file as it is sent.
struct Sent {
    kind: &'static str,
    text: String,
    tag: String,
}

impl Sent {
    fn of(kind: &'static str, text: String) -> Self {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let tag = format!("\"{:016x}\"", hasher.finish());
        Self { kind, text, tag }
    }

    /// The file, or 304 where the browser has it: it asks each time, so that an upgrade shows at once.
    fn response(&'static self, headers: &HeaderMap) -> Response {
        let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        let cached = known.is_some_and(|known| {
            known
                .split(',')
                .any(|known| known.trim().trim_start_matches("W/") == self.tag)
        });
        let headers = [(header::ETAG, self.tag.as_str()), (header::CACHE_CONTROL, "no-cache")];
        if cached {
            (StatusCode::NOT_MODIFIED, headers).into_response()
        } else {
            (headers, [(header::CONTENT_TYPE, self.kind)], self.text.as_str()).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_is_small() {
        const MOST: usize = 90_000;
        let size: usize = SENT.values().map(|sent| sent.text.len()).sum();
        assert!(size < MOST, "{size} bytes");
    }
}
