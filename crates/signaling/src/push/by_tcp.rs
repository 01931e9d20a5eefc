//! Reaching a receiver by TCP, where UDP does not get through: connections to where its answer says that it waits for them (RFC 6544).

use std::{net::SocketAddr, time::Duration};

use framebridge_dial::connect;
use framebridge_rtc::{Handle, SessionId, ViewerState};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// A receiver has so long to be reached by UDP, which most take less than half a second for. The first way that answers is taken.
const UDP_FIRST: Duration = Duration::from_secs(2);

/// How long a connection may take: with [`UDP_FIRST`] and a handshake it is below what a session has to connect.
const CONNECT: Duration = Duration::from_secs(5);

/// What the kernel keeps of what is written, bytes, as of viewers by TCP: more would be latency that nobody sees.
const SEND_BUFFER: u32 = 64 << 10;

/// Connects to a receiver that UDP has not reached, and serves the connections as long as they last. The session keeps the one that
/// answers first; others end by themselves. Once all is to `stop` none is made any more, and those that there are end with their session.
pub(super) async fn reach(engine: Handle, session: SessionId, listeners: Vec<SocketAddr>, stop: CancellationToken) {
    if stop.run_until_cancelled(sleep(UDP_FIRST)).await.is_none() {
        return;
    }
    let state = engine.session(&session).map(|info| info.state);
    if state != Some(ViewerState::Connecting) {
        return;
    }
    let mut connections = JoinSet::new();
    for listener in listeners {
        let (engine, stop) = (engine.clone(), stop.clone());
        connections.spawn(async move {
            let connected = timeout(CONNECT, connect(listener, SEND_BUFFER));
            let Some(connected) = stop.run_until_cancelled(connected).await else {
                return;
            };
            match connected {
                Ok(Ok(stream)) => {
                    tracing::debug!(%listener, "UDP has not reached the receiver: connected by TCP");
                    engine.serve_receiver(&session, stream, listener).await;
                }
                Ok(Err(error)) => tracing::debug!(%listener, %error, "the receiver is not reached by TCP"),
                Err(_late) => tracing::debug!(%listener, "the receiver has not answered by TCP"),
            }
        });
    }
    while connections.join_next().await.is_some() {}
}
