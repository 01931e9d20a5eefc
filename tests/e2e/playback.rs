//! A picture in a real browser, from every kind of source that a machine without a camera has.

use framebridge_proto::status::{Overall, StreamState};
use framebridge_tests::{
    browser::{Browser, Page},
    camera::Camera,
    display::{self, Display},
    system::System,
    wait::{self, PATIENCE},
};

/// 30 a second are captured. Half of them would be a fault; a machine that others keep busy may leave some out.
const LEAST_RATE: f64 = 20.0;

/// Loose: it tells live from not live on the slowest machine. `cargo xtask bench latency` measures.
const OLDEST_MS: i64 = 500;

/// A page in a browser of its own that plays a stream.
pub(crate) fn watch(system: &System, stream: &str) -> Page {
    let page = Browser::start()
        .unwrap()
        .open(&system.url(&format!("/s/{stream}")))
        .unwrap();
    page.until_live().unwrap();
    page
}

#[track_caller]
fn assert_plays(page: &Page) {
    let before = page.thumbnail().unwrap();
    let rate = page.rate(10).unwrap();
    assert!(rate >= LEAST_RATE, "decoded {rate:.1} pictures a second");
    assert_ne!(page.thumbnail().unwrap(), before, "the picture stands still");
    assert_eq!(page.state().unwrap(), "live");
}

#[track_caller]
fn assert_stamp_is_fresh_and_advances(page: &Page) {
    let shown = page.next_shown(30).unwrap();
    assert!(
        shown.len() >= 25,
        "only {} of 30 pictures carry a readable stamp",
        shown.len()
    );
    assert!(
        shown.is_sorted_by_key(|shown| shown.captured_ms),
        "time went backwards: {shown:?}"
    );
    assert!(
        shown[24].captured_ms > shown[0].captured_ms,
        "time stands still: {shown:?}"
    );
    let mut ages: Vec<i64> = shown.iter().map(|shown| shown.age_ms).collect();
    ages.sort_unstable();
    assert!(
        ages[ages.len() / 2] < OLDEST_MS,
        "pictures are old when shown, ms: {ages:?}"
    );
}

#[test]
fn camera_with_a_long_group_is_joined_in_its_middle() {
    let camera = Camera::with_group(300).unwrap();
    let url = camera.url();
    let system = System::start(&[("first", &url), ("second", &url)]).unwrap();
    // The camera's first client has its picture from the first keyframe on. The second waits for the next.
    let _first = watch(&system, "first");
    let _second = watch(&system, "second");
    for process in ["encoder-first", "encoder-second"] {
        let process = system.process(process).unwrap();
        assert_eq!(process.restarts, 0, "{process:?}");
    }
}

#[test]
fn picture_that_the_browser_pauses_goes_on() {
    let system = System::start(&[("test", "test:")]).unwrap();
    let page = watch(&system, "test");
    page.evaluate("document.querySelector('video').pause()").unwrap();
    page.until_holds("!document.querySelector('video').paused").unwrap();
    page.until_shows_later_than(std::time::SystemTime::now()).unwrap();
    assert_eq!(page.state().unwrap(), "live");
}

#[test]
fn test_pattern_is_live_in_a_browser_and_its_clock_is_fresh() {
    let system = System::start(&[("test", "test:")]).unwrap();
    let page = watch(&system, "test");
    assert_plays(&page);
    assert_stamp_is_fresh_and_advances(&page);
}

#[test]
fn desktop_in_which_something_moves_is_live_in_a_browser() {
    let mut display = Display::start().unwrap();
    display.paint().unwrap();
    let system = System::start(&[("desk", &format!("x11:{}", display.name()))]).unwrap();
    let page = watch(&system, "desk");
    assert_plays(&page);
    assert_stamp_is_fresh_and_advances(&page);
}

#[test]
fn file_is_looped_in_real_time_into_a_browser() {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip.mp4");
    display::record_clip(&clip).unwrap();
    let system = System::start(&[("clip", &format!("file:{}", clip.display()))]).unwrap();
    let page = watch(&system, "clip");
    // 10 s of a clip of 4 s: it goes round twice.
    assert_plays(&page);
}

