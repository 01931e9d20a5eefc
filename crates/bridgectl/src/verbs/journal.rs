//! `bridgectl journal [-n COUNT] [--since TIME] [--stream STREAM] [--follow]`

use std::{
    io::{self, Write as _},
    time::Duration,
};

use anyhow::bail;
use framebridge_proto::{
    Role, process_name,
    supervisor::{JournalEntry, SupervisorAnswer, SupervisorRequest},
};

use crate::{ask, cli, clock, exit::Exit, names, out::Out, stop::Stop};

/// A fault takes a second to be noticed; sooner than this nobody would see a difference.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub(crate) async fn run(asked: &cli::Journal, out: Out) -> anyhow::Result<Exit> {
    if let Some(stream) = &asked.stream {
        names::stream(&ask::status().await?, stream.as_str())?;
    }
    let mut stop = Stop::catch()?;
    let events = after(0).await?;
    let mut seen = last(&events, 0);
    let mut shown: Vec<_> = events.into_iter().filter(|event| is_asked_for(asked, event)).collect();
    shown.drain(..shown.len().saturating_sub(asked.lines.unwrap_or(usize::MAX)));
    print(&shown, out)?;
    if asked.follow {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        while stop.tick(&mut looks).await {
            // A supervisor that is away for a while is waited for: its next one goes on counting.
            let events = match after(seen).await {
                Ok(events) => events,
                Err(error) if ask::is_unreachable(&error) => continue,
                Err(error) => return Err(error),
            };
            seen = last(&events, seen);
            let new: Vec<_> = events.into_iter().filter(|event| is_asked_for(asked, event)).collect();
            print(&new, out)?;
        }
    }
    Ok(Exit::Ok)
}

/// What happened after event number `after`.
async fn after(after: u64) -> anyhow::Result<Vec<JournalEntry>> {
    let answer = ask::supervisor(SupervisorRequest::Journal { after }).await?;
    let SupervisorAnswer::Journal(events) = answer else {
        bail!(ask::MISMATCH)
    };
    Ok(events)
}

/// The number of the last one.
fn last(events: &[JournalEntry], before: u64) -> u64 {
    events.last().map_or(before, |event| event.sequence)
}

fn is_asked_for(asked: &cli::Journal, event: &JournalEntry) -> bool {
    let encoder = asked
        .stream
        .as_ref()
        .map(|stream| process_name(Role::Encoder, Some(stream)));
    encoder.is_none_or(|encoder| encoder == event.process) && asked.since.is_none_or(|since| event.unix_ms >= since)
}

fn print(events: &[JournalEntry], out: Out) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    for event in events {
        let line = if out.json {
            serde_json::to_string(event)?
        } else {
            render(event)
        };
        writeln!(stdout, "{line}")?;
    }
    Ok(stdout.flush()?)
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

    fn example() -> JournalEntry {
        JournalEntry {
            sequence: 7,
            unix_ms: 1_795_416_008_123,
            process: "encoder-test".into(),
            what: "backing-off -> running".into(),
            verdict: "reported".into(),
            action: "nothing to do".into(),
            recovery_ms: Some(412),
        }
    }

    fn asked(line: &str) -> cli::Journal {
        use clap::Parser as _;
        let cli::Verb::Journal(asked) = cli::Cli::try_parse_from(line.split(' ')).unwrap().verb else {
            unreachable!()
        };
        asked
    }

    #[test]
    fn events_are_those_of_the_stream_and_the_time_that_were_asked_for() {
        let event = |process: &str, unix_ms| JournalEntry {
            process: process.into(),
            unix_ms,
            ..example()
        };
        let of_desk = asked("bridgectl journal --stream desk");
        assert!(is_asked_for(&of_desk, &event("encoder-desk", 1)));
        assert!(!is_asked_for(&of_desk, &event("encoder-desk2", 1)) && !is_asked_for(&of_desk, &event("signaling", 1)));
        let since = asked("bridgectl journal --since 2026-11-23");
        assert!(is_asked_for(&since, &event("signaling", 1_795_392_000_000)));
        assert!(!is_asked_for(&since, &event("signaling", 1_795_391_999_999)));
        assert!(is_asked_for(&asked("bridgectl events -n 3 -f"), &event("bridge", 0)));
    }

    #[test]
    fn event_is_one_line_that_says_when_who_what_and_why() {
        let event = example();
        let expected = "2026-11-23 06:40:08.123Z  encoder-test      backing-off -> running: reported; nothing to do \
                        (back after 0.4 s)";
        assert_eq!(render(&event), expected);
    }
}
