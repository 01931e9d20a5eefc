//! `bridgectl journal [--follow] [--json]`

use std::{
    io::{self, Write as _},
    time::Duration,
};

use anyhow::bail;
use framebridge_proto::supervisor::{JournalEntry, SupervisorAnswer, SupervisorRequest};

use crate::{ask, cli, clock, exit::Exit, stop};

/// A fault takes a second to be noticed; sooner than this nobody would see a difference.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub(crate) async fn run(asked: &cli::Journal) -> anyhow::Result<Exit> {
    let mut seen = print(asked, 0).await?;
    if asked.follow {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        while stop::tick(&mut looks).await? {
            // A supervisor that is away for a while is waited for: its next one goes on counting.
            match print(asked, seen).await {
                Ok(last) => seen = last,
                Err(error) if ask::is_unreachable(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(Exit::Ok)
}

/// Prints what happened after event number `after`; the number of the last one.
async fn print(asked: &cli::Journal, after: u64) -> anyhow::Result<u64> {
    let answer = ask::supervisor(SupervisorRequest::Journal { after }).await?;
    let SupervisorAnswer::Journal(events) = answer else {
        bail!(ask::MISMATCH)
    };
    let mut out = io::stdout().lock();
    for event in &events {
        let line = if asked.json {
            serde_json::to_string(event)?
        } else {
            render(event)
        };
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    Ok(events.last().map_or(after, |event| event.sequence))
}

/// `2026-11-23 06:40:08.123 encoder-test  running -> stalled: 3 heartbeats missed; killed (back after 0.4 s)`
fn render(event: &JournalEntry) -> String {
    let JournalEntry {
        unix_ms,
        process,
        what,
        verdict,
        action,
        recovery_ms,
        ..
    } = event;
    let recovery = recovery_ms.map_or_else(String::new, |ms| {
        format!(" (back after {}.{} s)", ms / 1000, ms / 100 % 10)
    });
    format!(
        "{}  {process:<16}  {what}: {verdict}; {action}{recovery}",
        clock::utc(*unix_ms)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_is_one_line_that_says_when_who_what_and_why() {
        let event = JournalEntry {
            sequence: 7,
            unix_ms: 1_795_416_008_123,
            process: "encoder-test".into(),
            what: "backing-off -> running".into(),
            verdict: "reported".into(),
            action: "nothing to do".into(),
            recovery_ms: Some(412),
        };
        let expected = "2026-11-23 06:40:08.123Z  encoder-test      backing-off -> running: reported; nothing to do \
                        (back after 0.4 s)";
        assert_eq!(render(&event), expected);
    }
}
