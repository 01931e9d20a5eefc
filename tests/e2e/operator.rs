//! What an operator types, and what comes back.

use std::{
    ffi::OsStr,
    fs,
    net::{TcpListener, UdpSocket},
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    process::Stdio,
};

use framebridge_proto::{
    exit_code,
    status::{BridgeState, Overall},
    supervisor::JournalEntry,
};
use framebridge_tests::{
    process::{Process, command, signal},
    system::{System, alone, binary, free_port},
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
        said.contains("640 px, 15 fps, 800 kb/s") && !said.contains("already"),
        "{said}"
    );
    wait::until_true("a source at rest to show its new bitrate", PATIENCE, || {
        Ok(system.get("/api/v1/streams/test")?.json()?["bitrate"] == 800_000)
    })
    .unwrap();
    let again = String::from_utf8(system.bridgectl(&set).unwrap().stdout).unwrap();
    assert!(again.contains("already"), "{again}");
    let print = || String::from_utf8(system.bridgectl(&["config", "print"]).unwrap().stdout).unwrap();
    let printed = print();
    let line = printed.lines().find(|line| line.starts_with("fps = 15"));
    assert!(
        line.is_some_and(|line| line.contains("`bridgectl quality test --reset`")),
        "{printed}"
    );
    let reset = system.bridgectl(&["quality", "test", "--reset"]).unwrap();
    let reset = String::from_utf8(reset.stdout).unwrap();
    assert!(reset.contains("1280 px, 30 fps, 2.5 Mb/s, as configured"), "{reset}");
    assert!(!print().contains("set at run time"));
    let refused = system.bridgectl(&["quality", "test", "--fps", "1000"]).unwrap();
    assert_eq!(refused.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--fps"));

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
    let piped = system.bridgectl(&["snapshot", "test", "-o", "-"]).unwrap();
    assert!(piped.stdout.starts_with(&[0xff, 0xd8]) && piped.status.success());
    // Nobody has watched for long enough.
    let short = ["clip", "test", "--last", "60s", "-o", &film.to_string_lossy()];
    let output = system.bridgectl(&short).unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.code() == Some(1) && said.contains("less than asked for"),
        "{said}"
    );
    let allowed = system.bridgectl(&[&short[..], &["--allow-short"]].concat()).unwrap();
    assert_eq!(allowed.status.code(), Some(0));
    let neither = system.bridgectl(&["clip", "test", "-o", "film.mp4"]).unwrap();
    assert_eq!(neither.status.code(), Some(64));
}

#[test]
fn why_keeps_the_reason_of_an_attempt_that_nobody_watches_any_more() {
    let system = System::start(&[("gone", "file:/nonexistent/film.mp4")]).unwrap();
    let refused = system.bridgectl(&["snapshot", "gone", "-o", "never.jpg"]).unwrap();
    assert!(!refused.status.success());
    let why = system.bridgectl(&["why", "gone"]).unwrap();
    let why = String::from_utf8_lossy(&why.stdout).into_owned();
    assert!(
        why.contains("/nonexistent/film.mp4: can't open the source: No such file"),
        "{why}"
    );
}

#[test]
fn doctor_says_what_a_source_is_and_why_one_can_not_be_opened() {
    let system = System::start(&[("test", "test:")]).unwrap();
    for (source, told, success) in [
        ("lavfi:smptebars=size=320x240:rate=5", "320x240", true),
        ("test:", "1280x720", true),
        ("file:/nonexistent/film.mp4", "No such file or directory", false),
        ("rtsp://admin:SECRET@127.0.0.1:1/live", "can't connect", false),
    ] {
        let output = system.bridgectl(&["doctor", source]).unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains(told) && !said.contains("SECRET"), "{source}: {said}");
        assert_eq!(output.status.success(), success, "{source}: {said}");
    }
}

#[test]
fn doctor_finds_nothing_bad_where_all_is_well() {
    let system = healthy_system();
    let output = system.bridgectl(&["doctor"]).unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    for what in [
        "supervisor",
        "runtime directory",
        "configuration",
        "TCP ",
        "UDP ",
        "ffmpeg",
        "libx264",
        "gives pictures",
    ] {
        assert!(said.contains(what), "no {what}:\n{said}");
    }
    // Where nothing runs, it opens the sources itself.
    let nowhere = tempfile::tempdir().unwrap();
    let mut alone = command(binary("bridgectl").unwrap());
    alone.args(["doctor", "--stream", "a=test:", "--stream", "b=file:/nowhere/gone.mp4"]);
    alone.env("FRAMEBRIDGE_RUNTIME_DIR", nowhere.path());
    let output = alone.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let line = |what: &str| {
        said.lines()
            .find(|line| line.contains(what))
            .unwrap_or_default()
            .to_owned()
    };
    assert!(
        line("source of a").starts_with("ok ") && line("source of b").starts_with("BAD"),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(1));
    // As somebody would who has neither this configuration nor these variables, but for where it runs.
    let mut elsewhere = command(binary("bridgectl").unwrap());
    let output = elsewhere
        .arg("doctor")
        .env("FRAMEBRIDGE_RUNTIME_DIR", system.runtime_dir())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let port = system.http().to_string();
    assert!(
        said.contains(&port) && said.contains("(signaling)") && output.status.success(),
        "{said}"
    );
}

