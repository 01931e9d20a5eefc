//! Keeps one stream's link to its encoder, and subscribes to frames only while somebody wants them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use framebridge_core::keyframe_gate::KeyframeGate;
use framebridge_ipc::{ConnectError, Identity, Link, ReceiveError, Receiver, RuntimeDir, SendError, Sender, connect};
use framebridge_proto::{
    InstanceId, RequestId, Role,
    encoder::{FromEncoder, ToEncoder},
    limits::RECONNECT_INTERVAL,
    media::AccessUnit,
    status::StreamState,
};
use framebridge_rtc::{Form, Handle};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep, sleep_until},
};

use crate::{
    asks::{Ask, Question},
    stream::{Demand, Stream},
};

/// How often one looks for askers who have left: what was asked for them may hold a place in the encoder for a minute.
const LOOK: Duration = Duration::from_millis(250);

/// The link's task.
pub(crate) struct EncoderLink {
    pub(crate) stream: Arc<Stream>,
    pub(crate) asks: mpsc::Receiver<Ask>,
    pub(crate) engine: Handle,
    pub(crate) dir: RuntimeDir,
    pub(crate) identity: Identity,
}

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("sending to the encoder")]
    Send(#[from] SendError),
    #[error("receiving from the encoder")]
    Receive(#[from] ReceiveError),
}

/// Questions that were put to the encoder, and have no answer yet: at most [`Stream`]'s places.
#[derive(Default)]
struct Waiting(Mutex<BTreeMap<RequestId, Question>>);

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<RequestId, Question>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EncoderLink {
    /// Keeps the link for as long as it is polled.
    pub(crate) async fn run(mut self) {
        let place = self.dir.place(Role::Encoder, Some(&self.stream.name));
        let mut tally = Tally::default();
        loop {
            match connect(place.clone(), &self.identity, Role::Encoder).await {
                Ok(link) => {
                    tally.meet(link.peer.instance);
                    tracing::info!(stream = %self.stream.name, pid = link.peer.pid, "linked to the encoder");
                    self.stream.hands.set_linked(true);
                    let outcome = self.serve(link, &mut tally).await;
                    self.stream.hands.set_linked(false);
                    self.stream.update(|upstream| {
                        (upstream.source, upstream.gap, upstream.load) = (None, Duration::ZERO, None)
                    });
                    match outcome {
                        Ok(()) => tracing::info!(stream = %self.stream.name, "the encoder closed its link"),
                        Err(error) => {
                            let error = anyhow::Error::new(error);
                            tracing::warn!(stream = %self.stream.name, "the link to the encoder broke: {error:#}");
                        }
                    }
                }
                Err(error @ ConnectError::Absent { .. }) => tracing::trace!(%error, "no encoder yet"),
                Err(error @ ConnectError::Handshake { .. }) => {
                    tracing::debug!(stream = %self.stream.name, "{:#}", anyhow::Error::new(error));
                }
            }
            sleep(RECONNECT_INTERVAL).await;
        }
    }

    /// Serves one connection until it ends: reads and writes apart, so that neither ever waits for the other. An encoder that
    /// takes nothing more may be waiting for us to read what it has to say.
    async fn serve(&mut self, link: Link<FromEncoder, ToEncoder>, tally: &mut Tally) -> Result<(), LinkError> {
        let Link { sender, receiver, .. } = link;
        let Self {
            stream, asks, engine, ..
        } = self;
        // What was asked of an encoder that has gone since is no longer wanted: the askers see their reply dropped.
        while asks.try_recv().is_ok() {}
        let waiting = Waiting::default();
        let mut reader = Reader {
            stream,
            engine,
            waiting: &waiting,
            tally,
        };
        tokio::select! {
            read = reader.run(receiver) => read,
            written = write(sender, stream, asks, &waiting) => Err(written.into()),
        }
    }
}

/// Says what is wanted of the encoder, until it can't. With the encoder slow to take it, the demand is told as it is by then,
/// and `asks` fills up and is refused at its other end ([`Stream::request`]).
async fn write(
    mut sender: Sender<ToEncoder>,
    stream: &Stream,
    asks: &mut mpsc::Receiver<Ask>,
    waiting: &Waiting,
) -> SendError {
    let mut demand = stream.demand();
    let mut wishes = stream.keyframe_wishes();
    let mut outside = KeyframeGate::of_outside();
    let mut subscribed = false;
    let mut next_id = 0;
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        subscribed = match follow(&mut demand, subscribed, &mut sender).await {
            Ok(subscribed) => subscribed,
            Err(error) => return error,
        };
        let keyframe_due = outside.poll_timeout(Instant::now());
        // All arms are cancel-safe. What is to be said is chosen apart from saying it, which must not be cancelled half-way.
        let messages = tokio::select! {
            Some(Ask { request, question }) = asks.recv() => {
                let id = RequestId(next_id);
                next_id = next_id.wrapping_add(1);
                waiting.lock().insert(id, question);
                vec![ToEncoder::Request { id, request }]
            }
            Ok(()) = wishes.viewers.changed() => {
                outside.made(Instant::now());
                vec![ToEncoder::RequestKeyframe]
            }
            Ok(()) = wishes.outside.changed() => {
                outside.request();
                continue;
            }
            () = sleep_until(keyframe_due.unwrap_or_else(Instant::now).into()), if keyframe_due.is_some() => {
                outside.made(Instant::now());
                vec![ToEncoder::RequestKeyframe]
            }
            Ok(()) = demand.changed() => continue,
            steer = stream.hands.next() => vec![ToEncoder::Steer(steer)],
            _ = looks.tick(), if !waiting.lock().is_empty() => {
                let mut waiting = waiting.lock();
                let left = waiting.extract_if(.., |_, question| question.is_given_up());
                left.map(|(id, _place)| ToEncoder::Cancel { id }).collect()
            }
        };
        for message in &messages {
            if let Err(error) = sender.send(message).await {
                return error;
            }
        }
    }
}

