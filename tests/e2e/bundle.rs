//! Chromium plays whatever it offers: sections of every kind in every order, under every policy of bundling that it has.

use std::time::Duration;

use framebridge_tests::{browser::Browser, http::Request, player, system::System, wait};
use serde_json::json;

/// Enough to see that pictures go on after the first.
const PICTURES: u32 = 5;

/// Pictures come within a second; the slowest machine takes some.
const PATIENCE: Duration = Duration::from_secs(15);

const POLICIES: [&str; 3] = ["balanced", "max-compat", "max-bundle"];

/// What is offered, in this order. The video that plays is the first `video`; what comes before it is a BUNDLE group's tag
/// in its place.
const OFFERS: [&[&str]; 14] = [
    &["video"],
    &["video", "audio"],
    &["video", "data"],
    &["video", "video"],
    &["audio", "video"],
    &["audio", "video", "data"],
    &["audio", "audio", "video"],
    &["audio", "video", "audio", "video"],
    &["vp8", "video"],
    &["vp8", "audio", "video"],
    &["data", "video"],
    &["data", "video", "audio"],
    &["data", "audio", "video"],
    &["audio", "data", "video"],
];

#[test]
fn chromium_plays_whatever_it_offers_under_every_bundle_policy() {
    let system = System::start(&[("test", "test:")]).unwrap();
    let page = Browser::start().unwrap().open("about:blank").unwrap();
    page.evaluate(player::IN_A_PAGE).unwrap();
    let mut failures = Vec::new();
    for (policy, kinds) in POLICIES.iter().flat_map(|policy| OFFERS.map(|kinds| (policy, kinds))) {
        let played = (|| {
            let offer = page.evaluate(&format!("player.offer({}, {policy:?})", json!(kinds)))?;
            let offer = offer.as_str().unwrap_or_default();
            let request = Request::new("POST", "/whep/test").body("application/sdp", offer);
            let joined = request.send(system.http())?;
            anyhow::ensure!(joined.status == 201, "{}: {}", joined.status, joined.text());
            page.evaluate(&format!("player.accept({})", json!(joined.text())))?;
            let seen = format!("player.seen({PICTURES})");
            wait::until("pictures", PATIENCE, || {
                Ok(Some(page.evaluate(&seen)?).filter(|seen| !seen.is_null()))
            })
        })();
        match played {
            Ok(seen) if seen["width"] == 1280 => {}
            Ok(seen) => failures.push(format!("{policy} {kinds:?}: {seen}")),
            Err(error) => failures.push(format!("{policy} {kinds:?}: {error:#}")),
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
