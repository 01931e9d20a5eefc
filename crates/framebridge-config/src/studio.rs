//! `[studio]`: whom the bridge connects to, and how patiently.

use std::{fmt, net::IpAddr, path::PathBuf, str::FromStr, time::Duration};

use crate::reader::Reader;

/// `[studio]`
#[derive(Clone, PartialEq, Eq)]
pub struct Studio {
    /// Its addresses, tried in turn: nodes of one studio.
    pub urls: Vec<String>,
    /// This box's token there; never shown.
    pub token: StudioToken,
    /// What the studio may ask of this box.
    pub allow: StudioAllow,
    /// Failed attempts in a row after which the bridge ends; `None`: never.
    pub reconnect_attempts: Option<u32>,
    /// First wait between two attempts; doubles with each.
    pub backoff: Duration,
    /// Longest wait between two attempts.
    pub backoff_cap: Duration,
    /// Silence after which the link is dead.
    pub read_idle: Duration,
    /// Outage of signaling's HTTP after which the bridge has it restarted.
    pub outage_patience: Duration,
}

/// A box's token at its studio.
#[derive(Clone, PartialEq, Eq)]
pub enum StudioToken {
    /// `token`: this one.
    Given(String),
    /// `token_file`: the one in this file.
    File(PathBuf),
}

/// What a studio may ask of a box, whatever it says of the viewer for whom it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StudioAllow {
    /// `view`: to watch, and to look at pictures.
    pub view: bool,
    /// `control`: to change things for anyone the studio says may. Without it only addresses that `bridgectl share --control`
    /// has made change anything.
    pub control: bool,
    /// `jobs`: clips of what has been, and diagnoses.
    pub jobs: bool,
}

/// One of them by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Allowed {
    View,
    Control,
    Jobs,
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::View => "view",
            Self::Control => "control",
            Self::Jobs => "jobs",
        })
    }
}

impl FromStr for Allowed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::View, Self::Control, Self::Jobs];
        let known = all.into_iter().find(|known| known.to_string() == text);
        known.ok_or_else(|| "use \"view\", \"control\" and \"jobs\"".to_owned())
    }
}

impl fmt::Debug for StudioToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(_) => f.write_str("Given(..)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

impl fmt::Debug for Studio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Studio")
            .field("urls", &self.urls)
            .finish_non_exhaustive()
    }
}

pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Studio> {
    let seconds = Duration::from_secs;
    let urls: Vec<String> = reader.list("studio.url", Vec::new());
    let token = token(reader);
    let allowed = reader.list("studio.allow", vec![Allowed::View]);
    let allow = StudioAllow {
        view: allowed.contains(&Allowed::View),
        control: allowed.contains(&Allowed::Control),
        jobs: allowed.contains(&Allowed::Jobs),
    };
    let attempts = reader.number("studio.reconnect_attempts", 0, 0..=1_000_000);
    let backoff = reader.millis("studio.backoff_ms", seconds(1), 10..=60_000);
    let backoff_cap = reader.millis("studio.backoff_cap_ms", seconds(30), 10..=3_600_000);
    let read_idle = reader.millis("studio.read_idle_ms", seconds(20), 1000..=300_000);
    let outage_patience = reader.millis("studio.outage_patience_ms", seconds(45), 1000..=3_600_000);
    let schemes = ["ws://", "wss://", "http://", "https://"];
    if let Some(bad) = urls
        .iter()
        .find(|url| !schemes.iter().any(|scheme| url.starts_with(scheme)))
    {
        reader.problem(
            "studio.url",
            format!("`{bad}` is no studio: use e.g. https://studio.example"),
        );
    }
    reader.warn_of_cap(("studio.backoff_ms", backoff), ("studio.backoff_cap_ms", backoff_cap));
    let insecure = reader.flag("studio.insecure", false);
    if let Some(bad) = urls.iter().find(|url| !insecure && sends_in_the_clear(url)) {
        let message = format!(
            "`{bad}` would send the token in the clear: use https://, or say `insecure = true` if the network between is your own"
        );
        reader.problem("studio.url", message);
    }
    if urls.is_empty() {
        let keys = [
            "studio.insecure",
            "studio.allow",
            "studio.reconnect_attempts",
            "studio.backoff_ms",
            "studio.backoff_cap_ms",
            "studio.read_idle_ms",
            "studio.outage_patience_ms",
        ];
        // A supervisor empties it for those who are not the bridge: nothing is wrong then.
        if !reader.has("studio.url") {
            reader.warn_if_set(&keys, "`studio.url` names no studio");
        }
        if token.is_some() {
            reader.problem(
                "studio.url",
                "a studio token needs a studio, e.g. url = \"https://studio.example\"",
            );
        }
        return None;
    }
    if token.is_none() {
        reader.problem(
            "studio.token",
            "a studio needs a token: make one with `studio token new NAME`, and write it here or into a file that `token_file` names",
        );
    }
    Some(Studio {
        urls,
        token: token?,
        allow,
        reconnect_attempts: (attempts > 0).then_some(attempts),
        backoff,
        backoff_cap,
        read_idle,
        outage_patience,
    })
}

fn token(reader: &mut Reader<'_>) -> Option<StudioToken> {
    let given = reader.optional("studio.token", true);
    let file = reader.optional("studio.token_file", false);
    if given.is_some() && file.is_some() {
        reader.problem("studio.token_file", "there is a `token` besides: leave one of them out");
    }
    let file = file.map(|path| StudioToken::File(path.into()));
    given.map(StudioToken::Given).or(file)
}

/// Whether whoever is on the way reads along: no TLS, and another machine.
pub(crate) fn sends_in_the_clear(url: &str) -> bool {
    let Some(rest) = ["ws://", "http://"].iter().find_map(|scheme| url.strip_prefix(scheme)) else {
        return false;
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    // Before an @ stands who asks.
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let is_loopback = host
        .parse::<IpAddr>()
        .map(|address| address.to_canonical().is_loopback());
    !is_loopback.unwrap_or(host == "localhost" || host.ends_with(".localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_goes_in_the_clear_to_this_machine_alone() {
        for url in [
            "http://127.0.0.1:8900",
            "ws://[::1]/x",
            "http://localhost:1/",
            "http://user:pw@127.0.0.1:8900/x",
            "https://studio.example",
        ] {
            assert!(!sends_in_the_clear(url), "{url}");
        }
        for url in [
            "http://studio.example",
            "ws://192.0.2.1:8900",
            "http://127.0.0.1.evil.example",
            "ws://[2001:db8::1]:1",
        ] {
            assert!(sends_in_the_clear(url), "{url}");
        }
    }
}
