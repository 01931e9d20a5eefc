//! Probes signaling's HTTP as viewers use it. A heartbeat alone does not say that it answers.

use std::{io, net::SocketAddr, time::Duration};

use framebridge_daemon::reach;
use framebridge_ipc::{RuntimeDir, connect_http, has_http_socket};
use rustix::io::Errno;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, timeout},
};

use crate::event::{Event, Target};

/// How long the system is given to say whether anybody listens; where it does not say, a flood is in the way.
const KNOCK: Duration = Duration::from_millis(200);

/// Any answer begins like this. What it says is for readiness to judge; that it comes is life.
const ANSWER: &[u8; 5] = b"HTTP/";

/// Asks the target every `every`, for ever, and reports whether it answered within `limit`.
pub(crate) async fn watch(
    dir: RuntimeDir,
    target: watch::Receiver<Target>,
    events: mpsc::Sender<Event>,
    every: Duration,
    limit: Duration,
) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some((pid, address)) = *target.borrow() else {
            continue;
        };
        let answered = match timeout(limit, ask(&dir, reach::local(address))).await {
            Ok(Ok(answered)) => answered,
            // That we can't ask says nothing of whom we would have asked.
            Ok(Err(error)) if is_our_own(&error) => continue,
            Ok(Err(_)) | Err(_) => false,
        };
        if events.send(Event::Probed { pid, answered }).await.is_err() {
            return;
        }
    }
}

/// Whether it is we who lack something: descriptors, memory, a port to ask from.
fn is_our_own(error: &io::Error) -> bool {
    let lacking = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOMEM,
        Errno::NOBUFS,
        Errno::ADDRNOTAVAIL,
    ];
    Errno::from_io_error(error).is_some_and(|errno| lacking.contains(&errno))
}

/// Asks by the socket of this machine's own processes, where no flood of strangers is in the way; that what strangers reach
/// listens, the system says. A server without such a socket is asked as they ask.
async fn ask(dir: &RuntimeDir, address: SocketAddr) -> io::Result<bool> {
    if !has_http_socket(dir) {
        return answers(TcpStream::connect(address).await?).await;
    }
    let answered = answers(connect_http(dir).await?).await?;
    let is_refused = matches!(
        timeout(KNOCK, TcpStream::connect(address)).await,
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused
    );
    Ok(answered && !is_refused)
}

async fn answers(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<bool> {
    let request = "GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut answer = [0; ANSWER.len()];
    stream.read_exact(&mut answer).await?;
    Ok(answer == *ANSWER)
}
