//! One connection: frames and state out, subscriptions and requests in.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use framebridge_config::Slate;
use framebridge_core::{Next, source_life::State};
use framebridge_ipc::{Link, ReceiveError, Receiver, SendError, Sender};
use framebridge_proto::{
    Refusal, RefusalKind, RequestId,
    encoder::{EncoderAnswer, EncoderRequest, FromEncoder, SourceState, ToEncoder},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{AbortHandle, JoinSet},
};

use crate::{
    broadcast::{Announced, Item, Subscription},
    clip::clip,
    pipeline::EncoderState,
    snapshot::snapshot,
};

/// Answers and orders from a connection's reader to its writer. When it is full, the reader reads no further.
const ORDERS: usize = 16;

/// Requests of one connection that may be under way at once; the next one is refused.
const REQUESTS: usize = 8;

/// A request that the app carries out.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) request: EncoderRequest,
    pub(crate) reply: oneshot::Sender<Result<EncoderAnswer, Refusal>>,
}

/// What every connection needs of the process.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) shared: Arc<EncoderState>,
    pub(crate) state: watch::Receiver<State>,
    pub(crate) commands: mpsc::Sender<Command>,
}

type EncoderLink = Link<ToEncoder, FromEncoder>;

/// What a connection's reader has for its writer.
enum Order {
    Subscribe,
    Unsubscribe,
    Respond(RequestId, Result<EncoderAnswer, Refusal>),
}

/// Serves one connection until either side ends it. Malformed input ends it with a logged reason.
pub(crate) async fn serve(link: EncoderLink, service: Service) {
    let EncoderLink { peer, sender, receiver } = link;
    tracing::debug!(pid = peer.pid, role = %peer.role, "connected");
    let (orders, ordered) = mpsc::channel(ORDERS);
    tokio::select! {
        read = read(receiver, &service, orders) => {
            if let Err(error) = read {
                tracing::warn!(pid = peer.pid, role = %peer.role, "closed a connection: {:#}", anyhow::Error::from(error));
            }
        }
        written = write(sender, &service, ordered) => {
            if let Err(error) = written {
                tracing::debug!(pid = peer.pid, role = %peer.role, "lost a connection: {:#}", anyhow::Error::from(error));
            }
        }
    }
    tracing::debug!(pid = peer.pid, role = %peer.role, "disconnected");
}

async fn read(
    mut receiver: Receiver<ToEncoder>,
    service: &Service,
    orders: mpsc::Sender<Order>,
) -> Result<(), ReceiveError> {
    let mut requests = JoinSet::new();
    let mut under_way: BTreeMap<RequestId, AbortHandle> = BTreeMap::new();
    loop {
        // Both arms are cancel-safe. A send that fails means that the writer is done, which ends all this.
        tokio::select! {
            message = receiver.recv() => match message? {
                None => return Ok(()),
                Some(ToEncoder::Subscribe) => _ = orders.send(Order::Subscribe).await,
                Some(ToEncoder::Unsubscribe) => _ = orders.send(Order::Unsubscribe).await,
                Some(ToEncoder::RequestKeyframe) => service.shared.controls.request_keyframe(),
                Some(ToEncoder::Request { id, .. }) if requests.len() >= REQUESTS => {
                    let refusal = Refusal::new(RefusalKind::Unavailable, "too many requests at once; try again");
                    _ = orders.send(Order::Respond(id, Err(refusal))).await;
                }
                Some(ToEncoder::Request { id, request }) => {
                    let service = service.clone();
                    let task = requests.spawn(async move { (id, answer(&service, request).await) });
                    under_way.insert(id, task);
                }
                Some(ToEncoder::Cancel { id }) => {
                    if let Some(task) = under_way.remove(&id) {
                        task.abort();
                    }
                }
            },
            Some(Ok((id, result))) = requests.join_next() => {
                under_way.remove(&id);
                _ = orders.send(Order::Respond(id, result)).await;
            }
        }
    }
}

