//! Records that the nodes of a studio exchange; each node keeps all of them.
//!
//! Taking one in twice, late or in another order changes nothing: a token that was revoked stays so, a share ends when
//! anybody says it ended, a job ends once.

use framebridge_daemon::unix_ms;
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::{
    JobRow, SessionRow, ShareRow, Store, StoreError, TokenRow, jobs, sessions::session_row, shares::share_row, signed,
    tokens::read_tokens,
};

/// One record.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Record {
    /// Of a box or an operator.
    Token(TokenRow),
    /// Of a box whose token is known.
    Session(SessionRow),
    /// Of a session that is known.
    Share(ShareRow),
    /// Of a session that is known.
    Job(JobRow),
}

impl Store {
    /// All there are, in an order in which they can be taken in.
    pub(crate) async fn records(&self) -> Result<Vec<Record>, StoreError> {
        self.aside("read all records", |db| {
            let mut records: Vec<Record> = read_tokens(db)?.into_iter().map(Record::Token).collect();
            let mut sessions = db.prepare("SELECT id, token, instance, state, reason, last_seen_ms FROM sessions")?;
            for row in sessions.query_map([], session_row)? {
                records.push(Record::Session(row?));
            }
            let mut shares = db.prepare("SELECT hash, session, stream, control, expires_ms FROM shares")?;
            for row in shares.query_map([], share_row)? {
                records.push(Record::Share(row?));
            }
            let mut all_jobs = db.prepare(&format!("SELECT {} FROM jobs", jobs::COLUMNS))?;
            for row in all_jobs.query_map([], jobs::job_row)? {
                records.push(Record::Job(row?));
            }
            Ok(records)
        })
        .await
    }

    /// Takes in another node's records, in one step.
    pub(crate) async fn merge(&self, records: Vec<Record>) -> Result<(), StoreError> {
        self.aside("take in records", move |db| {
            let step = db.unchecked_transaction()?;
            for record in &records {
                let merged = match record {
                    Record::Token(token) => merge_token(db, token),
                    Record::Session(session) => merge_session(db, session),
                    Record::Share(share) => merge_share(db, share),
                    Record::Job(job) => merge_job(db, job),
                };
                // A statement that fails undoes itself, and not the others.
                if let Err(error @ rusqlite::Error::SqliteFailure(_, _)) = merged {
                    tracing::warn!(%error, "another node's record does not fit ours");
                } else {
                    merged?;
                }
            }
            step.commit()
        })
        .await
    }
}

fn merge_token(db: &Connection, token: &TokenRow) -> rusqlite::Result<()> {
    let revoked_ms = token.revoked.then(|| signed(unix_ms()));
    db.execute(
        "INSERT INTO tokens (name, kind, hash, created_ms, revoked_ms) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (name) DO UPDATE SET revoked_ms = coalesce(revoked_ms, excluded.revoked_ms)
         WHERE hash = excluded.hash",
        params![
            token.name,
            token.kind.as_str(),
            token.hash,
            signed(unix_ms()),
            revoked_ms
        ],
    )
    .map(drop)
}

fn merge_session(db: &Connection, session: &SessionRow) -> rusqlite::Result<()> {
    db.execute(
        "INSERT OR IGNORE INTO sessions (id, token, instance, state, reason, created_ms, last_seen_ms)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE EXISTS (SELECT 1 FROM tokens WHERE name = ?2)",
        params![
            session.id.to_string(),
            session.token,
            session.instance.to_string(),
            session.state.as_str(),
            session.reason,
            signed(unix_ms()),
            session.last_seen_ms.map(signed)
        ],
    )
    .map(drop)
}

fn merge_share(db: &Connection, share: &ShareRow) -> rusqlite::Result<()> {
    db.execute(
        "INSERT INTO shares (hash, session, stream, control, expires_ms)
         SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM sessions WHERE id = ?2)
         ON CONFLICT (hash) DO UPDATE SET expires_ms = excluded.expires_ms
         WHERE expires_ms IS NULL OR excluded.expires_ms < expires_ms",
        params![
            share.hash.as_str(),
            share.session.to_string(),
            share.access.stream.as_ref().map(ToString::to_string),
            share.access.control,
            share.expires_ms.map(signed)
        ],
    )
    .map(drop)
}

