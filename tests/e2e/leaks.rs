//! Viewers come and go for months: nothing may stay behind.

use framebridge_tests::{
    http::Request,
    process::{Footprint, footprint},
    system::System,
    wait::{self, PATIENCE},
};

use crate::sdp;

const ROUNDS: u32 = 1_000;

/// Caches, arenas and pools reach their size in the first rounds.
const WARM_UP: u32 = 100;

/// A peer that stayed would keep tens of KiB: a thousand of them, tens of MiB.
const SLACK_KIB: u64 = 8 << 10;

fn join(system: &System) -> String {
    let joined = Request::new("POST", "/whep/test")
        .body("application/sdp", sdp::offer())
        .send(system.http())
        .unwrap();
    assert_eq!(joined.status, 201, "{}", joined.text());
    joined.header("location").unwrap().to_owned()
}

fn come_and_go(system: &System, rounds: u32) {
    for _round in 0..rounds {
        let session = join(system);
        assert_eq!(
            Request::new("DELETE", &session).send(system.http()).unwrap().status,
            200
        );
    }
}

#[test]
fn thousand_viewers_that_left_leave_nothing_behind() {
    let system = System::start(&[("test", "test:")]).unwrap();
    let signaling = system.pid("signaling").unwrap();
    // One stays, so that the source stays open and no round waits for it.
    let _stays = join(&system);
    come_and_go(&system, WARM_UP);
    let before = settled(signaling);
    come_and_go(&system, ROUNDS);
    let after = settled(signaling);
    assert_eq!(after.threads, before.threads);
    assert!(after.descriptors <= before.descriptors, "{before:?} became {after:?}");
    assert!(
        after.rss_kib <= before.rss_kib + SLACK_KIB,
        "{before:?} became {after:?}"
    );
    wait::until_true("one viewer to be left", PATIENCE, || {
        Ok(system.stream("test")?.viewers == 1)
    })
    .unwrap();
    assert_eq!(system.pid("signaling").unwrap(), signaling, "signaling was restarted");
}

/// The footprint once the last connections are closed: the same count of descriptors twice in a row.
fn settled(pid: u32) -> Footprint {
    let mut last = None;
    wait::until("the count of descriptors to settle", PATIENCE, || {
        let now = footprint(pid)?;
        Ok(last.replace(now).filter(|last| last.descriptors == now.descriptors))
    })
    .unwrap()
}
