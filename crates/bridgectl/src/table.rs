//! Draws a status for people.

use std::fmt::Write as _;

use comfy_table::{Table, presets};
use framebridge_proto::{
    Role,
    status::{BridgeState, BridgeStatus, ProcessState, ProcessStatus, Status, StreamStatus},
};

use crate::{
    units::{age, bitrate, span},
    why,
};

/// The status as text: one line that sums it up, the processes, the streams, and one sentence for each stream. On a terminal of so many
/// `columns`, streams are shown without their sources where these do not fit.
pub(crate) fn render(status: &Status, columns: Option<usize>) -> String {
    let (mut text, processes) = (summary(status), processes(status));
    let streams = plain(&["STREAM", "SOURCE", "STATE", "PICTURE", "VIEWERS", "LAST FRAME"])
        .add_rows(status.streams.iter().map(stream_row))
        .trim_fmt();
    let is_wide =
        |streams: &str| columns.is_some_and(|columns| streams.lines().any(|line| line.chars().count() > columns));
    let streams = if is_wide(&streams) {
        without_sources(status)
    } else {
        streams
    };
    // Writing to a String can't fail.
    _ = write!(text, "\n\n{processes}\n\n{streams}\n\n");
    for stream in &status.streams {
        let verdict = format!("{}: {}", stream.name, stream.verdict);
        let pushes = stream.pushes.iter().map(|push| format!("{}: {push}", stream.name));
        for sentence in std::iter::once(verdict).chain(pushes) {
            for line in wrapped(&sentence, columns.unwrap_or(usize::MAX)) {
                _ = writeln!(text, "{line}");
            }
        }
    }
    text
}

fn without_sources(status: &Status) -> String {
    plain(&["STREAM", "STATE", "PICTURE", "VIEWERS", "LAST FRAME"])
        .add_rows(status.streams.iter().map(|stream| {
            let [name, _source, rest @ ..] = stream_row(stream);
            std::iter::once(name).chain(rest)
        }))
        .trim_fmt()
}

/// The status for a screen of `columns` and `rows`: what is wrong first, then the streams, then the processes. What does not fit is
/// cut off, and counted.
pub(crate) fn screen(status: &Status, columns: usize, rows: usize) -> Vec<String> {
    let mut lines = vec![summary(status), String::new()];
    let faults = why::faults(status);
    lines.extend(faults.iter().flat_map(|fault| wrapped(fault, columns)));
    if !faults.is_empty() {
        lines.push(String::new());
    }
    lines.extend(without_sources(status).lines().map(str::to_owned));
    lines.push(String::new());
    lines.extend(processes(status).lines().map(str::to_owned));
    if lines.len() > rows {
        let more = lines.len() - (rows - 1);
        lines.truncate(rows - 1);
        lines.push(format!("... and {more} more lines: `bridgectl status` shows them"));
    }
    lines
        .into_iter()
        .map(|line| line.chars().take(columns).collect())
        .collect()
}

