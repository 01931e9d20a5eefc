//! Records what happened: the latest events in memory for whoever asks, more of them in a file of bounded size.

use std::{
    collections::VecDeque,
    env, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use framebridge_daemon::unix_ms;
use framebridge_proto::{millis, supervisor::JournalEntry};
use tokio::{
    fs::{File, OpenOptions},
    io::AsyncWriteExt as _,
    sync::mpsc,
};

/// Events in memory: some 200 KB, a fifth of what one answer may weigh, and a bad day's worth.
const REMEMBERED: usize = 1_000;

/// Past this the file becomes its own predecessor, and the predecessor before it goes.
const ROTATE_AT: u64 = 1 << 20;

/// Events on their way to the file. A disk that takes longer loses the file's copy, never the loop's time.
const QUEUE: usize = 256;

/// The events that are remembered.
#[derive(Debug)]
pub(crate) struct Journal {
    events: VecDeque<JournalEntry>,
    next: u64,
    file: Option<mpsc::Sender<JournalEntry>>,
}

/// What happened, before it has its number and its time.
#[derive(Debug)]
pub(crate) struct Note {
    pub(crate) process: String,
    pub(crate) what: String,
    pub(crate) verdict: String,
    pub(crate) action: String,
    /// Where this ends a trouble: how long it lasted.
    pub(crate) recovery: Option<Duration>,
}

impl Journal {
    /// Goes on where the file ends, in `$STATE_DIRECTORY` (systemd's), else in `runtime_dir`. The writer has to be
    /// run; it ends when the journal is closed.
    pub(crate) fn open(runtime_dir: &Path) -> (Self, Writer) {
        let dir = env::var_os("STATE_DIRECTORY").map_or_else(|| runtime_dir.to_owned(), PathBuf::from);
        let path = dir.join("journal.jsonl");
        let events = read(&path);
        let next = events.back().map_or(1, |last| last.sequence + 1);
        let (file, lines) = mpsc::channel(QUEUE);
        (
            Self {
                events,
                next,
                file: Some(file),
            },
            Writer { path, lines },
        )
    }

    /// Adds what happened just now.
    pub(crate) fn note(&mut self, note: Note) {
        let event = JournalEntry {
            sequence: self.next,
            unix_ms: unix_ms(),
            process: note.process,
            what: note.what,
            verdict: note.verdict,
            action: note.action,
            recovery_ms: note.recovery.map(millis),
        };
        self.next += 1;
        if self
            .file
            .as_ref()
            .is_none_or(|file| file.try_send(event.clone()).is_err())
        {
            tracing::debug!(
                sequence = event.sequence,
                "the journal's file is behind: an event is missing from it"
            );
        }
        self.events.push_back(event);
        if self.events.len() > REMEMBERED {
            self.events.pop_front();
        }
    }

    /// Nothing more reaches the file; the writer ends once it has written what is on its way.
    pub(crate) fn close(&mut self) {
        self.file = None;
    }

    /// What came after `sequence`, oldest first.
    pub(crate) fn after(&self, sequence: u64) -> Vec<JournalEntry> {
        self.events
            .iter()
            .filter(|event| event.sequence > sequence)
            .cloned()
            .collect()
    }
}

/// The last events of the file and its predecessor. Lines that make no sense, like one cut off by a crash, are left
/// out.
fn read(path: &Path) -> VecDeque<JournalEntry> {
    let mut events = VecDeque::new();
    for path in [&predecessor(path), path] {
        // By line, for one that was cut off may be no text.
        let bytes = fs::read(path).unwrap_or_default();
        let lines = bytes.split(|byte| *byte == b'\n');
        events.extend(lines.filter_map(|line| serde_json::from_slice(line).ok()));
    }
    events.drain(..events.len().saturating_sub(REMEMBERED));
    events
}

fn predecessor(path: &Path) -> PathBuf {
    path.with_extension("jsonl.1")
}

/// Appends events to the file.
#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    lines: mpsc::Receiver<JournalEntry>,
}

impl Writer {
    /// Writes until the journal is closed. A disk that refuses is reported once, and tried again with each event.
    pub(crate) async fn run(mut self) {
        let mut refused = false;
        while let Some(event) = self.lines.recv().await {
            match self.append(&event).await {
                Ok(()) => refused = false,
                Err(error) => {
                    if !std::mem::replace(&mut refused, true) {
                        tracing::warn!(%error, path = %self.path.display(), "the journal can't be written");
                    }
                }
            }
        }
    }

    async fn append(&self, event: &JournalEntry) -> io::Result<()> {
        let line = serde_json::to_string(event)?;
        let mut file = self.open().await?;
        if file.metadata().await?.len() >= ROTATE_AT {
            tokio::fs::rename(&self.path, predecessor(&self.path)).await?;
            file = self.open().await?;
        }
        // The break in front ends a line that a crash cut off.
        file.write_all(format!("\n{line}").as_bytes()).await?;
        file.flush().await
    }

    async fn open(&self) -> io::Result<File> {
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.path)
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(what: &str) -> Note {
        Note {
            process: "encoder-test".into(),
            what: what.into(),
            verdict: "3 heartbeats missed".into(),
            action: "ended".into(),
            recovery: Some(Duration::from_millis(1_500)),
        }
    }

    #[tokio::test]
    async fn next_supervisor_goes_on_where_the_file_ends() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut journal, writer) = Journal::open(dir.path());
        journal.note(note("running -> stalled"));
        journal.note(note("stalled -> backing-off"));
        drop(journal);
        writer.run().await;
        let path = dir.path().join("journal.jsonl");
        fs::write(&path, fs::read_to_string(&path).expect("written") + "\n{\"sequence\":9").expect("cut off");

        let (mut journal, writer) = Journal::open(dir.path());
        journal.note(note("backing-off -> starting"));
        let sequences = |journal: &Journal| journal.after(1).iter().map(|event| event.sequence).collect::<Vec<_>>();
        assert_eq!(sequences(&journal), [2, 3]);
        drop(journal);
        writer.run().await;
        assert_eq!(sequences(&Journal::open(dir.path()).0), [2, 3]);
    }

    #[tokio::test]
    async fn neither_memory_nor_disk_grows_past_its_bound() {
        let dir = tempfile::tempdir().expect("a directory");
        for _ in 0..40 {
            let (mut journal, writer) = Journal::open(dir.path());
            (0..QUEUE).for_each(|_| journal.note(note("running -> stalled")));
            assert!(journal.after(0).len() <= REMEMBERED);
            drop(journal);
            writer.run().await;
        }
        let files = fs::read_dir(dir.path())
            .expect("there")
            .map(|file| file.expect("there").metadata().expect("there"));
        let sizes: Vec<_> = files.map(|file| file.len()).collect();
        assert_eq!(sizes.len(), 2);
        assert!(sizes.iter().all(|size| *size < ROTATE_AT + 1_000), "{sizes:?}");
        let journal = Journal::open(dir.path()).0;
        assert_eq!(journal.after(40 * 256 - 1).len(), 1);
    }

    #[tokio::test]
    async fn disk_that_refuses_costs_only_the_files_copy() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("journal.jsonl")).expect("in the way");
        let (mut journal, writer) = Journal::open(dir.path());
        journal.note(note("running -> stalled"));
        assert_eq!(journal.after(0).len(), 1);
        drop(journal);
        writer.run().await;
    }
}
