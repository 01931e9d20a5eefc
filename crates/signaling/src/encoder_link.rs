//! One stream's link to its encoder: always there or being made, subscribed only while somebody wants frames.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use framebridge_ipc::{ConnectError, Identity, Link, ReceiveError, RuntimeDir, SendError, Sender, connect};
use framebridge_proto::{
    InstanceId, Refusal, RequestId, Role,
    encoder::{EncoderAnswer, FromEncoder, ToEncoder},
    limits::RECONNECT_INTERVAL,
    media::AccessUnit,
};
use framebridge_rtc::Handle;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{MissedTickBehavior, interval, sleep},
};

use crate::stream::{Ask, Demand, Stream};

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

type Waiting = BTreeMap<RequestId, oneshot::Sender<Result<EncoderAnswer, Refusal>>>;

impl EncoderLink {
    /// Keeps the link for as long as it is polled.
    pub(crate) async fn run(mut self) {
        let socket = self.dir.socket(Role::Encoder, Some(&self.stream.name));
        let mut tally = Tally::default();
        loop {
            match connect(&socket, &self.identity, Role::Encoder).await {
                Ok(link) => {
                    tally.meet(link.peer.instance);
                    tracing::info!(stream = %self.stream.name, pid = link.peer.pid, "linked to the encoder");
                    let outcome = self.serve(link, &mut tally).await;
                    self.stream.update(|upstream| upstream.source = None);
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

    /// Serves one connection until it ends.
    async fn serve(&mut self, link: Link<FromEncoder, ToEncoder>, tally: &mut Tally) -> Result<(), LinkError> {
        let Link {
            mut sender,
            mut receiver,
            ..
        } = link;
        let mut demand = self.stream.demand();
        let mut waiting = Waiting::new();
        let mut subscribed = false;
        let mut next_id = 0;
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // What was asked of an encoder that has gone since is no longer wanted: the askers see their reply dropped.
        while self.asks.try_recv().is_ok() {}
        loop {
            subscribed = follow(&mut demand, subscribed, &mut sender).await?;
            // All arms are cancel-safe.
            tokio::select! {
                message = receiver.recv() => match message? {
                    Some(message) => self.on_message(message, &mut waiting, tally),
                    None => return Ok(()),
                },
                Some(ask) = self.asks.recv() => match ask {
                    Ask::Keyframe => sender.send(&ToEncoder::RequestKeyframe).await?,
                    Ask::Request { request, reply } => {
                        let id = RequestId(next_id);
                        next_id = next_id.wrapping_add(1);
                        waiting.insert(id, reply);
                        sender.send(&ToEncoder::Request { id, request }).await?;
                    }
                },
                Ok(()) = demand.changed() => {}
                _ = looks.tick(), if !waiting.is_empty() => {
                    let left: Vec<_> = waiting.extract_if(.., |_, reply| reply.is_closed()).collect();
                    for (id, _reply) in left {
                        sender.send(&ToEncoder::Cancel { id }).await?;
                    }
                }
            }
        }
    }

    fn on_message(&self, message: FromEncoder, waiting: &mut Waiting, tally: &mut Tally) {
        match message {
            FromEncoder::Source(state) => {
                tracing::info!(stream = %self.stream.name, state = state.as_str(), "source");
                self.stream
                    .update(|upstream| upstream.source = Some((state, Instant::now())));
            }
            FromEncoder::Parameters(parameters) => {
                self.stream.update(|upstream| upstream.parameters = Some(parameters));
            }
            FromEncoder::Quality(quality) => self.stream.set_quality(quality),
            FromEncoder::Frame(unit) => self.on_frame(unit, tally),
            FromEncoder::Lost { frames } => {
                tracing::debug!(stream = %self.stream.name, frames, "was too slow for the encoder");
                self.stream.dropped.fetch_add(frames, Ordering::Relaxed);
            }
            FromEncoder::Response { id, result } => {
                if let Some(reply) = waiting.remove(&id) {
                    // An asker who has left needs no answer.
                    _ = reply.send(result);
                }
            }
        }
    }

    fn on_frame(&self, unit: AccessUnit, tally: &mut Tally) {
        self.stream.received.bump();
        self.stream.encoded.raise_to(tally.total(unit.sequence));
        self.engine.publish(&self.stream.name, unit);
    }
}

/// Subscribes or unsubscribes as the demand says; returns whether we are subscribed now.
async fn follow(
    demand: &mut watch::Receiver<Demand>,
    subscribed: bool,
    sender: &mut Sender<ToEncoder>,
) -> Result<bool, SendError> {
    let wanted = demand.borrow_and_update().wants_frames();
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
