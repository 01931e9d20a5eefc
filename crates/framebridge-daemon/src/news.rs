//! What the supervisor is told besides how much was done: that it is worth a look at once, and what only this process has seen.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use framebridge_proto::hooks::Happening;
use tokio::sync::Notify;

/// Happenings that wait for a supervisor; the oldest goes for the next. A supervisor that is started again is there within a
/// second, and so many viewers a second are an exception.
const QUEUE: usize = 256;

/// News for the supervisor.
#[derive(Debug, Default)]
pub struct News {
    waiting: Mutex<Waiting>,
    told: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    happenings: VecDeque<Happening>,
    /// Of those that the supervisor has not taken, how many are gone.
    lost: u64,
}

impl News {
    /// The next heartbeat is sent at once: who asks right after something happened is told of it.
    pub fn hurry(&self) {
        self.told.notify_one();
    }

    /// The operator's hooks are told of this.
    pub fn tell(&self, happening: Happening) {
        let mut waiting = self.waiting();
        if waiting.happenings.len() >= QUEUE {
            waiting.happenings.pop_front();
            waiting.lost += 1;
        }
        waiting.happenings.push_back(happening);
        drop(waiting);
        self.hurry();
    }

    /// Waits until there are some. Cancel-safe.
    pub(crate) async fn come(&self) {
        self.told.notified().await;
    }

    /// What happened first of what waits.
    pub(crate) fn first(&self) -> Option<Happening> {
        self.waiting().happenings.front().cloned()
    }

    /// The supervisor has `first`.
    pub(crate) fn taken(&self, first: &Happening) {
        let mut waiting = self.waiting();
        // It may have gone for a newer one meanwhile.
        if waiting.happenings.front() == Some(first) {
            waiting.happenings.pop_front();
        }
        let lost = std::mem::take(&mut waiting.lost);
        if lost > 0 {
            tracing::warn!(lost, "hooks are not told of everything: no supervisor took it");
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded_and_the_newest_stays() {
        let news = News::default();
        let happened = |count| Happening::SharesEnded { count };
        (0..300).for_each(|count| news.tell(happened(count)));
        let first = news.first().expect("some wait");
        assert_eq!(first, happened(300 - 256));
        news.taken(&first);
        assert_eq!(news.first(), Some(happened(301 - 256)));
        news.taken(&first);
        assert_eq!(
            news.first(),
            Some(happened(301 - 256)),
            "what was not sent is not taken"
        );
    }
}
