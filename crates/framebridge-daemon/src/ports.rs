//! Whose port it is: the kernel knows which socket listens, and `/proc` which process has it.

use std::{
    fmt, fs,
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    os::unix::fs::MetadataExt as _,
};

use framebridge_config::Settings;

/// A transport of the Internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// HTTP.
    Tcp,
    /// Media.
    Udp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

/// A process that has a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its pid.
    pub pid: u32,
    /// Its program's name, as the kernel has it: up to 15 bytes.
    pub name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {} ({})", self.pid, self.name)
    }
}

/// A port that the settings ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// TCP for HTTP, UDP for media.
    pub transport: Transport,
    /// The local address, as configured.
    pub address: SocketAddr,
    /// The key that sets it.
    pub key: &'static str,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.transport, self.address)
    }
}

/// All ports that the settings ask for.
pub fn wanted(settings: &Settings) -> Vec<Port> {
    let tcp = Port {
        transport: Transport::Tcp,
        address: settings.http.listen,
        key: "http.listen",
    };
    let udp = settings.webrtc.bind.iter().map(|&ip: &IpAddr| Port {
        transport: Transport::Udp,
        address: SocketAddr::new(ip, settings.webrtc.port),
        key: "webrtc.port",
    });
    std::iter::once(tcp).chain(udp).collect()
}

/// Why the first of these that this process will never get can't be had. One on an address that is not there may come yet.
pub fn first_taken(ports: impl IntoIterator<Item = Port>) -> Option<String> {
    ports.into_iter().find_map(|port| {
        let error = port.try_out().err()?;
        let stays = matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::PermissionDenied);
        stays.then(|| port.why_not(&error))
    })
}

impl Port {
    /// Takes it for a moment.
    ///
    /// # Errors
    /// The system's, when it can't be had.
    pub fn try_out(&self) -> io::Result<()> {
        match self.transport {
            Transport::Tcp => TcpListener::bind(self.address).map(drop),
            Transport::Udp => UdpSocket::bind(self.address).map(drop),
        }
    }

    /// Why it can't be had, in one sentence that says who has it and what to do.
    pub fn why_not(&self, error: &io::Error) -> String {
        let (key, kind) = (self.key, error.kind());
        if kind == ErrorKind::AddrInUse {
            let holder = self.holders().into_iter().next();
            let holder = holder.map_or_else(|| "a process of another user".to_owned(), |holder| holder.to_string());
            format!("{self} is in use by {holder}: end that, or set {key} to another port")
        } else if kind == ErrorKind::AddrNotAvailable {
            format!("{self}: no network of this machine has that address: correct {key}")
        } else if kind == ErrorKind::PermissionDenied {
            format!("{self}: this user may not have ports below 1024: set {key} to a higher one")
        } else {
            format!("{self}: {error}: correct {key}")
        }
    }

    /// Who has it: more than one where descriptors were passed on. Processes that this user may not look into are left out.
    pub fn holders(&self) -> Vec<Holder> {
        let inodes = self.inodes();
        let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let holder = |pid| {
            let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.filter_map(Result::ok);
            // Followed, a descriptor of a socket is the socket's own inode.
            let mut found = descriptors.filter_map(|entry| fs::metadata(entry.path()).ok());
            found.any(|file| inodes.contains(&file.ino())).then(|| {
                let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                Holder {
                    pid,
                    name: name.trim().to_owned(),
                }
            })
        };
        pids.filter_map(holder).collect()
    }

    /// Of the sockets that have the port, on whatever address.
    fn inodes(&self) -> Vec<u64> {
        let tables = match self.transport {
            Transport::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
            Transport::Udp => ["/proc/net/udp", "/proc/net/udp6"],
        };
        let texts = tables.iter().map(|path| fs::read_to_string(path).unwrap_or_default());
        let lines: Vec<_> = texts
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        lines.iter().filter_map(|line| self.inode(line)).collect()
    }

    /// `sl local_address rem_address st … inode`, numbers in hexadecimal: proc_net_tcp(5).
    fn inode(&self, line: &str) -> Option<u64> {
        let fields: Vec<_> = line.split_whitespace().collect();
        let (_, port) = fields.get(1)?.rsplit_once(':')?;
        let listens = self.transport == Transport::Udp || *fields.get(3)? == LISTEN;
        let is_it = listens && u16::from_str_radix(port, 16).ok()? == self.address.port();
        is_it.then(|| fields.get(9)?.parse().ok()).flatten()
    }
}

/// TCP_LISTEN of the kernel's.
const LISTEN: &str = "0A";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holder_of_a_port_is_named_with_its_key_and_what_to_do() {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
        let udp = UdpSocket::bind("0.0.0.0:0").expect("a port");
        for (transport, address, key) in [
            (Transport::Tcp, tcp.local_addr().expect("bound"), "http.listen"),
            (Transport::Udp, udp.local_addr().expect("bound"), "webrtc.port"),
        ] {
            let port = Port {
                transport,
                address,
                key,
            };
            let error = port.try_out().expect_err("taken");
            let said = port.why_not(&error);
            let ours = format!("{transport} {address} is in use by pid {} (", std::process::id());
            assert!(said.starts_with(&ours) && said.contains(key), "{said}");
        }
        let nowhere = Port {
            transport: Transport::Tcp,
            address: "192.0.2.1:1".parse().expect("an address"),
            key: "http.listen",
        };
        let error = nowhere.try_out().expect_err("not ours");
        assert!(
            nowhere.why_not(&error).contains("no network of this machine"),
            "{error}"
        );
    }
}
