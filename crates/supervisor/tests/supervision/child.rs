//! A process that a test supervises. It is this test binary over again: a script in place of the real daemon starts it
//! with `FAKE_ROLE` and runs the one test below, which plays the part written in `$FAKE_PARTS/ROLE`.

use std::{
    env, fs,
    future::pending,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process,
    time::Instant,
};

use framebridge_config::{Settings, Stream};
use framebridge_daemon::{heartbeats, last_words};
use framebridge_ipc::{Identity, Listener, RuntimeDir};
use framebridge_proto::{
    Role,
    encoder::{FromEncoder, SourceState, ToEncoder},
    status::BridgeState,
    supervisor::{
        BridgeProgress, Counter, Datagrams, EncoderProgress, Progress, SignalingProgress, SourcePace, StreamFlow,
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

/// Pictures a second in an encoder that is well.
const RATE: u64 = 30;

#[test]
fn plays_its_part() {
    let Ok(role) = env::var("FAKE_ROLE") else { return };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(play(&role));
}

async fn play(role: &str) {
    let parts = PathBuf::from(env::var_os("FAKE_PARTS").expect("set by the bench"));
    let part = fs::read_to_string(parts.join(role)).expect("a part");
    fs::write(parts.join(format!("{role}.read")), "").expect("writable");
    let dir = RuntimeDir::resolve();
    match part.split_once(' ').unwrap_or((&part, "")) {
        ("exit", rest) => exit(&dir, rest),
        ("resign", rest) => {
            let mut asked = signal(SignalKind::user_defined1()).expect("a handler");
            tokio::select! {
                () = live(role, &part, dir.clone()) => {}
                _ = asked.recv() => exit(&dir, rest),
            }
        }
        ("eat", _) => eat(),
        ("deaf", _) => {
            // Taking the signal and doing nothing is ignoring it.
            let deaf = signal(SignalKind::terminate()).expect("a handler");
            tokio::join!(live(role, &part, dir), async { drop((deaf, pending::<()>().await)) });
        }
        _ => live(role, &part, dir).await,
    }
}

/// Ends with the code and the words that are written down.
fn exit(dir: &RuntimeDir, how: &str) -> ! {
    let (code, words) = how.split_once(' ').unwrap_or((how, ""));
    let code: u8 = code.parse().expect("a code");
    last_words::leave(dir, code, words);
    #[expect(clippy::exit, reason = "that is its part")]
    process::exit(code.into());
}

/// Takes memory until the kernel ends it.
fn eat() -> ! {
    let mut eaten = Vec::new();
    loop {
        eaten.push(vec![1_u8; 1 << 20]);
    }
}

async fn live(role: &str, part: &str, dir: RuntimeDir) {
    let since = Instant::now();
    // As every daemon does.
    let _hangups = signal(SignalKind::hangup()).expect("a handler");
    match role {
        "encoder" => {
            let stream = env::var("FAKE_STREAM").expect("set by the script");
            let mut streams = settings().streams.into_iter();
            let stream = streams.find(|known| known.name.as_str() == stream).expect("its stream");
            let part = part.to_owned();
            let (path, identity) = (
                dir.socket(Role::Encoder, Some(&stream.name)),
                Identity::new(Role::Encoder),
            );
            let _socket = Listener::<ToEncoder, FromEncoder>::bind(&path, &identity)
                .await
                .expect("bound");
            heartbeats(dir, identity, move || {
                if part == "chatty" {
                    // As a log line is written: where nobody reads, it fails, and that is all.
                    _ = io::stderr().write_all(b"[encoder-test] a line\n");
                }
                Progress::Encoder(encoder(&stream, &part, since.elapsed().as_secs()))
            })
            .await;
        }
        "signaling" => {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let http = listener.local_addr().expect("bound").to_string();
            let published = match part {
                "still" => Some(flowing as fn(u64) -> Counter),
                "severed" => Some((|_| Counter::default()) as _),
                _ => None,
            };
            let report = move || {
                let flow = published.map(|published| StreamFlow {
                    stream: "test".parse().expect("a name"),
                    viewers: 1,
                    live: 1,
                    frames_published: published(since.elapsed().as_secs()),
                    frames_sent: Counter::default(),
                    pushes: Vec::new(),
                });
                Progress::Signaling(SignalingProgress {
                    http: http.clone(),
                    rtp: Counter::default(),
                    datagrams: Datagrams::default(),
                    streams: flow.into_iter().collect(),
                    certificate: None,
                })
            };
            tokio::select! {
                () = heartbeats(dir, Identity::new(Role::Signaling), report) => {}
                () = serve(listener, part == "mute") => {}
            }
        }
        _ => {
            let report = || {
                Progress::Bridge(BridgeProgress {
                    state: BridgeState::Disabled,
                    reason: None,
                })
            };
            heartbeats(dir, Identity::new(Role::Bridge), report).await;
        }
    }
}

fn flowing(seconds: u64) -> Counter {
    Counter {
        count: seconds * RATE,
        age_ms: Some(0),
    }
}

/// What the supervisor has written for this process.
fn settings() -> Settings {
    let flags = env::var("FAKE_FLAGS").expect("set by the script");
    let (_, path) = flags.split_once("--settings ").expect("a file of settings");
    Settings::handed(Path::new(path)).expect("settings that make sense")
}

/// What an encoder has done after `seconds` of life.
fn encoder(configured: &Stream, part: &str, seconds: u64) -> EncoderProgress {
    let flowing = flowing(seconds);
    let state = match part {
        // It is tried again each other second.
        "unavailable" if seconds % 2 == 1 => SourceState::Opening,
        "unavailable" => SourceState::Unavailable {
            reason: "no such device".into(),
            retry_in_ms: 1_000,
        },
        _ if configured.source.slate().is_some() => SourceState::Slate {
            reason: "it is told to".into(),
            retry_in_ms: 1_000,
        },
        _ => SourceState::Live,
    };
    EncoderProgress {
        stream: configured.name.clone(),
        source: configured.source.to_string(),
        state,
        encoder: "libx264".into(),
        encoder_reason: String::new(),
        quality: configured.quality,
        width: 1280,
        height: 720,
        captured: flowing,
        encoded: if part == "wedged" {
            Counter {
                count: 1,
                age_ms: Some(0),
            }
        } else {
            flowing
        },
        delivered: if part == "wedged" { Counter::default() } else { flowing },
        lost: 0,
        subscribers: 1,
        pace: SourcePace::default(),
        rungs: Vec::new(),
        sent_on: None,
        load: None,
    }
}

/// HTTP that answers, or takes connections and says nothing.
async fn serve(listener: TcpListener, mute: bool) {
    let mut held = Vec::new();
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            return;
        };
        if mute {
            held.push(stream);
            continue;
        }
        let mut request = [0; 1024];
        // A client that goes away is its own business.
        _ = stream.read(&mut request).await;
        _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .await;
    }
}
