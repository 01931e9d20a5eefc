//! The whole bridge between a scripted studio and a scripted server of the box.

use std::{collections::BTreeMap, net::SocketAddr};

use framebridge_config::Input;
use framebridge_daemon::{Args, Exit};
use framebridge_ipc::BridgeClient;
use framebridge_studio_proto::{
    Access, BoxState, Bytes64, Frame as _, PublicId, Refusal as Sent, Rejection, RpcId, RpcRequest,
};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_tungstenite::{WebSocketStream, accept_async, tungstenite::Message};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// A studio that does what its test says.
struct FakeStudio {
    listener: TcpListener,
}

struct Session(WebSocketStream<TcpStream>);

/// A bridge within this test.
struct Bridge {
    running: JoinSet<anyhow::Result<()>>,
    stop: CancellationToken,
    dir: tempfile::TempDir,
}

impl FakeStudio {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        Self { listener }
    }

    /// A bridge that is to come here, for a box whose server is at `server`.
    fn bridge(&self, server: SocketAddr) -> Bridge {
        let url = format!("http://{}", self.listener.local_addr().unwrap());
        let text = format!(
            "[http]\nlisten = \"{server}\"\n[studio]\nurl = {url:?}\ntoken = \"t\"\nbackoff_ms = 50\nbackoff_cap_ms = 100\n"
        );
        let input = Input {
            file: "test",
            text: &text,
            env: BTreeMap::new(),
            streams: &[],
        };
        let dir = tempfile::tempdir().unwrap();
        let stop = CancellationToken::new();
        let context = Context {
            settings: Settings::parse(&input).unwrap(),
            args: Args::default(),
            dir: RuntimeDir::at(dir.path()),
            stop: stop.clone(),
            tasks: Tasks::new(stop.clone()),
        };
        let mut running = JoinSet::new();
        running.spawn(run(context, log_tap(), None));
        Bridge { running, stop, dir }
    }

    /// The next session, and its hello.
    async fn accept(&self) -> (Session, framebridge_studio_proto::Hello) {
        let (stream, _) = timeout(PATIENCE, self.listener.accept()).await.unwrap().unwrap();
        let mut session = Session(accept_async(stream).await.unwrap());
        let ToStudio::Hello(hello) = session.next().await else {
            panic!("no hello")
        };
        (session, hello)
    }

    async fn welcomed(&self) -> Session {
        let (mut session, _) = self.accept().await;
        session
            .send(&ToBox::Welcome(Welcome {
                version: 1,
                session: PublicId::from_bits(1),
                url: "http://studio.example/s/1".into(),
                heartbeat_ms: 200,
                ice_servers: vec![],
                seen_as: None,
            }))
            .await;
        session
    }
}

impl Session {
    async fn send(&mut self, frame: &ToBox) {
        self.send_text(frame.encode()).await;
    }

    async fn send_text(&mut self, text: String) {
        self.0.send(Message::Text(text.into())).await.unwrap();
    }

    async fn next(&mut self) -> ToStudio {
        loop {
            let message = timeout(PATIENCE, self.0.next()).await.unwrap().unwrap().unwrap();
            if let Message::Text(text) = message {
                return ToStudio::decode(&text).unwrap();
            }
        }
    }

    /// The first frame that `wanted` makes something of.
    async fn until<T>(&mut self, wanted: impl Fn(&ToStudio) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(&self.next().await) {
                return found;
            }
        }
    }

    /// Asks for a path, and gives back the answer's status and body.
    async fn ask(&mut self, id: u64, method: &str, path: &str) -> (u16, String) {
        self.send(&ToBox::RpcRequest(RpcRequest {
            id: RpcId(id),
            method: method.into(),
            path: path.into(),
            headers: vec![("accept".into(), "*/*".into()), ("cookie".into(), "secret".into())],
            access: Access::default(),
            data: Bytes64::default(),
            end: true,
        }))
        .await;
        let (mut status, mut body) = (0, Vec::new());
        loop {
            let frame = self.next().await;
            let end = if let ToStudio::RpcResponse(response) = &frame
                && response.id == RpcId(id)
            {
                status = response.status;
                body.extend_from_slice(&response.data.0);
                response.end
            } else if let ToStudio::RpcChunk(chunk) = &frame {
                body.extend_from_slice(&chunk.data.0);
                chunk.end
            } else {
                false
            };
            if end {
                return (status, String::from_utf8(body).unwrap());
            }
        }
    }

    async fn offer(&mut self, job: JobId, kind: JobKind) {
        let deadline_ms = 10_000;
        self.send(&ToBox::Offer { job, kind, deadline_ms }).await;
    }
}

impl Bridge {
    async fn ended(mut self) -> anyhow::Result<()> {
        timeout(PATIENCE, self.running.join_next())
            .await
            .unwrap()
            .unwrap()
            .unwrap()
    }
}

