//! Whatever is broken, in whatever order: it mends itself.

use std::time::Duration;

use framebridge_tests::{
    chaos::{self, report::Report},
    process::{Process, command, signal, with_environment},
    system::{alone, binary},
    wait::{self, PATIENCE},
};
use rustix::process::Signal;

/// A minute of one plan, always the same; `cargo xtask chaos` tries others, and for longer.
const MINUTE: chaos::Options = chaos::Options {
    duration: Duration::from_secs(60),
    seed: 1,
    viewers: 4,
    only: String::new(),
};

#[test]
fn minute_of_chaos_mends_itself() {
    let drilled = chaos::run(&MINUTE, |_| {}).unwrap();
    let report = Report::of(MINUTE, drilled);
    assert!(report.is_good(), "{report}\n{}", report.log().unwrap_or_default());
}

#[test]
fn interrupted_drill_takes_everything_down_with_it() {
    let _machine = alone();
    let scratch = tempfile::tempdir().unwrap();
    let mine = format!("TMPDIR={}", scratch.path().display());
    let mut chaos = command(binary("framebridge-chaos").unwrap());
    chaos
        .args(["--seconds", "600", "--seed", "1"])
        .env("TMPDIR", scratch.path());
    let mut chaos = Process::start(&mut chaos, &scratch.path().join("log")).unwrap();
    wait::until_true("a system with its sources and a browser", PATIENCE, || {
        Ok(with_environment(&mine)?.len() > 12)
    })
    .unwrap();
    signal(chaos.pid(), Signal::INT).unwrap();
    assert!(
        !chaos.wait(PATIENCE).unwrap().success(),
        "it says that it was cut short"
    );
    let left = with_environment(&mine).unwrap();
    assert!(left.is_empty(), "still running: {left:?}");
}
