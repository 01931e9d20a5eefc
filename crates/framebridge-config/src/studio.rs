//! `[studio]`: whom the bridge connects to, and how patiently.

use std::{fmt, time::Duration};

use crate::reader::Reader;

/// `[studio]`
#[derive(Clone, PartialEq, Eq)]
pub struct Studio {
    /// Its addresses, tried in turn: nodes of one studio.
    pub urls: Vec<String>,
    /// Our token there.
    pub token: String,
    /// Failed attempts in a row after which the bridge ends; `None`: never.
    pub reconnect_attempts: Option<u32>,
    /// First wait between two attempts; doubles with each.
    pub backoff: Duration,
    /// Longest wait between two attempts.
    pub backoff_cap: Duration,
    /// Nothing received for so long: the link is dead.
    pub read_idle: Duration,
    /// After so long an outage of signaling's HTTP the bridge has it started again.
    pub outage_patience: Duration,
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
    let token = reader.optional("studio.token", true);
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
    if urls.is_empty() {
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
            "a studio needs a token: make one with `studio token new NAME`",
        );
    }
    Some(Studio {
        urls,
        token: token?,
        reconnect_attempts: (attempts > 0).then_some(attempts),
        backoff,
        backoff_cap,
        read_idle,
        outage_patience,
    })
}
