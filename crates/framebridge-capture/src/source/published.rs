//! What somebody publishes to us: signaling takes it, and gives it out by a socket.

use std::{path::PathBuf, time::Duration};

use ffmpeg_next::Error;

use super::SourceError;

/// Where signaling gives out what is published.
#[derive(Debug, Clone)]
pub struct Feed {
    /// The socket.
    pub socket: PathBuf,
    /// Where publishers send it, in words for people.
    pub endpoint: String,
}

/// Why nothing comes of it; `waited`: it was waited for that long.
pub(super) fn no_publisher(endpoint: String, code: Error, waited: Option<Duration>) -> SourceError {
    let has_no_socket = [libc::ENOENT, libc::ECONNREFUSED]
        .into_iter()
        .any(|errno| code == Error::Other { errno });
    match waited {
        Some(waited) => SourceError::NoKeyframe { endpoint, waited },
        None if has_no_socket => SourceError::NoFeed(endpoint),
        // Where there is no publisher the socket is closed at once.
        None => SourceError::Unpublished(endpoint),
    }
}
