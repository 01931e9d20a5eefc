//! What the supervisor says of itself and the others, asked as often as it takes.

use std::time::Duration;

use anyhow::{anyhow, bail};
use framebridge_ipc::{Identity, RuntimeDir, SupervisorClient};
use framebridge_proto::{
    Role,
    status::{Overall, ProcessState, Status},
    supervisor::{JournalEntry, SupervisorAnswer, SupervisorRequest},
};
use tokio::{runtime::Runtime, time::timeout};

/// An answer that takes longer is none: a frozen supervisor must not hold up who watches it.
const TIMEOUT: Duration = Duration::from_millis(500);

/// Asks the supervisor of one runtime directory.
#[derive(Debug)]
pub(crate) struct Operator {
    runtime: Runtime,
    dir: RuntimeDir,
    identity: Identity,
}

impl Operator {
    pub(crate) fn of(dir: RuntimeDir) -> anyhow::Result<Self> {
        Ok(Self {
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
            dir,
            identity: Identity::new(Role::Operator),
        })
    }

    /// What keeps the system from being well; `None`: nothing does.
    pub(crate) fn trouble(&self) -> Option<String> {
        match self.status() {
            Ok(status) => {
                let absent = status
                    .processes
                    .iter()
                    .find(|process| process.state != ProcessState::Running);
                match absent {
                    Some(process) => Some(format!("{} is {}", process.name, process.state)),
                    None if status.overall == Overall::Healthy => None,
                    None => {
                        let verdicts = status.streams.into_iter().map(|stream| stream.verdict);
                        Some(format!(
                            "{:?}: {}",
                            status.overall,
                            verdicts.collect::<Vec<_>>().join("; ")
                        ))
                    }
                }
            }
            Err(error) => Some(format!("the supervisor does not answer: {error:#}")),
        }
    }

    /// The whole picture.
    pub(crate) fn status(&self) -> anyhow::Result<Status> {
        let SupervisorAnswer::Status(status) = self.ask(SupervisorRequest::Status)? else {
            bail!("the answer is no status")
        };
        Ok(status)
    }

    /// What has happened since `time`, oldest first.
    pub(crate) fn events_since(&self, time: u64) -> anyhow::Result<Vec<JournalEntry>> {
        let SupervisorAnswer::Journal(mut events) = self.ask(SupervisorRequest::Journal { after: 0 })? else {
            bail!("the answer is no list of events")
        };
        events.retain(|event| event.unix_ms >= time);
        Ok(events)
    }

    fn ask(&self, request: SupervisorRequest) -> anyhow::Result<SupervisorAnswer> {
        self.runtime.block_on(async {
            let exchange = async {
                let mut client = SupervisorClient::connect(&self.dir, &self.identity).await?;
                anyhow::Ok(client.request(request).await?)
            };
            timeout(TIMEOUT, exchange)
                .await
                .map_err(|_elapsed| anyhow!("no answer within {} ms", TIMEOUT.as_millis()))?
        })
    }
}
