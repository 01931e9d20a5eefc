//! The sockets between the processes, under peers that misbehave.

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use framebridge_proto::{PROTOCOL_VERSION, Role};
use framebridge_tests::{subscriber::Subscriber, system::System, wait::PATIENCE};
use tokio::time::Instant;

/// Eight seconds of pictures: a subscriber's queue and its socket's buffer fill up many times over.
const FRAMES: u32 = 240;

/// A hello that is refused closes its connection at once: one that is open after so long was taken.
const STAY: Duration = Duration::from_millis(300);

/// A stuck subscriber that slows another shows as half the rate, or none; a busy machine as somewhat less.
const LEAST_OF_RATE: f64 = 0.75;

#[tokio::test]
async fn subscriber_that_stops_reading_costs_another_not_one_frame() {
    let system = System::start(&[("test", "test:")]).unwrap();
    let mut reading = Subscriber::of(&system, "test").await.unwrap();
    let alone = rate_without_a_gap(&mut reading).await;
    let mut stuck = Subscriber::of(&system, "test").await.unwrap();
    stuck.next().await.unwrap();
    let beside = rate_without_a_gap(&mut reading).await;
    assert!(
        beside >= LEAST_OF_RATE * alone,
        "{beside:.1} frames a second beside a stuck subscriber, {alone:.1} alone"
    );
    assert!(stuck.until_lost().await.unwrap() > 0);
}

/// Frames a second, every one of which has come.
async fn rate_without_a_gap(subscriber: &mut Subscriber) -> f64 {
    let mut last = subscriber.next().await.unwrap().sequence;
    let started = Instant::now();
    for _frame in 0..FRAMES {
        let sequence = subscriber.next().await.unwrap().sequence;
        assert_eq!(sequence, last + 1, "a frame was left out for the subscriber that reads");
        last = sequence;
    }
    f64::from(FRAMES) / started.elapsed().as_secs_f64()
}

#[tokio::test]
async fn hostile_bytes_close_one_connection_and_nothing_else() {
    let system = System::start(&[("test", "test:")]).unwrap();
    let pids = ["supervisor", "encoder-test", "signaling", "bridge"].map(|name| system.pid(name).unwrap());
    // Signaling's own HTTP speaks no handshake, but is attacked like the others.
    let greeting = |socket: &PathBuf| !socket.ends_with("http.sock");
    for socket in sockets(&system.runtime_dir()).into_iter().filter(greeting) {
        let (good, mut spoilt) = (hello(), hello());
        spoilt[0] ^= 1;
        assert!(
            stays_open(&socket, &good, STAY),
            "{} refused our hello",
            socket.display()
        );
        assert!(
            !stays_open(&socket, &spoilt, PATIENCE),
            "{} takes any hello",
            socket.display()
        );
    }
    let mut reading = Subscriber::of(&system, "test").await.unwrap();
    let mut last = reading.next().await.unwrap().sequence;
    let mut random = Random(0x5eed);
    for socket in sockets(&system.runtime_dir()) {
        for _attack in 0..100 {
            // Refused half-way through is as good as refused at the end.
            _ = attack(&socket, &mut random);
            let sequence = reading.next().await.unwrap().sequence;
            assert_eq!(
                sequence,
                last + 1,
                "a frame was lost while {} was attacked",
                socket.display()
            );
            last = sequence;
        }
    }
    let now = ["supervisor", "encoder-test", "signaling", "bridge"].map(|name| system.pid(name).unwrap());
    assert_eq!(now, pids, "a process was restarted");
}

fn sockets(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut sockets: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "sock"))
        .collect();
    sockets.sort();
    sockets
}

/// Whether a connection that begins with `hello` is open still after a time.
fn stays_open(socket: &Path, hello: &[u8], time: Duration) -> bool {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(time)).unwrap();
    stream.write_all(hello).unwrap();
    let mut theirs = vec![0; hello.len()];
    stream.read_exact(&mut theirs).unwrap();
    match stream.read(&mut [0]) {
        Ok(0) => false,
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

/// One connection that says something it should not, and goes.
fn attack(socket: &Path, random: &mut Random) -> std::io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    match random.below(6) {
        0 => stream.write_all(&random.bytes(68)),
        1 => stream.write_all(&hello()[..random.below(68)]),
        2 => stream.write_all(&[hello().as_slice(), &u32::MAX.to_be_bytes(), &random.bytes(64)].concat()),
        3 => stream.write_all(&[hello().as_slice(), &64_u32.to_be_bytes(), &random.bytes(64)].concat()),
        // Announces a message and goes before it is whole.
        4 => stream.write_all(&[hello().as_slice(), &64_u32.to_be_bytes(), &random.bytes(20)].concat()),
        _ => stream.write_all(&[hello().as_slice(), &random.bytes(4096)].concat()),
    }
}

/// A well-formed handshake, laid out as `docs/protocol.md` has it.
fn hello() -> Vec<u8> {
    let version = PROTOCOL_VERSION.to_be_bytes();
    let role = [Role::Operator as u8, 0, 0, 0];
    [
        b"FRMBRIDG".as_slice(),
        &version,
        &version,
        &role,
        &std::process::id().to_be_bytes(),
        &[7; 16],
        &[0; 32],
    ]
    .concat()
}

/// xorshift64: the same attacks in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 32).unwrap_or(0) % bound
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_be_bytes()[3]).collect()
    }
}
