//! Sends every encoded picture of a rung to all who subscribe to it: it makes one message, and has a queue for each subscriber.

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use framebridge_capture::{EncodedFrame, monotonic_ns};
use framebridge_core::{
    group_queue::{self, GroupQueue, Next},
    pre_roll::{self, PreRoll},
};
use framebridge_ipc::{EncodeError, Encoded, encode};
use framebridge_proto::{
    encoder::FromEncoder,
    limits::MAX_CLIP,
    media::{AccessUnit, CodecParameters},
};
use tokio::sync::{Notify, watch};

use crate::{
    controls::{Keyframes, lock},
    progress::Progress,
};

/// What may wait for one subscriber: two seconds at 30 fps, after which a live picture is of no use, or half a second
/// at the highest bitrate.
const QUEUE: group_queue::Limits = group_queue::Limits {
    items: 60,
    bytes: 4 << 20,
};

/// Frames of a group that is sent on as its source has encoded it: no other keyframe can be made. As many as 60 a second give
/// in the longest group.
const COPIED_GROUP: usize = 640;

/// A group this short is handed to a new subscriber as it is, which saves an IDR; it catches up within a moment.
const SHORT_GROUP: usize = 15;

/// What is kept for clips of what has been, whatever span that is: one clip of the largest size.
const PRE_ROLL_BYTES: usize = MAX_CLIP;

/// Pictures for all who subscribe.
#[derive(Debug)]
pub(crate) struct Broadcast {
    keyframes: Arc<Keyframes>,
    progress: Arc<Progress>,
    state: Mutex<State>,
    /// How many want the source open.
    demand: watch::Sender<u32>,
}

#[derive(Debug)]
struct State {
    mailboxes: Vec<Arc<Mailbox>>,
    /// The pictures since the last keyframe, that included, while they are few.
    group: Vec<Arc<Item>>,
    /// What was encoded lately, all of one size.
    pre_roll: PreRoll<EncodedFrame>,
    parameters: Option<Arc<Announced>>,
    sequence: u64,
    last_pts: u64,
}

/// One picture, and it as a message.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) picture: EncodedFrame,
    pub(crate) frame: Encoded,
    /// How to read it. The same `Arc` as that of the picture before, as long as nothing changes.
    pub(crate) parameters: Arc<Announced>,
}

/// How to read pictures, and that as a message.
#[derive(Debug)]
pub(crate) struct Announced {
    pub(crate) message: Encoded,
    parameters: CodecParameters,
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
    /// A share in another demand, for as long as this lives.
    _kept: Option<Demand>,
}

impl Broadcast {
    /// `pre_roll`: so much is kept for [`last`](Self::last).
    pub(crate) fn new(keyframes: Arc<Keyframes>, progress: Arc<Progress>, pre_roll: Duration) -> Self {
        let limits = pre_roll::Limits {
            span: pre_roll,
            bytes: PRE_ROLL_BYTES,
        };
        Self {
            keyframes,
            progress,
            state: Mutex::new(State {
                mailboxes: Vec::new(),
                group: Vec::new(),
                pre_roll: PreRoll::new(limits),
                parameters: None,
                sequence: 0,
                last_pts: 0,
            }),
            demand: watch::Sender::new(0),
        }
    }

    /// How many want the source open, now and on every change.
    pub(crate) fn watch_demand(&self) -> watch::Receiver<u32> {
        self.demand.subscribe()
    }

    /// Whether anybody does.
    pub(crate) fn is_wanted(&self) -> bool {
        *self.demand.borrow() > 0
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
        let mut state = lock(&self.state);
        if state.group.is_empty() {
            self.keyframes.request();
        }
        let queue = state.beginning();
        let mailbox = Arc::new(Mailbox {
            queue: Mutex::new(queue),
            ready: Notify::new(),
        });
        state.mailboxes.push(Arc::clone(&mailbox));
        drop(state);
        Subscription {
            mailbox,
            demand: self.demand(),
            _kept: None,
        }
    }

    /// Hands a picture to every subscriber's queue. Waits for none of them.
    ///
    /// # Errors
    /// The picture is too large for its channel; nobody gets it.
    pub(crate) fn publish(&self, mut picture: EncodedFrame, parameters: &CodecParameters) -> Result<(), EncodeError> {
        let mut state = lock(&self.state);
        let announced = state.announce(parameters, picture.keyframe)?;
        // A source that was opened anew may begin a little earlier than the old one ended.
        picture.pts = picture.pts.max(state.last_pts + 1);
        let frame = encode(&FromEncoder::Frame(AccessUnit {
            sequence: state.sequence,
            captured_ns: picture.captured_ns,
            encoded_ns: monotonic_ns(),
            pts: picture.pts,
            keyframe: picture.keyframe,
            payload: picture.payload.clone(),
        }))?;
        (state.sequence, state.last_pts) = (state.sequence + 1, picture.pts);
        if state.remember(&picture) {
            self.keyframes.request();
        }
        let (bytes, keyframe) = (picture.payload.len(), picture.keyframe);
        let item = Arc::new(Item {
            picture,
            frame,
            parameters: announced,
        });
        for mailbox in &state.mailboxes {
            let lost = lock(&mailbox.queue).push(Arc::clone(&item), bytes, keyframe);
            self.progress.lost.fetch_add(lost, Ordering::Relaxed);
            mailbox.ready.notify_one();
        }
        if keyframe {
            state.group = vec![item];
        } else if state.group.len() < state.longest_group() && !state.group.is_empty() {
            state.group.push(item);
        } else {
            state.group.clear();
        }
        Ok(())
    }

