//! `bridge.sock`: operators steer the session.

use framebridge_daemon::Tasks;
use framebridge_ipc::{Identity, Incoming, Listener, RuntimeDir};
use framebridge_proto::{
    Refusal, RefusalKind, Role,
    bridge::{FromBridge, ToBridge},
    limits::{RECONNECT_INTERVAL, REQUEST_TIMEOUT},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

use crate::event::{Event, Order};

/// Listens for operators.
///
/// # Errors
/// The socket can't be bound.
pub(crate) async fn listen(
    dir: &RuntimeDir,
    identity: &Identity,
    tasks: &Tasks,
    events: mpsc::Sender<Event>,
) -> anyhow::Result<()> {
    let listener = Listener::<ToBridge, FromBridge>::bind(&dir.socket(Role::Bridge, None), identity).await?;
    let owner = tasks.clone();
    tasks.spawn(async move {
        loop {
            match listener.accept().await {
                Ok(incoming) => _ = owner.spawn(serve(incoming, events.clone())),
                Err(error) => {
                    tracing::warn!(%error, "accepting an operator");
                    sleep(RECONNECT_INTERVAL).await;
                }
            }
        }
    });
    Ok(())
}

async fn serve(incoming: Incoming<ToBridge, FromBridge>, events: mpsc::Sender<Event>) {
    let mut link = match incoming.handshake().await {
        Ok(link) => link,
        Err(error) => return tracing::debug!(%error, "an operator was not accepted"),
    };
    loop {
        let ToBridge::Request { id, request } = match link.receiver.recv().await {
            Ok(Some(message)) => message,
            Ok(None) => return,
            Err(error) => return tracing::debug!(%error, "an operator's link ended"),
        };
        let (answer, answered) = oneshot::channel();
        let order = Event::Order(Order { request, answer });
        let result = match events.send(order).await {
            Ok(()) => timeout(REQUEST_TIMEOUT, answered).await.ok().and_then(Result::ok),
            Err(_stopping) => None,
        };
        let none = || {
            Err(Refusal::new(
                RefusalKind::Unavailable,
                "the studio did not answer in time",
            ))
        };
        let result = result.unwrap_or_else(none);
        let response = FromBridge::Response { id, result };
        // An operator that does not read its answer would hold one of the socket's places for ever.
        if !matches!(timeout(REQUEST_TIMEOUT, link.sender.send(&response)).await, Ok(Ok(()))) {
            return;
        }
    }
}
