//! What an operator types, and what comes back.

use std::fs;

use framebridge_proto::{
    status::{BridgeState, Overall},
    supervisor::JournalEntry,
};
use framebridge_tests::{
    process::{command, signal},
    system::{System, binary},
    wait::{self, PATIENCE},
};
use rustix::process::Signal;

fn healthy_system() -> System {
    let system = System::start(&[("test", "test:")]).unwrap();
    wait::until_true("the system to be healthy", PATIENCE, || {
        Ok(system.status()?.overall == Overall::Healthy)
    })
    .unwrap();
    system
}

#[test]
fn status_shows_every_process_and_stream_to_people_and_programs() {
    let system = healthy_system();
    let table = system.bridgectl(&["status"]).unwrap();
    assert_eq!(table.status.code(), Some(0));
    let table = String::from_utf8(table.stdout).unwrap();
    let status = system.status().unwrap();
    let names: Vec<&str> = status.processes.iter().map(|process| process.name.as_str()).collect();
    assert_eq!(names[0], "supervisor");
    for name in ["supervisor", "signaling", "bridge", "encoder-test"] {
        assert!(names.contains(&name), "{names:?}");
        assert!(table.contains(name), "{table}");
    }
    assert_eq!(status.http, Some(system.http().to_string()));
    assert_eq!(status.bridge.state, BridgeState::Disabled);
    assert_eq!(status.streams[0].source, "test:");
    assert!(
        status
            .processes
            .iter()
            .all(|process| process.pid.is_some() && process.restarts == 0),
        "{status:?}"
    );
}

#[test]
fn exit_codes_tell_down_and_unreachable_from_healthy() {
    let system = System::start(&[("gone", "file:/nowhere/gone.mp4")]).unwrap();
    let down = |system: &System| Ok(system.bridgectl(&["status"])?.status.code() == Some(2));
    system.get("/api/v1/streams/gone/snapshot.jpg").unwrap();
    wait::until_true("the only stream, which can't be watched, to show", PATIENCE, || {
        down(&system)
    })
    .unwrap();

    let nowhere = tempfile::tempdir().unwrap();
    let mut bridgectl = command(binary("bridgectl").unwrap());
    let output = bridgectl
        .arg("status")
        .env("FRAMEBRIDGE_RUNTIME_DIR", nowhere.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains(&nowhere.path().join("supervisor.sock").display().to_string()),
        "{said}"
    );
}

#[test]
fn exit_code_of_a_degraded_system_is_one_of_its_own() {
    let system = System::start(&[("test", "test:"), ("gone", "file:/nowhere/gone.mp4")]).unwrap();
    system.get("/api/v1/streams/gone/snapshot.jpg").unwrap();
    wait::until_true("the stream that can't be watched to show", PATIENCE, || {
        Ok(system.status()?.overall == Overall::Degraded)
    })
    .unwrap();
    assert_eq!(system.bridgectl(&["status"]).unwrap().status.code(), Some(1));
    assert_eq!(system.bridgectl(&["status", "--json"]).unwrap().status.code(), Some(1));
}

#[test]
fn restart_by_name_gives_a_new_process_and_an_unknown_name_is_refused() {
    let system = healthy_system();
    let before = system.pid("bridge").unwrap();
    assert!(system.bridgectl(&["restart", "bridge"]).unwrap().status.success());
    wait::until_true("another bridge", PATIENCE, || Ok(system.pid("bridge")? != before)).unwrap();
    let refused = system.bridgectl(&["restart", "toaster"]).unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("toaster"));
}