#[test]
fn name_that_nothing_has_gets_one_answer_from_every_verb() {
    let system = healthy_system();
    let file = system.scratch().join("never.mp4").display().to_string();
    let picture = system.scratch().join("never.png").display().to_string();
    for arguments in [
        &["quality", "tset"][..],
        &["pause", "tset"],
        &["snapshot", "tset", "-o", &picture],
        &["clip", "tset", "--next", "1s", "-o", &file],
        &["journal", "--stream", "tset"],
        &["viewers", "tset"],
        &["share", "tset"],
        &["link", "--stream", "tset"],
        &["doctor", "tset"],
        &["why", "tset"],
        &["restart", "tset"],
        &["resume", "tset"],
    ] {
        let output = system.bridgectl(arguments).unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let answer = "no stream is called `tset` (did you mean `test`?); `bridgectl status` lists them\n";
        // What is configured need not run.
        let said = said.replace("`bridgectl stream list` lists", "`bridgectl status` lists");
        let is_answered =
            said.ends_with(answer) || said.ends_with(&answer.replace("no stream is", "no process and no stream is"));
        assert!(is_answered && output.status.code() == Some(1), "{arguments:?}: {said}");
    }
    // A stream's name means its encoder.
    assert!(system.bridgectl(&["restart", "test"]).unwrap().status.success());
}

#[test]
fn token_of_a_stream_that_is_not_there_is_warned_of_and_unknown_ones_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (config, tokens) = (
        folder.path().join("framebridge.toml"),
        folder.path().join("tokens.toml"),
    );
    fs::write(&config, "[streams.door]\nsource = \"test:\"\n").unwrap();
    let token = |arguments: &[&str]| {
        let mut bridgectl = command(binary("bridgectl").unwrap());
        bridgectl.arg("token").args(arguments).arg("--file").arg(&tokens);
        bridgectl.arg("--config").arg(&config);
        let output = bridgectl.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = token(&["new", "lobby", "--scope", "view", "--stream", "dor"]);
    assert_eq!(code, Some(0));
    assert!(
        said.starts_with("warning: no stream is called `dor` (did you mean `door`?)"),
        "{said}"
    );
    assert_eq!(
        token(&["new", "hall", "--scope", "view", "--stream", "door"]),
        (Some(0), String::new())
    );
    let (code, said) = token(&["new", "lobby", "--scope", "view"]);
    assert!(
        code == Some(1) && said.contains("there is a token called `lobby` already"),
        "{said}"
    );
    let (code, said) = token(&["revoke", "loby"]);
    assert!(
        code == Some(1) && said.contains("(did you mean `lobby`?); `bridgectl token list` lists them"),
        "{said}"
    );
}

#[test]
fn configuration_that_is_a_pipe_or_no_text_ends_a_start_with_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let (pipe, latin) = (folder.path().join("pipe"), folder.path().join("latin"));
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    fs::write(&latin, b"[http]\n# k\xfcche\n").unwrap();
    for (file, said) in [
        (&pipe, "it is a pipe into which nobody writes"),
        (&latin, "line 2 is no text in UTF-8"),
    ] {
        for (program, arguments) in [("supervisor", &[][..]), ("bridgectl", &["config", "check"])] {
            let mut started = command(binary(program).unwrap());
            started.args(arguments).arg("--config").arg(file);
            started.env("FRAMEBRIDGE_RUNTIME_DIR", folder.path().join("run"));
            let output = started.output().unwrap();
            let told = String::from_utf8(output.stderr).unwrap();
            assert!(
                told.contains(said) && output.status.code() == Some(78),
                "{program}: {told}"
            );
        }
    }
}

#[test]
fn reader_that_goes_and_one_that_is_no_terminal_get_plain_text() {
    let system = healthy_system();
    let mut bridgectl = command(binary("bridgectl").unwrap());
    bridgectl
        .arg("status")
        .env("FRAMEBRIDGE_RUNTIME_DIR", system.runtime_dir());
    let mut child = bridgectl.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), output.stderr),
        (Some(0), Vec::new()),
        "nobody reads it"
    );

    let said = system.scratch().join("watched");
    let mut watcher = system.start_bridgectl(&["status", "--watch"], &said).unwrap();
    wait::until_true("two pictures", PATIENCE, || {
        Ok(fs::read_to_string(&said)?.matches("framebridge is healthy").count() >= 2)
    })
    .unwrap();
    signal(watcher.pid(), Signal::TERM).unwrap();
    assert!(watcher.wait(PATIENCE).unwrap().success());
    assert!(
        !fs::read_to_string(&said).unwrap().contains('\x1b'),
        "codes of a terminal"
    );
}

