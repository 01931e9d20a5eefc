//! What lasts: tokens, sessions, shares and jobs, in SQLite. The only place that knows SQL.

mod jobs;
mod records;
mod schema;

use std::{
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use framebridge_core::studio::box_session;
use framebridge_proto::StreamName;
use framebridge_studio_proto::{Access, BoxId, PublicId};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

pub(crate) use jobs::{JobRow, JobState};
pub(crate) use records::Record;

use crate::auth::Kind;

/// Boxes that are known with one token: a fleet may share one. Past it the one that has been away longest is forgotten, for
/// where a box's instance id is new each time there is no end of them.
pub(crate) const MOST_SESSIONS: u32 = 256;

/// Shared addresses of one box that may be good at once.
pub(crate) const MOST_SHARES: u32 = 256;

/// A token maker on the command line and the studio share the file.
const BUSY: Duration = Duration::from_secs(5);

/// The records. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    connection: Arc<Mutex<Connection>>,
}

/// Why something could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The directory can't be made.
    #[error("can't make {}", path.display())]
    Directory {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The database can't be opened.
    #[error("can't open {}", path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
    /// It was written by a newer studio.
    #[error("the records are of version {found}, and this studio knows {known}: use a newer one")]
    TooNew { found: u32, known: u32 },
    /// A statement failed.
    #[error("can't {what}")]
    Statement {
        what: &'static str,
        #[source]
        source: rusqlite::Error,
    },
    /// There is such a thing already.
    #[error("there is a token `{0}` already")]
    Taken(String),
}

/// A token as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenRow {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) hash: [u8; 32],
    pub(crate) revoked: bool,
}

/// A session as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SessionRow {
    pub(crate) id: PublicId,
    pub(crate) token: String,
    pub(crate) instance: BoxId,
    #[serde(with = "records::state")]
    pub(crate) state: box_session::State,
    pub(crate) reason: Option<String>,
    pub(crate) last_seen_ms: Option<u64>,
}

/// A shared address. It ended when its time was up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ShareRow {
    pub(crate) id: PublicId,
    pub(crate) session: PublicId,
    pub(crate) access: Access,
    pub(crate) expires_ms: Option<u64>,
}

/// Now, ms since the Unix epoch.
pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

