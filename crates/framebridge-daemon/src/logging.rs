//! Logs: one line per event to stderr, the process's name in front, so that several processes can share a terminal.
//!
//! Where stderr leads to systemd's journal, a line is what the journal lacks: its priority (`<4>`, sd-daemon(3)) and the message, for
//! time and name it has itself.

use std::{
    env,
    io::{self, IsTerminal as _, Write},
    process,
};

use anyhow::{Context as _, anyhow};
use framebridge_config::{Log, check_filter};
use rustix::fs::fstat;
use tracing::{Level, Metadata};
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
    let invalid = |message: String| anyhow!("log.filter: {message}").context(Exit::Config);
    check_filter(&log.filter).map_err(invalid)?;
    let filter: Targets = log
        .filter
        .replace(' ', "")
        .parse()
        .map_err(|_| invalid(format!("`{}` can't be read", log.filter)))?;
    let form = Form::of(process, log.json);
    let says_lost = form.clone();
    log_writer::start(move |lost| says_lost.line_of(lost)).context("starting the thread that writes the log")?;
    let is_terminal = form.journal.is_none() && io::stderr().is_terminal();
    let layer = fmt::layer().with_writer(Lines { form, tail });
    let layer = if log.json {
        layer.json().flatten_event(true).boxed()
    } else {
        layer.with_ansi(is_terminal).boxed()
    };
    tracing_subscriber::registry()
        .with(tap.map(|tap| tap.with_filter(filter.clone())))
        .with(layer.with_filter(filter))
        .try_init()
        .context("logging was started twice")
}

/// How the journal is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Journal {
    /// By the process that systemd has started: the journal has its name.
    AsUnit,
    /// By a process that such a one has started: the journal has the other's name.
    BelowUnit,
}

impl Journal {
    /// `None`: stderr leads elsewhere.
    fn behind_stderr() -> Option<Self> {
        let file = fstat(io::stderr()).ok()?;
        let stream = env::var("JOURNAL_STREAM").ok()?;
        let is_journal = stream == format!("{}:{}", file.st_dev, file.st_ino);
        let started = env::var("SYSTEMD_EXEC_PID").ok().and_then(|pid| pid.parse().ok());
        is_journal.then_some(if started == Some(process::id()) {
            Self::AsUnit
        } else {
            Self::BelowUnit
        })
    }
}

/// What an event looks like on stderr.
#[derive(Debug, Clone)]
struct Form {
    process: String,
    json: bool,
    journal: Option<Journal>,
}

/// The journal's priorities, by how bad an event is: those of syslog.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

impl Form {
    fn of(process: &str, json: bool) -> Self {
        Self {
            process: process.to_owned(),
            json,
            journal: Journal::behind_stderr(),
        }
    }

    /// The line of an event, in full: for a terminal, and for whoever reads a process's last lines.
    fn full(&self, event: &[u8]) -> Vec<u8> {
        let process = &self.process;
        if self.json {
            let rest = event.strip_prefix(b"{").unwrap_or(event);
            [format!("{{\"process\":\"{process}\",").as_bytes(), rest].concat()
        } else {
            [format!("[{process}] ").as_bytes(), event].concat()
        }
    }

    /// The line of an event, for stderr.
    fn line(&self, level: Level, event: &[u8]) -> Vec<u8> {
        let Some(journal) = self.journal else {
            return self.full(event);
        };
        let head = format!("<{}>", priority(level));
        if self.json {
            return [head.as_bytes(), &self.full(event)].concat();
        }
        let event = String::from_utf8_lossy(event);
        // `TIME LEVEL message`
        let message = event
            .trim_start()
            .split_once(char::is_whitespace)
            .map_or("", |(_, rest)| rest.trim_start());
        let message = message
            .split_once(char::is_whitespace)
            .map_or(message, |(_, rest)| rest);
        let name = match journal {
            Journal::AsUnit => String::new(),
            Journal::BelowUnit => format!("[{}] ", self.process),
        };
        // Each line would be an entry of its own.
        let message = message.trim_end().lines().map(str::trim).collect::<Vec<_>>().join("; ");
        format!("{head}{name}{message}\n").into_bytes()
    }

    /// The line that says how many lines were left out.
    fn line_of(&self, lost: u64) -> Vec<u8> {
        let says = format!("{lost} lines were left out here: nobody took them");
        let head = self
            .journal
            .map_or_else(String::new, |_| format!("<{}>", priority(Level::WARN)));
        let process = &self.process;
        if self.json {
            format!("{head}{{\"process\":\"{process}\",\"level\":\"WARN\",\"message\":\"{says}\"}}\n")
        } else {
            format!("{head}[{process}] ({says})\n")
        }
        .into_bytes()
    }
}

/// Hands each event over as one line, so that lines of several processes do not mix.
struct Lines {
    form: Form,
    tail: Option<Tail>,
}

struct Line<'a> {
    lines: &'a Lines,
    level: Level,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line {
            lines: self,
            level: Level::INFO,
        }
    }

    fn make_writer_for(&'a self, about: &Metadata<'_>) -> Self::Writer {
        Line {
            lines: self,
            level: *about.level(),
        }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let Lines { form, tail } = self.lines;
        if let Some(tail) = tail {
            tail.keep(&form.full(event));
        }
        log_writer::send(form.line(self.level, event));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(json: bool, journal: Option<Journal>) -> Form {
        Form {
            process: "encoder-test".to_owned(),
            json,
            journal,
        }
    }

    fn line(json: bool, journal: Option<Journal>, level: Level, event: &str) -> String {
        String::from_utf8(form(json, journal).line(level, event.as_bytes())).expect("text")
    }

    const EVENT: &str =
        "2026-11-27T07:00:00.000000Z  WARN encoder::app: can't open the source: it said 'no\n' index=3\n";

    #[test]
    fn names_go_in_front_of_text_and_into_json() {
        assert_eq!(line(false, None, Level::WARN, EVENT), format!("[encoder-test] {EVENT}"));
        let json = line(true, None, Level::INFO, "{\"level\":\"INFO\"}\n");
        assert_eq!(json, "{\"process\":\"encoder-test\",\"level\":\"INFO\"}\n");
        let lost = String::from_utf8(form(true, None).line_of(7)).expect("text");
        assert!(
            lost.starts_with(r#"{"process":"encoder-test","level":"WARN","message":"7 lines"#)
                && lost.ends_with("\"}\n"),
            "{lost}"
        );
    }

    #[test]
    fn journal_gets_a_priority_and_one_line_without_time_and_name() {
        let said = "encoder::app: can't open the source: it said 'no; ' index=3\n";
        for (level, priority) in [(Level::ERROR, 3), (Level::WARN, 4), (Level::INFO, 6), (Level::TRACE, 7)] {
            let unit = line(false, Some(Journal::AsUnit), level, EVENT);
            assert_eq!(unit, format!("<{priority}>{said}"));
        }
        let below = line(false, Some(Journal::BelowUnit), Level::WARN, EVENT);
        assert_eq!(below, format!("<4>[encoder-test] {said}"));
        let json = line(true, Some(Journal::AsUnit), Level::ERROR, "{\"level\":\"ERROR\"}\n");
        assert_eq!(json, "<3>{\"process\":\"encoder-test\",\"level\":\"ERROR\"}\n");
        let lost = String::from_utf8(form(false, Some(Journal::AsUnit)).line_of(7)).expect("text");
        assert!(lost.starts_with("<4>[encoder-test] (7 lines"), "{lost}");
    }
}
