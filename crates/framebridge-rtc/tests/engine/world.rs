//! An engine with an encoder of its own, and bounded waits on what its viewers see.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use framebridge_proto::StreamName;
use framebridge_rtc::{Config, Engine, Event, Handle, SessionId, StreamStats, dtls::Identity};
use framebridge_testkit::{Options, Pictures, Seat, Viewer, watch};
use tokio::sync::mpsc;

/// Long enough for a busy machine; nothing waits for it when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// An engine, an encoder that obeys it, and what it was asked for.
pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) stream: StreamName,
    pub(crate) keyframes: Arc<AtomicU64>,
    pub(crate) restart: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    encoder: Option<JoinHandle<()>>,
}

impl World {
    pub(crate) fn new(config: Config) -> Self {
        let bind = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let (engine, events) = Engine::start(Config {
            port: 0,
            bind,
            ..config
        })
        .unwrap();
        let stream: StreamName = "test".parse().unwrap();
        let (keyframes, restart, stop) = (
            Arc::<AtomicU64>::default(),
            Arc::<AtomicBool>::default(),
            Arc::<AtomicBool>::default(),
        );
        let encoder = thread::spawn({
            let (handle, stream) = (engine.handle(), stream.clone());
            let (keyframes, restart, stop) = (Arc::clone(&keyframes), Arc::clone(&restart), Arc::clone(&stop));
            move || encode(&handle, &stream, events, &keyframes, &restart, &stop)
        });
        Self {
            engine,
            stream,
            keyframes,
            restart,
            stop,
            encoder: Some(encoder),
        }
    }

    pub(crate) fn join(&self, options: Options, is_ipv4: bool) -> (SessionId, Seat) {
        let identity = Identity::generate().unwrap();
        let mut viewer = Viewer::new(identity, options, Instant::now());
        let joined = block_on(self.engine.handle().join(&self.stream, &viewer.offer())).unwrap();
        viewer.accept(&joined.answer, is_ipv4, Instant::now()).unwrap();
        (joined.session, Seat::new(viewer, is_ipv4).unwrap())
    }

    pub(crate) fn stats(&self) -> StreamStats {
        self.engine.handle().stats().pop().unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        self.encoder.take().unwrap().join().unwrap();
    }
}

/// 30 pictures a second, keyframes on demand, a new life on demand.
fn encode(
    handle: &Handle,
    stream: &StreamName,
    mut events: mpsc::Receiver<Event>,
    keyframes: &AtomicU64,
    restart: &AtomicBool,
    stop: &AtomicBool,
) {
    let start = Instant::now();
    let mut pictures = Pictures::new(2_000_000, 30);
    let mut next = start;
    while !stop.load(Relaxed) {
        let mut keyframe = false;
        while let Ok(event) = events.try_recv() {
            if let Event::KeyframeWanted { .. } = event {
                keyframes.fetch_add(1, Relaxed);
                keyframe = true;
            }
        }
        if restart.swap(false, Relaxed) {
            pictures = Pictures::new(2_000_000, 30);
            keyframe = true;
        }
        let captured = u64::try_from(start.elapsed().as_nanos()).unwrap() + 1_000_000_000;
        handle.publish(stream, pictures.next(keyframe, captured));
        next += Duration::from_micros(33_333);
        thread::park_timeout(next.saturating_duration_since(Instant::now()));
    }
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

/// Lets the seats receive until `is_done`, with a bound.
pub(crate) fn watch_until(seats: &mut [Seat], what: &str, is_done: impl Fn(&[Seat]) -> bool) {
    let start = Instant::now();
    watch(seats, |seats| {
        assert!(
            start.elapsed() < PATIENCE,
            "{what}: {:?}",
            seats.first().map(|seat| seat.viewer.reception())
        );
        is_done(seats)
    })
    .unwrap();
}

pub(crate) fn wait_until(what: &str, is_done: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_done() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

pub(crate) fn have_frames(frames: u64) -> impl Fn(&[Seat]) -> bool {
    move |seats| seats.iter().all(|seat| seat.viewer.reception().frames >= frames)
}
