//! The TURN server that viewers of this studio are told of, with credentials that end.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use framebridge_studio_proto::IceServer;

/// The longest life of a credential. coturn looks at it where an allocation begins, and a viewer who watches on begins none: what
/// is passed on is worth no more than the address by which it was got.
const LONGEST: Duration = Duration::from_secs(3600);

/// A TURN server and the secret shared with it.
pub(crate) struct Turn {
    urls: Vec<String>,
    secret: framebridge_auth::Turn,
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn").field("urls", &self.urls).finish_non_exhaustive()
    }
}

impl Turn {
    pub(crate) fn new(urls: Vec<String>, secret: &str) -> Self {
        Self {
            urls,
            secret: framebridge_auth::Turn::new(secret),
        }
    }

    /// Credentials for somebody who watches `whom`, an address that is a permission and has `left` to live: only a hash of it
    /// travels.
    pub(crate) fn server(&self, whom: &str, left: Option<Duration>, now: SystemTime) -> IceServer {
        let lifetime = left.map_or(LONGEST, |left| left.min(LONGEST));
        let until = now.duration_since(UNIX_EPOCH).unwrap_or_default() + lifetime;
        let (username, credential) = self.secret.credentials(whom, until.as_secs());
        IceServer {
            urls: self.urls.clone(),
            username: Some(username),
            credential: Some(credential),
        }
    }
}

/// `Link` headers that tell a WHEP player of a server (RFC 9725, section 4.6).
pub(crate) fn links(server: &IceServer) -> impl Iterator<Item = String> {
    let user = server
        .username
        .iter()
        .map(|username| format!("; username=\"{username}\""))
        .chain(
            server
                .credential
                .iter()
                .map(|credential| format!("; credential=\"{credential}\"")),
        )
        .collect::<String>();
    let kind = if user.is_empty() {
        ""
    } else {
        "; credential-type=\"password\""
    };
    server
        .urls
        .iter()
        .map(move |url| format!("<{url}>; rel=\"ice-server\"{user}{kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_what_coturn_computes() {
        // echo -n box | openssl dgst -sha1 -hmac secret: its first 16 digits are the user, then
        // echo -n 1700003600:1ba7b2c73f5da978 | openssl dgst -sha1 -hmac secret -binary | base64
        let turn = Turn::new(vec!["turn:t:3478".into()], "secret");
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let server = turn.server("box", None, now);
        assert_eq!(server.username.as_deref(), Some("1700003600:1ba7b2c73f5da978"));
        assert_eq!(server.credential.as_deref(), Some("oAS8jqDqquCcSlpllND6AQ8jSfE="));
        // One who came by an address that ends has them for no longer.
        let short = turn.server("box", Some(Duration::from_secs(60)), now);
        assert_eq!(short.username.as_deref(), Some("1700000060:1ba7b2c73f5da978"));
        let link = links(&server).next().unwrap();
        assert!(
            link.starts_with(
                "<turn:t:3478>; rel=\"ice-server\"; username=\"1700003600:1ba7b2c73f5da978\"; credential=\""
            ),
            "{link}"
        );
    }
}
