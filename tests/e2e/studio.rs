//! A box behind a NAT: watched, steered and told the truth about through a studio.

mod hands;
mod jobs;
mod nodes;
mod operators;
mod outside;

use std::{
    fs, thread,
    time::{Duration, Instant, SystemTime},
};

use framebridge_proto::status::ProcessState;
use framebridge_testkit::{Identity, Options, Reception, Seat, Viewer, watch as receive};
use framebridge_tests::{
    axe,
    browser::{Browser, Page},
    http::Request,
    process::{Process, command, footprint, signal},
    studio::{Address, Cable, Studio},
    system::{System, binary},
    wait::{self, PATIENCE},
};
use rustix::process::Signal;
use serde_json::Value;

/// A studio, a box that is registered there, and the box's public address.
fn box_at_a_studio(further: &str) -> (Studio, System, Address) {
    let studio = Studio::start().unwrap();
    let settings = studio.settings("box").unwrap();
    let system = System::start_with(&[("test", "test:")], &format!("{settings}{further}")).unwrap();
    let address = studio.address_of(&system).unwrap();
    address.until("ready", PATIENCE).unwrap();
    (studio, system, address)
}

fn watch(address: &Address) -> Page {
    // The session's own address leads to its only stream.
    let page = Browser::start().unwrap().open(&address.url("")).unwrap();
    page.until_live().unwrap();
    page
}

fn assert_live_again(page: &Page) {
    page.until_shows_later_than(SystemTime::now()).unwrap();
    page.until_live().unwrap();
}

/// Pictures a second that nobody would call a stop. A source has 30; an encoder that shares two busy cores leaves some out.
const GOES_ON: f64 = 10.0;

#[test]
fn public_address_is_live_and_stays_so_whatever_dies() {
    let (mut studio, system, address) = box_at_a_studio("");
    let page = watch(&address);
    let sessions = page.sessions().unwrap();
    assert!(sessions[0].contains(&address.id), "{sessions:?}");

    // The bridge carries no media: its death costs no picture, not one.
    let (received, trouble) = page.reception().unwrap();
    system.kill_and_await("bridge").unwrap();
    let rate = page.rate(3).unwrap();
    assert!(rate >= GOES_ON, "{rate:.1} pictures a second after the bridge's death");
    address.until("ready", PATIENCE).unwrap();
    let (later, more_trouble) = page.reception().unwrap();
    assert_eq!(more_trouble, trouble, "in {} pictures", later - received);
    assert_eq!(page.sessions().unwrap(), sessions);
    assert_eq!(studio.address_of(&system).unwrap(), address);

    studio.kill().unwrap();
    let rate = page.rate(3).unwrap();
    assert!(rate >= GOES_ON, "{rate:.1} pictures a second without the studio");
    studio.start_again().unwrap();
    address.until("ready", PATIENCE).unwrap();
    assert_eq!(studio.address_of(&system).unwrap(), address);

    for process in ["encoder-test", "signaling"] {
        system.kill_and_await(process).unwrap();
        assert_live_again(&page);
    }
    // The address is good for whoever comes later, too.
    watch(&address);
}

#[test]
fn box_whose_supervisor_is_gone_has_failed_and_the_page_says_so() {
    let (_studio, system, address) = box_at_a_studio("");
    let page = watch(&address);
    let bridge = system.pid("bridge").unwrap();
    for process in ["supervisor", "signaling", "encoder-test"].map(|name| system.pid(name).unwrap()) {
        signal(process, Signal::KILL).unwrap();
    }
    let session = address.until("failed", Duration::from_secs(10)).unwrap();
    assert!(session["reason"].as_str().unwrap().contains("supervisor"), "{session}");
    wait::until_true("the bridge to be gone", PATIENCE, || Ok(footprint(bridge).is_err())).unwrap();
    // Who watched is told why; who comes now sees it in words.
    wait::until_true("the player to say why", PATIENCE, || {
        let reason = page.evaluate("document.body.innerText")?;
        Ok(reason.as_str().is_some_and(|text| text.contains("supervisor is gone")))
    })
    .unwrap();
    let late = Browser::start().unwrap().open(&address.url("/s/test")).unwrap();
    wait::until_true("the page to say so", PATIENCE, || {
        Ok(late.evaluate("document.body.dataset.sessionState")? == "failed")
    })
    .unwrap();
    let text = late.evaluate("document.body.innerText").unwrap();
    assert!(text.as_str().unwrap().contains("failed"), "{text}");
    axe::judge(&late).unwrap();
}