/// A sentence in lines of up to `columns`, cut at spaces; those after the first are indented.
fn wrapped(sentence: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in sentence.split_whitespace() {
        let is_full = line.chars().count() + 1 + word.chars().count() > columns;
        if is_full && !line.trim().is_empty() {
            lines.push(std::mem::replace(&mut line, "  ".to_owned()));
        }
        if !line.trim().is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

fn summary(status: &Status) -> String {
    let viewers = status.http.as_ref().map(|http| format!(", viewers at http://{http}/"));
    let studio = (status.bridge.state != BridgeState::Disabled).then(|| format!(", studio {}", status.bridge.state));
    let untried = why::untried(status).map(|untried| format!(", {untried}"));
    format!(
        "framebridge is {}{}{}{}",
        status.overall,
        viewers.unwrap_or_default(),
        studio.unwrap_or_default(),
        untried.unwrap_or_default()
    )
}

fn processes(status: &Status) -> String {
    let rows = status
        .processes
        .iter()
        .map(|process| process_row(process, &status.bridge));
    plain(&["PROCESS", "STATE", "PID", "UPTIME", "RESTARTS", "LAST REASON"])
        .add_rows(rows)
        .trim_fmt()
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
        or_dash(stream.last_frame_age_ms.map(age)),
    ]
}

/// `1280x720 30 fps 2.5 Mb/s`
fn picture(stream: &StreamStatus) -> String {
    let size = if stream.width == 0 {
        "-".to_owned()
    } else {
        format!("{}x{}", stream.width, stream.height)
    };
    let rate = Some(stream.bitrate).filter(|rate| *rate > 0).map(bitrate);
    format!("{size} {} fps {}", stream.fps, or_dash(rate))
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
pub(crate) mod example {
    use framebridge_proto::status::{Condition, FaultKind, Overall, StreamState};

    use super::*;

    /// The worked example of `docs/operations.md`: a desktop that is well, and a camera without power.
    pub(crate) fn degraded() -> Status {
        let process = |name: &str, role, pid, state| ProcessStatus {
            name: name.into(),
            role,
            stream: name.strip_prefix("encoder-").map(str::to_owned),
            state,
            pid: Some(pid),
            uptime_s: Some(72),
            restarts: 0,
            last_reason: None,
            heartbeat_age_ms: Some(40),
        };
        let running = ProcessState::Running;
        Status {
            overall: Overall::Degraded,
            http: Some("127.0.0.1:8890".into()),
            processes: vec![
                process("supervisor", Role::Supervisor, 27_615, running),
                process("signaling", Role::Signaling, 27_627, running),
                process("encoder-desk", Role::Encoder, 27_631, running),
                process("encoder-door", Role::Encoder, 27_632, running),
                process("bridge", Role::Bridge, 27_635, running),
            ],
            streams: vec![desk(), door()],
            bridge: BridgeStatus {
                state: BridgeState::Disabled,
                reason: None,
            },
        }
    }

    fn desk() -> StreamStatus {
        StreamStatus {
            name: "desk".into(),
            source: "x11::0".into(),
            state: StreamState::Live,
            condition: Condition::Well,
            fault: None,
            fault_age_ms: None,
            reason: None,
            width: 1280,
            height: 720,
            fps: 60,
            bitrate: 2_500_000,
            encoder: "libx264".into(),
            viewers: 1,
            frames_encoded: 900,
            frames_sent: 1800,
            retry_in_ms: None,
            unchanged_ms: 0,
            black_ms: 0,
            encoder_load: None,
            rungs: Vec::new(),
            pushes: Vec::new(),
            last_frame_age_ms: Some(9),
            verdict: "live".into(),
        }
    }

    fn door() -> StreamStatus {
        StreamStatus {
            name: "door".into(),
            source: "rtsp://camera/stream".into(),
            state: StreamState::Unavailable,
            condition: Condition::Dark,
            fault: Some(FaultKind::SourceUnavailable),
            width: 0,
            height: 0,
            fps: 30,
            bitrate: 1_500_000,
            viewers: 0,
            last_frame_age_ms: None,
            verdict: "source unavailable: camera:554: can't connect: No route to host (os error 113); last tried 40 s ago, it is tried \
                      again with the next viewer"
                .into(),
            ..desk()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_reads_as_the_handbook_shows_it() {
        let shown = include_str!("../../../docs/operations.md");
        let block = shown.split("    $ bridgectl status\n").nth(1).expect("the example");
        let lines = block
            .lines()
            .take_while(|line| line.is_empty() || line.starts_with("    "));
        let documented: Vec<_> = lines.map(|line| line.strip_prefix("    ").unwrap_or(line)).collect();
        assert_eq!(
            documented.join("\n").trim_end(),
            render(&example::degraded(), None).trim_end()
        );
    }

    #[test]
    fn narrow_terminal_gets_streams_without_sources_and_sentences_in_lines() {
        let status = example::degraded();
        let wide = render(&status, None);
        assert_eq!(render(&status, Some(300)), wide);
        let narrow = render(&status, Some(80));
        let streams = narrow.split("STREAM").nth(1).expect("the streams");
        assert!(streams.lines().all(|line| line.chars().count() <= 80), "{narrow}");
        assert!(!streams.contains("SOURCE") && wide.contains("SOURCE"), "{narrow}");
    }

    #[test]
    fn screen_has_what_is_wrong_first_and_fits() {
        let mut status = example::degraded();
        let lines = screen(&status, 80, 24);
        assert!(
            lines.len() <= 24 && lines.iter().all(|line| line.chars().count() <= 80),
            "{lines:#?}"
        );
        assert!(
            lines[2].starts_with("door: source unavailable") && lines[3].starts_with("  "),
            "{lines:#?}"
        );
        let at = |start: &str| {
            lines
                .iter()
                .position(|line| line.trim_start().starts_with(start))
                .expect(start)
        };
        assert!(at("door:") < at("STREAM") && at("desk") < at("PROCESS") && at("PROCESS") < at("supervisor"));
        let header = &lines[at("STREAM")];
        assert!(header.contains("LAST FRAME"), "{header}");

        let one = status.streams[0].clone();
        status.streams.extend((0..40).map(|_| one.clone()));
        let lines = screen(&status, 80, 24);
        assert_eq!(lines.len(), 24);
        assert!(lines[23].starts_with("... and "), "{}", lines[23]);
    }
}