#[test]
fn second_viewer_doubles_what_is_sent_and_nothing_that_is_encoded() {
    let system = System::start(&[("test", "test:")]).unwrap();
    let browser = Browser::start().unwrap();
    let first = browser.open(&system.url("/s/test")).unwrap();
    first.until_live().unwrap();
    let (encoded_for_one, sent_to_one) = growth_over_ten_seconds(&system, &first);
    let second = browser.open(&system.url("/s/test")).unwrap();
    second.until_live().unwrap();
    let (encoded_for_two, sent_to_two) = growth_over_ten_seconds(&system, &first);

    // Both counts are a heartbeat old at most, in which 30 pictures of some 300 pass.
    let percent = |part: u64, whole: u64| part * 100 / whole;
    let (one, two) = (
        percent(sent_to_one, encoded_for_one),
        percent(sent_to_two, encoded_for_two),
    );
    assert!((85..115).contains(&one), "{sent_to_one} sent of {encoded_for_one}");
    assert!((170..230).contains(&two), "{sent_to_two} sent of {encoded_for_two}");
    let change = percent(encoded_for_two, encoded_for_one);
    assert!(
        (80..120).contains(&change),
        "{encoded_for_one} encoded for one, {encoded_for_two} for two"
    );
    assert_eq!(system.stream("test").unwrap().viewers, 2);
    assert_eq!(system.status().unwrap().overall, Overall::Healthy);
}

/// By how much the encoded and the sent pictures grow in ten seconds.
fn growth_over_ten_seconds(system: &System, page: &Page) -> (u64, u64) {
    let before = system.stream("test").unwrap();
    page.rate(10).unwrap();
    let after = system.stream("test").unwrap();
    (
        after.frames_encoded - before.frames_encoded,
        after.frames_sent - before.frames_sent,
    )
}

#[test]
fn source_that_nobody_watches_is_closed_and_wakes_for_the_next_viewer() {
    let system = System::start_with(&[], "[streams.test]\nsource = \"test:\"\nlinger_ms = 100").unwrap();
    let browser = Browser::start().unwrap();
    for _visit in 0..2 {
        let page = browser.open(&system.url("/s/test")).unwrap();
        page.until_live().unwrap();
        page.close().unwrap();
        let idle = || Ok(system.stream("test")?.state == StreamState::Idle);
        wait::until_true("the source to be closed", PATIENCE, idle).unwrap();
    }
}

#[test]
fn page_lists_the_streams_and_leads_to_them() {
    let system = System::start(&[("test", "test:"), ("other", "test:")]).unwrap();
    let page = Browser::start().unwrap().open(&system.url("/")).unwrap();
    let links = "[...document.links].map(link => link.pathname).filter(path => path.startsWith('/s/')).sort().join()";
    wait::until_true("both streams to be listed", PATIENCE, || {
        Ok(page.evaluate(links)? == "/s/other,/s/test")
    })
    .unwrap();
}

/// Has the browser ask when each picture was captured, which it does not by itself.
const ASK_CAPTURE_TIME: &str = "
    const { createOffer } = RTCPeerConnection.prototype;
    RTCPeerConnection.prototype.createOffer = function (...options) {
        for (const transceiver of this.getTransceivers()) {
            const extensions = transceiver.getHeaderExtensionsToNegotiate();
            const wanted = extensions.find(({ uri }) => uri.endsWith('/abs-capture-time'));
            if (wanted) wanted.direction = 'recvonly';
            transceiver.setHeaderExtensionsToNegotiate(extensions);
        }
        return createOffer.apply(this, options);
    };";

#[test]
fn browser_that_asks_is_told_when_its_pictures_were_captured() {
    let system = System::start(&[("test", "test:")]).unwrap();
    let page = Browser::start()
        .unwrap()
        .open_scripted(&system.url("/s/test"), ASK_CAPTURE_TIME)
        .unwrap();
    page.until_live().unwrap();
    // By this machine's clock, which is the browser's, too: how long ago the picture was captured that is shown, ms.
    let age = "(() => {
        const [receiver] = probe.peers.at(-1).getReceivers();
        const [source] = receiver.getSynchronizationSources();
        const captured = source?.captureTimestamp;
        return captured === undefined ? null : Date.now() + 2208988800000 - captured;
    })()";
    let age = wait::until("a time of capture", PATIENCE, || Ok(page.evaluate(age)?.as_f64())).unwrap();
    assert!((0.0..2000.0).contains(&age), "{age} ms");
}