#[test]
fn outage_of_the_local_server_is_shown_and_mended_in_the_same_session() {
    // The supervisor's own watch would be quicker: here it is told to be patient, so that the bridge's comes first.
    let patience = "outage_patience_ms = 3000\n\
        [supervisor]\nprobe_failures = 1000\nmissed_heartbeats = 1000\nstale_heartbeats = 1000\n";
    let studio = Studio::start().unwrap();
    let settings = studio.settings("box").unwrap();
    let system = System::start_breakable(&[("test", "test:")], &format!("{settings}{patience}")).unwrap();
    let address = studio.address_of(&system).unwrap();
    address.until("ready", PATIENCE).unwrap();
    let old = system.pid("signaling").unwrap();
    system.damage("close-http-listener").unwrap();
    let session = address.until("degraded", PATIENCE).unwrap();
    assert!(
        session["reason"].as_str().unwrap().contains("does not answer"),
        "{session}"
    );
    assert_eq!(session["linked"], true);
    wait::until_true("the log to hold signaling's last words", PATIENCE, || {
        Ok(system.log()?.contains("signaling logged last: "))
    })
    .unwrap();
    wait::until_true("signaling to be started again", PATIENCE, || {
        Ok(system.pid("signaling")? != old)
    })
    .unwrap();
    address.until("ready", PATIENCE).unwrap();
    watch(&address);
}

/// The bridge gives up and says why, in one attempt; what is watched locally is none of the studio's business.
#[track_caller]
fn assert_given_up(system: &System, why: &[&str]) {
    let process = wait::until("the bridge to give up", PATIENCE, || {
        let process = system.process("bridge")?;
        Ok(Some(process).filter(|process| process.state == ProcessState::Parked))
    })
    .unwrap();
    assert_eq!(process.restarts, 0, "{process:?}");
    let status = system.status().unwrap();
    let shown = format!("{:?} {:?}", process.last_reason, status.bridge);
    assert!(why.iter().all(|why| shown.contains(why)), "{shown}");
    let page = Browser::start().unwrap().open(&system.url("/s/test")).unwrap();
    page.until_live().unwrap();
}

#[test]
fn wrong_token_is_terminal_and_visible() {
    let studio = Studio::start().unwrap();
    let system = System::start_with(&[("test", "test:")], &studio.settings_with("fbt_wrong")).unwrap();
    assert_given_up(&system, &["exit code 77", "token"]);
}

#[test]
fn bridge_that_was_started_by_hand_ends_with_whoever_started_it() {
    let studio = Studio::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("framebridge.toml");
    fs::write(&config, studio.settings("box").unwrap()).unwrap();
    let mut parent = Process::start(command("sleep").arg("600"), &dir.path().join("parent")).unwrap();
    let mut bridge = command(binary("bridge").unwrap());
    bridge
        .args(["--parent-pid", &parent.pid().to_string(), "--config"])
        .arg(&config)
        .env("FRAMEBRIDGE_RUNTIME_DIR", dir.path().join("run"));
    let mut bridge = Process::start(&mut bridge, &dir.path().join("log")).unwrap();
    let session = || -> anyhow::Result<Value> {
        let boxes = studio.operate(Request::new("GET", "/api/v1/boxes"))?;
        Ok(boxes["boxes"][0]["session"].clone())
    };
    wait::until_true("the box to be here", PATIENCE, || Ok(session()?["linked"] == true)).unwrap();
    signal(parent.pid(), Signal::KILL).unwrap();
    parent.wait(PATIENCE).unwrap();
    assert!(bridge.wait(PATIENCE).unwrap().success());
    let session = session().unwrap();
    assert_eq!(session["state"], "expired", "{session}");
    assert_eq!(session["reason"], "Whoever started the bridge has ended.");
}

