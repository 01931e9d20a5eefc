//! Every encoded picture to every subscriber: made into a message once, with a queue for each of them.

use std::sync::{Arc, Mutex, atomic::Ordering};

use framebridge_capture::{EncodedPicture, monotonic_ns};
use framebridge_core::{GroupLimits, GroupQueue, Next};
use framebridge_ipc::{EncodeError, Encoded, encode};
use framebridge_proto::{
    encoder::FromEncoder,
    media::{AccessUnit, CodecParameters},
};
use tokio::sync::{Notify, watch};

use crate::{
    controls::{Controls, lock},
    progress::Progress,
};

/// What may wait for one subscriber: two seconds at 30 fps, after which a live picture is of no use, or half a second
/// at the highest bitrate.
const QUEUE: GroupLimits = GroupLimits {
    items: 60,
    bytes: 4 << 20,
};

/// A group this short is handed to a new subscriber as it is, which saves an IDR; it catches up within a moment.
const SHORT_GROUP: usize = 15;

/// Pictures for all who subscribe.
#[derive(Debug)]
pub(crate) struct Broadcast {
    controls: Arc<Controls>,
    progress: Arc<Progress>,
    state: Mutex<State>,
    /// How many want the source open.
    demand: watch::Sender<u32>,
}

#[derive(Debug, Default)]
struct State {
    mailboxes: Vec<Arc<Mailbox>>,
    /// The pictures since the last keyframe, that included, while they are few.
    group: Vec<Arc<Item>>,
    parameters: Option<(CodecParameters, Arc<Encoded>)>,
    sequence: u64,
    last_pts: u64,
}

/// One picture as a message.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) frame: Encoded,
    /// How to read it. The same `Arc` as that of the picture before, as long as nothing changes.
    pub(crate) parameters: Arc<Encoded>,
    bytes: usize,
    keyframe: bool,
}

#[derive(Debug)]
struct Mailbox {
    queue: Mutex<GroupQueue<Arc<Item>>>,
    ready: Notify,
}

/// A share in the demand for pictures; the source may close some time after the last one is dropped.
#[derive(Debug)]
pub(crate) struct Demand {
    broadcast: Arc<Broadcast>,
}

/// One subscriber's pictures.
#[derive(Debug)]
pub(crate) struct Subscription {
    mailbox: Arc<Mailbox>,
    demand: Demand,
}

impl Broadcast {
    pub(crate) fn new(controls: Arc<Controls>, progress: Arc<Progress>) -> Self {
        Self {
            controls,
            progress,
            state: Mutex::default(),
            demand: watch::Sender::new(0),
        }
    }

    /// How many want the source open, now and on every change.
    pub(crate) fn watch_demand(&self) -> watch::Receiver<u32> {
        self.demand.subscribe()
    }

    /// How many subscribe.
    pub(crate) fn subscribers(&self) -> u32 {
        u32::try_from(lock(&self.state).mailboxes.len()).unwrap_or(u32::MAX)
    }

    /// Wants the source open without a subscription.
    pub(crate) fn demand(self: &Arc<Self>) -> Demand {
        self.demand.send_modify(|count| *count += 1);
        Demand {
            broadcast: Arc::clone(self),
        }
    }

    /// Subscribes: the first picture is a keyframe, from a short group at hand or made for the purpose.
    pub(crate) fn subscribe(self: &Arc<Self>) -> Subscription {
        let mut queue = GroupQueue::new(QUEUE);
        let mut state = lock(&self.state);
        if state.group.is_empty() {
            self.controls.request_keyframe();
        }
        for item in &state.group {
            queue.push(Arc::clone(item), item.bytes, item.keyframe);
        }
        let mailbox = Arc::new(Mailbox {
            queue: Mutex::new(queue),
            ready: Notify::new(),
        });
        state.mailboxes.push(Arc::clone(&mailbox));
        drop(state);
        Subscription {
            mailbox,
            demand: self.demand(),
        }
    }

    /// Hands a picture to every subscriber's queue. Waits for none of them.
    ///
    /// # Errors
    /// The picture is too large for its channel; nobody gets it.
    pub(crate) fn publish(&self, picture: EncodedPicture, parameters: &CodecParameters) -> Result<(), EncodeError> {
        let mut state = lock(&self.state);
        let announced = match &state.parameters {
            // What follows news of parameters has to be a keyframe, so a new bitrate alone is told with the next one.
            Some((known, message)) if known == parameters || !picture.keyframe => Arc::clone(message),
            Some(_) | None => {
                let message = Arc::new(encode(&FromEncoder::Parameters(parameters.clone()))?);
                state.parameters = Some((parameters.clone(), Arc::clone(&message)));
                message
            }
        };
        let (bytes, keyframe) = (picture.payload.len(), picture.keyframe);
        // A source that was opened anew may begin a little earlier than the old one ended.
        let pts = picture.pts.max(state.last_pts + 1);
        let frame = encode(&FromEncoder::Frame(AccessUnit {
            sequence: state.sequence,
            captured_ns: picture.captured_ns,
            encoded_ns: monotonic_ns(),
            pts,
            keyframe,
            payload: picture.payload,
        }))?;
        (state.sequence, state.last_pts) = (state.sequence + 1, pts);
        let item = Arc::new(Item {
            frame,
            parameters: announced,
            bytes,
            keyframe,
        });
        for mailbox in &state.mailboxes {
            let lost = lock(&mailbox.queue).push(Arc::clone(&item), bytes, keyframe);
            self.progress.lost.fetch_add(lost, Ordering::Relaxed);
            mailbox.ready.notify_one();
        }
        if keyframe {
            state.group = vec![item];
        } else if state.group.len() < SHORT_GROUP && !state.group.is_empty() {
            state.group.push(item);
        } else {
            state.group.clear();
        }
        Ok(())
    }

    /// Forgets the group at hand: what comes next does not continue it.
    pub(crate) fn cut(&self) {
        lock(&self.state).group.clear();
    }
}

impl Subscription {
    /// The next picture, or how many were left out before it. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Next<Arc<Item>> {
        loop {
            {
                let mut queue = lock(&self.mailbox.queue);
                if let Some(next) = queue.pop() {
                    return next;
                }
                if queue.needs_keyframe() {
                    self.demand.broadcast.controls.request_keyframe();
                }
            }
            self.mailbox.ready.notified().await;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = lock(&self.demand.broadcast.state);
        state.mailboxes.retain(|mailbox| !Arc::ptr_eq(mailbox, &self.mailbox));
    }
}

impl Drop for Demand {
    fn drop(&mut self) {
        self.broadcast.demand.send_modify(|count| *count -= 1);
    }
}
