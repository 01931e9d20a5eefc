//! How this process is, and the whole system: as the supervisor says, and while it is out of reach, as this process alone can see.

use std::{process, sync::Arc};

use axum::{Json, extract::State};
use framebridge_core::health;
use framebridge_proto::{
    Role, millis,
    status::{BridgeState, BridgeStatus, ProcessState, ProcessStatus, Status, StreamStatus},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{app_state::AppState, stream::Stream};

/// How this process is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// It answers. Always true; what does not answer is not alive.
    live: bool,
    /// It takes viewers: false while it is being stopped.
    ready: bool,
}

/// Whether this process answers, and whether it takes viewers. Never depends on another process.
#[utoipa::path(get, path = "/api/v1/health", operation_id = "get_health", tag = "api", responses((status = 200, description = "It answers.", body = Health)))]
pub(crate) async fn health(State(shared): State<Arc<AppState>>) -> Json<Health> {
    Json(Health {
        live: true,
        ready: !shared.is_draining(),
    })
}

/// The whole system, as `bridgectl status --json` prints it.
///
/// It is the supervisor's view. While the supervisor can't be reached it is this process's own: `overall` is
/// `degraded` then, and the row of the supervisor says why.
#[utoipa::path(
    get, path = "/api/v1/status", operation_id = "get_status", tag = "api",
    responses((status = 200, description = "How everything is.", content_type = "application/json"))
)]
pub(crate) async fn status(State(shared): State<Arc<AppState>>) -> Json<Status> {
    let answer = shared.supervisor.status().await;
    Json(answer.unwrap_or_else(|reason| own_view(&shared, reason)))
}

/// Our own view, which is degraded at best.
pub(crate) fn own_view(shared: &AppState, supervisor_problem: String) -> Status {
    let streams: Vec<StreamStatus> = shared.streams.all().iter().map(|stream| row(shared, stream)).collect();
    Status {
        // Nobody restarts what dies now.
        overall: health::overall(streams.iter().map(|stream| stream.condition), false),
        http: Some(shared.address.to_string()),
        processes: vec![
            ProcessStatus {
                name: Role::Supervisor.to_string(),
                role: Role::Supervisor,
                stream: None,
                state: ProcessState::Unreachable,
                pid: None,
                uptime_s: None,
                restarts: 0,
                last_reason: Some(supervisor_problem),
                heartbeat_age_ms: None,
            },
            ProcessStatus {
                name: Role::Signaling.to_string(),
                role: Role::Signaling,
                stream: None,
                state: ProcessState::Running,
                pid: Some(process::id()),
                uptime_s: Some(shared.started.elapsed().as_secs()),
                restarts: 0,
                last_reason: None,
                heartbeat_age_ms: None,
            },
        ],
        streams,
        bridge: BridgeStatus {
            state: BridgeState::Unknown,
            reason: Some("only the supervisor knows, and it can't be reached".to_owned()),
        },
    }
}

fn row(shared: &AppState, stream: &Stream) -> StreamStatus {
    let upstream = stream.upstream();
    let (width, height, fps, encoder) = match &upstream.parameters {
        Some(found) => (found.width, found.height, found.fps, found.encoder.clone()),
        None => (0, 0, stream.quality.fps, String::new()),
    };
    let health = stream.health();
    StreamStatus {
        name: stream.name.to_string(),
        source: stream.source.clone(),
        state: health.state,
        condition: health.condition,
        fault: health.fault,
        fault_age_ms: health.lasted.map(millis),
        reason: health.absence().map(str::to_owned),
        width,
        height,
        fps,
        bitrate: stream.quality_in_force().bitrate,
        encoder,
        viewers: stream.viewers(),
        frames_encoded: stream.encoded.count(),
        frames_sent: stream.counts.frames_sent(),
        last_frame_age_ms: stream.received.read().age_ms,
        unchanged_ms: 0,
        black_ms: 0,
        rungs: Vec::new(),
        pushes: shared.pushes.of(&stream.name),
        encoder_load: upstream.load,
        verdict: health.to_string(),
        retry_in_ms: health.retry_in.map(millis),
    }
}