#[test]
fn box_whose_token_is_revoked_is_sent_away() {
    let (studio, system, address) = box_at_a_studio("");
    studio.token(&["revoke", "box"]).unwrap();
    assert_given_up(&system, &["exit code 77", "revoked"]);
    let session = address.session().unwrap();
    assert_eq!(session["state"], "failed", "{session}");
    assert!(session["reason"].to_string().contains("revoked"), "{session}");
}

#[test]
fn noise_on_the_link_ends_connections_and_no_process() {
    let studio = Studio::start().unwrap();
    let cable = Cable::with_noise(&studio).unwrap();
    let settings = studio.settings_through(&cable, "box").unwrap();
    // A frame whose length was hit is waited for in vain.
    let settings = format!("{settings}read_idle_ms = 6000\n");
    let system = System::start_with(&[("test", "test:")], &settings).unwrap();
    let bridge = system.pid("bridge").unwrap();
    let before = studio.pid().unwrap();
    let address = studio.address_of(&system).unwrap();
    wait::until_true("the session to be lost and found again", PATIENCE, || {
        // Traffic on the link brings noise; whether this is answered matters to nobody.
        let path = address.path("/api/v1/health");
        drop(studio.send(&Request::new("GET", &path).within(PATIENCE / 200)));
        Ok(studio.log()?.matches("a box is here").count() >= 4)
    })
    .unwrap();
    let process = system.process("bridge").unwrap();
    assert_eq!((process.pid, process.restarts), (Some(bridge), 0), "{process:?}");
    assert!(footprint(before).is_ok() && studio.get("/api/v1/health").unwrap().status == 200);
    assert_eq!(system.process("signaling").unwrap().restarts, 0);
}

#[test]
fn another_version_is_terminal_and_both_are_named() {
    let studio = Studio::start().unwrap();
    let cable = Cable::from_another_version(&studio).unwrap();
    let settings = studio.settings_through(&cable, "box").unwrap();
    let system = System::start_with(&[("test", "test:")], &settings).unwrap();
    let named = "this studio speaks version 1 and the box version 9: update the older one";
    assert_given_up(&system, &["exit code 76", named]);
}

#[test]
fn twelve_hundred_requests_at_eight_at_a_time_are_all_answered_and_leave_nothing() {
    const WORKERS: usize = 8;
    const EACH: usize = 150;
    let (studio, system, address) = box_at_a_studio("");
    let bridge = system.pid("bridge").unwrap();
    let shared = system.bridgectl(&["share", "--control"]).unwrap();
    let url = String::from_utf8(shared.stdout).unwrap();
    let address = address.other(url.lines().find(|line| line.starts_with("http")).unwrap());
    let reads = ["/api/v1/health", "/s/test", "/api/v1/streams"].map(|path| address.path(path));
    let quality = address.path("/api/v1/streams/test/quality");
    let ask = |worker: usize, count: usize| {
        for at in 0..count {
            let request = match reads.get((worker + at) % 4) {
                Some(path) => Request::new("GET", path),
                None => Request::new("PUT", &quality).body("application/json", r#"{"fps": 30}"#),
            };
            let answer = studio.send(&request).unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    };
    ask(0, 50);
    let all = [bridge, system.pid("signaling").unwrap(), studio.pid().unwrap()];
    let before = all.map(|pid| footprint(pid).unwrap());
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            scope.spawn(move || ask(worker, EACH));
        }
    });
    wait::until_true("what it took to be given back", PATIENCE, || {
        for (pid, before) in all.into_iter().zip(&before) {
            let after = footprint(pid)?;
            anyhow::ensure!(
                after.descriptors <= before.descriptors + WORKERS,
                "{before:?} {after:?}"
            );
            anyhow::ensure!(after.rss_kib <= before.rss_kib + 16 * 1024, "{before:?} {after:?}");
        }
        Ok(true)
    })
    .unwrap();
    assert_eq!(address.session().unwrap()["state"], "ready");
}

