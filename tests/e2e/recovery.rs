//! Whatever dies comes back, and the page with it.

use std::time::{Duration, SystemTime};

use framebridge_proto::status::Overall;
use framebridge_tests::{
    browser::{Browser, Page},
    http::Request,
    internet::{Internet, Place},
    process::{command, is_stopped, signal, stop_thread},
    system::System,
    wait::{self, PATIENCE},
};
use rustix::process::Signal;
use serde_json::Value;

fn system_with_a_viewer() -> (System, Page) {
    watched(System::start(&[("test", "test:")]).unwrap())
}

fn watched(system: System) -> (System, Page) {
    let page = Browser::start().unwrap().open(&system.url("/s/test")).unwrap();
    page.until_live().unwrap();
    (system, page)
}

#[track_caller]
fn assert_healthy_again(system: &System, killed: &str) {
    wait::until_true("the system to be healthy", PATIENCE, || {
        Ok(system.status()?.overall == Overall::Healthy)
    })
    .unwrap();
    let process = system.process(killed).unwrap();
    assert_eq!(process.restarts, 1, "{process:?}");
    let reason = process.last_reason.unwrap_or_default();
    assert!(
        reason.contains("SIGKILL") || reason.contains("signal 9"),
        "{killed} ended for `{reason}`"
    );
}

#[test]
fn killed_encoder_comes_back_and_the_viewer_keeps_its_session() {
    let (system, page) = system_with_a_viewer();
    let before = page.sessions().unwrap();
    assert_eq!(before.len(), 1);
    system.kill_and_await("encoder-test").unwrap();
    page.until_shows_later_than(SystemTime::now()).unwrap();
    page.until_live().unwrap();
    assert_eq!(page.sessions().unwrap(), before);
    assert_eq!(Request::new("GET", &before[0]).send(system.http()).unwrap().status, 204);
    assert_healthy_again(&system, "encoder-test");
}

#[test]
fn media_worker_that_hangs_beside_another_is_found_and_all_viewers_keep_their_sessions() {
    let (system, page) = watched(System::start_with(&[("test", "test:")], "workers = 2").unwrap());
    let other = Browser::start().unwrap().open(&system.url("/s/test")).unwrap();
    other.until_live().unwrap();
    let before = [page.sessions().unwrap(), other.sessions().unwrap()];
    let _stopped = stop_thread(system.pid("signaling").unwrap(), "rtc-1").unwrap();
    let signaling = wait::until("the worker's standstill to be found", PATIENCE, || {
        let signaling = system.process("signaling")?;
        Ok(Some(signaling).filter(|signaling| signaling.restarts == 1))
    })
    .unwrap();
    let reason = signaling.last_reason.unwrap_or_default();
    assert!(reason.contains("media worker 1 has not come round"), "{reason}");
    for page in [&page, &other] {
        page.until_shows_later_than(SystemTime::now()).unwrap();
        page.until_live().unwrap();
    }
    assert_eq!([page.sessions().unwrap(), other.sessions().unwrap()], before);
}

#[test]
fn restart_of_ice_that_finds_no_server_is_taken_back_and_may_be_tried_again() {
    let (_system, page) = system_with_a_viewer();
    let open = "(async () => {
        const { WhepSession } = await import('/page/whep.js');
        window.session = await WhepSession.open(new URL('/whep/test', location), { onStream() {}, onTransport() {} });
    })()";
    page.evaluate(open).unwrap();
    let restart = || {
        page.evaluate("session.restart().then(() => 'restarted', (error) => error.message)")
            .unwrap()
    };
    let until_it_plays = || {
        let decoded =
            "session.reports().then((all) => all.find(({ type }) => type === 'inbound-rtp')?.framesDecoded ?? 0)";
        page.evaluate(&format!("{decoded}.then((frames) => (window.before = frames))"))
            .unwrap();
        page.until_holds(&format!("(await {decoded}) > before + 30")).unwrap();
    };
    until_it_plays();
    page.evaluate("window.fetchAsItIs = fetch; window.fetch = () => Promise.reject(new Error('no server')); 0")
        .unwrap();
    assert_eq!(restart(), "The server can't be reached");
    assert_eq!(
        page.evaluate("probe.peers.at(-1).signalingState").unwrap(),
        "stable",
        "it is taken back"
    );
    until_it_plays();
    page.evaluate("window.fetch = fetchAsItIs; 0").unwrap();
    assert_eq!(restart(), "restarted");
    until_it_plays();
}

