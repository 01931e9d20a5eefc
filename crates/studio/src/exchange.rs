//! Exchanges records and questions with the other nodes, for as long as the process lives.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use async_nats::Event;
use framebridge_core::studio::{box_session, presence};
use framebridge_studio_proto::{Bytes64, PublicId, RpcChunk, RpcId, RpcResponse};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use tokio::{
    task::{AbortHandle, JoinSet},
    time::{MissedTickBehavior, interval},
};

use crate::{
    boxes::{Event as BoxEvent, Link, Session, ask},
    hub::Hub,
    nodes::{BEAT, Here, Mesh, NEWS, News, NodeId, NodeRoad, Note, Parting, Said, Work, batches, lend},
    problem::Problem,
    question::{Gone, Question},
    store::{Record, SessionRow, StoreError, TokenRow},
};

/// Questions of other nodes in hand at once, event streams, which have no end, among them; past it they are refused. The
/// bounds of the boxes come first.
const MOST_ASKED: usize = 8192;

/// Says, hears, answers and lends, until dropped.
pub(crate) async fn run(hub: Arc<Hub>) {
    let Some((mesh, work)) = hub.nodes.take_work() else {
        return;
    };
    let ended = tokio::try_join!(
        async {
            speak(&hub, mesh, work).await;
            Ok(())
        },
        hear(&hub, mesh),
        Answers::new(&hub, mesh).serve(),
        lend(mesh, hub.uploads.folder())
    );
    if let Err(error) = ended {
        tracing::error!("the other nodes: {error:#}");
    }
}

/// Says what is to be said, beats, and notices who has fallen silent.
async fn speak(hub: &Hub, mesh: &Arc<Mesh>, mut work: Work) {
    let mut told: Vec<TokenRow> = Vec::new();
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Every arm is cancel-safe.
        tokio::select! {
            leaving = work.leaving.recv() => {
                let Some((subject, message)) = leaving else { return };
                // Without a connection it would wait for one, and be old news by then.
                if mesh.is_connected() {
                    mesh.publish(subject, message).await;
                }
            }
            event = work.events.recv() => {
                let behind = matches!(event, Some(Event::Connected | Event::SlowConsumer(_)));
                if behind {
                    mesh.tell(News::TellMe);
                    mesh.all.notify_one();
                }
            }
            () = mesh.all.notified() => logged(everything(hub, mesh).await),
            _ = beats.tick() => {
                mesh.tell(News::Beat);
                logged(tokens(hub, mesh, &mut told).await);
                logged(handle(hub, mesh, presence::Input::Timeout).await);
            }
        }
    }
}

/// Tells of tokens that were made or revoked on the command line since.
async fn tokens(hub: &Hub, mesh: &Mesh, told: &mut Vec<TokenRow>) -> Result<(), StoreError> {
    let tokens = hub.store.current_tokens().await?;
    for token in tokens.iter().filter(|token| !told.contains(token)) {
        mesh.tell(News::Records(vec![Record::Token(token.clone())]));
    }
    *told = tokens;
    Ok(())
}

/// Records that can't be read or written now are told again when a node asks for everything.
fn logged(outcome: Result<(), StoreError>) {
    if let Err(error) = outcome {
        tracing::error!("{:#}", anyhow::Error::from(error));
    }
}

/// Says all that this node knows.
async fn everything(hub: &Hub, mesh: &Mesh) -> Result<(), StoreError> {
    if !mesh.is_connected() {
        return Ok(());
    }
    let records = batches(hub.store.records().await?);
    let here = hub.boxes.all();
    let here = here.iter().filter_map(|session| mesh.here(here_of(session)));
    for news in records.into_iter().chain(here) {
        mesh.publish(NEWS.to_owned(), mesh.encode(news)).await;
    }
    Ok(())
}

fn here_of(session: &Session) -> Here {
    let view = session.view();
    Here {
        row: session.row(),
        build: view.build,
        report: view.report,
    }
}

fn decode<T: DeserializeOwned>(message: &async_nats::Message) -> Option<Said<T>> {
    let said = serde_json::from_slice(&message.payload);
    said.inspect_err(|error| tracing::debug!(%error, "ignored what another node said"))
        .ok()
}

/// Takes in what other nodes say.
async fn hear(hub: &Hub, mesh: &Arc<Mesh>) -> anyhow::Result<()> {
    let mut heard = mesh.client.subscribe(NEWS).await?;
    while let Some(message) = heard.next().await {
        if let Some(Said { from, what }) = decode(&message) {
            logged(on_news(hub, mesh, from, what).await);
        }
    }
    Ok(())
}

