//! What all HTTP handlers share.

use std::{
    net::SocketAddr,
    str::FromStr as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use framebridge_daemon::Tasks;
use framebridge_http::Tls;
use framebridge_proto::{StreamName, status::Condition};
use framebridge_rtc::{Handle, SessionId};
use tokio::sync::watch;

use crate::{
    access::Access,
    ended::Ended,
    films::Films,
    glances::Glances,
    ice_servers::IceServers,
    limits::Limits,
    owners::Owners,
    problem::Problem,
    pushes::Pushes,
    reports::Reports,
    silenced::Silenced,
    site::Site,
    stream::{Stream, Told},
    stream_set::Streams,
    supervisor::Supervisor,
    visits::Visits,
};

/// What all HTTP handlers share. Nothing in it knows of it.
#[derive(Debug)]
pub(crate) struct AppState {
    /// Where HTTP listens.
    pub(crate) address: SocketAddr,
    pub(crate) streams: Streams,
    pub(crate) engine: Handle,
    pub(crate) supervisor: Supervisor,
    pub(crate) access: Access,
    pub(crate) owners: Owners,
    pub(crate) ended: Ended,
    pub(crate) pushes: Pushes,
    pub(crate) visits: Visits,
    pub(crate) films: Arc<Films>,
    pub(crate) reports: Reports,
    pub(crate) silenced: Silenced,
    pub(crate) limits: Limits,
    pub(crate) site: Site,
    pub(crate) ice_servers: IceServers,
    /// The certificate that HTTPS is served with.
    pub(crate) tls: Option<Tls>,
    /// How the streams are, as [`events::tell`](crate::events::tell) tells it.
    pub(crate) glances: watch::Receiver<Arc<Glances>>,
    pub(crate) started: Instant,
    pub(crate) draining: AtomicBool,
    /// Those that a request leaves behind.
    pub(crate) tasks: Tasks,
}

impl AppState {
    /// The stream of this name.
    pub(crate) fn stream(&self, name: &str) -> Result<Arc<Stream>, Problem> {
        let name = StreamName::from_str(name).map_err(|_| Problem::unknown_stream())?;
        self.streams.get(&name).ok_or_else(Problem::unknown_stream)
    }

    /// How a stream is. Why an encoder is not there only the supervisor knows; the rest is seen here.
    pub(crate) async fn health(&self, stream: &Stream) -> Told {
        if stream.upstream().source.is_none()
            && let Ok(status) = self.supervisor.status().await
            && let Some(row) = status.streams.into_iter().find(|row| row.name == stream.name.as_str())
            // Else it has just heard of an encoder that is about to be linked.
            && !matches!(row.condition, Condition::Well | Condition::Untried)
        {
            return row.into();
        }
        Told::from(&stream.health())
    }

    /// Where it listens, as a URL begins.
    pub(crate) fn base(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Ends a viewer's session; false if there is none.
    pub(crate) async fn end(&self, session: &SessionId) -> bool {
        let ended = self.engine.leave(session).await;
        self.owners.forget(session);
        ended
    }

    /// From now on no viewer is taken.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}
