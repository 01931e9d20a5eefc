//! Ways to break this process and its encoders from inside, for tests: they exist only under
//! `FRAMEBRIDGE_DEBUG_ENDPOINTS=1`, no document tells of them, and the bridge lets nobody through to them.

use std::{os::fd::OwnedFd, sync::Arc};

use axum::{
    Json,
    extract::{Query, State},
    http::StatusCode,
    routing::post,
};
use framebridge_auth::Scope::Admin;
use framebridge_proto::encoder::EncoderRequest;
use rustix::net::Shutdown;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{app_state::AppState, gate::Route, problem::Problem, sessions};

/// What there is to break.
#[derive(Debug)]
pub(crate) struct Debug {
    pub(crate) shared: Arc<AppState>,
    /// The HTTP listener: the same socket, whoever else keeps it.
    pub(crate) listener: OwnedFd,
    /// Ends the HTTP server.
    pub(crate) http_stop: CancellationToken,
}

#[derive(Debug, Deserialize)]
struct Which {
    session: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Whose {
    stream: String,
    /// A lower rung alone.
    rung: Option<String>,
}

/// The routes, all of them `POST`.
pub(crate) fn routes(debug: Debug) -> [Route; 3] {
    let debug = Arc::new(debug);
    let state = || Arc::clone(&debug);
    [
        Route::new(
            "/api/v1/debug/disconnect-webrtc",
            Admin,
            post(disconnect_webrtc).with_state(state()),
        ),
        Route::new(
            "/api/v1/debug/stall-encoder",
            Admin,
            post(stall_encoder).with_state(state()),
        ),
        Route::new(
            "/api/v1/debug/close-http-listener",
            Admin,
            post(close_http_listener).with_state(state()),
        ),
    ]
}

/// Drops the viewer of `session`, or all of them, without a word to them.
async fn disconnect_webrtc(
    State(debug): State<Arc<Debug>>,
    Query(Which { session }): Query<Which>,
) -> Result<Json<Value>, Problem> {
    let engine = &debug.shared.engine;
    let sessions = match session {
        Some(session) => vec![session.parse().map_err(|_| Problem::unknown_session())?],
        None => engine.sessions(),
    };
    let mut disconnected = 0;
    for session in &sessions {
        disconnected += u32::from(engine.drop_silently(session).await);
    }
    Ok(Json(json!({ "disconnected": disconnected })))
}

/// Has the encoder of `stream` encode nothing any more, under a pulse that goes on.
async fn stall_encoder(
    State(debug): State<Arc<Debug>>,
    Query(Whose { stream, rung }): Query<Whose>,
) -> Result<StatusCode, Problem> {
    let stream = &debug.shared.stream(&stream)?;
    let request = match rung {
        Some(rung) => EncoderRequest::StallRung(sessions::rung(&rung)?),
        None => EncoderRequest::Stall,
    };
    stream.request(request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Closes the listener for whoever holds it, the supervisor included, and ends what is connected; the process goes on.
async fn close_http_listener(State(debug): State<Arc<Debug>>) -> Result<StatusCode, Problem> {
    rustix::net::shutdown(&debug.listener, Shutdown::Read).map_err(|error| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "failed",
            format!("The listener stays open: {error}."),
        )
    })?;
    debug.http_stop.cancel();
    Ok(StatusCode::NO_CONTENT)
}