async fn answer(service: &Service, request: EncoderRequest) -> Result<EncoderAnswer, Refusal> {
    match request {
        EncoderRequest::Snapshot(format) => return snapshot(&service.shared, service.state.clone(), format).await,
        EncoderRequest::Clip(span) => return clip(&service.shared, service.state.clone(), span).await,
        EncoderRequest::SetQuality(_)
        | EncoderRequest::GetQuality
        | EncoderRequest::Pause
        | EncoderRequest::Resume
        | EncoderRequest::Stall => {}
    }
    let ending = || Refusal::new(RefusalKind::Unavailable, "the encoder is ending; try again in a moment");
    let (reply, answer) = oneshot::channel();
    service
        .commands
        .send(Command { request, reply })
        .await
        .map_err(|_ended| ending())?;
    answer.await.map_err(|_ended| ending())?
}

/// What there is to send next. Chosen apart from sending it, because a send must not be cancelled half-way.
enum Outgoing {
    State,
    Quality,
    Order(Order),
    Picture(Next<Arc<Item>>),
}

async fn write(
    mut sender: Sender<FromEncoder>,
    service: &Service,
    mut orders: mpsc::Receiver<Order>,
) -> Result<(), SendError> {
    let mut state = service.state.clone();
    state.mark_changed();
    let mut quality = service.shared.controls.watch_quality();
    quality.mark_changed();
    let mut subscription = None;
    let mut parameters: Option<Arc<Announced>> = None;
    loop {
        // All arms are cancel-safe. State first: a subscriber learns that the source is live before its first frame.
        let outgoing = tokio::select! {
            biased;
            Ok(()) = state.changed() => Outgoing::State,
            Ok(()) = quality.changed() => Outgoing::Quality,
            Some(order) = orders.recv() => Outgoing::Order(order),
            next = next(&mut subscription) => Outgoing::Picture(next),
        };
        match outgoing {
            Outgoing::State => {
                let message = FromEncoder::Source(to_wire(
                    &state.borrow_and_update(),
                    service.shared.slate.as_ref(),
                    Instant::now(),
                ));
                sender.send(&message).await?;
            }
            Outgoing::Quality => {
                let message = FromEncoder::Quality(*quality.borrow_and_update());
                sender.send(&message).await?;
            }
            Outgoing::Order(Order::Subscribe) => {
                subscription.get_or_insert_with(|| service.shared.broadcast.subscribe());
            }
            Outgoing::Order(Order::Unsubscribe) => (subscription, parameters) = (None, None),
            Outgoing::Order(Order::Respond(id, result)) => respond(&mut sender, id, result).await?,
            Outgoing::Picture(Next::Lost(frames)) => sender.send(&FromEncoder::Lost { frames }).await?,
            Outgoing::Picture(Next::Item(item)) => {
                if parameters
                    .as_ref()
                    .is_none_or(|sent| !Arc::ptr_eq(sent, &item.parameters))
                {
                    sender.send_encoded(&item.parameters.message).await?;
                    parameters = Some(Arc::clone(&item.parameters));
                }
                sender.send_encoded(&item.frame).await?;
                service.shared.progress.delivered.add();
            }
        }
    }
}

async fn respond(
    sender: &mut Sender<FromEncoder>,
    id: RequestId,
    result: Result<EncoderAnswer, Refusal>,
) -> Result<(), SendError> {
    match sender.send(&FromEncoder::Response { id, result }).await {
        // The answers that can be over the channel's cap are images.
        Err(SendError::Encode(error)) => {
            let result = Err(Refusal::new(RefusalKind::Failed, error.to_string()));
            sender.send(&FromEncoder::Response { id, result }).await
        }
        sent => sent,
    }
}

async fn next(subscription: &mut Option<Subscription>) -> Next<Arc<Item>> {
    match subscription {
        Some(subscription) => subscription.next().await,
        None => std::future::pending().await,
    }
}

/// A source's state as others are told of it. A slate is a slate, whatever it does as a source.
pub(crate) fn to_wire(state: &State, slate: Option<&Slate>, now: Instant) -> SourceState {
    if let Some(Slate { until, reason }) = slate {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        return SourceState::Slate {
            reason: reason.clone(),
            retry_in_ms: millis(until.saturating_sub(since_epoch)),
        };
    }
    match state {
        State::Idle => SourceState::Idle,
        State::Opening => SourceState::Opening,
        State::Live => SourceState::Live,
        State::Paused => SourceState::Paused,
        State::Unavailable { reason, retry_at } => SourceState::Unavailable {
            reason: reason.clone(),
            retry_in_ms: millis(retry_at.saturating_duration_since(now)),
        },
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
