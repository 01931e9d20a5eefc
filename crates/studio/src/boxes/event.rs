//! What can happen to a box: its task takes one at a time.

use std::sync::Arc;

use framebridge_core::studio::box_session;
use framebridge_studio_proto::{Heartbeat, LogBatch, ToStudio};

use super::link::Link;
use crate::nodes::NodeId;

/// What can happen to a box. What comes by a link that is not its present one any more means nothing.
#[derive(Debug)]
pub(crate) enum Event {
    /// It has come, and is reached by this link from here on.
    Linked {
        link: Arc<Link>,
        /// Which build it runs, where it said so.
        build: Option<String>,
    },
    /// It has sent something that is no answer to a question.
    Said(Arc<Link>, ToStudio),
    /// The node at which it is has told how it is.
    Told {
        node: NodeId,
        build: String,
        report: Option<Heartbeat>,
    },
    /// Another node has told what it logged.
    Logged(LogBatch),
    /// Its link is over.
    Parted(Arc<Link>, box_session::Input),
    /// It is not at that node any more.
    Left { node: NodeId, input: box_session::Input },
    /// Its token is good no more.
    Revoked,
    /// There may be a job for it.
    JobWaits,
}
