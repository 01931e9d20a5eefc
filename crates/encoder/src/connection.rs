//! One connection: frames and state out, subscriptions and requests in.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use framebridge_config::Slate;
use framebridge_core::{group_queue::Next, source_life::State};
use framebridge_daemon::since_epoch;
use framebridge_ipc::{Link, ReceiveError, Receiver, SendError, Sender};
use framebridge_proto::{
    Refusal, RefusalKind, RequestId,
    control::Desk as Told,
    encoder::{EncoderAnswer, EncoderRequest, FromEncoder, ImageFormat, SourceState, ToEncoder},
    limits::MAX_REQUESTS,
    media::{Rung, Track},
    millis,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    task::{AbortHandle, JoinSet},
};

use crate::{
    broadcast::{Announced, Item, Subscription},
    clip::clip,
    desk::{Desk, DeskLink},
    rung::LowerRung,
    snapshot::{Shows, snapshot},
    state::EncoderState,
};

/// Requests of one connection that may be under way at once, up to the writing of their answers; the next one is refused. Twice
/// what an asker may have: those that it has called off may still be ending.
const REQUESTS: usize = 2 * MAX_REQUESTS;

/// Refusals of requests over that number that may wait to be written. When it is full, further ones are dropped: who asks for
/// so much more than it may, and reads no answer, has given up on answers.
const REFUSALS: usize = 64;

/// What the desk may have to tell that is not written yet. Full: it is dropped, for who does not read has no use for it.
const TOLD: usize = 16;

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
    /// Where the desktop may be steered.
    pub(crate) desk: Option<Desk>,
}

type EncoderLink = Link<ToEncoder, FromEncoder>;

/// An answer that is ready, and the place that its request holds until it is written.
struct Answered {
    id: RequestId,
    result: Result<EncoderAnswer, Refusal>,
    _place: OwnedSemaphorePermit,
}

/// A subscription: the how manieth of its connection, and to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wanted {
    number: u64,
    rung: Rung,
}

/// What a connection's reader leaves for its writer. Leaving it waits for nothing: the peer may read nothing until all that it
/// has to say was read, and with both waiting for the other the link would stand still.
struct Outbox {
    /// The subscription that is wanted, if one is.
    subscription: watch::Sender<Option<Wanted>>,
    answers: mpsc::Sender<Answered>,
    refusals: mpsc::Sender<RequestId>,
    desk: mpsc::Sender<Told>,
}

/// The writer's end of an [`Outbox`].
struct Inbox {
    subscription: watch::Receiver<Option<Wanted>>,
    answers: mpsc::Receiver<Answered>,
    refusals: mpsc::Receiver<RequestId>,
    desk: mpsc::Receiver<Told>,
}

fn outbox() -> (Outbox, Inbox) {
    let (wanted, subscription) = watch::channel(None);
    let (answered, answers) = mpsc::channel(REQUESTS);
    let (refused, refusals) = mpsc::channel(REFUSALS);
    let (told, desk) = mpsc::channel(TOLD);
    let outbox = Outbox {
        subscription: wanted,
        answers: answered,
        refusals: refused,
        desk: told,
    };
    let inbox = Inbox {
        subscription,
        answers,
        refusals,
        desk,
    };
    (outbox, inbox)
}

/// Serves one connection until either side ends it. Malformed input ends it with a logged reason.
pub(crate) async fn serve(link: EncoderLink, service: Service) {
    let EncoderLink { peer, sender, receiver } = link;
    tracing::debug!(pid = peer.pid, role = %peer.role, "connected");
    let (outbox, inbox) = outbox();
    tokio::select! {
        read = read(receiver, &service, outbox) => {
            if let Err(error) = read {
                tracing::warn!(pid = peer.pid, role = %peer.role, "closed a connection: {:#}", anyhow::Error::from(error));
            }
        }
        written = write(sender, &service, inbox) => {
            if let Err(error) = written {
                tracing::debug!(pid = peer.pid, role = %peer.role, "lost a connection: {:#}", anyhow::Error::from(error));
            }
        }
    }
    tracing::debug!(pid = peer.pid, role = %peer.role, "disconnected");
}

