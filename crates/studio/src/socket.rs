//! A box's connection: the WebSocket it opened, from `hello` to the close frame. It reads, sorts and writes; what a frame
//! means is the box's task's to say.

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
use framebridge_core::studio::{allowance::Allowance, box_session};
use framebridge_proto::millis;
use framebridge_studio_proto::{
    Frame as _, Hello, Refusal, RefusalKind, ToBox, ToStudio, VERSION, Welcome, close, hello_version,
    limits::{GREETING_TIMEOUT, HEARTBEAT_INTERVAL, MAX_FRAME, READ_IDLE},
};
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite;

use crate::{
    auth,
    boxes::{Event, Leaving, Link, Session, unknown_token},
    hub::Hub,
    problem::Problem,
    store::{Kind, MOST_SESSIONS, StoreError, TokenRow},
};

/// A frame that takes longer to leave is stuck in a dead connection.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Between two looks for a token that may be on its way from another node.
const TOKEN_PAUSE: Duration = Duration::from_millis(250);

/// Frames and bytes a second that a box may say of itself, and at once: after an outage it brings 40 batches of log lines, some
/// 4 MB of them at worst.
const UNASKED: (Rate, Rate) = (
    Rate {
        every_second: 50,
        at_once: 500,
    },
    Rate {
        every_second: 1 << 20,
        at_once: 8 << 20,
    },
);

/// The same of answers that somebody waits for: 8 at a time of up to 8 MiB, or of events that are a line each.
const ASKED: (Rate, Rate) = (
    Rate {
        every_second: 2000,
        at_once: 8000,
    },
    Rate {
        every_second: 32 << 20,
        at_once: 128 << 20,
    },
);

/// How much of something.
#[derive(Debug, Clone, Copy)]
struct Rate {
    every_second: u64,
    at_once: u64,
}

/// What one side may say: frames and bytes.
struct Pace {
    frames: Allowance,
    bytes: Allowance,
}

impl Pace {
    fn new((frames, bytes): (Rate, Rate)) -> Self {
        let allowance = |rate: Rate| Allowance::new(rate.every_second, rate.at_once);
        Self {
            frames: allowance(frames),
            bytes: allowance(bytes),
        }
    }

    /// How long nothing more is to be read after a frame of so many bytes.
    fn take(&mut self, bytes: usize) -> Duration {
        let now = std::time::Instant::now();
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.frames.take(1, now).max(self.bytes.take(bytes, now))
    }
}

