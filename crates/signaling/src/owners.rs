//! Whose session is whose. It is written down beside the sockets, so that the next life of this process knows it of the viewers
//! that it goes on with.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use framebridge_auth::{Principal, UnixTime};
use framebridge_ipc::RuntimeDir;
use framebridge_rtc::SessionId;
use serde::{Deserialize, Serialize};

const FILE: &str = "viewers.jsonl";

/// Lines of ended sessions that the file may have before it is written anew.
const MOST_STALE: usize = 1024;

/// So many digits name a session to an operator, and tell nobody how to end it.
pub(crate) const DIGITS: usize = 8;

/// Who opened a session, from where and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub(crate) principal: Principal,
    pub(crate) address: IpAddr,
    pub(crate) since: UnixTime,
    /// Where a stream is sent on to, if that is what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pushed: Option<Pushed>,
    /// The parameter sets that a publisher's offer named: what comes later may lean on them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) parameter_sets: Vec<Vec<u8>>,
}

/// A session that was opened here, at a receiver elsewhere.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pushed {
    /// The receiver's address, as configured.
    pub(crate) url: String,
    /// Where the session can be ended there.
    pub(crate) resource: Option<String>,
}

/// Both may be secrets.
impl std::fmt::Debug for Pushed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pushed").finish_non_exhaustive()
    }
}

/// All owners of open sessions.
#[derive(Debug)]
pub(crate) struct Owners {
    path: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    owners: BTreeMap<SessionId, Owner>,
    /// Lines of the file.
    lines: usize,
}

#[derive(Serialize, Deserialize)]
struct Line {
    session: String,
    #[serde(flatten)]
    owner: Owner,
}

impl Owners {
    /// Those that a life before wrote down, of the sessions that are still `open`.
    pub(crate) fn load(dir: &RuntimeDir, open: &[SessionId]) -> Self {
        let path = dir.path().join(FILE);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        let owners = lines
            .filter_map(|line| Some((line.session.parse().ok()?, line.owner)))
            .filter(|(session, _)| open.contains(session))
            .collect();
        let loaded = Self {
            path,
            known: Mutex::new(Known { owners, lines: 0 }),
        };
        loaded.rewrite(&mut loaded.known());
        loaded
    }

    /// A session was opened.
    pub(crate) fn note(&self, session: SessionId, owner: Owner) {
        let mut known = self.known();
        let line = line(session, &owner);
        known.owners.insert(session, owner);
        if known.lines > known.owners.len() + MOST_STALE {
            return self.rewrite(&mut known);
        }
        known.lines += 1;
        let mut options = fs::OpenOptions::new();
        let file = options.append(true).create(true).mode(0o600).open(&self.path);
        self.told(file.and_then(|mut file| file.write_all(line.as_bytes())));
    }

    /// Its owner has shown something that is good for longer.
    pub(crate) fn prolong(&self, session: SessionId, principal: &Principal) {
        let Some(owner) = self.of(&session) else { return };
        let ends = |principal: &Principal| principal.expires.unwrap_or(UnixTime::MAX);
        if ends(principal) > ends(&owner.principal) {
            let principal = principal.clone();
            self.note(session, Owner { principal, ..owner });
        }
    }

    /// A session has ended.
    pub(crate) fn forget(&self, session: &SessionId) {
        self.known().owners.remove(session);
    }

    pub(crate) fn of(&self, session: &SessionId) -> Option<Owner> {
        self.known().owners.get(session).cloned()
    }

    pub(crate) fn all(&self) -> Vec<(SessionId, Owner)> {
        let known = self.known();
        known
            .owners
            .iter()
            .map(|(session, owner)| (*session, owner.clone()))
            .collect()
    }

    fn rewrite(&self, known: &mut Known) {
        let text: String = known
            .owners
            .iter()
            .map(|(session, owner)| line(*session, owner))
            .collect();
        known.lines = known.owners.len();
        let fresh = self.path.with_extension("new");
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh);
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        self.told(written.and_then(|()| fs::rename(&fresh, &self.path)));
    }

    /// A full disk keeps nobody from watching.
    fn told(&self, written: io::Result<()>) {
        if let Err(error) = written {
            tracing::debug!(%error, "{}: the next life will not know whose sessions are whose", self.path.display());
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What stands for a session in logs and lists: who knows all of an id may end its session.
pub(crate) fn brief(session: &SessionId) -> String {
    session.to_string().chars().take(DIGITS).collect()
}

fn line(session: SessionId, owner: &Owner) -> String {
    let line = Line {
        session: session.to_string(),
        owner: owner.clone(),
    };
    serde_json::to_string(&line).map_or_else(|_| String::new(), |text| text + "\n")
}

#[cfg(test)]
mod tests {
    use framebridge_auth::{Scope, Streams};

    use super::*;

    fn session(number: u8) -> SessionId {
        format!("{number:032x}").parse().unwrap()
    }

    #[test]
    fn next_life_knows_owners_of_what_is_still_open() {
        let folder = tempfile::tempdir().unwrap();
        let dir = RuntimeDir::at(folder.path());
        let owner = Owner {
            principal: Principal::anyone(Scope::View),
            address: [192, 0, 2, 1].into(),
            since: 7,
            pushed: Some(Pushed {
                url: "https://media.example/whip".to_owned(),
                resource: None,
            }),
            parameter_sets: vec![vec![0x67, 1]],
        };
        let owners = Owners::load(&dir, &[]);
        for number in 0..3 {
            owners.note(session(number), owner.clone());
        }
        owners.forget(&session(0));
        let mut file = fs::OpenOptions::new()
            .append(true)
            .open(folder.path().join(FILE))
            .unwrap();
        file.write_all(b"half a li").unwrap();
        let next = Owners::load(&dir, &[session(1), session(0), session(9)]);
        assert_eq!(next.of(&session(1)), Some(owner));
        assert_eq!((next.of(&session(2)), next.of(&session(9))), (None, None));
    }

    #[test]
    fn session_lasts_as_long_as_the_best_that_was_shown_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let owners = Owners::load(&RuntimeDir::at(folder.path()), &[]);
        let until = |expires| Principal::of_link("ada".to_owned(), Scope::View, Streams::All, expires);
        let (address, since) = ([192, 0, 2, 1].into(), 7);
        let principal = until(100);
        owners.note(
            session(1),
            Owner {
                principal,
                address,
                since,
                pushed: None,
                parameter_sets: Vec::new(),
            },
        );
        for (shown, ends) in [(50, 100), (200, 200), (150, 200)] {
            owners.prolong(session(1), &until(shown));
            assert_eq!(owners.of(&session(1)).unwrap().principal.expires, Some(ends));
        }
        owners.prolong(session(2), &until(100));
        assert_eq!(owners.of(&session(2)), None);
    }
}
