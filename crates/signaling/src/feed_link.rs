//! Gives a stream's encoder what is published to the stream.

use std::{sync::Arc, time::Duration};

use axum::body::Bytes;
use framebridge_daemon::Tasks;
use framebridge_ipc::{FeedListener, RuntimeDir};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    sync::mpsc,
    time::sleep,
};

use crate::stream::Stream;

/// When it is tried again to bind the socket, or to take a connection: an encoder's own directory comes with its unit.
const AGAIN: Duration = Duration::from_secs(1);

/// Gives what is published to `stream` to its encoder, for as long as it is polled.
pub(crate) async fn serve(stream: Arc<Stream>, dir: RuntimeDir, tasks: Tasks) {
    let Some(feed) = &stream.feed else { return };
    let listener = loop {
        match FeedListener::bind(&dir, &stream.name).await {
            Ok(listener) => break listener,
            Err(error) => tracing::debug!(stream = %stream.name, "{:#}", anyhow::Error::new(error)),
        }
        sleep(AGAIN).await;
    };
    loop {
        match listener.accept().await {
            Ok(socket) => {
                // Without a publisher it is closed at once, by which the encoder knows.
                if let Some(frames) = feed.join() {
                    feed.served_by(tasks.spawn(write(socket, frames)).abort_handle());
                }
            }
            Err(error) => {
                tracing::warn!(stream = %stream.name, %error, "the encoder can't be given what is published");
                sleep(AGAIN).await;
            }
        }
    }
}

/// Writes frames until there are no more, or nobody reads them.
async fn write(mut socket: impl AsyncWrite + Unpin, mut frames: mpsc::Receiver<Bytes>) {
    while let Some(frame) = frames.recv().await {
        if socket.write_all(&frame).await.is_err() {
            return;
        }
    }
}