/// Why a link ends.
#[derive(Debug)]
enum Parting {
    /// The box is told why it is not wanted.
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

/// Takes a box's connection.
pub(crate) async fn accept(
    State(hub): State<Arc<Hub>>,
    ConnectInfo(connection): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Problem> {
    let address = hub.limits.address(connection, &headers);
    hub.limits.sessions.take(address)?;
    let tasks = hub.boxes.tasks.clone();
    // Twice the cap, so that a frame that is a little too long gets its reason and not a reset.
    Ok(upgrade
        .max_frame_size(2 * MAX_FRAME)
        .max_message_size(2 * MAX_FRAME)
        .on_upgrade(move |socket| {
            tasks.track_future(async move {
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
        () = hub.boxes.stop.cancelled() => Err(Parting::Stopping),
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
    let (ToStudio::Hello(hello), _) = next(socket).await? else {
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
        return Err(Parting::Refused(unknown_token()));
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
async fn attend(hub: &Arc<Hub>, socket: &mut WebSocket, session: &Session, hello: &Hello, peer: IpAddr) -> Parting {
    let (link, mut leaving) = Link::new(Arc::clone(&hub.waiting));
    link.send(ToBox::Welcome(Welcome {
        version: VERSION,
        session: session.id,
        url: hub.address(session.id),
        heartbeat_ms: millis(HEARTBEAT_INTERVAL),
        ice_servers: hub.ice_servers(session.id, None),
        seen_as: match peer {
            IpAddr::V4(address) => Some(address),
            // There are no NATs to be told of.
            IpAddr::V6(_) => None,
        },
    }));
    let build = Some(hello.build.clone());
    let linked = Arc::clone(&link);
    session.tell(Event::Linked { link: linked, build }).await;
    let (mut sink, mut stream) = socket.split();
    let ends = leaving.ends.clone();
    let parting = tokio::select! {
        parting = read(&mut stream, session, &link) => parting,
        parting = write(&mut sink, &mut leaving) => parting,
        () = ends.stuck.cancelled() => Parting::Lost("it takes nothing".to_owned()),
        () = ends.unrecorded.cancelled() => Parting::Lost("the studio can't write its records".to_owned()),
        () = hub.boxes.stop.cancelled() => Parting::Stopping,
    };
    session.tell(Event::Parted(link, parting.input())).await;
    parting
}

/// Reads what the box sends, no faster than it may talk.
async fn read<S>(stream: &mut S, session: &Session, link: &Arc<Link>) -> Parting
where
    S: Stream<Item = Result<Message, axum::Error>> + Unpin,
{
    let (mut unasked, mut asked) = (Pace::new(UNASKED), Pace::new(ASKED));
    loop {
        let (frame, bytes) = match timeout(READ_IDLE, next(stream)).await {
            Ok(Ok(read)) => read,
            Ok(Err(parting)) => return parting,
            Err(_silent) => return Parting::Lost(format!("silent for {} s", READ_IDLE.as_secs())),
        };
        let was_asked = match frame {
            ToStudio::Hello(_) => {
                let why = "a second hello".to_owned();
                let code = close::OUT_OF_ORDER;
                return Parting::Broken { code, why };
            }
            ToStudio::RpcResponse(response) => link.calls.on_response(response),
            ToStudio::RpcChunk(chunk) => {
                let (id, end) = (chunk.id, chunk.end);
                let is_wanted = link.calls.on_chunk(chunk);
                // The box has not heard that nobody waits for it any more.
                if !is_wanted && !end {
                    link.cancel(id);
                }
                is_wanted
            }
            ToStudio::Unknown => {
                tracing::debug!(name = session.name, "ignored a frame of an unknown type");
                false
            }
            frame @ (ToStudio::Heartbeat(_)
            | ToStudio::LogBatch(_)
            | ToStudio::Accept { .. }
            | ToStudio::Reject { .. }
            | ToStudio::Complete { .. }
            | ToStudio::Fail { .. }
            | ToStudio::ReadyForMore
            | ToStudio::Share { .. }
            | ToStudio::Unshare { .. }
            | ToStudio::Goodbye { .. }) => {
                let is_last = matches!(frame, ToStudio::Goodbye { .. });
                session.tell(Event::Said(Arc::clone(link), frame)).await;
                if is_last {
                    return Parting::Left;
                }
                false
            }
        };
        let pace = if was_asked { &mut asked } else { &mut unasked };
        let wait = pace.take(bytes);
        if !wait.is_zero() {
            sleep(wait).await;
        }
    }
}

/// Writes what leaves. An `error` is the last, and is left to the end of the link.
async fn write<S>(sink: &mut S, leaving: &mut Leaving) -> Parting
where
    S: Sink<Message, Error = axum::Error> + Unpin,
{
    while let Some(frame) = leaving.next().await {
        if let ToBox::Error(refusal) = frame {
            return Parting::Refused(refusal);
        }
        match timeout(WRITE_TIMEOUT, sink.send(Message::Text(frame.encode().into()))).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Parting::Lost(error.to_string()),
            Err(_stuck) => return Parting::Lost("it takes nothing".to_owned()),
        }
    }
    Parting::Stopping
}

impl Parting {
    /// What it means for the box's session.
    fn input(&self) -> box_session::Input {
        let lost = |why: &str| box_session::Input::Lost { why: why.to_owned() };
        match self {
            Self::Lost(why) | Self::Broken { why, .. } => lost(why),
            // It will not come back by itself.
            Self::Refused(Refusal {
                code: RefusalKind::AuthFailed,
                ..
            }) => box_session::Input::Left {
                broken: true,
                why: "The studio's operator has revoked the box's token.".to_owned(),
            },
            Self::Refused(refusal) => lost(&refusal.message),
            Self::Left => lost("it left"),
            Self::Stopping => lost("the studio is being restarted"),
        }
    }
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

/// Reads the next frame, and how long it was; what is no frame ends the link.
async fn next<S>(stream: &mut S) -> Result<(ToStudio, usize), Parting>
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
                let frame = ToStudio::decode(&text).map_err(|error| match hello_version(&text) {
                    // Of another version, it need not be of the shape that we know.
                    Some(version) if version != VERSION => other_version(version),
                    Some(_) | None => {
                        let code = error.close_code();
                        let why = format!("{:#}", anyhow::Error::from(error));
                        Parting::Broken { code, why }
                    }
                })?;
                return Ok((frame, text.len()));
            }
        }
    }
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
