//! Every route there is.

use std::sync::Arc;

use axum::{
    Router,
    middleware::from_fn_with_state,
    routing::{any, get, put},
};
use framebridge_studio_proto::{SESSION_PATH, UPLOAD_PATH};

use crate::{api, hub::Hub, link, page, problem::Problem, proxy, uploads};

/// The whole service.
pub(crate) fn router(hub: Arc<Hub>) -> Router {
    let operators = Router::new()
        .route("/", get(page::dashboard))
        .route("/api/v1/boxes", get(api::boxes))
        .route("/api/v1/boxes/{session}/logs", get(api::logs))
        .route("/api/v1/boxes/{session}/jobs", get(api::jobs).post(api::post_job))
        .route("/api/v1/jobs/{job}", get(api::job))
        .route("/api/v1/jobs/{job}/result", get(api::job_result))
        .layer(from_fn_with_state(Arc::clone(&hub), api::operators_only));
    Router::new()
        .route("/s/{session}", get(proxy::root))
        .route("/s/{session}/", any(proxy::carry))
        .route("/s/{session}/{*path}", any(proxy::carry))
        .route("/studio/{file}", get(page::part))
        .route("/api/v1/health", get(api::health))
        .route("/api/v1/sessions/{session}", get(api::session))
        .route(SESSION_PATH, any(link::accept))
        .route(&format!("{UPLOAD_PATH}{{job}}"), put(uploads::put))
        .merge(operators)
        .fallback(nothing_here)
        .with_state(hub)
}

async fn nothing_here() -> Problem {
    Problem::not_found()
}
