//! Those who watch by plain HTTP: listed and sent away like viewers with a session.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use framebridge_daemon::News;
use framebridge_proto::{StreamName, hooks::Happening, millis};
use tokio_util::sync::CancellationToken;

use crate::{
    access::{hex, random},
    owners::{DIGITS, Owner},
    visits,
};

/// Pages that were sent away and are remembered; the oldest goes for the next. A page asks again within a second.
const REMEMBERED: usize = 256;

/// A page's name for itself has no more characters.
const LONGEST_PAGE: usize = 32;

/// Over how long a film's rate is taken.
const WINDOW: Duration = Duration::from_secs(2);

/// All films that are being watched. As many as there are places for them ([`Limits::film`](crate::limits::Limits::film)).
#[derive(Debug)]
pub(crate) struct Films {
    known: Mutex<Known>,
    news: Arc<News>,
}

#[derive(Debug, Default)]
struct Known {
    watched: BTreeMap<String, Arc<Film>>,
    sent_away: VecDeque<String>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Film {
    pub(crate) stream: StreamName,
    pub(crate) owner: Owner,
    /// The page that plays it because WebRTC does not get through; a player that wants a film has none.
    pub(crate) page: Option<String>,
    sent: Mutex<Sent>,
    sent_away: CancellationToken,
}

#[derive(Debug)]
struct Sent {
    since: Instant,
    bytes: usize,
    bits_per_second: Option<u64>,
}

/// Somebody watches a film, until this is dropped.
#[derive(Debug)]
pub(crate) struct Watching {
    films: Arc<Films>,
    id: String,
    film: Arc<Film>,
}

impl Films {
    /// None yet; `news` goes to the supervisor.
    pub(crate) fn new(news: Arc<News>) -> Self {
        Self {
            known: Mutex::default(),
            news,
        }
    }

    /// Whether an operator has sent away the page that calls itself so.
    pub(crate) fn was_sent_away(&self, page: &str) -> bool {
        self.known().sent_away.iter().any(|known| known == page)
    }

    /// Sends one away, by as much of its id as is shown; false where no film, or more than one, has such an id.
    pub(crate) fn send_away(&self, id: &str) -> bool {
        let mut known = self.known();
        let mut named = known.watched.range(id.to_owned()..);
        let named = [named.next(), named.next()].map(|film| film.filter(|(known, _)| known.starts_with(id)));
        let ([Some((_, film)), None], true) = (named, id.len() >= DIGITS) else {
            return false;
        };
        let film = Arc::clone(film);
        film.sent_away.cancel();
        if let Some(page) = &film.page {
            if known.sent_away.len() == REMEMBERED {
                known.sent_away.pop_front();
            }
            known.sent_away.push_back(page.clone());
        }
        true
    }

    /// All of them, with what is shown of their ids.
    pub(crate) fn all(&self) -> Vec<(String, Arc<Film>)> {
        let known = self.known();
        known
            .watched
            .iter()
            .map(|(id, film)| (shown(id), Arc::clone(film)))
            .collect()
    }

    /// How many watch a stream so.
    pub(crate) fn of(&self, stream: &StreamName) -> usize {
        let known = self.known();
        known.watched.values().filter(|film| film.stream == *stream).count()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Film {
    /// Bits a second that were sent of late.
    pub(crate) fn bits_per_second(&self) -> Option<u64> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).bits_per_second
    }

    fn on_sent(&self, bytes: usize, now: Instant) {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.bytes += bytes;
        let took = now.saturating_duration_since(sent.since);
        if took >= WINDOW {
            let bits = u64::try_from(sent.bytes).unwrap_or(u64::MAX).saturating_mul(8_000);
            *sent = Sent {
                since: now,
                bytes: 0,
                bits_per_second: Some(bits / millis(took)),
            };
        }
    }
}

impl Watching {
    /// Somebody begins to watch `stream`.
    pub(crate) fn begin(films: &Arc<Films>, stream: StreamName, owner: Owner, page: Option<String>) -> Self {
        let id = hex(&random::<16>());
        let film = Arc::new(Film {
            stream,
            owner,
            page,
            sent: Mutex::new(Sent {
                since: Instant::now(),
                bytes: 0,
                bits_per_second: None,
            }),
            sent_away: CancellationToken::new(),
        });
        films.known().watched.insert(id.clone(), Arc::clone(&film));
        films
            .news
            .tell(visits::joined(shown(&id), &film.stream, Some(&film.owner)));
        Self {
            films: Arc::clone(films),
            id,
            film,
        }
    }

    /// So many bytes more were sent.
    pub(crate) fn on_sent(&self, bytes: usize) {
        self.film.on_sent(bytes, Instant::now());
    }

    /// Waits until an operator sends it away. Cancel-safe.
    pub(crate) async fn sent_away(&self) {
        self.film.sent_away.cancelled().await;
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.films.known().watched.remove(&self.id);
        let was_sent_away = self.film.sent_away.is_cancelled();
        self.films.news.tell(Happening::ViewerLeft {
            stream: self.film.stream.clone(),
            viewer: shown(&self.id),
            reason: if was_sent_away {
                "sent away"
            } else {
                "closed by the viewer"
            }
            .to_owned(),
        });
    }
}

/// What is shown of an id.
fn shown(id: &str) -> String {
    id.chars().take(DIGITS).collect()
}

/// A page's name for itself, where it is one: hexadecimal digits that it has drawn.
pub(crate) fn page_name(said: Option<String>) -> Option<String> {
    said.filter(|page| (1..=LONGEST_PAGE).contains(&page.len()) && page.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_names_itself_by_digits_or_not_at_all() {
        for (said, name) in [("0a1B", Some("0a1B")), ("", None), ("x", None), (&"0".repeat(33), None)] {
            assert_eq!(page_name(Some(said.to_owned())).as_deref(), name);
        }
        assert_eq!(page_name(None), None);
    }

    #[test]
    fn rate_is_that_of_the_last_seconds() {
        let owner = Owner {
            principal: framebridge_auth::Principal::anyone(framebridge_auth::Scope::View),
            address: [192, 0, 2, 1].into(),
            since: 7,
            pushed: None,
            parameter_sets: Vec::new(),
        };
        let start = Instant::now();
        let film = Film {
            stream: "test".parse().unwrap(),
            owner,
            page: None,
            sent: Mutex::new(Sent {
                since: start,
                bytes: 0,
                bits_per_second: None,
            }),
            sent_away: CancellationToken::new(),
        };
        film.on_sent(100_000, start + WINDOW / 2);
        assert_eq!(film.bits_per_second(), None);
        film.on_sent(150_000, start + WINDOW);
        assert_eq!(film.bits_per_second(), Some(1_000_000));
        film.on_sent(0, start + 2 * WINDOW);
        assert_eq!(film.bits_per_second(), Some(0));
    }
}
