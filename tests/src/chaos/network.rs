//! An interface of the drill's own, over which media goes, and which gets another name.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::ensure;

use crate::process::{command, may_make};

/// What the configuration has media go over, whatever number it has now.
pub(crate) const INTERFACES: &str = "interfaces = [\"fb-drill*\"]\n";

/// [`Network::HERE`] and its network.
const ADDRESS: &str = "198.18.123.1/30";

/// Its names, in turn.
const NAMES: [&str; 2] = ["fb-drill0", "fb-drill1"];

/// The interface; it goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Network {
    /// Which of its names it has.
    named: usize,
}

impl Network {
    /// This machine's address on it: one of those for benchmarks (RFC 2544).
    pub(crate) const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 123, 1));

    /// Whether it can be made: only root may.
    pub(crate) fn is_possible() -> bool {
        may_make("networks")
    }

    /// Makes it, with an address. Its names are the same for all: to be made once there is a [`System`](crate::system::System), for
    /// there is one at a time.
    pub(crate) fn make() -> anyhow::Result<Self> {
        for name in NAMES {
            // One that a drill which was killed has left.
            _ = command("ip").args(["link", "delete", name]).output();
        }
        let name = NAMES[0];
        ip(&["link", "add", name, "type", "veth", "peer", "name", "fb-drill-peer"])?;
        let network = Self { named: 0 };
        ip(&["link", "set", "fb-drill-peer", "up"])?;
        network.bring_up()?;
        Ok(network)
    }

    /// It loses its address, and has another name from now on.
    pub(crate) fn rename(&mut self) -> anyhow::Result<()> {
        let before = NAMES[self.named];
        self.named = 1 - self.named;
        let name = NAMES[self.named];
        ip(&["link", "set", before, "down"])?;
        ip(&["address", "flush", "dev", before])?;
        ip(&["link", "set", before, "name", name])
    }

    /// It gets its address.
    pub(crate) fn bring_up(&self) -> anyhow::Result<()> {
        let name = NAMES[self.named];
        ip(&["address", "add", ADDRESS, "dev", name])?;
        ip(&["link", "set", name, "up"])
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Its peer goes with it.
        _ = command("ip").args(["link", "delete", NAMES[self.named]]).output();
    }
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    let output = command("ip").args(arguments).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {}: {said}", arguments.join(" "));
    Ok(())
}
