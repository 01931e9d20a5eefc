//! Passes requests of the public address on to the box's own server.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use framebridge_ipc::{RuntimeDir, connect_http, has_http_socket};
use framebridge_proto::bridge::{ACCESS, SEEN_AS};
use framebridge_studio_proto::{
    Bytes64, Header, RESPONSE_HEADERS, RpcChunk, RpcId, RpcRequest, RpcResponse, ToStudio, is_endless,
    limits::{LOCAL_TIMEOUT, MAX_CHUNK, MAX_RESPONSE_BODY, RPC_FILMS, RPC_IN_FLIGHT, RPC_STREAMS},
};
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, Response, StatusCode, Uri, body::Incoming};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{
    net::UnixStream,
    sync::{Semaphore, SemaphorePermit, mpsc},
    time::timeout,
};
use tower_service::Service;

/// Idle connections to the box's own server that are kept.
const MOST_IDLE: usize = RPC_IN_FLIGHT;

/// The box's own server may close an idle connection after 10 s; ours go before that.
const IDLE: Duration = Duration::from_secs(5);

/// What stands before a stream's name in the path of a viewer's session.
pub(crate) const WHEP: &str = "/whep/";

/// Likewise in that of a line to steer by, and what stands behind the name there; and behind that of a film.
const STREAMS: &str = "/api/v1/streams/";
const CONTROL: &str = "control";
const FILM: &str = "/live.mp4";

/// How long the box's own server may take to answer about a session. A viewer whose address has ended may stay for twice as long.
const SESSION_TIMEOUT: Duration = Duration::from_secs(1);

/// Whether what is made at a path lasts, and ends with the address that it came by: a session, or a line to steer by.
pub(crate) fn lasts(path: &str) -> bool {
    path.starts_with(WHEP) || path.strip_prefix(STREAMS).is_some_and(is_of_control)
}

/// Whether it is about steering, without what stands before the stream's name.
fn is_of_control(rest: &str) -> bool {
    rest.split('/').nth(1) == Some(CONTROL)
}

/// Whether a film is asked for, which may be waited for as long as a camera takes to open.
fn asks_for_film(path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    path.starts_with(STREAMS) && path.ends_with(FILM)
}

/// Asks the box's own server. Clones share all of it.
#[derive(Debug, Clone)]
pub(crate) struct Proxy(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// To the socket that is for this machine's own processes: only there it counts for whom we ask.
    own: Client<OwnSocket, Full<Bytes>>,
    /// To where everybody asks, for a server that has no such socket.
    client: Client<HttpConnector, Full<Bytes>>,
    dir: RuntimeDir,
    /// Where the box's own server is, once it is known.
    target: Mutex<Option<SocketAddr>>,
    /// As which address the studio sees the box.
    seen_as: Mutex<Option<Ipv4Addr>>,
    /// Requests that are asked at once.
    places: Semaphore,
    /// Endless answers that are carried at once: event streams and films.
    streams: Semaphore,
    films: Semaphore,
}

/// An answer of the bridge itself, where the box's server gives none.
#[derive(Debug)]
pub(crate) struct Excuse {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) detail: String,
}

/// A viewer's session at the box's own server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ViewerSession {
    /// Its path there.
    pub(crate) path: String,
    /// For whom it was begun: the server shows and ends it for them alone. A [`SharedAccess`](framebridge_proto::bridge::SharedAccess) as text.
    pub(crate) access: String,
}

/// How a viewer's session is, as far as the box's own server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// It is open.
    Open,
    /// There is none, or none any more.
    Gone,
    /// The server has not said.
    Unanswered,
}

impl Proxy {
    pub(crate) fn new(dir: RuntimeDir) -> Self {
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .pool_max_idle_per_host(MOST_IDLE)
            .pool_idle_timeout(IDLE)
            .pool_timer(hyper_util::rt::TokioTimer::new());
        Self(Arc::new(Inner {
            own: builder.build(OwnSocket(dir.clone())),
            client: builder.build_http(),
            dir,
            target: Mutex::new(None),
            seen_as: Mutex::new(None),
            places: Semaphore::new(RPC_IN_FLIGHT),
            streams: Semaphore::new(RPC_STREAMS - RPC_FILMS),
            films: Semaphore::new(RPC_FILMS),
        }))
    }

    /// Where the box's own server is.
    pub(crate) fn set_target(&self, target: SocketAddr) {
        *self.0.target.lock().unwrap_or_else(PoisonError::into_inner) = Some(target);
    }

    /// As which address the studio sees the box, from the latest welcome.
    pub(crate) fn set_seen_as(&self, address: Option<Ipv4Addr>) {
        *self.0.seen_as.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }

    /// Whether the box's own server answers; if not, why.
    pub(crate) async fn probe(&self, limit: Duration) -> Result<(), String> {
        let request = Question {
            method: Method::GET,
            path: "/api/v1/health".to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
        };
        match timeout(limit, self.once(&request)).await {
            Ok(Ok(_response)) => Ok(()),
            Ok(Err(error)) => Err(error),
            Err(_late) => Err(format!("no answer within {} ms", limit.as_millis())),
        }
    }

