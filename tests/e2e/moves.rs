//! Viewers play on when this machine's address changes.

use std::{
    net::IpAddr,
    time::{Duration, Instant, SystemTime},
};

use framebridge_tests::{
    browser::{Browser, Page},
    moving::Moving,
    system::System,
    wait,
};
use serde_json::Value;

/// Far more than it takes, which is told, on a machine that does much else; and less than a session has to be found again.
const LIMIT: Duration = Duration::from_secs(15);

/// Media comes by the one link alone, whose address changes.
fn start() -> System {
    let webrtc = format!("tcp = false\ninterfaces = [\"{}\"]", Moving::LINK);
    System::start_for_others_with(&[("test", "test:")], &webrtc).unwrap()
}

fn open(network: &Moving, system: &System, at: IpAddr) -> Page {
    let url = format!("http://{at}:{}/s/test", system.http().port());
    let page = network.there(|| Browser::start()?.open(&url)).unwrap();
    page.until_live().unwrap();
    page
}

/// Changes the address and waits for a picture that is newer: how long that took.
fn until_it_plays_on(network: &Moving, page: &Page) -> Duration {
    let before = page.sessions().unwrap();
    network.change().unwrap();
    let since = Instant::now();
    // What was captured while nobody could see it is not shown.
    page.until_shows_later_than(SystemTime::now()).unwrap();
    let took = since.elapsed();
    #[expect(clippy::print_stderr, reason = "a measurement for whoever looks")]
    {
        eprintln!("a picture from the new address after {took:?}");
    }
    assert_eq!(page.sessions().unwrap(), before, "it is the same session");
    took
}

#[test]
fn viewer_plays_on_when_the_address_of_page_and_media_changes() {
    let Some(network) = Moving::build().unwrap() else {
        return;
    };
    let system = start();
    let page = open(&network, &system, Moving::MEDIA);
    let took = until_it_plays_on(&network, &page);
    assert!(took < LIMIT, "the picture was back after {took:?}");
    // The browser, too, talks to the new address by and by, which nobody has named to it, and what it asks for is heard there.
    let remote = "(async () => {
        const stats = await probe.peers.at(-1).getStats();
        const transport = [...stats.values()].find(({ type }) => type === 'transport');
        return stats.get(stats.get(transport.selectedCandidatePairId).remoteCandidateId).candidateType;
    })()";
    wait::until_true("the browser to have moved, too", wait::PATIENCE, || {
        Ok(page.evaluate(remote)? == "prflx")
    })
    .unwrap();
    assert!(page.rate(2).unwrap() > 20.0);
}

#[test]
fn viewer_behind_a_firewall_is_told_the_new_address_and_restarts_ice() {
    let Some(network) = Moving::build().unwrap() else {
        return;
    };
    network.close().unwrap();
    let system = start();
    let page = open(&network, &system, Moving::PAGES);
    let took = until_it_plays_on(&network, &page);
    assert!(took < LIMIT, "the picture was back after {took:?}");
    page.until_live().unwrap();
    let told = system.bridgectl(&["viewers", "--json"]).unwrap();
    let viewers: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(viewers.as_array().map(Vec::len), Some(1), "{viewers}");
}