#[test]
fn fault_is_in_the_events_and_why_says_that_it_is_over() {
    let system = healthy_system();
    system.kill_and_await("encoder-test").unwrap();
    let said = |arguments: &[&str]| String::from_utf8(system.bridgectl(arguments).unwrap().stdout).unwrap();
    let back = said(&["journal", "--json"])
        .lines()
        .map(|line| serde_json::from_str::<JournalEntry>(line).unwrap())
        .find(|event| event.process == "encoder-test" && event.recovery_ms.is_some());
    assert!(back.is_some(), "no event ends the fault:\n{}", said(&["journal"]));
    assert!(
        said(&["journal"]).contains("killed by signal 9"),
        "{}",
        said(&["journal"])
    );

    let why = || system.bridgectl(&["why", "test"]);
    wait::until_true("the stream to be well", PATIENCE, || Ok(why()?.status.success())).unwrap();
    assert!(!why().unwrap().stdout.is_empty());
    assert_eq!(system.bridgectl(&["why", "nothing"]).unwrap().status.code(), Some(1));

    let before = system.pid("encoder-test").unwrap();
    assert!(system.bridgectl(&["resume", "encoder-test"]).unwrap().status.success());
    assert_eq!(system.pid("encoder-test").unwrap(), before, "what runs is left alone");
}

#[test]
fn events_that_are_followed_go_on_over_the_supervisors_death_and_come_once() {
    let mut system = healthy_system();
    let said = system.scratch().join("events");
    let mut follower = system
        .start_bridgectl(&["journal", "--follow", "--json"], &said)
        .unwrap();
    let until_told = |what: &str| {
        wait::until_true(&format!("`{what}` to be told"), PATIENCE, || {
            Ok(fs::read_to_string(&said)?.contains(what))
        })
        .unwrap();
    };
    system.kill_and_await("encoder-test").unwrap();
    until_told("killed by signal 9");
    signal(system.pid("supervisor").unwrap(), Signal::KILL).unwrap();
    // The next one is refused while it lives.
    wait::until_true("the supervisor to be gone", PATIENCE, || Ok(system.status().is_err())).unwrap();
    system.start_supervisor().unwrap();
    until_told("adopted");
    assert!(system.bridgectl(&["restart", "bridge"]).unwrap().status.success());
    until_told("running -> stopping");
    signal(follower.pid(), Signal::INT).unwrap();
    assert!(follower.wait(PATIENCE).unwrap().success());
    let told = fs::read_to_string(&said).unwrap();
    let numbers: Vec<u64> = told
        .lines()
        .map(|line| serde_json::from_str::<JournalEntry>(line).unwrap().sequence)
        .collect();
    assert!(numbers.windows(2).all(|two| two[0] < two[1]), "{told}");
}

#[test]
fn quality_snapshot_and_clip_reach_the_encoder() {
    let system = healthy_system();
    let set = ["quality", "test", "--fps", "15", "--bitrate", "800k", "--size", "640"];
    let first = system.bridgectl(&set).unwrap();
    let said = String::from_utf8(first.stdout).unwrap();
    assert!(
        said.contains("640 px, 15 fps, 800000 b/s") && !said.contains("already"),
        "{said}"
    );
    wait::until_true("a source at rest to show its new bitrate", PATIENCE, || {
        Ok(system.get("/api/v1/streams/test")?.json()?["bitrate"] == 800_000)
    })
    .unwrap();
    let again = String::from_utf8(system.bridgectl(&set).unwrap().stdout).unwrap();
    assert!(again.contains("already"), "{again}");
    let refused = system.bridgectl(&["quality", "test", "--fps", "1000"]).unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("fps"));

    for (name, magic) in [("shot.jpg", &[0xff, 0xd8][..]), ("shot.png", b"\x89PNG")] {
        let file = system.scratch().join(name);
        let output = system
            .bridgectl(&["snapshot", "test", "-o", &file.to_string_lossy()])
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(fs::read(&file).unwrap().starts_with(magic), "{name} is something else");
    }
    let film = system.scratch().join("film.mp4");
    let clip = ["clip", "test", "--next", "1s", "-o", &film.to_string_lossy()];
    let output = system.bridgectl(&clip).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(&fs::read(&film).unwrap()[4..8], b"ftyp");
    let neither = system.bridgectl(&["clip", "test", "-o", "film.mp4"]).unwrap();
    assert_eq!(neither.status.code(), Some(64));
}

#[test]
fn doctor_finds_nothing_bad_where_all_is_well() {
    let system = healthy_system();
    let output = system.bridgectl(&["doctor"]).unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    for what in ["socket directory", "configuration", "TCP ", "UDP ", "ffmpeg", "libx264"] {
        assert!(said.contains(what), "no {what}:\n{said}");
    }
}
