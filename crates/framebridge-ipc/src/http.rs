//! The socket on which signaling answers this machine's own processes: HTTP, apart from what strangers reach. Only what comes
//! here is believed when it says for whom it asks.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::PathBuf};

use rustix::process::geteuid;
use tokio::net::UnixStream;

use crate::{
    place::Place,
    runtime_dir::RuntimeDir,
    socket::{BindError, Bound, credentials, open},
};

const SOCKET: &str = "http.sock";

/// The superuser may do everything anyway.
const ROOT: u32 = 0;

/// Accepts connections of this user's own processes.
#[derive(Debug)]
pub struct HttpListener(Bound);

impl HttpListener {
    /// Binds the socket in `dir`; see [`Listener::bind`](crate::Listener::bind).
    ///
    /// # Errors
    /// A live process holds it (named by its pid), or the system refuses.
    pub async fn bind(dir: &RuntimeDir) -> Result<Self, BindError> {
        Ok(Self(Bound::at(&Place::from(&path(dir))).await?))
    }

    /// The next connection of a process of our own user, or root's. Cancel-safe.
    ///
    /// # Errors
    /// The system's; it is worth trying again after a pause.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let stream = self.0.next().await?;
            let uid = credentials(&stream)?.uid;
            if uid == geteuid().as_raw() || uid == ROOT {
                return Ok(stream);
            }
            tracing::warn!(uid, "closed a connection of another user");
        }
    }
}

/// Whether a signaling that serves `dir` has such a socket. One that was killed leaves its file until the next takes its place.
pub fn has_http_socket(dir: &RuntimeDir) -> bool {
    path(dir).exists()
}

/// Connects to the signaling that serves `dir`.
///
/// # Errors
/// Nobody listens there, or it is another user than ours or the directory's.
pub async fn connect_http(dir: &RuntimeDir) -> io::Result<UnixStream> {
    let stream = open(&path(dir)).await?;
    let uid = credentials(&stream)?.uid;
    if uid == geteuid().as_raw() || uid == fs::metadata(dir.path())?.uid() {
        Ok(stream)
    } else {
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{} belongs to uid {uid}", path(dir).display()),
        ))
    }
}

fn path(dir: &RuntimeDir) -> PathBuf {
    dir.path().join(SOCKET)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn processes_of_one_user_reach_each_other() {
        let folder = tempfile::tempdir().expect("a directory");
        let dir = RuntimeDir::at(folder.path());
        let missing = connect_http(&dir).await.expect_err("nobody listens");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        let listener = HttpListener::bind(&dir).await.expect("bound");
        let (accepted, connected) = tokio::join!(listener.accept(), connect_http(&dir));
        let (mut accepted, mut connected) = (accepted.expect("accepted"), connected.expect("connected"));
        connected.write_all(b"ask").await.expect("written");
        let mut asked = [0; 3];
        accepted.read_exact(&mut asked).await.expect("read");
        assert_eq!(&asked, b"ask");
    }
}
