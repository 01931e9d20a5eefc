//! Which event streams of sessions were ended before their sessions.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use framebridge_core::session_news::Kinds;
use framebridge_rtc::SessionId;

/// The event streams that viewers have ended, by their sessions: a bit for each choice of events. It has at most as many
/// entries as there are sessions, which `webrtc.memory_budget_mb` bounds; those of ended ones go with the next that is noted.
#[derive(Debug, Default)]
pub(crate) struct Silenced(Mutex<BTreeMap<SessionId, u16>>);

impl Silenced {
    /// A viewer has ended it; `is_open` says which sessions there are still.
    pub(crate) fn end(&self, session: SessionId, wanted: Kinds, is_open: impl Fn(&SessionId) -> bool) {
        let mut ended = self.ended();
        ended.retain(|session, _| is_open(session));
        *ended.entry(session).or_default() |= 1 << wanted.number();
    }

    /// It is opened, perhaps anew.
    pub(crate) fn begin(&self, session: &SessionId, wanted: Kinds) {
        if let Some(choices) = self.ended().get_mut(session) {
            *choices &= !(1 << wanted.number());
        }
    }

    pub(crate) fn has(&self, session: &SessionId, wanted: Kinds) -> bool {
        let ended = self.ended();
        ended
            .get(session)
            .is_some_and(|choices| choices & (1 << wanted.number()) != 0)
    }

    fn ended(&self) -> MutexGuard<'_, BTreeMap<SessionId, u16>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ended_is_so_until_it_is_opened_again_or_its_session_is_gone() {
        let silenced = Silenced::default();
        let [one, other] = [1, 2].map(|number| format!("{number:032x}").parse().unwrap());
        let counts = Kinds::named(["viewercount"]).unwrap();
        silenced.end(one, counts, |_| true);
        assert!(silenced.has(&one, counts) && !silenced.has(&one, Kinds::ALL) && !silenced.has(&other, counts));
        silenced.begin(&one, counts);
        assert!(!silenced.has(&one, counts));
        silenced.end(one, Kinds::ALL, |_| true);
        silenced.end(other, Kinds::ALL, |session| *session == other);
        assert!(!silenced.has(&one, Kinds::ALL), "it is forgotten");
        assert!(silenced.has(&other, Kinds::ALL));
    }
}
