//! Streams that somebody publishes (WHIP): from one browser's canvas to another's screen.

use framebridge_tests::{
    browser::{Browser, Page},
    publisher::{GStreamer, IN_A_PAGE},
    system::System,
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

const STREAM: &str = "live";

/// The colours that are published, side by side.
const PAINTED: [[i64; 3]; 5] = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0x33, 0x66, 0x99]];

/// How far each channel may be off: the publisher's encoder is a browser's, for conversations.
const TOLERANCE: i64 = 16;

/// The colours in the lower middles of five columns of the picture that the page shows; null: there is none.
const SHOWN: &str = "(() => {
    const video = document.querySelector('video'), canvas = document.createElement('canvas');
    if (!video?.videoWidth) return null;
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    const context = canvas.getContext('2d');
    context.drawImage(video, 0, 0);
    const column = (number) => context.getImageData(canvas.width * (number + 0.5) / 5, canvas.height * 0.7, 1, 1).data;
    return [0, 1, 2, 3, 4].map((number) => [...column(number)].slice(0, 3));
})()";

fn publisher(system: &System, browser: &Browser) -> Page {
    browser.open_scripted(&system.url("/login"), IN_A_PAGE).unwrap()
}

/// Publishes; the answer's status.
fn start(page: &Page, token: Option<&str>) -> u64 {
    let path = format!("/whip/{STREAM}");
    let call = format!("publisher.start({}, {})", json!(path), json!(token));
    page.evaluate(&call).unwrap().as_u64().unwrap()
}

fn until_connected(page: &Page) {
    page.until_holds("publisher.state() === 'connected'").unwrap();
}

fn until_told(system: &System, words: &str) {
    wait::until_true(words, PATIENCE, || {
        let reason = system.stream(STREAM)?.reason;
        Ok(reason.is_some_and(|reason| reason.contains(words)))
    })
    .unwrap();
}

fn until_colours_are_right(page: &Page) {
    wait::until_true("the painted colours", PATIENCE, || {
        let shown = page.evaluate(SHOWN)?;
        let is_near = |column: usize, channel: usize| {
            let seen = shown[column][channel].as_i64();
            seen.is_some_and(|seen| (seen - PAINTED[column][channel]).abs() <= TOLERANCE)
        };
        Ok((0..5).all(|column| (0..3).all(|channel| is_near(column, channel))))
    })
    .unwrap();
}

/// Pictures go on to be decoded.
fn until_it_goes_on(page: &Page) {
    let before = page.decoded().unwrap();
    wait::until_true("further pictures", PATIENCE, || Ok(page.decoded()? > before + 10)).unwrap();
}

#[test]
fn canvas_of_one_browser_is_watched_in_another_and_its_publisher_survives_the_encoder() {
    let system = System::start(&[(STREAM, "whip:"), ("test", "test:")]).unwrap();
    let browser = Browser::start().unwrap();
    let watching = browser.open(&system.url(&format!("/s/{STREAM}"))).unwrap();
    until_told(&system, "nobody publishes to /whip/live");
    watching
        .until_holds("document.querySelector('#reason').textContent.includes('nobody publishes')")
        .unwrap();

    let publishing = publisher(&system, &browser);
    assert_eq!(start(&publishing, None), 201);
    until_connected(&publishing);
    watching.until_live().unwrap();
    until_colours_are_right(&watching);
    let found = system.stream(STREAM).unwrap();
    assert!(found.encoder.starts_with("copy (sent on as it comes"), "{found:?}");
    let snapshot = system.get(&format!("/api/v1/streams/{STREAM}/snapshot.jpg")).unwrap();
    assert_eq!(snapshot.status, 200);

    // One at a time, and only where a stream is for it.
    let other = publisher(&system, &browser);
    assert_eq!(start(&other, None), 409);
    let wrong = other.evaluate("publisher.start('/whip/test')").unwrap();
    assert_eq!(wrong, 409);

    let before = watching.sessions().unwrap();
    system.kill_and_await(&format!("encoder-{STREAM}")).unwrap();
    until_it_goes_on(&watching);
    watching.until_live().unwrap();
    until_colours_are_right(&watching);
    assert_eq!(watching.sessions().unwrap(), before);
    assert_eq!(publishing.evaluate("publisher.state()").unwrap(), "connected");
    // It is told what its link carries, and is not kept at the rate that it begins with.
    wait::until_true("an estimate", PATIENCE, || {
        let sent = publishing.evaluate("publisher.sent()")?;
        Ok(sent["estimate"].as_f64() > Some(500_000.0))
    })
    .unwrap();

    assert_eq!(publishing.evaluate("publisher.restart()").unwrap(), 200);
    until_connected(&publishing);
    until_it_goes_on(&watching);

    assert_eq!(publishing.evaluate("publisher.stop()").unwrap(), 200);
    until_told(&system, "nobody publishes to /whip/live");
    assert_eq!(start(&other, None), 201, "the place is free");
    watching.until_live().unwrap();
    assert_eq!(watching.sessions().unwrap(), before);
}

