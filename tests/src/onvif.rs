//! A network with a camera in it that is found by WS-Discovery and asked by ONVIF: a stand-in that answers as the specifications do.

use std::net::TcpListener;

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
ip -n "$name-cameras" address add 192.0.2.66/24 dev cam0
for namespace in box cameras; do
    ip -n "$name-$namespace" link set cam0 addrgenmode none
    ip -n "$name-$namespace" link set cam0 up
done
"#;

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

    /// The camera's address.
    pub const CAMERA: &'static str = "192.0.2.7";

    /// Another address, where somebody may listen.
    pub const ELSEWHERE: &'static str = "192.0.2.66";

    /// A camera that answers who knows `login`, `user:password`, or everybody.
    ///
    /// # Errors
    /// It does not start.
    pub fn camera(&self, login: &str) -> anyhow::Result<Process> {
        self.camera_that_sends_to(login, Self::CAMERA, Self::CAMERA)
    }

    /// One that says where its media service and its pictures are.
    ///
    /// # Errors
    /// It does not start.
    pub fn camera_that_sends_to(&self, login: &str, media: &str, pictures: &str) -> anyhow::Result<Process> {
        let arguments = [Self::CAMERA, login, media, pictures].map(str::to_owned);
        let start = || python::run_until_dropped(include_str!("onvif.py"), &arguments);
        self.networks.at("cameras", start)
    }

    /// Somebody who listens elsewhere, beside the camera.
    ///
    /// # Errors
    /// The system refuses.
    pub fn listener_elsewhere(&self, port: u16) -> anyhow::Result<TcpListener> {
        let listen = || Ok(TcpListener::bind((Self::ELSEWHERE, port))?);
        let listener = self.networks.at("cameras", listen)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// Does `work` on this thread as the box: what it starts is in that network.
    ///
    /// # Errors
    /// The system refuses, or `work` fails.
    pub fn as_box<T>(&self, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        self.networks.at("box", work)
    }
}
