//! The networks of an attack: a box, its viewers on one side, strangers with many addresses on the other.

use std::{
    fs::read_to_string,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    os::fd::OwnedFd,
    time::Duration,
};

use anyhow::Context as _;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use crate::internet::Networks;

/// Makes the namespaces: all of 198.18.115.0/24 (RFC 2544) are strangers.
const BUILD: &str = r#"
there() { namespace=$1; shift; ip netns exec "$name-$namespace" "$@"; }
name=$1
for namespace in box viewers strangers; do
    ip netns add "$name-$namespace"
    there $namespace ip link set lo up
done
at=1
for side in viewers strangers; do
    there box ip link add $side type veth peer name wan netns "$name-$side"
    there box ip address add 198.18.114.$at/30 dev $side
    there $side ip address add 198.18.114.$((at + 1))/30 dev wan
    there box ip link set $side up
    there $side ip link set wan up
    there $side ip route add default via 198.18.114.$at
    at=$((at + 4))
done
there box ip route add 198.18.115.0/24 via 198.18.114.6
there strangers ip route add local 198.18.115.0/24 dev lo
"#;

/// How long a stranger waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Whose network.
#[derive(Debug, Clone, Copy)]
pub(super) enum Side {
    Box,
    Viewers,
    Strangers,
}

/// Where an attack takes place.
#[derive(Debug)]
pub(super) enum Street {
    /// In networks of its own, where strangers have addresses of theirs.
    Own(Networks),
    /// On this machine's network, from its one address.
    Here,
}

impl Street {
    /// Makes networks. `None`: only root may.
    pub(super) fn build() -> anyhow::Result<Option<Self>> {
        Ok(Networks::build(BUILD, &["box", "viewers", "strangers"])?.map(Self::Own))
    }

    /// Does `work` on this thread as if it was there.
    pub(super) fn at<T>(&self, side: Side, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let namespace = match side {
            Side::Box => "box",
            Side::Viewers => "viewers",
            Side::Strangers => "strangers",
        };
        match self {
            Self::Own(networks) => networks.at(namespace, work),
            Self::Here => work(),
        }
    }

    /// Where viewers, and strangers, reach the port of a box that is in its own network.
    pub(super) fn addresses(port: u16) -> [SocketAddr; 2] {
        [1, 5].map(|last| (Ipv4Addr::new(198, 18, 114, last), port).into())
    }

    /// A stranger's address: there are 250 of them, where they have a network of their own.
    pub(super) fn stranger(&self, number: usize) -> Ipv4Addr {
        match self {
            Self::Own(_) => Ipv4Addr::new(198, 18, 115, u8::try_from(number % 250).unwrap_or(0) + 1),
            Self::Here => Ipv4Addr::UNSPECIFIED,
        }
    }

    /// A stranger's socket for datagrams to `to`, which does not block.
    pub(super) fn datagrams(&self, number: usize, to: SocketAddr) -> anyhow::Result<UdpSocket> {
        let own: IpAddr = match self {
            Self::Here if to.is_ipv6() => Ipv6Addr::UNSPECIFIED.into(),
            Self::Here | Self::Own(_) => self.stranger(number).into(),
        };
        let socket = UdpSocket::bind((own, 0))?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }

    /// A stranger's connection.
    pub(super) fn connection(&self, number: usize, to: SocketAddr) -> anyhow::Result<TcpStream> {
        let own = SocketAddr::from((self.stranger(number), 0));
        let family = if to.is_ipv4() {
            AddressFamily::INET
        } else {
            AddressFamily::INET6
        };
        let socket: OwnedFd = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        if own.is_ipv4() == to.is_ipv4() {
            bind(&socket, &own)?;
        }
        connect(&socket, &to)?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(stream)
    }

    /// Bytes that the box has had from strangers so far, and bytes that it has sent them; `None` where other traffic is on
    /// the same wire.
    pub(super) fn traffic(&self) -> anyhow::Result<Option<[u64; 2]>> {
        if let Self::Here = self {
            return Ok(None);
        }
        self.at(Side::Box, || {
            let table = read_to_string("/proc/thread-self/net/dev")?;
            let line = table.lines().find_map(|line| line.trim().strip_prefix("strangers:"));
            let fields: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
            // Received bytes are the first column, sent bytes the ninth.
            let column = |at: usize| fields.get(at).and_then(|field| field.parse().ok());
            let both = column(0).zip(column(8)).context("no counters for `strangers`")?;
            Ok(Some(both.into()))
        })
    }
}
