//! Boxes that behave, and boxes that do not, on a real WebSocket.

mod jobs;
mod viewers;

use std::path::Path;

use framebridge_http::Patience;
use framebridge_studio_proto::{
    BoxId, BoxState, Bytes64, Capabilities, Farewell, Heartbeat, JobId, LogBatch, LogLine, PublicId, RpcChunk, RpcId,
    RpcResponse, StreamReport, limits,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Message as Text,
        protocol::{
            CloseFrame as Closed,
            frame::{
                Frame,
                coding::{Data, OpCode},
            },
        },
    },
};

use super::*;
use crate::{
    auth,
    hub::Parts,
    limits::Limits,
    nodes::Nodes,
    routes,
    store::{MOST_SHARES, Store},
    uploads::Keep,
};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(10);

/// A studio within this test, with the token `good`.
struct Studio {
    address: SocketAddr,
    hub: Arc<Hub>,
    dir: TempDir,
    _served: tokio::task::JoinSet<()>,
}

struct FakeBox(WebSocketStream<TcpStream>);

impl Studio {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Store::open(dir.path())
            .unwrap()
            .add_token("door", Kind::Box, &auth::hash("good"))
            .unwrap();
        Self::on(dir).await
    }

    async fn on(dir: TempDir) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let hub = hub(dir.path());
        let router = routes::public(Arc::clone(&hub));
        let mut served = tokio::task::JoinSet::new();
        served.spawn(framebridge_http::serve(
            listener,
            router,
            Patience::default(),
            hub.boxes.stop.clone(),
        ));
        Self {
            address,
            hub,
            dir,
            _served: served,
        }
    }

    async fn connect(&self) -> FakeBox {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let url = format!("ws://{}{}", self.address, framebridge_studio_proto::SESSION_PATH);
        FakeBox(client_async(url, stream).await.unwrap().0)
    }

    /// A box that was welcomed, and its session.
    async fn welcomed(&self) -> (FakeBox, PublicId) {
        let mut fake = self.connect().await;
        fake.send(&hello("good", 1)).await;
        let ToBox::Welcome(welcome) = fake.next().await else {
            panic!("no welcome")
        };
        (fake, welcome.session)
    }

    /// [`welcomed`](Self::welcomed), and it has said that it is ready.
    async fn ready(&self) -> (FakeBox, PublicId) {
        let (mut fake, session) = self.welcomed().await;
        fake.send(&ready()).await;
        self.until(session, "ready").await;
        (fake, session)
    }

    /// Status and body of an answer.
    async fn get(&self, path: &str) -> (u16, String) {
        self.ask("GET", path).await
    }

    async fn ask(&self, method: &str, path: &str) -> (u16, String) {
        self.send(method, path, "content-length: 0\r\n", b"").await
    }

    async fn send(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{headers}\r\n",
            self.address
        );
        stream.write_all(&[request.as_bytes(), body].concat()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    async fn until(&self, session: PublicId, state: &str) -> Value {
        let reached = async {
            loop {
                let (_, body) = self.get(&format!("/api/v1/sessions/{session}")).await;
                let seen: Value = serde_json::from_str(&body).unwrap();
                if seen["state"] == state {
                    return seen;
                }
            }
        };
        timeout(PATIENCE, reached)
            .await
            .unwrap_or_else(|_| panic!("never {state}"))
    }
}

fn hub(dir: &Path) -> Arc<Hub> {
    std::fs::create_dir_all(dir.join("uploads")).unwrap();
    Hub::load(Parts {
        store: Store::open(dir).unwrap(),
        nodes: Nodes::default(),
        limits: Limits::new(false),
        turn: None,
        public_url: "http://studio.example".into(),
        uploads: dir.join("uploads"),
        keep: Keep {
            age: Duration::from_secs(60),
            bytes: 1_000_000,
        },
        stop: CancellationToken::new(),
    })
    .unwrap()
}

impl FakeBox {
    async fn send(&mut self, frame: &ToStudio) {
        self.send_text(frame.encode()).await;
    }

    async fn send_text(&mut self, text: String) {
        self.0.send(Text::Text(text.into())).await.unwrap();
    }

    async fn next(&mut self) -> ToBox {
        loop {
            let message = timeout(PATIENCE, self.0.next()).await.unwrap().unwrap().unwrap();
            if let Text::Text(text) = message {
                return ToBox::decode(&text).unwrap();
            }
        }
    }

    /// The refusal, if one comes, and the close frame's code.
    async fn ending(&mut self) -> (Option<RefusalKind>, u16) {
        let mut refusal = None;
        loop {
            match timeout(PATIENCE, self.0.next()).await.unwrap().unwrap().unwrap() {
                Text::Text(text) => {
                    if let Ok(ToBox::Error(error)) = ToBox::decode(&text) {
                        refusal = Some(error.code);
                    }
                }
                Text::Close(Some(Closed { code, .. })) => return (refusal, code.into()),
                Text::Close(None) | Text::Binary(_) | Text::Ping(_) | Text::Pong(_) | Text::Frame(_) => {}
            }
        }
    }
}