fn merge_job(db: &Connection, job: &JobRow) -> rusqlite::Result<()> {
    db.execute(
        "INSERT INTO jobs (id, session, kind, deadline_ms, state, result, error, created_ms, ended_ms)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9 WHERE EXISTS (SELECT 1 FROM sessions WHERE id = ?2)
         ON CONFLICT (id) DO UPDATE SET state = excluded.state, result = excluded.result, error = excluded.error,
             ended_ms = excluded.ended_ms
         WHERE ended_ms IS NULL",
        params![
            job.id.to_string(),
            job.session.to_string(),
            jobs::json(&job.kind),
            signed(job.deadline_ms),
            job.state.as_str(),
            job.result.as_ref().map(jobs::json),
            job.error,
            signed(job.created_ms),
            job.ended_ms.map(signed)
        ],
    )
    .map(drop)
}

#[cfg(test)]
mod tests {
    use framebridge_studio_proto::{Access, JobId, JobKind, JobResult, PublicId};

    use super::*;
    use crate::store::{JobState, Kind, ShareHash};

    /// Two nodes, the first with a token, a session, a share and a job.
    async fn two() -> ([tempfile::TempDir; 2], [Store; 2], PublicId) {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let (one, session) = Store::with_a_box(dirs[0].path()).await;
        let two = Store::open(dirs[1].path()).unwrap();
        let share = ShareRow {
            hash: ShareHash::of(PublicId::from_bits(2)),
            session,
            access: Access::default(),
            expires_ms: None,
        };
        one.add_share(share).await.unwrap();
        let job = JobId::from_bits(3);
        assert!(one.add_job(job, session, &JobKind::Diagnose, 1000).await.unwrap());
        (dirs, [one, two], session)
    }

    /// Everything that `from` knows, told to `to` as it travels.
    async fn tell(from: &Store, to: &Store) {
        for record in from.records().await.unwrap() {
            let text = serde_json::to_string(&record).unwrap();
            to.merge(vec![serde_json::from_str(&text).unwrap()]).await.unwrap();
        }
    }

    #[tokio::test]
    async fn nodes_come_to_know_the_same_whoever_tells_whom_and_how_often() {
        let (_dirs, [one, two], session) = two().await;
        let (share, job) = (PublicId::from_bits(2), JobId::from_bits(3));
        for _ in 0..2 {
            tell(&one, &two).await;
        }
        assert_eq!(one.tokens().unwrap(), two.tokens().unwrap());
        assert_eq!(two.sessions().unwrap()[0].id, session);
        assert!(two.share(share).await.unwrap().is_some());
        assert_eq!(two.next_job(session).await.unwrap().unwrap().id, job);

        // What ends at one has ended at the other, even after the first repeats what it knew before.
        let before = one.records().await.unwrap();
        assert!(two.revoke_token("door").unwrap());
        assert_eq!(two.end_shares(session, None).await.unwrap(), 1);
        let result = JobResult::Inline { value: true.into() };
        two.end_job(job, session, Ok(result.clone())).await.unwrap();
        two.merge(before).await.unwrap();
        tell(&two, &one).await;
        for store in [&one, &two] {
            assert!(store.tokens().unwrap()[0].revoked);
            assert!(store.share(share).await.unwrap().is_none());
            let row = store.job(job).await.unwrap().unwrap();
            assert_eq!((row.state, row.result.as_ref()), (JobState::Done, Some(&result)));
        }
    }

    #[tokio::test]
    async fn another_nodes_token_of_the_same_name_is_not_taken_for_ours() {
        let (_dirs, [one, two], _) = two().await;
        two.add_token("door", Kind::Box, &[8; 32]).unwrap();
        two.revoke_token("door").unwrap();
        tell(&two, &one).await;
        assert!(!one.tokens().unwrap()[0].revoked && one.tokens().unwrap()[0].hash == [7; 32]);
        // What hangs on something unknown waits until that is told.
        let lone = tempfile::tempdir().unwrap();
        let lone = Store::open(lone.path()).unwrap();
        let mut records = one.records().await.unwrap();
        records.reverse();
        lone.merge(records.clone()).await.unwrap();
        records.reverse();
        lone.merge(records).await.unwrap();
        assert_eq!(lone.records().await.unwrap().len(), 4);
    }
}
