//! The tables, version by version.

use rusqlite::Connection;

use super::StoreError;

/// One step per version; a step that was released is never changed.
const STEPS: &[&str] = &["
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
"];

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
        transaction.execute_batch(step).map_err(failed)?;
    }
    transaction.pragma_update(None, "user_version", known).map_err(failed)?;
    transaction.commit().map_err(failed)
}
