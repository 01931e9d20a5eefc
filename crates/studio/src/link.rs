//! A box's link: the WebSocket it opened, from `hello` to the close frame.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    extract::{
        ConnectInfo, State,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade},
    },
    http::HeaderMap,
    response::Response,
};
use framebridge_core::studio::box_session;
use framebridge_studio_proto::{
    Access, Farewell, Frame as _, Hello, PublicId, Refusal, RefusalKind, RpcId, ToBox, ToStudio, VERSION, Welcome,
    close, hello_version,
    limits::{GREETING_TIMEOUT, HEARTBEAT_INTERVAL, MAX_FRAME, READ_IDLE},
};
use futures_util::{SinkExt as _, Stream, StreamExt as _};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::tungstenite;
use tokio_util::sync::CancellationToken;

use crate::{
    auth::{self, Kind},
    call::{Calls, Question},
    hub::Hub,
    jobs,
    nodes::{NodeId, NodeRoad},
    problem::Problem,
    random,
    session::Session,
    store::{MOST_SESSIONS, MOST_SHARES, Record, ShareRow, StoreError, TokenRow, now_ms},
};

/// Requests that may wait for the box. Past it whoever asks waits, and a request that can't be sent in its time fails.
const QUEUE: usize = 256;

/// Our own words that may wait besides, and let requests wait: answers to the box's frames, and a job now and then. They come of
/// reading, which never waits for writing; a box that has so many coming, and takes none, is lost.
const REPLIES: usize = 64;

/// A frame that takes longer to leave is stuck in a dead connection.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Between two looks for a token that may be on its way from another node.
const TOKEN_PAUSE: Duration = Duration::from_millis(250);

/// The longest life of a share.
const LONGEST_SHARE_S: u64 = 10 * 365 * 24 * 3600;

/// A link to a box.
#[derive(Debug)]
pub(crate) struct Link {
    road: Road,
    pub(crate) calls: Calls,
    /// Another box came with the same instance id.
    replaced: CancellationToken,
    /// Its token is good no more.
    revoked: CancellationToken,
}

/// How a box is reached.
#[derive(Debug)]
enum Road {
    /// It is connected here.
    Here {
        requests: mpsc::Sender<ToBox>,
        replies: mpsc::Sender<ToBox>,
    },
    /// It is connected to another node.
    Node(NodeRoad),
}

/// What is to leave on a link.
#[derive(Debug)]
pub(crate) struct Queues {
    requests: mpsc::Receiver<ToBox>,
    replies: mpsc::Receiver<ToBox>,
}

impl Queues {
    /// The next frame; `None` once nobody can send any more. Cancel-safe.
    pub(crate) async fn recv(&mut self) -> Option<ToBox> {
        tokio::select! {
            biased;
            Some(frame) = self.replies.recv() => Some(frame),
            frame = self.requests.recv() => frame,
        }
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.replies.is_empty()
    }
}

/// The link is gone.
#[derive(Debug)]
pub(crate) struct Gone;

/// Why a link ends.
#[derive(Debug)]
enum Parting {
    /// The box is told that it need not come back.
    Refused(Refusal),
    /// The box did what it may not; it may come back.
    Broken { code: u16, why: String },
    /// The connection ended, or fell silent.
    Lost(String),
    /// The box said goodbye.
    Left,
    /// We go.
    Stopping,
}

impl Link {
    /// A link, and the frames that are to leave on it.
    pub(crate) fn new() -> (Arc<Self>, Queues) {
        let (ask, requests) = mpsc::channel(QUEUE);
        let (reply, replies) = mpsc::channel(REPLIES);
        let road = Road::Here {
            requests: ask,
            replies: reply,
        };
        (Arc::new(Self::by(road)), Queues { requests, replies })
    }

    /// A link by way of another node.
    pub(crate) fn by_node(road: NodeRoad) -> Arc<Self> {
        Arc::new(Self::by(Road::Node(road)))
    }