/// Takes in what the encoder says.
struct Reader<'a> {
    stream: &'a Stream,
    engine: &'a Handle,
    waiting: &'a Waiting,
    tally: &'a mut Tally,
}

impl Reader<'_> {
    async fn run(&mut self, mut receiver: Receiver<FromEncoder>) -> Result<(), LinkError> {
        while let Some(message) = receiver.recv().await? {
            self.on_message(message);
        }
        Ok(())
    }

    fn on_message(&mut self, message: FromEncoder) {
        match message {
            FromEncoder::Source(state) => {
                tracing::info!(stream = %self.stream.name, state = %StreamState::from(&state), "source");
                self.stream.update(|upstream| upstream.hear(state));
            }
            FromEncoder::Parameters(parameters) => {
                let form = parameters.copied.map_or(Form::Encoded, Form::Copied);
                self.engine.describe(&self.stream.name, form);
                self.stream.update(|upstream| upstream.parameters = Some(parameters));
            }
            FromEncoder::Quality(quality) => {
                self.stream.set_quality(quality);
                self.offer_rungs(Instant::now());
            }
            FromEncoder::Gap { ms } => self
                .stream
                .update(|upstream| upstream.gap = Duration::from_millis(ms.into())),
            FromEncoder::Load(load) => self.stream.update(|upstream| upstream.load = load),
            FromEncoder::Desk(told) => self.stream.hands.on_desk(told),
            FromEncoder::Frame(unit) => self.on_frame(unit),
            // Of lower rungs, whose links are others.
            FromEncoder::NoRung { .. } => {}
            FromEncoder::Lost { frames } => {
                tracing::debug!(stream = %self.stream.name, frames, "was too slow for the encoder");
                self.stream.dropped.fetch_add(frames, Ordering::Relaxed);
            }
            FromEncoder::Response { id, result } => {
                let asked = self.waiting.lock().remove(&id);
                if let Some(question) = asked {
                    question.answer(result);
                }
            }
        }
    }

    fn on_frame(&mut self, unit: AccessUnit) {
        self.stream.received.bump();
        let bytes = u64::try_from(unit.payload.len()).unwrap_or(u64::MAX);
        self.stream.received_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.stream.encoded.raise_to(self.tally.total(unit.sequence));
        self.stream.units.send(&unit, self.stream.is_copied());
        self.engine.publish(&self.stream.name, unit);
        let now = Instant::now();
        self.stream.rungs.full_picture(now);
        self.offer_rungs(now);
    }

    /// Tells the media plane which rungs there are, if that has changed.
    fn offer_rungs(&self, now: Instant) {
        if let Some(offer) = self.stream.rungs.offer(self.stream.quality_in_force(), now) {
            self.engine.offer_rungs(&self.stream.name, offer);
        }
    }
}

/// Subscribes or unsubscribes as the demand says; returns whether we are subscribed now.
async fn follow(demand: &mut Demand, subscribed: bool, sender: &mut Sender<ToEncoder>) -> Result<bool, SendError> {
    let wanted = demand.wants_frames();
    match (subscribed, wanted) {
        (false, true) => sender.send(&ToEncoder::Subscribe).await?,
        (true, false) => sender.send(&ToEncoder::Unsubscribe).await?,
        (true, true) | (false, false) => {}
    }
    Ok(wanted)
}

/// Adds up what encoders have encoded, over all their lives: each counts from 0.
#[derive(Debug, Default)]
struct Tally {
    life: Option<InstanceId>,
    earlier: u64,
    this: u64,
}

impl Tally {
    /// Frames that follow are from this life.
    fn meet(&mut self, life: InstanceId) {
        if self.life.replace(life).is_some_and(|earlier| earlier != life) {
            self.earlier += std::mem::take(&mut self.this);
        }
    }

    /// Frames encoded in all, once the one with this sequence number was.
    fn total(&mut self, sequence: u64) -> u64 {
        self.this = self.this.max(sequence.saturating_add(1));
        self.earlier.saturating_add(self.this)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_all_lives_add_up_and_a_reconnect_counts_nothing_twice() {
        let mut tally = Tally::default();
        tally.meet(InstanceId([1; 16]));
        assert_eq!(tally.total(9), 10);
        tally.meet(InstanceId([1; 16]));
        assert_eq!(tally.total(11), 12);
        tally.meet(InstanceId([2; 16]));
        assert_eq!(tally.total(0), 13);
    }
}
