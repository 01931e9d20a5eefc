//! What can happen to the bridge. The app's one loop takes one event at a time.

use framebridge_core::studio::{job_slot, shared_viewers};
use framebridge_proto::{
    Refusal,
    bridge::{BridgeAnswer, BridgeRequest},
    status::Status,
};
use framebridge_studio_proto::{JobId, PublicId, ToBox};
use tokio::sync::oneshot;

use crate::{jobs::Made, proxy::ViewerSession};

/// What can happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// On the connection of this number.
    Connection(u64, ConnectionEvent),
    /// On this machine.
    Local(LocalEvent),
    /// A job has ended.
    Job(JobId, Result<Made, job_slot::Failure>),
    /// The file of a job was brought over the connection of this number, or can't be, and why.
    Brought(u64, JobId, Result<(), String>),
    /// To a viewer who came by a shared address.
    Viewer(shared_viewers::Input<PublicId, ViewerSession>),
    /// An operator wants something.
    Order(Order),
}

/// What happens on a connection to the studio.
#[derive(Debug)]
pub(crate) enum ConnectionEvent {
    /// It is there.
    Connected,
    /// It is gone, or never came about.
    Lost(String),
    /// A frame came.
    Frame(ToBox),
}

/// What was found out on this machine.
#[derive(Debug)]
pub(crate) enum LocalEvent {
    /// The box's own server answered, or did not and why.
    Probed(Result<(), String>),
    /// The supervisor's status.
    Status(Box<Status>),
    /// The supervisor does not answer, though its process may live.
    SupervisorSilent,
    /// The supervisor's process is no more.
    SupervisorGone,
    /// The supervisor was asked to start signaling again, and what it said.
    RestartAnswered(Result<(), String>),
    /// Whoever started us is no more.
    ParentGone,
}

/// What an operator asks, and where the answer goes.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) request: BridgeRequest,
    pub(crate) answer: oneshot::Sender<Result<BridgeAnswer, Refusal>>,
}