    fn by(road: Road) -> Self {
        Self {
            road,
            calls: Calls::default(),
            replaced: CancellationToken::new(),
            revoked: CancellationToken::new(),
        }
    }

    /// The node by which the box is reached; `None`: it is connected here.
    pub(crate) fn node(&self) -> Option<NodeId> {
        match &self.road {
            Road::Here { .. } => None,
            Road::Node(road) => Some(road.node),
        }
    }

    /// Says something to the box without waiting. What travels between nodes are questions, and no frames.
    pub(crate) fn reply(&self, frame: ToBox) -> Result<(), Gone> {
        match &self.road {
            Road::Here { replies, .. } => replies.try_send(frame).map_err(|_full_or_closed| Gone),
            Road::Node(_) => Err(Gone),
        }
    }

    /// Puts a question to the box.
    pub(crate) async fn ask(&self, id: RpcId, question: Question) -> Result<(), Gone> {
        match &self.road {
            Road::Here { requests, .. } => {
                for frame in question.frames(id) {
                    requests.send(frame).await.map_err(|_closed| Gone)?;
                }
                Ok(())
            }
            Road::Node(road) => road.ask(id, question).await,
        }
    }

    /// Says that nobody waits for an answer any more. With the queue full the box learns of it with its next part.
    pub(crate) fn cancel(&self, id: RpcId) {
        match &self.road {
            Road::Here { requests, .. } => {
                if let Err(error) = requests.try_send(ToBox::RpcCancel { id }) {
                    tracing::debug!(%error, "a frame was left out");
                }
            }
            Road::Node(road) => road.cancel(id),
        }
    }

    /// The token that it came with was revoked.
    pub(crate) fn revoke(&self) {
        self.revoked.cancel();
    }

    /// Another link has taken its place: who waits for answers hears so, and a box that is connected here, too.
    pub(crate) fn replace(&self) {
        self.calls.end();
        self.replaced.cancel();
    }
}

