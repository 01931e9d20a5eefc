//! Limits what viewers have under way: so much each, and no longer than the address by which they came.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::http::StatusCode;
use framebridge_studio_proto::PublicId;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::problem::Problem;

/// Requests of one viewer under way: a page asks for its parts six at a time, as browsers do.
const REQUESTS: usize = 8;

/// Event streams of one viewer: a list, a stream and its session, in some windows.
const STREAMS: usize = 4;

/// Requests of one viewer that may wait for a place. Past it they are refused.
const WAITING: usize = 32;

/// How long they wait: a page has lost patience by then.
const PATIENCE: Duration = Duration::from_secs(2);

/// Viewers that are told apart. Past it those who have nothing under way are forgotten, and then nobody new comes in.
const MOST_VIEWERS: usize = 20_000;

/// Who asks: by which address, and from where. An office behind one NAT is one viewer.
type Key = (PublicId, IpAddr);

/// All viewers who have something under way.
#[derive(Debug, Default)]
pub(crate) struct Visits(Mutex<BTreeMap<Key, Arc<Viewer>>>);

#[derive(Debug)]
struct Viewer {
    session: PublicId,
    requests: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    waiting: Semaphore,
    /// The address by which it came was taken back.
    over: CancellationToken,
}

/// A place; given back when dropped.
#[derive(Debug)]
pub(crate) struct Visit {
    viewer: Arc<Viewer>,
    /// When the address by which it came ends.
    ends_at: Option<Instant>,
    _place: OwnedSemaphorePermit,
}

impl Visits {
    fn viewers(&self) -> MutexGuard<'_, BTreeMap<Key, Arc<Viewer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a request by address `by`, which opens `session` and has `left` to live, when one is free.
    pub(crate) async fn enter(
        &self,
        by: PublicId,
        session: PublicId,
        from: IpAddr,
        left: Option<Duration>,
    ) -> Result<Visit, Problem> {
        let viewer = self.viewer(by, session, from).ok_or_else(too_many)?;
        let place = {
            let _waiting = viewer.waiting.try_acquire().map_err(|_full| too_many())?;
            timeout(PATIENCE, Arc::clone(&viewer.requests).acquire_owned()).await
        };
        let place = place.ok().and_then(Result::ok).ok_or_else(too_many)?;
        Ok(Visit {
            viewer,
            ends_at: left.and_then(|left| Instant::now().checked_add(left)),
            _place: place,
        })
    }

    /// One shared address of a session was taken back, or all of them: what came by them ends.
    pub(crate) fn end(&self, session: PublicId, share: Option<PublicId>) {
        for ((by, _), viewer) in &*self.viewers() {
            let is_meant = viewer.session == session && share.map_or(*by != session, |share| share == *by);
            if is_meant {
                viewer.over.cancel();
            }
        }
    }

    fn viewer(&self, by: PublicId, session: PublicId, from: IpAddr) -> Option<Arc<Viewer>> {
        let mut viewers = self.viewers();
        if viewers.len() >= MOST_VIEWERS {
            viewers.retain(|_, viewer| Arc::strong_count(viewer) > 1);
        }
        if let Some(known) = viewers.get(&(by, from)).filter(|known| !known.over.is_cancelled()) {
            return Some(Arc::clone(known));
        }
        if viewers.len() >= MOST_VIEWERS {
            return None;
        }
        let viewer = Arc::new(Viewer {
            session,
            requests: Arc::new(Semaphore::new(REQUESTS)),
            streams: Arc::new(Semaphore::new(STREAMS)),
            waiting: Semaphore::new(WAITING),
            over: CancellationToken::new(),
        });
        viewers.insert((by, from), Arc::clone(&viewer));
        Some(viewer)
    }
}

impl Visit {
    /// The request turned out to have no end: it takes a place among those, and gives its own back.
    pub(crate) fn into_stream(self) -> Result<Self, Problem> {
        let place = Arc::clone(&self.viewer.streams).try_acquire_owned();
        Ok(Self {
            viewer: self.viewer,
            ends_at: self.ends_at,
            _place: place.map_err(|_full| too_many())?,
        })
    }

    /// Waits until the address by which it came has ended. Cancel-safe.
    pub(crate) async fn over(&self) {
        let ends_at = self.ends_at;
        tokio::select! {
            () = self.viewer.over.cancelled() => {}
            () = sleep_until(ends_at.unwrap_or_else(Instant::now)), if ends_at.is_some() => {}
        }
    }
}

fn too_many() -> Problem {
    let detail = "So much is under way for this viewer already that more has to wait.";
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", detail).retry_after(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    #[tokio::test]
    async fn one_viewer_has_so_much_under_way_and_leaves_the_others_theirs() {
        let visits = Visits::default();
        let [session, share] = [1, 2].map(PublicId::from_bits);
        let enter = async |by, from| visits.enter(by, session, from, None).await;
        let mut requests = Vec::new();
        for _ in 0..REQUESTS {
            requests.push(enter(share, HERE).await.unwrap());
        }
        assert_eq!(
            enter(share, HERE).await.unwrap_err().status,
            StatusCode::TOO_MANY_REQUESTS
        );
        assert!(enter(share, THERE).await.is_ok() && enter(session, HERE).await.is_ok());
        let streams: Vec<_> = requests.drain(..STREAMS + 1).map(Visit::into_stream).collect();
        assert_eq!(streams.iter().filter(|stream| stream.is_ok()).count(), STREAMS);
        assert!(enter(share, HERE).await.is_ok(), "streams give their places back");
    }

    #[tokio::test]
    async fn what_came_by_an_address_ends_with_it() {
        let visits = Visits::default();
        let [session, share] = [1, 2].map(PublicId::from_bits);
        let a_moment = Duration::from_millis(100);
        let short = visits.enter(share, session, HERE, Some(a_moment)).await.unwrap();
        let begun = Instant::now();
        short.over().await;
        assert!(begun.elapsed() >= a_moment);
        let own = visits.enter(session, session, HERE, None).await.unwrap();
        let shared = visits.enter(share, session, HERE, None).await.unwrap();
        visits.end(session, None);
        shared.over().await;
        assert!(
            timeout(a_moment, own.over()).await.is_err(),
            "the box's own address has no end"
        );
        // Who comes after it came by another one of that name.
        let later = visits.enter(share, session, HERE, None).await.unwrap();
        assert!(timeout(a_moment, later.over()).await.is_err());
    }
}
