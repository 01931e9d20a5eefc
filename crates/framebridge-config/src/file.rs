//! Reads a configuration file, whatever is in its place.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::Path,
};

/// The most that a file may hold, bytes: 48 streams with all their keys are some 40 KiB.
const LONGEST: u64 = 1024 * 1024;

/// The text of a file, which is read again at each reload.
///
/// # Errors
/// It can't be read, is no file, is too long, or is no text; which of these it is.
pub fn read_file(path: &Path) -> io::Result<String> {
    // A pipe to which nobody writes would otherwise hold up whoever opens it.
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_fifo() || kind.is_socket() {
        return Err(io::Error::other(
            "it is a pipe, and would be read again at each reload: name a file",
        ));
    }
    text(&file)
}

fn text(file: &File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(io::Error::other(format!("it has more than {} KiB", LONGEST / 1024)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        io::Error::other(format!("line {line} is no text in UTF-8"))
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
        assert!(said("pipe").contains("it is a pipe"));
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
