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

use axum::http::HeaderValue;
use framebridge_config::{Http, IceServer};
use framebridge_proto::{StreamName, status::Condition};
use framebridge_rtc::Handle;

use crate::{
    events::Events,
    limits::Limits,
    problem::Problem,
    sessions::Ended,
    stream::{Stream, Streams, Told},
    supervisor::Supervisor,
};

/// What all HTTP handlers share.
#[derive(Debug)]
pub(crate) struct AppState {
    /// Where HTTP listens.
    pub(crate) address: SocketAddr,
    pub(crate) streams: Streams,
    pub(crate) engine: Handle,
    pub(crate) supervisor: Supervisor,
    /// `Link` headers that tell viewers of STUN and TURN servers.
    pub(crate) ice_servers: Vec<HeaderValue>,
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

impl AppState {
    pub(crate) fn new(
        address: SocketAddr,
        streams: Streams,
        engine: Handle,
        supervisor: Supervisor,
        ice_servers: &[IceServer],
        http: &Http,
        events: Events,
    ) -> Arc<Self> {
        Arc::new(Self {
            address,
            streams,
            engine,
            supervisor,
            ice_servers: ice_servers.iter().flat_map(ice_links).collect(),
            hosts: http.hosts.clone(),
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

    /// From now on no viewer is taken.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// One `Link` value per URL (RFC 9725, section 4.6).
fn ice_links(server: &IceServer) -> impl Iterator<Item = HeaderValue> {
    let credentials = match (&server.username, &server.credential) {
        (Some(username), Some(credential)) => format!(
            "; username={}; credential={}; credential-type=\"password\"",
            quoted(username),
            quoted(credential)
        ),
        (Some(_), None) | (None, Some(_)) | (None, None) => String::new(),
    };
    server.urls.iter().filter_map(move |url| {
        let link = HeaderValue::from_str(&format!("<{url}>; rel=\"ice-server\"{credentials}")).ok();
        if link.is_none() {
            tracing::warn!("an ICE server's URL or credentials can't stand in a header: viewers are not told of it");
        }
        link
    })
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
        let links: Vec<_> = ice_links(&server).collect();
        assert_eq!(
            links,
            [
                r#"<turn:a:3478?transport=udp>; rel="ice-server"; username="me"; credential="a\"b\\c"; credential-type="password""#,
                r#"<turns:a:5349>; rel="ice-server"; username="me"; credential="a\"b\\c"; credential-type="password""#,
            ]
        );
    }
}