fn hello(token: &str, instance: u128) -> ToStudio {
    ToStudio::Hello(Hello {
        version: VERSION,
        token: token.into(),
        instance: BoxId::from_bits(instance),
        build: "a test".into(),
        capabilities: Capabilities::default(),
    })
}

fn ready() -> ToStudio {
    ToStudio::Heartbeat(Heartbeat {
        state: BoxState::Ready,
        reason: None,
        streams: ["one", "two"]
            .map(|name| StreamReport {
                name: name.parse().unwrap(),
                state: "live".into(),
                verdict: "live".into(),
                viewers: 0,
            })
            .to_vec(),
        job: None,
        capabilities: Capabilities::default(),
    })
}

#[tokio::test]
async fn strangers_and_other_versions_are_sent_away_for_good() {
    let studio = Studio::start().await;
    let mut stranger = studio.connect().await;
    stranger.send(&hello("bad", 1)).await;
    assert_eq!(stranger.ending().await, (Some(RefusalKind::AuthFailed), close::REFUSED));

    let mut newer = studio.connect().await;
    newer
        .send_text(hello("good", 1).encode().replace("\"version\":1", "\"version\":7"))
        .await;
    let ToBox::Error(refusal) = newer.next().await else {
        panic!("no refusal")
    };
    assert_eq!(refusal.code, RefusalKind::Version);
    assert!(
        refusal.message.contains("version 1") && refusal.message.contains("version 7"),
        "{refusal}"
    );
}

#[tokio::test]
async fn who_comes_too_often_has_to_wait() {
    let studio = Studio::start().await;
    let (mut fake, session) = studio.welcomed().await;
    let mut statuses = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let stream = TcpStream::connect(studio.address).await.unwrap();
        let url = format!("ws://{}{}", studio.address, framebridge_studio_proto::SESSION_PATH);
        if let Err(tungstenite::Error::Http(answer)) = client_async(url, stream).await {
            assert!(answer.headers().contains_key("retry-after"), "{answer:?}");
            statuses.insert(answer.status().as_u16());
        }
    }
    assert_eq!(statuses.into_iter().collect::<Vec<_>>(), [429], "sessions");
    // Who is here already stays, and viewers that join are counted by themselves: nobody serves them here.
    fake.send(&ready()).await;
    studio.until(session, "ready").await;
    fake.0.close(None).await.unwrap();
    studio.until(session, "degraded").await;
    let joins = async || studio.ask("POST", &format!("/s/{session}/whep/one")).await.0;
    assert_eq!(joins().await, 503);
    let mut joined = 1;
    while joins().await != 429 {
        joined += 1;
        assert!(joined < 1000, "there is no limit");
    }
    assert_eq!(studio.get(&format!("/s/{session}/api/v1/streams")).await.0, 503);
}

#[tokio::test]
async fn second_box_with_the_same_instance_replaces_the_first() {
    let studio = Studio::start().await;
    let (mut first, session) = studio.welcomed().await;
    let (mut second, same) = studio.welcomed().await;
    assert_eq!(session, same);
    assert_eq!(first.ending().await, (Some(RefusalKind::Replaced), close::REFUSED));
    second.send(&ready()).await;
    studio.until(session, "ready").await;
    let mut other = studio.connect().await;
    other.send(&hello("good", 2)).await;
    let ToBox::Welcome(welcome) = other.next().await else {
        panic!("no welcome")
    };
    assert_ne!(welcome.session, session);
}

