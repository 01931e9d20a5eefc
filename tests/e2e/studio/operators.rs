//! What an operator does by hand: the dashboard in a browser, and addresses that are shared for a while.

use std::time::Duration;

use framebridge_tests::{
    axe,
    browser::{Browser, Page},
    studio::{Address, Studio},
    system::System,
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

use super::{box_at_a_studio, watch};

/// The dashboard, as an operator sees it who has given the token when the browser asked.
fn dashboard(studio: &Studio) -> Page {
    let browser = Browser::start().unwrap();
    let (operators, token) = (studio.operators(), studio.operator());
    browser.open(&format!("http://operator:{token}@{operators}/")).unwrap()
}

/// Fills in the dashboard's form and sends it.
fn order(page: &Page, kind: &str, seconds: u32) {
    let fill = format!(
        "(() => {{
            const form = document.querySelector('.order');
            form.elements.kind.value = '{kind}';
            form.elements.kind.dispatchEvent(new Event('change'));
            form.elements.seconds.value = {seconds};
            form.querySelector('button').click();
        }})()"
    );
    page.evaluate(&fill).unwrap();
}

/// Waits until the job that was asked for last is `state`; the words of its row.
fn until_latest_job_is(page: &Page, jobs: usize, state: &str) -> String {
    wait::until(&format!("job {jobs} to be {state}"), PATIENCE, || {
        let rows = page.evaluate("[...document.querySelectorAll('.jobs tr')].map((row) => row.innerText)")?;
        let latest = rows[0].as_str().unwrap_or_default().to_owned();
        anyhow::ensure!(
            rows.as_array().is_some_and(|rows| rows.len() == jobs) && latest.contains(state),
            "the jobs are {rows}"
        );
        Ok(Some(latest))
    })
    .unwrap()
}

/// The media type of what the latest job's link leads to.
fn latest_result(page: &Page) -> Value {
    page.evaluate(
        "fetch(location.origin + document.querySelector('.jobs a').getAttribute('href'))
            .then((result) => result.headers.get('content-type'))",
    )
    .unwrap()
}

#[test]
fn dashboard_shows_a_box_as_it_is_and_brings_what_is_asked_for() {
    let (mut studio, system, address) = box_at_a_studio("");
    // A source that nobody watches has no picture.
    let _viewer = watch(&address);
    let page = dashboard(&studio);
    page.until_holds("document.querySelector('.box')?.dataset.state === 'ready'")
        .unwrap();
    page.until_holds("document.querySelector('.still')?.naturalWidth > 0 && !document.querySelector('.still').hidden")
        .unwrap();
    page.until_holds("document.querySelector('.viewers').innerText === '1 viewer'")
        .unwrap();
    assert_eq!(
        page.evaluate("document.querySelector('.address').href").unwrap(),
        address.url("").as_str()
    );

    axe::judge(&page).unwrap();
    let nothing = Browser::start()
        .unwrap()
        .open(&format!("http://{}/", studio.address()))
        .unwrap();
    nothing.until_reads("This address has ended").unwrap();
    axe::judge(&nothing).unwrap();
    drop(nothing);

    for (place, (kind, media_type)) in [
        ("snapshot", "image/jpeg"),
        ("last_ms", "video/mp4"),
        ("next_ms", "video/mp4"),
    ]
    .into_iter()
    .enumerate()
    {
        order(&page, kind, 1);
        until_latest_job_is(&page, place + 1, "done");
        assert_eq!(latest_result(&page), media_type, "{kind}");
    }

    // A paused box takes no job, says so, and goes on with it once it is resumed.
    assert!(system.bridgectl(&["bridge", "pause"]).unwrap().status.success());
    page.until_holds("document.querySelector('.facts').innerText.includes('paused')")
        .unwrap();
    order(&page, "diagnose", 1);
    until_latest_job_is(&page, 4, "wants no jobs just now");
    assert!(system.bridgectl(&["bridge", "resume"]).unwrap().status.success());
    until_latest_job_is(&page, 4, "done");
    assert_eq!(latest_result(&page), "application/json");

    page.evaluate("document.querySelector('details').open = true").unwrap();
    system.kill_and_await("encoder-test").unwrap();
    page.until_holds("document.querySelector('.log').innerText.includes('killed by signal 9')")
        .unwrap();

    // An old picture does not pass for a present one, nor an old state.
    drop(system);
    page.until_holds("document.querySelector('.box').dataset.state !== 'ready' && document.querySelector('.still')?.hidden !== false")
        .unwrap();
    studio.kill().unwrap();
    page.until_holds(
        "document.body.classList.contains('stale') && document.getElementById('summary').innerText.includes('reached')",
    )
    .unwrap();
    studio.start_again().unwrap();
    page.until_holds("!document.body.classList.contains('stale')").unwrap();
}

