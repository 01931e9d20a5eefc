//! The pushes there are, each at its place: what it is told, and how it goes.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use framebridge_config as config;
use framebridge_core::push::Snapshot;
use framebridge_proto::{
    StreamName, millis,
    status::{PushState, PushStatus},
};
use framebridge_rtc::SessionId;
use tokio::sync::Notify;

use crate::owners::brief;

/// All pushes, in the order of the configuration.
#[derive(Debug, Default)]
pub(crate) struct Pushes(Mutex<Vec<Arc<Place>>>);

/// Where a push and others meet.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) stream: StreamName,
    pub(crate) push: config::Push,
    bell: Notify,
    orders: Mutex<Orders>,
    shown: Mutex<Shown>,
}

/// What a push is told, and has not heard yet.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Orders {
    /// An operator ends it for now.
    pub(crate) kick: bool,
    /// The configuration was read again.
    pub(crate) resume: bool,
    /// It is not configured any more.
    pub(crate) end: bool,
}

/// How a push goes.
#[derive(Debug)]
struct Shown {
    state: PushState,
    reason: Option<String>,
    due: Option<Instant>,
    session: Option<SessionId>,
}

impl Pushes {
    /// Has there be these and no others. One that is configured as before goes on, and is told to try again; one that is not ends.
    /// Returns the places of those that are new.
    pub(crate) fn set(&self, streams: &[config::Stream]) -> Vec<Arc<Place>> {
        let mut places = self.places();
        let mut before = mem::take(&mut *places);
        let mut fresh = Vec::new();
        let configured = streams
            .iter()
            .flat_map(|stream| stream.pushes.iter().map(|push| (&stream.name, push)));
        for (stream, push) in configured {
            let known = before
                .iter()
                .position(|place| place.stream == *stream && place.push == *push);
            let place = match known {
                Some(at) => {
                    let place = before.swap_remove(at);
                    place.order(|orders| orders.resume = true);
                    place
                }
                None => {
                    let place = Arc::new(Place::new(stream.clone(), push.clone()));
                    fresh.push(Arc::clone(&place));
                    place
                }
            };
            places.push(place);
        }
        for place in before {
            place.order(|orders| orders.end = true);
        }
        fresh
    }

    /// Ends the push with this session for now; false: it is none's.
    pub(crate) fn kick(&self, session: &SessionId) -> bool {
        let place = self.of_session(session);
        if let Some(place) = &place {
            place.order(|orders| orders.kick = true);
        }
        place.is_some()
    }

    /// Ends a stream's push of this name for now, whether it has a session or not; false: there is none.
    pub(crate) fn kick_named(&self, stream: &StreamName, name: &str) -> bool {
        let places = self.places();
        let found = places
            .iter()
            .find(|place| place.stream == *stream && place.push.name == name);
        if let Some(place) = found {
            place.order(|orders| orders.kick = true);
        }
        found.is_some()
    }

    /// Whether one of them has this session.
    pub(crate) fn has(&self, session: &SessionId) -> bool {
        self.of_session(session).is_some()
    }

    /// A session's life went on.
    pub(crate) fn look(&self, session: &SessionId) {
        if let Some(place) = self.of_session(session) {
            place.bell.notify_one();
        }
    }

    /// How a stream's pushes go.
    pub(crate) fn of(&self, stream: &StreamName) -> Vec<PushStatus> {
        let places = self.places();
        let of_stream = places.iter().filter(|place| place.stream == *stream);
        of_stream.map(|place| place.status(Instant::now())).collect()
    }

    fn of_session(&self, session: &SessionId) -> Option<Arc<Place>> {
        let places = self.places();
        places
            .iter()
            .find(|place| place.shown().session == Some(*session))
            .cloned()
    }

