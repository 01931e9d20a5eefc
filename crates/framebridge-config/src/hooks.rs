//! `[hooks.NAME]`: who is told what happens, by a command that is run or an address that is posted to.

use std::{collections::BTreeSet, fmt, path::PathBuf, time::Duration};

use framebridge_proto::{hooks::HookEvent, limits::MAX_HOOK_TIME};

use crate::{reader::Reader, studio::sends_in_the_clear};

/// Hooks that one box has at most: each may run a program of its own at the same time.
const MOST_HOOKS: usize = 16;

/// A command, or a server, that takes longer hangs more likely than not.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// The longest name of a hook.
const LONGEST_NAME: usize = 32;

/// `[hooks.NAME]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Its name.
    pub name: String,
    /// How it is told.
    pub target: HookTarget,
    /// What it is told of; never empty.
    pub events: BTreeSet<HookEvent>,
    /// How long an attempt may take, at most a minute.
    pub time_limit: Duration,
}

/// How a hook is told.
#[derive(Clone, PartialEq, Eq)]
pub enum HookTarget {
    /// `command`: a program and its arguments; never empty. No shell reads it.
    Command(Vec<String>),
    /// `url`, and the file with the secret that what is posted there is signed with.
    Web {
        /// `http://` or `https://`; it may hold a secret.
        url: String,
        /// `secret_file`
        secret_file: Option<PathBuf>,
    },
}

impl fmt::Display for HookTarget {
    /// The program, or the server: the rest may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(command) => f.write_str(command.first().map_or("", String::as_str)),
            Self::Web { url, .. } => f.write_str(&server(url)),
        }
    }
}

impl fmt::Debug for HookTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Scheme and server of an address, without what may be secret in it.
fn server(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}")
}

pub(crate) fn read(reader: &mut Reader<'_>) -> Vec<Hook> {
    let names = reader.children("hooks");
    if names.len() > MOST_HOOKS {
        let message = format!("{} hooks are more than the {MOST_HOOKS} that one box has", names.len());
        reader.problem("hooks", message);
    }
    names.into_iter().filter_map(|name| hook(reader, name)).collect()
}

fn hook(reader: &mut Reader<'_>, name: String) -> Option<Hook> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(is_plain) {
        let message = format!("a hook's name has up to {LONGEST_NAME} letters, digits, `-` and `_`");
        reader.problem(&format!("hooks.{name}"), message);
        return None;
    }
    let key = |key: &str| format!("hooks.{name}.{key}");
    let command: Vec<String> = reader.words(&key("command"), Vec::new());
    let url = reader.optional(&key("url"), true);
    let secret_file = reader.optional(&key("secret_file"), false).map(PathBuf::from);
    let events: Vec<HookEvent> = reader.list(&key("events"), Vec::new());
    let longest = u32::try_from(MAX_HOOK_TIME.as_millis()).unwrap_or(u32::MAX);
    let time_limit = reader.millis(&key("timeout_ms"), TIME_LIMIT, 100..=longest);
    let target = match (command.is_empty(), url) {
        (false, None) => {
            reader.warn_if_set(&[&key("secret_file")], "only what is posted is signed");
            if !command[0].starts_with('/') {
                let message = format!("`{}` is no absolute path: hooks are run by no shell", command[0]);
                reader.problem(&key("command"), message);
            }
            Some(HookTarget::Command(command))
        }
        (true, Some(url)) => {
            check(reader, &key("url"), &url);
            Some(HookTarget::Web { url, secret_file })
        }
        (false, Some(_)) => {
            reader.problem(&key("url"), "there is a `command` besides: make two hooks of them");
            None
        }
        (true, None) => {
            let message = "a hook needs `command = [\"/path/of/program\"]` or `url = \"https://…\"`";
            reader.problem(&key("command"), message);
            None
        }
    };
    let all = HookEvent::ALL.iter().filter(|event| **event != HookEvent::Test);
    Some(Hook {
        name,
        target: target?,
        events: if events.is_empty() {
            all.copied().collect()
        } else {
            events.into_iter().collect()
        },
        time_limit,
    })
}

fn check(reader: &mut Reader<'_>, key: &str, url: &str) {
    let is_web = ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme));
    let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_web || !is_plain || server(url).ends_with("//") {
        reader.problem(
            key,
            "it is no address to post to: use e.g. https://alerts.example/framebridge",
        );
    } else if sends_in_the_clear(url) {
        reader.warn(
            key,
            "who watches, and when, goes to another machine in the clear: use https://",
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::{ConfigError, Input, Settings};

    use super::*;

    fn parse(text: &str) -> Result<Settings, ConfigError> {
        Settings::parse(&Input {
            file: "test",
            text,
            ..Input::default()
        })
    }

    #[test]
    fn hooks_are_read_and_handed_on() {
        let text = "[hooks.door]\ncommand = [\"/bin/ring\", \"a b\"]\nevents = [\"viewer-joined\"]\ntimeout_ms = 500\n\
            [hooks.pager]\nurl = \"https://u:p@alerts.example/x?key=SECRET\"\nsecret_file = \"/etc/key\"\n";
        let settings = parse(text).expect("good settings");
        assert_eq!(settings.warnings, []);
        let [door, pager] = &settings.hooks[..] else {
            panic!("two hooks")
        };
        assert_eq!(door.target, HookTarget::Command(vec!["/bin/ring".into(), "a b".into()]));
        assert_eq!(door.events, BTreeSet::from([HookEvent::ViewerJoined]));
        assert_eq!(door.time_limit, Duration::from_millis(500));
        assert_eq!(pager.events.len(), HookEvent::ALL.len() - 1, "all, but for tests");
        assert_eq!(pager.target.to_string(), "https://alerts.example");
        assert!(!format!("{settings:?}").contains("SECRET"), "it is in no log");
        assert!(!settings.to_toml().contains("SECRET"), "nor printed");

        let handed = |role| parse(&settings.for_process(role, None, &[])).expect("good settings");
        assert_eq!(handed(framebridge_proto::Role::Supervisor).hooks, settings.hooks);
        for role in [framebridge_proto::Role::Signaling, framebridge_proto::Role::Encoder] {
            assert_eq!(handed(role).hooks, []);
        }
        let to_bridge = settings.for_process(framebridge_proto::Role::Bridge, None, &[]);
        assert!(
            !to_bridge.contains("SECRET") && parse(&to_bridge).is_ok(),
            "{to_bridge}"
        );
    }

    #[test]
    fn hooks_that_make_no_sense_are_refused_by_key() {
        for (text, said) in [
            ("[hooks.a]\n", "needs `command"),
            ("[hooks.a]\ncommand = [\"ring\"]\n", "no absolute path"),
            ("[hooks.a]\ncommand = [\"/x\"]\nurl = \"https://x\"\n", "make two hooks"),
            ("[hooks.a]\nurl = \"ftp://x\"\n", "no address to post to"),
            ("[hooks.a]\nurl = \"https:///x\"\n", "no address to post to"),
            ("[hooks.a]\ncommand = [\"/x\"]\nevents = [\"viewer\"]\n", "stream-state"),
            (
                "[hooks.a]\ncommand = [\"/x\"]\nevent = [\"disk\"]\n",
                "did you mean `hooks.a.events`?",
            ),
            ("[hooks.\"a b\"]\ncommand = [\"/x\"]\n", "a hook's name"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
        let warned = parse("[hooks.a]\nurl = \"http://alerts.example/\"\n").expect("good settings");
        assert!(
            warned.warnings[0].message.contains("in the clear"),
            "{:?}",
            warned.warnings
        );
    }
}