/// Shares with these arguments; the new address.
fn share(system: &System, address: &Address, arguments: &[&str]) -> Address {
    let shared = system.bridgectl(&[&["share"], arguments].concat()).unwrap();
    assert!(shared.status.success(), "{shared:?}");
    address.other(String::from_utf8(shared.stdout).unwrap().lines().next().unwrap())
}

/// Viewers of the one stream, as the box's own server counts them.
fn until_viewers_are(system: &System, wanted: u64, within: Duration) {
    wait::until_true(&format!("{wanted} viewers"), within, || {
        Ok(system.get("/api/v1/streams/test")?.json()?["viewers"] == wanted)
    })
    .unwrap();
}

#[test]
fn viewers_leave_with_the_address_they_came_by_and_no_others_do() {
    const AT_MOST: Duration = Duration::from_secs(2);
    let (studio, system, address) = box_at_a_studio("");
    let browser = Browser::start().unwrap();
    let open = |of: &Address| {
        let page = browser.open(&of.url("/s/test")).unwrap();
        page.until_live().unwrap();
        page
    };
    let says_so = |page: &Page| {
        page.until_holds("document.body.innerText.includes('This address has ended')")
            .unwrap();
    };
    let own = open(&address);
    let kept = share(&system, &address, &[]);
    let taken_back = open(&kept);
    let short = share(&system, &address, &["--expires", "15s"]);
    let expires = open(&short);
    until_viewers_are(&system, 3, PATIENCE);
    let has_ended = |of: &Address| Ok::<_, anyhow::Error>(studio.get(&of.path("/"))?.status == 404);
    wait::until_true("the address to expire", PATIENCE, || has_ended(&short)).unwrap();
    until_viewers_are(&system, 2, AT_MOST);
    says_so(&expires);
    taken_back.until_live().unwrap();

    // The bridge that let them in need not be the one that ends it.
    system.kill_and_await("bridge").unwrap();
    address.until("ready", PATIENCE).unwrap();
    assert!(system.bridgectl(&["unshare"]).unwrap().status.success());
    until_viewers_are(&system, 1, AT_MOST);
    says_so(&taken_back);
    own.until_live().unwrap();
}

#[test]
fn shared_address_opens_what_it_was_shared_for_until_it_expires_or_is_taken_back() {
    let studio = Studio::start().unwrap();
    let settings = studio.settings("box").unwrap();
    let system = System::start_with(&[("test", "test:"), ("other", "test:")], &settings).unwrap();
    let address = studio.address_of(&system).unwrap();
    address.until("ready", PATIENCE).unwrap();
    let status = |of: &Address, path: &str| studio.get(&of.path(path)).map(|answer| answer.status);

    let one = share(&system, &address, &["other"]);
    let short = share(&system, &address, &["--expires", "10s"]);
    assert_eq!(status(&short, "/").unwrap(), 200);
    // Nobody is told the address that outlives a share.
    assert_eq!(status(&short, "/api/v1/status").unwrap(), 404);
    // The one stream, and not even that there are others.
    assert_eq!(status(&one, "/api/v1/streams/other").unwrap(), 200);
    for path in ["/api/v1/streams/test", "/s/test", "/whep/test", "/api/v1/streams"] {
        assert_eq!(status(&one, path).unwrap(), 404, "{path}");
    }
    let page = watch(&one);
    wait::until_true("the address to expire", PATIENCE, || Ok(status(&short, "/")? == 404)).unwrap();
    page.until_live().unwrap();

    let unshared = system.bridgectl(&["unshare"]).unwrap();
    assert_eq!(String::from_utf8(unshared.stdout).unwrap(), "1 shared address ended\n");
    assert_eq!(status(&one, "/").unwrap(), 404);
    let unknown = system.bridgectl(&["share", "nothing"]).unwrap();
    assert!(!unknown.status.success(), "{unknown:?}");
    // What the box's own address opens is nobody's to take.
    assert_eq!(status(&address, "/api/v1/streams").unwrap(), 200);
    assert_eq!(address.session().unwrap()["state"], json!("ready"));
}
