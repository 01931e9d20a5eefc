//! What settings name and processes would not start without, and is not there.

use std::time::Duration;

use framebridge_config::{Problem, Settings};
use framebridge_daemon::Surroundings;
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

/// How long is looked: a disk has answered by then. A mount whose server is away may never, and what it holds may be there.
const PATIENCE: Duration = Duration::from_secs(3);

/// Who waits for such a mount waits in a thread that nothing ends: there is never a second one. Whoever comes meanwhile finds nothing.
static LOOKS: Semaphore = Semaphore::const_new(1);

/// What is missing, as far as can be said soon.
pub(crate) async fn missing(settings: &Settings) -> Vec<Problem> {
    let settings = settings.clone();
    within(PATIENCE, &LOOKS, move || Surroundings::problems_of(&settings)).await
}

async fn within(
    patience: Duration,
    looks: &'static Semaphore,
    look: impl FnOnce() -> Vec<Problem> + Send + 'static,
) -> Vec<Problem> {
    let looked = timeout(patience, async {
        let place = looks.acquire().await.ok()?;
        let look = move || {
            let _place = place;
            look()
        };
        spawn_blocking(look).await.ok()
    });
    looked
        .await
        .unwrap_or_else(|_late| {
            tracing::warn!("a file that the configuration names is on a disk that does not answer");
            None
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn disk_that_does_not_answer_holds_nobody_up_and_one_thread() {
        static ONE: Semaphore = Semaphore::const_new(1);
        let soon = Duration::from_millis(20);
        let (answers, waits) = mpsc::sync_channel::<()>(0);
        let hangs = move || {
            // Until the test is over.
            _ = waits.recv();
            Vec::new()
        };
        assert_eq!(within(soon, &ONE, hangs).await, []);
        let problem = Problem {
            place: "f.toml:1".to_owned(),
            key: "studio.token_file".to_owned(),
            message: "it is not there".to_owned(),
        };
        let found = problem.clone();
        assert_eq!(within(soon, &ONE, || panic!("a second thread")).await, []);
        drop(answers);
        assert_eq!(within(Duration::from_secs(20), &ONE, || vec![found]).await, [problem]);
    }
}