impl Store {
    /// Opens the records of `dir`, which is made if need be.
    pub(crate) fn open(dir: &Path) -> Result<Self, StoreError> {
        // Addresses in it are permissions.
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|source| StoreError::Directory {
                path: dir.to_owned(),
                source,
            })?;
        let path = dir.join("studio.sqlite");
        let opened = Connection::open(&path).and_then(|connection| {
            connection.busy_timeout(BUSY)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            connection.pragma_update(None, "foreign_keys", true)?;
            Ok(connection)
        });
        let mut connection = opened.map_err(|source| StoreError::Open { path, source })?;
        schema::bring_up(&mut connection)?;
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
        })
    }

    /// Does `work` here and now; `what` completes "can't ...".
    fn now<T>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        work(&connection).map_err(|source| StoreError::Statement { what, source })
    }

    /// Does `work` where blocking is no harm.
    async fn aside<T, F>(&self, what: &'static str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let store = self.clone();
        let done = tokio::task::spawn_blocking(move || store.now(what, work)).await;
        done.expect("a statement does not panic, and nobody aborts it")
    }

    pub(crate) fn add_token(&self, name: &str, kind: Kind, hash: &[u8; 32]) -> Result<(), StoreError> {
        let sql = "INSERT OR IGNORE INTO tokens (name, kind, hash, created_ms) VALUES (?1, ?2, ?3, ?4)";
        let added = self.now("add a token", |db| {
            db.execute(sql, params![name, kind.as_str(), hash, signed(now_ms())])
        })?;
        if added == 0 {
            Err(StoreError::Taken(name.to_owned()))
        } else {
            Ok(())
        }
    }

    pub(crate) fn tokens(&self) -> Result<Vec<TokenRow>, StoreError> {
        self.now("read the tokens", read_tokens)
    }

    pub(crate) fn revoke_token(&self, name: &str) -> Result<bool, StoreError> {
        let sql = "UPDATE tokens SET revoked_ms = ?2 WHERE name = ?1 AND revoked_ms IS NULL";
        self.now("revoke a token", |db| {
            db.execute(sql, params![name, signed(now_ms())])
                .map(|changed| changed > 0)
        })
    }

    /// The tokens, aside: one may have been made or revoked on the command line since.
    pub(crate) async fn current_tokens(&self) -> Result<Vec<TokenRow>, StoreError> {
        self.aside("read the tokens", read_tokens).await
    }

    pub(crate) fn sessions(&self) -> Result<Vec<SessionRow>, StoreError> {
        self.now("read the sessions", |db| {
            let mut statement = db
                .prepare("SELECT id, token, instance, state, reason, last_seen_ms FROM sessions ORDER BY created_ms")?;
            statement.query_map([], session_row)?.collect()
        })
    }

    /// Whether this session is kept.
    pub(crate) async fn has_session(&self, id: PublicId) -> Result<bool, StoreError> {
        self.aside("find a session", move |db| {
            db.prepare_cached("SELECT 1 FROM sessions WHERE id = ?1")?
                .exists([id.to_string()])
        })
        .await
    }

    /// The session of this box: the one it had, or a new one with id `fresh`, and the sessions that were forgotten for it. None if
    /// there are too many with its token that are not away.
    pub(crate) async fn session_of(
        &self,
        token: String,
        instance: BoxId,
        fresh: PublicId,
    ) -> Result<Option<(SessionRow, Vec<PublicId>)>, StoreError> {
        self.aside("find a box's session", move |db| {
            let step = db.unchecked_transaction()?;
            let forgotten = make_room(db, &token, instance)?;
            db.execute(
                "INSERT OR IGNORE INTO sessions (id, token, instance, state, created_ms) SELECT ?1, ?2, ?3, ?4, ?5
                 WHERE (SELECT count(*) FROM sessions WHERE token = ?2) < ?6",
                params![
                    fresh.to_string(),
                    token,
                    instance.to_string(),
                    box_session::State::Expired.as_str(),
                    signed(now_ms()),
                    MOST_SESSIONS
                ],
            )?;
            db.query_row(
                "SELECT id, token, instance, state, reason, last_seen_ms FROM sessions WHERE token = ?1 AND instance = ?2",
                params![token, instance.to_string()],
                session_row,
            )
            .optional()
            // Without a row nothing is forgotten either.
            .and_then(|row| row.map(|row| step.commit().map(|()| (row, forgotten))).transpose())
        })
        .await
    }

    pub(crate) async fn save_state(
        &self,
        id: PublicId,
        state: box_session::State,
        reason: Option<String>,
        last_seen_ms: Option<u64>,
    ) -> Result<(), StoreError> {
        self.aside("save a session's state", move |db| {
            db.execute(
                "UPDATE sessions SET state = ?2, reason = ?3, last_seen_ms = ?4 WHERE id = ?1",
                params![id.to_string(), state.as_str(), reason, last_seen_ms.map(signed)],
            )
            .map(drop)
        })
        .await
    }

    /// Keeps a new share; false if too many are good already.
    pub(crate) async fn add_share(&self, share: ShareRow) -> Result<bool, StoreError> {
        self.aside("add a share", move |db| {
            let added = db.execute(
                "INSERT INTO shares (id, session, stream, control, expires_ms) SELECT ?1, ?2, ?3, ?4, ?5
                 WHERE (SELECT count(*) FROM shares WHERE session = ?2 AND (expires_ms IS NULL OR expires_ms > ?6)) < ?7",
                params![
                    share.id.to_string(),
                    share.session.to_string(),
                    share.access.stream.map(String::from),
                    share.access.control,
                    share.expires_ms.map(signed),
                    signed(now_ms()),
                    MOST_SHARES
                ],
            )?;
            Ok(added > 0)
        })
        .await
    }

    /// The share with this id, unless it has ended.
    pub(crate) async fn share(&self, id: PublicId) -> Result<Option<ShareRow>, StoreError> {
        self.aside("find a share", move |db| {
            db.query_row(
                "SELECT id, session, stream, control, expires_ms FROM shares
                 WHERE id = ?1 AND (expires_ms IS NULL OR expires_ms > ?2)",
                params![id.to_string(), signed(now_ms())],
                share_row,
            )
            .optional()
        })
        .await
    }

    /// Ends one share of a session, or all of them; how many that were.
    pub(crate) async fn end_shares(&self, session: PublicId, share: Option<PublicId>) -> Result<u32, StoreError> {
        let ended = self
            .aside("end a share", move |db| {
                // Not forgotten yet, so that no node of the studio takes it for one that it has missed.
                db.execute(
                    "UPDATE shares SET expires_ms = ?3 WHERE session = ?1 AND (?2 IS NULL OR id = ?2)
                     AND (expires_ms IS NULL OR expires_ms > ?3)",
                    params![session.to_string(), share.map(|id| id.to_string()), signed(now_ms())],
                )
            })
            .await?;
        Ok(u32::try_from(ended).unwrap_or(u32::MAX))
    }
}

