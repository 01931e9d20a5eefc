//! Commands as sources.

use std::{
    fs,
    time::{Duration, Instant},
};

use framebridge_capture::{Interrupt, Source, SourceConfig, SourceError, image};
use framebridge_proto::encoder::ImageFormat;

use crate::{
    colours::{assert_painted, painted},
    config, next, open, refusal,
    server::pause,
};

const BOUND: Duration = Duration::from_secs(10);

fn film(arguments: &str) -> String {
    let graph = format!("{},format=yuv420p", painted(640, 360));
    format!("exec:ffmpeg -nostdin -v error -f lavfi -i '{graph}' {arguments} -")
}

#[test]
fn what_a_command_writes_is_shown_in_each_of_its_formats() {
    let h264 = "-c:v libx264 -preset ultrafast -tune zerolatency -qp 4 -g 10";
    for (format, arguments) in [
        ("y4m", "-f yuv4mpegpipe".to_owned()),
        ("MPEG-TS", format!("{h264} -f mpegts")),
        ("Annex B", format!("{h264} -f h264")),
    ] {
        let mut source = open(&film(&arguments));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot.png");
        fs::write(&path, image(&next(&mut source), ImageFormat::Png, 640).unwrap()).unwrap();
        assert_painted(format, &path);
    }
}

#[test]
fn a_command_that_is_faster_than_its_pictures_is_held_to_their_time() {
    let mut source = open(&film("-f yuv4mpegpipe"));
    let started = Instant::now();
    for _ in 0..26 {
        next(&mut source);
    }
    let took = started.elapsed().as_secs_f64();
    assert!((0.9..4.0).contains(&took), "26 pictures of 1/25 s in {took} s");
}

fn is_gone(pid: &str) -> bool {
    let state = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    // What was reparented may wait to be reaped by a container's first process that does not.
    state.is_err() || state.is_ok_and(|state| state.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")))
}

fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < BOUND, "{what}");
        pause();
    }
}

#[test]
fn a_command_ends_with_its_source_and_so_does_what_it_has_started() {
    let dir = tempfile::tempdir().unwrap();
    let pids = dir.path().join("pids");
    let stubborn = format!(
        "exec:(trap '' TERM; sleep 1000) & echo $! >> {0}; echo $$ >> {0}; {1}",
        pids.display(),
        film("-f yuv4mpegpipe").trim_start_matches("exec:")
    );
    let mut source = open(&stubborn);
    next(&mut source);
    let started: Vec<String> = fs::read_to_string(&pids).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(started.len(), 2);
    assert!(started.iter().all(|pid| !is_gone(pid)), "{started:?}");
    drop(source);
    soon("all of its group has ended", || started.iter().all(|pid| is_gone(pid)));
}

#[test]
fn a_command_that_fails_is_told_with_its_last_words_and_one_that_is_silent_can_be_stopped() {
    for (command, told) in [
        (
            "exec:echo 'no such camera' >&2; exit 3",
            "exit status: 3: no such camera",
        ),
        ("exec:no-such-program", "exit status: 127"),
        ("exec:no-such-program --password SECRET", "exit status: 127"),
        ("exec:PASSWORD=SECRET no-such-program", "exit status: 127"),
        ("exec:printf '\\033]0;PWNED\\007' >&2; exit 1", "]0;PWNED"),
    ] {
        let said = refusal(command);
        assert!(
            said.contains(told) && !said.contains("SECRET") && !said.chars().any(char::is_control),
            "{command}: {said:?}"
        );
    }
    let brief = SourceConfig {
        silence_limit: Duration::from_millis(100),
        ..config("exec:sleep 1000", 30)
    };
    let said = Source::open(&brief, &Interrupt::new()).unwrap_err().to_string();
    assert!(said.starts_with("the command has written no picture for 0."), "{said}");
    let interrupt = Interrupt::new();
    let opening = std::thread::spawn({
        let interrupt = interrupt.clone();
        move || Source::open(&config("exec:sleep 1000", 30), &interrupt).map(|_source| ())
    });
    interrupt.stop();
    soon("the opening ends", || opening.is_finished());
    assert!(matches!(opening.join().unwrap(), Err(SourceError::Stopped)));
}
