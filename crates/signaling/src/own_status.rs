//! The system as this process alone can see it: what `GET /api/v1/status` answers while the supervisor is out of reach.

use std::process;

use framebridge_core::health;
use framebridge_proto::{
    Role,
    status::{BridgeState, BridgeStatus, ProcessState, ProcessStatus, Status, StreamStatus},
};

use crate::{app_state::AppState, meter::millis, stream::Stream};

/// Our own view, which is degraded at best.
pub(crate) fn build(shared: &AppState, supervisor_problem: String) -> Status {
    shared.sample();
    let streams: Vec<StreamStatus> = shared.streams.values().map(|stream| row(stream)).collect();
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

fn row(stream: &Stream) -> StreamStatus {
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
        bitrate: stream.bitrate(),
        encoder,
        viewers: stream.viewers(),
        frames_encoded: stream.encoded.count(),
        frames_sent: stream.sent.count(),
        last_frame_age_ms: stream.received.read().age_ms,
        verdict: health.to_string(),
        retry_in_ms: health.retry_in.map(millis),
    }
}