/// Forgets the sessions that have been away longest, as many as are too many with this token for a new one.
fn make_room(db: &Connection, token: &str, instance: BoxId) -> rusqlite::Result<Vec<PublicId>> {
    let mut surplus = db.prepare_cached(
        "SELECT id FROM sessions WHERE token = ?1 AND state IN (?4, ?5)
         AND NOT EXISTS (SELECT 1 FROM sessions WHERE token = ?1 AND instance = ?2)
         ORDER BY coalesce(last_seen_ms, created_ms), id
         LIMIT max(0, (SELECT count(*) FROM sessions WHERE token = ?1) - ?3 + 1)",
    )?;
    let surplus = surplus.query_map(
        params![
            token,
            instance.to_string(),
            MOST_SESSIONS,
            box_session::State::Failed.as_str(),
            box_session::State::Expired.as_str()
        ],
        |row| id::<PublicId>(row, 0),
    )?;
    let surplus: Vec<PublicId> = surplus.collect::<Result<_, _>>()?;
    for forgotten in &surplus {
        // Its shares and jobs go with it.
        db.execute("DELETE FROM sessions WHERE id = ?1", [forgotten.to_string()])?;
    }
    Ok(surplus)
}

fn read_tokens(db: &Connection) -> rusqlite::Result<Vec<TokenRow>> {
    let mut statement =
        db.prepare("SELECT name, kind, hash, revoked_ms IS NOT NULL FROM tokens ORDER BY created_ms")?;
    let rows = statement.query_map([], |row| {
        let kind: String = row.get(1)?;
        Ok(TokenRow {
            name: row.get(0)?,
            kind: Kind::from_str(&kind).ok_or_else(|| odd(1, &kind))?,
            hash: row.get(2)?,
            revoked: row.get(3)?,
        })
    })?;
    rows.collect()
}

fn session_row(row: &Row<'_>) -> rusqlite::Result<SessionRow> {
    let state: String = row.get(3)?;
    let known = box_session::State::ALL
        .into_iter()
        .find(|known| known.as_str() == state);
    Ok(SessionRow {
        id: id(row, 0)?,
        token: row.get(1)?,
        instance: id(row, 2)?,
        state: known.ok_or_else(|| odd(3, &state))?,
        reason: row.get(4)?,
        last_seen_ms: row.get::<_, Option<i64>>(5)?.map(unsigned),
    })
}

fn share_row(row: &Row<'_>) -> rusqlite::Result<ShareRow> {
    let stream: Option<String> = row.get(2)?;
    let stream = stream
        .map(|name| name.parse::<StreamName>().map_err(|_| odd(2, &name)))
        .transpose()?;
    Ok(ShareRow {
        id: id(row, 0)?,
        session: id(row, 1)?,
        access: Access {
            stream,
            control: row.get(3)?,
            share: None,
        },
        expires_ms: row.get::<_, Option<i64>>(4)?.map(unsigned),
    })
}

