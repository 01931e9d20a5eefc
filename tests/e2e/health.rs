//! A stream's health is one verdict, whoever is asked, and an operator's pause is shown as what it is.

use std::time::SystemTime;

use framebridge_proto::status::{Condition, FaultKind, Overall, Status, StreamState, StreamStatus};
use framebridge_tests::{
    browser::Browser,
    http::Request,
    process::signal,
    system::System,
    wait::{self, PATIENCE},
};
use rustix::process::Signal;

use crate::sdp;

/// What `GET /api/v1/status` says, once it is said by whom it should be said.
fn status(system: &System, by_supervisor: bool) -> Status {
    wait::until("a status", PATIENCE, || {
        let status: Status = serde_json::from_value(system.get("/api/v1/status")?.json()?)?;
        let is_theirs = status.processes[0].pid.is_some();
        Ok((is_theirs == by_supervisor).then_some(status))
    })
    .unwrap()
}

fn stream<'a>(status: &'a Status, name: &str) -> &'a StreamStatus {
    status.streams.iter().find(|stream| stream.name == name).unwrap()
}

/// Asks the supervisor, and signaling while the supervisor is frozen; that they agree on all of `names`, and on the sum, is
/// checked here.
fn agreed(system: &System, names: &[&str]) -> Status {
    let theirs = status(system, true);
    let supervisor = system.pid("supervisor").unwrap();
    signal(supervisor, Signal::STOP).unwrap();
    let own = status(system, false);
    let views: Vec<_> = names
        .iter()
        .map(|name| system.get(&format!("/api/v1/streams/{name}")).unwrap().json().unwrap())
        .collect();
    signal(supervisor, Signal::CONT).unwrap();
    for (name, view) in names.iter().zip(views) {
        let (theirs, own) = (stream(&theirs, name), stream(&own, name));
        assert_eq!(
            (theirs.state, theirs.condition, theirs.fault, &theirs.reason),
            (own.state, own.condition, own.fault, &own.reason),
            "{theirs:?}\n{own:?}"
        );
        assert_eq!(view["state"], theirs.state.as_str());
        assert_eq!(view["condition"], theirs.condition.as_str());
        assert_eq!(view["reason"].as_str(), theirs.reason.as_deref());
    }
    // Without a supervisor nothing is healthy.
    assert_eq!(own.overall, theirs.overall.max(Overall::Degraded));
    theirs
}

#[test]
fn supervisor_and_signaling_say_the_same_of_each_stream() {
    let streams = [
        ("test", "test:"),
        ("idle", "test:"),
        ("paused", "test:"),
        ("gone", "file:/nowhere/gone.mp4"),
    ];
    let system = System::start_with(&streams, "[video]\nlinger_ms = 100\n").unwrap();
    let browser = Browser::start().unwrap();
    let page = browser.open(&system.url("/s/test")).unwrap();
    page.until_live().unwrap();
    assert!(system.bridgectl(&["pause", "paused"]).unwrap().status.success());
    // Somebody tried, and went.
    assert_eq!(system.get("/api/v1/streams/gone/snapshot.jpg").unwrap().status, 409);
    wait::until_true("the attempt to be over", PATIENCE, || {
        Ok(system.stream("gone")?.verdict.contains("last tried"))
    })
    .unwrap();

    let expected = [
        ("test", StreamState::Live, Condition::Well, None),
        ("idle", StreamState::Untried, Condition::Untried, None),
        ("paused", StreamState::Paused, Condition::Well, None),
        // Nobody watches it, and it is no better for that.
        (
            "gone",
            StreamState::Unavailable,
            Condition::Dark,
            Some(FaultKind::SourceUnavailable),
        ),
    ];
    let is_as_expected = |status: &Status| {
        expected.iter().all(|&(name, state, condition, fault)| {
            let stream = stream(status, name);
            (stream.state, stream.condition, stream.fault) == (state, condition, fault)
        })
    };
    wait::until_true("the supervisor to know how each stream is", PATIENCE, || {
        Ok(is_as_expected(&system.status()?))
    })
    .unwrap();
    let status = agreed(&system, &expected.map(|(name, ..)| name));
    assert!(is_as_expected(&status), "{:?}", status.streams);
    assert_eq!(status.overall, Overall::Degraded);
    let events = String::from_utf8(system.bridgectl(&["journal"]).unwrap().stdout).unwrap();
    assert!(events.contains("stream well -> source unavailable"), "{events}");
    assert!(
        !events.contains("source unavailable -> well"),
        "it never gave a picture:\n{events}"
    );
}