#[test]
fn changes_are_told_to_many_who_listen_from_outside_and_hold_up_nobody_else() {
    // More than the box answers at once.
    const LISTENERS: usize = 12;
    // They are at places of their own: one has four.
    let studio = Studio::start_with(&["--behind-proxy"]).unwrap();
    let system = System::start_with(&[("test", "test:")], &studio.settings("box").unwrap()).unwrap();
    let address = studio.address_of(&system).unwrap();
    address.until("ready", PATIENCE).unwrap();
    let events = address.path("/api/v1/streams/test/events");
    let mut listeners: Vec<_> = (0..LISTENERS)
        .map(|place| {
            let from = format!("192.0.2.{place}");
            let listen = Request::new("GET", &events).header("x-forwarded-for", from);
            listen.open(studio.address()).unwrap()
        })
        .collect();
    let mut all_hear = |wanted: &str| {
        for listener in &mut listeners {
            assert!(listener.any(|line| line.contains(wanted)), "it ended before {wanted}");
        }
    };
    all_hear(r#""state":"untried""#);
    assert_eq!(studio.get(&address.path("/api/v1/health")).unwrap().status, 200);
    let _page = watch(&address);
    all_hear(r#""state":"live""#);
    let signaling = system.pid("signaling").unwrap();
    let before = footprint(signaling).unwrap().descriptors;
    drop(listeners);
    wait::until_true("the box's server to know that they have gone", PATIENCE, || {
        Ok(footprint(signaling)?.descriptors + LISTENERS <= before)
    })
    .unwrap();
}

#[test]
fn nothing_but_what_a_viewer_needs_is_reachable() {
    let (studio, system, address) = box_at_a_studio("");
    let asked =
        |method: &'static str, path: &str| studio.send(&Request::new(method, &address.path(path))).unwrap().status;
    for (method, path) in [
        ("GET", "/api/v1/config"),
        ("POST", "/api/v1/debug/disconnect-webrtc"),
        ("GET", "/page/../metrics"),
        ("GET", "/page/%2e%2e/metrics"),
        ("GET", "//metrics"),
        ("DELETE", "/whep/test"),
        ("TRACE", "/"),
    ] {
        assert_eq!(asked(method, path), 404, "{method} {path}");
    }
    let path = address.path("/api/v1/streams/test/quality");
    let put = Request::new("PUT", &path).body("application/json", r#"{"fps": 15}"#);
    assert_eq!(studio.send(&put).unwrap().status, 403);
    let path = address.path("/whep/test");
    let upgrade = Request::new("GET", &path).header("upgrade", "websocket");
    assert_eq!(studio.send(&upgrade).unwrap().status, 426);
    let long = Request::new("POST", &path).body("application/sdp", vec![b'x'; 70 * 1024]);
    assert_eq!(studio.send(&long).unwrap().status, 413);
    let nobody = format!("/s/{}/", "0".repeat(32));
    assert_eq!(studio.get(&nobody).unwrap().status, 404);
    // A refusal of the box's own server comes through as it is.
    assert_eq!(asked("GET", "/api/v1/streams/unknown"), 404);
    assert_eq!(address.session().unwrap()["state"], "ready");
    assert_eq!(system.process("bridge").unwrap().restarts, 0);
}

/// A light viewer that comes by the public address, receives for so long and leaves.
fn receive_for(studio: &Studio, address: &Address, span: Duration) -> Reception {
    let viewer = Viewer::new(Identity::generate().unwrap(), Options::default(), Instant::now());
    let mut seats = [Seat::new(viewer, true).unwrap()];
    let endpoint = address.path("/whep/test");
    let join = Request::new("POST", &endpoint).body("application/sdp", seats[0].viewer.offer());
    let joined = studio.send(&join).unwrap();
    assert_eq!(joined.status, 201, "{}", joined.text());
    let session = joined.header("location").unwrap().to_owned();
    assert!(session.starts_with(&endpoint), "{session}");
    seats[0].viewer.accept(&joined.text(), true, Instant::now()).unwrap();
    let until = Instant::now() + span;
    receive(&mut seats, |seats| {
        Instant::now() >= until || seats[0].viewer.is_closed()
    })
    .unwrap();
    assert!(!seats[0].viewer.is_closed(), "the session ended by itself");
    let left = studio.send(&Request::new("DELETE", &session)).unwrap();
    assert_eq!(left.status, 200, "{}", left.text());
    seats[0].close();
    seats[0].viewer.reception().clone()
}

/// One in so many pictures that a decoder drops is no more than a busy machine does to it in one window and not in the next.
const MEASURABLE: f64 = 0.02;

/// The share of pictures that these pages' decoders drop over `span`: they came whole, and too late to be decoded.
fn dropped_share(pages: &[Page], span: Duration) -> f64 {
    let counts = || -> Vec<(u64, u64)> { pages.iter().map(|page| page.decoding().unwrap()).collect() };
    let before = counts();
    wait::pause(span).unwrap();
    let after = counts();
    let (mut decoded, mut dropped) = (0, 0);
    for ((decoded_before, dropped_before), (decoded_after, dropped_after)) in before.into_iter().zip(after) {
        decoded += decoded_after - decoded_before;
        dropped += dropped_after - dropped_before;
    }
    #[expect(clippy::cast_precision_loss, reason = "a minute's pictures")]
    let share = dropped as f64 / (decoded + dropped) as f64;
    share
}

#[test]
fn steady_viewers_do_not_notice_those_who_come_and_go() {
    // Each of those who come and go is there four seconds, five times over.
    const SPAN: Duration = Duration::from_secs(20);
    const PAGES: usize = 2;
    let (studio, system, address) = box_at_a_studio("");
    let (studio, address) = (&studio, &address);
    let browser = Browser::start().unwrap();
    let pages: Vec<Page> = (0..PAGES)
        .map(|_| browser.open(&address.url("/s/test")).unwrap())
        .collect();
    for page in &pages {
        page.until_live().unwrap();
    }
    let sessions = || -> Vec<_> { pages.iter().map(|page| page.sessions().unwrap()).collect() };
    let before = sessions();
    // What this machine's decoders drop by themselves.
    let alone = dropped_share(&pages, SPAN / 2);
    let together = thread::scope(|scope| {
        for _ in PAGES..5 {
            scope.spawn(move || {
                let seen = receive_for(studio, address, SPAN);
                assert!(seen.frames >= SPAN.as_secs() * 25, "{seen:?}");
                assert!(seen.longest_gap < Duration::from_secs(1), "{seen:?}");
            });
        }
        for _ in 0..5 {
            scope.spawn(move || {
                for _ in 0..5 {
                    let seen = receive_for(studio, address, SPAN / 5);
                    assert!(seen.has_picture(), "{seen:?}");
                }
            });
        }
        dropped_share(&pages, SPAN)
    });
    assert_eq!(sessions(), before, "a page had to connect again");
    #[expect(clippy::print_stderr, reason = "for whoever compares two logs")]
    {
        eprintln!("decoders dropped {alone:.4} of the pictures without, {together:.4} with viewers who come and go");
    }
    assert!(
        together <= alone + MEASURABLE,
        "{together} of the pictures, {alone} without"
    );
    for page in pages {
        page.close().unwrap();
    }
    wait::until_true("nobody to watch any more", Duration::from_secs(5), || {
        let stream = system.get("/api/v1/streams/test")?.json()?;
        Ok(stream["viewers"] == 0)
    })
    .unwrap();
}
