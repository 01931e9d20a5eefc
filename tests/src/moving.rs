//! A viewer's network to which a machine's address changes: a link for media whose end here gets another address, and one for
//! pages that keeps its own.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::ensure;

use crate::{internet::Networks, process::command};

/// Makes the namespace `$1-viewer` and two links to it.
const BUILD: &str = r#"
there() { ip netns exec "$name-viewer" "$@"; }
name=$1
ip netns add "$name-viewer"
there ip link set lo up
number=121
for link in media pages; do
    # The one before may be on its way out.
    ip link delete "fb-$link" 2>/dev/null || true
    ip link add "fb-$link" type veth peer name "$link" netns "$name-viewer"
    ip address add "198.18.$number.1/24" dev "fb-$link"
    ip link set "fb-$link" up
    there ip address add "198.18.$number.2/24" dev "$link"
    # An address that comes by itself a second later is a change of network to a browser, which gives up what it loads.
    there ip link set "$link" addrgenmode none
    there ip link set "$link" up
    number=$((number + 1))
done
"#;

/// Gives the link for media another address here.
const MOVE: &str = "ip address delete 198.18.121.1/24 dev fb-media; ip address add 198.18.121.3/24 dev fb-media";

/// What comes by the link for media has to be an answer.
const CLOSE: &str = r#"
table inet closed {
  chain coming {
    type filter hook input priority 0;
    iifname "media" ct state established accept
    iifname "media" meta l4proto udp drop
  }
}
"#;

/// The network; it goes when this is dropped.
#[derive(Debug)]
pub struct Moving {
    networks: Networks,
    _one: MutexGuard<'static, ()>,
}

/// Its links have names of their own. Taken before a [`System`](crate::system::System) is started, which waits, too.
static ONE: Mutex<()> = Mutex::new(());

impl Moving {
    /// This machine's address for media, one of those for benchmarks (RFC 2544), until it changes.
    pub const MEDIA: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 121, 1));
    /// Its address on the other link.
    pub const PAGES: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 122, 1));
    /// What this machine calls the link for media.
    pub const LINK: &'static str = "fb-media";

    /// Makes it, one at a time. `None`: only root may.
    ///
    /// # Errors
    /// The system refuses.
    pub fn build() -> anyhow::Result<Option<Self>> {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Networks::build(BUILD, &["viewer"])?.map(|networks| Self { networks, _one: one }))
    }

    /// This machine's address for media becomes another one.
    ///
    /// # Errors
    /// The system refuses.
    pub fn change(&self) -> anyhow::Result<()> {
        let output = command("sh").args(["-ec", MOVE]).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "changing an address: {said}");
        Ok(())
    }

    /// From now on a firewall before the viewer lets in only what answers, on the link for media.
    ///
    /// # Errors
    /// The system refuses.
    pub fn close(&self) -> anyhow::Result<()> {
        self.there(|| {
            let closed = command("nft").arg(CLOSE).output()?;
            let said = String::from_utf8_lossy(&closed.stderr);
            ensure!(closed.status.success(), "nft: {said}");
            Ok(())
        })
    }

    /// Does `work` on this thread as if it was there: what it starts is in that network.
    ///
    /// # Errors
    /// The system refuses, or `work` fails.
    pub fn there<T>(&self, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        self.networks.at("viewer", work)
    }
}
