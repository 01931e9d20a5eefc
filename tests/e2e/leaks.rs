//! Viewers come and go for months: nothing may stay behind.

use std::time::Instant;

use framebridge_testkit::{
    Identity, Options, Seat, Viewer, watch,
    whep::{self, Session},
};
use framebridge_tests::{
    process::{Footprint, footprint},
    system::System,
    wait::{self, PATIENCE},
};

const VIEWERS: usize = 1_000;

/// Caches, arenas and pools reach their size with the first of them.
const WARM_UP: usize = 100;

/// They come in groups, which spares the test most of the waiting for their handshakes.
const GROUP: usize = 10;

/// A peer that stayed would keep tens of KiB: a thousand of them, tens of MiB.
const SLACK_KIB: u64 = 8 << 10;

/// Connections come and go all the time: the supervisor's probe, this test's own. A task that stayed with each viewer would
/// make a thousand.
const SLACK_TASKS: u64 = 10;

/// Viewers with a full ICE and DTLS handshake each come and go, half with a DELETE, half without a word on HTTP: their
/// DTLS goodbye has to do.
fn come_and_go(url: &str, viewers: usize) {
    let identity = Identity::generate().unwrap();
    for _group in 0..viewers / GROUP {
        let (mut seats, sessions): (Vec<Seat>, Vec<Session>) = (0..GROUP)
            .map(|_| {
                let mut viewer = Viewer::new(identity.clone(), Options::default(), Instant::now());
                let session = whep::post(url, &viewer.offer()).unwrap();
                viewer.accept(&session.answer, true, Instant::now()).unwrap();
                (Seat::new(viewer, true).unwrap(), session)
            })
            .unzip();
        let end = Instant::now() + PATIENCE;
        let connected = |seats: &[Seat]| seats.iter().all(|seat| seat.viewer.is_connected());
        watch(&mut seats, |seats| connected(seats) || Instant::now() > end).unwrap();
        assert!(connected(&seats), "a viewer did not connect");
        for (at, (seat, session)) in seats.iter_mut().zip(&sessions).enumerate() {
            if at % 2 == 0 {
                whep::delete(&session.location).unwrap()
            } else {
                seat.close()
            }
        }
    }
}

#[test]
fn thousand_viewers_that_left_leave_nothing_behind() {
    let system = System::start(&[("test", "test:")]).unwrap();
    let signaling = system.pid("signaling").unwrap();
    let url = system.url("/whep/test");
    come_and_go(&url, WARM_UP);
    let before = settled(&system, signaling);
    let tasks_before = tasks(&system);
    come_and_go(&url, VIEWERS);
    // Threads for what blocks go again when they have had nothing to do for a while.
    wait::until_true("no more threads than before", PATIENCE, || {
        Ok(footprint(signaling)?.threads <= before.threads)
    })
    .unwrap();
    let after = settled(&system, signaling);
    let tasks_after = tasks(&system);
    assert!(after.descriptors <= before.descriptors, "{before:?} became {after:?}");
    assert!(
        after.rss_kib <= before.rss_kib + SLACK_KIB,
        "{before:?} became {after:?}"
    );
    assert!(
        tasks_after <= tasks_before + SLACK_TASKS,
        "{tasks_before} tasks became {tasks_after}"
    );
    assert_eq!(system.pid("signaling").unwrap(), signaling, "signaling was restarted");
}

/// Tasks alive in signaling.
fn tasks(system: &System) -> u64 {
    let metrics = system.get("/metrics").unwrap().text();
    let mut counts = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("framebridge_signaling_tasks "));
    counts.next().unwrap().parse().unwrap()
}

/// The footprint once the last viewer is gone and the last connection closed: the same count of descriptors twice.
fn settled(system: &System, pid: u32) -> Footprint {
    wait::until_true("no viewer to be left", PATIENCE, || {
        Ok(system.stream("test")?.viewers == 0)
    })
    .unwrap();
    let mut last = None;
    wait::until("the count of descriptors to settle", PATIENCE, || {
        let now = footprint(pid)?;
        Ok(last.replace(now).filter(|last| last.descriptors == now.descriptors))
    })
    .unwrap()
}
