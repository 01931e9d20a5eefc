//! A status as a person reads it.

use std::fmt::Write as _;

use comfy_table::{Table, presets};
use framebridge_proto::{
    Role,
    status::{BridgeStatus, ProcessState, ProcessStatus, Status, StreamStatus},
};

/// The whole picture: one line that sums it up, the processes, the streams, and one sentence for each stream.
pub(crate) fn render(status: &Status) -> String {
    let mut text = format!("framebridge is {}", status.overall);
    if let Some(http) = &status.http {
        // Writing to a String can't fail.
        _ = write!(text, ", viewers at http://{http}/");
    }
    let processes = plain(&["PROCESS", "STATE", "PID", "UPTIME", "RESTARTS", "LAST REASON"])
        .add_rows(
            status
                .processes
                .iter()
                .map(|process| process_row(process, &status.bridge)),
        )
        .trim_fmt();
    let streams = plain(&["STREAM", "SOURCE", "STATE", "PICTURE", "VIEWERS", "LAST FRAME"])
        .add_rows(status.streams.iter().map(stream_row))
        .trim_fmt();
    _ = write!(text, "\n\n{processes}\n\n{streams}\n\n");
    for stream in &status.streams {
        _ = writeln!(text, "{}: {}", stream.name, stream.verdict);
    }
    text
}

pub(crate) fn plain(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().copied());
    table
}

fn process_row(process: &ProcessStatus, bridge: &BridgeStatus) -> [String; 6] {
    let state = if process.role == Role::Bridge && process.state == ProcessState::Running {
        format!("{} ({})", process.state, bridge.state)
    } else {
        process.state.to_string()
    };
    [
        process.name.clone(),
        state,
        or_dash(process.pid),
        or_dash(process.uptime_s.map(span)),
        process.restarts.to_string(),
        or_dash(process.last_reason.as_deref()),
    ]
}

fn stream_row(stream: &StreamStatus) -> [String; 6] {
    [
        stream.name.clone(),
        stream.source.clone(),
        stream.state.to_string(),
        picture(stream),
        stream.viewers.to_string(),
        or_dash(stream.last_frame_age_ms.map(|age| format!("{age} ms"))),
    ]
}

/// `1280x720 30 fps 2.5 Mb/s`
fn picture(stream: &StreamStatus) -> String {
    let size = if stream.width == 0 {
        "-".to_owned()
    } else {
        format!("{}x{}", stream.width, stream.height)
    };
    let (whole, tenth) = (stream.bitrate / 1_000_000, stream.bitrate / 100_000 % 10);
    format!("{size} {} fps {whole}.{tenth} Mb/s", stream.fps)
}

/// The two largest units of a span of seconds: `4 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use framebridge_proto::status::{BridgeState, Condition, FaultKind, Overall, StreamState};

    use super::*;

    fn process(name: &str, role: Role, state: ProcessState, pid: Option<u32>) -> ProcessStatus {
        ProcessStatus {
            name: name.into(),
            role,
            stream: None,
            state,
            pid,
            uptime_s: pid.map(|_| 200),
            restarts: 0,
            last_reason: None,
            heartbeat_age_ms: pid.map(|_| 40),
        }
    }

    #[test]
    fn status_reads_at_a_glance() {
        let status = Status {
            overall: Overall::Degraded,
            http: Some("127.0.0.1:8890".into()),
            processes: vec![
                process("supervisor", Role::Supervisor, ProcessState::Running, Some(100)),
                ProcessStatus {
                    restarts: 2,
                    last_reason: Some("killed by SIGKILL".into()),
                    ..process("encoder-test", Role::Encoder, ProcessState::BackingOff, None)
                },
                process("bridge", Role::Bridge, ProcessState::Running, Some(103)),
            ],
            streams: vec![StreamStatus {
                name: "test".into(),
                source: "test:".into(),
                state: StreamState::Live,
                condition: Condition::Faulty,
                fault: Some(FaultKind::EncoderWedged),
                fault_age_ms: Some(2_000),
                reason: None,
                width: 1280,
                height: 720,
                fps: 30,
                bitrate: 2_500_000,
                encoder: "libx264".into(),
                viewers: 2,
                frames_encoded: 900,
                frames_sent: 1800,
                retry_in_ms: None,
                last_frame_age_ms: Some(12),
                verdict: "the encoder is being started again".into(),
            }],
            bridge: BridgeStatus {
                state: BridgeState::Disabled,
                reason: None,
            },
        };
        let expected = "\
framebridge is degraded, viewers at http://127.0.0.1:8890/

 PROCESS       STATE               PID  UPTIME      RESTARTS  LAST REASON
 supervisor    running             100  3 min 20 s  0         -
 encoder-test  backing-off         -    -           2         killed by SIGKILL
 bridge        running (disabled)  103  3 min 20 s  0         -

 STREAM  SOURCE  STATE  PICTURE                   VIEWERS  LAST FRAME
 test    test:   live   1280x720 30 fps 2.5 Mb/s  2        12 ms

test: the encoder is being started again
";
        assert_eq!(render(&status), expected);
    }

    #[test]
    fn spans_show_their_two_largest_units() {
        for (seconds, text) in [
            (4, "4 s"),
            (200, "3 min 20 s"),
            (7_500, "2 h 5 min"),
            (273_600, "3 d 4 h"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}
