//! Viewers that are not browsers.

use framebridge_tests::{process::command, python, system::System};
use serde_json::Value;

/// Pinned, because what it offers and accepts is what this test is about.
const AIORTC: &str = "aiortc==1.16.0";

#[test]
fn aiortc_plays_a_hundred_pictures() {
    let python = python::with_packages(&[AIORTC]).unwrap();
    let system = System::start(&[("test", "test:")]).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/aiortc_viewer.py");
    let mut viewer = command(python);
    let output = viewer
        .args([script, &system.url("/whep/test"), "100"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(seen["frames"], 100, "{said}");
    assert_eq!((&seen["width"], &seen["height"]), (&1280.into(), &720.into()));
    assert_eq!(
        seen["deleted"], 200,
        "the session is gone before its viewer could end it"
    );
}
