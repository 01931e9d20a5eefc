//! Stores boxes' sessions.

use framebridge_core::studio::box_session;
use framebridge_daemon::unix_ms;
use framebridge_studio_proto::{BoxId, PublicId};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, id, odd, signed, unsigned};

/// Boxes that are known with one token: a fleet may share one. Past it the one that has been away longest is forgotten, for
/// where a box's instance id is new each time there is no end of them.
pub(crate) const MOST_SESSIONS: u32 = 256;

/// A session as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SessionRow {
    pub(crate) id: PublicId,
    pub(crate) token: String,
    pub(crate) instance: BoxId,
    #[serde(with = "state")]
    pub(crate) state: box_session::State,
    pub(crate) reason: Option<String>,
    pub(crate) last_seen_ms: Option<u64>,
}

impl Store {
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
                    signed(unix_ms()),
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

pub(super) fn session_row(row: &Row<'_>) -> rusqlite::Result<SessionRow> {
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

/// A session's state in one word.
mod state {
    use serde::{Deserializer, Serializer, de::Error as _};

    use super::{Deserialize as _, box_session};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's shape")]
    pub(super) fn serialize<S: Serializer>(state: &box_session::State, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(state.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<box_session::State, D::Error> {
        let text = String::deserialize(from)?;
        let known = box_session::State::ALL.into_iter().find(|known| known.as_str() == text);
        known.ok_or_else(|| D::Error::custom(format!("`{text}` is no state")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Kind;

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
                .save_state(id, box_session::State::Ready, None, Some(unix_ms()))
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
}
