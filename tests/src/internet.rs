//! Networks of one's own, and among them an internet: a studio in the middle, a box and a viewer each behind a NAT.

use std::{
    fs::File,
    os::fd::AsFd as _,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use anyhow::{Context as _, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::process::{command, may_make};

/// Where the servers in the middle are: an address of those for benchmarks (RFC 2544).
pub const SERVER: &str = "198.18.113.129";

/// Makes the network namespaces `$1-net`, and for the box (1) and the viewer (2) a network and the NAT before it: what comes
/// from inside goes out under the NAT's address and any port, what comes from outside has to be an answer.
const BUILD: &str = r#"
there() { namespace=$1; shift; ip netns exec "$name-$namespace" "$@"; }
name=$1
for namespace in net nat1 nat2 box viewer; do
    ip netns add "$name-$namespace"
    there $namespace ip link set lo up
done
there net ip address add 198.18.113.129/32 dev lo
there net sysctl -qw net.ipv4.ip_forward=1
for side in 1 2; do
    case $side in 1) inside=box ;; *) inside=viewer ;; esac
    there net ip link add side$side type veth peer name wan netns "$name-nat$side"
    there nat$side ip link add lan type veth peer name wan netns "$name-$inside"
    there net ip address add 198.18.113.$((side * 4 + 1))/30 dev side$side
    there nat$side ip address add 198.18.113.$((side * 4 + 2))/30 dev wan
    there nat$side ip address add 10.0.$side.1/24 dev lan
    there $inside ip address add 10.0.$side.2/24 dev wan
    there net ip link set side$side up
    there nat$side ip link set wan up
    there nat$side ip link set lan up
    # An address that comes by itself a second later is a change of network to a browser, which gives up what it loads.
    there $inside ip link set wan addrgenmode none
    there $inside ip link set wan up
    there nat$side ip route add default via 198.18.113.$((side * 4 + 1))
    there $inside ip route add default via 10.0.$side.1
    there nat$side sysctl -qw net.ipv4.ip_forward=1
    there nat$side nft -f - <<END
table ip nat {
  chain leaving {
    type nat hook postrouting priority 100;
    oifname "wan" masquerade fully-random
  }
  chain passing {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    iifname "lan" accept
  }
}
END
done
"#;

/// Whose network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the middle.
    Studio,
    /// Behind the first NAT.
    Box,
    /// Behind the second.
    Viewer,
}

/// How many there were.
static BUILT: AtomicU32 = AtomicU32::new(0);

/// Network namespaces that a script has made; they go when this is dropped.
#[derive(Debug)]
pub(crate) struct Networks {
    name: String,
    namespaces: &'static [&'static str],
}

impl Networks {
    /// Has a script make `$1-` and each of the names. `None`: only root may.
    pub(crate) fn build(script: &str, namespaces: &'static [&'static str]) -> anyhow::Result<Option<Self>> {
        if !may_make("networks") {
            return Ok(None);
        }
        let networks = Self {
            name: format!("framebridge-{}-{}", std::process::id(), BUILT.fetch_add(1, Relaxed)),
            namespaces,
        };
        let output = command("sh").args(["-ec", script, "build", &networks.name]).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "making networks: {said}");
        Ok(Some(networks))
    }

    /// What the namespaces' names begin with.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Does `work` on this thread as if it was there: what it opens and starts is in that network.
    pub(crate) fn at<T>(&self, namespace: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let home = File::open("/proc/thread-self/ns/net")?;
        enter(&File::open(format!("/run/netns/{}-{namespace}", self.name))?)?;
        let done = work();
        enter(&home)?;
        done
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        for namespace in self.namespaces {
            // One that was not made yet need not go.
            _ = command("ip")
                .args(["netns", "delete", &format!("{}-{namespace}", self.name)])
                .output();
        }
    }
}

fn enter(namespace: &File) -> anyhow::Result<()> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).context("entering a network")
}

/// The internet; it goes when this is dropped.
#[derive(Debug)]
pub struct Internet(Networks);

impl Internet {
    /// Makes it. `None`: only root may.
    ///
    /// # Errors
    /// The system refuses.
    pub fn build() -> anyhow::Result<Option<Self>> {
        let networks = Networks::build(BUILD, &["net", "nat1", "nat2", "box", "viewer"])?;
        Ok(networks.map(Self))
    }

    /// Does `work` on this thread as if it was there: what it opens and starts is in that network.
    ///
    /// # Errors
    /// The system refuses, or `work` fails.
    pub fn at<T>(&self, place: Place, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let namespace = match place {
            Place::Studio => "net",
            Place::Box => "box",
            Place::Viewer => "viewer",
        };
        self.0.at(namespace, work)
    }
}