#[tokio::test]
async fn what_a_box_may_not_send_ends_its_link_with_a_reason_and_nothing_else() {
    let studio = Studio::start().await;
    let before_hello = [
        (ready().encode(), close::OUT_OF_ORDER),
        ("nonsense".into(), close::MALFORMED),
        ("{}".into(), close::MALFORMED),
    ];
    for (text, code) in before_hello {
        let mut fake = studio.connect().await;
        fake.send_text(text).await;
        assert_eq!(fake.ending().await, (None, code));
    }
    let after_welcome = [
        (hello("good", 1).encode(), close::OUT_OF_ORDER),
        (r#"{"type":"heartbeat","state":"splendid"}"#.into(), close::MALFORMED),
        (r#"{"type":"accept","job":"../../etc"}"#.into(), close::MALFORMED),
        (format!(r#"{{"type":"{}"}}"#, "x".repeat(MAX_FRAME)), close::TOO_LONG),
        // Too long to be read at all.
        ("x".repeat(3 * MAX_FRAME), close::TOO_LONG),
    ];
    for (text, code) in after_welcome {
        let (mut fake, _) = studio.welcomed().await;
        fake.send_text(text).await;
        assert_eq!(fake.ending().await, (None, code));
    }
    let (mut fake, _) = studio.welcomed().await;
    let no_text = Frame::message(vec![0xff, 0xfe], OpCode::Data(Data::Text), true);
    fake.0.send(Text::Frame(no_text)).await.unwrap();
    assert_eq!(fake.ending().await, (None, close::MALFORMED));
    // A hello of another version need not be of today's shape.
    let mut other = studio.connect().await;
    other
        .send_text(r#"{"type":"hello","version":9,"token":{"of":"another kind"}}"#.into())
        .await;
    assert_eq!(other.ending().await, (Some(RefusalKind::Version), close::REFUSED));

    let (mut fake, session) = studio.welcomed().await;
    for harmless in [
        r#"{"type":"teleport","now":true}"#.to_owned(),
        ToStudio::RpcResponse(RpcResponse {
            id: RpcId(7),
            status: 200,
            headers: vec![],
            data: Bytes64(vec![0; 10]),
            end: false,
        })
        .encode(),
        ToStudio::Complete {
            job: JobId::from_bits(9),
            result: framebridge_studio_proto::JobResult::Inline { value: Value::Null },
        }
        .encode(),
        ready().encode(),
    ] {
        fake.send_text(harmless).await;
    }
    studio.until(session, "ready").await;
}

#[tokio::test]
async fn session_says_what_is_true_over_losses_farewells_and_a_new_studio() {
    let studio = Studio::start().await;
    let (mut fake, session) = studio.welcomed().await;
    studio.until(session, "starting").await;
    fake.send(&ready()).await;
    assert_eq!(studio.until(session, "ready").await["streams"][0]["name"], "one");
    drop(fake);
    let lost = studio.until(session, "degraded").await;
    assert_eq!(lost["linked"], false);
    let (status, problem) = studio.get(&format!("/s/{session}/api/v1/streams")).await;
    assert!(status == 503 && problem.contains("link is down"), "{status} {problem}");

    let (mut fake, _) = studio.welcomed().await;
    let reason = "the supervisor is gone".to_owned();
    let ending = Farewell::Failed;
    fake.send(&ToStudio::Goodbye { ending, reason }).await;
    studio.until(session, "failed").await;

    let again = Studio::on(studio.dir).await;
    let kept = again.until(session, "failed").await;
    assert_eq!(kept["reason"], "the supervisor is gone");
}

fn writes(studio: &Studio) -> u64 {
    studio.hub.store.written().unwrap()
}

#[tokio::test]
async fn what_a_box_floods_its_studio_with_is_cut_kept_once_a_second_and_read_no_faster_than_it_may_talk() {
    // As many as may come at once, and one second's more.
    const HEARTBEATS: u64 = 550;
    let studio = Studio::start().await;
    let (mut fake, session) = studio.welcomed().await;
    let line = LogLine {
        at_ms: 1,
        level: "information".into(),
        text: format!("\u{1b}[31m{}", "A".repeat(200_000)),
    };
    let lines = vec![line];
    fake.send(&ToStudio::LogBatch(LogBatch { lost: 0, lines })).await;
    let (before, begun) = (writes(&studio), std::time::Instant::now());
    for number in 0..HEARTBEATS {
        let ToStudio::Heartbeat(mut heartbeat) = ready() else {
            panic!("no heartbeat")
        };
        heartbeat.state = BoxState::Degraded;
        heartbeat.reason = Some(format!("{number} {}", "R".repeat(2000)));
        fake.send(&ToStudio::Heartbeat(heartbeat)).await;
    }
    for _ in 0..HEARTBEATS {
        assert_eq!(fake.next().await, ToBox::HeartbeatAck);
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(900), "{took:?}");
    let written = writes(&studio) - before;
    assert!(written <= 3 + took.as_secs(), "{written} in {took:?}");
    let seen = studio.until(session, "degraded").await;
    let reason = seen["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("549 R") && reason.len() <= limits::MAX_REASON,
        "{reason}"
    );
    let (lines, _) = studio.hub.boxes.get(session).unwrap().lines(0);
    assert!(lines[0].text.starts_with(" [31mA"), "{}", lines[0].text);
    assert_eq!(
        (lines[0].text.capacity(), lines[0].level.as_str()),
        (limits::MAX_LOG_LINE, "informat")
    );
    // What is true in the end is what is kept.
    let kept = async {
        loop {
            let rows = studio.hub.store.sessions().unwrap();
            if rows.iter().any(|row| row.reason.as_deref() == Some(reason)) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, kept).await.unwrap();
}
