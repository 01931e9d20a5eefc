//! Serves `supervisor.sock`: processes report there, and operators ask; and the door for encoders of other users, who may report.

use std::time::Duration;

use framebridge_daemon::Tasks;
use framebridge_ipc::{HandshakeError, Incoming, Link, Listener, Peer, ReceiveError, RuntimeDir, SendError};
use framebridge_proto::{
    Refusal, RefusalKind,
    limits::REQUEST_TIMEOUT,
    supervisor::{FromSupervisor, Progress, ToSupervisor},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

use crate::event::{Answer, Event};

/// After an accept that the system refused (no descriptors left, say): as often as a repeated error is worth a line.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Which of the two sockets a peer came by, and so what it may say.
#[derive(Debug, Clone)]
pub(crate) enum Door {
    /// Our own user and root come here, and may say anything.
    Own,
    /// Encoders of other users come here, each as the user who owns its stream's directory, and may report how they do.
    Encoders(RuntimeDir),
}

impl Door {
    fn allows(&self, peer: &Peer, message: &ToSupervisor) -> bool {
        let Self::Encoders(dir) = self else { return true };
        match message {
            ToSupervisor::Heartbeat(heartbeat) => match &heartbeat.progress {
                Progress::Encoder(progress) => dir.is_encoder_of(&progress.stream, peer.uid),
                Progress::Signaling(_) | Progress::Bridge(_) => false,
            },
            ToSupervisor::Request { .. } | ToSupervisor::Happened(_) => false,
        }
    }
}

/// Why a link ended, but for its peer's closing it.
#[derive(Debug)]
enum Parting {
    /// The peer sent what is no message.
    Malformed(ReceiveError),
    /// The peer said what is not its to say here.
    Forbidden,
    /// The peer broke it off.
    Lost,
    /// The peer does not read its answers.
    TakesNothing,
    /// We go.
    Stopping,
}

impl From<ReceiveError> for Parting {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Io(_) => Self::Lost,
            ReceiveError::TooLong { .. } | ReceiveError::Decode(_) => Self::Malformed(error),
        }
    }
}

impl From<SendError> for Parting {
    fn from(error: SendError) -> Self {
        tracing::debug!("{:#}", anyhow::Error::from(error));
        Self::Lost
    }
}

/// Accepts for ever; what the peers say becomes events. A full queue holds up whoever fills it.
pub(crate) async fn serve(
    listener: Listener<ToSupervisor, FromSupervisor>,
    door: Door,
    events: mpsc::Sender<Event>,
    tasks: Tasks,
) {
    loop {
        match listener.accept().await {
            Ok(incoming) => {
                tasks.spawn(attend(incoming, door.clone(), events.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn attend(incoming: Incoming<ToSupervisor, FromSupervisor>, door: Door, events: mpsc::Sender<Event>) {
    let link = match incoming.handshake().await {
        Ok(link) => link,
        // A peer that went before it was greeted has done nothing wrong.
        Err(HandshakeError::Io(error)) => return tracing::debug!(%error, "a connection ended at its handshake"),
        Err(error) => return tracing::warn!(%error, "a connection ended at its handshake"),
    };
    let peer = link.peer.clone();
    match converse(link, &door, &events).await {
        Ok(()) => {}
        Err(Parting::Malformed(error)) => {
            tracing::warn!(role = %peer.role, pid = peer.pid, "a link ended: {:#}", anyhow::Error::from(error));
        }
        Err(Parting::Forbidden) => {
            tracing::warn!(role = %peer.role, pid = peer.pid, uid = peer.uid, "a link ended: only an encoder's heartbeats come here");
        }
        // A peer may go whenever it likes, and goes as often as whoever it asked for goes.
        Err(parting) => tracing::debug!(role = %peer.role, pid = peer.pid, ?parting, "a link ended"),
    }
}

async fn converse(
    link: Link<ToSupervisor, FromSupervisor>,
    door: &Door,
    events: &mpsc::Sender<Event>,
) -> Result<(), Parting> {
    let Link {
        peer,
        mut sender,
        mut receiver,
    } = link;
    while let Some(message) = receiver.recv().await? {
        if !door.allows(&peer, &message) {
            return Err(Parting::Forbidden);
        }
        match message {
            ToSupervisor::Heartbeat(heartbeat) => {
                let peer = peer.clone();
                let progress = Box::new(heartbeat.progress);
                events
                    .send(Event::Reported { peer, progress })
                    .await
                    .map_err(|_stopping| Parting::Stopping)?;
            }
            ToSupervisor::Happened(happening) => {
                let peer = peer.clone();
                events
                    .send(Event::Happened { peer, happening })
                    .await
                    .map_err(|_stopping| Parting::Stopping)?;
            }
            ToSupervisor::Request { id, request } => {
                let (answer, answered) = oneshot::channel();
                events
                    .send(Event::Asked { request, answer })
                    .await
                    .map_err(|_stopping| Parting::Stopping)?;
                let result: Answer = answered
                    .await
                    .unwrap_or_else(|_gone| Err(Refusal::new(RefusalKind::Unavailable, "the supervisor is stopping")));
                let response = FromSupervisor::Response { id, result };
                // Who asks waits for its answer before it asks again. One that does not read it is not waited for, or it would
                // hold one of the socket's places for ever.
                match timeout(REQUEST_TIMEOUT, sender.send(&response)).await {
                    Ok(sent) => sent?,
                    Err(_elapsed) => return Err(Parting::TakesNothing),
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use framebridge_ipc::Identity;
    use framebridge_proto::{
        RequestId, Role,
        hooks::Happening,
        status::BridgeState,
        supervisor::{BridgeProgress, Heartbeat, SupervisorRequest},
    };

    use super::*;

    #[test]
    fn at_the_encoders_door_nothing_is_heard_but_encoders() {
        let base = tempfile::tempdir().expect("a directory");
        let door = Door::Encoders(RuntimeDir::at("/nowhere").with_encoders_in(base.path()));
        let Identity {
            role,
            instance,
            pid,
            build,
        } = Identity::new(Role::Encoder);
        let own = rustix::process::geteuid().as_raw();
        let peer = |uid| Peer {
            role,
            instance,
            pid,
            uid,
            build: build.clone(),
            version: 1,
        };
        let request = ToSupervisor::Request {
            id: RequestId(1),
            request: SupervisorRequest::Status,
        };
        let heartbeat = ToSupervisor::Heartbeat(Heartbeat {
            sequence: 0,
            progress: Progress::Bridge(BridgeProgress {
                state: BridgeState::Disabled,
                reason: None,
            }),
        });
        let happened = ToSupervisor::Happened(Happening::SharesEnded { count: 1 });
        for message in [&request, &heartbeat, &happened] {
            assert!(!door.allows(&peer(own), message), "{message:?}");
            assert!(Door::Own.allows(&peer(own), message));
        }
        let dir = RuntimeDir::at("/nowhere").with_encoders_in(base.path());
        std::fs::create_dir(base.path().join("cam")).expect("made");
        let is_its = |stream: &str, uid| dir.is_encoder_of(&stream.parse().expect("a name"), uid);
        assert!(is_its("cam", own) && !is_its("cam", own + 1) && !is_its("other", own));
    }
}
