//! Keeps a link for one lower rung of a stream while viewers need it: a connection of its own, so that the rung has its own queue at
//! the encoder, and a full one never waits for it.

use std::{sync::Arc, time::Instant};

use framebridge_core::rung_supply::Input;
use framebridge_ipc::{ConnectError, Identity, Link, ReceiveError, Receiver, RuntimeDir, SendError, Sender, connect};
use framebridge_proto::{
    Role,
    encoder::{FromEncoder, ToEncoder},
    limits::RECONNECT_INTERVAL,
    media::{Rung, Track},
};
use framebridge_rtc::Handle;
use tokio::{sync::watch, time::sleep};

use crate::stream::Stream;

/// The link's task.
pub(crate) struct RungLink {
    pub(crate) stream: Arc<Stream>,
    pub(crate) rung: Rung,
    pub(crate) engine: Handle,
    pub(crate) dir: RuntimeDir,
    pub(crate) identity: Identity,
}

impl RungLink {
    /// Keeps it while it is needed, for as long as this is polled.
    pub(crate) async fn run(self) {
        let at = self.rung.index();
        let mut needs = self.stream.counts.follow_rungs();
        // The sender is the stream's own, so it outlives this.
        while needs.wait_for(|needs| needs[at] > 0).await.is_ok() {
            self.handle(Input::Wanted(true));
            tokio::select! {
                () = self.link() => {}
                _ = needs.wait_for(|needs| needs[at] == 0) => {}
            }
            self.handle(Input::Wanted(false));
        }
    }

    /// Links again and again.
    async fn link(&self) {
        let socket = self.dir.socket(Role::Encoder, Some(&self.stream.name));
        loop {
            match connect(&socket, &self.identity, Role::Encoder).await {
                Ok(link) => {
                    tracing::info!(stream = %self.stream.name, rung = %self.rung, "subscribes");
                    self.serve(link).await;
                }
                Err(error @ (ConnectError::Absent { .. } | ConnectError::Handshake { .. })) => {
                    tracing::debug!(stream = %self.stream.name, rung = %self.rung, "{:#}", anyhow::Error::new(error));
                }
            }
            sleep(RECONNECT_INTERVAL).await;
        }
    }

    /// Reads and writes apart, so that neither ever waits for the other.
    async fn serve(&self, link: Link<FromEncoder, ToEncoder>) {
        let Link { sender, receiver, .. } = link;
        let Some(wishes) = self.stream.rungs.keyframe_wishes(self.rung) else {
            return;
        };
        let outcome = tokio::select! {
            read = self.read(receiver) => read.map_err(anyhow::Error::new),
            written = self.write(sender, wishes) => written.map_err(anyhow::Error::new),
        };
        if let Err(error) = outcome {
            tracing::debug!(stream = %self.stream.name, rung = %self.rung, "the link broke: {error:#}");
        }
    }

    async fn read(&self, mut receiver: Receiver<FromEncoder>) -> Result<(), ReceiveError> {
        while let Some(message) = receiver.recv().await? {
            match message {
                FromEncoder::Frame(unit) => {
                    self.handle(Input::Picture);
                    self.stream.rung_received.bump();
                    self.engine.publish_rung(&self.stream.name, self.rung, unit);
                }
                FromEncoder::NoRung { reason } => {
                    tracing::info!(stream = %self.stream.name, rung = %self.rung, "not made: {reason}");
                    self.stream.rungs.refuse(self.rung, reason, Instant::now());
                }
                // The stream's own link is told likewise, and counts what it loses.
                FromEncoder::Source(_)
                | FromEncoder::Quality(_)
                | FromEncoder::Load(_)
                | FromEncoder::Parameters(_)
                | FromEncoder::Lost { .. }
                | FromEncoder::Response { .. }
                | FromEncoder::Gap { .. }
                | FromEncoder::Desk(_) => {}
            }
        }
        Ok(())
    }

    async fn write(&self, mut sender: Sender<ToEncoder>, mut wishes: watch::Receiver<()>) -> Result<(), SendError> {
        let subscribe = ToEncoder::SubscribeTo {
            track: Track::Video,
            rung: self.rung,
        };
        sender.send(&subscribe).await?;
        while wishes.changed().await.is_ok() {
            sender.send(&ToEncoder::RequestKeyframe).await?;
        }
        Ok(())
    }

    fn handle(&self, input: Input) {
        self.stream.rungs.handle(self.rung, input, Instant::now());
    }
}
