//! Follows this machine's addresses: they come and go with its networks, and viewers who play from one that went are to be reached
//! from another.

use std::{io, os::unix::net::UnixDatagram as StdDatagram, time::Duration};

use framebridge_rtc::Handle;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, netlink::SocketAddrNetlink, socket_with};
use tokio::{
    net::UnixDatagram,
    task::spawn_blocking,
    time::{sleep, timeout},
};

/// The kernel's groups of messages that are of interest (linux/rtnetlink.h): links, addresses of IPv4, and of IPv6.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// An address is some messages, and a network that changes some addresses: one look is enough for those that come so close.
const SETTLING: Duration = Duration::from_millis(50);

/// How often one looks where the kernel can't be asked to tell, as in some sandboxes.
const LOOK: Duration = Duration::from_secs(2);

/// How often one looks all the same: words that found no room are lost.
const SELDOM: Duration = Duration::from_secs(30);

/// Has the media plane look at this machine's addresses whenever they may have changed.
pub(crate) async fn follow(engine: Handle) {
    let news = match subscribe() {
        Ok(news) => Some(news),
        Err(error) => {
            tracing::warn!(%error, "the kernel does not tell of changed addresses: looking each {} s", LOOK.as_secs());
            None
        }
    };
    loop {
        // While networks change, the kernel may have whoever asks wait.
        let asking = engine.clone();
        _ = spawn_blocking(move || asking.look_at_addresses()).await;
        match &news {
            Some(news) => {
                // It is late at most.
                _ = timeout(SELDOM, hear(news)).await;
                sleep(SETTLING).await;
                // Words that have come meanwhile say no more.
                while news.try_recv(&mut [0; 64]).is_ok() {}
            }
            None => sleep(LOOK).await,
        }
    }
}

/// A socket that the kernel tells of changes. It is a datagram socket like others, and a runtime only reads from it.
fn subscribe() -> io::Result<UnixDatagram> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // No protocol is number 0: NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
    UnixDatagram::from_std(StdDatagram::from(socket))
}

/// Waits for a word. What it says is read from the system itself; an error says that some were lost, which is news, too.
async fn hear(news: &UnixDatagram) {
    _ = news.recv(&mut [0; 64]).await;
}
