//! Viewers whom no UDP reaches watch by a TURN server: by TCP, and by TLS.

use framebridge_tests::{
    browser::{Browser, Page},
    no_udp::NoUdp,
    services::{Certificate, Service},
    system::System,
    wait::{self, PATIENCE},
};

const SECRET: &str = "west wind";

/// A system whose viewers are told of this server and have no way but it.
fn start(url: &str) -> System {
    let webrtc = format!("tcp = false\n[[webrtc.ice_servers]]\nurls = [\"{url}\"]\nsecret = \"{SECRET}\"");
    System::start_for_others_with(&[("test", "test:")], &webrtc).unwrap()
}

/// The page has its picture by WebRTC over the relay, which it talks to by `protocol`.
#[track_caller]
fn assert_plays_over(page: &Page, protocol: &str, system: &System) {
    let way = "(async () => {
        const stats = await probe.peers.at(-1).getStats();
        const transport = [...stats.values()].find(({ type }) => type === 'transport');
        const pair = stats.get(transport?.selectedCandidatePairId);
        const { candidateType, relayProtocol } = stats.get(pair?.localCandidateId) ?? {};
        return [candidateType, relayProtocol].join();
    })()";
    wait::until_true("media by the relay", PATIENCE, || {
        Ok(page.evaluate(way)? == format!("relay,{protocol}"))
    })
    .unwrap();
    page.until_holds("document.querySelector('video').srcObject !== null")
        .unwrap();
    page.until_live().unwrap();
    let rate = page.rate(2).unwrap();
    assert!(rate > 15.0, "decoded {rate:.1} pictures a second");
    let viewers = system.bridgectl(&["viewers"]).unwrap().stdout;
    let viewers = String::from_utf8_lossy(&viewers);
    assert!(viewers.contains("udp relay"), "{viewers}");
}

#[test]
fn viewer_that_no_udp_reaches_plays_by_a_relay_over_tcp() {
    let Some(network) = NoUdp::build().unwrap() else {
        return;
    };
    let turn = Service::turn_at(NoUdp::HERE_V4, SECRET).unwrap();
    let system = start(&format!("turn:{}?transport=tcp", turn.address()));
    let url = format!("http://{}:{}/s/test", NoUdp::HERE, system.http().port());
    let page = network.there(|| Browser::start()?.open(&url)).unwrap();
    assert_plays_over(&page, "tcp", &system);
}

#[test]
fn viewer_that_no_udp_reaches_plays_by_a_relay_over_tls() {
    let Some(network) = NoUdp::build().unwrap() else {
        return;
    };
    let certificate = Certificate::make().unwrap();
    let turn = Service::turns_at(NoUdp::HERE_V4, SECRET, &certificate).unwrap();
    let system = start(&format!("turns:{}?transport=tcp", turn.address()));
    let url = format!("http://{}:{}/s/test", NoUdp::HERE, system.http().port());
    let digest = certificate.key_digest().unwrap();
    let page = network.there(|| Browser::start_trusting(&digest)?.open(&url)).unwrap();
    assert_plays_over(&page, "tls", &system);
}
