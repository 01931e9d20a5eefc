//! WS-Discovery: a question to everybody on a network, and who answers (the version of April 2005, as ONVIF has it).

use std::{
    collections::BTreeMap,
    fs, io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use data_encoding::HEXLOWER;
use framebridge_config::{Address, did_you_mean};
use percent_encoding::percent_decode_str;
use ring::rand::{SecureRandom as _, SystemRandom};
use socket2::SockRef;
use tokio::{
    net::UdpSocket,
    time::{Instant, sleep_until, timeout_at},
};

use super::{Block, Network, mask, soap::Answer as Xml};

/// The group and the port on which devices listen.
const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 255, 255, 250), 3702);

/// When the question is put: what is lost once or twice is no camera that is missed.
const ASKED_AT: [Duration; 3] = [Duration::ZERO, Duration::from_millis(300), Duration::from_millis(900)];

/// How long answers are awaited. Devices wait up to half a second before they answer, so that not all answer at once.
const LISTENED: Duration = Duration::from_millis(2500);

/// More addresses than that are not asked one by one.
const MOST_ADDRESSES: u32 = 1024;

/// So many are asked in a row, then there is a pause of [`BREATH`]: a switch that learns a network's addresses drops what comes at once.
const IN_A_ROW: usize = 32;

/// See [`IN_A_ROW`].
const BREATH: Duration = Duration::from_millis(5);

/// Cameras that are heeded; a box has 48 streams.
const MOST_CAMERAS: usize = 64;

/// The longest datagram that there is.
const DATAGRAM: usize = 65_536;

/// Who has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) host: Ipv4Addr,
    /// Where its device service is: on that host.
    pub(super) service: String,
    /// What it calls itself.
    pub(super) name: Option<String>,
    /// By which interface it was asked, where one was named.
    pub(super) interface: Option<String>,
}

/// All who answer on any of the networks, each once.
pub(super) async fn answers(networks: &[Network]) -> anyhow::Result<Vec<Answer>> {
    let mut found = BTreeMap::new();
    // One after the other: who names two networks has the time.
    for network in networks {
        let asked = ask(network, &mut found).await;
        asked.with_context(|| format!("looking for cameras in {network}"))?;
    }
    Ok(found.into_values().collect())
}

/// A socket, and whom to ask from it.
#[derive(Debug)]
struct Call {
    socket: UdpSocket,
    targets: Vec<SocketAddrV4>,
    /// Who may answer. The sender of a datagram is what it says it is.
    near: Vec<Block>,
    interface: Option<String>,
}

async fn ask(network: &Network, found: &mut BTreeMap<Ipv4Addr, Answer>) -> anyhow::Result<()> {
    let call = call(network)?;
    let id = id()?;
    let question = question(&id);
    let begun = Instant::now();
    let until = begun + LISTENED;
    let sending = async {
        for at in ASKED_AT {
            sleep_until(begun + at).await;
            for some in call.targets.chunks(IN_A_ROW) {
                for target in some {
                    // Nobody may be there, and the next time may succeed.
                    _ = call.socket.send_to(question.as_bytes(), target).await;
                }
                tokio::time::sleep(BREATH).await;
            }
        }
        std::future::pending::<()>().await;
    };
    let listening = async {
        let mut datagram = vec![0; DATAGRAM];
        while let Ok(received) = timeout_at(until, call.socket.recv_from(&mut datagram)).await {
            // An error is that of a datagram sent: nobody listens there.
            let Ok((length, SocketAddr::V4(from))) = received else {
                continue;
            };
            let host = *from.ip();
            if call.near.iter().any(|block| block.has(host))
                && (found.len() < MOST_CAMERAS || found.contains_key(&host))
                && let Some(answer) = answer(&datagram[..length], host, &id)
            {
                let interface = call.interface.clone();
                found.entry(host).or_insert(Answer { interface, ..answer });
            }
        }
    };
    tokio::select! {
        () = sending => {}
        () = listening => {}
    }
    Ok(())
}

