//! Every route there is, and the document that describes them.

use std::sync::{Arc, LazyLock};

use axum::{
    Router,
    body::Bytes,
    http::header,
    response::IntoResponse,
    routing::{delete, get, patch, post, put},
};
use framebridge_auth::Scope::{Admin, Control, Publish, View};
use utoipa::OpenApi;

use crate::{
    app_state::AppState,
    control, debug,
    debug::Debug,
    document, events,
    gate::{Gated, Route},
    live, login, metrics, page, pictures,
    problem::Details,
    session_events, sessions, status, steer, streams, viewers, whep, whip,
};

/// The routes that pages of other origins may use, besides WHEP: to show a picture, and to know how a stream is.
fn shown_elsewhere() -> [Route; 4] {
    [
        Route::new("/api/v1/events", View, get(events::all)),
        Route::new("/api/v1/streams/{stream}/events", View, get(events::one)),
        Route::new("/api/v1/streams/{stream}/snapshot.jpg", View, get(pictures::snapshot)),
        Route::new("/api/v1/streams/{stream}/live.mp4", View, get(live::film)),
    ]
}

/// The routes that a player of another origin may use.
fn whep_routes() -> [Route; 4] {
    [
        Route::new(
            "/whep/{stream}",
            View,
            get(whep::get_endpoint).post(whep::post).options(whep::options_endpoint),
        ),
        Route::new(
            "/whep/{stream}/{session}",
            View,
            get(whep::get_session)
                .patch(whep::patch)
                .delete(whep::delete)
                .options(whep::options_session),
        ),
        Route::new(
            "/whep/{stream}/{session}/sse",
            View,
            post(session_events::open).options(session_events::options),
        ),
        Route::new(
            "/whep/{stream}/{session}/sse/{events}",
            View,
            get(session_events::follow)
                .delete(session_events::close)
                .options(session_events::options_of_one),
        ),
    ]
}

/// The routes by which a publisher sends a stream its pictures.
fn whip_routes() -> [Route; 2] {
    [
        Route::new(
            "/whip/{stream}",
            Publish,
            post(whip::post).options(whip::options_endpoint),
        ),
        Route::new(
            "/whip/{stream}/{session}",
            Publish,
            patch(whip::patch).delete(whip::delete).options(whip::options_session),
        ),
    ]
}

/// All others.
fn own_routes() -> [Route; 27] {
    [
        Route::page("/", View, get(page::index)),
        Route::page("/wall", View, get(page::wall)),
        Route::page("/s/{stream}", View, get(page::watch)),
        Route::open("/s/{stream}/", get(page::without_slash)),
        Route::open("/page/{file}", get(page::part)),
        Route::open("/login", get(login::form).post(login::log_in)),
        Route::open("/logout", post(login::log_out)),
        Route::open("/api/v1/health", get(status::health)),
        Route::new("/api/v1/status", Admin, get(status::status)),
        Route::new("/api/v1/streams", View, get(streams::streams)),
        Route::new("/api/v1/streams/{stream}", View, get(streams::stream)),
        Route::new("/api/v1/streams/{stream}/quality", Control, put(control::put_quality)),
        Route::new(
            "/api/v1/streams/{stream}/keyframe",
            Control,
            post(control::post_keyframe),
        ),
        Route::new("/api/v1/streams/{stream}/pause", Control, post(control::post_pause)),
        Route::new("/api/v1/streams/{stream}/resume", Control, post(control::post_resume)),
        Route::new(
            "/api/v1/streams/{stream}/control",
            Control,
            post(steer::open).delete(steer::take_back),
        ),
        Route::new(
            "/api/v1/streams/{stream}/control/{line}",
            Control,
            get(steer::line).delete(steer::close),
        ),
        // What has been is more than watching.
        Route::new("/api/v1/streams/{stream}/clip.mp4", Control, get(pictures::clip)),
        Route::new(
            "/api/v1/streams/{stream}/sessions/{session}",
            View,
            get(sessions::session),
        ),
        Route::new(
            "/api/v1/streams/{stream}/sessions/{session}/rung",
            View,
            put(sessions::put_rung),
        ),
        Route::new(
            "/api/v1/streams/{stream}/sessions/{session}/report",
            View,
            post(sessions::report),
        ),
        Route::new(
            "/api/v1/streams/{stream}/pushes/{push}",
            Admin,
            delete(viewers::kick_push),
        ),
        Route::new("/api/v1/links", Admin, post(login::make_link)),
        Route::new("/api/v1/viewers", Admin, get(viewers::list)),
        Route::new("/api/v1/viewers/{session}", Admin, delete(viewers::kick)),
        Route::new("/api/v1/openapi.json", Admin, get(openapi)),
        Route::new("/metrics", Admin, get(metrics::metrics)),
    ]
}

