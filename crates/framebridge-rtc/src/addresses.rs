//! What viewers are told to try: the addresses of this moment, the likeliest first.

use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use framebridge_core::interfaces::{is_allowed, matches};
use rtc_shared::ifaces::ifaces;

use crate::sdp::Candidate;

/// Addresses of one answer. A browser checks each against each of its own, 20 to 50 a second: forty cost seconds.
const MOST: usize = 16;

/// Interfaces to containers and virtual machines of this machine, and between them: few viewers are there, and there may be
/// dozens.
const VIRTUAL: [&str; 12] = [
    "docker*", "br-*", "veth*", "virbr*", "vnet*", "lxc*", "lxdbr*", "cni*", "cali*", "flannel*", "podman*", "vboxnet*",
];

/// How a viewer's request has come, as far as it says where the viewer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The address of this machine that it came in on.
    pub on: Option<IpAddr>,
    /// Whether the viewer is on this machine, so that it reaches loopback.
    pub is_local: bool,
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    interface: String,
    ip: IpAddr,
}

/// Where media can be sent to.
#[derive(Debug)]
pub(crate) struct Offered<'a> {
    /// Where it is waited for, by UDP; an unspecified address stands for all of its family.
    pub(crate) udp: &'a [SocketAddr],
    /// Likewise by TCP.
    pub(crate) tcp: &'a [SocketAddr],
    /// Further addresses that lead here; port 0 is that of the socket.
    pub(crate) further: &'a [SocketAddr],
    /// Interfaces whose addresses are told, `*` for any characters; with `!` in front: those whose addresses are not.
    pub(crate) interfaces: &'a [String],
}

impl Offered<'_> {
    /// The candidates for a viewer; `None`: it may be anywhere. Where there is nothing but loopback, everybody is told that.
    pub(crate) fn candidates(&self, arrival: Option<Arrival>) -> Vec<Candidate> {
        let told = self.candidates_for(arrival);
        match arrival {
            Some(arrival) if told.is_empty() && !arrival.is_local => self.candidates_for(None),
            Some(_) | None => told,
        }
    }

    fn candidates_for(&self, arrival: Option<Arrival>) -> Vec<Candidate> {
        let mut udp: Vec<SocketAddr> = Vec::new();
        let found = found();
        for local in self.udp {
            udp.extend(self.of_socket(*local, &found, arrival));
        }
        let mut tcp: Vec<SocketAddr> = Vec::new();
        for local in self.tcp {
            tcp.extend(self.of_socket(*local, &found, arrival));
        }
        let told = |addresses: Vec<SocketAddr>, make: fn(SocketAddr, usize) -> Candidate| {
            let ordered = in_order(addresses, arrival).into_iter().take(MOST).enumerate();
            ordered.map(move |(number, address)| make(address, number))
        };
        told(udp, Candidate::host).chain(told(tcp, Candidate::tcp)).collect()
    }

    /// What leads to one socket: what the operator says, then the interfaces'.
    fn of_socket(&self, local: SocketAddr, found: &[Found], arrival: Option<Arrival>) -> Vec<SocketAddr> {
        let is_of_family = |ip: &IpAddr| ip.is_ipv4() == local.is_ipv4();
        let further = self.further.iter().filter(|address| is_of_family(&address.ip()));
        let further = further.filter(|address| address.port() == 0 || !self.is_tcp(local));
        let port_of = |address: &SocketAddr| {
            if address.port() == 0 {
                local.port()
            } else {
                address.port()
            }
        };
        let mut addresses: Vec<SocketAddr> = further
            .map(|address| SocketAddr::new(address.ip(), port_of(address)))
            .collect();
        let is_for = |ip: &IpAddr| !ip.is_loopback() || arrival.is_none_or(|arrival| arrival.is_local);
        if !local.ip().is_unspecified() {
            let is_there = |local: &SocketAddr| local.ip().is_loopback() || found.iter().any(|it| it.ip == local.ip());
            addresses.extend(Some(local).filter(|local| is_for(&local.ip()) && is_there(local)));
            return addresses;
        }
        let mut usable: Vec<&Found> = found
            .iter()
            .filter(|found| is_of_family(&found.ip) && is_for(&found.ip) && !is_link_local(&found.ip))
            .filter(|found| found.ip.is_loopback() || is_allowed(self.interfaces, &found.interface))
            .collect();
        // Loopback serves viewers on this machine only: liked least.
        usable.sort_by_key(|found| (found.ip.is_loopback(), is_virtual(&found.interface)));
        addresses.extend(usable.iter().map(|found| SocketAddr::new(found.ip, local.port())));
        addresses
    }

    fn is_tcp(&self, local: SocketAddr) -> bool {
        self.tcp.contains(&local)
    }
}

/// Each once, and the one first that a viewer has just come in on: that one leads here.
fn in_order(addresses: Vec<SocketAddr>, arrival: Option<Arrival>) -> Vec<SocketAddr> {
    let mut ordered: Vec<SocketAddr> = Vec::with_capacity(addresses.len());
    let came_in_on = arrival.and_then(|arrival| arrival.on);
    let is_first = |address: &&SocketAddr| Some(address.ip()) == came_in_on;
    let first = addresses.iter().filter(is_first);
    for address in first.chain(&addresses) {
        if !ordered.contains(address) {
            ordered.push(*address);
        }
    }
    ordered
}

/// Whether the interfaces could not be listed last time, which is said once.
static IS_BLIND: AtomicBool = AtomicBool::new(false);

