//! Logs: one line per event to stderr, the process's name in front, so that several processes can share a terminal.

use std::io::{self, IsTerminal as _, Write};

use anyhow::Context as _;
use framebridge_config::Log;
use tracing_subscriber::{
    Layer as _,
    filter::Targets,
    fmt::{self, MakeWriter},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::{Exit, LogTap, log_writer, tail::Tail};

/// Starts logging as `process`; what is logged also goes to `tap` and `tail`, where there is one.
pub(crate) fn start(process: &str, log: &Log, tap: Option<LogTap>, tail: Option<Tail>) -> anyhow::Result<()> {
    let filter: Targets = log
        .filter
        .parse()
        .with_context(|| format!("log.filter: `{}`", log.filter))
        .context(Exit::Config)?;
    let prefix = prefix(process, log.json);
    let (says_lost, json) = (prefix.clone(), log.json);
    log_writer::start(move |lost| says_lost.line_of(json, lost)).context("starting the thread that writes the log")?;
    let writer = Lines { prefix, tail };
    let layer = fmt::layer().with_writer(writer);
    let layer = if log.json {
        layer.json().flatten_event(true).boxed()
    } else {
        layer.with_ansi(io::stderr().is_terminal()).boxed()
    };
    tracing_subscriber::registry()
        .with(tap.map(|tap| tap.with_filter(filter.clone())))
        .with(layer.with_filter(filter))
        .try_init()
        .context("logging was started twice")
}

/// What replaces the `{` of a JSON line, or stands before a line of text.
fn prefix(process: &str, json: bool) -> Prefix {
    if json {
        Prefix {
            text: format!("{{\"process\":\"{process}\","),
            replaces: b"{",
        }
    } else {
        Prefix {
            text: format!("[{process}] "),
            replaces: b"",
        }
    }
}

#[derive(Debug, Clone)]
struct Prefix {
    text: String,
    replaces: &'static [u8],
}

impl Prefix {
    /// The line that says that so many were left out.
    fn line_of(&self, json: bool, lost: u64) -> Vec<u8> {
        let says = format!("{lost} lines were left out here: nobody took them");
        let Self { text, .. } = self;
        if json {
            format!("{text}\"level\":\"WARN\",\"message\":\"{says}\"}}\n")
        } else {
            format!("{text}({says})\n")
        }
        .into_bytes()
    }
}

/// Hands each event over as one line, so that lines of several processes do not mix.
struct Lines {
    prefix: Prefix,
    tail: Option<Tail>,
}

struct Line<'a>(&'a Lines);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line(self)
    }
}

impl Write for Line<'_> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let Lines { prefix, tail } = self.0;
        let rest = event.strip_prefix(prefix.replaces).unwrap_or(event);
        let line = [prefix.text.as_bytes(), rest].concat();
        if let Some(tail) = tail {
            tail.keep(&line);
        }
        log_writer::send(line);
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_in_front_of_text_and_into_json() {
        assert_eq!(prefix("encoder-test", false).text, "[encoder-test] ");
        let json = prefix("encoder-test", true);
        let line = [
            json.text.as_bytes(),
            br#"{"level":"INFO"}"#.strip_prefix(json.replaces).expect("JSON"),
        ]
        .concat();
        assert_eq!(line, br#"{"process":"encoder-test","level":"INFO"}"#);
        let lost = String::from_utf8(json.line_of(true, 7)).expect("text");
        assert!(
            lost.starts_with(r#"{"process":"encoder-test","level":"WARN","message":"7 lines"#)
                && lost.ends_with("\"}\n"),
            "{lost}"
        );
    }
}
