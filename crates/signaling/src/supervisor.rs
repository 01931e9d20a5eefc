//! Asks the supervisor for the status of everything, which only it has.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use framebridge_ipc::{Identity, RuntimeDir, SupervisorClient};
use framebridge_proto::{
    status::Status,
    supervisor::{SupervisorAnswer, SupervisorRequest},
};
use tokio::{sync::Semaphore, time::timeout};

/// How old an answer may be and still serve the next asker: however often clients ask, the supervisor sees little of it.
const FRESH: Duration = Duration::from_millis(250);

/// How long an asker waits for the supervisor.
const PATIENCE: Duration = Duration::from_secs(1);

/// Asks the supervisor, one question at a time.
#[derive(Debug)]
pub(crate) struct Supervisor {
    dir: RuntimeDir,
    identity: Identity,
    permit: Semaphore,
    last: Mutex<Option<(Instant, Answer)>>,
}

/// The status, or why there is none.
type Answer = Result<Status, String>;

impl Supervisor {
    pub(crate) fn new(dir: RuntimeDir, identity: Identity) -> Self {
        Self {
            dir,
            identity,
            permit: Semaphore::new(1),
            last: Mutex::new(None),
        }
    }

    /// The status of everything, at most [`FRESH`] old, or one sentence that says why it can't be had.
    pub(crate) async fn status(&self) -> Answer {
        let Ok(_permit) = self.permit.acquire().await else {
            return Err("signaling is stopping".to_owned());
        };
        if let Some(answer) = self.remembered() {
            return answer;
        }
        let answer = match timeout(PATIENCE, self.ask()).await {
            Ok(Ok(status)) => Ok(status),
            Ok(Err(error)) => Err(format!("{error:#}")),
            Err(_elapsed) => Err(format!("it did not answer within {} s", PATIENCE.as_secs())),
        };
        *self.last.lock().expect("nobody panics with the lock") = Some((Instant::now(), answer.clone()));
        answer
    }

    fn remembered(&self) -> Option<Answer> {
        let last = self.last.lock().expect("nobody panics with the lock");
        last.as_ref()
            .filter(|(at, _)| at.elapsed() < FRESH)
            .map(|(_, answer)| answer.clone())
    }

    async fn ask(&self) -> anyhow::Result<Status> {
        let mut client = SupervisorClient::connect(&self.dir, &self.identity).await?;
        let SupervisorAnswer::Status(status) = client.request(SupervisorRequest::Status).await? else {
            anyhow::bail!("the supervisor answered something else");
        };
        Ok(status)
    }
}
