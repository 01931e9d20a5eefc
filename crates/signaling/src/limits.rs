//! What one client may have and do, so that nobody is kept out by another (`docs/operations.md` has all the numbers).
//!
//! Clients are told apart by their address. Who is on this machine is nobody in particular: a bridge or a proxy speaks for
//! many there, a studio has limits of its own for its viewers, and whoever else may run programs here needs no network to
//! do harm.

use std::{
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::http::StatusCode;
use framebridge_core::{half_open::HalfOpen, places::NoPlace, rate_limit::RateLimit};
use framebridge_http::{Client, Place, Places};
use framebridge_proto::StreamName;
use framebridge_rtc::{Config, SessionId};

use crate::{client::ClientAddress, problem::Problem};

/// Viewers that join: a page that is reloaded by a whole office behind one address is fine. As at the studio.
const JOINS: (u32, Duration) = (60, Duration::from_millis(500));

/// PATCHes: a viewer trickles some ten candidates, and restarts ICE now and then.
const PATCHES: (u32, Duration) = (200, Duration::from_millis(50));

/// Changes of one stream's quality, whoever makes them: each begins with a keyframe for every viewer.
const QUALITIES: (u32, Duration) = (5, Duration::from_secs(1));

/// Sessions of one address that are not connected yet. It takes a viewer a fraction of a second, over a relay a few.
const HALF_OPEN: usize = 8;

/// So many of them are left to one address when others need their places: they may be viewers who are just coming.
const HALF_OPEN_SPARED: usize = 4;

/// Clips in memory, being made or being sent: each takes up to 15 MiB until who asked for it has read it.
const CLIPS: (usize, usize) = (4, 1);

/// Snapshots being sent: each takes up to a picture's bytes, some 100 KB, and 4 MB of a noisy 4K picture, so at most 128 MB. Over
/// a fast link one is read within milliseconds. A browser asks for six at once for a page that shows many streams.
const SNAPSHOTS: (usize, usize) = (32, 16);

/// Those who listen to events: each has a connection, and some KB for the rest of its time. A page listens once.
const LISTENERS: (usize, usize) = (256, 64);

/// Those who watch by plain HTTP: each has a connection, a copy of each frame under way, and 64 frames that may wait.
const FILMS: (usize, usize) = (64, 8);

/// Addresses remembered at once, per limit: some 10 MB at worst.
const MOST_ADDRESSES: usize = 100_000;

/// When somebody else may have given a place back.
const RETRY: Duration = Duration::from_secs(2);

/// All limits of this process that depend on who asks.
#[derive(Debug)]
pub(crate) struct Limits {
    joins: Mutex<RateLimit<IpAddr>>,
    patches: Mutex<RateLimit<IpAddr>>,
    qualities: Mutex<RateLimit<StreamName>>,
    half_open: Mutex<HalfOpen<SessionId, StreamName, IpAddr>>,
    clips: Places,
    snapshots: Places,
    films: Places,
    pub(crate) listeners: Places,
}

impl Limits {
    pub(crate) fn new() -> Self {
        let lasts = Config::default().connect_timeout;
        let places = |(all, each)| Places::new(all, each);
        Self {
            joins: rate(JOINS),
            patches: rate(PATCHES),
            qualities: rate(QUALITIES),
            half_open: Mutex::new(HalfOpen::new(HALF_OPEN, HALF_OPEN_SPARED, lasts)),
            clips: places(CLIPS),
            snapshots: places(SNAPSHOTS),
            films: places(FILMS),
            listeners: places(LISTENERS),
        }
    }

    /// Whether this client may join now.
    pub(crate) fn join(&self, ClientAddress(Client(whose)): ClientAddress) -> Result<(), Problem> {
        let now = Instant::now();
        if !lock(&self.half_open).has_room(whose.as_ref(), now) {
            return Err(still_connecting());
        }
        take(&self.joins, whose, now)
    }

    /// A client has joined; until it is connected, its session is half open. Several that were let in at once may be too many.
    pub(crate) fn open(
        &self,
        session: SessionId,
        stream: &StreamName,
        ClientAddress(Client(whose)): ClientAddress,
    ) -> Result<(), Problem> {
        let now = Instant::now();
        let mut half_open = lock(&self.half_open);
        if !half_open.has_room(whose.as_ref(), now) {
            return Err(still_connecting());
        }
        half_open.open(session, stream.clone(), whose, now);
        Ok(())
    }

    /// Whether this client may patch a session now.
    pub(crate) fn patch(&self, ClientAddress(Client(whose)): ClientAddress) -> Result<(), Problem> {
        take(&self.patches, whose, Instant::now())
    }

    /// Whether a stream's quality may be changed now.
    pub(crate) fn change_quality(&self, stream: &StreamName) -> Result<(), Problem> {
        lock(&self.qualities)
            .take(stream.clone(), Instant::now())
            .map_err(|wait| {
                let detail = "This stream's quality is being changed too often: every viewer pays for it.";
                too_many(detail.to_owned(), wait)
            })
    }

    /// A session has connected, or ended.
    pub(crate) fn settled(&self, session: &SessionId) {
        lock(&self.half_open).settle(session);
    }

    /// A half-open session that is to make room, for this stream's viewers or for any.
    pub(crate) fn give_up(&self, stream: Option<&StreamName>) -> Option<SessionId> {
        lock(&self.half_open).give_up(stream, Instant::now())
    }

    pub(crate) fn clip(&self, ClientAddress(client): ClientAddress) -> Result<Place, Problem> {
        let taken = self.clips.take(client);
        taken.map_err(|none| no_place(none, "clips", "are being made or sent"))
    }

    pub(crate) fn snapshot(&self, ClientAddress(client): ClientAddress) -> Result<Place, Problem> {
        let taken = self.snapshots.take(client);
        taken.map_err(|none| no_place(none, "snapshots", "are being sent"))
    }

    pub(crate) fn film(&self, ClientAddress(client): ClientAddress) -> Result<Place, Problem> {
        let taken = self.films.take(client);
        taken.map_err(|none| no_place(none, "films", "are being watched"))
    }

    pub(crate) fn listen(&self, ClientAddress(client): ClientAddress) -> Result<Place, Problem> {
        let taken = self.listeners.take(client);
        taken.map_err(|none| no_place(none, "listeners", "are there already"))
    }
}

fn rate<K: Ord>((burst, every): (u32, Duration)) -> Mutex<RateLimit<K>> {
    Mutex::new(RateLimit::new(burst, every, MOST_ADDRESSES))
}

fn take(limit: &Mutex<RateLimit<IpAddr>>, whose: Option<IpAddr>, now: Instant) -> Result<(), Problem> {
    let Some(address) = whose else { return Ok(()) };
    lock(limit).take(address, now).map_err(|wait| {
        let detail = "Too many requests came from this address: wait a moment.";
        too_many(detail.to_owned(), wait)
    })
}

fn still_connecting() -> Problem {
    let detail = format!("{HALF_OPEN} sessions of this address are still connecting: wait for one of them.");
    too_many(detail, RETRY)
}

fn too_many(detail: String, wait: Duration) -> Problem {
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", detail).retry_after(wait)
}

fn no_place(none: NoPlace, what: &str, are: &str) -> Problem {
    match none {
        NoPlace::Yours { each } => too_many(format!("{each} {what} of this address {are}."), RETRY),
        NoPlace::All { all } => {
            let code = match what {
                "clips" => "too_many_clips",
                "snapshots" => "too_many_snapshots",
                "films" => "too_many_films",
                _ => "too_many_listeners",
            };
            let detail = format!("{all} {what} {are}, and there is room for no more.");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(RETRY)
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: ClientAddress = ClientAddress(Client(None));

    fn session(number: usize) -> SessionId {
        format!("{number:032x}").parse().unwrap()
    }

    fn stranger(last: u8) -> ClientAddress {
        ClientAddress(Client(Some(IpAddr::from([192, 0, 2, last]))))
    }

    #[test]
    fn stranger_is_limited_and_neither_others_nor_this_machine_notice() {
        let limits = Limits::new();
        let stream: StreamName = "door".parse().unwrap();
        for number in 0..HALF_OPEN {
            limits.join(stranger(1)).unwrap();
            limits.open(session(number), &stream, stranger(1)).unwrap();
        }
        assert!(limits.join(stranger(1)).is_err());
        assert!(limits.open(session(HALF_OPEN), &stream, stranger(1)).is_err());
        let _clip = limits.clip(stranger(1)).unwrap();
        assert!(limits.clip(stranger(1)).is_err());
        for client in [stranger(2), HERE] {
            limits.join(client).unwrap();
            limits.clip(client).unwrap();
        }
        for number in 1000..2000 {
            limits.join(HERE).unwrap();
            limits.patch(HERE).unwrap();
            limits.open(session(number), &stream, HERE).unwrap();
        }
    }

    #[test]
    fn quality_may_be_changed_a_few_times_at_once_and_then_no_more() {
        let limits = Limits::new();
        let (door, desk) = ("door".parse().unwrap(), "desk".parse().unwrap());
        let changed = (0..100).filter(|_| limits.change_quality(&door).is_ok()).count();
        assert!((5..7).contains(&changed), "{changed} in no time");
        limits.change_quality(&desk).unwrap();
    }
}
