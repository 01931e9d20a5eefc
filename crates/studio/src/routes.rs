//! All routes of the studio.
//!
//! Boxes' pages run in viewers' browsers with the public address's origin. Operators' browsers hold a token that opens all
//! boxes, so what they open is served elsewhere and only there.

use std::sync::Arc;

use axum::{
    Router,
    extract::Request,
    middleware::{from_fn_with_state, map_response},
    response::{IntoResponse as _, Response},
    routing::{any, get, put},
};
use framebridge_studio_proto::{SESSION_PATH, UPLOAD_PATH};

use crate::{api, hub::Hub, metrics, page, problem::Problem, proxy, socket, upload_route};

/// What boxes and viewers reach.
pub(crate) fn public(hub: Arc<Hub>) -> Router {
    shared()
        .route("/s/{session}", get(proxy::root))
        .route("/s/{session}/", any(proxy::carry))
        .route("/s/{session}/{*path}", any(proxy::carry))
        .route("/api/v1/sessions/{session}", get(api::session))
        .route(SESSION_PATH, any(socket::accept))
        .route(&format!("{UPLOAD_PATH}{{job}}"), put(upload_route::put))
        .with_state(hub)
}

/// What operators reach.
pub(crate) fn operators(hub: Arc<Hub>) -> Router {
    Router::new()
        .route("/", get(page::dashboard))
        .route("/metrics", get(metrics::metrics))
        .route("/api/v1/boxes", get(api::boxes))
        .route("/api/v1/boxes/{session}/logs", get(api::logs))
        .route("/api/v1/boxes/{session}/jobs", get(api::jobs).post(api::post_job))
        .route("/api/v1/boxes/{session}/stills/{stream}", get(api::still))
        .route("/api/v1/jobs/{job}", get(api::job))
        .route("/api/v1/jobs/{job}/result", get(api::job_result))
        .layer(from_fn_with_state(Arc::clone(&hub), api::operators_only))
        .merge(shared())
        .layer(map_response(api::for_operators_only))
        .with_state(hub)
}

fn shared() -> Router<Arc<Hub>> {
    Router::new()
        .route("/studio/{file}", get(page::part))
        .route("/api/v1/health", get(api::health))
        .fallback(nothing_here)
}

async fn nothing_here(request: Request) -> Response {
    let (parts, _body) = request.into_parts();
    if proxy::is_navigation(&parts) {
        return page::nothing_here();
    }
    Problem::not_found().into_response()
}
