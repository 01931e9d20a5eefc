//! The pages in a real Firefox.

use std::{env, path::Path, time::SystemTime};

use framebridge_tests::{
    firefox::Firefox,
    system::System,
    wait::{self, PATIENCE},
};

/// A folder with Cisco's plugin, which no Debian package has.
const PLUGIN: &str = "FRAMEBRIDGE_OPENH264";

/// What it is told of a stream that comes by HTTP.
const WHY: &str = "by HTTP: this browser has no H.264 for WebRTC";

/// Not every system has it: Ubuntu's is a snap, which takes no profile of ours.
fn is_left_out() -> bool {
    let is_there = Firefox::is_installed();
    if !is_there {
        #[expect(clippy::print_stderr, reason = "what is left out is said")]
        {
            eprintln!("left out: no Firefox here; Debian's package is `firefox-esr`");
        }
    }
    !is_there
}

#[test]
fn firefox_that_has_not_fetched_its_h264_plays_by_http_at_once_and_says_why() {
    if is_left_out() {
        return;
    }
    let streams = [
        ("test", "test:"),
        // Its pictures are sought, which Firefox does not count as shown.
        ("slow", "lavfi:testsrc2=size=640x360:rate=1/2"),
        ("yard", "rtsp://127.0.0.1:1/nothing"),
    ];
    let system = System::start(&streams).unwrap();
    let firefox = Firefox::start().unwrap();
    let open = |path: &str| firefox.open(&system.url(path)).unwrap();
    open("/s/test");
    firefox.until_holds("document.body.dataset.state === 'live'").unwrap();
    // With the first refusal: nothing of WebRTC was waited for.
    assert!(firefox.evaluate("framebridge.session").unwrap().is_null());
    let text = firefox.text().unwrap();
    assert!(text.contains(WHY), "{text}");

    open("/s/slow");
    firefox.until_holds("document.body.dataset.state === 'live'").unwrap();
    // Two of its pictures are known by then; from then on its pauses are its own.
    let stays = "new Promise((done) => { const seen = new Set(), at = document.querySelector('video');
        const look = setInterval(() => {
            seen.add(document.body.dataset.state + (at.currentTime > 9));
            if (at.currentTime > 9) clearInterval(look), done([...seen].join());
        }, 50); })";
    firefox
        .until_holds("document.querySelector('video').currentTime > 4")
        .unwrap();
    assert_eq!(firefox.evaluate(stays).unwrap(), "livefalse,livetrue");

    open("/s/yard");
    firefox
        .until_holds("document.body.dataset.state === 'unavailable'")
        .unwrap();
    let text = firefox.text().unwrap();
    assert!(
        text.contains("can't be reached") || text.contains("can't connect"),
        "{text}"
    );

    open("/wall?streams=test,slow,yard");
    firefox
        .until_holds("document.querySelectorAll('.cell[data-state=live]').length === 2 && document.querySelector('.cell[data-state=unavailable]')")
        .unwrap();
    assert_eq!(firefox.errors(&system.url("")).unwrap(), "");
}

#[test]
fn firefox_with_its_h264_plays_by_webrtc_and_keeps_its_session_whatever_dies() {
    if is_left_out() {
        return;
    }
    let Some(plugin) = env::var_os(PLUGIN) else {
        #[expect(clippy::print_stderr, reason = "what is left out is said")]
        {
            eprintln!("left out: {PLUGIN} names no folder with Firefox's H.264");
        }
        return;
    };
    let system = System::start(&[("test", "test:")]).unwrap();
    let firefox = Firefox::start_with_h264(Path::new(&plugin)).unwrap();
    firefox.open(&system.url("/s/test")).unwrap();
    // Its own way: nothing of the film's.
    let live = "framebridge.state === 'live' && framebridge.session && document.querySelector('video').srcObject";
    firefox.until_holds(live).unwrap();
    let session = firefox.evaluate("framebridge.session").unwrap();
    for process in ["encoder-test", "signaling"] {
        let killed = SystemTime::now();
        system.kill_and_await(process).unwrap();
        wait::until_true("pictures after that", PATIENCE, || {
            let since = killed.duration_since(SystemTime::UNIX_EPOCH)?.as_millis();
            let later = format!("framebridge.state === 'live' && framebridge.lastFrameAt > {since} + 1000");
            Ok(firefox.evaluate(&later)? == true)
        })
        .unwrap();
        assert_eq!(firefox.evaluate("framebridge.session").unwrap(), session, "{process}");
    }
    assert_eq!(firefox.errors(&system.url("")).unwrap(), "");
}
