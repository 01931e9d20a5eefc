//! WHEP players of others, in a page of another origin that may play.

use std::fs;

use framebridge_tests::{
    browser::{Browser, Page},
    node,
    services::Service,
    system::System,
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

/// Pinned, because what they ask for is what this is about.
const PLAYERS: [&str; 3] = [
    "whip-whep@1.2.0",
    "@binbat/whip-whep@1.1.1-sdp-trickle-throw",
    "@eyevinn/webrtc-player@0.13.0",
];

/// A second of them.
const PICTURES: u64 = 30;

#[test]
fn players_of_others_play_across_origins_as_their_readme_uses_them() {
    let packages = node::with_packages(&PLAYERS).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let script = include_str!("../src/player/others.js");
    node::bundle(&packages, script, &folder.path().join("others.js")).unwrap();
    let html = "<!doctype html><meta charset=utf-8><body><script src=others.js></script>";
    fs::write(folder.path().join("index.html"), html).unwrap();
    let site = Service::files(folder.path()).unwrap();
    let origin = format!("http://{}", site.address());
    let servers = "[[webrtc.ice_servers]]\nurls = [\"stun:127.0.0.1:9\"]\n\
                   [[webrtc.ice_servers]]\nurls = [\"turn:127.0.0.1:9\"]\nusername = \"me\"\ncredential = \"secret\"\n";
    let system = System::start_open_to(&origin, &[("test", "test:")], servers).unwrap();
    let page = Browser::start().unwrap().open(&format!("{origin}/")).unwrap();
    page.until_holds("window.others").unwrap();

    let url = json!(system.url("/whep/test"));
    for package in PLAYERS {
        let (name, _version) = package.rsplit_once('@').unwrap();
        plays(&system, &page, name, &url);
    }
    let told = page.evaluate(&format!("others.options({url})")).unwrap();
    assert_eq!(told["status"], 200, "{told}");
    assert_eq!(told["accepts"], "application/sdp", "{told}");
}

fn plays(system: &System, page: &Page, name: &str, url: &Value) {
    page.evaluate(&format!("others.play({name:?}, {url})"))
        .unwrap_or_else(|error| panic!("{name}: {error:#}"));
    wait::until_true(&format!("{name} to play"), PATIENCE, || {
        Ok(page.evaluate("others.decoded()")?.as_u64() >= Some(PICTURES))
    })
    .unwrap();
    // Those that trickle have done so by then, or are about to.
    let trickles = name != "@eyevinn/webrtc-player";
    wait::until_true("candidates to be trickled", PATIENCE, || {
        Ok(!trickles || page.evaluate("others.asked.some(({ method }) => method === 'PATCH')")? == true)
    })
    .unwrap();
    page.evaluate("others.stop()").unwrap();
    let asked = page.evaluate("others.asked").unwrap();
    let asked: Vec<(&str, u64)> = asked
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|asked| Some((asked["method"].as_str()?, asked["status"].as_u64()?)))
        .collect();
    for (method, status) in &asked {
        let expected: &[u64] = match *method {
            "POST" => &[201],
            "PATCH" => &[204],
            // Those that close their connection first have ended the session by that.
            "DELETE" => &[200, 404],
            other => panic!("{name} asked with {other}"),
        };
        assert!(expected.contains(status), "{name}: {method} was answered {status}");
    }
    let methods: Vec<&str> = asked.iter().map(|(method, _)| *method).collect();
    assert!(
        methods.starts_with(&["POST"]) && methods.ends_with(&["DELETE"]),
        "{name}: {methods:?}"
    );
    wait::until_true("nobody to watch", PATIENCE, || Ok(system.stream("test")?.viewers == 0)).unwrap();
}