/// Takes a box's connection.
pub(crate) async fn accept(
    State(hub): State<Arc<Hub>>,
    ConnectInfo(connection): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Problem> {
    let address = hub.limits.address(connection, &headers);
    hub.limits.sessions.take(address)?;
    let links = hub.links.clone();
    // Twice the cap, so that a frame that is a little too long gets its reason and not a reset.
    Ok(upgrade
        .max_frame_size(2 * MAX_FRAME)
        .max_message_size(2 * MAX_FRAME)
        .on_upgrade(move |socket| {
            links.track_future(async move {
                serve(&hub, socket, address).await;
            })
        }))
}

async fn serve(hub: &Arc<Hub>, mut socket: WebSocket, peer: IpAddr) {
    let greeting = tokio::select! {
        greeting = timeout(GREETING_TIMEOUT, greet(hub, &mut socket)) => greeting.unwrap_or_else(|_late| {
            let why = "no hello came in time".to_owned();
            Err(Parting::Broken { code: close::OUT_OF_ORDER, why })
        }),
        () = hub.stop.cancelled() => Err(Parting::Stopping),
    };
    let parting = match greeting {
        Ok((session, hello)) => attend(hub, &mut socket, &session, &hello, peer).await,
        Err(parting) => parting,
    };
    tracing::debug!(%peer, ?parting, "a box's link ended");
    part(socket, parting).await;
}

/// Reads the hello, and finds out whose it is.
async fn greet(hub: &Hub, socket: &mut WebSocket) -> Result<(Arc<Session>, Hello), Parting> {
    let ToStudio::Hello(hello) = next(socket).await? else {
        let why = "the first frame has to be a hello".to_owned();
        let code = close::OUT_OF_ORDER;
        return Err(Parting::Broken { code, why });
    };
    if hello.version != VERSION {
        return Err(other_version(hello.version));
    }
    let unavailable = |error| {
        tracing::error!("{:#}", anyhow::Error::from(error));
        Parting::Lost("the studio's records".to_owned())
    };
    let Some(token) = token(hub, &hello.token).await.map_err(unavailable)? else {
        if hub.nodes.are_cut_off() {
            let why = "this node does not know the token, and can't ask the others just now".to_owned();
            return Err(Parting::Lost(why));
        }
        return Err(unknown_token());
    };
    let session = hub.session_of(&token, hello.instance).await.map_err(unavailable)?;
    Ok((session.ok_or_else(too_many_boxes)?, hello))
}

fn other_version(theirs: u16) -> Parting {
    let message = format!("this studio speaks version {VERSION} and the box version {theirs}: update the older one");
    Parting::Refused(Refusal {
        code: RefusalKind::Version,
        message,
    })
}

fn too_many_boxes() -> Parting {
    let message =
        format!("{MOST_SESSIONS} boxes are here with this token already: make one for each with `studio token new`");
    Parting::Refused(Refusal {
        code: RefusalKind::Fatal,
        message,
    })
}

fn unknown_token() -> Parting {
    let message = "the studio does not know this token, or it was revoked: make one with `studio token new`";
    Parting::Refused(Refusal {
        code: RefusalKind::AuthFailed,
        message: message.to_owned(),
    })
}

/// The box's token that `given` is. One that was made at another node a moment ago is waited for.
async fn token(hub: &Hub, given: &str) -> Result<Option<TokenRow>, StoreError> {
    let deadline = Instant::now() + hub.nodes.news_takes();
    loop {
        let tokens = hub.store.current_tokens().await?;
        let found = auth::find(&tokens, given, Kind::Box).cloned();
        if found.is_some() || Instant::now() >= deadline {
            return Ok(found);
        }
        sleep(TOKEN_PAUSE).await;
    }
}

/// A box's link from its welcome on.
async fn attend(
    hub: &Arc<Hub>,
    socket: &mut WebSocket,
    session: &Arc<Session>,
    hello: &Hello,
    peer: IpAddr,
) -> Parting {
    let (link, mut queue) = Link::new();
    let welcome = ToBox::Welcome(Welcome {
        version: VERSION,
        session: session.id,
        url: hub.address(session.id),
        heartbeat_ms: u64::try_from(HEARTBEAT_INTERVAL.as_millis()).unwrap_or(u64::MAX),
        ice_servers: hub.ice_servers(session.id),
        seen_as: match peer {
            IpAddr::V4(address) => Some(address),
            // There are no NATs to be told of.
            IpAddr::V6(_) => None,
        },
    });
    // Nothing is queued yet.
    _ = link.reply(welcome);
    session.set_build(&hello.build);
    if let Some(before) = session.welcome(Arc::clone(&link)) {
        before.replace();
    }
    tracing::info!(name = session.name, instance = %session.instance, build = hello.build, "a box is here");
    let (mut sink, mut stream) = socket.split();
    let read = async {
        if let Err(parting) = told(hub, session, &link, box_session::Input::Welcomed).await {
            return parting;
        }
        loop {
            let frame = match timeout(READ_IDLE, next(&mut stream)).await {
                Ok(Ok(frame)) => frame,
                Ok(Err(parting)) => return parting,
                Err(_silent) => return Parting::Lost(format!("silent for {} s", READ_IDLE.as_secs())),
            };
            if let Err(parting) = on_frame(hub, session, &link, frame).await {
                return parting;
            }
        }
    };
    let write = async {
        while let Some(frame) = queue.recv().await {
            match timeout(WRITE_TIMEOUT, sink.send(Message::Text(frame.encode().into()))).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Parting::Lost(error.to_string()),
                Err(_stuck) => return Parting::Lost("it takes nothing".to_owned()),
            }
        }
        Parting::Stopping
    };
    let parting = tokio::select! {
        parting = read => parting,
        parting = write => parting,
        () = link.replaced.cancelled() => Parting::Refused(Refusal {
            code: RefusalKind::Replaced,
            message: "another bridge has connected as this box: only one of them may run".to_owned(),
        }),
        () = link.revoked.cancelled() => unknown_token(),
        () = hub.stop.cancelled() => Parting::Stopping,
    };
    link.calls.end();
    let lost = |why: &str| box_session::Input::Lost { why: why.to_owned() };
    let input = match &parting {
        Parting::Lost(why) | Parting::Broken { why, .. } => lost(why),
        // It will not come back by itself.
        Parting::Refused(Refusal {
            code: RefusalKind::AuthFailed,
            ..
        }) => box_session::Input::Left {
            broken: true,
            why: "The studio's operator has revoked the box's token.".to_owned(),
        },
        Parting::Refused(refusal) => lost(&refusal.message),
        Parting::Left => lost("it left"),
        Parting::Stopping => lost("the studio is being restarted"),
    };
    // The last word may be that the records can't be written, which has been logged by then.
    _ = told(hub, session, &link, input).await;
    parting
}

