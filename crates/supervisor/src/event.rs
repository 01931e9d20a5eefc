//! What the loop is told by the tasks around it.

use std::net::SocketAddr;

use framebridge_config::{Problem, Settings};
use framebridge_ipc::Peer;
use framebridge_proto::{
    Refusal,
    hooks::Happening,
    supervisor::{Progress, SupervisorAnswer, SupervisorRequest},
};
use tokio::sync::oneshot;

use crate::child::Started;

/// What the loop is told by the tasks around it.
#[derive(Debug)]
pub(crate) enum Event {
    /// A process reported.
    Reported { peer: Peer, progress: Box<Progress> },
    /// A process tells what only it has seen.
    Happened { peer: Peer, happening: Happening },
    /// So many bytes are free, of all, at one of the places that are looked at.
    Disk { place: usize, free: u64, total: u64 },
    /// Somebody asks.
    Asked {
        request: SupervisorRequest,
        answer: oneshot::Sender<Answer>,
    },
    /// Signaling was asked over HTTP.
    Probed { pid: u32, answered: bool },
    /// The configuration was read again, for whoever asked.
    Configuration {
        outcome: Result<Box<Configuration>, String>,
        answer: Option<oneshot::Sender<Answer>>,
    },
    /// systemd has started the process of a slot, or said why not.
    Started {
        index: usize,
        outcome: Result<Started, String>,
    },
}

/// A configuration that makes sense.
#[derive(Debug)]
pub(crate) struct Configuration {
    pub(crate) settings: Settings,
    /// What it names and is not there.
    pub(crate) missing: Vec<Problem>,
}

/// What came of a request.
pub(crate) type Answer = Result<SupervisorAnswer, Refusal>;

/// Whom the probe asks: a process, and where it listens.
pub(crate) type Target = Option<(u32, SocketAddr)>;