    async fn once(&self, question: &Question) -> Result<Response<Incoming>, String> {
        let target = *self.0.target.lock().unwrap_or_else(PoisonError::into_inner);
        let target = target.ok_or("it has not said yet where it listens")?;
        let mut request = Request::builder()
            .method(question.method.clone())
            .uri(format!("http://{target}{}", question.path));
        for (name, value) in &question.headers {
            request = request.header(name, value);
        }
        if let Some(address) = *self.0.seen_as.lock().unwrap_or_else(PoisonError::into_inner) {
            request = request.header(SEEN_AS, address.to_string());
        }
        let request = request
            .body(Full::new(question.body.clone()))
            .map_err(|error| error.to_string())?;
        let answer = if has_http_socket(&self.0.dir) {
            self.0.own.request(request)
        } else {
            self.0.client.request(request)
        };
        answer.await.map_err(|error| reason(&error))
    }

    /// Asks, and a GET that failed before its answer once more. What has not left, because a kept connection had been closed
    /// meanwhile, the client sends on another: the server has not seen it.
    async fn ask(&self, question: &Question) -> Result<Response<Incoming>, String> {
        match self.once(question).await {
            Err(why) if question.method == Method::GET => {
                tracing::debug!(why, path = question.path, "asked once more");
                self.once(question).await
            }
            outcome => outcome,
        }
    }

    /// Ends a viewer's session.
    pub(crate) async fn end(&self, session: &ViewerSession) -> Known {
        match self.ask_of(Method::DELETE, session.path.clone(), session).await {
            Some(response) if response.status().is_success() || response.status() == StatusCode::NOT_FOUND => {
                Known::Gone
            }
            Some(_) | None => Known::Unanswered,
        }
    }

    /// Whether a viewer's session is open still.
    pub(crate) async fn look(&self, session: &ViewerSession) -> Known {
        /// What is read of the server's answer.
        #[derive(Deserialize)]
        struct View {
            state: String,
        }
        let whep = session.path.strip_prefix(WHEP).and_then(|rest| rest.split_once('/'));
        let path = match whep {
            Some((stream, id)) => format!("{STREAMS}{stream}/sessions/{id}"),
            None if lasts(&session.path) => session.path.clone(),
            None => return Known::Gone,
        };
        let Some(response) = self.ask_of(Method::GET, path, session).await else {
            return Known::Unanswered;
        };
        if response.status() == StatusCode::NOT_FOUND {
            return Known::Gone;
        }
        if whep.is_none() && response.status().is_success() {
            return Known::Open;
        }
        let whole = timeout(SESSION_TIMEOUT, response.into_body().collect()).await;
        let view: Option<View> = whole
            .ok()
            .and_then(Result::ok)
            .and_then(|whole| serde_json::from_slice(&whole.to_bytes()).ok());
        match view {
            Some(View { state }) if state == "closed" => Known::Gone,
            Some(_) => Known::Open,
            None => Known::Unanswered,
        }
    }

    async fn ask_of(&self, method: Method, path: String, session: &ViewerSession) -> Option<Response<Incoming>> {
        let question = Question {
            method,
            path,
            headers: vec![(ACCESS.to_owned(), session.access.clone())],
            body: Bytes::new(),
        };
        timeout(SESSION_TIMEOUT, self.once(&question)).await.ok()?.ok()
    }

    /// A place for a request. One for a film is among the films from the beginning: those that wait for a camera would take all
    /// others. `None`: there is none, or not within the time that anybody waits.
    async fn place(&self, is_film: bool) -> Option<SemaphorePermit<'_>> {
        if is_film {
            return self.0.films.try_acquire().ok();
        }
        timeout(LOCAL_TIMEOUT, self.0.places.acquire()).await.ok()?.ok()
    }

    /// Answers one request for whoever has `access` (as in [`ViewerSession`]), whatever comes of it; `seen` is told of the server's answer before its body travels.
    pub(crate) async fn answer(
        self,
        request: RpcRequest,
        access: String,
        frames: mpsc::Sender<ToStudio>,
        seen: impl FnOnce(&Response<Incoming>),
    ) {
        let id = request.id;
        let is_film = asks_for_film(&request.path);
        let Some(place) = self.place(is_film).await else {
            return send_all(&frames, Excuse::busy().frames(id)).await;
        };
        let asked = match Question::new(request, access) {
            Ok(question) => timeout(LOCAL_TIMEOUT, self.ask(&question))
                .await
                .unwrap_or_else(|_late| Err(format!("no answer within {} s", LOCAL_TIMEOUT.as_secs()))),
            Err(excuse) => return send_all(&frames, excuse.frames(id)).await,
        };
        if let Ok(response) = &asked {
            seen(response);
        }
        match asked {
            Ok(response) if has_no_end(&response) && is_film => pass_on(id, response, None, &frames).await,
            Ok(response) if has_no_end(&response) => {
                // Others get its place.
                drop(place);
                match self.0.streams.try_acquire() {
                    Ok(_stream) => pass_on(id, response, None, &frames).await,
                    Err(_full) => send_all(&frames, Excuse::busy().frames(id)).await,
                }
            }
            Ok(response) => pass_on(id, response, Some(MAX_RESPONSE_BODY), &frames).await,
            Err(why) => {
                let detail = format!("The box's own server does not answer: {why}. It is being mended.");
                let excuse = Excuse {
                    status: 502,
                    code: "box_server_down",
                    detail,
                };
                send_all(&frames, excuse.frames(id)).await;
            }
        }
    }
}

