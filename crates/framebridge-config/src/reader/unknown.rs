//! What is said of keys and variables that nothing reads.

use std::collections::BTreeSet;

use toml::de::{DeTable, DeValue};

use super::{OTHER_VARIABLES, PREFIX, Problem, Reader, variable};
use crate::near::{did_you_mean, nearest};

/// What variables that set something for one stream begin with.
const OF_A_STREAM: &str = "FRAMEBRIDGE_STREAMS_";

/// What the variables begin with that a hook's command is told of an event by: it may call `bridgectl`.
const OF_AN_EVENT: &str = "FRAMEBRIDGE_EVENT";

/// Sections of which there may be none, so that nothing has been read below them.
const OPEN: [(&str, &str); 3] = [("", "hooks"), ("", "streams"), ("webrtc", "ice_servers")];

impl Reader<'_> {
    /// The environment's variables with our prefix that set nothing.
    pub(super) fn stray_variables(&self) -> Vec<Problem> {
        let known: BTreeSet<String> = self.read.iter().map(|key| variable(key)).collect();
        let is_other = |name: &str| OTHER_VARIABLES.contains(&name) || name.starts_with(OF_AN_EVENT);
        let is_known = |name: &str| known.contains(name) || is_other(name);
        let about = |name: &str| {
            let of_stream = name
                .strip_prefix(OF_A_STREAM)
                .map(|rest| self.about_stream_variable(rest));
            of_stream.unwrap_or_else(|| {
                let short = |name| str::strip_prefix(name, PREFIX);
                let candidates = known
                    .iter()
                    .map(String::as_str)
                    .chain(OTHER_VARIABLES)
                    .filter_map(short);
                let near = nearest(short(name).unwrap_or(name), candidates);
                let near = near.map_or_else(String::new, |near| format!("; did you mean `{PREFIX}{near}`?"));
                format!("there is no such setting: it is ignored{near}")
            })
        };
        let stray = self.env.keys().filter(|name| !is_known(name));
        stray
            .map(|name| Problem {
                place: "environment".into(),
                key: name.clone(),
                message: about(name),
            })
            .collect()
    }

    /// What is said of `FRAMEBRIDGE_STREAMS_` with something behind it that sets nothing.
    fn about_stream_variable(&self, rest: &str) -> String {
        let parts = |read: &'_ String| {
            let (name, key) = read.strip_prefix("streams.")?.split_once('.')?;
            Some((name.to_owned(), key.to_uppercase()))
        };
        let known: BTreeSet<(String, String)> = self.read.iter().filter_map(parts).collect();
        let spelled = |name: &str| name.to_uppercase().replace('-', "_");
        let names: BTreeSet<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
        let of_stream = names.iter().find_map(|name| {
            let key = rest.strip_prefix(&spelled(name))?.strip_prefix('_')?;
            Some((spelled(name), key))
        });
        if let Some((name, key)) = of_stream {
            let near = nearest(key, known.iter().map(|(_, key)| key.as_str()));
            let near = near.map_or_else(String::new, |near| {
                format!("; did you mean `{OF_A_STREAM}{name}_{near}`?")
            });
            return format!("there is no such setting: it is ignored{near}");
        }
        let ending = known
            .iter()
            .find_map(|(_, key)| rest.strip_suffix(key)?.strip_suffix('_'));
        let name = ending.unwrap_or(rest).to_lowercase();
        let near = did_you_mean(&name, names);
        format!("no stream is called `{name}`: it is ignored; streams are made in the file or by --stream{near}")
    }

    /// What is said of a key that nothing reads: the nearest one beside it, one of its name elsewhere, or how to find it.
    fn about_unknown(&self, key: &str) -> String {
        let (parent, name) = key.rsplit_once('.').map_or(("", key), |(parent, name)| (parent, name));
        let beside = self.read.iter().filter_map(|read| {
            let rest = match parent {
                "" => read.as_str(),
                _ => read.strip_prefix(parent)?.strip_prefix('.')?,
            };
            rest.split('.').next()
        });
        let prefix = if parent.is_empty() {
            String::new()
        } else {
            format!("{parent}.")
        };
        let open = OPEN
            .iter()
            .filter_map(|(above, below)| (*above == parent).then_some(*below));
        let near = nearest(name, beside.chain(open)).map(|near| format!("{prefix}{near}"));
        let elsewhere = || {
            self.read
                .iter()
                .find(|read| read.rsplit('.').next() == Some(name))
                .cloned()
        };
        match near.or_else(elsewhere) {
            Some(near) => format!("there is no such setting; did you mean `{near}`?"),
            None => "there is no such setting: `bridgectl config print` lists them".to_owned(),
        }
    }

    pub(super) fn unread(&self, prefix: &str, table: &DeTable<'_>, unknown: &mut Vec<Problem>) {
        for (name, value) in table {
            let key = if prefix.is_empty() {
                name.get_ref().to_string()
            } else {
                format!("{prefix}.{}", name.get_ref())
            };
            let below = format!("{key}.");
            let known_below = self.read.iter().any(|read| read.starts_with(&below));
            match value.get_ref() {
                _ if self.read.contains(&key) => {}
                DeValue::Table(inner) if known_below => self.unread(&key, inner, unknown),
                DeValue::Array(items) if known_below => {
                    for (index, item) in items.iter().enumerate() {
                        if let DeValue::Table(inner) = item.get_ref() {
                            self.unread(&format!("{key}.{index}"), inner, unknown);
                        }
                    }
                }
                DeValue::Table(_)
                | DeValue::Array(_)
                | DeValue::String(_)
                | DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_) => {
                    unknown.push(Problem {
                        message: self.about_unknown(&key),
                        place: self.place(name.span().start),
                        key,
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Input, Settings};

    fn told(text: &str) -> String {
        let input = Input {
            file: "f.toml",
            text,
            ..Input::default()
        };
        match Settings::parse(&input) {
            Ok(settings) => settings.warnings.iter().map(|warning| format!("{warning}\n")).collect(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn sections_of_which_there_are_none_are_near_as_well() {
        for (text, meant) in [
            (
                "[hook.a]\ncommand = [\"/bin/true\"]\n",
                "f.toml:1: hook: there is no such setting; did you mean `hooks`?",
            ),
            ("[stream.a]\nsource = \"test:\"\n", "did you mean `streams`?"),
            (
                "[[webrtc.ice_server]]\nurls = [\"stun:stun.example\"]\n",
                "did you mean `webrtc.ice_servers`?",
            ),
        ] {
            assert!(told(text).contains(meant), "{}", told(text));
        }
    }

    #[test]
    fn what_could_never_work_is_answered_with_what_would() {
        for (text, said) in [
            (
                "[streams.a]\nsource = \"x11::0,640x480\"\n",
                "f.toml:2: streams.a.source: `:0,640x480` is no X display",
            ),
            ("[streams.a]\nsource = \"v4l2:video0\"\n", "use e.g. /dev/video0"),
            ("[streams.a]\nsource = \"file:~/x.mp4\"\n", "`~/x.mp4` is no path"),
            (
                "[streams.a]\nsource = \"test:\"\nprobe_ms = 5\n",
                "streams.a.probe_ms: 5 is between 0 and 1000: 1000 is used",
            ),
            (
                "[webrtc.ice_servers]\nurls = [\"stun:a\"]\n",
                "webrtc.ice_servers: there may be several: write `[[webrtc.ice_servers]]`",
            ),
            (
                "[http]\nlisten = 8890\n",
                "http.listen: `8890` is a port without an address: write `127.0.0.1:8890`",
            ),
        ] {
            assert!(told(text).contains(said), "{}", told(text));
        }
        for source in [
            "x11::0",
            "x11::0.1+10,10,640x480",
            "x11:host:1.0",
            "v4l2:/dev/video0?fps=30",
            "file:rel.mp4",
        ] {
            assert_eq!(told(&format!("[streams.a]\nsource = \"{source}\"\n")), "");
        }
    }

    #[test]
    fn variables_of_the_units_are_known() {
        let units = concat!(env!("CARGO_MANIFEST_DIR"), "/../framebridge-daemon/systemd");
        let mut set = 0;
        for unit in std::fs::read_dir(units).expect("units") {
            let text = std::fs::read_to_string(unit.expect("a unit").path()).expect("text");
            let variables = text
                .lines()
                .filter_map(|line| line.strip_prefix("Environment=")?.split_once('='));
            let env: std::collections::BTreeMap<_, _> = variables
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            set += env.len();
            let input = Input {
                env,
                ..Input::default()
            };
            let settings = Settings::parse(&input).expect("settings");
            assert_eq!(settings.warnings, []);
        }
        assert!(set > 3, "they set {set}");
    }

    #[test]
    fn items_of_lists_that_do_nothing_are_told_of() {
        for (text, said) in [
            (
                "hosts = [\"a.example\", \"b.example\", \"a.example\"]",
                "http.hosts: `a.example` is there twice",
            ),
            (
                "hosts = [\"192.168.1.7\"]",
                "http.hosts: `192.168.1.7` has no effect: addresses are always allowed",
            ),
            ("hosts = [\"*\", \"cam.example\"]", "http.hosts: only `*` has an effect"),
            ("hosts = [\"[::1]:8890\"]", "e.g. `::1`"),
            (
                "origins = [\"*\", \"https://a.example\"]",
                "http.origins: only `*` has an effect",
            ),
        ] {
            let told = told(&format!("[http]\n{text}\n"));
            assert!(told.contains(said), "{told}");
        }
        let command = "[hooks.a]\ncommand = [\"/bin/curl\", \"-H\", \"A: b\", \"-H\", \"C: d\"]\n";
        assert_eq!(told(command), "", "an argument may be there twice");
        let bad = told("[http]\norigins = [\"cam.example\"]\n");
        assert!(
            bad.starts_with("f.toml:2: http.origins") && !bad.contains("frame_ancestors"),
            "{bad}"
        );
        assert_eq!(told("[http]\nhosts = [\"cam.example\"]\norigins = [\"*\"]\n"), "");
    }
}
