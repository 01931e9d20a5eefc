//! The bytes of jobs' results: files that are taken whole or not at all, and thrown away in time.

use std::{
    fs, io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
};
use framebridge_studio_proto::{JobId, limits::MAX_UPLOAD};
use futures_util::StreamExt as _;
use tokio::{io::AsyncWriteExt as _, time::timeout};

use crate::{
    auth::{self, Kind},
    hub::Hub,
    problem::Problem,
    random,
};

/// Uploads that are taken at once.
pub(crate) const MOST_AT_ONCE: usize = 16;

/// Nothing has come for so long: whoever uploads is gone.
const IDLE: Duration = Duration::from_secs(60);

/// How the name of a file ends that is not whole yet.
const PART: &str = ".part";

/// A file that has not been written to for so long is nobody's.
const ABANDONED: Duration = Duration::from_secs(600);

/// Takes the bytes of a job's result from the box that does it. Repeating it does no harm.
pub(crate) async fn put(
    State(hub): State<Arc<Hub>>,
    Path(job): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let tokens = hub.store.current_tokens().await?;
    let given = auth::presented(&headers).unwrap_or_default();
    let token = auth::find(&tokens, &given, Kind::Box).ok_or_else(|| {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "This takes the token of a box.",
        )
    })?;
    let id: JobId = job.parse().map_err(|_| Problem::not_found())?;
    let Some(job) = hub.store.job(id).await? else {
        // Another node's, it may be, of which this one has not heard yet.
        return Err(if hub.nodes.are_there() {
            let detail = "This node of the studio does not know the job (yet).";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unknown_job", detail).retry_after(Duration::from_secs(5))
        } else {
            Problem::not_found()
        });
    };
    let owner = hub.session(job.session).map(|session| session.name.clone());
    if owner.as_ref() != Some(&token.name) {
        return Err(Problem::not_found());
    }
    if job.ended_ms.is_some() {
        let detail = "The job has ended: nobody waits for what came of it.";
        return Err(Problem::new(StatusCode::GONE, "job_ended", detail));
    }
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > MAX_UPLOAD) {
        return Err(too_large());
    }
    let _place = hub.uploading.try_acquire().map_err(|_full| {
        let detail = "So many uploads are under way that this one has to wait.";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).retry_after(Duration::from_secs(1))
    })?;
    let whole = hub.uploads.join(id.to_string());
    // Its own: an attempt that was given up may still be under way.
    let part = hub.uploads.join(format!("{id}.{:x}{PART}", random::bits()));
    let written = write(&part, body).await;
    let outcome = match written {
        Ok(()) => tokio::fs::rename(&part, &whole).await.map_err(disk),
        Err(problem) => Err(problem),
    };
    if outcome.is_err() {
        // It may never have been made.
        _ = tokio::fs::remove_file(&part).await;
    }
    outcome?;
    tidy(&hub).await;
    Ok(StatusCode::NO_CONTENT)
}

async fn write(path: &PathBuf, body: Body) -> Result<(), Problem> {
    let mut file = tokio::fs::File::create(path).await.map_err(disk)?;
    let mut chunks = body.into_data_stream();
    let mut left = MAX_UPLOAD;
    loop {
        let broken = || Problem::new(StatusCode::REQUEST_TIMEOUT, "broken_off", "The upload broke off.");
        let Some(chunk) = timeout(IDLE, chunks.next()).await.map_err(|_idle| broken())? else {
            break;
        };
        let chunk = chunk.map_err(|_| broken())?;
        left = left.checked_sub(chunk.len() as u64).ok_or_else(too_large)?;
        file.write_all(&chunk).await.map_err(disk)?;
    }
    file.sync_all().await.map_err(disk)
}

fn too_large() -> Problem {
    let detail = format!("An upload may have {MAX_UPLOAD} bytes.");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
}

pub(crate) fn disk(error: io::Error) -> Problem {
    tracing::error!("an upload can't be written or read: {error}");
    Problem::new(
        StatusCode::INSUFFICIENT_STORAGE,
        "storage",
        "The studio can't write or read the upload just now.",
    )
}

/// Throws away what is too old, then the oldest until the rest is small enough.
pub(crate) async fn tidy(hub: &Arc<Hub>) {
    let (folder, keep) = (hub.uploads.clone(), hub.keep);
    let done = tokio::task::spawn_blocking(move || {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            // One that is whole by now has another name.
            let Ok(about) = entry.metadata() else { continue };
            files.push((about.modified()?, about.len(), entry.path()));
        }
        for path in surplus(files, SystemTime::now(), keep) {
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!("{} can't be thrown away: {error}", path.display());
            }
        }
        Ok::<_, io::Error>(())
    });
    if let Ok(Err(error)) = done.await {
        tracing::warn!("the uploads can't be listed: {error}");
    }
}

/// What to throw away. Files that are being written are left alone, and so is the newest, whose job is about to end.
fn surplus(
    mut files: Vec<(SystemTime, u64, PathBuf)>,
    now: SystemTime,
    keep: crate::hub::Keep,
) -> impl Iterator<Item = PathBuf> {
    files.sort_by_key(|(written, ..)| std::cmp::Reverse(*written));
    let mut kept = 0_u64;
    files.into_iter().filter_map(move |(written, size, path)| {
        let age = now.duration_since(written).unwrap_or_default();
        let is_surplus = if path.to_string_lossy().ends_with(PART) {
            age > ABANDONED
        } else {
            let is_newest = kept == 0;
            kept = kept.saturating_add(size);
            age > keep.age || (kept > keep.bytes && !is_newest)
        };
        is_surplus.then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Keep;

    #[test]
    fn old_files_go_first_and_the_newest_stay_within_the_cap() {
        let now = SystemTime::now();
        let file = |age, size, name: &str| (now - Duration::from_secs(age), size, PathBuf::from(name));
        let files = vec![
            file(10, 40, "b"),
            file(5, 40, "a"),
            file(20, 40, "c"),
            file(99, 1, "old"),
            file(98, 1, "written.1.part"),
            file(601, 1, "given up.2.part"),
        ];
        let keep = Keep {
            age: Duration::from_secs(50),
            bytes: 100,
        };
        let gone: Vec<_> = surplus(files, now, keep).collect();
        assert_eq!(gone, ["c", "old", "given up.2.part"].map(PathBuf::from));
        let large = vec![file(5, 400, "large"), file(6, 1, "other")];
        assert_eq!(surplus(large, now, keep).collect::<Vec<_>>(), [PathBuf::from("other")]);
    }
}
