//! Keeps the last log lines in memory for a task that sends them elsewhere.

use std::{
    collections::VecDeque,
    fmt::{self, Write as _},
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

use crate::unix_ms;

/// Keeps the latest lines; the oldest go when it is full, and are counted. Clones share them.
#[derive(Debug, Clone)]
pub struct LogTap {
    kept: Arc<Mutex<Buffer>>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Buffer {
    lines: VecDeque<Tapped>,
    lost: u64,
}

/// A line that was logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tapped {
    /// When, ms since the Unix epoch.
    pub at_ms: u64,
    /// Its level.
    pub level: Level,
    /// Its message, then its fields as ` name=value`.
    pub text: String,
}

impl LogTap {
    /// A tap that keeps up to `capacity` lines.
    pub fn new(capacity: usize) -> Self {
        Self {
            kept: Arc::default(),
            capacity,
        }
    }

    /// Takes the oldest lines, up to `most`, and how many were lost before them.
    pub fn take(&self, most: usize) -> (u64, Vec<Tapped>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let count = most.min(kept.lines.len());
        let lines = kept.lines.drain(..count).collect();
        (std::mem::take(&mut kept.lost), lines)
    }

    fn push(&self, line: Tapped) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.lines.len() >= self.capacity {
            kept.lines.pop_front();
            kept.lost += 1;
        }
        kept.lines.push_back(line);
    }
}

impl<S: Subscriber> Layer<S> for LogTap {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        self.push(Tapped {
            at_ms: unix_ms(),
            level: *event.metadata().level(),
            text: text.message + &text.fields,
        });
    }
}

/// The message, and ` name=value` of the fields.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // A String takes whatever is written to it.
        _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn lines_come_out_in_order_and_the_lost_ones_are_counted() {
        let tap = LogTap::new(2);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(tap.clone()), || {
            tracing::info!("first");
            tracing::warn!(port = 7, why = "busy", "second");
            tracing::error!("third {}", 3);
        });
        let (lost, lines) = tap.take(1);
        assert_eq!((lost, lines[0].text.as_str()), (1, "second port=7 why=busy"));
        assert_eq!(lines[0].level, Level::WARN);
        let (lost, lines) = tap.take(10);
        assert_eq!((lost, lines.len(), lines[0].text.as_str()), (0, 1, "third 3"));
    }
}