    fn places(&self) -> MutexGuard<'_, Vec<Arc<Place>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn new(stream: StreamName, push: config::Push) -> Self {
        Self {
            stream,
            push,
            bell: Notify::new(),
            orders: Mutex::default(),
            shown: Mutex::new(Shown {
                state: PushState::Connecting,
                reason: None,
                due: None,
                session: None,
            }),
        }
    }

    /// Waits until there is something to look at: orders, or the session. Cancel-safe.
    pub(crate) async fn rung(&self) {
        self.bell.notified().await;
    }

    /// What it is told since this was asked last.
    pub(crate) fn take_orders(&self) -> Orders {
        mem::take(&mut *self.orders.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Shows which session is its own, and is told of it from here on.
    pub(crate) fn set_session(&self, session: Option<SessionId>) {
        self.shown().session = session;
    }

    /// Shows how it goes, and says so where that is something else than before.
    pub(crate) fn show(&self, snapshot: Snapshot, now: Instant) {
        let mut shown = self.shown();
        let is_news = (shown.state, &shown.reason) != (snapshot.state, &snapshot.reason);
        shown.state = snapshot.state;
        shown.reason = snapshot.reason;
        shown.due = snapshot.retry_in.map(|left| now + left);
        drop(shown);
        if is_news {
            let status = self.status(now);
            let stream = &self.stream;
            if status.is_well() {
                tracing::info!(%stream, "{status}");
            } else {
                tracing::warn!(%stream, "{status}");
            }
        }
    }

    fn status(&self, now: Instant) -> PushStatus {
        let shown = self.shown();
        PushStatus {
            name: self.push.name.clone(),
            state: shown.state,
            reason: shown.reason.clone(),
            retry_in_ms: shown.due.map(|due| millis(due.saturating_duration_since(now))),
            session: shown.session.as_ref().map(brief),
        }
    }

    fn order(&self, change: impl FnOnce(&mut Orders)) {
        change(&mut self.orders.lock().unwrap_or_else(PoisonError::into_inner));
        self.bell.notify_one();
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streams(text: &str) -> Vec<config::Stream> {
        let input = config::Input {
            file: "test",
            text,
            ..config::Input::default()
        };
        config::Settings::parse(&input).expect("good settings").streams
    }

    #[test]
    fn pushes_that_are_configured_as_before_go_on_whatever_else_changes() {
        let one = "[streams.door]\nsource = \"test:\"\n[[streams.door.push]]\nurl = \"https://one/x\"\n";
        let two = format!("{one}[[streams.door.push]]\nurl = \"https://two/x\"\ntoken = \"a\"\n");
        let pushes = Pushes::default();
        let door = "door".parse().expect("a name");
        let [first] = &pushes.set(&streams(one))[..] else {
            panic!("one push")
        };
        assert!(!first.take_orders().resume);
        assert_eq!(pushes.set(&streams(&two)).len(), 1);
        assert!(first.take_orders().resume && !first.take_orders().resume);
        let names = |pushes: &Pushes| pushes.of(&door).into_iter().map(|push| push.name).collect::<Vec<_>>();
        assert_eq!(names(&pushes), ["one", "two"]);
        let [again] = &pushes.set(&streams(&two.replace("\"a\"", "\"b\"")))[..] else {
            panic!("another token is another push")
        };
        assert_eq!(again.push.name, "two");
        assert!(pushes.set(&[]).is_empty() && pushes.of(&door).is_empty());
        assert!(first.take_orders().end && again.take_orders().end);
    }

    #[test]
    fn push_is_found_by_its_session_while_it_has_one() {
        let text = "[streams.door]\nsource = \"test:\"\n[[streams.door.push]]\nurl = \"https://one/x\"\n";
        let pushes = Pushes::default();
        let place = pushes.set(&streams(text)).remove(0);
        let session: SessionId = "0".repeat(32).parse().expect("an id");
        assert!(!pushes.kick(&session));
        assert!(!pushes.kick_named(&place.stream, "two"));
        assert!(pushes.kick_named(&place.stream, "one") && place.take_orders().kick);
        place.set_session(Some(session));
        assert!(pushes.kick(&session) && place.take_orders().kick);
        let snapshot = Snapshot {
            state: PushState::Conflict,
            reason: Some("taken".to_owned()),
            retry_in: Some(std::time::Duration::from_millis(2500)),
        };
        place.show(snapshot, Instant::now());
        let shown = pushes.of(&place.stream).remove(0);
        assert_eq!(shown.session.as_deref(), Some("00000000"));
        let sentence = "push to one is conflict: taken; tried again in 3 s";
        assert_eq!(shown.to_string(), sentence);
    }
}
