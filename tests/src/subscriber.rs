//! A subscriber to an encoder's frames, as signaling is one.

use framebridge_ipc::{ConnectError, Identity, Link, RuntimeDir, connect};
use framebridge_proto::{
    Role, StreamName,
    encoder::{FromEncoder, ToEncoder},
    media::AccessUnit,
};
use tokio::time::{interval, timeout};

use anyhow::{Context as _, anyhow, bail};

use crate::{
    system::System,
    wait::{PATIENCE, PAUSE},
};

/// A link to an encoder, subscribed.
#[derive(Debug)]
pub struct Subscriber {
    link: Link<FromEncoder, ToEncoder>,
}

impl Subscriber {
    /// Subscribes to a stream, once its encoder listens.
    ///
    /// # Errors
    /// It does not listen in time.
    pub async fn of(system: &System, stream: &str) -> anyhow::Result<Self> {
        let (dir, stream) = (RuntimeDir::at(system.runtime_dir()), stream.parse::<StreamName>()?);
        let socket = dir.socket(Role::Encoder, Some(&stream));
        let mut pauses = interval(PAUSE);
        let connected = timeout(PATIENCE, async {
            loop {
                pauses.tick().await;
                match connect(&socket, &Identity::new(Role::Operator), Role::Encoder).await {
                    Err(ConnectError::Absent { .. }) => {}
                    done => break done,
                }
            }
        });
        let mut link: Link<FromEncoder, ToEncoder> = connected.await.context("waiting for the encoder to listen")??;
        link.sender.send(&ToEncoder::Subscribe).await?;
        Ok(Self { link })
    }

    /// The next frame.
    ///
    /// # Errors
    /// None comes in time, or some were left out because this subscriber did not read.
    pub async fn next(&mut self) -> anyhow::Result<AccessUnit> {
        loop {
            match self.next_message().await? {
                FromEncoder::Frame(frame) => return Ok(frame),
                FromEncoder::Lost { frames } => bail!("{frames} frames were left out"),
                FromEncoder::Source(_)
                | FromEncoder::Quality(_)
                | FromEncoder::Parameters(_)
                | FromEncoder::NoRung { .. }
                | FromEncoder::Gap { .. }
                | FromEncoder::Response { .. }
                | FromEncoder::Desk(_)
                | FromEncoder::Load(_) => {}
            }
        }
    }

    /// Reads on until it is told that frames were left out, and how many.
    ///
    /// # Errors
    /// It is not told in time.
    pub async fn until_lost(&mut self) -> anyhow::Result<u64> {
        loop {
            if let FromEncoder::Lost { frames } = self.next_message().await? {
                return Ok(frames);
            }
        }
    }

    async fn next_message(&mut self) -> anyhow::Result<FromEncoder> {
        let message = timeout(PATIENCE, self.link.receiver.recv())
            .await
            .context("waiting for the encoder")??;
        message.ok_or_else(|| anyhow!("the encoder closed the link"))
    }
}