/// An interface is asked as a group; a range as a group where this machine is in it, and address by address where it is not too large:
/// groups do not cross routers.
fn call(network: &Network) -> anyhow::Result<Call> {
    let bound = |to| {
        let socket = std::net::UdpSocket::bind((to, 0))?;
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket)
    };
    match network {
        Network::Interface(name) => {
            // Not from /sys, which shows the network that it was mounted in.
            let there = interfaces(&fs::read_to_string("/proc/net/dev")?);
            if !there.contains(name) {
                let near = did_you_mean(name, there.iter().map(String::as_str));
                bail!(
                    "this machine has no interface `{name}`{near}; it has {}",
                    there.join(", ")
                );
            }
            let near = networks_of(name, &fs::read_to_string("/proc/net/route")?);
            ensure!(!near.is_empty(), "`{name}` has no network of IPv4 now");
            let socket = bound(Ipv4Addr::UNSPECIFIED)?;
            SockRef::from(&socket).bind_device(Some(name.as_bytes()))?;
            Ok(Call {
                socket,
                targets: vec![GROUP],
                near,
                interface: Some(name.clone()),
            })
        }
        Network::Range { first, prefix } => {
            let block = Block {
                first: *first,
                mask: mask(*prefix),
            };
            let own = own_address(block);
            let socket = bound(own.unwrap_or(Ipv4Addr::UNSPECIFIED))?;
            let mut targets = Vec::new();
            if let Some(own) = own {
                SockRef::from(&socket).set_multicast_if_v4(&own)?;
                targets.push(GROUP);
            }
            let last = first.to_bits() | !block.mask;
            if last - first.to_bits() < MOST_ADDRESSES {
                let all = (first.to_bits()..=last).map(Ipv4Addr::from_bits);
                // The network's own address and that of all are nobody's.
                let edge = |address: &Ipv4Addr| *prefix < 31 && (address == first || address.to_bits() == last);
                let others = all.filter(|address| !edge(address) && Some(*address) != own);
                targets.extend(others.map(|address| SocketAddrV4::new(address, GROUP.port())));
            } else if own.is_none() {
                bail!("this machine is not in it, and it has more than {MOST_ADDRESSES} addresses: name a part of it");
            }
            Ok(Call {
                socket,
                targets,
                near: vec![block],
                interface: None,
            })
        }
    }
}

/// The networks that are reached by an interface without a router, from the kernel's table of routes: per line interface, destination,
/// gateway, flags, three counters and mask, addresses as the processor has them in memory.
fn networks_of(interface: &str, routes: &str) -> Vec<Block> {
    let block = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let &[name, destination, gateway, _, _, _, _, mask, ..] = &columns[..] else {
            return None;
        };
        let number = |text| Some(u32::from_be_bytes(u32::from_str_radix(text, 16).ok()?.to_ne_bytes()));
        let mask = number(mask)?;
        (name == interface && number(gateway)? == 0 && mask != 0).then_some(Block {
            first: Ipv4Addr::from_bits(number(destination)?),
            mask,
        })
    };
    routes.lines().filter_map(block).collect()
}

/// The address from which this machine would send into a range, if that is in it, too: nothing is sent.
fn own_address(block: Block) -> Option<Ipv4Addr> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket
        .connect((Ipv4Addr::from_bits(block.first.to_bits() | 1), GROUP.port()))
        .ok()?;
    match socket.local_addr().ok()? {
        SocketAddr::V4(own) if block.has(*own.ip()) => Some(*own.ip()),
        SocketAddr::V4(_) | SocketAddr::V6(_) => None,
    }
}

