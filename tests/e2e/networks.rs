//! Viewers whose networks do not let everything through.

use framebridge_tests::{browser::Browser, no_udp::NoUdp, system::System};

#[test]
fn viewer_that_no_udp_reaches_plays_by_tcp_and_plays_on_after_signaling_was_killed() {
    let Some(network) = NoUdp::build().unwrap() else {
        return;
    };
    let system = System::start_for_others(&[("test", "test:")]).unwrap();
    let url = format!("http://{}:{}/s/test", NoUdp::HERE, system.http().port());
    let page = network.there(|| Browser::start()?.open(&url)).unwrap();
    page.until_live().unwrap();
    assert_eq!(page.evaluate("probe.protocol()").unwrap(), "tcp");
    let waited = page.evaluate("probe.firstFrame()").unwrap();
    assert!(
        waited.as_f64().is_some_and(|ms| ms < 3000.0),
        "the first picture came after {waited} ms"
    );
    let rate = page.rate(3).unwrap();
    assert!(rate > 20.0, "decoded {rate:.1} pictures a second");
    let viewers = system.bridgectl(&["viewers"]).unwrap().stdout;
    let viewers = String::from_utf8_lossy(&viewers);
    assert!(viewers.contains("tcp "), "{viewers}");

    system.kill_and_await("signaling").unwrap();
    page.until_shows_later_than(std::time::SystemTime::now()).unwrap();
    page.until_live().unwrap();
}

#[test]
fn viewer_that_neither_udp_nor_tcp_reaches_watches_by_http_until_one_does() {
    let Some(network) = NoUdp::build().unwrap() else {
        return;
    };
    // What HTTP's port takes of media's TCP nothing on the way can tell from HTTP: the server does not offer it.
    let system = System::start_for_others_with(&[("test", "test:")], "tcp = false").unwrap();
    let url = format!("http://{}:{}/s/test", NoUdp::HERE, system.http().port());
    let page = network.there(|| Browser::start()?.open(&url)).unwrap();
    page.until_holds("document.body.dataset.state === 'live'").unwrap();
    let waited = page.evaluate("performance.now()").unwrap();
    assert!(
        waited.as_f64().is_some_and(|ms| ms < 5000.0),
        "the picture came after {waited} ms"
    );
    let says = "document.getElementById('facts').textContent.includes('by HTTP: neither UDP nor TCP gets through')";
    page.until_holds(says).unwrap();
    let shown = |page: &framebridge_tests::browser::Page| {
        let time = page.evaluate("document.querySelector('video').currentTime").unwrap();
        time.as_f64().unwrap()
    };
    let before = shown(&page);
    page.until_holds(&format!("document.querySelector('video').currentTime > {before} + 2"))
        .unwrap();
    let viewers = || {
        let said = system.bridgectl(&["viewers"]).unwrap().stdout;
        String::from_utf8_lossy(&said).into_owned()
    };
    let listed = viewers();
    assert!(listed.contains("http (neither UDP nor TCP gets through)"), "{listed}");

    network.lift().unwrap();
    page.until_holds("document.querySelector('video').srcObject !== null")
        .unwrap();
    page.until_live().unwrap();
    assert_eq!(page.evaluate("probe.protocol()").unwrap(), "udp");
    let listed = viewers();
    assert!(!listed.contains("http ("), "{listed}");
}
