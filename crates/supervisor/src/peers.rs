//! Who connects to `supervisor.sock`: processes that report, operators that ask.

use std::time::Duration;

use framebridge_daemon::Tasks;
use framebridge_ipc::{Incoming, Link, Listener};
use framebridge_proto::{
    Refusal, RefusalKind,
    supervisor::{FromSupervisor, SupervisorAnswer, ToSupervisor},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};

use crate::app::Event;

/// After an accept that the system refused (no descriptors left, say): as often as a repeated error is worth a line.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// What came of a request.
pub(crate) type Answer = Result<SupervisorAnswer, Refusal>;

/// Accepts for ever; what the peers say becomes events. A full queue holds up whoever fills it.
pub(crate) async fn serve(listener: Listener<ToSupervisor, FromSupervisor>, events: mpsc::Sender<Event>, tasks: Tasks) {
    loop {
        match listener.accept().await {
            Ok(incoming) => {
                tasks.spawn(attend(incoming, events.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn attend(incoming: Incoming<ToSupervisor, FromSupervisor>, events: mpsc::Sender<Event>) {
    let link = match incoming.handshake().await {
        Ok(link) => link,
        Err(error) => {
            tracing::warn!(%error, "a connection ended at its handshake");
            return;
        }
    };
    let peer = link.peer.clone();
    if let Err(error) = converse(link, &events).await {
        tracing::warn!(role = %peer.role, pid = peer.pid, "a link ended: {error:#}");
    }
}

async fn converse(mut link: Link<ToSupervisor, FromSupervisor>, events: &mpsc::Sender<Event>) -> anyhow::Result<()> {
    while let Some(message) = link.receiver.recv().await? {
        match message {
            ToSupervisor::Heartbeat(heartbeat) => {
                let peer = link.peer.clone();
                let progress = Box::new(heartbeat.progress);
                events.send(Event::Reported { peer, progress }).await?;
            }
            ToSupervisor::Request { id, request } => {
                let (answer, answered) = oneshot::channel();
                events.send(Event::Asked { request, answer }).await?;
                let result: Answer = answered
                    .await
                    .unwrap_or_else(|_gone| Err(Refusal::new(RefusalKind::Unavailable, "the supervisor is stopping")));
                link.sender.send(&FromSupervisor::Response { id, result }).await?;
            }
        }
    }
    Ok(())
}
