//! Who connects to `supervisor.sock`: processes that report, operators that ask.

use std::{future::pending, io, path::PathBuf, time::Duration};

use framebridge_daemon::Tasks;
use framebridge_ipc::{BindError, Identity, Incoming, Link, Listener, RuntimeDir};
use framebridge_proto::{
    Refusal, RefusalKind, Role,
    supervisor::{FromSupervisor, SupervisorAnswer, ToSupervisor},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{interval, sleep},
};

use crate::app::Event;

/// After an accept that the system refused (no descriptors left, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often the socket's file is looked for.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What came of a request.
pub(crate) type Answer = Result<SupervisorAnswer, Refusal>;

/// The socket that peers connect to.
#[derive(Debug)]
pub(crate) struct Door {
    path: PathBuf,
    identity: Identity,
    listener: Option<Listener<ToSupervisor, FromSupervisor>>,
}

impl Door {
    /// Binds it in `dir`.
    pub(crate) async fn open(dir: &RuntimeDir, identity: &Identity) -> Result<Self, BindError> {
        let path = dir.socket(Role::Supervisor, None);
        let listener = Listener::bind(&path, identity).await?;
        Ok(Self {
            path,
            identity: identity.clone(),
            listener: Some(listener),
        })
    }

    /// Accepts for ever; what the peers say becomes events. A full queue holds up whoever fills it.
    pub(crate) async fn serve(mut self, events: mpsc::Sender<Event>, tasks: Tasks) {
        let mut looks = interval(LOOK_INTERVAL);
        loop {
            // Both arms are cancel-safe.
            tokio::select! {
                accepted = accept(self.listener.as_ref()) => match accepted {
                    Ok(incoming) => {
                        tasks.spawn(attend(incoming, events.clone()));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                _ = looks.tick() => self.look().await,
            }
        }
    }

    /// A socket whose file somebody removed is one that nobody finds: it is bound anew.
    async fn look(&mut self) {
        if self.listener.is_some() && self.path.exists() {
            return;
        }
        tracing::warn!(path = %self.path.display(), "our socket is gone: it is bound anew");
        // The old one removes the file at its path when it goes, so it goes first.
        self.listener = None;
        match Listener::bind(&self.path, &self.identity).await {
            Ok(listener) => self.listener = Some(listener),
            Err(error) => tracing::error!(%error, "our socket can't be bound anew"),
        }
    }
}

/// The next connection, or none while there is no socket.
async fn accept(
    listener: Option<&Listener<ToSupervisor, FromSupervisor>>,
) -> io::Result<Incoming<ToSupervisor, FromSupervisor>> {
    match listener {
        Some(listener) => listener.accept().await,
        None => pending().await,
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