/// Connects to the box's own server by the socket in the runtime directory, wherever a request says it goes.
#[derive(Debug, Clone)]
struct OwnSocket(RuntimeDir);

impl Service<Uri> for OwnSocket {
    type Response = TokioIo<UnixStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let dir = self.0.clone();
        Box::pin(async move { Ok(TokioIo::new(connect_http(&dir).await?)) })
    }
}

/// A request as the box's own server is asked.
struct Question {
    method: Method,
    path: String,
    headers: Vec<Header>,
    body: Bytes,
}

impl Question {
    fn new(request: RpcRequest, access: String) -> Result<Self, Excuse> {
        let invalid = |_| Excuse {
            status: 400,
            code: "invalid",
            detail: "This is no request.".to_owned(),
        };
        Ok(Self {
            method: request.method.parse().map_err(invalid)?,
            path: request.path,
            headers: request
                .headers
                .into_iter()
                .chain([(ACCESS.to_owned(), access)])
                .collect(),
            body: request.data.0.into(),
        })
    }
}

fn has_no_end(response: &Response<Incoming>) -> bool {
    let headers = response.headers().iter();
    is_endless(headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))))
}

/// Sends the answer on as it comes, up to `most` bytes of its body.
async fn pass_on(id: RpcId, response: Response<Incoming>, most: Option<usize>, frames: &mpsc::Sender<ToStudio>) {
    let (head, mut body) = response.into_parts();
    let headers = RESPONSE_HEADERS
        .iter()
        .flat_map(|name| head.headers.get_all(*name).iter().map(move |value| (*name, value)))
        .filter_map(|(name, value)| Some((name.to_owned(), value.to_str().ok()?.to_owned())))
        .collect();
    let first = ToStudio::RpcResponse(RpcResponse {
        id,
        status: head.status.as_u16(),
        headers,
        data: Bytes64::default(),
        end: false,
    });
    if frames.send(first).await.is_err() {
        return;
    }
    let chunk = |data: Vec<u8>, end| {
        ToStudio::RpcChunk(RpcChunk {
            id,
            data: Bytes64(data),
            end,
        })
    };
    let mut left = most;
    // An answer that breaks off, dawdles or is too long is left without its end, which tells the viewer.
    loop {
        let frame = match timeout(LOCAL_TIMEOUT, body.frame()).await {
            Ok(None) => break,
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return tracing::debug!(%error, "an answer of the box's own server broke off"),
            Err(_late) => return tracing::debug!("the box's own server dawdled"),
        };
        let Ok(data) = frame.into_data() else { continue };
        left = match left.map(|left| left.checked_sub(data.len())) {
            Some(None) => return tracing::warn!("an answer over {MAX_RESPONSE_BODY} bytes was cut off"),
            Some(rest) => rest,
            None => None,
        };
        for part in data.chunks(MAX_CHUNK) {
            if frames.send(chunk(part.to_vec(), false)).await.is_err() {
                return;
            }
        }
    }
    send_all(frames, vec![chunk(Vec::new(), true)]).await;
}

async fn send_all(frames: &mpsc::Sender<ToStudio>, all: Vec<ToStudio>) {
    for frame in all {
        if frames.send(frame).await.is_err() {
            // The connection is over, and with it whoever asked.
            return;
        }
    }
}

impl Excuse {
    pub(crate) fn busy() -> Self {
        Self {
            status: 503,
            code: "busy",
            detail: "The box has more requests in hand than it can answer.".to_owned(),
        }
    }

    pub(crate) fn frames(self, id: RpcId) -> Vec<ToStudio> {
        let Self { status, code, detail } = self;
        let body = json!({ "type": "about:blank", "status": status, "code": code, "detail": detail }).to_string();
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut headers = vec![
            header("content-type", "application/problem+json"),
            header("cache-control", "no-store"),
            header("content-length", &body.len().to_string()),
        ];
        if matches!(status, 502 | 503) {
            headers.push(header("retry-after", "2"));
        }
        vec![ToStudio::RpcResponse(RpcResponse {
            id,
            status,
            headers,
            data: Bytes64(body.into_bytes()),
            end: true,
        })]
    }
}

/// An error with its causes, in one line.
fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
