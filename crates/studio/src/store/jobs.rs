//! Stores jobs.

use framebridge_daemon::unix_ms;
use framebridge_studio_proto::{JobId, JobKind, JobResult, PublicId};
use rusqlite::{OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, id, odd, signed, unsigned};

pub(super) const COLUMNS: &str = "id, session, kind, deadline_ms, state, result, error, created_ms, ended_ms";

/// Jobs of one session that may wait at once; past it a new one is refused.
const MOST_WAITING: i64 = 32;

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JobState {
    /// Nobody has taken it yet.
    Waiting,
    /// The box does it.
    Running,
    /// There is a result.
    Done,
    /// There will be none.
    Failed,
}

/// A job as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct JobRow {
    pub(crate) id: JobId,
    pub(crate) session: PublicId,
    pub(crate) kind: JobKind,
    pub(crate) deadline_ms: u64,
    pub(crate) state: JobState,
    pub(crate) result: Option<JobResult>,
    /// What went wrong the last time, or why it waits.
    pub(crate) error: Option<String>,
    pub(crate) created_ms: u64,
    pub(crate) ended_ms: Option<u64>,
}

impl JobState {
    const ALL: [Self; 4] = [Self::Waiting, Self::Running, Self::Done, Self::Failed];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

impl Store {
    /// Keeps a new job; false if too many wait already.
    pub(crate) async fn add_job(
        &self,
        job: JobId,
        session: PublicId,
        kind: &JobKind,
        deadline_ms: u64,
    ) -> Result<bool, StoreError> {
        let kind = json(kind);
        self.aside("add a job", move |db| {
            let added = db.execute(
                "INSERT INTO jobs (id, session, kind, deadline_ms, state, created_ms)
                 SELECT ?1, ?2, ?3, ?4, 'waiting', ?5
                 WHERE (SELECT count(*) FROM jobs WHERE session = ?2 AND state IN ('waiting', 'running')) < ?6",
                params![
                    job.to_string(),
                    session.to_string(),
                    kind,
                    signed(deadline_ms),
                    signed(unix_ms()),
                    MOST_WAITING
                ],
            )?;
            Ok(added > 0)
        })
        .await
    }

    pub(crate) async fn job(&self, job: JobId) -> Result<Option<JobRow>, StoreError> {
        self.aside("find a job", move |db| {
            let sql = format!("SELECT {COLUMNS} FROM jobs WHERE id = ?1");
            db.query_row(&sql, [job.to_string()], job_row).optional()
        })
        .await
    }

    /// The latest jobs of a session, newest first.
    pub(crate) async fn jobs(&self, session: PublicId, most: u32) -> Result<Vec<JobRow>, StoreError> {
        self.aside("read the jobs", move |db| {
            let sql = format!("SELECT {COLUMNS} FROM jobs WHERE session = ?1 ORDER BY created_ms DESC, id LIMIT ?2");
            db.prepare(&sql)?
                .query_map(params![session.to_string(), most], job_row)?
                .collect()
        })
        .await
    }

    /// The next job to offer: one that a box took and lost with its life, else the oldest that waits.
    pub(crate) async fn next_job(&self, session: PublicId) -> Result<Option<JobRow>, StoreError> {
        self.aside("find the next job", move |db| {
            let sql = format!(
                "SELECT {COLUMNS} FROM jobs WHERE session = ?1 AND state IN ('running', 'waiting')
                 ORDER BY state, created_ms, id LIMIT 1"
            );
            db.query_row(&sql, [session.to_string()], job_row).optional()
        })
        .await
    }

    /// Moves a job of this session that has not ended, and says why; false if there is none.
    pub(crate) async fn move_job(
        &self,
        job: JobId,
        session: PublicId,
        to: JobState,
        why: Option<String>,
    ) -> Result<bool, StoreError> {
        self.aside("move a job", move |db| {
            let moved = db.execute(
                "UPDATE jobs SET state = ?3, error = ?4 WHERE id = ?1 AND session = ?2 AND ended_ms IS NULL",
                params![job.to_string(), session.to_string(), to.as_str(), why],
            )?;
            Ok(moved > 0)
        })
        .await
    }

    /// Ends a job of this session, once: what comes later changes nothing, and neither does what comes of a job that is not known.
    /// False if nothing was ended.
    pub(crate) async fn end_job(
        &self,
        job: JobId,
        session: PublicId,
        outcome: Result<JobResult, String>,
    ) -> Result<bool, StoreError> {
        let (state, result, error) = match outcome {
            Ok(result) => (JobState::Done, Some(json(&result)), None),
            Err(error) => (JobState::Failed, None, Some(error)),
        };
        self.aside("end a job", move |db| {
            db.execute(
                "UPDATE jobs SET state = ?3, result = ?4, error = ?5, ended_ms = ?6
                 WHERE id = ?1 AND session = ?2 AND ended_ms IS NULL",
                params![
                    job.to_string(),
                    session.to_string(),
                    state.as_str(),
                    result,
                    error,
                    signed(unix_ms())
                ],
            )
            .map(|ended| ended > 0)
        })
        .await
    }