#[test]
fn firewall_that_refuses_what_is_sent_is_named_and_no_process_is_started_anew_for_it() {
    let Some(internet) = Internet::build().unwrap() else {
        return;
    };
    let there = |rules: &str| {
        let done = internet.at(Place::Box, || Ok(command("nft").arg(rules).status()?));
        assert!(done.unwrap().success(), "{rules}");
    };
    let (system, page) = internet
        .at(Place::Box, || Ok(watched(System::start(&[("test", "test:")])?)))
        .unwrap();
    let signaling = system.pid("signaling").unwrap();
    there(&format!(
        "add table inet wall; add chain inet wall leaving {{ type filter hook output priority 0; }};
         add rule inet wall leaving udp sport {} drop",
        system.udp_port()
    ));
    wait::until_true("the refusal to be named", PATIENCE, || {
        Ok(system.stream("test")?.verdict.contains("Operation not permitted"))
    })
    .unwrap();
    assert_eq!(system.status().unwrap().overall, Overall::Degraded);
    there("delete table inet wall");
    page.until_shows_later_than(SystemTime::now()).unwrap();
    wait::until_true("all to be well", PATIENCE, || {
        Ok(system.status()?.overall == Overall::Healthy)
    })
    .unwrap();
    assert_eq!(system.pid("signaling").unwrap(), signaling);
    let events = String::from_utf8(system.bridgectl(&["journal"]).unwrap().stdout).unwrap();
    for said in ["well -> refused", "refused -> well"] {
        assert!(events.contains(said), "{events}");
    }
}

#[test]
fn killed_signaling_comes_back_and_the_viewer_keeps_its_session() {
    let (system, page) = system_with_a_viewer();
    let before = page.sessions().unwrap();
    system.kill_and_await("signaling").unwrap();
    page.until_shows_later_than(SystemTime::now()).unwrap();
    page.until_live().unwrap();
    assert_eq!(page.sessions().unwrap(), before);
    assert_healthy_again(&system, "signaling");
}

#[test]
fn killed_bridge_comes_back_and_no_viewer_notices() {
    let (system, page) = system_with_a_viewer();
    let before = page.sessions().unwrap();
    system.kill_and_await("bridge").unwrap();
    page.until_shows_later_than(SystemTime::now()).unwrap();
    assert_eq!(page.sessions().unwrap(), before);
    assert_healthy_again(&system, "bridge");
}

#[test]
fn dead_listener_under_a_fresh_heartbeat_is_mended_in_five_seconds_and_viewers_keep_their_session() {
    let (system, page) = watched(System::start_breakable(&[("test", "test:")], "").unwrap());
    let before = page.sessions().unwrap();
    let signaling = system.pid("signaling").unwrap();
    system.damage("close-http-listener").unwrap();
    assert!(system.get("/api/v1/health").is_err(), "the listener is closed");
    assert_eq!(
        system.process("signaling").unwrap().pid,
        Some(signaling),
        "and the process lives"
    );
    wait::until_true("HTTP to answer again", Duration::from_secs(5), || {
        Ok(system.get("/api/v1/health")?.status == 200)
    })
    .unwrap();
    assert_ne!(system.pid("signaling").unwrap(), signaling);
    page.until_shows_later_than(SystemTime::now()).unwrap();
    page.until_live().unwrap();
    assert_eq!(page.sessions().unwrap(), before);
}

