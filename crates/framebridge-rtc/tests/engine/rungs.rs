//! Viewers on different rungs of one stream, and on their way from one to another.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use framebridge_proto::{StreamName, media::Rung};
use framebridge_rtc::{Config, Engine, Event, Handle, SessionId, dtls::Identity};
use framebridge_testkit::{Options, Pictures, Seat, Viewer};
use tokio::sync::mpsc;

use super::{block_on, have_frames, watch_until};

/// Bits per second, by rung.
const RATES: [Option<u32>; Rung::COUNT] = [Some(2_000_000), Some(500_000), None];

/// An engine, and an encoder with two rungs; the lower one is made while somebody needs it.
struct Ladder {
    engine: Engine,
    stream: StreamName,
    /// Keyframes that were asked for, by rung.
    asked: Arc<[AtomicU64; Rung::COUNT]>,
    stop: Arc<AtomicBool>,
    encoder: Option<JoinHandle<()>>,
}

impl Ladder {
    fn new() -> Self {
        let config = Config {
            port: 0,
            bind: vec![std::net::Ipv4Addr::LOCALHOST.into()],
            ..Config::default()
        };
        let (engine, events) = Engine::start(config).unwrap();
        let stream: StreamName = "test".parse().unwrap();
        engine.handle().offer_rungs(&stream, RATES);
        let (asked, stop) = (Arc::<[AtomicU64; Rung::COUNT]>::default(), Arc::<AtomicBool>::default());
        let encoder = thread::spawn({
            let (handle, stream) = (engine.handle(), stream.clone());
            let (asked, stop) = (Arc::clone(&asked), Arc::clone(&stop));
            move || encode(&handle, &stream, events, &asked, &stop)
        });
        Self {
            engine,
            stream,
            asked,
            stop,
            encoder: Some(encoder),
        }
    }

    fn join(&self, best: Rung) -> (SessionId, Seat) {
        let options = Options {
            sample: 1,
            ..Options::default()
        };
        let mut viewer = Viewer::new(Identity::generate().unwrap(), options, Instant::now());
        let handle = self.engine.handle().with_best(best);
        let joined = block_on(handle.join(&self.stream, &viewer.offer())).unwrap();
        viewer.accept(&joined.answer, true, Instant::now()).unwrap();
        (joined.session, Seat::new(viewer, true).unwrap())
    }

    fn rung(&self, session: &SessionId) -> Rung {
        self.engine.handle().session(session).unwrap().link.rung
    }

    fn asked(&self, rung: Rung) -> u64 {
        self.asked[rung.index()].load(Relaxed)
    }
}

impl Drop for Ladder {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        self.encoder.take().unwrap().join().unwrap();
    }
}

/// 30 pictures a second, on each rung that somebody needs, keyframes on demand.
fn encode(
    handle: &Handle,
    stream: &StreamName,
    mut events: mpsc::Receiver<Event>,
    asked: &[AtomicU64; Rung::COUNT],
    stop: &AtomicBool,
) {
    let start = Instant::now();
    let needs = handle.counts(stream).follow_rungs();
    let mut rungs =
        [(Rung::Full, 2_000_000), (Rung::Half, 500_000)].map(|(rung, rate)| (rung, Pictures::new(rate, 30)));
    let mut next = start;
    while !stop.load(Relaxed) {
        let mut keyframes = [false; Rung::COUNT];
        while let Ok(event) = events.try_recv() {
            if let Event::KeyframeWanted { rung, .. } = event {
                asked[rung.index()].fetch_add(1, Relaxed);
                keyframes[rung.index()] = true;
            }
        }
        let captured = u64::try_from(start.elapsed().as_nanos()).unwrap() + 1_000_000_000;
        for (rung, pictures) in &mut rungs {
            if *rung == Rung::Full || needs.borrow()[rung.index()] > 0 {
                let unit = pictures.next(keyframes[rung.index()], captured);
                handle.publish_rung(stream, *rung, unit);
            }
        }
        next += Duration::from_micros(33_333);
        thread::park_timeout(next.saturating_duration_since(Instant::now()));
    }
}

/// All came, in order, and time went on.
fn assert_whole(seat: &Seat) {
    let reception = seat.viewer.reception();
    assert!(reception.is_intact(), "{reception:?}");
    let faults = (
        reception.lost(),
        reception.duplicates,
        reception.timestamp_reversals,
        reception.forged,
    );
    assert_eq!(faults, (0, 0, 0, 0), "{reception:?}");
}

#[test]
fn viewer_goes_down_and_up_with_nothing_lost_and_costs_the_other_no_keyframe() {
    let ladder = Ladder::new();
    let (_, healthy) = ladder.join(Rung::Full);
    let (session, slow) = ladder.join(Rung::Full);
    let mut seats = [healthy, slow];
    watch_until(&mut seats, "pictures", have_frames(30));
    assert_eq!((ladder.rung(&session), ladder.asked(Rung::Half)), (Rung::Full, 0));

    let asked = ladder.asked(Rung::Full);
    assert!(block_on(ladder.engine.handle().at_most(&session, Rung::Half)));
    watch_until(&mut seats, "the lower rung", |_| ladder.rung(&session) == Rung::Half);
    let (bytes, frames) = {
        let reception = seats[1].viewer.reception();
        (reception.bytes, reception.frames)
    };
    watch_until(&mut seats, "more pictures", have_frames(frames + 60));
    let received = seats[1].viewer.reception().bytes - bytes;
    assert!(
        received < 60 * 2_000_000 / 8 / 30 / 2,
        "{received} bytes in 60 pictures"
    );
    assert_eq!(ladder.asked(Rung::Full), asked, "the full rung was left alone");
    seats.iter().for_each(assert_whole);

    assert!(block_on(ladder.engine.handle().at_most(&session, Rung::Full)));
    watch_until(&mut seats, "the full rung", |_| ladder.rung(&session) == Rung::Full);
    let frames = seats[1].viewer.reception().frames;
    watch_until(&mut seats, "more pictures", have_frames(frames + 30));
    seats.iter().for_each(assert_whole);
    let stats = ladder.engine.handle().stats().pop().unwrap();
    assert_eq!((stats.moves, stats.holds), (2, 0));
    let needs = *ladder.engine.handle().counts(&ladder.stream).follow_rungs().borrow();
    assert_eq!(needs, [2, 0, 0]);
}

#[test]
fn who_asks_for_less_begins_with_less_and_rungs_that_are_gone_are_left() {
    let ladder = Ladder::new();
    let (session, small) = ladder.join(Rung::Half);
    let mut seats = [small];
    watch_until(&mut seats, "pictures", have_frames(30));
    assert_eq!(ladder.rung(&session), Rung::Half);
    assert!(seats[0].viewer.reception().bytes < 200_000);
    // The encoder does not make it any more.
    ladder
        .engine
        .handle()
        .offer_rungs(&ladder.stream, [RATES[0], None, None]);
    watch_until(&mut seats, "the full rung", |_| ladder.rung(&session) == Rung::Full);
    let frames = seats[0].viewer.reception().frames;
    watch_until(&mut seats, "more pictures", have_frames(frames + 30));
    assert_whole(&seats[0]);
}
