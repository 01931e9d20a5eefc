//! One stream's snapshots: made once for all who ask at about the same time.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{body::Bytes, http::StatusCode};
use framebridge_http::Places;
use tokio::sync::Semaphore;

use crate::{client::ClientAddress, problem::Problem};

/// Those who may wait for a picture of one stream at once. Who comes while there is a fresh one does not wait; so many that do
/// are no people.
const MAX_WAITING: usize = 8;

/// Of one address: half of them are for others.
const MAX_WAITING_EACH: usize = 4;

/// How old a picture may be and still serve the next asker: one takes some 5 ms of a core at 720p, so the 4 a second that
/// are made at most are 2 % of it.
const FRESH: Duration = Duration::from_millis(250);

/// A still that is larger is not kept, so that 48 streams' take 24 MiB at most. One of 720p has some 100 KB.
const MOST_KEPT: usize = 512 << 10;

/// When there may be a fresh picture, or a place to wait for one.
const RETRY: Duration = Duration::from_secs(1);

/// The latest snapshot of a stream, and the queue for the next one.
#[derive(Debug)]
pub(crate) struct Snapshots {
    waiting: Places,
    permit: Semaphore,
    last: Mutex<Option<Made>>,
    /// The last picture there was, and since when.
    kept: Mutex<Option<(Instant, Bytes)>>,
}

/// What came of making one.
#[derive(Debug, Clone)]
struct Made {
    at: Instant,
    outcome: Result<Bytes, Problem>,
}

impl Made {
    /// Whether it answers whoever came at `came`: a picture that is fresh `now`, or what was made since.
    fn serves(&self, came: Instant, now: Instant) -> bool {
        let is_fresh = self.outcome.is_ok() && now.saturating_duration_since(self.at) < FRESH;
        is_fresh || self.at >= came
    }
}

impl Snapshots {
    pub(crate) fn new() -> Self {
        Self {
            waiting: Places::new(MAX_WAITING, MAX_WAITING_EACH),
            permit: Semaphore::new(1),
            last: Mutex::new(None),
            kept: Mutex::new(None),
        }
    }

    /// The latest picture, at most [`FRESH`] old; else what `make` makes, for all who came before it was made.
    pub(crate) async fn get(
        &self,
        ClientAddress(client): ClientAddress,
        make: impl Future<Output = Result<Bytes, Problem>>,
    ) -> Result<Bytes, Problem> {
        let came = Instant::now();
        if let Some(outcome) = self.made(came) {
            return outcome;
        }
        let Ok(_place) = self.waiting.take(client) else {
            let detail = "As many as may be wait for a picture of this stream already.";
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_requests", detail).retry_after(RETRY));
        };
        let Ok(_permit) = self.permit.acquire().await else {
            return Err(Problem::odd_answer());
        };
        if let Some(outcome) = self.made(came) {
            return outcome;
        }
        // Whoever gives up meanwhile leaves the turn to the next.
        let outcome = make.await;
        let made = Made {
            at: Instant::now(),
            outcome: outcome.clone(),
        };
        if let Ok(image) = &outcome {
            self.keep(image, made.at);
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(made);
        outcome
    }

    /// Keeps a picture that there was at `at`.
    pub(crate) fn keep(&self, image: &Bytes, at: Instant) {
        if image.len() <= MOST_KEPT {
            *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some((at, image.clone()));
        }
    }

    /// The last picture there was, and when that was.
    pub(crate) fn kept(&self) -> Option<(Instant, Bytes)> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn made(&self, came: Instant) -> Option<Result<Bytes, Problem>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let made = last.as_ref().filter(|made| made.serves(came, Instant::now()))?;
        Some(made.outcome.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_serves_while_it_is_fresh_and_a_failure_only_those_who_waited_for_it() {
        let start = Instant::now();
        let at = start + Duration::from_secs(10);
        let ms = Duration::from_millis;
        let picture = Made {
            at,
            outcome: Ok(Bytes::from_static(b"picture")),
        };
        let failure = Made {
            at,
            outcome: Err(Problem::odd_answer()),
        };
        for (made, came, now, serves) in [
            (&picture, at - ms(500), at, true),
            (&picture, at + ms(249), at + ms(249), true),
            (&picture, at + ms(250), at + ms(250), false),
            (&picture, at - ms(1), at + ms(400), true),
            (&failure, at - ms(1), at + ms(1), true),
            (&failure, at + ms(1), at + ms(1), false),
        ] {
            assert_eq!(made.serves(came, now), serves, "{made:?} came {came:?} now {now:?}");
        }
    }
}