/// An id in its text form.
fn id<T: std::str::FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    text.parse().map_err(|_| odd(column, &text))
}

/// What is written there is nothing that we write.
fn odd(column: usize, text: &str) -> rusqlite::Error {
    let error = format!("`{text}` was not written by a studio").into();
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error)
}

/// SQLite's integers are signed; times and sizes of ours stay far below the difference.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn box_finds_its_session_again_and_another_gets_another() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.add_token("door", Kind::Box, &[7; 32]).unwrap();
        assert!(matches!(
            store.add_token("door", Kind::Box, &[8; 32]),
            Err(StoreError::Taken(_))
        ));
        let session = async |instance, fresh| {
            let (instance, fresh) = (BoxId::from_bits(instance), PublicId::from_bits(fresh));
            store
                .session_of("door".into(), instance, fresh)
                .await
                .unwrap()
                .map(|(row, forgotten)| (row.id, forgotten))
        };
        let (first, _) = session(1, 100).await.unwrap();
        assert_eq!(session(1, 101).await, Some((first, vec![])));
        let ready = async |id| {
            store
                .save_state(id, box_session::State::Ready, None, Some(now_ms()))
                .await
                .unwrap()
        };
        ready(first).await;
        for more in 2..=u128::from(MOST_SESSIONS) {
            let id = PublicId::from_bits(100 + more);
            assert_eq!(session(more, 100 + more).await, Some((id, vec![])));
        }
        let away = PublicId::from_bits(102);
        assert_eq!(
            session(9999, 9999).await,
            Some((PublicId::from_bits(9999), vec![away])),
            "the one that is away longest makes room"
        );
        assert_eq!(
            session(1, 101).await,
            Some((first, vec![])),
            "those that are there stay"
        );
        for row in store.sessions().unwrap() {
            ready(row.id).await;
        }
        assert_eq!(session(9998, 9998).await, None, "all are there");
        let why = Some("over".to_owned());
        store
            .save_state(first, box_session::State::Failed, why.clone(), Some(5))
            .await
            .unwrap();
        drop(store);
        let reopened = Store::open(dir.path()).unwrap().sessions().unwrap();
        let row = reopened.iter().find(|row| row.id == first).unwrap();
        assert_eq!(
            (row.state, row.reason.clone(), row.last_seen_ms),
            (box_session::State::Failed, why, Some(5))
        );
    }

    #[tokio::test]
    async fn shares_end_when_they_are_told_to_or_time_is_up() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.add_token("door", Kind::Box, &[7; 32]).unwrap();
        let session = store
            .session_of("door".into(), BoxId::from_bits(1), PublicId::from_bits(1))
            .await
            .unwrap()
            .unwrap()
            .0
            .id;
        let share = |id, expires_ms| ShareRow {
            id: PublicId::from_bits(id),
            session,
            access: Access {
                stream: Some("test".parse().unwrap()),
                control: true,
                share: None,
            },
            expires_ms,
        };
        for row in [
            share(2, None),
            share(3, Some(now_ms() + 60_000)),
            share(4, Some(now_ms() - 1)),
        ] {
            assert!(store.add_share(row).await.unwrap());
        }
        let found = async |id| store.share(PublicId::from_bits(id)).await.unwrap();
        assert_eq!(found(2).await.unwrap().access, share(2, None).access);
        assert!(found(3).await.is_some() && found(4).await.is_none() && found(5).await.is_none());
        assert_eq!(
            store.end_shares(session, Some(PublicId::from_bits(2))).await.unwrap(),
            1
        );
        assert!(found(2).await.is_none() && found(3).await.is_some());
        assert_eq!(store.end_shares(session, None).await.unwrap(), 1);
        for at in 0..=u128::from(MOST_SHARES) {
            let added = store.add_share(share(100 + at, None)).await.unwrap();
            assert_eq!(added, at < u128::from(MOST_SHARES));
        }
    }
}