/// A server of a box that answers everything with what it was asked, and remembers that.
struct FakeServer {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

impl FakeServer {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.unwrap_or(0) > 0 {}
                let head = String::from_utf8(head).unwrap();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nconnection: close\r\nlocation: /x\r\ncontent-length: {}\r\n\r\n{head}",
                    head.len()
                );
                kept.lock().unwrap().push(head);
                // A bridge that hung up does not care.
                _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self {
            address,
            asked,
            _serving: serving,
        }
    }

    /// What was asked, the bridge's own probes left out.
    fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        let lines = asked.iter().filter_map(|head| head.lines().next());
        lines
            .filter(|line| !line.contains("/api/v1/health "))
            .map(str::to_owned)
            .collect()
    }
}

#[tokio::test]
async fn requests_reach_the_server_without_what_must_not_travel() {
    let (studio, server) = (FakeStudio::start().await, FakeServer::start().await);
    let bridge = studio.bridge(server.address);
    let mut session = studio.welcomed().await;
    let (status, echo) = session.ask(1, "GET", "/api/v1/streams?x=1").await;
    assert_eq!(status, 200);
    assert!(echo.starts_with("GET /api/v1/streams?x=1 HTTP/1.1"), "{echo}");
    assert!(echo.contains("accept: */*") && !echo.contains("secret"), "{echo}");
    bridge.stop.cancel();
    let goodbye = session.until(|frame| {
        matches!(
            frame,
            ToStudio::Goodbye {
                ending: Farewell::Expired,
                ..
            }
        )
        .then_some(())
    });
    goodbye.await;
    bridge.ended().await.unwrap();
}

/// Takes the next connection that is not the bridge's own probe, and begins an answer of unknown length on it.
async fn begin_answer(server: &TcpListener) -> TcpStream {
    loop {
        let (mut stream, _) = timeout(PATIENCE, server.accept()).await.unwrap().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.unwrap_or(0) > 0 {}
        let probe = head.starts_with(b"GET /api/v1/health ");
        let answer: &[u8] = if probe {
            b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        } else {
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n4\r\none\n\r\n"
        };
        stream.write_all(answer).await.unwrap();
        if !probe {
            return stream;
        }
    }
}

#[tokio::test]
async fn streamed_answer_is_passed_on_as_it_comes_and_ends_only_where_it_ends() {
    let (studio, server) = (
        FakeStudio::start().await,
        TcpListener::bind(("127.0.0.1", 0)).await.unwrap(),
    );
    let _bridge = studio.bridge(server.local_addr().unwrap());
    let mut session = studio.welcomed().await;
    let part = |frame: &ToStudio| {
        let ToStudio::RpcChunk(chunk) = frame else { return None };
        Some((chunk.id.0, chunk.data.0.clone(), chunk.end))
    };
    let ask = |id| RpcRequest {
        id: RpcId(id),
        method: "GET".into(),
        path: "/api/v1/streams".into(),
        headers: vec![],
        access: Access::default(),
        data: Bytes64::default(),
        end: true,
    };
    for (id, goes_on) in [(1, false), (2, true)] {
        session.send(&ToBox::RpcRequest(ask(id))).await;
        let mut stream = begin_answer(&server).await;
        assert_eq!(session.until(part).await, (id, b"one\n".to_vec(), false));
        if goes_on {
            // Nobody waits for it any more: the server hears so. The one before, which broke off, never came to an end.
            session.send(&ToBox::RpcCancel { id: RpcId(id) }).await;
            assert_eq!(timeout(PATIENCE, stream.read(&mut [0])).await.unwrap().unwrap(), 0);
        }
    }
}

