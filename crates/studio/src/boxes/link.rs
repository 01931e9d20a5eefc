//! A link to a box: what leaves on it, and the requests under way. Who holds it sends; nobody is called back.

use std::sync::Arc;

use framebridge_studio_proto::{RpcId, ToBox};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::calls::{Budget, Calls};
use crate::{
    nodes::{NodeId, NodeRoad},
    question::{Gone, Question},
};

/// Frames that may wait for the box, and go first: answers to what it said, offers. A box that has not taken so many takes
/// nothing, and its link ends.
const FIRST: usize = 64;

/// Frames of questions that may wait besides. Past it whoever asks waits, and a request that can't be sent in its time fails.
const QUESTIONS: usize = 256;

/// A link to a box.
#[derive(Debug)]
pub(crate) struct Link {
    road: Road,
    pub(crate) calls: Calls,
}

/// How a box is reached.
#[derive(Debug)]
enum Road {
    /// It is connected here.
    Here {
        first: mpsc::Sender<ToBox>,
        questions: mpsc::Sender<ToBox>,
        ends: Ends,
    },
    /// It is connected to another node.
    Node(NodeRoad),
}

/// What is to leave on a link.
#[derive(Debug)]
pub(crate) struct Leaving {
    first: mpsc::Receiver<ToBox>,
    questions: mpsc::Receiver<ToBox>,
    pub(crate) ends: Ends,
}

/// Why a link that is connected here has to end, where nothing was said on it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ends {
    /// There was no room for what had to leave.
    pub(crate) stuck: CancellationToken,
    /// The studio can't keep what was said.
    pub(crate) unrecorded: CancellationToken,
}

impl Link {
    /// A link, and the frames that are to leave on it.
    pub(crate) fn new(all: Arc<Budget>) -> (Arc<Self>, Leaving) {
        let (first, first_queue) = mpsc::channel(FIRST);
        let (questions, question_queue) = mpsc::channel(QUESTIONS);
        let ends = Ends::default();
        let leaving = Leaving {
            first: first_queue,
            questions: question_queue,
            ends: ends.clone(),
        };
        let road = Road::Here { first, questions, ends };
        let calls = Calls::new(all);
        (Arc::new(Self { road, calls }), leaving)
    }

    /// A link by way of another node.
    pub(crate) fn by_node(road: NodeRoad, all: Arc<Budget>) -> Arc<Self> {
        Arc::new(Self {
            road: Road::Node(road),
            calls: Calls::new(all),
        })
    }

    /// The node by which the box is reached; `None`: it is connected here.
    pub(crate) fn node(&self) -> Option<NodeId> {
        match &self.road {
            Road::Here { .. } => None,
            Road::Node(road) => Some(road.node),
        }
    }

    /// Sends a frame that must not be left out. An `error` is the last. What travels between nodes are questions, and no frames.
    pub(crate) fn send(&self, frame: ToBox) {
        if let Road::Here { first, ends, .. } = &self.road
            && first.try_send(frame).is_err()
        {
            ends.stuck.cancel();
        }
    }

    /// Ends it: what was said on it can't be kept.
    pub(crate) fn fail(&self) {
        if let Road::Here { ends, .. } = &self.road {
            ends.unrecorded.cancel();
        }
    }

    /// Puts a question to the box, when there is room for it.
    pub(crate) async fn ask(&self, id: RpcId, question: Question) -> Result<(), Gone> {
        match &self.road {
            Road::Here { questions, .. } => {
                for frame in question.frames(id) {
                    questions.send(frame).await.map_err(|_closed| Gone)?;
                }
                Ok(())
            }
            Road::Node(road) => road.ask(id, question).await,
        }
    }

    /// Says that nobody waits for an answer any more. With the queue full the box learns of it with its next part.
    pub(crate) fn cancel(&self, id: RpcId) {
        match &self.road {
            Road::Here { questions, .. } => {
                if let Err(error) = questions.try_send(ToBox::RpcCancel { id }) {
                    tracing::debug!(%error, "a frame was left out");
                }
            }
            Road::Node(road) => road.cancel(id),
        }
    }
}

impl Leaving {
    /// The next frame to leave. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<ToBox> {
        tokio::select! {
            biased;
            frame = self.first.recv() => frame,
            frame = self.questions.recv() => frame,
        }
    }
}
