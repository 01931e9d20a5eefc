//! Sends log lines to the studio, and keeps them until it has them.
//!
//! Frames arrive in order, so the answer to a heartbeat vouches for every batch that was sent before it. What was sent
//! on a link that was lost without one is sent again: lines may arrive twice, and none is lost but where it is counted.

use std::collections::VecDeque;

use framebridge_daemon::{LogTap, Tapped};
use framebridge_studio_proto::{
    LogBatch, LogLine,
    limits::{MAX_LOG_BATCH, MAX_LOG_LINE},
};

/// Batches that may be on their way at once; past it lines wait in the tap, which counts what it loses.
const MOST_UNANSWERED: usize = 20;

/// The way of log lines to the studio.
#[derive(Debug)]
pub(crate) struct Outbox {
    tap: LogTap,
    /// Sent on a link that was lost, and to be sent again.
    again: VecDeque<LogBatch>,
    /// Sent on the present link, oldest first.
    unanswered: VecDeque<LogBatch>,
    /// For each heartbeat that was not answered yet, the batches sent since the one before.
    since_heartbeat: VecDeque<usize>,
}

impl Outbox {
    pub(crate) fn new(tap: LogTap) -> Self {
        Self {
            tap,
            again: VecDeque::new(),
            unanswered: VecDeque::new(),
            since_heartbeat: VecDeque::new(),
        }
    }

    /// The next batch to send, if there is one.
    pub(crate) fn next(&mut self) -> Option<LogBatch> {
        if self.unanswered.len() >= MOST_UNANSWERED {
            return None;
        }
        let batch = self.again.pop_front().or_else(|| batch(&self.tap))?;
        self.unanswered.push_back(batch.clone());
        Some(batch)
    }

    /// A heartbeat was sent.
    pub(crate) fn on_heartbeat(&mut self) {
        let counted: usize = self.since_heartbeat.iter().sum();
        self.since_heartbeat.push_back(self.unanswered.len() - counted);
    }

    /// A heartbeat was answered.
    pub(crate) fn on_answer(&mut self) {
        let arrived = self.since_heartbeat.pop_front().unwrap_or(0);
        self.unanswered.drain(..arrived);
    }

    /// The link is gone, and with it whatever was not vouched for.
    pub(crate) fn on_lost(&mut self) {
        self.since_heartbeat.clear();
        self.unanswered.append(&mut self.again);
        std::mem::swap(&mut self.unanswered, &mut self.again);
    }
}

/// The lines that wait; none if nothing was logged.
fn batch(tap: &LogTap) -> Option<LogBatch> {
    let (lost, lines) = tap.take(MAX_LOG_BATCH);
    if lost == 0 && lines.is_empty() {
        return None;
    }
    let line = |Tapped { at_ms, level, mut text }| {
        text.truncate(text.floor_char_boundary(MAX_LOG_LINE));
        LogLine {
            at_ms,
            level: level.as_str().to_ascii_lowercase(),
            text,
        }
    };
    Some(LogBatch {
        lost,
        lines: lines.into_iter().map(line).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(number: u64) -> LogBatch {
        LogBatch {
            lost: number,
            lines: vec![],
        }
    }

    #[test]
    fn batches_are_sent_again_until_a_heartbeat_after_them_is_answered() {
        let mut outbox = Outbox::new(LogTap::new(1));
        outbox.again.extend((1..=4).map(numbered));
        let next = |outbox: &mut Outbox| outbox.next().map(|batch| batch.lost);
        assert_eq!((next(&mut outbox), next(&mut outbox)), (Some(1), Some(2)));
        outbox.on_heartbeat();
        assert_eq!(next(&mut outbox), Some(3));
        outbox.on_heartbeat();
        outbox.on_answer();
        // 1 and 2 have arrived; 3 may have, and 4 was never sent.
        outbox.on_lost();
        let sent: Vec<_> = std::iter::from_fn(|| next(&mut outbox)).collect();
        assert_eq!(sent, [3, 4]);
        outbox.on_answer();
        assert_eq!(outbox.unanswered.len(), 2, "an answer to nothing vouches for nothing");
        outbox.on_heartbeat();
        outbox.on_answer();
        outbox.on_lost();
        assert_eq!(next(&mut outbox), None);
    }

    #[test]
    fn what_is_on_its_way_is_bounded() {
        let mut outbox = Outbox::new(LogTap::new(1));
        outbox.again.extend((0..100).map(numbered));
        assert_eq!(std::iter::from_fn(|| outbox.next()).count(), MOST_UNANSWERED);
        outbox.on_heartbeat();
        outbox.on_answer();
        assert!(outbox.next().is_some());
    }
}
