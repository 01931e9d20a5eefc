//! Network cameras: a small RTSP server with the real FFmpeg at the other end.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use framebridge_capture::{Codec, Colours, Encoder as H264, EncoderConfig, Interrupt, Source, SourceConfig};
use framebridge_config::SourceTls;
use framebridge_proto::encoder::{SourceState, ToEncoder};
use tokio::time::timeout;

use crate::harness::{BOUND, Encoder};

const FPS: u32 = 25;

/// The size of an RTP packet's payload, below which a NAL unit goes in one piece (RFC 6184, 5.6), above in fragments
/// (5.8).
const FRAGMENT: usize = 1200;

/// A camera that serves one client after another over TCP, RFC 2326 section 10.12.
pub(crate) struct Camera {
    pub(crate) address: String,
    switches: Arc<Switches>,
    heard: Arc<Heard>,
}

/// What is done to it.
#[derive(Default)]
struct Switches {
    /// It sends nothing, with the connection left open.
    silent: AtomicBool,
    /// It is off: its connections end, and it takes none.
    off: AtomicBool,
    /// It refuses every password.
    locked: AtomicBool,
}

/// What its clients have said.
#[derive(Default)]
struct Heard {
    connections: AtomicUsize,
    goodbyes: AtomicUsize,
}

impl Camera {
    pub(crate) fn start() -> Self {
        let camera = Self {
            address: String::new(),
            switches: Arc::default(),
            heard: Arc::default(),
        };
        camera.at("127.0.0.1:0")
    }

    fn at(mut self, address: &str) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        self.address = listener.local_addr().unwrap().to_string();
        let (switches, hears) = (Arc::clone(&self.switches), Arc::clone(&self.heard));
        thread::spawn(move || {
            for client in listener.incoming() {
                if switches.off.load(Ordering::Relaxed) {
                    return;
                }
                hears.connections.fetch_add(1, Ordering::Relaxed);
                // A client that goes away ends with an error; the next one may come.
                _ = client.and_then(|client| serve(client, &switches, &hears));
            }
        });
        self
    }

    pub(crate) fn silence(&self, silent: bool) {
        self.switches.silent.store(silent, Ordering::Relaxed);
    }

    pub(crate) fn turn_off(&self) {
        self.switches.off.store(true, Ordering::Relaxed);
        // It is told by one more client.
        _ = TcpStream::connect(&self.address);
    }

    pub(crate) fn turn_on(self) -> Self {
        self.switches.off.store(false, Ordering::Relaxed);
        let address = self.address.clone();
        self.at(&address)
    }
}

fn serve(mut client: TcpStream, switches: &Switches, heard: &Arc<Heard>) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    loop {
        let mut request = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line.trim().is_empty() {
                break;
            }
            request.push(line.trim().to_owned());
        }
        let method = request[0].split(' ').next().unwrap_or_default().to_owned();
        let sequence = request
            .iter()
            .find(|line| line.starts_with("CSeq:"))
            .cloned()
            .unwrap_or_default();
        if switches.locked.load(Ordering::Relaxed) && method != "OPTIONS" {
            let asks = "WWW-Authenticate: Digest realm=\"camera\", nonce=\"1\"\r\n";
            write!(client, "RTSP/1.0 401 Unauthorized\r\n{sequence}\r\n{asks}\r\n")?;
            continue;
        }
        let (headers, body) = match method.as_str() {
            "OPTIONS" => ("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n", ""),
            "DESCRIBE" => ("Content-Type: application/sdp\r\n", DESCRIPTION),
            "SETUP" => ("Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n", ""),
            _ => ("Session: 1\r\n", ""),
        };
        let length = body.len();
        write!(
            client,
            "RTSP/1.0 200 OK\r\n{sequence}\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        )?;
        if method == "PLAY" {
            let heard = Arc::clone(heard);
            thread::spawn(move || {
                // Reports come between the requests, and are no text.
                let goodbye = reader
                    .split(b'\n')
                    .map_while(Result::ok)
                    .any(|line| line.windows(8).any(|word| word == b"TEARDOWN"));
                heard.goodbyes.fetch_add(usize::from(goodbye), Ordering::Relaxed);
            });
            return play(&mut client, switches);
        }
    }
}