async fn told(hub: &Hub, session: &Session, link: &Arc<Link>, input: box_session::Input) -> Result<(), Parting> {
    let current = session.tell(&hub.store, link, input.clone()).await;
    if current.map_err(unrecorded)? {
        hub.nodes.on_box(session, input);
    }
    Ok(())
}

fn unrecorded(error: StoreError) -> Parting {
    tracing::error!("{:#}", anyhow::Error::from(error));
    Parting::Lost("the studio can't write its records".to_owned())
}

/// What an error of the WebSocket means.
fn transport(error: axum::Error) -> Parting {
    let why = error.to_string();
    let code = match error.into_inner().downcast_ref() {
        Some(tungstenite::Error::Capacity(_)) => close::TOO_LONG,
        Some(tungstenite::Error::Utf8(_)) => close::MALFORMED,
        Some(_) | None => return Parting::Lost(why),
    };
    Parting::Broken { code, why }
}

/// Reads the next frame; what is no frame ends the link.
async fn next<S>(stream: &mut S) -> Result<ToStudio, Parting>
where
    S: Stream<Item = Result<Message, axum::Error>> + Unpin,
{
    loop {
        match stream.next().await {
            None | Some(Ok(Message::Close(_))) => return Err(Parting::Lost("it was closed".to_owned())),
            Some(Err(error)) => return Err(transport(error)),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Binary(_))) => {
                let why = "frames are text".to_owned();
                let code = close::MALFORMED;
                return Err(Parting::Broken { code, why });
            }
            Some(Ok(Message::Text(text))) => {
                return ToStudio::decode(&text).map_err(|error| match hello_version(&text) {
                    // Of another version, it need not be of the shape that we know.
                    Some(version) if version != VERSION => other_version(version),
                    Some(_) | None => {
                        let code = error.close_code();
                        let why = format!("{:#}", anyhow::Error::from(error));
                        Parting::Broken { code, why }
                    }
                });
            }
        }
    }
}

