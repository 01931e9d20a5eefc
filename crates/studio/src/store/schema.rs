//! The tables, version by version.

use framebridge_studio_proto::PublicId;
use rusqlite::Connection;

use super::{StoreError, id, shares::ShareHash};

/// Brings a database from one version to the next.
type Step = fn(&Connection) -> rusqlite::Result<()>;

/// One step per version; a step that was released is never changed.
const STEPS: [Step; 2] = [|db| db.execute_batch(FIRST), hash_shares];

const FIRST: &str = "
    CREATE TABLE tokens (
        name TEXT PRIMARY KEY,
        kind TEXT NOT NULL,
        hash BLOB NOT NULL UNIQUE,
        created_ms INTEGER NOT NULL,
        revoked_ms INTEGER
    ) STRICT;
    CREATE TABLE sessions (
        id TEXT PRIMARY KEY,
        token TEXT NOT NULL REFERENCES tokens (name),
        instance TEXT NOT NULL,
        state TEXT NOT NULL,
        reason TEXT,
        created_ms INTEGER NOT NULL,
        last_seen_ms INTEGER,
        UNIQUE (token, instance)
    ) STRICT;
    CREATE TABLE shares (
        id TEXT PRIMARY KEY,
        session TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
        stream TEXT,
        control INTEGER NOT NULL,
        expires_ms INTEGER
    ) STRICT;
    CREATE TABLE jobs (
        id TEXT PRIMARY KEY,
        session TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
        kind TEXT NOT NULL,
        deadline_ms INTEGER NOT NULL,
        state TEXT NOT NULL,
        result TEXT,
        error TEXT,
        created_ms INTEGER NOT NULL,
        ended_ms INTEGER
    ) STRICT;
    CREATE INDEX jobs_of_a_session ON jobs (session, created_ms);
";

/// Version 1 kept shares by their addresses.
fn hash_shares(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch("ALTER TABLE shares RENAME COLUMN id TO hash")?;
    let mut shares = db.prepare("SELECT hash FROM shares")?;
    let ids: Vec<PublicId> = shares.query_map([], |row| id(row, 0))?.collect::<Result<_, _>>()?;
    for id in ids {
        let (hash, kept) = (ShareHash::of(id), id.to_string());
        db.execute("UPDATE shares SET hash = ?1 WHERE hash = ?2", [hash.as_str(), &kept])?;
    }
    Ok(())
}

/// Brings a database up to this build's version.
pub(super) fn bring_up(connection: &mut Connection) -> Result<(), StoreError> {
    let failed = |source| StoreError::Statement {
        what: "bring the records up to date",
        source,
    };
    // In one go and alone, because a command line and a studio may start at the same time.
    let transaction = connection
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .map_err(failed)?;
    let found: u32 = transaction
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(failed)?;
    let known = u32::try_from(STEPS.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(StoreError::TooNew { found, known });
    }
    for step in STEPS.iter().skip(usize::try_from(found).unwrap_or(usize::MAX)) {
        step(&transaction).map_err(failed)?;
    }
    transaction.pragma_update(None, "user_version", known).map_err(failed)?;
    transaction.commit().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[tokio::test]
    async fn shares_of_version_1_are_found_by_their_addresses_and_kept_without_them() {
        let dir = tempfile::tempdir().unwrap();
        let share = PublicId::from_bits(2);
        let old = Connection::open(dir.path().join("studio.sqlite")).unwrap();
        old.execute_batch(FIRST).unwrap();
        old.execute_batch(&format!(
            "INSERT INTO tokens VALUES ('door', 'box', x'07', 0, NULL);
             INSERT INTO sessions VALUES ('{0}', 'door', '{0}', 'expired', NULL, 0, NULL);
             INSERT INTO shares VALUES ('{share}', '{0}', 'test', 1, NULL);
             PRAGMA user_version = 1;",
            PublicId::from_bits(1)
        ))
        .unwrap();
        drop(old);
        let store = Store::open(dir.path()).unwrap();
        let row = store.share(share).await.unwrap().unwrap();
        assert_eq!((row.session, row.access.control), (PublicId::from_bits(1), true));
        let kept = Connection::open(dir.path().join("studio.sqlite")).unwrap();
        let hash: String = kept.query_row("SELECT hash FROM shares", [], |row| row.get(0)).unwrap();
        assert_eq!(hash, ShareHash::of(share).as_str());
        assert!(!hash.contains(&share.to_string()));
        let version: u32 = kept.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version, 2);
    }
}