/// Reads to the end, whatever becomes of what is to be written.
async fn read(mut receiver: Receiver<ToEncoder>, service: &Service, outbox: Outbox) -> Result<(), ReceiveError> {
    let places = Arc::new(Semaphore::new(REQUESTS));
    let mut requests = JoinSet::new();
    let mut under_way: BTreeMap<RequestId, AbortHandle> = BTreeMap::new();
    let mut subscriptions = 0;
    let mut rung = Rung::Full;
    let subscribe = |number, rung| {
        outbox.subscription.send_modify(|wanted| {
            if wanted.is_none_or(|wanted| wanted.rung != rung) {
                *wanted = Some(Wanted { number, rung });
            }
        });
    };
    let mut desk = DeskLink::new(service.desk.clone(), outbox.desk.clone());
    loop {
        // Both arms are cancel-safe.
        tokio::select! {
            message = receiver.recv() => match message? {
                None => return Ok(()),
                Some(ToEncoder::Subscribe) => {
                    (subscriptions, rung) = (subscriptions + 1, Rung::Full);
                    subscribe(subscriptions, rung);
                }
                Some(ToEncoder::SubscribeTo { track: Track::Video, rung: wanted }) => {
                    (subscriptions, rung) = (subscriptions + 1, wanted);
                    subscribe(subscriptions, rung);
                }
                Some(ToEncoder::Unsubscribe) => _ = outbox.subscription.send_replace(None),
                Some(ToEncoder::RequestKeyframe) => service.shared.keyframes(rung).request(),
                Some(ToEncoder::Request { id, request }) => match Arc::clone(&places).try_acquire_owned() {
                    Ok(place) => {
                        let (service, answers) = (service.clone(), outbox.answers.clone());
                        let task = requests.spawn(async move {
                            let result = answer(&service, request).await;
                            // There is room for as many as there are places. It fails when the writer is done, which ends all this.
                            _ = answers.send(Answered { id, result, _place: place }).await;
                            id
                        });
                        under_way.insert(id, task);
                    }
                    Err(_all_taken) if outbox.refusals.try_send(id).is_err() => {
                        tracing::debug!("a request over the limit was dropped: its peer reads no answers");
                    }
                    Err(_all_taken) => {}
                },
                Some(ToEncoder::Steer(steer)) => desk.steer(steer),
                Some(ToEncoder::Cancel { id }) => {
                    if let Some(task) = under_way.remove(&id) {
                        task.abort();
                    }
                }
            },
            Some(ended) = requests.join_next() => {
                if let Ok(id) = ended {
                    under_way.remove(&id);
                }
            }
        }
    }
}

