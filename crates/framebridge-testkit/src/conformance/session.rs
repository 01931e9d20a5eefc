//! The server that is asked, and sessions with it.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::answers::Description;
use crate::{
    Identity, Options, Viewer,
    whep::{self, Response},
};

/// Redirects that are followed.
const MOST_REDIRECTS: usize = 4;

pub(super) const SDP: &str = "application/sdp";
pub(super) const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// A WHEP endpoint.
#[derive(Debug)]
pub(super) struct Server {
    url: String,
    token: Option<String>,
}

/// What a POST came to.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) viewer: Viewer,
    pub(super) offer: String,
    pub(super) response: Response,
    pub(super) answer: Description,
    /// The session's URL; empty where the answer has none.
    pub(super) session: String,
    /// Statuses by which the POST was sent elsewhere first.
    pub(super) redirects: Vec<u16>,
}

impl Server {
    pub(super) fn new(url: String, token: Option<String>) -> Self {
        Self { url, token }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Asks with the token, if there is one.
    pub(super) fn ask(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> anyhow::Result<Response> {
        Ok(whep::exchange(method, url, &self.lines(headers), body)?)
    }

    /// GETs with the token what does not end: what comes in so long.
    pub(super) fn listen(&self, url: &str, for_so_long: Duration) -> anyhow::Result<Response> {
        Ok(whep::listen(url, &self.lines(&[]), for_so_long)?)
    }

    /// Headers, and the token's, as lines.
    fn lines(&self, headers: &[(&str, &str)]) -> String {
        let bearer = self
            .token
            .iter()
            .map(|token| ("Authorization", format!("Bearer {token}")));
        let own = headers.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let lines = own.chain(bearer);
        lines.map(|(name, value)| format!("{name}: {value}\r\n")).collect()
    }

    /// Asks as a stranger.
    pub(super) fn ask_without_token(&self, method: &str, headers: &str, body: &str) -> anyhow::Result<Response> {
        Ok(whep::exchange(method, &self.url, headers, body)?)
    }

    /// POSTs an offer of one video section, or of what `change` makes of it.
    pub(super) fn join(&self, change: impl Fn(&str) -> String) -> anyhow::Result<Joined> {
        let identity = Identity::generate().context("making a certificate")?;
        let viewer = Viewer::new(identity, Options::default(), Instant::now());
        let offer = change(&viewer.offer());
        let mut url = self.url.clone();
        let mut redirects = Vec::new();
        let mut response = self.ask("POST", &url, &[("Content-Type", SDP)], &offer)?;
        while (300..400).contains(&response.status) && redirects.len() < MOST_REDIRECTS {
            redirects.push(response.status);
            url = whep::resolve(&url, response.header("location").unwrap_or_default())?;
            response = self.ask("POST", &url, &[("Content-Type", SDP)], &offer)?;
        }
        let session = whep::resolve(&url, response.header("location").unwrap_or_default())?;
        Ok(Joined {
            viewer,
            offer,
            answer: Description::parse(&response.body),
            session,
            response,
            redirects,
        })
    }

    /// [`join`](Self::join) with the plain offer, which has to be taken.
    pub(super) fn session(&self) -> anyhow::Result<Joined> {
        let joined = self.join(str::to_owned)?;
        let Response { status, body, .. } = &joined.response;
        anyhow::ensure!(
            *status == 201 && !joined.session.is_empty(),
            "{} does not open a session: {status} {body}",
            self.url
        );
        Ok(joined)
    }

    /// PATCHes a session.
    pub(super) fn patch(&self, joined: &Joined, if_match: Option<&str>, body: &str) -> anyhow::Result<Response> {
        let mut headers = vec![("Content-Type", FRAGMENT)];
        headers.extend(if_match.map(|tag| ("If-Match", tag)));
        self.ask("PATCH", &joined.session, &headers, body)
    }

    /// Ends a session; whether that worked is another matter.
    pub(super) fn leave(&self, joined: &Joined) -> anyhow::Result<Response> {
        self.ask("DELETE", &joined.session, &[], "")
    }
}

impl Joined {
    /// The session's entity tag, quotes included.
    pub(super) fn tag(&self) -> Option<&str> {
        self.response.header("etag")
    }

    /// A fragment with candidates of the offer's own ICE generation.
    pub(super) fn candidates(&self, lines: &[&str]) -> String {
        self.fragment(&self.own("ice-ufrag"), &self.own("ice-pwd"), lines)
    }

    /// A fragment.
    pub(super) fn fragment(&self, ufrag: &str, password: &str, lines: &[&str]) -> String {
        let candidates: String = lines.iter().map(|line| format!("a=candidate:{line}\r\n")).collect();
        format!(
            "a=ice-options:trickle ice2\r\na=group:BUNDLE 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n\
             a=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\n{candidates}"
        )
    }

    fn own(&self, name: &str) -> String {
        let offer = Description::parse(&self.offer);
        offer.anywhere(name).unwrap_or_default().to_owned()
    }
}
