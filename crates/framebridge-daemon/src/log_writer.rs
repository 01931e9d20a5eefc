//! Writes log lines to stderr on a thread of its own. Whoever logs never waits: stderr may be a stopped terminal, or a pipe
//! that nobody reads, and a process that waits for its log has frozen.

use std::{
    io::{self, Write as _},
    sync::{
        OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

/// Lines that may wait. Full: further lines are left out, and counted.
const QUEUE: usize = 1024;

/// How long the last lines may take at the end of the process.
const LAST_LINES: Duration = Duration::from_millis(300);

static WRITER: OnceLock<Writer> = OnceLock::new();

struct Writer {
    lines: SyncSender<Vec<u8>>,
    /// Lines that were handed over and are not written yet.
    waiting: AtomicUsize,
    /// Lines left out since that was last said.
    lost: AtomicU64,
}

/// Starts the thread that writes. `says_lost`: the line that says how many were left out.
///
/// # Errors
/// The system gives no thread.
pub(crate) fn start(says_lost: impl Fn(u64) -> Vec<u8> + Send + 'static) -> io::Result<()> {
    let (lines, queue) = sync_channel(QUEUE);
    let mut is_new = false;
    let writer = WRITER.get_or_init(|| {
        is_new = true;
        Writer {
            lines,
            waiting: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
        }
    });
    if is_new {
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write(writer, &queue, says_lost))?;
    }
    Ok(())
}

/// Hands a line over; it is left out where too many wait.
pub(crate) fn send(line: Vec<u8>) {
    let Some(writer) = WRITER.get() else { return };
    writer.waiting.fetch_add(1, SeqCst);
    if writer.lines.try_send(line).is_err() {
        writer.waiting.fetch_sub(1, SeqCst);
        writer.lost.fetch_add(1, SeqCst);
    }
}

/// Waits until all lines are written, and not for long.
pub(crate) fn finish() {
    let Some(writer) = WRITER.get() else { return };
    let until = Instant::now() + LAST_LINES;
    while writer.waiting.load(SeqCst) > 0 && Instant::now() < until {
        thread::yield_now();
    }
}

fn write(writer: &Writer, queue: &Receiver<Vec<u8>>, says_lost: impl Fn(u64) -> Vec<u8>) {
    for line in queue {
        let lost = writer.lost.swap(0, SeqCst);
        let mut stderr = io::stderr().lock();
        // Where stderr is closed there is nobody to tell.
        if lost > 0 {
            _ = stderr.write_all(&says_lost(lost));
        }
        _ = stderr.write_all(&line);
        writer.waiting.fetch_sub(1, SeqCst);
    }
}
