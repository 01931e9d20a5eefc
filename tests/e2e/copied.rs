//! Streams that are sent on as their source has encoded them, in a browser: what is shown, and how soon.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use framebridge_tests::{
    browser::{Browser, Page},
    camera::Camera,
    process::{command, signal},
    sample::Sample,
    services::Service,
    system::System,
    wait::{self, PATIENCE},
};
use rustix::process::Signal;

/// From the POST to the first picture: loose, as of a machine that is busy with other things. `cargo xtask bench sources` measures.
const FIRST_PICTURE_MS: f64 = 1_000.0;

/// Once it has caught up, a viewer that joined in the middle of a group is no further behind than this; one that does not catch up
/// stays behind by what there was of the group. `cargo xtask bench sources` measures how soon.
const BEHIND_MS: f64 = 300.0;

/// Encoded by one stream with a clock in its pictures, sent on by another: a camera that tells the time.
const RELAYED: &str = "relayed";

/// A system with both streams.
fn relay() -> System {
    let system = System::start(&[("clock", "test:")]).unwrap();
    let config = system.scratch().join("framebridge.toml");
    let before = fs::read_to_string(&config).unwrap();
    let source = system.url("/api/v1/streams/clock/live.mp4");
    fs::write(
        &config,
        format!("{before}[streams.{RELAYED}]\nsource = {source:?}\nencoder = \"copy\"\n"),
    )
    .unwrap();
    let reloaded = system.bridgectl(&["reload"]).unwrap();
    assert!(reloaded.status.success(), "{reloaded:?}");
    system
}

fn watch(system: &System, browser: &Browser, stream: &str) -> Page {
    let page = browser.open(&system.url(&format!("/s/{stream}"))).unwrap();
    page.until_live().unwrap();
    page
}

fn assert_copied(system: &System, stream: &str) {
    let found = system.stream(stream).unwrap();
    assert!(
        found.encoder.starts_with("copy (sent on as it comes: H.264"),
        "{found:?}"
    );
    let why = system.bridgectl(&["why", stream]).unwrap();
    let said = String::from_utf8_lossy(&why.stdout).into_owned();
    assert!(
        why.status.success() && said.contains("sent on as it comes: H.264"),
        "{said}"
    );
}

/// How old the pictures are that a page shows, ms, in the middle.
fn age(page: &Page) -> f64 {
    let shown = page.next_shown(60).unwrap();
    assert!(
        shown.len() >= 30,
        "only {} of 60 pictures carry a readable stamp",
        shown.len()
    );
    assert!(
        shown.is_sorted_by_key(|shown| shown.captured_ms),
        "time went backwards: {shown:?}"
    );
    #[expect(clippy::cast_precision_loss, reason = "milliseconds")]
    let ages = Sample::of(shown.iter().map(|shown| shown.age_ms as f64));
    ages.percentile(50)
}

#[test]
fn who_joins_in_the_middle_of_a_group_has_a_picture_at_once_and_is_soon_as_near_as_the_others() {
    let system = relay();
    let browser = Browser::start().unwrap();
    let first = watch(&system, &browser, RELAYED);
    // Groups are of ten seconds where nobody asks for another keyframe, and nobody can here.
    first.rate(4).unwrap();
    assert_copied(&system, RELAYED);
    let others = age(&first);
    let second = watch(&system, &browser, RELAYED);
    let shown = wait::until("the first picture's time", PATIENCE, || {
        Ok(second.evaluate("probe.firstFrame()")?.as_f64())
    })
    .unwrap();
    assert!(shown < FIRST_PICTURE_MS, "the first picture took {shown} ms");
    wait::until_true("it to be as near as the others", PATIENCE, || {
        let behind = age(&second) - others;
        anyhow::ensure!(behind < BEHIND_MS, "{behind} ms behind");
        Ok(true)
    })
    .unwrap();
    let (decoded, dropped) = second.decoding().unwrap();
    assert!(decoded > dropped, "{decoded} decoded, {dropped} dropped");
}

#[test]
fn killed_encoder_and_killed_signaling_cost_a_moment_and_no_session() {
    let system = relay();
    let browser = Browser::start().unwrap();
    let page = watch(&system, &browser, RELAYED);
    page.rate(3).unwrap();
    let before = page.sessions().unwrap();
    for process in [format!("encoder-{RELAYED}"), "signaling".to_owned()] {
        system.kill_and_await(&process).unwrap();
        page.until_shows_later_than(SystemTime::now()).unwrap();
        page.until_live().unwrap();
        assert_eq!(page.sessions().unwrap(), before, "after the death of {process}");
        // The film over HTTP, which is its source, is opened anew when signaling has gone.
        wait::until_true("it to be near again", PATIENCE, || Ok(age(&page) < 2_000.0)).unwrap();
    }
}