async fn on_news(hub: &Hub, mesh: &Arc<Mesh>, from: NodeId, news: News) -> Result<(), StoreError> {
    handle(hub, mesh, presence::Input::Beat { node: from }).await?;
    match news {
        News::Beat => {}
        News::TellMe => mesh.all.notify_one(),
        News::Records(records) => on_records(hub, records).await?,
        News::Unshared { session, share } => {
            hub.store.end_shares(session, share).await?;
            hub.visits.end(session, share);
        }
        News::Here {
            session,
            epoch,
            build,
            report,
        } => {
            if let Some(session) = known(hub, *session).await? {
                let id = session.id;
                let held = presence::Input::Held {
                    node: from,
                    session: id,
                    epoch,
                };
                handle(hub, mesh, held).await?;
                let report = report.map(|report| *report);
                let node = from;
                session.tell(BoxEvent::Told { node, build, report }).await;
            }
        }
        News::Gone { session, how, why } => {
            let input = match how {
                Parting::Lost => box_session::Input::Lost { why },
                Parting::Broken => box_session::Input::Left { broken: true, why },
                Parting::Stopped => box_session::Input::Left { broken: false, why },
            };
            handle(hub, mesh, presence::Input::Released { node: from, session }).await?;
            part(hub, session, from, input).await;
        }
        News::Lines { session, batch } => {
            if let Some(session) = hub.boxes.get(session) {
                session.tell(BoxEvent::Logged(batch)).await;
            }
        }
    }
    Ok(())
}

async fn on_records(hub: &Hub, records: Vec<Record>) -> Result<(), StoreError> {
    hub.store.merge(records.clone()).await?;
    let mut with_jobs = BTreeSet::new();
    for record in records {
        match record {
            Record::Token(_) | Record::Share(_) => {}
            Record::Session(row) => {
                known(hub, row).await?;
            }
            Record::Job(job) => {
                with_jobs.insert(job.session);
            }
        }
    }
    for session in with_jobs {
        if let Some(session) = hub.boxes.get(session) {
            session.tell(BoxEvent::JobWaits).await;
        }
    }
    Ok(())
}

/// The session of this row, once its token is known here.
async fn known(hub: &Hub, row: SessionRow) -> Result<Option<Arc<Session>>, StoreError> {
    if let Some(session) = hub.boxes.get(row.id) {
        return Ok(Some(session));
    }
    hub.store.merge(vec![Record::Session(row.clone())]).await?;
    let kept = hub.store.has_session(row.id).await?;
    Ok(kept.then(|| hub.boxes.adopt(row)))
}

/// The session's link, if it is by this node.
fn by(session: &Session, node: NodeId) -> Option<Arc<Link>> {
    session.link().filter(|link| link.node() == Some(node))
}

/// Tells the machine, and does what it says.
async fn handle(hub: &Hub, mesh: &Arc<Mesh>, input: presence::Input<NodeId, PublicId>) -> Result<(), StoreError> {
    let outputs: Vec<_> = mesh.presence(|presence| {
        presence.handle(input, Instant::now());
        std::iter::from_fn(|| presence.poll_output()).collect()
    });
    for output in outputs {
        match output {
            presence::Output::Moved { session, node } => {
                let Some(found) = hub.boxes.get(session) else { continue };
                let road = NodeRoad {
                    node,
                    session,
                    mesh: Arc::clone(mesh),
                };
                let link = Link::by_node(road, Arc::clone(&hub.waiting));
                found.tell(BoxEvent::Linked { link, build: None }).await;
            }
            presence::Output::Lost { session, node } => {
                let why = if hub.nodes.are_cut_off() {
                    "this node of the studio is cut off from the others"
                } else {
                    "the node of the studio that had it is gone"
                };
                part(hub, session, node, box_session::Input::Lost { why: why.to_owned() }).await;
            }
            presence::Output::Silent { node } => tracing::warn!(%node, "a node of the studio is gone"),
        }
    }
    Ok(())
}

/// Ends a link by another node.
async fn part(hub: &Hub, session: PublicId, node: NodeId, input: box_session::Input) {
    if let Some(session) = hub.boxes.get(session) {
        session.tell(BoxEvent::Left { node, input }).await;
    }
}

/// Questions of other nodes in hand.
struct Answers<'a> {
    hub: &'a Arc<Hub>,
    mesh: &'a Arc<Mesh>,
    tasks: JoinSet<()>,
    asked: BTreeMap<(NodeId, PublicId, RpcId), AbortHandle>,
}