#[test]
fn dropped_viewer_comes_back_as_it_was_and_forgets_its_layout_when_it_leaves() {
    let streams = [("test", "test:"), ("other", "test:")];
    let (system, page) = watched(System::start_breakable(&streams, "").unwrap());
    page.evaluate("document.getElementById('layout').click()").unwrap();
    page.evaluate("window.errors = new Set(); setInterval(() => errors.add(framebridge.webrtcError), 20); 0")
        .unwrap();
    system.damage("disconnect-webrtc").unwrap();
    wait::until_true("another session", PATIENCE, || Ok(page.sessions()?.len() == 2)).unwrap();
    page.until_live().unwrap();
    assert_eq!(page.evaluate("document.body.dataset.layout").unwrap(), "fill");
    let told = page.evaluate("[...errors].join()").unwrap().to_string();
    assert!(told.contains("dropped without a word"), "{told}");
    assert_eq!(page.evaluate("framebridge.webrtcError").unwrap(), Value::Null);

    page.evaluate("document.getElementById('leave').click()").unwrap();
    wait::until_true("the list", PATIENCE, || Ok(page.evaluate("location.pathname")? == "/")).unwrap();
    page.evaluate("history.back()").unwrap();
    page.until_live().unwrap();
    assert_eq!(page.evaluate("document.body.dataset.layout").unwrap(), "fit");
}

#[test]
fn encoder_that_lives_and_encodes_nothing_is_replaced_and_the_viewer_keeps_its_session() {
    let (system, page) = watched(System::start_breakable(&[("test", "test:")], "").unwrap());
    let before = page.sessions().unwrap();
    let encoder = system.pid("encoder-test").unwrap();
    system.damage("stall-encoder?stream=test").unwrap();
    wait::until_true("another encoder", PATIENCE, || {
        Ok(system.pid("encoder-test")? != encoder)
    })
    .unwrap();
    page.until_shows_later_than(SystemTime::now()).unwrap();
    page.until_live().unwrap();
    assert_eq!(page.sessions().unwrap(), before);
    let events = String::from_utf8(system.bridgectl(&["journal"]).unwrap().stdout).unwrap();
    assert!(events.contains("encoder wedged"), "{events}");
}

#[test]
fn restarted_signaling_keeps_its_viewers() {
    let (system, page) = system_with_a_viewer();
    let (before, old) = (page.sessions().unwrap(), system.pid("signaling").unwrap());
    let answer = system.bridgectl(&["restart", "signaling"]).unwrap();
    assert!(answer.status.success(), "{answer:?}");
    wait::until_true("another signaling", PATIENCE, || Ok(system.pid("signaling")? != old)).unwrap();
    page.until_shows_later_than(SystemTime::now()).unwrap();
    page.until_live().unwrap();
    assert_eq!(page.sessions().unwrap(), before);
}

#[test]
fn process_that_stands_still_while_its_supervisor_is_killed_goes_on_under_the_next() {
    let (mut system, page) = system_with_a_viewer();
    let (encoder, supervisor) = (system.pid("encoder-test").unwrap(), system.pid("supervisor").unwrap());
    signal(encoder, Signal::STOP).unwrap();
    wait::until_true("the encoder to stand still", PATIENCE, || Ok(is_stopped(encoder))).unwrap();
    signal(supervisor, Signal::KILL).unwrap();
    // Its process group is an orphan now, so the kernel sends it SIGHUP, and has it go on.
    wait::until_true("the encoder to go on", PATIENCE, || Ok(!is_stopped(encoder))).unwrap();
    system.start_supervisor().unwrap();
    assert_eq!(system.pid("encoder-test").unwrap(), encoder);
    page.until_shows_later_than(SystemTime::now()).unwrap();
}

#[test]
fn ctrl_c_leaves_no_process_and_no_socket() {
    let (system, _page) = system_with_a_viewer();
    system.interrupt().unwrap();
}

#[test]
fn sockets_of_a_system_that_was_killed_whole_are_taken_over() {
    let mut system = System::start(&[("test", "test:")]).unwrap();
    system.kill_everything().unwrap();
    assert!(
        system.runtime_dir().join("supervisor.sock").exists(),
        "kill -9 leaves the socket's file"
    );
    system.start_supervisor().unwrap();
    wait::until_true("the system to be healthy", PATIENCE, || {
        Ok(system.status()?.overall == Overall::Healthy)
    })
    .unwrap();
}
