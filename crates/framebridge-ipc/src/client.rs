//! Clients that ask a process one thing after another over a link of their own.

use std::time::Duration;

use framebridge_proto::{
    Refusal, RequestId, Role, StreamName,
    bridge::{BridgeAnswer, BridgeRequest, FromBridge, ToBridge},
    encoder::{EncoderAnswer, EncoderRequest, FromEncoder, ToEncoder},
    limits::REQUEST_TIMEOUT,
    supervisor::{FromSupervisor, SupervisorAnswer, SupervisorRequest, ToSupervisor},
};
use tokio::time::timeout;

use crate::{
    codec::Message,
    handshake::{Identity, Peer},
    link::{Link, ReceiveError, SendError},
    runtime_dir::RuntimeDir,
    socket::{ConnectError, connect},
};

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The peer said no, and why.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The request did not leave.
    #[error("the request was not sent")]
    Send(#[from] SendError),
    /// The answer did not come.
    #[error("the answer was not received")]
    Receive(#[from] ReceiveError),
    /// The peer closed the link first.
    #[error("the peer closed the link before it answered")]
    Closed,
    /// The peer took too long.
    #[error("the peer did not answer in time")]
    Timeout,
}

/// Asks a supervisor, one request at a time.
#[derive(Debug)]
pub struct SupervisorClient(Client<FromSupervisor, ToSupervisor>);

/// Asks a bridge, one request at a time.
#[derive(Debug)]
pub struct BridgeClient(Client<FromBridge, ToBridge>);

/// Asks an encoder, one request at a time.
#[derive(Debug)]
pub struct EncoderClient(Client<FromEncoder, ToEncoder>);

#[derive(Debug)]
struct Client<In, Out> {
    link: Link<In, Out>,
    next: u32,
}

impl SupervisorClient {
    /// Connects to the supervisor of `dir`.
    ///
    /// # Errors
    /// Nobody listens there, or the handshake failed.
    pub async fn connect(dir: &RuntimeDir, identity: &Identity) -> Result<Self, ConnectError> {
        let link = connect(dir.place(Role::Supervisor, None), identity, Role::Supervisor).await?;
        Ok(Self(Client { link, next: 0 }))
    }

    /// Who answers.
    pub fn peer(&self) -> &Peer {
        &self.0.link.peer
    }

    /// Asks, and waits as long as [this request](SupervisorRequest::timeout) may take.
    ///
    /// # Errors
    /// [`RequestError::Refused`] is the supervisor's own answer; after any other, connect anew.
    pub async fn request(&mut self, request: SupervisorRequest) -> Result<SupervisorAnswer, RequestError> {
        let limit = request.timeout();
        self.0
            .ask(
                limit,
                |id| ToSupervisor::Request { id, request },
                |message| match message {
                    FromSupervisor::Response { id, result } => Some((id, result)),
                },
            )
            .await
    }
}

impl BridgeClient {
    /// Connects to the bridge of `dir`.
    ///
    /// # Errors
    /// Nobody listens there, or the handshake failed.
    pub async fn connect(dir: &RuntimeDir, identity: &Identity) -> Result<Self, ConnectError> {
        let link = connect(dir.place(Role::Bridge, None), identity, Role::Bridge).await?;
        Ok(Self(Client { link, next: 0 }))
    }

    /// Asks, and waits up to [`REQUEST_TIMEOUT`] for the answer.
    ///
    /// # Errors
    /// [`RequestError::Refused`] is the bridge's own answer; after any other, connect anew.
    pub async fn request(&mut self, request: BridgeRequest) -> Result<BridgeAnswer, RequestError> {
        self.0
            .ask(
                REQUEST_TIMEOUT,
                |id| ToBridge::Request { id, request },
                |message| match message {
                    FromBridge::Response { id, result } => Some((id, result)),
                },
            )
            .await
    }
}

impl EncoderClient {
    /// Connects to the encoder of `stream`.
    ///
    /// # Errors
    /// Nobody listens there, or the handshake failed.
    pub async fn connect(dir: &RuntimeDir, identity: &Identity, stream: &StreamName) -> Result<Self, ConnectError> {
        let link = connect(dir.place(Role::Encoder, Some(stream)), identity, Role::Encoder).await?;
        Ok(Self(Client { link, next: 0 }))
    }

    /// Asks, and waits as long as [this request](EncoderRequest::timeout) may take.
    ///
    /// # Errors
    /// [`RequestError::Refused`] is the encoder's own answer; after any other, connect anew.
    pub async fn request(&mut self, request: EncoderRequest) -> Result<EncoderAnswer, RequestError> {
        let limit = request.timeout();
        self.0
            .ask(
                limit,
                |id| ToEncoder::Request { id, request },
                |message| {
                    if let FromEncoder::Response { id, result } = message {
                        Some((id, result))
                    } else {
                        None
                    }
                },
            )
            .await
    }
}

impl<In: Message, Out: Message> Client<In, Out> {
    async fn ask<A>(
        &mut self,
        limit: Duration,
        request: impl FnOnce(RequestId) -> Out,
        response: impl Fn(In) -> Option<(RequestId, Result<A, Refusal>)>,
    ) -> Result<A, RequestError> {
        let id = RequestId(self.next);
        self.next = self.next.wrapping_add(1);
        let exchange = async {
            self.link.sender.send(&request(id)).await?;
            while let Some(message) = self.link.receiver.recv().await? {
                match response(message) {
                    Some((found, result)) if found == id => return Ok(result?),
                    Some(_) | None => {}
                }
            }
            Err(RequestError::Closed)
        };
        timeout(limit, exchange).await.unwrap_or(Err(RequestError::Timeout))
    }
}
