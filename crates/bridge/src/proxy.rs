//! Requests of the public address, asked of the box's own server.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use framebridge_ipc::{RuntimeDir, connect_http, has_http_socket};
use framebridge_proto::bridge::{ACCESS, SEEN_AS, SharedAccess};
use framebridge_studio_proto::{
    Access, Bytes64, Header, REQUEST_HEADERS, RESPONSE_HEADERS, RpcChunk, RpcId, RpcRequest, RpcResponse, ToStudio,
    is_hop_by_hop,
    limits::{LOCAL_TIMEOUT, MAX_CHUNK, MAX_REQUEST_BODY, MAX_RESPONSE_BODY, RPC_IN_FLIGHT, RPC_OPEN, RPC_STREAMS},
};
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, Response, Uri, body::Incoming, header};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use serde_json::json;
use tokio::{
    net::UnixStream,
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use crate::{
    paths::{self, Denied},
    websocket::Wire,
};

/// Idle connections to the box's own server that are kept.
const MOST_IDLE: usize = RPC_IN_FLIGHT;

/// The box's own server may close an idle connection after 10 s; ours go before that.
const IDLE: Duration = Duration::from_secs(5);

/// Asks the box's own server. Clones share all of it.
#[derive(Debug, Clone)]
pub(crate) struct Proxy(Arc<ProxyState>);

#[derive(Debug)]
struct ProxyState {
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
    /// Event streams that are carried at once.
    streams: Semaphore,
}

/// Requests of one connection that have come, whole or in part.
#[derive(Debug, Default)]
pub(crate) struct Requests(BTreeMap<RpcId, Pending>);

#[derive(Debug)]
enum Pending {
    /// The rest of its body is still to come.
    Arriving(RpcRequest),
    /// It is under way.
    Asked(CancellationToken),
}

/// What is answered instead of what was asked for.
struct Excuse {
    status: u16,
    code: &'static str,
    detail: String,
}

impl Proxy {
    pub(crate) fn new(dir: RuntimeDir) -> Self {
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .pool_max_idle_per_host(MOST_IDLE)
            .pool_idle_timeout(IDLE)
            .pool_timer(hyper_util::rt::TokioTimer::new());
        Self(Arc::new(ProxyState {
            own: builder.build(OwnSocket(dir.clone())),
            client: builder.build_http(),
            dir,
            target: Mutex::new(None),
            seen_as: Mutex::new(None),
            places: Semaphore::new(RPC_IN_FLIGHT),
            streams: Semaphore::new(RPC_STREAMS),
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

    /// Answers one request, whatever comes of it.
    async fn answer(self, request: RpcRequest, frames: mpsc::Sender<ToStudio>) {
        let id = request.id;
        // Whoever has waited so long for a place is not waited for any more.
        let Ok(Ok(place)) = timeout(LOCAL_TIMEOUT, self.0.places.acquire()).await else {
            return send_all(&frames, Excuse::busy().frames(id)).await;
        };
        let asked = match Question::new(request) {
            Ok(question) => timeout(LOCAL_TIMEOUT, self.ask(&question))
                .await
                .unwrap_or_else(|_late| Err(format!("no answer within {} s", LOCAL_TIMEOUT.as_secs()))),
            Err(excuse) => return send_all(&frames, excuse.frames(id)).await,
        };
        match asked {
            Ok(response) if is_event_stream(&response) => {
                // It has no end: others get its place.
                drop(place);
                match self.0.streams.try_acquire() {
                    Ok(_stream) => pass_on(id, response, &frames).await,
                    Err(_full) => send_all(&frames, Excuse::busy().frames(id)).await,
                }
            }
            Ok(response) => pass_on(id, response, &frames).await,
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

impl Requests {
    /// A request came, whole or in part.
    pub(crate) fn on_request(&mut self, proxy: &Proxy, wire: &Wire, request: RpcRequest) {
        self.forget_the_ended();
        if self.0.len() >= RPC_OPEN {
            return refuse(wire, request.id, Excuse::busy());
        }
        if let Err(excuse) = check(&request) {
            return refuse(wire, request.id, excuse);
        }
        if request.end {
            self.start(proxy, wire, request);
        } else {
            self.0.insert(request.id, Pending::Arriving(request));
        }
    }

    /// A request's next part came. For one that was refused, or never came, it means nothing.
    pub(crate) fn on_chunk(&mut self, proxy: &Proxy, wire: &Wire, chunk: RpcChunk) {
        let Some(Pending::Arriving(request)) = self.0.get_mut(&chunk.id) else {
            return;
        };
        request.data.0.extend(chunk.data.0);
        if request.data.0.len() > MAX_REQUEST_BODY {
            self.0.remove(&chunk.id);
            let detail = format!("A body may have {MAX_REQUEST_BODY} bytes.");
            refuse(
                wire,
                chunk.id,
                Excuse {
                    status: 413,
                    code: "too_large",
                    detail,
                },
            );
        } else if chunk.end
            && let Some(Pending::Arriving(request)) = self.0.remove(&chunk.id)
        {
            self.start(proxy, wire, request);
        }
    }

    /// Nobody waits for this answer any more.
    pub(crate) fn on_cancel(&mut self, id: RpcId) {
        if let Some(Pending::Asked(cancel)) = self.0.remove(&id) {
            cancel.cancel();
        }
    }

    fn start(&mut self, proxy: &Proxy, wire: &Wire, request: RpcRequest) {
        let cancel = wire.over.child_token();
        self.0.insert(request.id, Pending::Asked(cancel.clone()));
        let answer = proxy.clone().answer(request, wire.answers.clone());
        wire.tasks.spawn(async move {
            let answered = cancel.run_until_cancelled(answer).await;
            // Marks it as ended, for the table.
            cancel.cancel();
            answered
        });
    }

    fn forget_the_ended(&mut self) {
        self.0.retain(|_, pending| match pending {
            Pending::Arriving(_) => true,
            Pending::Asked(cancel) => !cancel.is_cancelled(),
        });
    }
}

/// Refuses what must not reach the box's own server.
fn check(request: &RpcRequest) -> Result<(), Excuse> {
    if request
        .headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("upgrade"))
    {
        let detail = "There is no WebSocket here.".to_owned();
        return Err(Excuse {
            status: 426,
            code: "no_upgrade",
            detail,
        });
    }
    paths::permit(&request.method, &request.path, &request.access).map_err(|denied| match denied {
        Denied::NotFound => Excuse {
            status: 404,
            code: "not_found",
            detail: "There is nothing here.".to_owned(),
        },
        Denied::ControlNeeded => Excuse {
            status: 403,
            code: "control_needed",
            detail: "This address is for watching: `bridgectl share --control` makes one that may change things."
                .to_owned(),
        },
    })
}

/// A request as the box's own server is asked.
struct Question {
    method: Method,
    path: String,
    headers: Vec<Header>,
    body: Bytes,
}

impl Question {
    fn new(request: RpcRequest) -> Result<Self, Excuse> {
        let invalid = |_| Excuse {
            status: 400,
            code: "invalid",
            detail: "This is no request.".to_owned(),
        };
        let Access { stream, control } = request.access;
        let access = (ACCESS.to_owned(), SharedAccess { stream, control }.to_string());
        Ok(Self {
            method: request.method.parse().map_err(invalid)?,
            path: request.path,
            headers: request
                .headers
                .into_iter()
                .filter(|(name, _)| REQUEST_HEADERS.contains(&name.as_str()) && !is_hop_by_hop(name))
                .chain([access])
                .collect(),
            body: request.data.0.into(),
        })
    }
}

/// Server-sent events: what has no end.
fn is_event_stream(response: &Response<Incoming>) -> bool {
    let media_type = response.headers().get(header::CONTENT_TYPE);
    media_type.is_some_and(|media_type| media_type.as_bytes().starts_with(b"text/event-stream"))
}

/// Sends the answer on as it comes.
async fn pass_on(id: RpcId, response: Response<Incoming>, frames: &mpsc::Sender<ToStudio>) {
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
    let mut left = MAX_RESPONSE_BODY;
    // An answer that breaks off, dawdles or is too long is left without its end, which tells the viewer.
    loop {
        let frame = match timeout(LOCAL_TIMEOUT, body.frame()).await {
            Ok(None) => break,
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return tracing::debug!(%error, "an answer of the box's own server broke off"),
            Err(_late) => return tracing::debug!("the box's own server dawdled"),
        };
        let Ok(data) = frame.into_data() else { continue };
        let Some(rest) = left.checked_sub(data.len()) else {
            tracing::warn!("an answer over {MAX_RESPONSE_BODY} bytes was cut off");
            return;
        };
        left = rest;
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

/// Refuses without waiting: a studio that asks and asks, and reads no answer, would have us keep as many as it likes. When there
/// is no room, the refusal is left out, and whoever asked hears of it by the studio's own patience.
fn refuse(wire: &Wire, id: RpcId, excuse: Excuse) {
    for frame in excuse.frames(id) {
        if let Err(error) = wire.frames.try_send(frame) {
            tracing::debug!(%error, "a refusal was left out");
        }
    }
}

impl Excuse {
    fn busy() -> Self {
        Self {
            status: 503,
            code: "busy",
            detail: "The box has more requests in hand than it can answer.".to_owned(),
        }
    }

    fn frames(self, id: RpcId) -> Vec<ToStudio> {
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
