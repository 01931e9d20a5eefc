//! The STUN and TURN servers that viewers are told of.

use std::time::Duration;

use axum::http::HeaderValue;
use framebridge_auth::{Turn, UnixTime};
use framebridge_config::IceServer;

/// How long a viewer's TURN credentials are good. A relay asks for them when an allocation begins; whoever comes anew gets new
/// ones.
const TURN_LIFE: Duration = Duration::from_secs(3600);

/// All of them; with each what makes its credentials, where they are made.
#[derive(Debug)]
pub(crate) struct IceServers(Vec<(IceServer, Option<Turn>)>);

impl IceServers {
    pub(crate) fn new(servers: &[IceServer]) -> Self {
        let turn = |server: &IceServer| server.secret.as_deref().map(Turn::new);
        Self(servers.iter().map(|server| (server.clone(), turn(server))).collect())
    }

    /// `Link` headers that tell the viewer of `session` of them, with credentials of its own where they are made.
    pub(crate) fn links(&self, session: &str, now: UnixTime) -> impl Iterator<Item = HeaderValue> {
        let until = now + TURN_LIFE.as_secs();
        self.0.iter().flat_map(move |(server, turn)| {
            let mut server = server.clone();
            if let Some((username, credential)) = turn.as_ref().map(|turn| turn.credentials(session, until)) {
                (server.username, server.credential) = (Some(username), Some(credential));
            }
            links(&server)
        })
    }
}

/// One `Link` value per URL (RFC 9725, section 4.6).
fn links(server: &IceServer) -> Vec<HeaderValue> {
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
        let links = links(&server);
        assert_eq!(
            links,
            [
                r#"<turn:a:3478?transport=udp>; rel="ice-server"; username="me"; credential="a\"b\\c"; credential-type="password""#,
                r#"<turns:a:5349>; rel="ice-server"; username="me"; credential="a\"b\\c"; credential-type="password""#,
            ]
        );
    }
}
