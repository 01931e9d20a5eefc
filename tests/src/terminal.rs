//! A trial's program at a terminal: what it found on stdout, all else on stderr, and an exit code.

use std::{
    fmt::{self, Display},
    io::{self, Write as _},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

/// The exit code of `program`: 0 if all was well; 1 if not, or if it could not be tried, which it says.
pub fn exit_code(program: &str, outcome: anyhow::Result<bool>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(format_args!("{program}: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes a line to stderr.
pub fn say(line: fmt::Arguments<'_>) {
    // A closed stderr leaves nobody to tell.
    _ = writeln!(io::stderr(), "{line}");
}

/// Writes the last `lines` of a log to stderr.
pub fn say_end_of(log: &str, lines: usize) {
    let all: Vec<&str> = log.lines().collect();
    say(format_args!("{}", all[all.len().saturating_sub(lines)..].join("\n")));
}

/// Writes a report to stdout: `json`, where it is asked for, or the table.
///
/// # Errors
/// Stdout is closed.
pub fn print(table: &impl Display, json: Option<Value>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match json {
        Some(json) => writeln!(out, "{json}"),
        None => write!(out, "{table}"),
    }
}

/// A seed for a run that names none: the seconds since 1970.
pub fn any_seed() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs()
}
