//! One connection to a studio: its WebSocket, and the tasks that live and end with it.

use std::time::Duration;

use framebridge_dial::Stream;
use framebridge_studio_proto::{
    Frame as _, SESSION_PATH, ToBox, ToStudio, close,
    limits::{MAX_FRAME, MAX_REASON},
    plain,
};
use futures_util::{SinkExt as _, StreamExt as _, stream::SplitSink};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Error, Message,
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    dial::Studio,
    event::{ConnectionEvent, Event},
};

/// Frames that may wait for the studio: how the box is, and what it does.
const QUEUE: usize = 256;

/// Frames of answers that may wait besides, and let all others go first. Past it whoever sends waits. With some 44 KB each
/// they are a third of a megabyte.
const ANSWERS: usize = 8;

/// With fewer frames waiting, there is room for what can wait itself.
const EASE: usize = 2;

/// A frame that takes longer to leave is stuck in a dead connection.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the last frames and the close frame may take.
const PARTING_TIMEOUT: Duration = Duration::from_secs(2);

type Sink = SplitSink<WebSocketStream<Box<dyn Stream>>, Message>;

/// One connection, from the attempt at it on.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Which one: events of those before it come late.
    pub(crate) number: u64,
    pub(crate) frames: mpsc::Sender<ToStudio>,
    /// For answers, whose bytes may be many: a heartbeat does not wait for them.
    pub(crate) answers: mpsc::Sender<ToStudio>,
    /// Tasks that end with the connection: requests under way.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the connection is over for whoever works for it.
    pub(crate) over: CancellationToken,
    /// Cancelled when the connection is to be closed.
    close: CancellationToken,
    /// The task that reads and writes.
    living: JoinHandle<()>,
}

impl Connection {
    /// Whether hardly anything waits to leave first.
    pub(crate) fn is_at_ease(&self) -> bool {
        self.frames.max_capacity() - self.frames.capacity() < EASE
    }

    /// Begins to connect. What happens comes as events.
    pub(crate) fn open(number: u64, studio: Studio, events: mpsc::Sender<Event>) -> Self {
        let (frames, queue) = mpsc::channel(QUEUE);
        let (answers, answered) = mpsc::channel(ANSWERS);
        let (tasks, close) = (TaskTracker::new(), CancellationToken::new());
        let closing = close.clone();
        let living = tasks.spawn(async move {
            if let Some(why) = live(number, &studio, Queues(queue, answered), &events, &closing).await {
                // An app that is gone does not care.
                _ = events.send(Event::Connection(number, ConnectionEvent::Lost(why))).await;
            }
        });
        Self {
            number,
            frames,
            answers,
            tasks,
            over: CancellationToken::new(),
            close,
            living,
        }
    }

    /// Sends what is queued, closes, and ends every task that belongs to the connection.
    pub(crate) async fn end(mut self) {
        self.over.cancel();
        self.close.cancel();
        if timeout(PARTING_TIMEOUT, &mut self.living).await.is_err() {
            self.living.abort();
        }
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Connects and lives; why it ended, unless it was told to.
async fn live(
    number: u64,
    studio: &Studio,
    mut queues: Queues,
    events: &mpsc::Sender<Event>,
    close: &CancellationToken,
) -> Option<String> {
    let connected = tokio::select! {
        connected = connect(studio) => connected,
        () = close.cancelled() => return None,
    };
    let socket = match connected {
        Ok(socket) => socket,
        Err(error) => return Some(format!("{error:#}")),
    };
    let event = |event| events.send(Event::Connection(number, event));
    event(ConnectionEvent::Connected).await.ok()?;
    let (mut sink, mut stream) = socket.split();
    let read = async {
        loop {
            match stream.next().await {
                None => return ("the studio closed the connection".to_owned(), None),
                Some(Err(error @ Error::Capacity(_))) => return (error.to_string(), Some(close::TOO_LONG)),
                Some(Err(error @ Error::Utf8(_))) => return (error.to_string(), Some(close::MALFORMED)),
                Some(Err(error)) => return (error.to_string(), None),
                Some(Ok(Message::Close(frame))) => {
                    let why = match frame {
                        Some(CloseFrame { code, reason }) => {
                            let reason = plain(&reason, MAX_REASON);
                            format!("the studio closed the connection: {} ({reason})", u16::from(code))
                        }
                        None => "the studio closed the connection".to_owned(),
                    };
                    return (why, None);
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Binary(_))) => {
                    return ("the studio sent what is no frame".to_owned(), Some(close::MALFORMED));
                }
                Some(Ok(Message::Text(text))) => match ToBox::decode(&text) {
                    Ok(frame) => {
                        if event(ConnectionEvent::Frame(frame)).await.is_err() {
                            return ("stopping".to_owned(), None);
                        }
                    }
                    Err(error) => {
                        let code = error.close_code();
                        let why = format!("the studio sent {:#}", anyhow::Error::from(error));
                        return (why, Some(code));
                    }
                },
            }
        }
    };
    let mut write = async |sink: &mut Sink| {
        // The app holds a sender for as long as it lives: being told to close is what ends this.
        while let Some(frame) = queues.next(close).await {
            match timeout(WRITE_TIMEOUT, sink.send(Message::Text(frame.encode().into()))).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Some(error.to_string()),
                Err(_stuck) => return Some("the studio takes nothing".to_owned()),
            }
        }
        part(sink, close::NORMAL, "").await;
        None
    };
    let (why, code) = tokio::select! {
        ended = read => ended,
        why = write(&mut sink) => return why,
    };
    if let Some(code) = code {
        part(&mut sink, code, &why).await;
    }
    Some(why).filter(|_| !close.is_cancelled())
}

/// Says why the connection ends. Whoever is gone already need not be told.
async fn part(sink: &mut Sink, code: u16, why: &str) {
    let frame = CloseFrame {
        code: CloseCode::from(code),
        reason: close::reason(why).to_owned().into(),
    };
    _ = timeout(PARTING_TIMEOUT, sink.send(Message::Close(Some(frame)))).await;
}

/// What waits to leave: what goes first, and answers.
struct Queues(mpsc::Receiver<ToStudio>, mpsc::Receiver<ToStudio>);

impl Queues {
    /// The next frame to send. Once the connection is to be closed, only those that go first and wait already.
    async fn next(&mut self, close: &CancellationToken) -> Option<ToStudio> {
        let Self(first, answers) = self;
        // All arms are cancel-safe.
        tokio::select! {
            biased;
            () = close.cancelled() => first.try_recv().ok(),
            frame = first.recv() => frame,
            frame = answers.recv() => frame,
        }
    }
}

async fn connect(studio: &Studio) -> anyhow::Result<WebSocketStream<Box<dyn Stream>>> {
    let stream = studio.dial().await?;
    let config = WebSocketConfig::default()
        .max_frame_size(Some(MAX_FRAME))
        .max_message_size(Some(MAX_FRAME));
    let url = studio.websocket(SESSION_PATH);
    let (socket, _response) = client_async_with_config(url, stream, Some(config)).await?;
    Ok(socket)
}
