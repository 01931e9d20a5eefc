//! The operator's settings.

use framebridge_config::{Input, Settings};

/// A file, then after a NUL each a variable of the environment (`FRAMEBRIDGE_…=…`) or a `--stream` (`NAME=SOURCE`).
pub(super) fn settings(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut parts = text.split('\0');
    let file = parts.next().unwrap_or_default();
    let (env, streams): (Vec<&str>, Vec<&str>) = parts.partition(|part| part.starts_with("FRAMEBRIDGE_"));
    let env = env.iter().filter_map(|part| part.split_once('='));
    let streams: Vec<String> = streams.into_iter().map(str::to_owned).collect();
    let parsed = Settings::parse(&Input {
        file: "x.toml",
        text: file,
        env: env.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        streams: &streams,
    });
    match parsed {
        Ok(settings) => {
            let written = settings.to_toml();
            // What is shown to an operator: one line for each setting, and nothing that steers a terminal.
            let steers = |letter: char| letter.is_control() && letter != '\n';
            assert!(!written.contains(steers), "{written:?}");
        }
        Err(error) => assert!(!error.to_string().is_empty(), "an error that says nothing"),
    }
}