async fn on_frame(hub: &Arc<Hub>, session: &Arc<Session>, link: &Arc<Link>, frame: ToStudio) -> Result<(), Parting> {
    let lost = |Gone| Parting::Lost("it takes nothing".to_owned());
    match frame {
        ToStudio::Hello(_) => {
            let why = "a second hello".to_owned();
            let code = close::OUT_OF_ORDER;
            return Err(Parting::Broken { code, why });
        }
        ToStudio::Heartbeat(heartbeat) => {
            let input = session.report(heartbeat);
            told(hub, session, link, input).await?;
            link.reply(ToBox::HeartbeatAck).map_err(lost)?;
        }
        ToStudio::LogBatch(batch) => {
            hub.nodes.on_lines(session, &batch);
            session.log(batch);
        }
        ToStudio::RpcResponse(response) => link.calls.on_response(response),
        ToStudio::RpcChunk(chunk) => {
            let (id, end) = (chunk.id, chunk.end);
            // The box has not heard that nobody waits for it any more.
            if !link.calls.on_chunk(chunk) && !end {
                link.cancel(id);
            }
        }
        ToStudio::Share {
            request,
            stream,
            control,
            expires_s,
        } => {
            let share = None;
            let access = Access { stream, control, share };
            let answer = share(hub, session, request, access, expires_s).await?;
            link.reply(answer).map_err(lost)?;
        }
        ToStudio::Unshare { request, share } => {
            let ended = hub.store.end_shares(session.id, share).await.map_err(unrecorded)?;
            hub.nodes.on_unshared(session, share);
            link.reply(ToBox::Unshared { request, ended }).map_err(lost)?;
        }
        ToStudio::Goodbye { ending, reason } => {
            let broken = ending == Farewell::Failed;
            let why = reason.chars().take(300).collect();
            told(hub, session, link, box_session::Input::Left { broken, why }).await?;
            return Err(Parting::Left);
        }
        ToStudio::Accept { job } => jobs::on_accepted(hub, session, job).await.map_err(unrecorded)?,
        ToStudio::Reject { job, why } => jobs::on_rejected(hub, session, job, why).await.map_err(unrecorded)?,
        ToStudio::Complete { job, result } => {
            let answer = jobs::on_completed(hub, session, job, result)
                .await
                .map_err(unrecorded)?;
            link.reply(answer).map_err(lost)?;
        }
        ToStudio::Fail { job, error, retryable } => {
            let answer = jobs::on_failed(hub, session, job, &error, retryable)
                .await
                .map_err(unrecorded)?;
            link.reply(answer).map_err(lost)?;
        }
        ToStudio::ReadyForMore => jobs::on_free(hub, session).await.map_err(unrecorded)?,
        ToStudio::Unknown => tracing::debug!(name = session.name, "ignored a frame of an unknown type"),
    }
    Ok(())
}

async fn share(
    hub: &Hub,
    session: &Session,
    request: u32,
    access: Access,
    expires_s: Option<u64>,
) -> Result<ToBox, Parting> {
    let id = PublicId::from_bits(random::bits());
    let row = ShareRow {
        id,
        session: session.id,
        access,
        expires_ms: expires_s.map(|seconds| now_ms() + seconds.min(LONGEST_SHARE_S) * 1000),
    };
    if !hub.store.add_share(row.clone()).await.map_err(unrecorded)? {
        let why = format!("{MOST_SHARES} addresses of this box are shared already: end them with `bridgectl unshare`");
        return Ok(ToBox::ShareRefused { request, why });
    }
    hub.nodes.on_record(Record::Share(row));
    Ok(ToBox::Shared {
        request,
        share: id,
        url: hub.address(id),
    })
}

/// Says why, as far as the box still listens.
async fn part(mut socket: WebSocket, parting: Parting) {
    let (code, reason) = match parting {
        Parting::Refused(refusal) => {
            let frame = Message::Text(ToBox::Error(refusal).encode().into());
            if timeout(WRITE_TIMEOUT, socket.send(frame)).await.is_err() {
                return;
            }
            (close::REFUSED, "refused".to_owned())
        }
        Parting::Broken { code, why } => (code, why),
        Parting::Lost(why) => (close::IDLE, why),
        Parting::Left => (close::NORMAL, "goodbye".to_owned()),
        Parting::Stopping => (close::NORMAL, "the studio is being restarted".to_owned()),
    };
    let frame = CloseFrame {
        code,
        reason: close::reason(&reason).into(),
    };
    // Whoever is gone already need not be told.
    _ = timeout(WRITE_TIMEOUT, socket.send(Message::Close(Some(frame)))).await;
}

#[cfg(test)]
mod tests;