#[test]
fn publisher_needs_its_scope_and_is_out_when_its_token_ends() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens.toml").display().to_string();
    let auth = format!("[http.auth]\nmode = \"token\"\ntokens = {tokens:?}\n");
    let system = System::start_with(&[(STREAM, "whip:")], &auth).unwrap();
    let token = |name: &str, scope: &str| {
        let made = system.bridgectl(&["token", "new", name, "--scope", scope]).unwrap();
        assert!(made.status.success(), "{made:?}");
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    };
    let (view, control, publish) = (
        token("viewer", "view"),
        token("operator", "control"),
        token("studio", "publish"),
    );
    let browser = Browser::start().unwrap();
    let page = publisher(&system, &browser);
    assert_eq!(start(&page, None), 401);
    assert_eq!(start(&page, Some("nonsense")), 401);
    assert_eq!(start(&page, Some(&view)), 403);
    assert_eq!(start(&page, Some(&control)), 403);
    assert_eq!(start(&page, Some(&publish)), 201);
    until_connected(&page);
    let looks = format!("fetch('/api/v1/streams', {{ headers: {{ authorization: 'Bearer {publish}' }} }})");
    let looked = page
        .evaluate(&format!("{looks}.then(({{ status }}) => status)"))
        .unwrap();
    assert_eq!(looked, 403, "it publishes, and does nothing else");
    let revoked = system.bridgectl(&["token", "revoke", "studio"]).unwrap();
    assert!(revoked.status.success(), "{revoked:?}");
    page.until_holds("publisher.state() !== 'connected'").unwrap();
}

#[test]
fn publisher_that_is_no_browser_keeps_its_session_when_signaling_dies() {
    let system = System::start(&[(STREAM, "whip:")]).unwrap();
    let _publishing = GStreamer::start(&system.url(&format!("/whip/{STREAM}"))).unwrap();
    let browser = Browser::start().unwrap();
    let watching = browser.open(&system.url(&format!("/s/{STREAM}"))).unwrap();
    watching.until_live().unwrap();
    until_it_goes_on(&watching);
    let before = watching.sessions().unwrap();
    let session = || {
        let shown = system.bridgectl(&["viewers", "--json"]).unwrap();
        let rows: Value = serde_json::from_slice(&shown.stdout).unwrap();
        let found = rows
            .as_array()
            .and_then(|rows| rows.iter().find(|row| row["state"] == "publishes"));
        found.unwrap_or_else(|| panic!("nobody publishes: {rows}"))["session"].clone()
    };
    let publishes = session();
    // Twice: what the second life has kept is as good.
    for _life in 0..2 {
        system.kill_and_await("signaling").unwrap();
        watching.until_live().unwrap();
        until_it_goes_on(&watching);
        assert_eq!(session(), publishes);
        assert_eq!(watching.sessions().unwrap(), before);
    }
}
