//! This box's token at its studio: given, or in a file that nobody else reads.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use framebridge_config::StudioToken;
use framebridge_studio_proto::limits::MAX_TOKEN;

/// The bits of a file's mode that let others than its owner and its group do something with it.
const OTHERS: u32 = 0o007;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// The system refused.
    #[error("studio.token_file: can't read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// It is no secret.
    #[error("studio.token_file: everybody on this machine may use {}: give it mode 640 or less", path.display())]
    Open { path: PathBuf },
    /// It holds something else.
    #[error("studio.token_file: {} does not hold one token of up to {MAX_TOKEN} characters", path.display())]
    Malformed { path: PathBuf },
}

/// The token itself.
///
/// # Errors
/// It is in a file that can't be read, that others may use, or that holds something else.
pub(crate) fn read(token: &StudioToken) -> Result<String, TokenError> {
    match token {
        StudioToken::Given(token) => Ok(token.clone()),
        StudioToken::File(path) => of_file(path),
    }
}

fn of_file(path: &Path) -> Result<String, TokenError> {
    let path = path.to_owned();
    let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.mode(), file)));
    let (mode, file) = match opened {
        Ok(opened) => opened,
        Err(source) => return Err(TokenError::Read { path, source }),
    };
    if mode & OTHERS != 0 {
        return Err(TokenError::Open { path });
    }
    let mut text = String::new();
    // With a line's end behind it, and one byte that is too much.
    let most = u64::try_from(MAX_TOKEN).unwrap_or(u64::MAX) + 3;
    match file.take(most).read_to_string(&mut text) {
        Ok(_) => {}
        Err(source) if source.kind() == io::ErrorKind::InvalidData => return Err(TokenError::Malformed { path }),
        Err(source) => return Err(TokenError::Read { path, source }),
    }
    let token = text.trim();
    let is_token = (1..=MAX_TOKEN).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
    is_token.then(|| token.to_owned()).ok_or(TokenError::Malformed { path })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn token_is_read_from_a_file_that_is_not_for_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let read = |text: &[u8], mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            read(&StudioToken::File(path.clone())).map_err(|error| error.to_string())
        };
        assert_eq!(read(b"fbt_00\n", 0o600).as_deref(), Ok("fbt_00"));
        assert_eq!(read(b" fbt_00 ", 0o640).as_deref(), Ok("fbt_00"));
        for mode in [0o604, 0o602, 0o644] {
            let error = read(b"fbt_00\n", mode).unwrap_err();
            assert!(error.contains("mode 640"), "{error}");
        }
        for text in [&b""[..], b"\n", b"two words", b"\xff", &[b'x'; MAX_TOKEN + 1]] {
            let error = read(text, 0o600).unwrap_err();
            assert!(error.contains("does not hold one token"), "{error}");
        }
        fs::remove_file(&path).unwrap();
        let error = super::read(&StudioToken::File(path.clone())).unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }
}