fn all_routes() -> impl Iterator<Item = Route> {
    whep_routes()
        .into_iter()
        .chain(whip_routes())
        .chain(shown_elsewhere())
        .chain(own_routes())
}

/// The whole service.
pub(crate) fn router(shared: Arc<AppState>, debug: Option<Debug>) -> Router {
    // Also with a slash at the end: people paste it so.
    let endpoints = whep_routes().into_iter().chain(whip_routes());
    let endpoints = endpoints.flat_map(|route| [route.with_slash(), route]);
    let elsewhere = Gated::new(&shared, endpoints.chain(shown_elsewhere())).for_other_origins(&shared);
    let debug = debug.map(debug::routes).into_iter().flatten();
    Gated::new(&shared, own_routes().into_iter().chain(debug))
        .and(elsewhere)
        .into_router(shared)
}

/// This document.
#[utoipa::path(
    get, path = "/api/v1/openapi.json", operation_id = "get_openapi", tag = "api",
    responses((status = 200, description = "OpenAPI 3.1", body = Object))
)]
async fn openapi() -> impl IntoResponse {
    /// Written once: it takes milliseconds, and whoever asks for it without a pause took all of them from everybody.
    static TEXT: LazyLock<Bytes> = LazyLock::new(|| {
        let routes: Vec<Route> = all_routes().collect();
        document::complete(&Document::openapi(), &routes).to_string().into()
    });
    ([(header::CONTENT_TYPE, "application/json")], TEXT.clone())
}

#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "Framebridge signaling",
        description = "Live video to browsers. Errors are RFC 9457 problem details; `code` tells their kinds apart."
    ),
    paths(
        page::index, page::wall, page::watch, page::without_slash, page::part,
        status::health, status::status, streams::streams, streams::stream, control::put_quality, control::post_keyframe,
        control::post_pause, control::post_resume, steer::open, steer::take_back, steer::line, steer::close, pictures::snapshot, pictures::clip, live::film, events::all, events::one, sessions::session, sessions::put_rung,
        sessions::report,
        login::form, login::log_in, login::log_out, login::make_link, viewers::list, viewers::kick, viewers::kick_push,
        openapi, metrics::metrics,
        whep::get_endpoint, whep::post, whep::options_endpoint,
        whep::get_session, whep::patch, whep::delete, whep::options_session,
        session_events::open, session_events::options, session_events::follow, session_events::close, session_events::options_of_one,
        whip::post, whip::options_endpoint, whip::patch, whip::delete, whip::options_session,
    ),
    components(schemas(Details)),
    tags(
        (name = "whep", description = "Watching, by any WHEP player"),
        (name = "whip", description = "Publishing, by any WHIP client"),
        (name = "api", description = "State and control"),
        (name = "page", description = "The viewer's page"),
    )
)]
struct Document;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Which methods each has, `tests/http/api.rs` compares.
    #[test]
    fn every_route_is_documented_and_every_documented_one_is_served() {
        let routes = all_routes();
        let served: BTreeSet<String> = routes.map(|route| route.path().to_owned()).collect();
        let documented: BTreeSet<String> = Document::openapi().paths.paths.into_keys().collect();
        assert_eq!(served, documented);
    }
}
