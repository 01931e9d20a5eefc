//! A stream that fails too often shows its viewers a slate, and comes back to them in the session they have.

use std::time::SystemTime;

use framebridge_proto::status::StreamState;
use framebridge_tests::{
    axe,
    browser::Browser,
    http::Request,
    system::System,
    wait::{self, PATIENCE},
};

use crate::sdp;

/// The slate is all that is left to give up, and comes with the second death.
const NEXT_IS_THE_SLATE: &str = "[supervisor]\ncrash_loop_failures = 2\nhealthy_after_ms = 20000\n\
    [video]\nencoder = \"software\"\nlongest_edge = 640\n";

#[test]
fn viewers_of_a_parked_stream_see_why_and_until_when_and_then_the_picture_again() {
    let system = System::start_with(&[("test", "test:")], NEXT_IS_THE_SLATE).unwrap();
    let browser = Browser::start().unwrap();
    let page = browser.open(&system.url("/s/test")).unwrap();
    page.until_live().unwrap();
    let session = page.sessions().unwrap();
    system.kill_and_await("encoder-test").unwrap();
    system.kill_and_await("encoder-test").unwrap();
    wait::until_true("the slate", PATIENCE, || {
        Ok(system.stream("test")?.state == StreamState::Slate)
    })
    .unwrap();
    let stream = system.stream("test").unwrap();
    assert!(stream.verdict.contains("killed by signal 9"), "{}", stream.verdict);
    // The slate, and nothing over it.
    page.until_holds("document.body.dataset.state === 'slate' && !document.querySelector('.card').checkVisibility()")
        .unwrap();
    assert!(!page.text().unwrap().contains("Next attempt"), "a second countdown");
    assert_eq!(page.sessions().unwrap(), session);
    page.screenshot(&system.scratch().join("slate.png")).unwrap();
    axe::judge(&page).unwrap();

    let refused = Request::new("POST", "/whep/test")
        .body("application/sdp", sdp::offer())
        .send(system.http())
        .unwrap();
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(refused.text().contains("killed by signal 9"), "{}", refused.text());
    let retry: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=20).contains(&retry), "{retry}");
    let late = browser.open(&system.url("/s/test")).unwrap();
    wait::until_true("the card", PATIENCE, || Ok(late.state()? == "unavailable")).unwrap();
    let card = late.evaluate("document.body.innerText").unwrap();
    let card = card.as_str().unwrap();
    assert!(
        card.contains("failed too often: killed by signal 9") && card.contains("Next attempt in"),
        "{card}"
    );
    late.screenshot(&system.scratch().join("card.png")).unwrap();

    page.until_shows_later_than(SystemTime::now()).unwrap();
    page.until_live().unwrap();
    assert_eq!(page.sessions().unwrap(), session);
    late.until_live().unwrap();
}
