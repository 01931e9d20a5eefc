//! A box behind a NAT: watched, steered and told the truth about through a studio.

mod nodes;
mod outside;

use std::{
    os::unix::net::UnixStream,
    thread,
    time::{Duration, Instant, SystemTime},
};

use framebridge_testkit::{Identity, Options, Reception, Seat, Viewer, watch as receive};
use framebridge_tests::{
    browser::{Browser, Page},
    http::Request,
    process::{footprint, signal},
    studio::{Address, Cable, Cut, Studio},
    system::System,
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
    assert!(rate >= 25.0, "{rate:.1} pictures a second after the bridge's death");
    address.until("ready", PATIENCE).unwrap();
    let (later, more_trouble) = page.reception().unwrap();
    assert_eq!(more_trouble, trouble, "in {} pictures", later - received);
    assert_eq!(page.sessions().unwrap(), sessions);
    assert_eq!(studio.address_of(&system).unwrap(), address);

    studio.kill().unwrap();
    let rate = page.rate(3).unwrap();
    assert!(rate >= 25.0, "{rate:.1} pictures a second without the studio");
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
        Ok(Some(process).filter(|process| process.state == "parked"))
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
fn box_whose_token_is_revoked_is_sent_away() {
    let (studio, system, address) = box_at_a_studio("");
    studio.token(&["revoke", "box"]).unwrap();
    assert_given_up(&system, &["exit code 77", "revoked"]);
    assert_ne!(address.session().unwrap()["state"], "ready");
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
    let reads = ["/api/v1/health", "/metrics", "/api/v1/streams"].map(|path| address.path(path));
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
    let (studio, system, address) = box_at_a_studio("");
    let events = address.path("/api/v1/streams/test/events");
    let mut listeners: Vec<_> = (0..LISTENERS)
        .map(|_| Request::new("GET", &events).open(studio.address()).unwrap())
        .collect();
    let mut all_hear = |wanted: &str| {
        for listener in &mut listeners {
            assert!(listener.any(|line| line.contains(wanted)), "it ended before {wanted}");
        }
    };
    all_hear(r#""state":"idle""#);
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

/// Has a box do something; the job at its end.
fn order(studio: &Studio, address: &Address, body: &str) -> Value {
    let jobs = format!("/api/v1/boxes/{}/jobs", address.id);
    let asked = studio
        .operate(Request::new("POST", &jobs).body("application/json", body))
        .unwrap();
    let path = format!("/api/v1/jobs/{}", asked["id"].as_str().unwrap());
    wait::until("the job to end", PATIENCE, || {
        let job = studio.operate(Request::new("GET", &path))?;
        Ok(Some(job).filter(|job| !job["ended_ms"].is_null()))
    })
    .unwrap()
}

#[test]
fn operator_asks_for_a_snapshot_or_a_clip_and_gets_it() {
    let (studio, system, address) = box_at_a_studio("");
    // What is an operator's is not where boxes' pages are, and takes a token where it is.
    let asked = Request::new("GET", "/api/v1/boxes");
    assert_eq!(studio.send(&asked).unwrap().status, 404);
    assert_eq!(asked.send(studio.operators()).unwrap().status, 401);
    let boxes = studio.operate(Request::new("GET", "/api/v1/boxes")).unwrap();
    assert_eq!(boxes["boxes"][0]["name"], "box");
    // A source that nobody watches is closed and has no picture: somebody watches.
    let _page = watch(&address);
    let order = |body: &str| order(&studio, &address, body);
    let snapshot = order(r#"{"kind": "snapshot", "stream": "test"}"#);
    assert_eq!(
        (&snapshot["state"], &snapshot["media_type"]),
        (&"done".into(), &"image/jpeg".into()),
        "{snapshot}"
    );
    let result = snapshot["result"].as_str().unwrap();
    assert_eq!(
        Request::new("GET", result).send(studio.operators()).unwrap().status,
        401
    );
    let still = format!("/api/v1/boxes/{}/stills/test", address.id);
    assert!(
        studio
            .fetch(Request::new("GET", &still))
            .unwrap()
            .body
            .starts_with(&[0xff, 0xd8])
    );
    let clip = order(r#"{"kind": "clip", "stream": "test", "last_ms": 1000}"#);
    assert_eq!(clip["media_type"], "video/mp4", "{clip}");
    let diagnosis = order(r#"{"kind": "diagnose"}"#);
    let diagnosis = studio
        .operate(Request::new("GET", diagnosis["result"].as_str().unwrap()))
        .unwrap();
    assert_eq!(diagnosis["status"]["streams"][0]["name"], "test");
    assert!(diagnosis["events"].to_string().contains("encoder-test"), "{diagnosis}");
    assert!(
        diagnosis["doctor"].to_string().contains("socket directory"),
        "{diagnosis}"
    );
    assert!(diagnosis["log"].to_string().contains("serving viewers"), "{diagnosis}");
    let unknown = order(r#"{"kind": "snapshot", "stream": "none"}"#);
    assert_eq!(unknown["state"], "failed", "{unknown}");
    // The box's log came along.
    let logs = format!("/api/v1/boxes/{}/logs", address.id);
    system.kill_and_await("encoder-test").unwrap();
    wait::until_true("the box's log to say what died", PATIENCE, || {
        let logs = studio.operate(Request::new("GET", &logs))?.to_string();
        Ok(logs.contains("encoder-test"))
    })
    .unwrap();
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
    const SPAN: Duration = Duration::from_secs(60);
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
    let alone = dropped_share(&pages, SPAN / 6);
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

/// How many lines a bridge keeps while it has no link.
const MOST_LINES: usize = 2000;

#[test]
fn link_that_is_cut_without_a_word_is_found_and_nothing_is_lost_that_is_not_counted() {
    let studio = Studio::start().unwrap();
    let cable = Cable::to(&studio).unwrap();
    let settings = studio.settings_through(&cable, "box").unwrap();
    let further = format!("{settings}[log]\nfilter = \"info,bridge=debug\"\n");
    let system = System::start_with(&[("test", "test:")], &further).unwrap();
    let address = studio.address_of(&system).unwrap();
    address.until("ready", PATIENCE).unwrap();
    let links = || Ok::<_, anyhow::Error>(studio.log()?.matches("a box is here").count());

    // A job's order still comes through, and its result does not.
    cable.cut(Cut::FromBox);
    let jobs = format!("/api/v1/boxes/{}/jobs", address.id);
    let diagnose = Request::new("POST", &jobs).body("application/json", r#"{"kind": "diagnose"}"#);
    let asked = studio.operate(diagnose).unwrap();
    let id = asked["id"].as_str().unwrap();
    let unacknowledged = || Ok(String::from_utf8(system.bridgectl(&["jobs"])?.stdout)?.contains(id));
    wait::until_true("the job to be done", PATIENCE, unacknowledged).unwrap();
    cable.cut(Cut::BothWays);
    let cut = Instant::now();
    // Each is a line in the bridge's log: more than it keeps.
    for _ in 0..MOST_LINES + 100 {
        drop(UnixStream::connect(system.runtime_dir().join("bridge.sock")).unwrap());
    }
    system.kill_and_await("encoder-test").unwrap();
    wait::until_true("the box to find that the link is dead", PATIENCE, || {
        Ok(system.log()?.contains("nothing came from the studio for 20 s"))
    })
    .unwrap();
    wait::pause(Duration::from_secs(30).saturating_sub(cut.elapsed())).unwrap();

    cable.cut(Cut::Nowhere);
    wait::until_true("the session to be back", PATIENCE, || {
        Ok(links()? >= 2 && address.session()?["state"] == "ready")
    })
    .unwrap();
    let logs = format!("/api/v1/boxes/{}/logs", address.id);
    wait::until_true("what was logged meanwhile", PATIENCE, || {
        let logs = studio.operate(Request::new("GET", &logs))?.to_string();
        Ok(logs.contains("killed by signal 9") && logs.contains("lines were lost here"))
    })
    .unwrap();
    let job = || studio.operate(Request::new("GET", &format!("/api/v1/jobs/{id}")));
    wait::until_true("the result", PATIENCE, || Ok(job()?["state"] == "done")).unwrap();
    wait::until_true("its receipt", PATIENCE, || Ok(!unacknowledged()?)).unwrap();

    // It came once: what has a receipt is not sent with the next link.
    let arrived = job().unwrap();
    assert!(system.bridgectl(&["bridge", "reconnect"]).unwrap().status.success());
    wait::until_true("a third link", PATIENCE, || Ok(links()? >= 3)).unwrap();
    address.until("ready", PATIENCE).unwrap();
    assert_eq!(job().unwrap(), arrived);
    let all = studio.operate(Request::new("GET", &jobs)).unwrap();
    assert_eq!(all["jobs"].as_array().unwrap().len(), 1);
}
