//! The other nodes of this studio, if there are any: which box is where, and how it is reached there.
//!
//! Without NATS there is one node, and everything here does nothing. With it every node keeps all records, and a box that is
//! connected to another node has a link like any other: what is asked on it travels there and is asked there
//! (`docs/decisions/0010-nodes.md`).

mod files;
mod wire;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use async_nats::{Client, ConnectOptions, Event, ServerAddr, connection::State};
use framebridge_core::studio::{
    box_session,
    presence::{self, Presence},
};
use framebridge_daemon::unix_ms;
use framebridge_studio_proto::{Heartbeat, JobId, LogBatch, PublicId, RpcId};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};

pub(crate) use files::lend;
pub(crate) use wire::{NEWS, News, NodeId, Note, Parting, Said, batches};

use crate::{
    question::{Gone, Question},
    random,
    store::{Record, SessionRow},
};

/// A node that says nothing for three of these is gone.
pub(crate) const BEAT: Duration = Duration::from_secs(2);

/// Messages that may wait to leave. What finds no place is made up for by saying everything again.
const QUEUE: usize = 1024;

/// Messages that may wait to be taken in; past it some are lost, and asked for again.
const MOST_HEARD: usize = 4096;

/// A NATS server that does not answer so often in a row is given up for the next.
const PING: Duration = Duration::from_secs(5);

/// How long a connection to NATS may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest pause between two attempts to reach NATS.
const RECONNECT_CAP: Duration = Duration::from_secs(2);

/// All nodes but this one; by default there are none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Nodes(Option<Arc<Mesh>>);

/// The way to the other nodes, and which box is at which.
#[derive(Debug)]
pub(crate) struct Mesh {
    pub(crate) own: NodeId,
    pub(crate) client: Client,
    presence: Mutex<Presence<NodeId, PublicId>>,
    /// What leaves, and where to.
    leaving: mpsc::Sender<(String, Vec<u8>)>,
    /// Everything is to be said again.
    pub(crate) all: Notify,
    /// What the task works on that keeps the nodes together.
    work: Mutex<Option<Work>>,
}

/// What the task works on that keeps the nodes together.
#[derive(Debug)]
pub(crate) struct Work {
    /// What leaves, and where to.
    pub(crate) leaving: mpsc::Receiver<(String, Vec<u8>)>,
    /// What became of the connection to NATS.
    pub(crate) events: mpsc::Receiver<Event>,
}

/// A box that is connected to this node, as the others are told of it.
#[derive(Debug)]
pub(crate) struct Here {
    pub(crate) row: SessionRow,
    pub(crate) build: String,
    pub(crate) report: Option<Heartbeat>,
}

/// The way to a box by another node.
#[derive(Debug)]
pub(crate) struct NodeRoad {
    pub(crate) node: NodeId,
    pub(crate) session: PublicId,
    pub(crate) mesh: Arc<Mesh>,
}

impl Nodes {
    /// Joins the nodes that meet at these NATS servers. One that is not there yet is waited for behind the scenes.
    pub(crate) async fn join(urls: &[String]) -> anyhow::Result<Self> {
        if urls.is_empty() {
            return Ok(Self::default());
        }
        let servers: Result<Vec<ServerAddr>, _> = urls.iter().map(|url| url.parse()).collect();
        let servers = servers.context("--nats takes addresses such as nats://10.0.0.1:4222")?;
        let (happened, events) = mpsc::channel(16);
        let client = ConnectOptions::new()
            .name("framebridge studio")
            .no_echo()
            .retry_on_initial_connect()
            .connection_timeout(CONNECT_TIMEOUT)
            .ping_interval(PING)
            .subscription_capacity(MOST_HEARD)
            .reconnect_delay_callback(|attempt| {
                let doublings = u32::try_from(attempt.min(8)).unwrap_or(8);
                (Duration::from_millis(50) * 2_u32.pow(doublings)).min(RECONNECT_CAP)
            })
            .event_callback(move |event| {
                let happened = happened.clone();
                async move {
                    tracing::info!("NATS: {event}");
                    // Past its end nobody needs to know.
                    _ = happened.send(event).await;
                }
            })
            .connect(servers)
            .await
            .context("joining the studio's other nodes")?;
        let (leaving, queue) = mpsc::channel(QUEUE);
        let own = NodeId(u64::from_be_bytes(random::bytes()));
        Ok(Self(Some(Arc::new(Mesh {
            own,
            client,
            presence: Mutex::new(Presence::new(presence::Config::default(), own)),
            leaving,
            all: Notify::new(),
            work: Mutex::new(Some(Work { leaving: queue, events })),
        }))))
    }

    /// The way to the others, and what is to be done on it: for the one task that does it.
    pub(crate) fn take_work(&self) -> Option<(&Arc<Mesh>, Work)> {
        let mesh = self.0.as_ref()?;
        let work = mesh.work.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some((mesh, work))
    }

    /// Whether there may be others.
    pub(crate) fn are_there(&self) -> bool {
        self.0.is_some()
    }

    /// Whether the others can't be heard now.
    pub(crate) fn are_cut_off(&self) -> bool {
        self.0.as_ref().is_some_and(|mesh| !mesh.is_connected())
    }