/// The names of the interfaces in the kernel's table of `devices`, sorted: per line, after two of heads, a name and its counters.
fn interfaces(devices: &str) -> Vec<String> {
    let lines = devices.lines().skip(2);
    let names = lines.filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()));
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// A random UUID (RFC 9562): who answers says to which question.
fn id() -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| io::Error::other("the system has no random numbers"))?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = HEXLOWER.encode(&bytes);
    Ok([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

/// Who sends video by a network?
fn question(id: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <e:Envelope xmlns:e=\"http://www.w3.org/2003/05/soap-envelope\" \
         xmlns:w=\"http://schemas.xmlsoap.org/ws/2004/08/addressing\" \
         xmlns:d=\"http://schemas.xmlsoap.org/ws/2005/04/discovery\" \
         xmlns:dn=\"http://www.onvif.org/ver10/network/wsdl\">\
         <e:Header><w:MessageID>uuid:{id}</w:MessageID>\
         <w:To e:mustUnderstand=\"true\">urn:schemas-xmlsoap-org:ws:2005:04:discovery</w:To>\
         <w:Action e:mustUnderstand=\"true\">http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</w:Action></e:Header>\
         <e:Body><d:Probe><d:Types>dn:NetworkVideoTransmitter</d:Types></d:Probe></e:Body></e:Envelope>"
    )
}

/// What a datagram says, if it answers our question and names a service on its own host.
fn answer(datagram: &[u8], host: Ipv4Addr, id: &str) -> Option<Answer> {
    let text = str::from_utf8(datagram).ok()?;
    let xml = Xml::read(text).ok()?;
    if !xml.text("RelatesTo")?.contains(id) {
        return None;
    }
    let addresses = xml.text("XAddrs")?;
    let service = addresses
        .split_whitespace()
        .find(|address| is_of(address, host))?
        .to_owned();
    let scopes = xml.text("Scopes").unwrap_or_default();
    let name = scopes.split_whitespace().find_map(|scope| {
        let name = scope.strip_prefix("onvif://www.onvif.org/name/")?;
        Some(percent_decode_str(name).decode_utf8_lossy().replace(['_', '/'], " "))
    });
    Some(Answer {
        host,
        service,
        name,
        interface: None,
    })
}

/// Whether an address is one of HTTP on that very host.
pub(super) fn is_of(address: &str, host: Ipv4Addr) -> bool {
    Address::of(address).is_some_and(|address| {
        address.scheme == "http" && address.userinfo.is_none() && address.host.parse() == Ok(host)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0a6dc791-2be6-4991-9af1-454778a1917a";
    const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

    /// As devices answer, with the prefixes of gSOAP.
    fn matched(relates: &str, addresses: &str) -> String {
        format!(
            r#"<?xml version="1.0" encoding="UTF-8"?>
<SOAP-ENV:Envelope xmlns:SOAP-ENV="http://www.w3.org/2003/05/soap-envelope" xmlns:wsa="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery" xmlns:dn="http://www.onvif.org/ver10/network/wsdl">
<SOAP-ENV:Header><wsa:MessageID>uuid:1</wsa:MessageID><wsa:RelatesTo>{relates}</wsa:RelatesTo></SOAP-ENV:Header>
<SOAP-ENV:Body><d:ProbeMatches><d:ProbeMatch>
<wsa:EndpointReference><wsa:Address>urn:uuid:98190dc2-0890-4ef8-ac9a-5940995e6119</wsa:Address></wsa:EndpointReference>
<d:Types>dn:NetworkVideoTransmitter</d:Types>
<d:Scopes>onvif://www.onvif.org/type/video_encoder onvif://www.onvif.org/name/Yard%20cam onvif://www.onvif.org/hardware/X</d:Scopes>
<d:XAddrs>{addresses}</d:XAddrs><d:MetadataVersion>1</d:MetadataVersion>
</d:ProbeMatch></d:ProbeMatches></SOAP-ENV:Body></SOAP-ENV:Envelope>"#
        )
    }

    fn read(text: &str) -> Option<Answer> {
        answer(text.as_bytes(), HOST, ID)
    }

    #[test]
    fn answer_gives_the_service_of_its_own_host_and_its_name() {
        let urn = format!("urn:uuid:{ID}");
        let both = "http://[fe80::1]/onvif/device_service http://192.0.2.7:8000/onvif/device_service";
        let answer = read(&matched(&urn, both)).unwrap();
        assert_eq!(answer.service, "http://192.0.2.7:8000/onvif/device_service");
        assert_eq!(answer.name.as_deref(), Some("Yard cam"));
    }

    #[test]
    fn who_sends_us_elsewhere_or_answers_somebody_else_is_not_heeded() {
        let good = "http://192.0.2.7/onvif/device_service";
        assert!(read(&matched(ID, good)).is_some());
        assert_eq!(read(&matched("uuid:another", good)), None);
        for elsewhere in [
            "http://192.0.2.8/onvif/device_service",
            "http://192.0.2.7@192.0.2.8/onvif/device_service",
            "http://192.0.2.7.example/onvif",
            "https://192.0.2.7/onvif",
            "file:///etc/passwd",
            "",
        ] {
            assert_eq!(read(&matched(ID, elsewhere)), None, "{elsewhere}");
        }
        for rubbish in ["", "<", "<a/>", "\u{0}", "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>"] {
            assert_eq!(read(rubbish), None, "{rubbish}");
        }
        assert_eq!(answer(&[0xff, 0xfe], HOST, ID), None);
        assert_eq!(read(&"<a>".repeat(20_000)), None);
    }

    #[test]
    fn interfaces_are_those_of_the_table() {
        let table = "Inter-|   Receive  |  Transmit\n face |bytes    packets|bytes    packets\n    lo: 0 0 0 0\nenp3s0: 12 1 12 1\n  cam0:0 0 0 0\n";
        assert_eq!(interfaces(table), ["cam0", "enp3s0", "lo"]);
    }

    #[test]
    fn interface_has_the_networks_that_need_no_router() {
        let routes = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
            eth0\t0000000A\t0100A8C0\t0003\t0\t0\t0\t000000FF\t0\t0\t0\n\
            wlan0\t000010AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        let found = networks_of("eth0", routes);
        let first = Ipv4Addr::new(192, 168, 0, 0);
        assert_eq!(
            found,
            [Block {
                first,
                mask: 0xffff_ff00
            }]
        );
        assert!(found[0].has(Ipv4Addr::new(192, 168, 0, 9)) && !found[0].has(Ipv4Addr::new(10, 0, 0, 9)));
        assert_eq!(networks_of("eth1", routes), []);
    }

    #[test]
    fn question_is_one_and_its_id_is_new_each_time() {
        let (first, second) = (id().unwrap(), id().unwrap());
        assert!(
            first != second && first.len() == 36 && first.as_bytes()[14] == b'4',
            "{first}"
        );
        let question = question(&first);
        let xml = Xml::read(&question).unwrap();
        assert_eq!(xml.text("MessageID").unwrap(), format!("uuid:{first}"));
    }

    #[tokio::test]
    async fn ranges_are_asked_address_by_address_as_far_as_they_are_small() {
        let targets = |text: &str| call(&text.parse().unwrap()).map(|call| call.targets);
        let of = |text: &str| {
            targets(text)
                .unwrap()
                .into_iter()
                .map(|target| *target.ip())
                .collect::<Vec<_>>()
        };
        // Addresses for documentation: nobody's, but for some machines that are virtual.
        assert_eq!(of("198.51.100.9"), [Ipv4Addr::new(198, 51, 100, 9)]);
        assert_eq!(
            of("198.51.100.0/30"),
            [Ipv4Addr::new(198, 51, 100, 1), Ipv4Addr::new(198, 51, 100, 2)]
        );
        assert_eq!(of("198.51.100.0/24").len(), 254);
        let error = targets("198.18.0.0/15").unwrap_err().to_string();
        assert!(error.contains("1024"), "{error}");
        // This machine is in it.
        assert_eq!(of("127.0.0.0/8"), [*GROUP.ip()]);
        let error = call(&"loo".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("did you mean `lo`?; it has "), "{error}");
    }
}
