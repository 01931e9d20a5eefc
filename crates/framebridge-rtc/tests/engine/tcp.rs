//! Viewers that come over HTTP's port.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use framebridge_rtc::{Config, SessionId, dtls::Identity};
use framebridge_testkit::{Options, Viewer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{PATIENCE, World};

/// A viewer that has a connection and nothing else: what it would send by UDP goes there.
struct Connected {
    viewer: Viewer,
    stream: DuplexStream,
}

const AWAY: &str = "192.0.2.7:50000";

impl Connected {
    /// Lets it send and receive until `is_done`, with a bound; it reads nothing while `is_stuck`.
    async fn watch_until(&mut self, what: &str, is_stuck: bool, is_done: impl Fn(&Viewer) -> bool) {
        let from = AWAY.parse().unwrap();
        let start = Instant::now();
        let mut received: Vec<u8> = Vec::new();
        while !is_done(&self.viewer) {
            assert!(start.elapsed() < PATIENCE, "{what}: {:?}", self.viewer.reception());
            self.viewer.tick(Instant::now());
            while let Some((_, datagram)) = self.viewer.poll_transmit() {
                let len = u16::try_from(datagram.len()).unwrap();
                let frame = [&len.to_be_bytes()[..], &datagram].concat();
                // Where the other end has gone, nothing more will come either.
                _ = self.stream.write_all(&frame).await;
            }
            if is_stuck {
                sleep(Duration::from_millis(20)).await;
                continue;
            }
            let mut buffer = [0; 4096];
            let read = timeout(Duration::from_millis(20), self.stream.read(&mut buffer)).await;
            received.extend_from_slice(&buffer[..read.map_or(0, Result::unwrap)]);
            while let Some(len) = received
                .first_chunk::<2>()
                .map(|len| usize::from(u16::from_be_bytes(*len)))
                && received.len() >= 2 + len
            {
                let mut datagram: Vec<u8> = received.drain(..2 + len).skip(2).collect();
                self.viewer.handle(&mut datagram, from, Instant::now());
            }
        }
    }
}

/// Joins and connects; `buffer`: what the connection holds on its way.
async fn connect(world: &World, tasks: &mut JoinSet<()>, buffer: usize) -> (SessionId, Connected) {
    let identity = Identity::generate().unwrap();
    let mut viewer = Viewer::new(identity, Options::default(), Instant::now());
    let handle = world.engine.handle();
    let joined = handle.join(&world.stream, &viewer.offer()).await.unwrap();
    viewer.accept(&joined.answer, true, Instant::now()).unwrap();
    let (stream, theirs) = duplex(buffer);
    tasks.spawn(async move { handle.serve_tcp(theirs, AWAY.parse().unwrap()).await });
    let session = joined.session;
    (session, Connected { viewer, stream })
}

#[tokio::test]
async fn a_viewer_that_has_tcp_alone_plays_until_it_is_told_goodbye() {
    let world = World::new(Config {
        workers: 2,
        ..Config::default()
    });
    let mut tasks = JoinSet::new();
    for _worker in 0..2 {
        let (session, mut connected) = connect(&world, &mut tasks, 64 << 10).await;
        connected
            .watch_until("pictures by TCP", false, |viewer| viewer.reception().frames >= 30)
            .await;
        let reception = connected.viewer.reception();
        assert!(reception.is_intact() && reception.lost() == 0, "{reception:?}");
        assert_eq!(world.engine.handle().sessions(), [session]);
        assert!(world.engine.handle().leave(&session).await);
        connected.watch_until("the goodbye", false, Viewer::is_closed).await;
        // With its viewer its connection ends.
        timeout(PATIENCE, tasks.join_next()).await.unwrap();
    }
}

#[tokio::test]
async fn a_viewer_by_tcp_that_falls_behind_loses_groups_and_no_time() {
    let world = World::new(Config::default());
    let mut tasks = JoinSet::new();
    let (_session, mut connected) = connect(&world, &mut tasks, 16 << 10).await;
    connected
        .watch_until("pictures", false, |viewer| viewer.reception().frames >= 30)
        .await;
    let keyframes = world.keyframes.load(Relaxed);
    let stuck_for = Instant::now() + Duration::from_secs(2);
    connected
        .watch_until("to be stuck", true, |_| Instant::now() > stuck_for)
        .await;
    let stats = world.stats();
    assert!(stats.holds >= 1, "{stats:?}");
    let frames = connected.viewer.reception().frames;
    connected
        .watch_until("it plays on", false, |viewer| viewer.reception().frames >= frames + 60)
        .await;
    let reception = connected.viewer.reception();
    assert_eq!(
        (reception.lost(), reception.forged),
        (0, 0),
        "what was held was never numbered"
    );
    assert!(world.keyframes.load(Relaxed) > keyframes, "it goes on at a keyframe");
}

#[tokio::test]
async fn strangers_by_tcp_are_let_go() {
    let world = World::new(Config::default());
    let handle = world.engine.handle();
    let serve = async |said: &[u8]| {
        let (mut stream, theirs) = duplex(4096);
        let serving = handle.serve_tcp(theirs, AWAY.parse().unwrap());
        let asking = async {
            stream.write_all(said).await.unwrap();
            let mut answered = Vec::new();
            stream.read_to_end(&mut answered).await.unwrap();
            answered
        };
        let (answered, ()) = timeout(PATIENCE, async { tokio::join!(asking, serving) })
            .await
            .unwrap();
        assert!(answered.is_empty(), "{answered:?}");
    };
    // No check, one that is none, and a frame that is too long.
    serve(b"\0\x04abcd").await;
    serve(&[&[0, 20][..], &[0; 20]].concat()).await;
    serve(&[9, 0]).await;
}