/// A supervisor by itself, in `dir`, with these ports for TCP and UDP; it never begins to work. `is_journal`: what reads its log is
/// systemd's journal.
fn failed_start(dir: &Path, ports: (u16, u16), is_journal: bool) -> (Option<i32>, String) {
    let mut supervisor = command(binary("supervisor").unwrap());
    supervisor
        .args(["--stream", "x=test:"])
        .env("FRAMEBRIDGE_RUNTIME_DIR", dir);
    supervisor.env("FRAMEBRIDGE_HTTP_LISTEN", format!("127.0.0.1:{}", ports.0));
    supervisor.env("FRAMEBRIDGE_WEBRTC_PORT", ports.1.to_string());
    let scratch = tempfile::tempdir().unwrap();
    let log = scratch.path().join("log");
    if is_journal {
        let file = fs::File::create(&log).unwrap().metadata().unwrap();
        supervisor.env("JOURNAL_STREAM", format!("{}:{}", file.dev(), file.ino()));
    }
    let mut supervisor = Process::start(&mut supervisor, &log).unwrap();
    let code = supervisor.wait(PATIENCE).unwrap().code();
    (code, fs::read_to_string(&log).unwrap())
}

#[test]
fn first_start_that_cant_be_ends_with_one_sentence() {
    let _machine = alone();
    let scratch = tempfile::tempdir().unwrap();
    let (held_tcp, held_udp) = (
        TcpListener::bind("127.0.0.1:0").unwrap(),
        UdpSocket::bind("0.0.0.0:0").unwrap(),
    );
    let (tcp, udp) = (
        held_tcp.local_addr().unwrap().port(),
        held_udp.local_addr().unwrap().port(),
    );
    let (free, pid) = (free_port().unwrap(), std::process::id());
    for (dir, ports, said) in [
        (
            scratch.path().to_owned(),
            (tcp, free),
            format!("TCP 127.0.0.1:{tcp} is in use by pid {pid} ("),
        ),
        (
            scratch.path().to_owned(),
            (free, udp),
            format!("UDP 0.0.0.0:{udp} is in use by pid {pid} ("),
        ),
        (
            scratch.path().join("d".repeat(100)),
            (free, free),
            "is too long for the sockets in it".to_owned(),
        ),
        (
            PathBuf::from("/proc/framebridge"),
            (free, free),
            "set FRAMEBRIDGE_RUNTIME_DIR".to_owned(),
        ),
    ] {
        let (code, log) = failed_start(&dir, ports, false);
        assert_eq!(code, Some(exit_code::UNAVAILABLE.into()), "{log}");
        assert!(log.lines().count() == 1 && log.contains(&said), "{log}");
    }
    let (_, log) = failed_start(scratch.path(), (tcp, free), true);
    let entry = log
        .strip_prefix("<3>[supervisor] ")
        .unwrap_or_else(|| panic!("no error to the journal: {log}"));
    assert!(
        !entry.contains("ERROR") && !entry.contains('Z') && entry.contains("is in use by"),
        "{log}"
    );
}

#[test]
fn box_that_was_started_by_nohup_outlives_its_terminal_and_says_last_where_to_look() {
    let _machine = alone();
    let scratch = tempfile::tempdir().unwrap();
    let (log, port) = (scratch.path().join("log"), free_port().unwrap());
    let mut nohup = command("nohup");
    nohup.arg(binary("supervisor").unwrap()).args(["--stream", "x=test:"]);
    nohup.env("FRAMEBRIDGE_RUNTIME_DIR", scratch.path().join("run"));
    nohup.env("FRAMEBRIDGE_HTTP_LISTEN", format!("localhost:{port}"));
    nohup.env("FRAMEBRIDGE_WEBRTC_PORT", "0");
    // What others have in their environment need not be text.
    nohup.env("BAD", OsStr::from_bytes(b"\xa3"));
    let mut supervisor = Process::start(&mut nohup, &log).unwrap();
    let greeting = format!("open http://127.0.0.1:{port}/ in a browser");
    let last_line = || Ok(fs::read_to_string(&log)?.lines().last().unwrap_or_default().to_owned());
    wait::until_true("the last line to say where to look", PATIENCE, || {
        last_line().map(|line| line.contains(&greeting))
    })
    .unwrap();
    signal(supervisor.pid(), Signal::HUP).unwrap();
    // A restart goes through the loop that would have ended on the signal.
    let mut bridgectl = command(binary("bridgectl").unwrap());
    bridgectl.env("FRAMEBRIDGE_RUNTIME_DIR", scratch.path().join("run"));
    assert!(bridgectl.args(["restart", "bridge"]).output().unwrap().status.success());
    let said = fs::read_to_string(&log).unwrap();
    assert!(!said.contains("encoder-x: running -> stopping"), "{said}");
    signal(supervisor.pid(), Signal::INT).unwrap();
    assert!(supervisor.wait(PATIENCE).unwrap().success());
}
