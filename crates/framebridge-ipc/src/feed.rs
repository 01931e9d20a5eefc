//! The socket on which a stream's encoder is given what somebody publishes: bytes of a container, and no messages, for FFmpeg is
//! what reads them.

use std::io;

use framebridge_proto::StreamName;
use rustix::process::geteuid;
use tokio::net::UnixStream;

use crate::{
    place::Others,
    runtime_dir::RuntimeDir,
    socket::{BindError, Bound, credentials},
};

/// The superuser may do everything anyway.
const ROOT: u32 = 0;

/// Accepts connections of one stream's encoder.
#[derive(Debug)]
pub struct FeedListener {
    bound: Bound,
    others: Others,
}

impl FeedListener {
    /// Binds the socket of `stream` in `dir`, or in its encoder's own directory; see [`Listener::bind`](crate::Listener::bind).
    ///
    /// # Errors
    /// A live process holds it, or the system refuses: an encoder's own directory may not be there yet.
    pub async fn bind(dir: &RuntimeDir, stream: &StreamName) -> Result<Self, BindError> {
        let place = dir.feed_place(stream);
        Ok(Self {
            bound: Bound::at(&place).await?,
            others: place.others,
        })
    }

    /// The next connection of our own user, of the encoder's, or root's. Cancel-safe.
    ///
    /// # Errors
    /// The system's; it is worth trying again after a pause.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let stream = self.bound.next().await?;
            let uid = credentials(&stream)?.uid;
            if uid == geteuid().as_raw() || uid == ROOT || self.others.include(uid) {
                return Ok(stream);
            }
            tracing::warn!(uid, "closed a connection of another user");
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn feed_is_beside_the_encoders_socket_and_is_read_to_its_end() {
        let folder = tempfile::tempdir().expect("a directory");
        let (dir, name) = (RuntimeDir::at(folder.path()), "door".parse().expect("a name"));
        let listener = FeedListener::bind(&dir, &name).await.expect("bound");
        assert_eq!(dir.feed(&name), folder.path().join("whip-door.sock"));
        let (given, taken) = tokio::join!(listener.accept(), UnixStream::connect(dir.feed(&name)));
        let (mut given, mut taken) = (given.expect("accepted"), taken.expect("connected"));
        given.write_all(b"film").await.expect("written");
        drop(given);
        let mut read = Vec::new();
        taken.read_to_end(&mut read).await.expect("read");
        assert_eq!(read, b"film");
    }
}
