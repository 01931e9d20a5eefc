//! One signaling of a test's own, and a client to talk to it.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use axum::body::Bytes;
use framebridge_config::{Input, Settings};
use framebridge_daemon::{Args, Context, Tasks};
use framebridge_ipc::{RuntimeDir, connect_http};
use http_body_util::{BodyExt as _, Full};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use signaling::App;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// Long enough for any machine, short enough to fail a hanging test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Two streams and nothing else that matters.
pub(crate) const TWO_STREAMS: &str = "[streams.test]\nsource = \"test:\"\n[streams.door]\nsource = \"test:\"\n";

#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) dir: RuntimeDir,
    pub(crate) address: SocketAddr,
    stop: CancellationToken,
    app: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

/// What a request was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Site {
    /// Starts signaling with two streams, `test` and `door`, whose encoders are the test's business.
    pub(crate) async fn start() -> Self {
        Self::with(TWO_STREAMS).await
    }

    /// Starts signaling with `configuration`, on ports that the system picks.
    pub(crate) async fn with(configuration: &str) -> Self {
        Self::launch(configuration, &[]).await
    }

    /// [`start`](Self::start), with the debug endpoints.
    pub(crate) async fn breakable() -> Self {
        Self::launch(TWO_STREAMS, &[("FRAMEBRIDGE_DEBUG_ENDPOINTS", "1")]).await
    }

    async fn launch(configuration: &str, further: &[(&str, &str)]) -> Self {
        let env = [
            ("FRAMEBRIDGE_HTTP_LISTEN", "127.0.0.1:0"),
            ("FRAMEBRIDGE_WEBRTC_PORT", "0"),
            ("FRAMEBRIDGE_WEBRTC_BIND", "127.0.0.1"),
        ];
        let settings = Settings::parse(&Input {
            file: "test.toml",
            text: configuration,
            env: env
                .iter()
                .chain(further)
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect::<BTreeMap<_, _>>(),
            streams: &[],
        });
        let folder = tempfile::tempdir().unwrap();
        let dir = RuntimeDir::at(folder.path());
        let stop = CancellationToken::new();
        let tasks = Tasks::new(stop.clone());
        let context = Context {
            refused: None,
            settings: settings.unwrap(),
            args: Args::default(),
            dir: dir.clone(),
            stop: stop.clone(),
            tasks: tasks.clone(),
        };
        let app = App::load(context).await.unwrap();
        let address = app.http_address();
        let app = tasks.spawn_graceful(async move { app.run().await.unwrap() });
        Self {
            dir,
            address,
            stop,
            app,
            _folder: folder,
        }
    }

    /// As SIGTERM does.
    pub(crate) fn terminate(&self) {
        self.stop.cancel();
    }

    /// Whether it has ended, for whatever reason.
    pub(crate) fn has_ended(&self) -> bool {
        self.app.is_finished()
    }

    /// Waits for the end.
    pub(crate) async fn ended(self) {
        timeout(PATIENCE, self.app).await.expect("it ends in time").unwrap();
    }

    /// A request with the given headers, on a connection of its own.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request = request.header(header::HOST, self.address.to_string());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let stream = TcpStream::connect(self.address).await.unwrap();
        timeout(PATIENCE, exchange(stream, request))
            .await
            .expect("an answer in time")
    }

    /// A request on the socket of this machine's own processes.
    pub(crate) async fn send_as_own(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "framebridge");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let stream = connect_http(&self.dir).await.unwrap();
        timeout(PATIENCE, exchange(stream, request))
            .await
            .expect("an answer in time")
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    /// An offer to `stream`.
    pub(crate) async fn offer(&self, stream: &str, offer: &str) -> Answer {
        self.send(
            Method::POST,
            &format!("/whep/{stream}"),
            &[("content-type", "application/sdp")],
            offer.to_owned(),
        )
        .await
    }

    /// A session of `stream`: its path and its entity tag, quotes included.
    pub(crate) async fn join(&self, stream: &str) -> (String, String) {
        let answer = self.offer(stream, crate::whep::OFFER).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        (answer.header("location").to_owned(), answer.header("etag").to_owned())
    }

    /// Waits until `GET path` gives JSON that satisfies `wanted`.
    pub(crate) async fn shows(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let watched = async {
            loop {
                let json = self.get(path).await.json();
                if wanted(&json) {
                    return json;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        match timeout(PATIENCE, watched).await {
            Ok(json) => json,
            Err(_elapsed) => panic!("{path} never showed it: {}", self.get(path).await.json()),
        }
    }
}

impl Answer {
    /// A header that has to be there.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self
            .headers
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {self:?}"));
        value.to_str().unwrap()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Checks that it is a problem (RFC 9457) of this status and code, and returns it.
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert_eq!(problem["code"], code);
        assert_eq!(problem["type"], "about:blank");
        assert_eq!(problem["title"], self.status.canonical_reason().unwrap());
        assert!(
            problem["detail"].as_str().is_some_and(|detail| detail.len() > 10),
            "{problem}"
        );
        problem
    }

    /// `Retry-After` in seconds, which has to be there.
    pub(crate) fn retry_after(&self) -> u64 {
        self.header("retry-after").parse().unwrap()
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Answer {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let exchange = async {
        let response: Response<_> = sender.send_request(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    };
    tokio::pin!(connection);
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        ended = &mut connection => {
            ended.unwrap();
            exchange.await
        }
    }
}
