//! The box as its studio is told of it.

use std::{collections::BTreeMap, net::SocketAddr};

use framebridge_core::{health::is_watchable, studio::local_health};
use framebridge_daemon::reach;
use framebridge_proto::status::{ProcessState, Status, StreamStatus};
use framebridge_studio_proto::{BoxState, Capabilities, Heartbeat, JobId, StreamReport, limits::MAX_STREAMS};

/// What a heartbeat says.
pub(crate) fn heartbeat(
    view: &local_health::View,
    status: Option<&Status>,
    job: Option<JobId>,
    capabilities: Capabilities,
) -> Heartbeat {
    let state = match view.state {
        local_health::State::Starting => BoxState::Starting,
        local_health::State::Ready => BoxState::Ready,
        local_health::State::Online => BoxState::Online,
        local_health::State::Degraded => BoxState::Degraded,
    };
    let streams = status.iter().flat_map(|status| &status.streams).take(MAX_STREAMS);
    let report = |stream: &StreamStatus| {
        Some(StreamReport {
            name: stream.name.parse().ok()?,
            state: stream.state.to_string(),
            verdict: stream.verdict.clone(),
            viewers: stream.viewers,
        })
    };
    Heartbeat {
        state,
        reason: view.reason.clone(),
        streams: streams.filter_map(report).collect(),
        job,
        capabilities,
    }
}

/// Whether a viewer who came now would see something; if not, why.
pub(crate) fn watchable(status: &Status) -> Result<(), String> {
    let mut streams = status.streams.iter();
    if streams.clone().any(is_watchable) {
        return Ok(());
    }
    let first = streams.next();
    Err(first.map_or_else(
        || "no stream is configured".to_owned(),
        |stream| format!("{}: {}", stream.name, stream.verdict),
    ))
}

/// Where the box's own server listens, once signaling said so.
pub(crate) fn server(status: &Status) -> Option<SocketAddr> {
    status.http.as_ref()?.parse().ok().map(reach::local)
}

/// Tells from two statuses in a row what has happened to the box's processes, so that the studio's log shows it.
#[derive(Debug, Default)]
pub(crate) struct News(BTreeMap<String, (ProcessState, Option<u32>)>);

impl News {
    /// Logs what is different now.
    pub(crate) fn log(&mut self, status: &Status) {
        for process in &status.processes {
            let now = (process.state, process.pid);
            let before = self.0.insert(process.name.clone(), now);
            if before.is_some_and(|before| before != now) {
                let (name, state, last_reason) = (&process.name, process.state, process.last_reason.as_deref());
                tracing::info!(name, %state, pid = process.pid, last_reason, "process");
            }
        }
    }

    /// The last words of a process, if there are any.
    pub(crate) fn last_reason<'a>(status: Option<&'a Status>, name: &str) -> Option<&'a str> {
        let process = status?.processes.iter().find(|process| process.name == name)?;
        process.last_reason.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use framebridge_proto::status::{BridgeState, BridgeStatus, Condition, Overall, StreamState};

    use super::*;

    fn status(states: &[(StreamState, Condition)]) -> Status {
        let stream = |(at, (state, condition)): (usize, &(StreamState, Condition))| StreamStatus {
            name: format!("s{at}"),
            source: "test:".into(),
            state: *state,
            condition: *condition,
            fault: None,
            fault_age_ms: None,
            reason: None,
            width: 0,
            height: 0,
            fps: 30,
            bitrate: 1,
            encoder: String::new(),
            viewers: 3,
            frames_encoded: 0,
            frames_sent: 0,
            retry_in_ms: None,
            unchanged_ms: 0,
            black_ms: 0,
            encoder_load: None,
            rungs: Vec::new(),
            pushes: Vec::new(),
            last_frame_age_ms: None,
            verdict: format!("it is {state}"),
        };
        Status {
            overall: Overall::Healthy,
            http: Some("0.0.0.0:8890".into()),
            processes: vec![],
            streams: states.iter().enumerate().map(stream).collect(),
            bridge: BridgeStatus {
                state: BridgeState::Online,
                reason: None,
            },
        }
    }

    #[test]
    fn box_with_one_stream_to_watch_is_watchable() {
        let unavailable = (StreamState::Unavailable, Condition::Dark);
        let paused = (StreamState::Paused, Condition::Well);
        for watched in [
            (StreamState::Idle, Condition::Well),
            (StreamState::Live, Condition::Faulty),
        ] {
            assert_eq!(watchable(&status(&[unavailable, paused, watched])), Ok(()));
        }
        let down = (StreamState::Down, Condition::Dark);
        for unseen in [paused, down, (StreamState::Opening, Condition::Dark)] {
            let why = "s0: it is unavailable".to_owned();
            assert_eq!(watchable(&status(&[unavailable, unseen])), Err(why));
        }
        assert!(watchable(&status(&[])).is_err());
    }

    #[test]
    fn server_on_all_addresses_is_asked_on_loopback() {
        assert_eq!(server(&status(&[])), Some("127.0.0.1:8890".parse().unwrap()));
    }

    #[test]
    fn heartbeat_never_says_ready_for_a_box_that_is_not() {
        let view = local_health::View {
            state: local_health::State::Degraded,
            reason: Some("no HTTP".into()),
        };
        let beat = heartbeat(
            &view,
            Some(&status(&[(StreamState::Live, Condition::Well)])),
            None,
            Capabilities::default(),
        );
        assert_eq!(
            (beat.state, beat.reason.as_deref()),
            (BoxState::Degraded, Some("no HTTP"))
        );
        assert_eq!(beat.streams[0].viewers, 3);
    }
}
