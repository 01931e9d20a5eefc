//! A network that lets no UDP through: a viewer's namespace, and the link to it.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::ensure;

use crate::{internet::Networks, process::command};

/// Makes the namespace `$1-viewer` and a link to it. What it sends by UDP goes nowhere.
const BUILD: &str = r#"
there() { ip netns exec "$name-viewer" "$@"; }
name=$1
ip netns add "$name-viewer"
there ip link set lo up
# The one before may be on its way out.
ip link delete fb-no-udp 2>/dev/null || true
ip link add fb-no-udp type veth peer name wan netns "$name-viewer"
ip address add 198.18.117.1/30 dev fb-no-udp
ip link set fb-no-udp up
there ip address add 198.18.117.2/30 dev wan
# An address that comes by itself a second later is a change of network to a browser, which gives up what it loads.
there ip link set wan addrgenmode none
there ip link set wan up
there nft -f - <<END
table inet blocked {
  chain leaving { type filter hook output priority 0; oifname "wan" meta l4proto udp drop; }
}
END
"#;

/// The network; it goes when this is dropped.
#[derive(Debug)]
pub struct NoUdp {
    networks: Networks,
    _one: MutexGuard<'static, ()>,
}

/// Its link has a name of its own. Taken before a [`System`](crate::system::System) is started, which waits, too.
static ONE: Mutex<()> = Mutex::new(());

impl NoUdp {
    /// This machine's address on it: one of those for benchmarks (RFC 2544).
    pub const HERE: IpAddr = IpAddr::V4(Self::HERE_V4);
    /// It again, for who takes no others.
    pub const HERE_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 117, 1);

    /// Makes it, one at a time. `None`: only root may.
    ///
    /// # Errors
    /// The system refuses.
    pub fn build() -> anyhow::Result<Option<Self>> {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Networks::build(BUILD, &["viewer"])?.map(|networks| Self { networks, _one: one }))
    }

    /// From now on it lets UDP through.
    ///
    /// # Errors
    /// The system refuses.
    pub fn lift(&self) -> anyhow::Result<()> {
        self.there(|| {
            let lifted = command("nft").args(["delete", "table", "inet", "blocked"]).status()?;
            ensure!(lifted.success(), "nft: {lifted}");
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
