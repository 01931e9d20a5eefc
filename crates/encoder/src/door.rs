//! Where a source that is away shows that it is back.

use std::time::Duration;

use framebridge_config::Door;
use tokio::{
    fs,
    net::{TcpStream, UnixStream},
    time::{sleep, timeout},
};

/// How often it is tried whether a source that was away is back, and how long that may take: a camera that was restarted is shown as
/// soon as it is there.
const KNOCK_INTERVAL: Duration = Duration::from_millis(250);
const KNOCK_LIMIT: Duration = Duration::from_secs(1);

/// Waits until something answers there, or is there. Without a door nothing is waited for.
pub(crate) async fn answers(door: Option<Door>) {
    let Some(door) = door else {
        return std::future::pending().await;
    };
    loop {
        sleep(KNOCK_INTERVAL).await;
        if timeout(KNOCK_LIMIT, is_open(&door)).await.unwrap_or(false) {
            return;
        }
    }
}

async fn is_open(door: &Door) -> bool {
    match door {
        Door::Tcp(host, port) => TcpStream::connect((host.as_str(), *port)).await.is_ok(),
        Door::Unix(socket) => UnixStream::connect(socket).await.is_ok(),
        Door::Path(path) => fs::metadata(path).await.is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Long enough for any machine.
    const BOUND: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn socket_that_nobody_listens_on_is_no_open_door() {
        let folder = tempfile::tempdir().expect("a folder");
        let (socket, file) = (folder.path().join("socket"), folder.path().join("file"));
        drop(tokio::net::UnixListener::bind(&socket).expect("bound"));
        assert!(!is_open(&Door::Unix(socket.clone())).await, "it was left behind");
        std::fs::remove_file(&socket).expect("removed");
        let _listener = tokio::net::UnixListener::bind(&socket).expect("bound");
        let open = timeout(BOUND, answers(Some(Door::Unix(socket)))).await;
        assert!(open.is_ok());
        let path = Door::Path(file.clone());
        assert!(!is_open(&path).await);
        std::fs::write(&file, "").expect("written");
        assert!(timeout(BOUND, answers(Some(path))).await.is_ok());
    }
}