    /// The last `span` of what was encoded, as far as it was kept, and the pictures' size.
    pub(crate) fn last(&self, span: Duration) -> Option<((u32, u32), Vec<EncodedFrame>)> {
        let state = lock(&self.state);
        let pictures = state.pre_roll.last(span, MAX_CLIP);
        Some((state.parameters.as_ref()?.size(), pictures))
    }

    /// Forgets the group at hand: what comes next does not continue it.
    pub(crate) fn cut(&self) {
        lock(&self.state).group.clear();
    }
}

impl State {
    /// A queue with what is at hand of the last group, and room for more.
    fn beginning(&self) -> GroupQueue<Arc<Item>> {
        let mut queue = GroupQueue::new(QUEUE);
        queue.begin_again(self.entries());
        queue
    }

    fn entries(&self) -> impl Iterator<Item = (Arc<Item>, usize, bool)> {
        self.group.iter().map(|item| {
            let (bytes, keyframe) = (item.picture.payload.len(), item.picture.keyframe);
            (Arc::clone(item), bytes, keyframe)
        })
    }

    /// Frames of the last group that are kept for those who come now.
    fn longest_group(&self) -> usize {
        let is_copied = self
            .parameters
            .as_ref()
            .is_some_and(|known| known.parameters.copied.is_some());
        if is_copied { COPIED_GROUP } else { SHORT_GROUP }
    }

    /// What goes before a picture of these parameters.
    fn announce(&mut self, parameters: &CodecParameters, keyframe: bool) -> Result<Arc<Announced>, EncodeError> {
        // What follows news of parameters has to be a keyframe, so a new bitrate alone is told with the next one.
        if let Some(known) = &self.parameters
            && (known.parameters == *parameters || !keyframe)
        {
            return Ok(Arc::clone(known));
        }
        let announced = Arc::new(Announced {
            message: encode(&FromEncoder::Parameters(parameters.clone()))?,
            parameters: parameters.clone(),
        });
        if self
            .parameters
            .as_ref()
            .is_some_and(|known| known.size() != announced.size())
        {
            self.pre_roll.clear();
        }
        self.parameters = Some(Arc::clone(&announced));
        Ok(announced)
    }

    /// Keeps a picture for clips; true if a keyframe is worth asking for.
    fn remember(&mut self, picture: &EncodedFrame) -> bool {
        let (bytes, keyframe) = (picture.payload.len(), picture.keyframe);
        let at = Duration::from_nanos(picture.captured_ns);
        self.pre_roll.push(copied(picture), bytes, keyframe, at)
    }
}

/// A picture to keep, with bytes of its own: a hardware encoder has few buffers, and gets none back that is kept.
pub(crate) fn copied(picture: &EncodedFrame) -> EncodedFrame {
    EncodedFrame {
        payload: Bytes::copy_from_slice(&picture.payload),
        ..*picture
    }
}

impl Announced {
    /// Width and height in pixels.
    pub(crate) fn size(&self) -> (u32, u32) {
        (self.parameters.width, self.parameters.height)
    }
}

impl Subscription {
    /// Has a share in another demand, too.
    pub(crate) fn keeping(mut self, demand: Demand) -> Self {
        self._kept = Some(demand);
        self
    }

    /// The next picture, or how many were left out before it. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Next<Arc<Item>> {
        loop {
            {
                let mut queue = lock(&self.mailbox.queue);
                if let Some(next) = queue.pop() {
                    return next;
                }
                if queue.needs_keyframe() {
                    self.demand.broadcast.keyframes.request();
                }
            }
            if self.begin_again() {
                continue;
            }
            self.mailbox.ready.notified().await;
        }
    }
}

impl Subscription {
    /// Begins with the last group again, where a subscriber was too slow for it, and no other keyframe can be made.
    fn begin_again(&self) -> bool {
        let state = lock(&self.demand.broadcast.state);
        let mut queue = lock(&self.mailbox.queue);
        if !queue.needs_keyframe() || state.longest_group() == SHORT_GROUP || state.group.is_empty() {
            return false;
        }
        queue.begin_again(state.entries())
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
