//! Every route there is, and the document that describes them.

use std::sync::Arc;

use axum::{
    Json, Router,
    http::StatusCode,
    middleware::{from_fn, from_fn_with_state},
    routing::{MethodRouter, get, post, put},
};
use utoipa::OpenApi;

use crate::{
    api,
    app_state::AppState,
    debug,
    debug::Debug,
    events, guard, metrics, page, problem,
    problem::{Details, Problem},
    sessions, whep,
};

/// A path and its methods.
type Route = (&'static str, MethodRouter<Arc<AppState>>);

/// The routes that any web page may use.
fn whep_routes() -> [Route; 2] {
    [
        (
            "/whep/{stream}",
            get(whep::get_endpoint).post(whep::post).options(whep::options_endpoint),
        ),
        (
            "/whep/{stream}/{session}",
            get(whep::get_session)
                .patch(whep::patch)
                .delete(whep::delete)
                .options(whep::options_session),
        ),
    ]
}

/// All others.
fn own_routes() -> [Route; 18] {
    [
        ("/", get(page::index)),
        ("/s/{stream}", get(page::watch)),
        ("/page/{file}", get(page::part)),
        ("/api/v1/health", get(api::health)),
        ("/api/v1/status", get(api::status)),
        ("/api/v1/events", get(events::all)),
        ("/api/v1/streams", get(api::streams)),
        ("/api/v1/streams/{stream}", get(api::stream)),
        ("/api/v1/streams/{stream}/events", get(events::one)),
        ("/api/v1/streams/{stream}/quality", put(api::put_quality)),
        ("/api/v1/streams/{stream}/keyframe", post(api::post_keyframe)),
        ("/api/v1/streams/{stream}/pause", post(api::post_pause)),
        ("/api/v1/streams/{stream}/resume", post(api::post_resume)),
        ("/api/v1/streams/{stream}/snapshot.jpg", get(api::snapshot)),
        ("/api/v1/streams/{stream}/clip.mp4", get(api::clip)),
        ("/api/v1/streams/{stream}/sessions/{session}", get(sessions::session)),
        ("/api/v1/openapi.json", get(openapi)),
        ("/metrics", get(metrics::metrics)),
    ]
}

/// The whole service.
pub(crate) fn router(shared: Arc<AppState>, debug: Option<Debug>) -> Router {
    let add = |router: Router<Arc<AppState>>, (path, methods): Route| router.route(path, methods);
    // Also with a slash at the end: people paste it so.
    let whep = whep_routes()
        .into_iter()
        .flat_map(|(path, methods)| [(path.to_owned(), methods.clone()), (format!("{path}/"), methods)])
        .fold(Router::new(), |router, (path, methods)| router.route(&path, methods));
    let own = own_routes().into_iter().fold(Router::new(), add);
    let debug = debug.map(debug::router).unwrap_or_default();
    own.merge(debug)
        .merge(whep.layer(from_fn_with_state(Arc::clone(&shared), guard::share)))
        .fallback(nothing_here)
        .layer(from_fn_with_state(Arc::clone(&shared), guard::admit))
        .layer(from_fn(problem::seal))
        .with_state(shared)
}

async fn nothing_here() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", "There is nothing here.")
}

/// This document.
#[utoipa::path(
    get, path = "/api/v1/openapi.json", tag = "api",
    responses((status = 200, description = "OpenAPI 3.1", body = Object))
)]
async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}

#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "Framebridge signaling",
        description = "Live video to browsers. Errors are RFC 9457 problem details; `code` tells their kinds apart."
    ),
    paths(
        page::index, page::watch, page::part,
        api::health, api::status, api::streams, api::stream, api::put_quality, api::post_keyframe,
        api::post_pause, api::post_resume, api::snapshot, api::clip, events::all, events::one, sessions::session,
        openapi, metrics::metrics,
        whep::get_endpoint, whep::post, whep::options_endpoint,
        whep::get_session, whep::patch, whep::delete, whep::options_session,
    ),
    components(schemas(Details)),
    tags(
        (name = "whep", description = "Watching, by any WHEP player"),
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
        let routes = whep_routes().into_iter().chain(own_routes());
        let served: BTreeSet<String> = routes.map(|(path, _)| path.to_owned()).collect();
        let documented: BTreeSet<String> = Document::openapi().paths.paths.into_keys().collect();
        assert_eq!(served, documented);
    }
}