const DESCRIPTION: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 96\r\nc=IN IP4 0.0.0.0\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n\
    a=framerate:25\r\na=control:track1\r\n";

/// Sends a moving picture until the client goes away.
fn play(client: &mut TcpStream, switches: &Switches) -> io::Result<()> {
    let location = format!("lavfi:testsrc2=size=320x240:rate={FPS}").parse().unwrap();
    let config = SourceConfig {
        location,
        fps: FPS,
        longest_edge: 320,
        silence_limit: Duration::from_secs(2),
        tls: SourceTls::default(),
        feed: None,
    };
    let mut source = Source::open(&config, &Interrupt::new()).unwrap();
    let config = EncoderConfig {
        size: (320, 240),
        fps: FPS,
        bitrate: 800_000,
        colours: Colours::HD,
    };
    let mut encoder = H264::open(Codec::X264, config).unwrap();
    let mut sequence = 0_u16;
    for number in 0_u32.. {
        let undue = source.read(&|| ()).unwrap();
        let picture = source.present(undue).unwrap();
        let unit = encoder.encode(&picture, number % FPS == 0).unwrap().unwrap();
        if switches.off.load(Ordering::Relaxed) {
            return Ok(());
        }
        if switches.silent.load(Ordering::Relaxed) {
            continue;
        }
        for payload in payloads(&unit.payload) {
            let mut packet = vec![0x80, 96];
            packet.extend(sequence.to_be_bytes());
            packet.extend((number * 90_000 / FPS).to_be_bytes());
            packet.extend([0, 0, 0, 7]);
            packet.extend(payload);
            sequence = sequence.wrapping_add(1);
            let length = u16::try_from(packet.len()).unwrap();
            client.write_all(&[b"$\0".as_slice(), &length.to_be_bytes(), &packet].concat())?;
        }
    }
    Ok(())
}

/// RTP payloads of one access unit. Without marker bits, which FFmpeg does without.
fn payloads(unit: &[u8]) -> Vec<Vec<u8>> {
    let starts: Vec<usize> = unit
        .windows(3)
        .enumerate()
        .filter(|(_, bytes)| *bytes == [0, 0, 1])
        .map(|(at, _)| at)
        .collect();
    let mut payloads = Vec::new();
    for (at, start) in starts.iter().enumerate() {
        let end = starts.get(at + 1).copied().unwrap_or(unit.len());
        let nal = &unit[start + 3..end];
        if nal.len() <= FRAGMENT {
            payloads.push(nal.to_vec());
            continue;
        }
        let last = nal[1..].chunks(FRAGMENT).count() - 1;
        for (place, fragment) in nal[1..].chunks(FRAGMENT).enumerate() {
            let header = u8::from(place == 0) << 7 | u8::from(place == last) << 6 | nal[0] & 0x1f;
            payloads.push([&[nal[0] & 0xe0 | 28, header], fragment].concat());
        }
    }
    payloads
}

#[tokio::test]
async fn a_network_camera_is_live_unavailable_while_it_is_silent_and_live_again() {
    let camera = Camera::start();
    let encoder = Encoder::start(
        &format!("rtsp://user:hunter2@{}/stream", camera.address),
        "stall_timeout_ms = 700\npause_timeout_ms = 700",
    );
    let mut subscriber = encoder.subscribe().await;
    let first = subscriber.frame().await;
    assert!(first.keyframe);
    let parameters = subscriber.parameters.clone().unwrap();
    assert_eq!((parameters.width, parameters.height), (320, 240));
    for _ in 0..50 {
        subscriber.frame().await;
    }
    camera.switches.silent.store(true, Ordering::Relaxed);
    let state = subscriber
        .state(|state| matches!(state, SourceState::Unavailable { .. }))
        .await;
    assert!(format!("{state:?}").contains("was silent"), "{state:?}");
    camera.switches.silent.store(false, Ordering::Relaxed);
    let after = subscriber.frame().await;
    assert!(after.keyframe && after.sequence > first.sequence);
    assert!(!encoder.log().contains("hunter2"), "{}", encoder.log());
}

