//! `bridgectl viewers [STREAM]`, and `bridgectl kick SESSION` or `STREAM/PUSH`

use anyhow::{Context as _, bail};
use framebridge_daemon::unix_ms;
use framebridge_proto::StreamName;
use hyper::Method;
use serde_json::{Value, json};

use crate::{ask, exit::Exit, names, out::Out, table::plain, units::span};

pub(crate) async fn run(stream: Option<StreamName>, out: Out) -> anyhow::Result<Exit> {
    if let Some(stream) = &stream {
        names::stream(&ask::status().await?, stream.as_str())?;
    }
    let query = stream.map(|stream| format!("?stream={stream}")).unwrap_or_default();
    let answer = ask::signaling(Method::GET, &format!("/api/v1/viewers{query}"), None).await?;
    let viewers = answer["viewers"].as_array().context(ask::MISMATCH)?;
    let now = unix_ms() / 1000;
    let mut table = plain(&[
        "SESSION", "STREAM", "STATE", "ADDRESS", "SINCE", "PATH", "LOSS", "RATE", "CARRIES", "RUNG", "FPS", "DELAY",
        "FREEZES", "WHO",
    ]);
    for viewer in viewers {
        let text = |field: &str| viewer[field].as_str().unwrap_or("-").to_owned();
        let or_none = |cell: Option<String>| cell.unwrap_or_else(|| "-".to_owned());
        let since = viewer["since"].as_u64().map(|since| span(now.saturating_sub(since)));
        let loss = viewer["loss_percent"].as_f64().map(|loss| format!("{loss} %"));
        let rate = |field: &str| {
            let rate = viewer[field].as_u64();
            or_none(rate.map(|rate| format!("{}.{} Mb/s", rate / 1_000_000, rate / 100_000 % 10)))
        };
        let state = match viewer["held"].as_str() {
            Some(why) => format!("{} (held: {why})", text("state")),
            None => text("state"),
        };
        table.add_row([
            text("session"),
            text("stream"),
            state,
            text("address"),
            or_none(since),
            path(viewer),
            or_none(loss),
            rate("bitrate"),
            rate("estimate"),
            text("rung"),
            or_none(viewer["fps"].as_f64().map(|fps| fps.to_string())),
            or_none(viewer["latency_ms"].as_u64().map(|ms| format!("{ms} ms"))),
            or_none(viewer["freezes"].as_u64().map(|freezes| freezes.to_string())),
            text("principal"),
        ]);
    }
    let publishers = answer["publishers"].as_array().context(ask::MISMATCH)?;
    let mut told = table.trim_fmt();
    if !publishers.is_empty() {
        told += "\n\n";
        told += &publishing(publishers, now);
    }
    out.tell(&told, &rows(viewers, publishers))?;
    Ok(Exit::Ok)
}

/// As JSON: those who publish after those who watch, told by their state.
fn rows(viewers: &[Value], publishers: &[Value]) -> Vec<Value> {
    let publishers = publishers.iter().cloned().map(|mut publisher| {
        publisher["state"] = "publishes".into();
        publisher
    });
    viewers.iter().cloned().chain(publishers).collect()
}

/// A table of those who publish.
fn publishing(publishers: &[Value], now: u64) -> String {
    let mut table = plain(&["SESSION", "PUBLISHES TO", "ADDRESS", "SINCE", "WHO"]);
    for publisher in publishers {
        let text = |field: &str| publisher[field].as_str().unwrap_or("-").to_owned();
        let since = publisher["since"].as_u64().map(|since| span(now.saturating_sub(since)));
        table.add_row([
            text("session"),
            text("stream"),
            text("address"),
            since.unwrap_or_else(|| "-".to_owned()),
            text("principal"),
        ]);
    }
    table.trim_fmt()
}

/// How a viewer came, and why not by a better way.
fn path(viewer: &Value) -> String {
    let text = |field: &str| viewer[field].as_str();
    match (text("path"), text("path_reason")) {
        (Some(path), Some(reason)) => format!("{path} ({reason})"),
        (path, _) => path.unwrap_or("-").to_owned(),
    }
}

/// `bridgectl kick SESSION`, or `bridgectl kick STREAM/PUSH`
pub(crate) async fn kick(session: &str, out: Out) -> anyhow::Result<Exit> {
    if let Some((stream, push)) = session.split_once('/') {
        return kick_push(stream, push, out).await;
    }
    if session.is_empty() || !session.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        bail!("`{session}` is no session: `bridgectl viewers` shows them");
    }
    let gone = ask::signaling(Method::DELETE, &format!("/api/v1/viewers/{session}"), None).await?;
    if gone != Value::Null {
        bail!(ask::MISMATCH);
    }
    out.tell(
        &format!("{session} is gone"),
        &json!({ "session": session, "gone": true }),
    )?;
    Ok(Exit::Ok)
}

/// Ends a push for now, whether it has a session or is refused again and again.
async fn kick_push(stream: &str, push: &str, out: Out) -> anyhow::Result<Exit> {
    names::push(&ask::status().await?, stream, push)?;
    // Of what names are made of, these alone may not stand in a path.
    let escaped = push.replace('[', "%5B").replace(']', "%5D");
    let path = format!("/api/v1/streams/{stream}/pushes/{escaped}");
    let gone = ask::signaling(Method::DELETE, &path, None).await?;
    if gone != Value::Null {
        bail!(ask::MISMATCH);
    }
    out.tell(
        &format!("push {push} of {stream} has ended; it begins again in 10 minutes, or with `bridgectl reload`"),
        &json!({ "stream": stream, "push": push, "gone": true }),
    )?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_tell_who_publishes_from_who_watches() {
        let of = |session: &str| json!({ "session": session, "stream": "live", "state": "live" });
        let publisher = json!({ "session": "b", "stream": "live" });
        let told = rows(&[of("a")], &[publisher]);
        let states: Vec<&str> = told.iter().filter_map(|row| row["state"].as_str()).collect();
        assert_eq!(states, ["live", "publishes"]);
        assert!(publishing(&told[1..], 0).contains("PUBLISHES TO"));
    }
}
