//! What all HTTP handlers share.

use std::{
    net::SocketAddr,
    str::FromStr as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::http::HeaderValue;
use framebridge_auth::Turn;
use framebridge_config::{Http, IceServer};
use framebridge_http::Tls;
use framebridge_proto::{StreamName, status::Condition};
use framebridge_rtc::{Handle, SessionId};

use crate::{
    access::{Access, now},
    events::Events,
    guard,
    limits::Limits,
    owners::Owners,
    problem::Problem,
    sessions::Ended,
    stream::{Stream, Streams, Told},
    supervisor::Supervisor,
};

/// How long a viewer's TURN credentials are good. A relay asks for them when an allocation begins; whoever comes anew gets new
/// ones.
const TURN_LIFE: Duration = Duration::from_secs(3600);

/// What all HTTP handlers share.
#[derive(Debug)]
pub(crate) struct AppState {
    /// Where HTTP listens.
    pub(crate) address: SocketAddr,
    pub(crate) streams: Streams,
    pub(crate) engine: Handle,
    pub(crate) supervisor: Supervisor,
    pub(crate) access: Access,
    pub(crate) owners: Owners,
    /// The certificate that HTTPS is served with.
    pub(crate) tls: Option<Tls>,
    /// Browsers are told to come by HTTPS only.
    pub(crate) hsts: bool,
    /// STUN and TURN servers that viewers are told of.
    ice_servers: Vec<(IceServer, Option<Turn>)>,
    /// Names that a `Host` may have, besides those that can't be rebound; `*` is any.
    pub(crate) hosts: Vec<String>,
    /// Web origins whose pages may play our streams; `*` is any.
    pub(crate) origins: Vec<HeaderValue>,
    pub(crate) started: Instant,
    pub(crate) ended: Ended,
    pub(crate) limits: Limits,
    pub(crate) events: Events,
    draining: AtomicBool,
}

/// What a [`AppState`] is made of, besides what the operator asked for.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) address: SocketAddr,
    pub(crate) streams: Streams,
    pub(crate) engine: Handle,
    pub(crate) supervisor: Supervisor,
    pub(crate) access: Access,
    pub(crate) owners: Owners,
    pub(crate) tls: Option<Tls>,
    pub(crate) events: Events,
}

impl AppState {
    pub(crate) fn new(parts: Parts, ice_servers: &[IceServer], http: &Http) -> Arc<Self> {
        let Parts {
            address,
            streams,
            engine,
            supervisor,
            access,
            owners,
            tls,
            events,
        } = parts;
        let turn = |server: &IceServer| server.secret.as_deref().map(Turn::new);
        Arc::new(Self {
            address,
            streams,
            engine,
            supervisor,
            access,
            owners,
            tls,
            hsts: http.tls.as_ref().is_some_and(|tls| tls.hsts),
            ice_servers: ice_servers
                .iter()
                .map(|server| (server.clone(), turn(server)))
                .collect(),
            hosts: http.hosts.iter().cloned().chain(guard::own_names()).collect(),
            origins: http
                .origins
                .iter()
                .filter_map(|origin| HeaderValue::from_str(origin).ok())
                .collect(),
            started: Instant::now(),
            ended: Ended::default(),
            limits: Limits::new(),
            events,
            draining: AtomicBool::new(false),
        })
    }

    /// The stream of this name.
    pub(crate) fn stream(&self, name: &str) -> Result<&Arc<Stream>, Problem> {
        let name = StreamName::from_str(name).map_err(|_| Problem::unknown_stream())?;
        self.streams.get(&name).ok_or_else(Problem::unknown_stream)
    }

    /// Takes over the media plane's counts: who watches, and how much was sent.
    pub(crate) fn sample(&self) {
        let stats = self.engine.stats();
        for stream in self.streams.values() {
            let found = stats.iter().find(|stats| stats.stream == stream.name);
            stream.set_viewers(found.map_or(0, |stats| stats.viewers));
            stream
                .live
                .store(found.map_or(0, |stats| stats.live), Ordering::Relaxed);
            stream
                .published
                .raise_to(found.map_or(0, |stats| stats.frames_published));
            stream.sent.raise_to(found.map_or(0, |stats| stats.frames_sent));
        }
    }

    /// How a stream is. Why an encoder is not there only the supervisor knows; the rest is seen here.
    pub(crate) async fn health(&self, stream: &Stream) -> Told {
        if stream.upstream().source.is_none()
            && let Ok(status) = self.supervisor.status().await
            && let Some(row) = status.streams.into_iter().find(|row| row.name == stream.name.as_str())
            // Else it has just heard of an encoder that is about to be linked.
            && row.condition != Condition::Well
        {
            return row.into();
        }
        Told::from(&stream.health())
    }

    /// `Link` headers that tell the viewer of `session` of STUN and TURN servers, with credentials of its own where they are
    /// made.
    pub(crate) fn ice_links(&self, session: &str) -> impl Iterator<Item = HeaderValue> {
        let until = now() + TURN_LIFE.as_secs();
        self.ice_servers.iter().flat_map(move |(server, turn)| {
            let mut server = server.clone();
            if let Some((username, credential)) = turn.as_ref().map(|turn| turn.credentials(session, until)) {
                (server.username, server.credential) = (Some(username), Some(credential));
            }
            ice_links(&server)
        })
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
        self.sample();
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

/// One `Link` value per URL (RFC 9725, section 4.6).
fn ice_links(server: &IceServer) -> Vec<HeaderValue> {
    let credentials = match (&server.username, &server.credential) {
        (Some(username), Some(credential)) => format!(
            "; username={}; credential={}; credential-type=\"password\"",
            quoted(username),
            quoted(credential)
        ),
        (Some(_), None) | (None, Some(_)) | (None, None) => String::new(),
    };
    let links = server.urls.iter().filter_map(|url| {
        let link = HeaderValue::from_str(&format!("<{url}>; rel=\"ice-server\"{credentials}")).ok();
        if link.is_none() {
            tracing::warn!("an ICE server's URL or credentials can't stand in a header: viewers are not told of it");
        }
        link
    });
    links.collect()
}

/// A quoted-string (RFC 9110, section 5.6.4).
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_url_of_an_ice_server_gets_a_link_with_its_credentials() {
        let server = IceServer {
            urls: vec!["turn:a:3478?transport=udp".into(), "turns:a:5349".into()],
            username: Some("me".into()),
            credential: Some(r#"a"b\c"#.into()),
            secret: None,
        };
        let links = ice_links(&server);
        assert_eq!(
            links,
            [
                r#"<turn:a:3478?transport=udp>; rel="ice-server"; username="me"; credential="a\"b\\c"; credential-type="password""#,
                r#"<turns:a:5349>; rel="ice-server"; username="me"; credential="a\"b\\c"; credential-type="password""#,
            ]
        );
    }
}
