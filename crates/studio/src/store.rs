//! Stores what has to last in SQLite: tokens, sessions, shares and jobs. Only this module knows SQL.

mod jobs;
mod records;
mod schema;
mod sessions;
mod shares;
mod tokens;

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, Row};

pub(crate) use jobs::{JobRow, JobState};
pub(crate) use records::Record;
pub(crate) use sessions::{MOST_SESSIONS, SessionRow};
pub(crate) use shares::{MOST_SHARES, ShareHash, ShareRow};
pub(crate) use tokens::{Kind, TokenRow};

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
        source: io::Error,
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

impl Store {
    /// Opens the records of `dir`, which is made if need be.
    pub(crate) fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join("studio.sqlite");
        keep_to_ourselves(dir, &path).map_err(|source| StoreError::Directory {
            path: dir.to_owned(),
            source,
        })?;
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
}

#[cfg(test)]
impl Store {
    /// The records of an empty directory, and the session of a box in them.
    pub(crate) async fn with_a_box(dir: &Path) -> (Self, framebridge_studio_proto::PublicId) {
        use framebridge_studio_proto::{BoxId, PublicId};
        let store = Self::open(dir).unwrap();
        store.add_token("door", Kind::Box, &[7; 32]).unwrap();
        let (instance, fresh) = (BoxId::from_bits(1), PublicId::from_bits(1));
        let session = store.session_of("door".into(), instance, fresh).await.unwrap();
        let (row, _forgotten) = session.unwrap();
        (store, row.id)
    }

    /// So many rows have been written since this was opened.
    pub(crate) fn written(&self) -> Result<u64, StoreError> {
        self.now("count what was written", |db| {
            db.query_row("SELECT total_changes()", [], |row| row.get::<_, i64>(0))
                .map(unsigned)
        })
    }
}

/// Makes the directory and the database, or narrows the modes of those that are there: addresses in them are permissions. SQLite
/// gives its other files the mode of the database.
fn keep_to_ourselves(dir: &Path, database: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let mut options = fs::OpenOptions::new();
    drop(options.append(true).create(true).mode(0o600).open(database)?);
    let ours = rustix::process::geteuid().as_raw();
    let beside = |suffix: &str| PathBuf::from(format!("{}{suffix}", database.display()));
    let (log, index) = (beside("-wal"), beside("-shm"));
    for (path, mode) in [(dir, 0o700), (database, 0o600), (&log, 0o600), (&index, 0o600)] {
        let Ok(found) = fs::metadata(path) else { continue };
        // What belongs to another user is that user's to narrow.
        if found.mode() & 0o077 != 0 && found.uid() == ours {
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        }
    }
    Ok(())
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

    #[test]
    fn records_are_for_our_eyes_only_whoever_made_the_directory() {
        let outer = tempfile::tempdir().unwrap();
        let dir = outer.path().join("data");
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(dir.join("studio.sqlite"), "").unwrap();
        fs::set_permissions(dir.join("studio.sqlite"), fs::Permissions::from_mode(0o644)).unwrap();
        let store = Store::open(&dir).unwrap();
        store.add_token("door", Kind::Box, &[7; 32]).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700);
        for file in fs::read_dir(&dir).unwrap() {
            let path = file.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }
}