#[tokio::test]
async fn a_pause_is_ridden_out_in_the_same_connection_and_the_camera_is_told_good_bye() {
    let camera = Camera::start();
    let encoder = Encoder::start(
        &format!("rtsp://{}/stream", camera.address),
        "stall_timeout_ms = 500\nlinger_ms = 0",
    );
    let mut subscriber = encoder.subscribe().await;
    for _ in 0..50 {
        subscriber.frame().await;
    }
    camera.switches.silent.store(true, Ordering::Relaxed);
    // What is repeated meanwhile ends with what is usual for the camera; then nothing comes.
    let mut last = subscriber.frame().await;
    while let Ok(frame) = timeout(Duration::from_secs(3), subscriber.frame()).await {
        last = frame;
    }
    camera.switches.silent.store(false, Ordering::Relaxed);
    let next = subscriber.frame().await;
    assert_eq!(next.sequence, last.sequence + 1);
    assert_eq!(camera.heard.connections.load(Ordering::Relaxed), 1);
    assert!(!subscriber.heard_unavailable(), "{:?}", subscriber.states);
    subscriber.send(ToEncoder::Unsubscribe).await;
    subscriber.state(|state| *state == SourceState::Idle).await;
    let told = async {
        while camera.heard.goodbyes.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(BOUND, told).await.expect("the camera is told good-bye");
}

#[tokio::test]
async fn a_camera_that_was_off_shows_as_soon_as_it_answers_again() {
    let camera = Camera::start();
    let encoder = Encoder::start(&format!("rtsp://{}/stream", camera.address), "");
    let mut subscriber = encoder.subscribe().await;
    subscriber.frame().await;
    camera.turn_off();
    let state = subscriber
        .state(|state| format!("{state:?}").contains("can't connect"))
        .await;
    assert!(format!("{state:?}").contains(&camera.address), "{state:?}");
    // Long enough for the waits to have grown.
    let is_patient =
        |state: &SourceState| matches!(state, SourceState::Unavailable { retry_in_ms, .. } if *retry_in_ms > 6_000);
    subscriber.state(is_patient).await;
    let camera = camera.turn_on();
    let answered = Instant::now();
    subscriber.frame().await;
    let took = answered.elapsed();
    assert!(took < Duration::from_secs(3), "its first picture took {took:?}");
    assert!(camera.heard.connections.load(Ordering::Relaxed) >= 2);
}

#[tokio::test]
async fn a_refused_password_is_tried_three_times_and_then_left_alone_whoever_comes() {
    let camera = Camera::start();
    camera.switches.locked.store(true, Ordering::Relaxed);
    let encoder = Encoder::start(
        &format!("rtsp://admin:wrong@{}/stream", camera.address),
        "linger_ms = 0",
    );
    let mut subscriber = encoder.subscribe().await;
    let is_left_alone =
        |state: &SourceState| matches!(state, SourceState::Unavailable { retry_in_ms, .. } if *retry_in_ms > 290_000);
    let state = subscriber.state(is_left_alone).await;
    assert!(
        format!("{state:?}").contains("refuses the user or the password"),
        "{state:?}"
    );
    subscriber.send(ToEncoder::Unsubscribe).await;
    subscriber
        .state(|state| matches!(state, SourceState::UnavailableIdle { .. }))
        .await;
    subscriber.send(ToEncoder::Subscribe).await;
    let is_left_alone =
        |state: &SourceState| matches!(state, SourceState::Unavailable { retry_in_ms, .. } if *retry_in_ms > 280_000);
    subscriber.state(is_left_alone).await;
    assert_eq!(camera.heard.connections.load(Ordering::Relaxed), 3);
    assert!(!encoder.log().contains("wrong"), "{}", encoder.log());
}