#[tokio::test]
async fn what_a_studio_may_not_ask_never_reaches_the_server_and_garbage_costs_the_link_only() {
    let (studio, server) = (FakeStudio::start().await, FakeServer::start().await);
    let _bridge = studio.bridge(server.address);
    let mut session = studio.welcomed().await;
    let asked = [
        ("GET", "/api/v1/config", 404),
        ("GET", "/page/../metrics", 404),
        ("POST", "/api/v1/debug/stall-encoder", 404),
        ("GET", "/x\r\nhost: evil", 404),
        ("GET", "http://127.0.0.1:1/", 404),
        ("PUT", "/api/v1/streams/test/quality", 403),
    ];
    for (id, (method, path, expected)) in (1..).zip(asked) {
        assert_eq!(session.ask(id, method, path).await.0, expected, "{method} {path}");
    }
    session.send_text(r#"{"type":"teleport"}"#.into()).await;
    session.send(&ToBox::RpcCancel { id: RpcId(99) }).await;
    let unknown = JobId::from_bits(1);
    session
        .offer(
            unknown,
            JobKind::Snapshot {
                stream: "none".parse().unwrap(),
                png: false,
            },
        )
        .await;
    let rejected = |frame: &ToStudio| {
        matches!(frame, ToStudio::Reject { job, why: Rejection::Unsupported } if *job == unknown).then_some(())
    };
    session.until(rejected).await;
    for garbage in [
        "nonsense".to_owned(),
        "{}".to_owned(),
        format!("\"{}\"", "x".repeat(limits::MAX_FRAME)),
    ] {
        session.send_text(garbage).await;
        session = studio.welcomed().await;
    }
    assert_eq!(session.ask(100, "GET", "/metrics").await.0, 200);
    assert_eq!(server.asked(), ["GET /metrics HTTP/1.1"]);
}

#[tokio::test]
async fn box_without_a_server_never_says_ready_and_its_viewers_are_told() {
    let studio = FakeStudio::start().await;
    let nobody = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    let _bridge = studio.bridge(nobody);
    let mut session = studio.welcomed().await;
    let (status, problem) = session.ask(1, "GET", "/metrics").await;
    assert!(
        status == 502 && problem.contains("box_server_down"),
        "{status} {problem}"
    );
    for _ in 0..3 {
        let state = |frame: &ToStudio| {
            if let ToStudio::Heartbeat(beat) = frame {
                Some(beat.state)
            } else {
                None
            }
        };
        assert_eq!(session.until(state).await, BoxState::Starting);
    }
}

#[tokio::test]
async fn refusals_end_it_with_codes_that_nothing_restarts() {
    for (code, exit) in [
        (StudioRefusal::AuthFailed, Exit::Refused),
        (StudioRefusal::Replaced, Exit::Refused),
        (StudioRefusal::Version, Exit::Protocol),
    ] {
        let (studio, server) = (FakeStudio::start().await, FakeServer::start().await);
        let bridge = studio.bridge(server.address);
        let (mut session, _) = studio.accept().await;
        let message = "because".to_owned();
        session.send(&ToBox::Error(Sent { code, message })).await;
        let error = bridge.ended().await.unwrap_err();
        assert_eq!(Exit::of(&error), exit);
        assert!(format!("{error:#}").contains("because"), "{error:#}");
    }
}

#[tokio::test]
async fn result_outlives_the_link_and_arrives_until_it_is_acknowledged() {
    let (studio, server) = (FakeStudio::start().await, FakeServer::start().await);
    let _bridge = studio.bridge(server.address);
    let job = JobId::from_bits(7);
    let mut session = studio.welcomed().await;
    let completed =
        |frame: &ToStudio| matches!(frame, ToStudio::Complete { job: done, .. } if *done == job).then_some(());
    session.offer(job, JobKind::Diagnose).await;
    session.until(completed).await;
    drop(session);
    let mut session = studio.welcomed().await;
    session.until(completed).await;
    session.send(&ToBox::CompleteAck { job }).await;
    session
        .until(|frame| matches!(frame, ToStudio::ReadyForMore).then_some(()))
        .await;
    drop(session);
    let mut session = studio.welcomed().await;
    loop {
        let frame = session.next().await;
        assert!(completed(&frame).is_none(), "delivered again after it was acknowledged");
        if frame == ToStudio::ReadyForMore {
            break;
        }
    }
}

#[tokio::test]
async fn operators_share_pause_and_reconnect() {
    let (studio, server) = (FakeStudio::start().await, FakeServer::start().await);
    let bridge = studio.bridge(server.address);
    let mut session = studio.welcomed().await;
    session
        .until(|frame| matches!(frame, ToStudio::Heartbeat(_)).then_some(()))
        .await;
    let dir = RuntimeDir::at(bridge.dir.path());
    let mut operator = BridgeClient::connect(&dir, &Identity::new(Role::Operator))
        .await
        .unwrap();
    let wanted = BridgeRequest::Share {
        stream: None,
        control: true,
        expires_s: Some(60),
    };
    let sharing = operator.request(wanted);
    let answering = async {
        let request = session
            .until(|frame| {
                if let ToStudio::Share {
                    request, control: true, ..
                } = frame
                {
                    Some(*request)
                } else {
                    None
                }
            })
            .await;
        let (share, url) = (PublicId::from_bits(2), "http://studio.example/s/2".to_owned());
        session.send(&ToBox::Shared { request, share, url }).await;
    };
    let (shared, ()) = tokio::join!(sharing, answering);
    assert!(matches!(shared.unwrap(), BridgeAnswer::Shared { url } if url.ends_with("/s/2")));

    operator.request(BridgeRequest::Pause).await.unwrap();
    session.offer(JobId::from_bits(3), JobKind::Diagnose).await;
    session
        .until(|frame| {
            matches!(
                frame,
                ToStudio::Reject {
                    why: Rejection::Paused,
                    ..
                }
            )
            .then_some(())
        })
        .await;
    let jobs = operator.request(BridgeRequest::Jobs).await.unwrap();
    assert_eq!(
        jobs,
        BridgeAnswer::Jobs {
            paused: true,
            jobs: vec![]
        }
    );

    let hello = operator.request(BridgeRequest::Reconnect);
    let (_, (_, again)) = tokio::join!(hello, studio.accept());
    assert_eq!(again.token, "t");
}