#[test]
fn camera_is_sent_on_picture_by_picture_and_comes_back_after_it_was_gone() {
    let mut camera = Camera::with_group(120).unwrap();
    let system = System::start(&[("yard", &camera.url())]).unwrap();
    let browser = Browser::start().unwrap();
    let page = watch(&system, &browser, "yard");
    let rate = page.rate(5).unwrap();
    assert!(rate >= 25.0, "{rate} of 30 pictures a second");
    assert_copied(&system, "yard");
    let picture = system.get("/api/v1/streams/yard/snapshot.jpg").unwrap();
    assert_eq!(picture.status, 200);
    let before = page.sessions().unwrap();
    signal(camera.pid(), Signal::KILL).unwrap();
    camera.restart().unwrap();
    wait::until_true("pictures again", PATIENCE, || {
        Ok(page.rate(1)? > 20.0 && page.state()? == "live")
    })
    .unwrap();
    assert_eq!(page.sessions().unwrap(), before);
}

#[test]
fn quality_means_encoding_for_who_watches_too() {
    let camera = Camera::with_group(60).unwrap();
    let system = System::start(&[("yard", &camera.url())]).unwrap();
    let page = watch(&system, &Browser::start().unwrap(), "yard");
    assert_copied(&system, "yard");
    let width = |wanted: u32| {
        page.until_holds(&format!("probe.video()?.videoWidth === {wanted}"))
            .unwrap();
        page.rate(3).unwrap()
    };
    assert!(width(640) > 25.0);
    let set = |edge: &str| {
        let done = system.bridgectl(&["quality", "yard", "--size", edge]).unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    set("320");
    assert!(width(320) > 25.0);
    let why = system.bridgectl(&["why", "yard"]).unwrap();
    let said = String::from_utf8_lossy(&why.stdout).into_owned();
    assert!(
        said.contains("encoded, because another quality than the configured one is set"),
        "{said}"
    );
    set("1280");
    assert!(width(640) > 25.0);
    wait::until_true("it to be sent on again", Duration::from_secs(10), || {
        Ok(system.stream("yard")?.encoder.starts_with("copy"))
    })
    .unwrap();
}

/// Twenty seconds of what FFmpeg's graph paints, as a film that is sent on.
fn film(folder: &Path, graph: &str) -> String {
    film_of(folder, graph, "null")
}

/// [`film`], of what is `selected`.
fn film_of(folder: &Path, graph: &str, selected: &str) -> String {
    let path = folder.join(format!("{}.mp4", graph.split('=').next().unwrap_or_default()));
    let joint = if graph.contains('=') { ':' } else { '=' };
    let picture = format!("{graph}{joint}size=640x360:rate=25:duration=20,{selected},format=yuv420p");
    let made = command("ffmpeg")
        .args([
            "-v", "error", "-f", "lavfi", "-i", &picture, "-c:v", "libx264", "-preset", "veryfast",
        ])
        .args(["-bf", "0", "-g", "100", "-sc_threshold", "0", "-vsync", "vfr"])
        .args(["-movflags", "+faststart"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    format!("file:{}", path.display())
}

#[test]
fn pauses_of_a_film_are_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    let source = film_of(folder.path(), "testsrc2", "select='lt(mod(t,10),2)'");
    let web = Service::files(folder.path()).unwrap();
    let on_the_web = format!("http://{}/testsrc2.mp4", web.address());
    let streams = [("slides", &*source), ("web", &*on_the_web)];
    let system = System::start(&streams).unwrap();
    let browser = Browser::start().unwrap();
    let pages = streams.map(|(name, _)| (name, watch(&system, &browser, name)));
    // From two pauses of eight seconds each, one is whole.
    let mut states = Vec::new();
    for _ in 0..18 {
        wait::pause(Duration::from_secs(1)).unwrap();
        states.push(pages.each_ref().map(|(_, page)| page.state().unwrap()));
    }
    assert!(states.iter().flatten().all(|state| state == "live"), "{states:?}");
    for (name, page) in &pages {
        assert_copied(&system, name);
        assert_eq!(system.process(&format!("encoder-{name}")).unwrap().restarts, 0);
        assert_eq!(page.sessions().unwrap().len(), 1);
        let why = String::from_utf8(system.bridgectl(&["why", name]).unwrap().stdout).unwrap();
        assert!(why.starts_with("live"), "{why}");
    }
}

#[test]
fn what_stands_still_or_is_black_is_told_without_being_decoded() {
    let folder = tempfile::tempdir().unwrap();
    let sources = ["smptebars", "color=c=black", "testsrc2"].map(|graph| film(folder.path(), graph));
    let streams = [
        ("still", &*sources[0]),
        ("black", &*sources[1]),
        ("moving", &*sources[2]),
    ];
    let system = System::start_with(&streams, "[video]\nkeep = \"always\"").unwrap();
    for (name, still, black) in [("still", true, false), ("black", true, true)] {
        wait::until_true(name, PATIENCE, || {
            let found = system.stream(name)?;
            Ok((found.unchanged_ms > 5_000) == still && (found.black_ms > 5_000) == black)
        })
        .unwrap();
    }
    let moving = system.stream("moving").unwrap();
    assert!(
        moving.encoder.starts_with("copy") && moving.unchanged_ms < 500,
        "{moving:?}"
    );
    wait::until_true("the rate that comes, not the one that is configured", PATIENCE, || {
        let moving = system.stream("moving")?;
        let is_film = (100_000..2_000_000).contains(&moving.bitrate) || moving.bitrate > 3_000_000;
        Ok(moving.fps == 25 && is_film)
    })
    .unwrap();
}