fn found() -> Vec<Found> {
    let interfaces = ifaces();
    let was_blind = IS_BLIND.swap(interfaces.is_err(), Relaxed);
    match interfaces {
        Ok(interfaces) => interfaces
            .into_iter()
            .filter_map(|interface| {
                let ip = interface.addr?.ip();
                Some(Found {
                    interface: interface.name,
                    ip,
                })
            })
            .collect(),
        Err(error) => {
            if !was_blind {
                tracing::warn!(%error, "can't list the interfaces: only configured candidates are offered");
            }
            Vec::new()
        }
    }
}

/// The addresses that media may leave from, in order.
pub(crate) fn present() -> Vec<IpAddr> {
    let mut present: Vec<IpAddr> = found().into_iter().map(|found| found.ip).collect();
    present.retain(|ip| !ip.is_loopback() && !is_link_local(ip));
    present.sort_unstable();
    present.dedup();
    present
}

fn is_virtual(interface: &str) -> bool {
    VIRTUAL.iter().any(|pattern| matches(pattern, interface))
}

/// Link-local IPv6 needs a scope that SDP can't carry.
fn is_link_local(ip: &IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(interface: &str, ip: &str) -> Found {
        Found {
            interface: interface.to_owned(),
            ip: ip.parse().unwrap(),
        }
    }

    fn machine() -> Vec<Found> {
        vec![
            found("lo", "127.0.0.1"),
            found("docker0", "172.17.0.1"),
            found("eth0", "192.168.1.5"),
            found("wlan0", "192.168.1.6"),
            found("eth0", "fe80::1"),
            found("eth0", "2a00::5"),
        ]
    }

    fn offered(offered: &Offered<'_>, local: &str, arrival: Option<Arrival>) -> Vec<String> {
        let addresses = offered.of_socket(local.parse().unwrap(), &machine(), arrival);
        in_order(addresses, arrival).iter().map(ToString::to_string).collect()
    }

    const NOTHING_SAID: Offered<'static> = Offered {
        udp: &[],
        tcp: &[],
        further: &[],
        interfaces: &[],
    };

    fn from(on: &str, is_local: bool) -> Option<Arrival> {
        let on = Some(on.parse().unwrap());
        Some(Arrival { on, is_local })
    }

    #[test]
    fn the_address_that_a_viewer_came_in_on_is_first_and_containers_are_last() {
        let all = offered(&NOTHING_SAID, "0.0.0.0:1", from("192.168.1.6", false));
        assert_eq!(all, ["192.168.1.6:1", "192.168.1.5:1", "172.17.0.1:1"]);
        let all = offered(&NOTHING_SAID, "[::]:1", from("192.168.1.6", false));
        assert_eq!(all, ["[2a00::5]:1"]);
    }

    #[test]
    fn loopback_is_for_viewers_on_this_machine() {
        let local = offered(&NOTHING_SAID, "0.0.0.0:1", from("127.0.0.1", true));
        assert_eq!(local[0], "127.0.0.1:1");
        let unknown = offered(&NOTHING_SAID, "0.0.0.0:1", None);
        assert_eq!(unknown.last().unwrap(), "127.0.0.1:1");
        assert!(offered(&NOTHING_SAID, "127.0.0.1:1", from("192.168.1.5", false)).is_empty());
        assert_eq!(offered(&NOTHING_SAID, "127.0.0.1:1", None), ["127.0.0.1:1"]);
    }

    #[test]
    fn address_that_is_bound_is_offered_while_an_interface_has_it() {
        assert_eq!(offered(&NOTHING_SAID, "192.168.1.5:1", None), ["192.168.1.5:1"]);
        assert!(offered(&NOTHING_SAID, "192.168.1.77:1", None).is_empty());
    }

    #[test]
    fn rules_allow_and_forbid_interfaces() {
        for (rules, expected) in [
            (&["!wlan*"][..], &["192.168.1.5:1", "172.17.0.1:1"][..]),
            (&["eth*", "docker?"], &["192.168.1.5:1"]),
            (&["*", "!*0"], &[]),
            (&["wlan0", "docker*"], &["192.168.1.6:1", "172.17.0.1:1"]),
        ] {
            let interfaces: Vec<String> = rules.iter().map(|rule| (*rule).to_owned()).collect();
            let said = Offered {
                interfaces: &interfaces,
                ..NOTHING_SAID
            };
            assert_eq!(
                offered(&said, "0.0.0.0:1", from("10.0.0.1", false)),
                expected,
                "{rules:?}"
            );
        }
    }

    #[test]
    fn further_addresses_have_their_own_port_or_the_sockets() {
        let further = ["203.0.113.7:0", "203.0.113.8:40000", "[2001:db8::7]:0"].map(|text| text.parse().unwrap());
        let tcp = "0.0.0.0:8890";
        let said = Offered {
            further: &further,
            interfaces: &["nothing".to_owned()],
            tcp: &[tcp.parse().unwrap()],
            ..NOTHING_SAID
        };
        let away = from("10.0.0.1", false);
        assert_eq!(
            offered(&said, "0.0.0.0:1", away),
            ["203.0.113.7:1", "203.0.113.8:40000"]
        );
        assert_eq!(offered(&said, "[::]:2", away), ["[2001:db8::7]:2"]);
        assert_eq!(
            offered(&said, tcp, away),
            ["203.0.113.7:8890"],
            "what maps UDP does not map TCP"
        );
    }
}