async fn answer(service: &Service, request: EncoderRequest) -> Result<EncoderAnswer, Refusal> {
    match request {
        EncoderRequest::Snapshot(format) => {
            return snapshot(&service.shared, service.state.clone(), format, Shows::Latest).await;
        }
        EncoderRequest::Still => {
            return snapshot(
                &service.shared,
                service.state.clone(),
                ImageFormat::Jpeg,
                Shows::Keyframe,
            )
            .await;
        }
        EncoderRequest::Clip(span) => return clip(&service.shared, service.state.clone(), span).await,
        EncoderRequest::SetQuality(_)
        | EncoderRequest::GetQuality
        | EncoderRequest::Pause
        | EncoderRequest::Resume
        | EncoderRequest::Stall
        | EncoderRequest::StallRung(_)
        | EncoderRequest::ResetQuality => {}
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
    Told(FromEncoder),
    Subscription(Option<Wanted>),
    Answer(Answered),
    Picture(Next<Arc<Item>>),
}

async fn write(mut sender: Sender<FromEncoder>, service: &Service, mut inbox: Inbox) -> Result<(), SendError> {
    let mut state = service.state.clone();
    state.mark_changed();
    let mut quality = service.shared.controls.watch_quality();
    quality.mark_changed();
    let mut gap = service.shared.copying.gap();
    if !gap.borrow().is_zero() {
        gap.mark_changed();
    }
    let mut load = service.shared.controls.watch_load();
    load.mark_changed();
    let mut subscription = None;
    let mut subscribed = None;
    let (mut refused, mut is_lower) = (None, false);
    let mut parameters: Option<Arc<Announced>> = None;
    loop {
        // All arms are cancel-safe. State first: a subscriber learns that the source is live before its first frame.
        // Refusals last: whoever asks for too much waits.
        let outgoing = tokio::select! {
            biased;
            Ok(()) = state.changed() => {
                let slate = service.shared.slate.as_ref();
                Outgoing::Told(FromEncoder::Source(to_wire(&state.borrow_and_update(), slate, Instant::now())))
            }
            Ok(()) = quality.changed() => Outgoing::Told(FromEncoder::Quality(*quality.borrow_and_update())),
            Ok(()) = load.changed() => Outgoing::Told(FromEncoder::Load(*load.borrow_and_update())),
            Ok(()) = inbox.subscription.changed() => Outgoing::Subscription(*inbox.subscription.borrow_and_update()),
            reason = refusal(&mut refused) => Outgoing::Told(FromEncoder::NoRung { reason }),
            Some(answer) = inbox.answers.recv() => Outgoing::Answer(answer),
            Some(told) = inbox.desk.recv() => Outgoing::Told(FromEncoder::Desk(told)),
            next = next(&mut subscription) => Outgoing::Picture(next),
            // After the frame that ends it.
            Ok(()) = gap.changed() => Outgoing::Told(FromEncoder::Gap { ms: as_millis(*gap.borrow_and_update()) }),
            Some(id) = inbox.refusals.recv() => {
                let refusal = Refusal::new(RefusalKind::Unavailable, "too many requests at once; try again");
                Outgoing::Told(FromEncoder::Response { id, result: Err(refusal) })
            }
        };
        match outgoing {
            Outgoing::Told(message) => sender.send(&message).await?,
            Outgoing::Subscription(wanted) if wanted != subscribed => {
                // One that was ended and made again begins anew, even where its end was not seen here.
                subscription = wanted.map(|wanted| service.shared.subscribe(wanted.rung));
                refused = wanted
                    .and_then(|wanted| service.shared.ladder.lower(wanted.rung))
                    .map(LowerRung::watch_refusal);
                if let Some(refused) = &mut refused {
                    refused.mark_changed();
                }
                is_lower = refused.is_some();
                (subscribed, parameters) = (wanted, None);
            }
            Outgoing::Subscription(_as_before) => {}
            Outgoing::Answer(Answered { id, result, _place }) => respond(&mut sender, id, result).await?,
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
                // What is judged by it is the way of the full rung.
                if !is_lower {
                    service.shared.progress.delivered.bump();
                }
            }
        }
    }
}

fn as_millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
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

/// Waits until the rung subscribed to is not made, and gives the reason. Cancel-safe.
async fn refusal(refused: &mut Option<watch::Receiver<Option<String>>>) -> String {
    if let Some(refused) = refused {
        while refused.changed().await.is_ok() {
            if let Some(reason) = refused.borrow_and_update().clone() {
                return reason;
            }
        }
    }
    std::future::pending().await
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
        return SourceState::Slate {
            reason: reason.clone(),
            retry_in_ms: millis(until.saturating_sub(since_epoch())),
        };
    }
    match state {
        State::Untried => SourceState::Untried,
        State::Idle => SourceState::Idle,
        State::UnavailableIdle { reason, tried_at } => SourceState::UnavailableIdle {
            reason: reason.clone(),
            tried_ago_ms: millis(now.saturating_duration_since(*tried_at)),
        },
        State::Opening => SourceState::Opening,
        State::Live => SourceState::Live,
        State::Paused => SourceState::Paused,
        State::Unavailable { reason, retry_at } => SourceState::Unavailable {
            reason: reason.clone(),
            retry_in_ms: millis(retry_at.saturating_duration_since(now)),
        },
    }
}
