//! What the nodes of a studio say to each other: JSON, each message far below a NATS server's usual 1 MB.

use std::fmt;

use framebridge_studio_proto::{Heartbeat, JobId, LogBatch, PublicId, RpcChunk, RpcId, RpcResponse};
use serde::{Deserialize, Serialize};

use crate::{
    question::Question,
    store::{Record, SessionRow},
};

/// Where all nodes hear all.
pub(crate) const NEWS: &str = "framebridge.news";

/// One life of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct NodeId(pub(crate) u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl NodeId {
    /// Where this node hears what is meant for it.
    pub(crate) fn notes(self) -> String {
        format!("framebridge.node.{self}")
    }

    /// Where this node lends files.
    pub(crate) fn files(self) -> String {
        format!("framebridge.node.{self}.files")
    }
}

/// Who says it, and what.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Said<T> {
    pub(crate) from: NodeId,
    pub(crate) what: T,
}

/// To all nodes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum News {
    /// I am there.
    Beat,
    /// I have just come, or missed something: say what you know.
    TellMe,
    /// Something that everybody keeps.
    Records(Vec<Record>),
    /// A session's share, or all of them, has ended.
    Unshared { session: PublicId, share: Option<PublicId> },
    /// This box is here, and is so.
    Here {
        session: Box<SessionRow>,
        epoch: u64,
        build: String,
        report: Option<Box<Heartbeat>>,
    },
    /// This box is here no more.
    Gone {
        session: PublicId,
        how: Parting,
        why: String,
    },
    /// This box has logged something.
    Lines { session: PublicId, batch: LogBatch },
}

/// What one message holds of the records, in bytes, but for a record that is larger itself (a result, at most 128 KiB).
const BATCH: usize = 256 * 1024;

/// Packs records, in their order, into few messages, so that the other nodes keep up.
pub(crate) fn batches(records: Vec<Record>) -> Vec<News> {
    let mut batches = Vec::new();
    let (mut batch, mut size) = (Vec::new(), 0);
    for record in records {
        let length = serde_json::to_vec(&record).map_or(0, |text| text.len());
        if size + length > BATCH && !batch.is_empty() {
            batches.push(News::Records(std::mem::take(&mut batch)));
            size = 0;
        }
        size += length;
        batch.push(record);
    }
    if !batch.is_empty() {
        batches.push(News::Records(batch));
    }
    batches
}

/// How a box went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Parting {
    /// Its link is gone.
    Lost,
    /// It said that it is broken.
    Broken,
    /// It was stopped.
    Stopped,
}

/// To one node.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Note {
    /// A question for a box of yours. Its number is the asker's.
    Ask {
        session: PublicId,
        id: RpcId,
        question: Question,
    },
    /// Nobody waits for this answer any more.
    Cancel { session: PublicId, id: RpcId },
    /// An answer begins; message 0 of it.
    Answer { session: PublicId, response: RpcResponse },
    /// It goes on, with message `at` of it.
    Part {
        session: PublicId,
        at: u32,
        chunk: RpcChunk,
    },
    /// It ends here, unfinished.
    BrokenOff { session: PublicId, id: RpcId },
}

/// Asks for a part of a job's file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Borrow {
    pub(crate) job: JobId,
    pub(crate) offset: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Kind, TokenRow};

    #[test]
    fn many_records_are_few_messages_each_small_and_in_order() {
        let named = |number: usize| {
            Record::Token(TokenRow {
                name: format!("{number:06}{}", "x".repeat(number % 300)),
                kind: Kind::Box,
                hash: [7; 32],
                revoked: false,
            })
        };
        let all = |records: &[Record]| serde_json::to_string(records).unwrap();
        let records: Vec<_> = (0..20_000).map(named).collect();
        let (mut heard, messages) = (Vec::new(), batches(records.clone()));
        assert!(messages.len() < 100, "{} messages", messages.len());
        for message in messages {
            assert!(serde_json::to_vec(&message).unwrap().len() < 2 * BATCH);
            let News::Records(batch) = message else {
                panic!("only records")
            };
            heard.extend(batch);
        }
        assert_eq!(all(&heard), all(&records));
        assert!(batches(Vec::new()).is_empty());
    }
}
