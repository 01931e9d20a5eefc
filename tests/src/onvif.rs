//! A network with a camera in it that is found by WS-Discovery and asked by ONVIF: a stand-in that answers as the specifications do.

use crate::{internet::Networks, process::Process, python};

/// Makes the network namespaces `$1-box` and `$1-cameras`, with a cable between them.
const BUILD: &str = r#"
name=$1
for namespace in box cameras; do
    ip netns add "$name-$namespace"
    ip -n "$name-$namespace" link set lo up
done
ip -n "$name-box" link add cam0 type veth peer name cam0 netns "$name-cameras"
ip -n "$name-box" address add 192.0.2.1/24 dev cam0
ip -n "$name-cameras" address add 192.0.2.7/24 dev cam0
for namespace in box cameras; do
    ip -n "$name-$namespace" link set cam0 addrgenmode none
    ip -n "$name-$namespace" link set cam0 up
done
"#;

/// Where the camera is.
const ADDRESS: &str = "192.0.2.7";

/// A network of a box and a camera; it goes when this is dropped.
#[derive(Debug)]
pub struct CameraNetwork {
    networks: Networks,
}

impl CameraNetwork {
    /// The box's interface there.
    pub const INTERFACE: &'static str = "cam0";

    /// Makes it. `None`: only root may.
    ///
    /// # Errors
    /// The system refuses.
    pub fn build() -> anyhow::Result<Option<Self>> {
        let networks = Networks::build(BUILD, &["box", "cameras"])?;
        Ok(networks.map(|networks| Self { networks }))
    }

    /// A camera that answers who knows `login`, `user:password`, or everybody; it says that its pictures are on `host`, or on itself.
    ///
    /// # Errors
    /// It does not start.
    pub fn camera(&self, login: &str, host: Option<&str>) -> anyhow::Result<Process> {
        let arguments = [ADDRESS, login, host.unwrap_or(ADDRESS)].map(str::to_owned);
        let start = || python::run_until_dropped(include_str!("onvif.py"), &arguments);
        self.networks.at("cameras", start)
    }

    /// Does `work` on this thread as the box: what it starts is in that network.
    ///
    /// # Errors
    /// The system refuses, or `work` fails.
    pub fn as_box<T>(&self, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        self.networks.at("box", work)
    }
}
