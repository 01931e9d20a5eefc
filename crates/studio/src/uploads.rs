//! The bytes of jobs' results: files that are taken whole or not at all, and thrown away in time.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path as FilePath, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use axum::{body::Body, http::StatusCode};
use framebridge_studio_proto::{JobId, PublicId, limits::MAX_UPLOAD};
use futures_util::StreamExt as _;
use tokio::{
    io::AsyncWriteExt as _,
    time::{Instant, timeout},
};

use crate::{problem::Problem, random};

/// Uploads that are taken at once.
const MOST_AT_ONCE: usize = 16;

/// Uploads of one box: it makes one at a time, and an attempt that it gave up may still be under way.
const MOST_PER_BOX: usize = 2;

/// Bytes a second below which an upload is given up, and when that counts first: a place is not to be held by crumbs.
const LOWEST_RATE: u64 = 16 * 1024;
const FROM: Duration = Duration::from_secs(30);

/// Silence after which the uploader is gone.
const IDLE: Duration = Duration::from_secs(60);

/// How the name of a file ends that is not whole yet.
const PART: &str = ".part";

/// A file that has not been written to for this long is nobody's.
const ABANDONED: Duration = Duration::from_secs(600);

/// Where the files are, and who brings one.
#[derive(Debug)]
pub(crate) struct Uploads {
    folder: PathBuf,
    pub(crate) keep: Keep,
    /// How many each box brings.
    under_way: Mutex<BTreeMap<PublicId, usize>>,
}

/// How much of the jobs' files is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keep {
    pub(crate) age: Duration,
    pub(crate) bytes: u64,
}

/// A place for an upload; given back when dropped.
#[derive(Debug)]
struct Place<'a> {
    uploads: &'a Uploads,
    of: PublicId,
}

impl Uploads {
    pub(crate) fn new(folder: PathBuf, keep: Keep) -> Self {
        Self {
            folder,
            keep,
            under_way: Mutex::default(),
        }
    }

    /// Makes the folder, for our eyes only.
    pub(crate) fn make(folder: &FilePath) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
    }

    /// Where the file of a job is, if there is one.
    pub(crate) fn file(&self, job: JobId) -> PathBuf {
        self.folder.join(job.to_string())
    }

    pub(crate) fn folder(&self) -> &FilePath {
        &self.folder
    }

    fn take_place(&self, of: PublicId) -> Option<Place<'_>> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = under_way.values().sum();
        let own = under_way.get(&of).copied().unwrap_or_default();
        if all >= MOST_AT_ONCE || own >= MOST_PER_BOX {
            return None;
        }
        under_way.insert(of, own + 1);
        Some(Place { uploads: self, of })
    }

    /// Takes the bytes of a job's result from the box `of`; `length`: how many there are, where it is said.
    pub(crate) async fn receive(
        &self,
        job: JobId,
        of: PublicId,
        length: Option<u64>,
        body: Body,
    ) -> Result<(), Problem> {
        if length.is_some_and(|length| length > MAX_UPLOAD) {
            return Err(too_large());
        }
        let _place = self.take_place(of).ok_or_else(|| {
            let detail = "So many uploads are under way that this one has to wait.";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).retry_after(Duration::from_secs(1))
        })?;
        // Its own: an attempt that was given up may still be under way.
        let part = self.folder.join(format!("{job}.{:x}{PART}", random::bits()));
        let outcome = match write(&part, body).await {
            Ok(()) => tokio::fs::rename(&part, self.file(job)).await.map_err(disk),
            Err(problem) => Err(problem),
        };
        if outcome.is_err() {
            // It may never have been made.
            _ = tokio::fs::remove_file(&part).await;
        }
        outcome?;
        self.tidy().await;
        Ok(())
    }

    /// Throws away what is too old, then the oldest until the rest is small enough.
    pub(crate) async fn tidy(&self) {
        let (folder, keep) = (self.folder.clone(), self.keep);
        let done = tokio::task::spawn_blocking(move || throw_away(&folder, keep)).await;
        if let Ok(Err(error)) = done {
            tracing::warn!("the uploads can't be listed: {error}");
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut under_way = self.uploads.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = under_way.get_mut(&self.of) {
            *own -= 1;
            if *own == 0 {
                under_way.remove(&self.of);
            }
        }
    }
}

async fn write(path: &PathBuf, body: Body) -> Result<(), Problem> {
    let mut options = tokio::fs::OpenOptions::new();
    let create = options.write(true).create_new(true).mode(0o600);
    let mut file = create.open(path).await.map_err(disk)?;
    let mut chunks = body.into_data_stream();
    let mut left = MAX_UPLOAD;
    let begun = Instant::now();
    loop {
        let patience = patience(MAX_UPLOAD - left, begun.elapsed());
        if patience.is_zero() {
            let detail = format!("An upload has to bring {LOWEST_RATE} bytes a second.");
            return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "too_slow", detail));
        }
        let broken = || Problem::new(StatusCode::REQUEST_TIMEOUT, "broken_off", "The upload broke off.");
        let Some(chunk) = timeout(patience, chunks.next()).await.map_err(|_idle| broken())? else {
            break;
        };
        let chunk = chunk.map_err(|_| broken())?;
        left = left.checked_sub(chunk.len() as u64).ok_or_else(too_large)?;
        file.write_all(&chunk).await.map_err(disk)?;
    }
    file.sync_all().await.map_err(disk)
}

/// How long more is waited for, after so many bytes in such a time; none: they hold a place for nothing.
fn patience(bytes: u64, took: Duration) -> Duration {
    let earned = Duration::from_secs(bytes / LOWEST_RATE).max(FROM);
    earned.saturating_sub(took).min(IDLE)
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

fn throw_away(folder: &FilePath, keep: Keep) -> io::Result<()> {
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
    Ok(())
}

/// What to throw away. Files that are being written are left alone, and so is the newest, whose job is about to end.
fn surplus(mut files: Vec<(SystemTime, u64, PathBuf)>, now: SystemTime, keep: Keep) -> impl Iterator<Item = PathBuf> {
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

    #[test]
    fn box_holds_two_places_and_the_others_have_the_rest() {
        let keep = Keep {
            age: Duration::ZERO,
            bytes: 0,
        };
        let uploads = Uploads::new(PathBuf::new(), keep);
        let [one, other] = [1, 2].map(PublicId::from_bits);
        let held: Vec<_> = (0..4).filter_map(|_| uploads.take_place(one)).collect();
        assert_eq!(held.len(), MOST_PER_BOX);
        assert!(uploads.take_place(other).is_some());
        let more: Vec<_> = (10..100)
            .filter_map(|id| uploads.take_place(PublicId::from_bits(id)))
            .collect();
        assert_eq!(held.len() + more.len(), MOST_AT_ONCE);
        drop((held, more));
        assert!(uploads.take_place(one).is_some() && uploads.under_way.lock().unwrap().is_empty());
    }

    #[test]
    fn crumbs_do_not_hold_a_place() {
        let second = Duration::from_secs(1);
        assert_eq!(patience(1, FROM - second), second, "a slow start is no crime");
        assert!(patience(40, FROM).is_zero() && patience(LOWEST_RATE * 40, 40 * second).is_zero());
        assert_eq!(patience(LOWEST_RATE * 41, 40 * second), second);
        assert_eq!(patience(MAX_UPLOAD, second), IDLE);
    }

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
