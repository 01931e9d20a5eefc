//! The whole bridge between a scripted studio and a scripted server of the box.

mod jobs;
mod requests;
mod shares;

use std::{collections::BTreeMap, net::SocketAddr};

use framebridge_config::Input;
use framebridge_daemon::{Args, Exit};
use framebridge_ipc::BridgeClient;
use framebridge_proto::bridge::BridgeRequest;
use framebridge_studio_proto::{
    Access, BoxState, Bytes64, Frame as _, JobId, JobKind, JobResult, PublicId, Refusal as Sent, Rejection, RpcId,
    ToStudio,
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
use crate::jobs::Made;

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
        self.bridge_with(server, |context, kind| Box::pin(crate::jobs::run(context, kind)))
    }

    /// A bridge whose jobs are done so.
    fn bridge_with(&self, server: SocketAddr, worker: Worker) -> Bridge {
        self.bridge_that(r#"["view", "jobs"]"#, server, worker)
    }

    /// A bridge that allows its studio these.
    fn bridge_that(&self, allows: &str, server: SocketAddr, worker: Worker) -> Bridge {
        self.bridge_in(tempfile::tempdir().unwrap(), allows, server, worker)
    }

    /// A bridge with this runtime directory.
    fn bridge_in(&self, dir: tempfile::TempDir, allows: &str, server: SocketAddr, worker: Worker) -> Bridge {
        let url = format!("http://{}", self.listener.local_addr().unwrap());
        let text = format!(
            "[http]\nlisten = \"{server}\"\n[studio]\nurl = {url:?}\ntoken = \"t\"\nallow = {allows}\nbackoff_ms = 50\nbackoff_cap_ms = 100\n"
        );
        let input = Input {
            file: "test",
            text: &text,
            env: BTreeMap::new(),
            streams: &[],
        };
        let stop = CancellationToken::new();
        let context = Context {
            refused: None,
            settings: Settings::parse(&input).unwrap(),
            args: Args::default(),
            dir: RuntimeDir::at(dir.path()),
            stop: stop.clone(),
            tasks: Tasks::new(stop.clone()),
        };
        let mut running = JoinSet::new();
        running.spawn(run_with(context, log_tap(), None, worker));
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

    /// Takes a job's file, says what it answers, and what the request was; without an answer it hangs up.
    async fn upload(&self, answer: Option<&str>) -> String {
        let (mut stream, _) = timeout(PATIENCE, self.listener.accept()).await.unwrap().unwrap();
        let mut request = Vec::new();
        // As long as what the test's jobs make.
        while !String::from_utf8_lossy(&request).contains("\r\n\r\nfile ") || request.ends_with(b" ") {
            assert!(stream.read_buf(&mut request).await.unwrap() > 0, "it broke off");
        }
        if let Some(answer) = answer {
            let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        String::from_utf8(request).unwrap()
    }

    async fn welcomed(&self) -> Session {
        let (mut session, _) = self.accept().await;
        session.welcome().await;
        session
    }
}

impl Session {
    async fn welcome(&mut self) {
        self.send(&ToBox::Welcome(Welcome {
            version: 1,
            session: PublicId::from_bits(1),
            url: "http://studio.example/s/1".into(),
            heartbeat_ms: 200,
            ice_servers: vec![],
            seen_as: None,
        }))
        .await;
    }

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

    /// Gives this id to the next address that is asked for to change things by.
    async fn share_as(&mut self, share: PublicId) {
        let asked = |frame: &ToStudio| {
            let ToStudio::Share {
                request, control: true, ..
            } = frame
            else {
                return None;
            };
            Some(*request)
        };
        let request = self.until(asked).await;
        let url = format!("http://studio.example/s/{share}");
        self.send(&ToBox::Shared { request, share, url }).await;
    }

    /// Asks for a path, and gives back the answer's status and body.
    async fn ask(&mut self, id: u64, method: &str, path: &str) -> (u16, String) {
        self.ask_by(Access::default(), id, method, path).await
    }

    /// [`ask`](Self::ask), by an address that opens so much.
    async fn ask_by(&mut self, access: Access, id: u64, method: &str, path: &str) -> (u16, String) {
        self.send(&ToBox::RpcRequest(RpcRequest {
            id: RpcId(id),
            method: method.into(),
            path: path.into(),
            headers: vec![("accept".into(), "*/*".into()), ("cookie".into(), "secret".into())],
            access,
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
    async fn operator(&self) -> BridgeClient {
        let dir = RuntimeDir::at(self.dir.path());
        let identity = Identity::new(Role::Operator);
        BridgeClient::connect(&dir, &identity).await.unwrap()
    }

    async fn ended(mut self) -> anyhow::Result<()> {
        timeout(PATIENCE, self.running.join_next())
            .await
            .unwrap()
            .unwrap()
            .unwrap()
    }
}

/// A request's head, and whether it is the bridge's own probe.
async fn read_head(stream: &mut TcpStream) -> (String, bool) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.unwrap_or(0) > 0 {}
    let head = String::from_utf8(head).unwrap();
    let is_probe = head.starts_with("GET /api/v1/health ");
    (head, is_probe)
}

const NOTHING: &[u8] = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// A server of a box that remembers what it was asked, one request a connection.
struct FakeServer {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

impl FakeServer {
    /// Answers everything with what it was asked.
    async fn start() -> Self {
        Self::answering(|head| {
            let length = head.len();
            format!("HTTP/1.1 200 OK\r\nconnection: close\r\nlocation: /x\r\ncontent-length: {length}\r\n\r\n{head}")
        })
        .await
    }

    async fn answering(mut answer: impl FnMut(&str) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (head, _) = read_head(&mut stream).await;
                let answer = answer(&head);
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
async fn operators_share_pause_and_reconnect() {
    let (studio, server) = (FakeStudio::start().await, FakeServer::start().await);
    let bridge = studio.bridge(server.address);
    let mut session = studio.welcomed().await;
    session
        .until(|frame| matches!(frame, ToStudio::Heartbeat(_)).then_some(()))
        .await;
    let mut operator = bridge.operator().await;
    let wanted = BridgeRequest::Share {
        stream: None,
        control: true,
        expires_s: Some(60),
    };
    let (sharing, answering) = (operator.request(wanted), session.share_as(PublicId::from_bits(2)));
    let (shared, ()) = tokio::join!(sharing, answering);
    assert!(matches!(shared.unwrap(), BridgeAnswer::Shared { url } if url.starts_with("http://studio.example/s/")));

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