    /// How long what happens at another node may take until it is known here.
    pub(crate) fn news_takes(&self) -> Duration {
        self.0.as_ref().map_or(Duration::ZERO, |_| BEAT * 3 / 2)
    }

    /// How this node stands with the others; null if it is the only one.
    pub(crate) fn view(&self) -> Value {
        self.0.as_ref().map_or(Value::Null, |mesh| {
            let others: Vec<String> =
                mesh.presence(|presence| presence.others().map(|node| node.to_string()).collect());
            json!({ "own": mesh.own.to_string(), "connected": mesh.is_connected(), "others": others })
        })
    }

    /// A box has come to this node, or has left it.
    pub(crate) fn on_box(&self, here: Here, input: box_session::Input) {
        let Some(mesh) = &self.0 else { return };
        let now = Instant::now();
        let id = here.row.id;
        let (how, why) = match input {
            box_session::Input::Welcomed => {
                let at_ms = unix_ms();
                mesh.presence(|presence| presence.handle(presence::Input::Came { session: id, at_ms }, now));
                return mesh.tell_of(here);
            }
            box_session::Input::Reported(_) | box_session::Input::Timeout => return,
            box_session::Input::Lost { why } => (Parting::Lost, why),
            box_session::Input::Left { broken: true, why } => (Parting::Broken, why),
            box_session::Input::Left { broken: false, why } => (Parting::Stopped, why),
        };
        mesh.presence(|presence| presence.handle(presence::Input::Went { session: id }, now));
        mesh.tell(News::Gone { session: id, how, why });
    }

    /// A box that is connected here has said how it is.
    pub(crate) fn on_report(&self, here: Here) {
        if let Some(mesh) = &self.0 {
            mesh.tell_of(here);
        }
    }

    /// A box that is connected here has logged something.
    pub(crate) fn on_lines(&self, session: PublicId, batch: &LogBatch) {
        self.tell(|| News::Lines {
            session,
            batch: batch.clone(),
        });
    }

    /// A share of a session has ended, or all of them.
    pub(crate) fn on_unshared(&self, session: PublicId, share: Option<PublicId>) {
        self.tell(|| News::Unshared { session, share });
    }

    /// Asks all nodes to say what they know: one may have heard of what this node has not.
    pub(crate) fn ask_all(&self) {
        self.tell(|| News::TellMe);
    }

    /// A record is new, or has changed.
    pub(crate) fn on_record(&self, record: Record) {
        self.tell(|| News::Records(vec![record]));
    }

    /// The bytes of a job's result, from the node that has them.
    pub(crate) async fn file(&self, job: JobId) -> Option<axum::body::Body> {
        files::borrow(self.0.as_ref()?, job).await
    }

    fn tell(&self, news: impl FnOnce() -> News) {
        if let Some(mesh) = &self.0 {
            mesh.tell(news());
        }
    }
}

impl Mesh {
    pub(crate) fn presence<T>(&self, with: impl FnOnce(&mut Presence<NodeId, PublicId>) -> T) -> T {
        with(&mut self.presence.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    pub(crate) fn encode(&self, what: impl Serialize) -> Vec<u8> {
        let from = self.own;
        serde_json::to_vec(&Said { from, what }).expect("messages hold nothing that JSON can't")
    }

    /// Tells all nodes, as soon as may be. What is not heard is made up for when a connection is there again.
    pub(crate) fn tell(&self, news: News) {
        self.leave(NEWS.to_owned(), self.encode(news));
    }

    fn leave(&self, subject: String, message: Vec<u8>) {
        if self.leaving.try_send((subject, message)).is_err() {
            self.all.notify_one();
        }
    }

    /// Tells how a box of this node is.
    fn tell_of(&self, here: Here) {
        if let Some(news) = self.here(here) {
            self.tell(news);
        }
    }

    pub(crate) fn here(&self, Here { row, build, report }: Here) -> Option<News> {
        let (node, epoch) = self.presence(|presence| presence.holder(row.id))?;
        (node == self.own).then(|| News::Here {
            session: Box::new(row),
            epoch,
            build,
            report: report.map(Box::new),
        })
    }

    /// Sends to one node, when there is room for it.
    pub(crate) async fn send(&self, node: NodeId, note: Note) -> Result<(), Gone> {
        let sent = self.is_connected() && self.publish(node.notes(), self.encode(note)).await;
        sent.then_some(()).ok_or(Gone)
    }

    pub(crate) async fn publish(&self, subject: String, message: Vec<u8>) -> bool {
        let published = self.client.publish(subject, message.into()).await;
        published
            .inspect_err(|error| tracing::warn!(%error, "a message to another node was not sent"))
            .is_ok()
    }
}

impl NodeRoad {
    /// Puts a question to the box.
    pub(crate) async fn ask(&self, id: RpcId, question: Question) -> Result<(), Gone> {
        let session = self.session;
        self.mesh.send(self.node, Note::Ask { session, id, question }).await
    }

    /// Says that nobody waits for the answer any more.
    pub(crate) fn cancel(&self, id: RpcId) {
        let session = self.session;
        let note = self.mesh.encode(Note::Cancel { session, id });
        self.mesh.leave(self.node.notes(), note);
    }
}
