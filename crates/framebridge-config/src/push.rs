//! `[[streams.NAME.push]]`: the receivers elsewhere that a stream is sent on to.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, SocketAddr},
};

use framebridge_proto::StreamName;

use crate::{reader::Reader, source::Address, studio::sends_in_the_clear};

/// Receivers of one stream: each takes the whole stream once more of the uplink, and that is what they are to spare.
const MOST_PUSHES: usize = 4;

/// The longest name of a push.
const LONGEST_NAME: usize = 64;

/// `[[streams.NAME.push]]`
#[derive(Clone, PartialEq, Eq)]
pub struct Push {
    /// What it is called, wherever it is shown; the receiver's host where nothing else was said. No two of a stream are called alike.
    pub name: String,
    /// The receiver's WHIP address: `http://` or `https://`. It may hold a secret.
    pub url: String,
    /// What the receiver is shown.
    pub token: Option<String>,
}

impl fmt::Debug for Push {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Push").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Push {
    /// Whether its address is one that signaling itself listens on, as far as that can be told from the address alone.
    fn leads_to(&self, listen: SocketAddr) -> bool {
        let Some(address) = Address::of(&self.url) else {
            return false;
        };
        let default = if address.scheme == "https" { 443 } else { 80 };
        let (ours, host) = (listen.ip().to_canonical(), address.host);
        let is_named_here = host == "localhost" || host.ends_with(".localhost");
        let is_ours = match host.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
            // Whatever it listens on by name, a wildcard takes loopback, too.
            Ok(ip) => ip == ours || (ip.is_loopback() && ours.is_unspecified()),
            Err(_) => is_named_here && (ours.is_loopback() || ours.is_unspecified()),
        };
        is_ours && address.port.unwrap_or(default) == listen.port()
    }
}

/// Warns of pushes to this box itself, which come to nothing: that is no reason to show no stream at all. Others that lead here are
/// found out when they are connected to.
pub(crate) fn check_receivers(reader: &mut Reader<'_>, stream: &StreamName, pushes: &[Push], listen: SocketAddr) {
    for (number, push) in pushes.iter().enumerate().filter(|(_, push)| push.leads_to(listen)) {
        let message = format!(
            "{} is where this box itself listens, and a box can't push to itself: give another stream the same source instead",
            push.name
        );
        reader.warn(&format!("streams.{stream}.push.{number}.url"), message);
    }
}

/// Whether a key is of a push.
pub(crate) fn is_of_push(key: &str) -> bool {
    let mut steps = key.split('.');
    (steps.next(), steps.nth(1)) == (Some("streams"), Some("push"))
}

/// Whether `section` is an item of a list of pushes.
pub(crate) fn is_item(section: &str) -> bool {
    is_of_push(section) && section.split('.').count() == 4
}

/// Those of a stream.
pub(crate) fn read(reader: &mut Reader<'_>, stream: &StreamName) -> Vec<Push> {
    let list = format!("streams.{stream}.push");
    let items = reader.children(&list);
    if items.iter().any(|item| item.parse::<usize>().is_err()) {
        reader.problem(
            &list,
            format!("there may be several: write [[{list}]], with two brackets"),
        );
        return Vec::new();
    }
    if items.len() > MOST_PUSHES {
        let message = format!(
            "{} pushes are more than the {MOST_PUSHES} that one stream has",
            items.len()
        );
        reader.problem(&list, message);
    }
    let mut names = BTreeSet::new();
    let pushes = items.iter().filter_map(|item| {
        let push = push(reader, &format!("{list}.{item}"))?;
        if !names.insert(push.name.clone()) {
            let message = format!("two pushes are called {}: give each a `name` of its own", push.name);
            reader.problem(&format!("{list}.{item}.name"), message);
        }
        Some(push)
    });
    pushes.collect()
}

fn push(reader: &mut Reader<'_>, section: &str) -> Option<Push> {
    let key = |key: &str| format!("{section}.{key}");
    let url = reader.optional(&key("url"), true);
    let token = reader.optional(&key("token"), true);
    let name = reader.optional(&key("name"), false);
    let Some(url) = url else {
        reader.problem(
            &key("url"),
            "a push needs the receiver's address, e.g. url = \"https://media.example/whip/door\"",
        );
        return None;
    };
    let is_web = ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme));
    let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic());
    let address = Address::of(&url).filter(|_| is_web && is_plain);
    let Some(address) = address else {
        let message =
            "it is no address to publish to: use the receiver's for WHIP, e.g. https://media.example/whip/door";
        reader.problem(&key("url"), message);
        return None;
    };
    if token
        .as_ref()
        .is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        reader.problem(&key("token"), "a token is one word of letters, digits and signs");
    }
    if token.is_some() && address.userinfo.is_some() {
        reader.problem(
            &key("token"),
            "the address has user and password already: leave out one of both",
        );
    }
    if sends_in_the_clear(&url) {
        reader.warn(
            &key("url"),
            "the token goes to another machine in the clear: use https://",
        );
    }
    let name = name.unwrap_or_else(|| address.authority());
    let is_shown_well = |character: char| character.is_ascii_alphanumeric() || "-_.:[]".contains(character);
    if name.len() > LONGEST_NAME || !name.chars().all(is_shown_well) {
        let message = format!("a push's name has up to {LONGEST_NAME} letters, digits, `-`, `_` and `.`");
        reader.problem(&key("name"), message);
    }
    Some(Push { name, url, token })
}

