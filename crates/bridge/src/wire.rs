//! One connection to a studio: its WebSocket, and the tasks that live and end with it.

use std::time::Duration;

use framebridge_studio_proto::{Frame as _, SESSION_PATH, ToBox, ToStudio, close, limits::MAX_FRAME};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Message,
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    app::Event,
    dial::{Stream, Studio},
};

/// Frames that may wait for the studio. Past it whoever sends waits.
const QUEUE: usize = 256;

/// A frame that takes longer to leave is stuck in a dead connection.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the last frames and the close frame may take.
const PARTING_TIMEOUT: Duration = Duration::from_secs(2);

/// One connection, from the attempt at it on.
#[derive(Debug)]
pub(crate) struct Wire {
    /// Which one: events of those before it come late.
    pub(crate) number: u64,
    pub(crate) frames: mpsc::Sender<ToStudio>,
    /// Tasks that end with the connection: requests under way.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the connection is over for whoever works for it.
    pub(crate) over: CancellationToken,
    /// Cancelled when the connection is to be closed.
    close: CancellationToken,
    /// The task that reads and writes.
    living: JoinHandle<()>,
}

/// What happens on a connection, and on which.
#[derive(Debug)]
pub(crate) enum WireEvent {
    /// It is there.
    Connected,
    /// It is gone, or never came about.
    Lost(String),
    /// A frame came.
    Frame(ToBox),
}

impl Wire {
    /// Begins to connect. What happens comes as events.
    pub(crate) fn open(number: u64, studio: Studio, events: mpsc::Sender<Event>) -> Self {
        let (frames, queue) = mpsc::channel(QUEUE);
        let (tasks, close) = (TaskTracker::new(), CancellationToken::new());
        let closing = close.clone();
        let living = tasks.spawn(async move {
            if let Some(why) = live(number, &studio, queue, &events, &closing).await {
                // An app that is gone does not care.
                _ = events.send(Event::Wire(number, WireEvent::Lost(why))).await;
            }
        });
        Self {
            number,
            frames,
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
    mut queue: mpsc::Receiver<ToStudio>,
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
    let event = |event| events.send(Event::Wire(number, event));
    event(WireEvent::Connected).await.ok()?;
    let (mut sink, mut stream) = socket.split();
    let read = async {
        loop {
            match stream.next().await {
                None => return "the studio closed the connection".to_owned(),
                Some(Err(error)) => return error.to_string(),
                Some(Ok(Message::Close(frame))) => {
                    return match frame {
                        Some(CloseFrame { code, reason }) => {
                            format!("the studio closed the connection: {} ({reason})", u16::from(code))
                        }
                        None => "the studio closed the connection".to_owned(),
                    };
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Binary(_))) => return "the studio sent what is no frame".to_owned(),
                Some(Ok(Message::Text(text))) => match ToBox::decode(&text) {
                    Ok(frame) => {
                        if event(WireEvent::Frame(frame)).await.is_err() {
                            return "stopping".to_owned();
                        }
                    }
                    Err(error) => return format!("the studio sent {:#}", anyhow::Error::from(error)),
                },
            }
        }
    };
    let write = async {
        // The app holds a sender for as long as it lives: being told to close is what ends this.
        while let Some(frame) = next(&mut queue, close).await {
            match timeout(WRITE_TIMEOUT, sink.send(Message::Text(frame.encode().into()))).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Some(error.to_string()),
                Err(_stuck) => return Some("the studio takes nothing".to_owned()),
            }
        }
        let frame = CloseFrame {
            code: CloseCode::from(close::NORMAL),
            reason: "".into(),
        };
        // Whoever is gone already need not be told.
        _ = timeout(PARTING_TIMEOUT, sink.send(Message::Close(Some(frame)))).await;
        None
    };
    tokio::select! {
        why = read => Some(why).filter(|_| !close.is_cancelled()),
        why = write => why,
    }
}

/// The next frame to send. Once the connection is to be closed, only those that wait already.
async fn next(queue: &mut mpsc::Receiver<ToStudio>, close: &CancellationToken) -> Option<ToStudio> {
    // Both arms are cancel-safe.
    tokio::select! {
        biased;
        () = close.cancelled() => queue.try_recv().ok(),
        frame = queue.recv() => frame,
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
