//! One connection after its handshake: a typed sender and a typed receiver.

use std::{
    io::{self, IoSlice},
    marker::PhantomData,
};

use bytes::Buf as _;
use futures_util::StreamExt as _;
use tokio::{
    io::AsyncWriteExt as _,
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    sync::OwnedSemaphorePermit,
};
use tokio_util::codec::{FramedRead, LengthDelimitedCodec, LengthDelimitedCodecError};

use crate::{
    Peer,
    codec::{DecodeError, EncodeError, Encoded, Message, decode, encode},
};

/// A connection whose handshake went well.
#[derive(Debug)]
pub struct Link<In, Out> {
    /// Who is at the other end.
    pub peer: Peer,
    /// Towards the peer.
    pub sender: Sender<Out>,
    /// From the peer.
    pub receiver: Receiver<In>,
}

/// The sending half of a [`Link`].
#[derive(Debug)]
pub struct Sender<Out> {
    stream: OwnedWriteHalf,
    direction: PhantomData<fn(Out)>,
}

/// The receiving half of a [`Link`].
#[derive(Debug)]
pub struct Receiver<In> {
    frames: FramedRead<OwnedReadHalf, LengthDelimitedCodec>,
    /// Held for the listener's count of connections.
    _permit: Option<OwnedSemaphorePermit>,
    direction: PhantomData<fn() -> In>,
}

/// Why nothing more can be sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The message itself; the link is still good.
    #[error("a message was not sent")]
    Encode(#[from] EncodeError),
    /// The link is gone.
    #[error("the link broke while sending")]
    Io(#[source] io::Error),
}

/// Why nothing more can be received. Each ends the link.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The peer announced more than this channel's cap.
    #[error("the peer sent a message over the channel's cap of {max} bytes")]
    TooLong {
        /// The cap.
        max: usize,
    },
    /// What came is no message.
    #[error("the peer sent a malformed message")]
    Decode(#[source] DecodeError),
    /// The link is gone, possibly in the middle of a message.
    #[error("the link broke while receiving")]
    Io(#[source] io::Error),
}

impl<In: Message, Out: Message> Link<In, Out> {
    pub(crate) fn new(stream: tokio::net::UnixStream, peer: Peer, permit: Option<OwnedSemaphorePermit>) -> Self {
        let (read, write) = stream.into_split();
        let framing = LengthDelimitedCodec::builder()
            .max_frame_length(In::MAX_LEN)
            .new_codec();
        Self {
            peer,
            sender: Sender {
                stream: write,
                direction: PhantomData,
            },
            receiver: Receiver {
                frames: FramedRead::new(read, framing),
                _permit: permit,
                direction: PhantomData,
            },
        }
    }
}

impl<Out: Message> Sender<Out> {
    /// Sends one message. Not cancel-safe: dropped half-way, it leaves half a message on the wire, so a link that is
    /// not to be closed lets it finish.
    ///
    /// # Errors
    /// [`SendError::Encode`] leaves the link as it was; [`SendError::Io`] ends it.
    pub async fn send(&mut self, message: &Out) -> Result<(), SendError> {
        self.send_encoded(&encode(message)?).await
    }

    /// Sends what was encoded once for several links. Not cancel-safe, like [`send`](Self::send).
    ///
    /// # Errors
    /// The link is gone.
    pub async fn send_encoded(&mut self, message: &Encoded) -> Result<(), SendError> {
        let mut rest = message.head.clone().chain(message.payload.clone());
        while rest.has_remaining() {
            let mut slices = [IoSlice::new(&[]); 2];
            let filled = rest.chunks_vectored(&mut slices);
            let written = self
                .stream
                .write_vectored(&slices[..filled])
                .await
                .map_err(SendError::Io)?;
            if written == 0 {
                return Err(SendError::Io(io::ErrorKind::WriteZero.into()));
            }
            rest.advance(written);
        }
        Ok(())
    }
}

impl<In: Message> Receiver<In> {
    /// The next message; `None` once the peer has closed the link between two messages. Cancel-safe.
    ///
    /// # Errors
    /// The link is gone or what came is no message: drop both halves.
    pub async fn recv(&mut self) -> Result<Option<In>, ReceiveError> {
        match self.frames.next().await {
            None => Ok(None),
            Some(Ok(bytes)) => decode(bytes.freeze()).map(Some).map_err(ReceiveError::Decode),
            Some(Err(error))
                if error
                    .get_ref()
                    .is_some_and(|inner| inner.is::<LengthDelimitedCodecError>()) =>
            {
                Err(ReceiveError::TooLong { max: In::MAX_LEN })
            }
            Some(Err(error)) => Err(ReceiveError::Io(error)),
        }
    }
}
