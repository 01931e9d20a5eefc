//! Settings as the supervisor hands them to a process: a file of what that one needs, as file, environment and flags came to be
//! understood. What the process reads there was read before, so that nothing in it can be a mistake.

use std::{collections::BTreeMap, env, fs, path::Path};

use framebridge_proto::{Role, StreamName};

use crate::{
    ConfigError, Entry, Input, Settings, Source, Stream,
    push::is_of_push,
    reader::{DEBUG_ENDPOINTS, quoted},
    settings::sections,
};

/// A value that one process gets in place of the configured one: the key of its stream, and the value.
pub type Change = (&'static str, String);

impl Settings {
    /// What a process of `role` needs (an encoder: that of `stream`), as a file that gives it again, with the secrets that are
    /// its own and no others.
    pub fn for_process(&self, role: Role, stream: Option<&StreamName>, changes: &[Change]) -> String {
        let own = stream.map(|stream| format!("streams.{stream}."));
        let mut entries: Vec<(&str, String, bool)> = Vec::new();
        for entry in self.entries() {
            let of_stream = own.as_ref().and_then(|own| entry.key.strip_prefix(own.as_str()));
            let changed = changes.iter().find(|(key, _)| of_stream == Some(*key));
            let value = match changed {
                Some((_, value)) => Some(quoted(value)),
                // Whoever reads it has the same defaults. A stream is there by its source.
                None if entry.origin == "default" && !is_source(&entry.key) => None,
                None => self.value(role, of_stream.is_some(), entry),
            };
            entries.extend(value.map(|value| (entry.key.as_str(), value, false)));
        }
        sections(entries.into_iter())
    }

    /// What a process of `role` reads of an entry; `None`: nothing. `is_own`: it is of the stream that it encodes.
    fn value(&self, role: Role, is_own: bool, entry: &Entry) -> Option<String> {
        let section = entry.key.split('.').next().unwrap_or_default();
        let written = || Some(entry.written().to_owned());
        match (role, section) {
            (Role::Supervisor, _) | (_, "log" | "video" | "sources") => written(),
            // Whoever sends them on is told where to, and nobody else.
            (_, "streams") if is_of_push(&entry.key) => written().filter(|_| role == Role::Signaling),
            (Role::Encoder, _) if is_own => written(),
            (Role::Encoder | Role::Operator, _) => None,
            (Role::Signaling, "http" | "webrtc") | (Role::Bridge, "studio") => written(),
            // That there is such a stream, and what may be shown of its source.
            (Role::Signaling | Role::Bridge, "streams") if !self.is_readable_as_shown(&entry.key) => written(),
            (Role::Signaling, "streams") => Some(entry.value.clone()),
            // They are the supervisor's own. What is shown of an address is none.
            (Role::Signaling, _) | (Role::Bridge, "hooks") => None,
            // It is asked what this machine lacks.
            (Role::Bridge, _) => Some(entry.value.clone()),
        }
    }

    /// Whether what is shown of a source is a source, too.
    fn is_readable_as_shown(&self, key: &str) -> bool {
        let is_it = |stream: &&Stream| key == format!("streams.{}.source", stream.name);
        self.streams.iter().find(is_it).is_none_or(|stream| {
            let shown = stream.source.to_string();
            shown.parse::<Source>().is_ok_and(|source| source.to_string() == shown)
        })
    }

    /// Reads what [`for_process`](Self::for_process) has written to `path`.
    ///
    /// # Errors
    /// It can't be read, or was written by a program of another version.
    pub fn handed(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        // No setting, and so not in the file.
        let debug = env::var(DEBUG_ENDPOINTS).ok();
        Self::parse(&Input {
            file: &path.display().to_string(),
            text: &text,
            env: BTreeMap::from_iter(debug.map(|value| (DEBUG_ENDPOINTS.to_owned(), value))),
            streams: &[],
        })
    }
}

/// Whether a key is that of a stream's source.
fn is_source(key: &str) -> bool {
    key.starts_with("streams.") && key.ends_with(".source")
}

#[cfg(test)]
mod tests {
    use framebridge_proto::Role::{Bridge, Encoder, Signaling, Supervisor};

    use super::*;

    const TEXT: &str = "[studio]\nurl = \"wss://s\"\ntoken = \"STUDIO\"\nallow = [\"jobs\"]\n\
        [[webrtc.ice_servers]]\nurls = [\"turn:t:3478\"]\nusername = \"u\"\ncredential = \"TURN\"\n\
        [video]\nfps = 15\n[streams.front-door]\nsource = \"rtsp://u:DOOR@cam/s\"\nbitrate = 99999999999\n\
        [streams.yard]\nsource = \"rtsp://u:YARD@cam/s\"\n[log]\nfilter = \"debug\"\n[supervisor]\nbackoff_ms = 70\n";

    fn parse(text: &str) -> Settings {
        let input = Input {
            file: "test",
            text,
            ..Input::default()
        };
        Settings::parse(&input).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    #[test]
    fn each_process_gets_what_it_needs_and_no_secret_of_another() {
        let settings = parse(TEXT);
        let door = "front-door".parse().expect("a name");
        let secrets = |role, stream| -> Vec<&str> {
            let text = settings.for_process(role, stream, &[]);
            parse(&text);
            let all = ["STUDIO", "TURN", "DOOR", "YARD"];
            all.into_iter().filter(|secret| text.contains(secret)).collect()
        };
        assert_eq!(secrets(Encoder, Some(&door)), ["DOOR"]);
        assert_eq!(secrets(Signaling, None), ["TURN"]);
        assert_eq!(secrets(Bridge, None), ["STUDIO"]);
        assert_eq!(secrets(Supervisor, None), ["STUDIO", "TURN", "DOOR", "YARD"]);
    }

    #[test]
    fn what_is_handed_on_gives_the_same_settings_without_a_warning() {
        let settings = parse(TEXT);
        assert!(!settings.warnings.is_empty(), "a rate beyond its range is clamped");
        let again = parse(&settings.for_process(Supervisor, None, &[]));
        assert_eq!(again.warnings, []);
        assert_eq!(again.streams, settings.streams);
        assert_eq!((&again.http, &again.webrtc), (&settings.http, &settings.webrtc));
        assert_eq!((&again.supervisor, &again.log), (&settings.supervisor, &settings.log));
        assert!(again.studio == settings.studio);

        let door = settings.streams[0].name.clone();
        let encoder = parse(&settings.for_process(Encoder, Some(&door), &[]));
        assert_eq!(encoder.streams, settings.streams[..1]);
        assert_eq!(encoder.log, settings.log);
        let signaling = parse(&settings.for_process(Signaling, None, &[]));
        assert_eq!((&signaling.http, &signaling.webrtc), (&settings.http, &settings.webrtc));
        let names = |settings: &Settings| {
            settings
                .streams
                .iter()
                .map(|stream| stream.name.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&signaling), names(&settings));
    }

    #[test]
    fn change_holds_for_its_stream_alone() {
        let settings = parse(TEXT);
        let door = settings.streams[0].name.clone();
        let changes = [("source", "slate:1795413600,gone".to_owned()), ("fps", "5".to_owned())];
        let encoder = parse(&settings.for_process(Encoder, Some(&door), &changes));
        assert!(encoder.streams[0].source.slate().is_some());
        assert_eq!(encoder.streams[0].quality.fps, 5);
    }
}