impl<'a> Answers<'a> {
    fn new(hub: &'a Arc<Hub>, mesh: &'a Arc<Mesh>) -> Self {
        Self {
            hub,
            mesh,
            tasks: JoinSet::new(),
            asked: BTreeMap::new(),
        }
    }

    /// Takes in what is meant for this node alone.
    async fn serve(mut self) -> anyhow::Result<()> {
        let mut notes = self.mesh.client.subscribe(self.mesh.own.notes()).await?;
        let mut looks = interval(BEAT);
        loop {
            // Every arm is cancel-safe.
            tokio::select! {
                note = notes.next() => {
                    let Some(note) = note else { return Ok(()) };
                    if let Some(Said { from, what }) = decode(&note) {
                        self.on_note(from, what).await;
                    }
                }
                Some(_ended) = self.tasks.join_next() => {}
                _ = looks.tick() => self.tidy(),
            }
        }
    }

    async fn on_note(&mut self, from: NodeId, note: Note) {
        let link = |session| by(&*self.hub.boxes.get(session)?, from);
        match note {
            Note::Ask { session, id, question } => self.on_ask(from, session, id, question).await,
            Note::Cancel { session, id } => {
                if let Some(task) = self.asked.remove(&(from, session, id)) {
                    task.abort();
                }
            }
            Note::Answer { session, response } => {
                if let Some(link) = link(session).filter(|link| link.calls.is_next(response.id, 0)) {
                    link.calls.on_response(response);
                }
            }
            Note::Part { session, at, chunk } => {
                if let Some(link) = link(session).filter(|link| link.calls.is_next(chunk.id, at)) {
                    link.calls.on_chunk(chunk);
                }
            }
            Note::BrokenOff { session, id } => {
                if let Some(link) = link(session) {
                    link.calls.break_off(id);
                }
            }
        }
    }

    async fn on_ask(&mut self, from: NodeId, session: PublicId, id: RpcId, question: Question) {
        let here = self.hub.boxes.get(session).and_then(|session| session.link());
        let here = here.filter(|link| link.node().is_none() && self.tasks.len() < MOST_ASKED);
        let mesh = Arc::clone(self.mesh);
        let Some(link) = here else {
            let response = refusal(id, &Problem::link_lost());
            tracing::debug!(asked = self.tasks.len(), "a question of another node was refused");
            // Who can't be told any more is told by its own timeout.
            _ = mesh.send(from, Note::Answer { session, response }).await;
            return;
        };
        let task = self.tasks.spawn(async move {
            // An asker that can't be reached has no use for the answer.
            _ = answer(&mesh, from, session, id, question, &link).await;
        });
        self.asked.insert((from, session, id), task);
    }

    /// Forgets what was answered, and what was asked by a node that is gone.
    fn tidy(&mut self) {
        let others: Vec<NodeId> = self.mesh.presence(|presence| presence.others().collect());
        self.asked.retain(|(from, ..), task| {
            let wanted = others.contains(from);
            if !wanted {
                task.abort();
            }
            wanted && !task.is_finished()
        });
    }
}

/// Asks a box that is connected here for another node.
async fn answer(
    mesh: &Mesh,
    to: NodeId,
    session: PublicId,
    id: RpcId,
    question: Question,
    link: &Arc<Link>,
) -> Result<(), Gone> {
    let mut answer = match ask(question, link).await {
        Ok(answer) => answer,
        Err(problem) => {
            let response = refusal(id, &problem);
            return mesh.send(to, Note::Answer { session, response }).await;
        }
    };
    let response = RpcResponse {
        id,
        status: answer.status,
        headers: std::mem::take(&mut answer.headers),
        data: Bytes64::default(),
        end: false,
    };
    mesh.send(to, Note::Answer { session, response }).await?;
    for at in 1.. {
        let (data, end) = match answer.next().await {
            Some(Ok(data)) => (Bytes64(data), false),
            None => (Bytes64::default(), true),
            Some(Err(_broken)) => return mesh.send(to, Note::BrokenOff { session, id }).await,
        };
        let chunk = RpcChunk { id, data, end };
        mesh.send(to, Note::Part { session, at, chunk }).await?;
        if end {
            break;
        }
    }
    Ok(())
}

/// A problem as an answer that travels.
fn refusal(id: RpcId, problem: &Problem) -> RpcResponse {
    RpcResponse {
        id,
        status: problem.status.as_u16(),
        headers: problem.travelling_headers(),
        data: Bytes64(problem.json().to_string().into_bytes()),
        end: true,
    }
}
