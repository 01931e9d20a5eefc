//! What Prometheus scrapes, and the rules and the dashboard that come with Framebridge.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::ensure;
use framebridge_tests::{
    http::Request,
    process::command,
    studio::Studio,
    system::System,
    wait::{self, PATIENCE},
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/monitoring")
}

/// The names of our metrics in a text: those of a histogram without their endings.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    // Packages have names like it, with a number.
    let is_metric = |name: &str| name.starts_with(|first: char| first.is_ascii_lowercase());
    let ours = words.filter(|word| word.strip_prefix("framebridge_").is_some_and(is_metric));
    ours.map(|name| {
        let endings = ["_bucket", "_sum", "_count"];
        let ending = endings.iter().find_map(|ending| name.strip_suffix(ending));
        ending.unwrap_or(name).to_owned()
    })
    .collect()
}

#[test]
fn metrics_are_clean_and_rules_and_dashboard_and_handbook_name_those_that_are_there() {
    let push = "[[streams.test.push]]\nurl = \"http://127.0.0.1:9/whip\"\n";
    let system = System::start_with(&[("test", "test:")], push).unwrap();
    // A viewer, as far as the counters go.
    let offer = Request::new("POST", "/whep/test").body("application/sdp", crate::sdp::offer());
    let answer = offer.send(system.http()).unwrap();
    let session = answer
        .header("location")
        .unwrap()
        .rsplit('/')
        .next()
        .unwrap()
        .to_owned();
    let metrics = wait::until("all that is known of a stream to be told", PATIENCE, || {
        let path = format!("/api/v1/streams/test/sessions/{session}/report");
        let fares = r#"{"fps": 30, "wire_to_screen_ms": 20, "loss_percent": 0, "freezes": 0}"#;
        let told = Request::new("POST", &path).body("application/json", fares);
        ensure!(told.send(system.http())?.status == 204, "a page tells how it fares");
        let text = system.get("/metrics")?.text();
        let is_whole = [
            "framebridge_capture_to_wire_seconds_count",
            "framebridge_stream_last_frame_age_seconds",
            "framebridge_viewer_latency_seconds{",
        ];
        Ok(is_whole.iter().all(|name| text.contains(name)).then_some(text))
    })
    .unwrap();
    assert_clean(&metrics);

    let known = names(&metrics);
    let secured = "framebridge_tls_certificate_expiry_timestamp_seconds";
    for file in ["alerts.yml", "dashboard.json", "../operations.md"] {
        let text = fs::read_to_string(folder().join(file)).unwrap();
        // Modules in a log filter have such names, too, and packages: those go on with a version.
        let is_metric = |name: &str| {
            let rest = name.strip_prefix("framebridge_").unwrap_or_default();
            rest.starts_with(|letter: char| letter.is_ascii_lowercase())
        };
        let used = names(&text)
            .into_iter()
            .filter(|name| is_metric(name) && name != "framebridge_rtc" && name != secured);
        let unknown: Vec<_> = used.filter(|name| !known.contains(name)).collect();
        assert!(
            unknown.is_empty(),
            "{file} names {unknown:?}, which is not there:\n{metrics}"
        );
    }
    let handbook = names(&fs::read_to_string(folder().join("../operations.md")).unwrap());
    let untold: Vec<_> = known.difference(&handbook).collect();
    assert!(untold.is_empty(), "the handbook does not tell of {untold:?}");
}

#[test]
fn metrics_of_a_studio_are_clean_and_count_its_boxes_for_operators_only() {
    let studio = Studio::start().unwrap();
    let system = System::start_with(&[("test", "test:")], &studio.settings("door").unwrap()).unwrap();
    studio.address_of(&system).unwrap().until("ready", PATIENCE).unwrap();
    let metrics = studio.fetch(Request::new("GET", "/metrics")).unwrap().text();
    assert_clean(&metrics);
    for line in [
        "framebridge_studio_boxes{state=\"ready\"} 1",
        "framebridge_studio_boxes_linked{box=\"door\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
    let stranger = Request::new("GET", "/metrics").send(studio.operators()).unwrap();
    assert_eq!(stranger.status, 401);
    assert_eq!(
        Request::new("GET", "/metrics").send(studio.address()).unwrap().status,
        404
    );
}

/// By Prometheus' own judge.
#[track_caller]
fn assert_clean(metrics: &str) {
    let mut promtool = command("promtool");
    promtool
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut promtool = promtool.spawn().unwrap();
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.trim().is_empty(), "{said}\n{metrics}");
}

#[test]
fn each_alert_fires_on_what_it_is_for_and_on_nothing_else() {
    let output = command("promtool")
        .args(["test", "rules", "alerts_test.yml"])
        .current_dir(folder())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let [rules, tests] = ["alerts.yml", "alerts_test.yml"].map(|file| fs::read_to_string(folder().join(file)).unwrap());
    let alerts = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let untested: Vec<_> = alerts
        .filter(|alert| !tests.contains(&format!("alertname: {alert}\n")))
        .collect();
    assert!(untested.is_empty(), "no test of {untested:?}");
}