#[cfg(test)]
mod tests {
    use framebridge_proto::Role;

    use crate::{ConfigError, Input, Settings};

    fn parse(text: &str) -> Result<Settings, ConfigError> {
        let text = format!("[streams.door]\nsource = \"test:\"\n{text}");
        Settings::parse(&Input {
            file: "test",
            text: &text,
            ..Input::default()
        })
    }

    #[test]
    fn pushes_are_read_shown_without_secrets_and_handed_to_signaling_alone() {
        let text = "[[streams.door.push]]\nurl = \"https://media.example:8443/SECRET/whip\"\ntoken = \"SECRET\"\n\
            [[streams.door.push]]\nname = \"hall\"\nurl = \"http://127.0.0.1:8889/hall/whip\"\n";
        let settings = parse(text).expect("good settings");
        assert_eq!(settings.warnings, []);
        let [there, hall] = &settings.streams[0].pushes[..] else {
            panic!("two pushes")
        };
        assert_eq!(
            (there.name.as_str(), hall.name.as_str()),
            ("media.example:8443", "hall")
        );
        assert_eq!(there.token.as_deref(), Some("SECRET"));
        assert!(!settings.to_toml().contains("SECRET"), "it is printed");
        assert!(!format!("{settings:?}").contains("SECRET"), "it is in a log");
        let handed = |role, stream| settings.for_process(role, stream, &[]);
        for role in [Role::Signaling, Role::Supervisor] {
            let again = Settings::parse(&Input {
                file: "test",
                text: &handed(role, None),
                ..Input::default()
            });
            assert_eq!(
                again.expect("good settings").streams[0].pushes,
                settings.streams[0].pushes
            );
        }
        let door = settings.streams[0].name.clone();
        assert!(!handed(Role::Encoder, Some(&door)).contains("push"));
        assert!(!handed(Role::Bridge, None).contains("push"));
    }

    #[test]
    fn push_to_this_box_itself_is_warned_of_where_the_address_says_so() {
        let listening = |listen: &str, url: &str| {
            let http = format!("[http]\nlisten = {listen:?}\n[http.auth]\nmode = \"none\"\n");
            let settings = parse(&format!("[[streams.door.push]]\nurl = {url:?}\n{http}")).expect(url);
            let warnings = settings.warnings.iter().map(|warning| format!("{warning}\n"));
            warnings.collect::<String>()
        };
        for (listen, url) in [
            ("127.0.0.1:8890", "http://127.0.0.1:8890/whip/x"),
            ("127.0.0.1:8890", "http://localhost:8890/whip/x"),
            ("0.0.0.0:8890", "http://127.0.0.1:8890/whip/x"),
            ("[::]:80", "http://[::1]/whip/x"),
            ("192.0.2.7:443", "https://192.0.2.7/whip/x"),
        ] {
            let told = listening(listen, url);
            assert!(
                told.contains("push.0.url") && told.contains("push to itself"),
                "{url}: {told}"
            );
        }
        for (listen, url) in [
            ("127.0.0.1:8890", "http://127.0.0.1:8889/whip/x"),
            ("192.0.2.7:8890", "http://127.0.0.1:8890/whip/x"),
            ("0.0.0.0:8890", "http://media.example:8890/whip/x"),
        ] {
            let told = listening(listen, url);
            assert!(!told.contains("push to itself"), "{listen} {url}: {told}");
        }
    }

    #[test]
    fn stream_that_is_pushed_otherwise_is_fed_as_before() {
        let push = "[[streams.door.push]]\nurl = \"https://media.example/whip\"\n";
        let [with, without] = [push, ""].map(|text| parse(text).expect("good settings").streams.remove(0));
        assert!(with != without && with.is_fed_like(&without));
        let slow = parse("fps = 5\n").expect("good settings").streams.remove(0);
        assert!(!slow.is_fed_like(&without));
    }

    #[test]
    fn pushes_that_make_no_sense_are_refused_by_key() {
        let item = "[[streams.door.push]]\n";
        for (text, said) in [
            (item.to_owned(), "push.0.url: a push needs"),
            (
                format!("{item}url = \"rtmp://media.example/x\"\n"),
                "no address to publish to",
            ),
            (format!("{item}url = \"https:///x\"\n"), "no address to publish to"),
            (format!("{item}url = \"https://m/a b\"\n"), "no address to publish to"),
            (
                format!("{item}url = \"https://m/x\"\n").repeat(2),
                "two pushes are called m",
            ),
            (format!("{item}url = \"https://m/x\"\ntoken = \"a b\"\n"), "one word"),
            (
                format!("{item}url = \"https://u:p@m/x\"\ntoken = \"a\"\n"),
                "leave out one",
            ),
            (
                format!("{item}url = \"https://m/x\"\nname = \"a b\"\n"),
                "name has up to",
            ),
            (format!("{item}url = \"https://m/x\"\ntokens = \"a\"\n"), "did you mean"),
            (
                "[streams.door.push]\nurl = \"https://m/x\"\n".to_owned(),
                "two brackets",
            ),
        ] {
            let error = parse(&text).expect_err(&text).to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
        let warned = parse(&format!("{item}url = \"http://media.example/x\"\n")).expect("good settings");
        assert!(
            warned.warnings[0].message.contains("in the clear"),
            "{:?}",
            warned.warnings
        );
    }
}
