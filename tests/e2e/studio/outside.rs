//! What stands around a studio out there: a relay, TLS in front of it.

use std::fs;

use framebridge_tests::{
    browser::{Browser, Page},
    internet::{Internet, Place, SERVER},
    services::{Certificate, Service},
    studio::Studio,
    system::System,
    wait::{self, PATIENCE},
};

use super::{jobs::order, watch};

/// Has every connection of the page go by a relay or not at all, and keeps them.
const RELAY_ONLY: &str = "
    window.connections = [];
    const relayed = (configuration) => ({ ...configuration, iceTransportPolicy: 'relay' });
    window.RTCPeerConnection = class extends RTCPeerConnection {
        constructor(configuration) {
            super(relayed(configuration));
            connections.push(this);
        }
        setConfiguration(configuration) {
            super.setConfiguration(relayed(configuration));
        }
    };";

/// Keeps every connection of the page.
const KEEP_CONNECTIONS: &str = "
    window.connections = [];
    window.RTCPeerConnection = class extends RTCPeerConnection {
        constructor(configuration) {
            super(configuration);
            connections.push(this);
        }
    };";

/// The kinds of our candidates in the pairs that carry something.
const PATHS: &str = "(async () => {
    const reports = [...(await connections.at(-1).getStats()).values()];
    const pairs = reports.filter((report) => report.type === 'candidate-pair' && report.bytesReceived > 0);
    return pairs.map((pair) => reports.find((report) => report.id === pair.localCandidateId).candidateType);
})()";

/// Media comes over the relay and by no other way. Where the relay takes its time the page plays by HTTP until then; a busy browser
/// may change from one way over it to another.
#[track_caller]
fn assert_by_relay(page: &Page) {
    let ways = wait::until("a way over the relay", PATIENCE, || {
        let ways = page.evaluate(PATHS)?;
        Ok(ways.as_array().filter(|ways| !ways.is_empty()).cloned())
    })
    .unwrap();
    assert!(ways.iter().all(|way| way == "relay"), "{ways:?}");
}

#[test]
fn viewer_who_can_reach_nothing_but_the_relay_watches_by_it() {
    let secret = "north wind";
    let turn = Service::turn(secret).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, secret).unwrap();
    let url = format!("turn:{}", turn.address());
    let path = file.path().to_str().unwrap();
    let studio = Studio::start_with(&["--turn", &url, "--turn-secret-file", path]).unwrap();
    let system = System::start_with(&[("test", "test:")], &studio.settings("box").unwrap()).unwrap();
    let address = studio.address_of(&system).unwrap();
    address.until("ready", PATIENCE).unwrap();

    let page = Browser::start()
        .unwrap()
        .open_scripted(&address.url(""), RELAY_ONLY)
        .unwrap();
    page.until_live().unwrap();
    assert_by_relay(&page);
    // The address is a permission, so the relay is not told it.
    let log = turn.log().unwrap();
    assert!(log.contains("username=<1") && !log.contains(&address.id), "{log}");
}

#[test]
fn box_and_viewer_behind_nats_of_their_own_meet_at_the_relay() {
    let Some(internet) = Internet::build().unwrap() else {
        return;
    };
    let secret = "east wind";
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, secret).unwrap();
    let server = SERVER.parse().unwrap();
    let (_turn, studio) = internet
        .at(Place::Studio, || {
            let turn = Service::turn_at(server, secret)?;
            let url = format!("turn:{}", turn.address());
            let path = file.path().to_str().unwrap();
            let studio = Studio::start_at(server, &["--turn", &url, "--turn-secret-file", path])?;
            Ok((turn, studio))
        })
        .unwrap();
    // The network is the test's own: nobody on the way can read the token.
    let settings = studio.settings("box").unwrap() + "insecure = true\n";
    let system = internet
        .at(Place::Box, || System::start_with(&[("test", "test:")], &settings))
        .unwrap();
    let address = internet
        .at(Place::Studio, || {
            let address = studio.address_of(&system)?;
            address.until("ready", PATIENCE)?;
            Ok(address)
        })
        .unwrap();
    let page = internet
        .at(Place::Viewer, || {
            Browser::start()?.open_scripted(&address.url("/s/test"), KEEP_CONNECTIONS)
        })
        .unwrap();
    page.until_live().unwrap();
    assert_by_relay(&page);
}

#[test]
fn viewer_whom_media_does_not_reach_watches_by_http_through_the_studio() {
    let studio = Studio::start().unwrap();
    let settings = studio.settings("box").unwrap();
    let system = System::start_with(&[("test", "test:")], &settings).unwrap();
    let address = studio.address_of(&system).unwrap();
    address.until("ready", PATIENCE).unwrap();
    let browser = Browser::start().unwrap();
    // There is no relay.
    let open = |path: &str| browser.open_scripted(&address.url(path), RELAY_ONLY).unwrap();
    let page = open("/s/test");
    page.until_holds("document.body.dataset.state === 'live'").unwrap();
    page.until_reads("by HTTP: neither UDP nor TCP gets through").unwrap();
    let shown = page.evaluate("document.querySelector('video').currentTime").unwrap();
    page.until_holds(&format!("document.querySelector('video').currentTime > {shown} + 3"))
        .unwrap();
    page.close().unwrap();

    let wall = open("/wall");
    wall.until_holds("document.querySelector('.cell').dataset.state === 'live'")
        .unwrap();
    wall.until_reads("test · by HTTP").unwrap();
}

#[test]
fn box_reaches_a_studio_behind_tls_that_its_machine_trusts_and_no_other() {
    let [trusted, other] = [(), ()].map(|()| Certificate::make().unwrap());
    let studio = Studio::start().unwrap();
    let [impostor, front] = [&other, &trusted].map(|certificate| Service::tls(studio.address(), certificate).unwrap());
    let [wrong, right] = [&impostor, &front].map(|front| format!("https://{}", front.address()));
    let token = studio.token(&["new", "box"]).unwrap();
    let settings = Studio::settings_at(&[&wrong, &right], &token);
    let system = System::start_trusting(&[("test", "test:")], &settings, &trusted.path()).unwrap();
    let address = studio.address_of(&system).unwrap();
    address.until("ready", PATIENCE).unwrap();
    let log = system.log().unwrap();
    let refused = format!("no secure connection to {}", impostor.address());
    assert!(log.contains(&refused), "{log}");
    // A job's bytes go the same way.
    let _page = watch(&address);
    let snapshot = order(&studio, &address, r#"{"kind": "snapshot", "stream": "test"}"#);
    assert_eq!(snapshot["state"], "done", "{snapshot}");
}
