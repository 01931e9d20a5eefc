//! The studio's own pages: a few static files, built in.

use axum::{
    extract::Path,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::problem::Problem;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// A file of `page/`: its name, its type, its text.
type File = (&'static str, &'static str, &'static str);

const SESSION: File = ("session.html", HTML, include_str!("../page/session.html"));
const DASHBOARD: File = ("dashboard.html", HTML, include_str!("../page/dashboard.html"));
const NOTHING: File = ("nothing.html", HTML, include_str!("../page/nothing.html"));
const PARTS: [File; 4] = [
    // How both kinds of pages ask their servers.
    ("http.js", SCRIPT, include_str!("../../signaling/page/http.js")),
    ("session.js", SCRIPT, include_str!("../page/session.js")),
    ("dashboard.js", SCRIPT, include_str!("../page/dashboard.js")),
    ("studio.css", STYLE, include_str!("../page/studio.css")),
];

/// What a page may load: its own modules and styles, and what this studio answers.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; media-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// How a session is, in words, while there is nothing to watch.
pub(crate) fn session(status: StatusCode) -> Response {
    file(status, &SESSION)
}

/// That there is no such address.
pub(crate) fn nothing_here() -> Response {
    file(StatusCode::NOT_FOUND, &NOTHING)
}

/// All boxes, for operators.
pub(crate) async fn dashboard() -> Response {
    file(StatusCode::OK, &DASHBOARD)
}

/// A part of a page.
pub(crate) async fn part(Path(name): Path<String>) -> Result<Response, Problem> {
    let found = PARTS.iter().find(|(known, ..)| *known == name);
    found
        .map(|found| file(StatusCode::OK, found))
        .ok_or_else(Problem::not_found)
}

fn file(status: StatusCode, (_, kind, text): &File) -> Response {
    let headers = [
        (header::CONTENT_TYPE, *kind),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    ];
    (status, headers, *text).into_response()
}
