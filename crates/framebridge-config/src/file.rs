//! Reads a configuration file, whatever is in its place.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::Path,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The most that a file may hold, bytes: 48 streams with all their keys are some 40 KiB.
const LONGEST: u64 = 1024 * 1024;

/// How long whoever writes into a pipe may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The text of a file, which is read again at each reload; a pipe has then been read out.
///
/// # Errors
/// It can't be read, is a pipe without a writer, is too long, or is no text; which of these it is.
pub fn read_file(path: &Path) -> io::Result<String> {
    // A pipe to which nobody writes would otherwise hold up whoever opens it.
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
    let mut bytes = Vec::new();
    if file.metadata()?.file_type().is_fifo() {
        drain(&file, &mut bytes)?;
    } else {
        (&file).take(LONGEST + 1).read_to_end(&mut bytes)?;
    }
    text(bytes)
}

/// Reads what somebody writes into a pipe, as a shell does for `<(...)`.
fn drain(pipe: &File, bytes: &mut Vec<u8>) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        match pipe.take(LONGEST + 1 - bytes.len() as u64).read_to_end(bytes) {
            Ok(_) if bytes.is_empty() => return Err(no_text("it is a pipe into which nobody writes")),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(no_text("it is a pipe whose writer does not come to an end"));
        }
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&left))?;
    }
}

/// What is there is no configuration, also when it is read again.
fn no_text(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

fn text(bytes: Vec<u8>) -> io::Result<String> {
    if bytes.len() as u64 > LONGEST {
        return Err(no_text(format!("it has more than {} KiB", LONGEST / 1024)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        no_text(format!("line {line} is no text in UTF-8"))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_no_file_of_text_is_named_and_never_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let said = |name: &str| read_file(&folder.path().join(name)).expect_err(name).to_string();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .expect("a pipe");
        assert!(said("pipe").contains("it is a pipe into which nobody writes"));
        // Both ends are open, and nothing comes.
        let silent = OpenOptions::new().read(true).write(true).open(&pipe).expect("opened");
        assert!(said("pipe").contains("does not come to an end"));
        drop(silent);
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
        let writing = std::thread::spawn(move || {
            io::Write::write_all(&mut writer, b"[http]\n").expect("read");
            io::Write::write_all(&mut writer, b"# more\n").expect("read");
        });
        assert_eq!(read_file(Path::new(&path)).expect("text"), "[http]\n# more\n");
        writing.join().expect("written");
        fs::write(folder.path().join("latin"), b"[http]\n# k\xfcche\n").expect("written");
        assert_eq!(said("latin"), "line 2 is no text in UTF-8");
        assert!(said(".").contains("directory"));
        assert!(read_file(Path::new("/dev/zero")).is_err());
        assert_eq!(read_file(Path::new("/dev/null")).expect("empty"), "");
        fs::write(folder.path().join("good"), "\u{feff}[http]\r\n").expect("written");
        assert_eq!(
            read_file(&folder.path().join("good")).expect("text"),
            "\u{feff}[http]\r\n"
        );
    }
}