    /// Fails what has waited for a box since before `waiting_ms`, and what one began and that was asked for before
    /// `running_ms`; forgets jobs and shares that ended before `forget_ms`.
    pub(crate) async fn tidy(&self, waiting_ms: u64, running_ms: u64, forget_ms: u64) -> Result<(), StoreError> {
        self.aside("tidy the jobs", move |db| {
            for (state, before_ms, error) in [
                (JobState::Waiting, waiting_ms, "the box did not take it in time"),
                (
                    JobState::Running,
                    running_ms,
                    "the box began it and has not been heard of it since",
                ),
            ] {
                db.execute(
                    "UPDATE jobs SET state = 'failed', error = ?3, ended_ms = ?4
                     WHERE ended_ms IS NULL AND state = ?1 AND created_ms < ?2",
                    params![state.as_str(), signed(before_ms), error, signed(unix_ms())],
                )?;
            }
            db.execute("DELETE FROM shares WHERE expires_ms < ?1", [signed(forget_ms)])?;
            db.execute("DELETE FROM jobs WHERE ended_ms < ?1", [signed(forget_ms)])
                .map(drop)
        })
        .await
    }
}

pub(super) fn job_row(row: &Row<'_>) -> rusqlite::Result<JobRow> {
    let state: String = row.get(4)?;
    let known = JobState::ALL.into_iter().find(|known| known.as_str() == state);
    let kind: String = row.get(2)?;
    let result: Option<String> = row.get(5)?;
    Ok(JobRow {
        id: id(row, 0)?,
        session: id(row, 1)?,
        kind: serde_json::from_str(&kind).map_err(|_| odd(2, &kind))?,
        deadline_ms: unsigned(row.get(3)?),
        state: known.ok_or_else(|| odd(4, &state))?,
        result: result
            .map(|text| serde_json::from_str(&text).map_err(|_| odd(5, &text)))
            .transpose()?,
        error: row.get(6)?,
        created_ms: unsigned(row.get(7)?),
        ended_ms: row.get::<_, Option<i64>>(8)?.map(unsigned),
    })
}

pub(super) fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("jobs hold nothing that JSON can't")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lost_job_is_offered_before_those_that_wait_and_ends_once() {
        let dir = tempfile::tempdir().unwrap();
        let (store, session) = Store::with_a_box(dir.path()).await;
        let [first, second] = [1, 2].map(JobId::from_bits);
        for job in [first, second] {
            assert!(store.add_job(job, session, &JobKind::Diagnose, 1000).await.unwrap());
        }
        assert_eq!(store.next_job(session).await.unwrap().unwrap().id, first);
        assert!(store.move_job(second, session, JobState::Running, None).await.unwrap());
        assert_eq!(store.next_job(session).await.unwrap().unwrap().id, second);
        let inline = JobResult::Inline {
            value: serde_json::json!({"ok": true}),
        };
        let stranger = JobId::from_bits(77);
        let end = async |job, outcome| store.end_job(job, session, outcome).await.unwrap();
        assert!(!end(stranger, Ok(inline.clone())).await);
        assert!(store.job(stranger).await.unwrap().is_none(), "nobody has asked for it");
        assert!(end(second, Ok(inline.clone())).await);
        assert!(!end(second, Err("late".into())).await);
        let row = store.job(second).await.unwrap().unwrap();
        assert_eq!((row.state, row.result, row.error), (JobState::Done, Some(inline), None));
        let stranger = PublicId::from_bits(9);
        assert!(!store.move_job(first, stranger, JobState::Running, None).await.unwrap());
        let third = JobId::from_bits(3);
        assert!(store.add_job(third, session, &JobKind::Diagnose, 1000).await.unwrap());
        store.move_job(third, session, JobState::Running, None).await.unwrap();
        let late = u64::MAX / 4;
        let state = async |job| store.job(job).await.unwrap().unwrap().state;
        store.tidy(late, 0, 0).await.unwrap();
        assert_eq!(
            (state(first).await, state(third).await),
            (JobState::Failed, JobState::Running)
        );
        store.tidy(late, late, 0).await.unwrap();
        assert_eq!(state(third).await, JobState::Failed);
        for more in 0..64 {
            let added = store
                .add_job(JobId::from_bits(100 + more), session, &JobKind::Diagnose, 1)
                .await
                .unwrap();
            assert_eq!(added, more < 32);
        }
    }
}
