//! Viewers whose links carry less than the stream takes.

use std::time::{Duration, Instant};

use framebridge_tests::{
    browser::{Browser, Page},
    shaped::{Shape, ShapedLink},
    system::System,
    wait,
};

/// It carries two fifths of what the stream takes.
const SLOW: Shape = Shape {
    bits_per_second: 1_000_000,
    queue_ms: 200,
    delay_ms: 10,
    ..Shape::GOOD
};
/// Everything, with room.
const FAST: Shape = Shape {
    bits_per_second: 10_000_000,
    ..SLOW
};

/// Within so long a slow link has what it carries.
const DOWN: Duration = Duration::from_secs(8);
/// Within so long a good one has all.
const UP: Duration = Duration::from_secs(20);

fn until_width(page: &Page, width: u64, limit: Duration) -> anyhow::Result<Duration> {
    let began = Instant::now();
    wait::until_true("a picture of that width", limit, || {
        Ok(page.evaluate("probe.video().videoWidth")?.as_u64() == Some(width))
    })?;
    Ok(began.elapsed())
}

fn keyframes(page: &Page) -> anyhow::Result<u64> {
    let inbound = page.evaluate("probe.inbound()")?;
    Ok(inbound["keyFramesDecoded"].as_u64().unwrap_or(0))
}

/// The longest time between two pictures that were shown, in milliseconds.
fn longest_gap(record: &[(u64, u64)]) -> u64 {
    record
        .windows(2)
        .map(|two| two[1].0 - two[0].0)
        .max()
        .unwrap_or(u64::MAX)
}

#[test]
fn slow_link_has_a_smaller_picture_steadily_costs_nobody_a_keyframe_and_has_all_when_it_is_good_again() {
    let Some(mut link) = ShapedLink::build(SLOW).unwrap() else {
        return;
    };
    let system = System::start_for_others(&[("test", "test:")]).unwrap();
    let healthy = Browser::start().unwrap().open(&system.url("/s/test")).unwrap();
    healthy.until_live().unwrap();
    let url = format!("http://{}:{}/s/test", ShapedLink::HERE, system.http().port());
    let slow = link.there(|| Browser::start()?.open(&url)).unwrap();
    slow.until_live().unwrap();
    let down = until_width(&slow, 640, DOWN).unwrap();
    let before = keyframes(&healthy).unwrap();
    let viewers = system.bridgectl(&["viewers"]).unwrap().stdout;
    let viewers = String::from_utf8_lossy(&viewers);
    assert!(viewers.contains(" half"), "{viewers}");

    slow.until_reads("your link carries").unwrap();

    slow.start_recording().unwrap();
    let rate = slow.rate(20).unwrap();
    let gap = longest_gap(&slow.take_record().unwrap());
    let more = keyframes(&healthy).unwrap() - before;
    let seen = format!(
        "down after {down:?}, {rate:.1} pictures a second, longest gap {gap} ms, {more} keyframes for the other"
    );
    assert!(rate >= 15.0 && gap <= 500, "{seen}");
    // One comes by itself in ten seconds.
    assert!(more <= 3, "{seen}");
    assert!(healthy.rate(2).unwrap() >= 20.0);

    system.kill_and_await("signaling").unwrap();
    slow.until_shows_later_than(std::time::SystemTime::now()).unwrap();
    // No more than before, that is; on a machine that is busy, too, the link of this test carries less.
    let width = slow.evaluate("probe.video().videoWidth").unwrap().as_u64();
    assert!(width <= Some(640), "{width:?}: more than before");

    link.set(FAST).unwrap();
    let up = until_width(&slow, 1280, UP).unwrap();
    #[expect(clippy::print_stdout, reason = "what was measured")]
    {
        println!("{seen}; up after {up:?}");
    }
    assert_eq!(slow.sessions().unwrap().len(), 1, "in one session");
}

#[test]
fn wall_asks_for_no_more_than_a_cell_shows_and_for_all_of_one_that_is_made_large() {
    let system = System::start(&[("a", "test:"), ("b", "test:"), ("c", "test:"), ("d", "test:")]).unwrap();
    let wall = Browser::start().unwrap().open(&system.url("/wall")).unwrap();
    wall.resize(1280, 720).unwrap();
    let width = |name: &str| format!("document.querySelector('.cell[data-stream={name}] video')?.videoWidth");
    for name in ["a", "b", "c", "d"] {
        wall.until_holds(&format!("{} === 640", width(name))).unwrap();
    }
    wall.evaluate(
        "document.querySelector('.cell[data-stream=b]').dispatchEvent(new MouseEvent('dblclick', { bubbles: true }))",
    )
    .unwrap();
    wall.until_holds(&format!("{} === 1280", width("b"))).unwrap();
    assert_eq!(wall.evaluate(&width("a")).unwrap(), 640, "the others stay as they are");
}
