//! The handbook's worked example, typed as it stands there: what it shows is what comes.

use std::{collections::VecDeque, fs};

use framebridge_proto::status::{Overall, StreamState};
use framebridge_tests::{
    http::Request,
    system::System,
    wait::{self, PATIENCE},
};

use crate::sdp;

const HANDBOOK: &str = include_str!("../../docs/operations.md");

/// The section that has the example.
const SECTION: &str = "### 4. Serve two streams";

/// Its sources, and what a test has in their place: a pattern, and a port that nobody listens on.
const SOURCES: [(&str, &str); 3] = [
    ("x11::0", "test:"),
    ("rtsp://camera/stream", "rtsp://127.0.0.1:1/stream"),
    ("camera:554", "127.0.0.1:1"),
];

/// A command of the example, and the lines that it prints.
type Shown = (String, Vec<String>);

fn section() -> &'static str {
    let rest = HANDBOOK.split(SECTION).nth(1).expect("the section");
    rest.split("\n### ").next().unwrap_or(rest)
}

fn configuration() -> String {
    let text = section().split("```toml\n").nth(1).expect("a configuration");
    let text = text.split("```").next().expect("its end");
    SOURCES
        .iter()
        .fold(text.to_owned(), |text, (shown, here)| text.replace(shown, here))
}

fn shown() -> Vec<Shown> {
    let mut shown: Vec<Shown> = Vec::new();
    let mut follows = false;
    for line in section().lines() {
        match (line.strip_prefix("    "), line) {
            (Some(line), _) if line.starts_with("$ ") => {
                shown.push((line.trim_start_matches("$ ").to_owned(), Vec::new()));
                follows = true;
            }
            (Some(line), _) if follows => shown.last_mut().expect("a command").1.push(line.to_owned()),
            (None, "") => {}
            (Some(_), _) | (None, _) => follows = false,
        }
    }
    shown
}

/// A line without what differs from time to time and machine to machine: numbers, spans, widths, sources, the system's own reason.
fn alike(line: &str) -> String {
    let line = SOURCES
        .iter()
        .fold(line.to_owned(), |line, (shown, here)| line.replace(shown, here));
    let line = match (line.split_once("can't connect: "), line.rsplit_once("; last tried")) {
        (Some((before, _)), Some((_, after))) => format!("{before}can't connect: REASON; last tried{after}"),
        _ => line,
    };
    let mut words: VecDeque<String> = line.split_whitespace().map(without_digits).collect();
    let mut out: Vec<String> = Vec::new();
    while let Some(word) = words.pop_front() {
        // `1 min 12 s`, `9 ms`
        let is_span = word == "0"
            && words
                .front()
                .is_some_and(|unit| ["ms", "s", "min", "h", "d"].contains(&unit.as_str()));
        if !is_span {
            out.push(word);
            continue;
        }
        words.pop_front();
        if out.last().is_none_or(|last| last != "SPAN") {
            out.push("SPAN".to_owned());
        }
    }
    out.join(" ")
}

/// The same of all lines that have something in them.
fn all_alike<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    lines.map(alike).filter(|line| !line.is_empty()).collect()
}

fn without_digits(word: &str) -> String {
    let mut out = String::new();
    for letter in word.chars() {
        let digit = letter.is_ascii_digit();
        if !(digit && out.ends_with('0')) {
            out.push(if digit { '0' } else { letter });
        }
    }
    out
}

#[test]
fn worked_example_prints_what_the_handbook_shows() {
    // A source that nobody wants is closed at once, so that the test need not wait.
    let system = System::start_with(&[], &(configuration() + "[video]\nlinger_ms = 200\n")).unwrap();
    // Somebody has opened both; whoever watches one is still there.
    system.get("/api/v1/streams/door/snapshot.jpg").unwrap();
    wait::until_true("the other to be left alone", PATIENCE, || {
        Ok(system.stream("door")?.verdict.contains("last tried"))
    })
    .unwrap();
    let offer = Request::new("POST", "/whep/desk").body("application/sdp", sdp::offer());
    assert_eq!(offer.send(system.http()).unwrap().status, 201);
    wait::until_true("one stream to be live and the other not", PATIENCE, || {
        let (overall, desk) = (system.status()?.overall, system.stream("desk")?);
        let has_a_frame = desk.width > 0 && desk.last_frame_age_ms.is_some();
        Ok(overall == Overall::Degraded && desk.state == StreamState::Live && has_a_frame)
    })
    .unwrap();
    let file = system.scratch().join("example.toml");
    fs::write(&file, configuration()).unwrap();
    let mut checked = 0;
    for (line, expected) in shown() {
        let words: Vec<_> = line.split(' ').collect();
        if words[0] != "bridgectl" || expected.is_empty() {
            continue;
        }
        let path = file.to_string_lossy();
        let arguments: Vec<&str> = words[1..]
            .iter()
            .map(|word| if *word == "framebridge.toml" { &*path } else { *word })
            .collect();
        let output = system.bridgectl(&arguments).unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let shown = all_alike(expected.iter().map(String::as_str));
        assert_eq!(all_alike(said.lines()), shown, "`{line}` printed\n{said}");
        checked += 1;
    }
    assert_eq!(checked, 3, "config check, status and quality");
}
