//! The statements about the extension for server-sent events.

use std::time::Duration;

use super::{
    report::{Outcome, Report},
    session::{Joined, Server},
    statements::{is_success, media_type, status},
};
use crate::whep::{self, Response};

const EXTENSION: &str = "urn:ietf:params:whep:ext:core:server-sent-events";

/// So long an event stream is listened to: what is told at first comes at once, and a count by the next second or two.
const HEARD: Duration = Duration::from_secs(3);

/// A `Link` header's target, and its parameter `name`, in quotes or without.
fn parameter<'a>(link: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = link.split_once('>')?;
    let mut parameters = rest.split(';').filter_map(|parameter| parameter.trim().split_once('='));
    let (_, value) = parameters.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    Some(value.trim_matches('"'))
}

/// Where the server says that the session's event streams are opened, and with which events.
fn announced(joined: &Joined) -> anyhow::Result<Option<(String, Vec<String>)>> {
    let mut links = joined.response.headers("link");
    let Some(link) = links.find(|link| parameter(link, "rel") == Some(EXTENSION)) else {
        return Ok(None);
    };
    let target = link.trim_start_matches('<').split('>').next().unwrap_or_default();
    let events = parameter(link, "events").unwrap_or_default().split(',');
    let events = events
        .map(|event| event.trim().to_owned())
        .filter(|event| !event.is_empty());
    Ok(Some((whep::resolve(&joined.session, target)?, events.collect())))
}

/// What was heard on an event stream: the events' names with their data lines.
fn events_in(heard: &str) -> Vec<(String, Vec<String>)> {
    let blocks = heard.split("\n\n").map(|block| {
        let fields = |name| {
            block
                .lines()
                .filter_map(move |line: &str| line.strip_prefix(name))
                .map(|value| value.trim().to_owned())
        };
        (fields("event:").next().unwrap_or_default(), fields("data:").collect())
    });
    blocks
        .filter(|(name, data): &(String, Vec<String>)| !name.is_empty() && !data.is_empty())
        .collect()
}

/// What it is to open, follow and end an event stream.
pub(super) fn events(server: &Server, report: &mut Report) -> anyhow::Result<()> {
    let joined = server.session()?;
    let statement = "an event stream is opened by POST to the announced URL, answered 201 with Location";
    let Some((url, names)) = announced(&joined)? else {
        report.must(
            "4.9.1",
            statement,
            Outcome::NotApplicable("the server announces no events".into()),
        );
        server.leave(&joined)?;
        return Ok(());
    };
    let wanted = if names.is_empty() {
        vec!["active".to_owned()]
    } else {
        names
    };
    let list = serde_json::to_string(&wanted)?;
    let json = [("Content-Type", "application/json")];
    let opened = server.ask("POST", &url, &json, &list)?;
    let location = whep::resolve(&url, opened.header("location").unwrap_or_default())?;
    report.must("4.9.1", statement, opening(&opened));
    if opened.status != 201 || location.is_empty() {
        server.leave(&joined)?;
        return Ok(());
    }
    let bare = server.ask("POST", &url, &[], "")?;
    report.must("4.9.1", "a POST needs no body: all events are meant", opening(&bare));
    followed(server, report, &location, &wanted)?;
    let ended = server.ask("DELETE", &location, &[], "")?;
    let after = server.listen(&location, HEARD)?;
    report.must(
        "4.9.1",
        "DELETE ends an event stream: asked for it again, the server answers 404",
        Outcome::of(
            is_success(&ended) && after.status == 404,
            format!("DELETE {}, then GET {}", status(&ended), status(&after)),
        ),
    );
    let opened = server.ask("POST", &url, &json, &list)?;
    let location = whep::resolve(&url, opened.header("location").unwrap_or_default())?;
    server.leave(&joined)?;
    let after = server.listen(&location, HEARD)?;
    report.must(
        "4.9.1",
        "event streams end with their session",
        Outcome::of(after.status == 404, format!("GET {}", status(&after))),
    );
    Ok(())
}

fn opening(opened: &Response) -> Outcome {
    let location = opened.header("location").unwrap_or_default();
    Outcome::of(
        opened.status == 201 && !location.is_empty(),
        format!("{}, Location: {location:?}", status(opened)),
    )
}

/// What comes on one.
fn followed(server: &Server, report: &mut Report, location: &str, wanted: &[String]) -> anyhow::Result<()> {
    let followed = server.listen(location, HEARD)?;
    report.must(
        "4.9.1",
        "GET on it is answered with text/event-stream",
        Outcome::of(
            followed.status == 200 && media_type(&followed).eq_ignore_ascii_case("text/event-stream"),
            format!("{}, {}", status(&followed), media_type(&followed)),
        ),
    );
    let heard = events_in(&followed.body);
    let ours: Vec<_> = heard.iter().filter(|(name, _)| wanted.contains(name)).collect();
    let none = || Outcome::NotApplicable(format!("none came in {} s", HEARD.as_secs()));
    let many: Vec<_> = ours.iter().filter(|(_, data)| data.len() != 1).collect();
    let outcome = if ours.is_empty() {
        none()
    } else {
        Outcome::of(many.is_empty(), format!("{many:?}"))
    };
    report.must("4.9.1", "an event's data is one line", outcome);
    report.must(
        "4.9.1.2",
        "no inactive is sent at first",
        Outcome::of(
            ours.first().is_none_or(|(name, _)| name != "inactive"),
            format!("{ours:?}"),
        ),
    );
    let count = ours.iter().find(|(name, _)| name == "viewercount");
    let is_number = |data: &str| {
        let value: Option<serde_json::Value> = serde_json::from_str(data).ok();
        value.is_some_and(|value| value["viewercount"].is_number())
    };
    let outcome = count.map_or_else(none, |(_, data)| {
        Outcome::of(data.iter().all(|data| is_number(data)), format!("{data:?}"))
    });
    report.must(
        "4.9.1.5",
        "viewercount is an object with the number of viewers",
        outcome,
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_and_events_are_read_as_they_are_written() {
        let link = format!("</a/sse>; rel=\"{EXTENSION}\"; events=\"active,viewercount\"");
        assert_eq!(parameter(&link, "rel"), Some(EXTENSION));
        assert_eq!(parameter(&link, "events"), Some("active,viewercount"));
        assert_eq!(parameter("</a>; rel=x", "rel"), Some("x"));
        let heard = "retry: 1000\n\nevent: active\ndata: {}\nid: active\n\n:\n\nevent: viewercount\ndata: {\"viewercount\":3}\n\n";
        assert_eq!(
            events_in(heard),
            [
                ("active".to_owned(), vec!["{}".to_owned()]),
                ("viewercount".to_owned(), vec!["{\"viewercount\":3}".to_owned()])
            ]
        );
    }
}