#[test]
fn paused_stream_says_so_to_everybody_outlives_its_encoder_and_comes_back_in_the_same_session() {
    let system = System::start(&[("test", "test:")]).unwrap();
    let browser = Browser::start().unwrap();
    let page = browser.open(&system.url("/s/test")).unwrap();
    page.until_live().unwrap();
    let session = page.sessions().unwrap();
    let said = |arguments: &[&str]| {
        let output = system.bridgectl(arguments).unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let until_paused = || {
        wait::until_true("the pause to show", PATIENCE, || {
            Ok(system.stream("test")?.state == StreamState::Paused)
        })
        .unwrap();
    };
    assert!(said(&["pause", "test"]).contains("paused until"));
    assert!(said(&["pause", "test"]).contains("already"));
    until_paused();
    assert_eq!(said(&["why", "test"]).trim(), "paused by its operator");
    assert_eq!(
        system.bridgectl(&["status"]).unwrap().status.code(),
        Some(0),
        "nothing is wrong"
    );
    page.until_holds("document.body.innerText.includes('Paused by its operator')")
        .unwrap();
    let still = system.get("/api/v1/streams/test/snapshot.jpg").unwrap();
    assert_eq!(still.status, 409, "{}", still.text());
    assert!(still.text().contains("paused by its operator"), "{}", still.text());

    system.kill_and_await("encoder-test").unwrap();
    until_paused();
    // Who comes now waits for the picture in a session.
    let joined = Request::new("POST", "/whep/test")
        .body("application/sdp", sdp::offer())
        .send(system.http())
        .unwrap();
    assert_eq!(joined.status, 201, "{}", joined.text());

    let resumed = Request::new("POST", "/api/v1/streams/test/resume")
        .send(system.http())
        .unwrap();
    assert_eq!(
        resumed.json().unwrap(),
        serde_json::json!({ "paused": false, "changed": true })
    );
    page.until_shows_later_than(SystemTime::now()).unwrap();
    page.until_live().unwrap();
    assert_eq!(page.sessions().unwrap(), session);
    assert!(said(&["resume", "test"]).contains("was not paused"));
    let before = system.pid("encoder-test").unwrap();
    assert!(said(&["resume", "encoder-test"]).contains("runs already"));
    assert_eq!(system.pid("encoder-test").unwrap(), before);
}

#[test]
fn dead_source_is_known_before_anybody_watches_and_a_kept_one_has_a_past() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("later.mp4").display().to_string();
    let streams = format!(
        "[streams.gone]\nsource = \"file:{file}\"\nprobe_ms = 1000\n[streams.kept]\nsource = \"test:\"\nkeep = \"always\"\n"
    );
    let system = System::start_with(&[], &streams).unwrap();
    let until = |what: &str, overall: Overall, state: StreamState| {
        wait::until_true(what, PATIENCE, || {
            let status = system.status()?;
            Ok(status.overall == overall && stream(&status, "gone").state == state)
        })
        .unwrap();
    };
    until("the dead source to show", Overall::Degraded, StreamState::Unavailable);
    // What has been of a stream that nobody watches becomes the source that was missing.
    wait::until_true("two seconds of the past", PATIENCE, || {
        Ok(system
            .bridgectl(&["clip", "kept", "--last", "2s", "-o", &file])?
            .status
            .success())
    })
    .unwrap();
    until("the source to be back", Overall::Healthy, StreamState::Idle);
}
