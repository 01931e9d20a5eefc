//! What is known of each kind of source before one is opened.

use std::path::PathBuf;

use super::{Source, program};
use crate::Address;

/// How a source on a network is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// A camera's.
    Rtsp,
    /// The same over TLS.
    Rtsps,
    /// MJPEG, MPEG-TS, HLS, or a file.
    Http,
    /// The same over TLS.
    Https,
    /// A streaming server's.
    Rtmp,
    /// The same over TLS.
    Rtmps,
    /// MPEG-TS over SRT.
    Srt,
    /// MPEG-TS over UDP, also by multicast.
    Udp,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Rtsp,
        Self::Rtsps,
        Self::Http,
        Self::Https,
        Self::Rtmp,
        Self::Rtmps,
        Self::Srt,
        Self::Udp,
    ];

    /// What its URLs begin with, before the colon.
    pub fn scheme(self) -> &'static str {
        self.kind().trim_end_matches(':')
    }

    /// The TCP port that it is spoken on where none is said; `None`: not by TCP.
    pub fn tcp_port(self) -> Option<u16> {
        match self {
            Self::Rtsp => Some(554),
            Self::Rtsps => Some(322),
            Self::Http => Some(80),
            Self::Https | Self::Rtmps => Some(443),
            Self::Rtmp => Some(1935),
            Self::Srt | Self::Udp => None,
        }
    }

    /// Whether we may be the ones who are sent to, with a port of ours and no host in the URL.
    pub(super) fn may_listen(self) -> bool {
        matches!(self, Self::Srt | Self::Udp)
    }
}

/// What a kind of source is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// What stands before everything that says where it is, with the colon.
    pub name: &'static str,
    /// It comes over a network: it begins in the middle of a group, and falls silent for a while without being gone.
    pub network: bool,
    /// It needs sockets that reach other machines.
    pub reaches_out: bool,
    /// It takes its frame rate from us, so that another rate means to open it anew.
    pub follows_rate: bool,
    /// We wait for it to send, and miss what it sends while we don't.
    pub listens: bool,
    /// Waiting for it can be called off; of others FFmpeg returns when it likes.
    pub interruptible: bool,
}

/// What answers, or is there, once a source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Door {
    /// A host and a TCP port, which take a connection.
    Tcp(String, u16),
    /// A Unix socket, which takes one.
    Unix(PathBuf),
    /// A file or a device.
    Path(PathBuf),
}

/// X servers that listen on TCP do so on this port plus the display's number.
const X11_PORT: u16 = 6000;

impl Source {
    /// What it is like.
    pub fn traits(&self) -> Traits {
        let own = Traits {
            name: "test:",
            network: false,
            reaches_out: false,
            follows_rate: false,
            listens: false,
            interruptible: false,
        };
        let device = Traits {
            follows_rate: true,
            ..own
        };
        match self {
            Self::Test => device,
            Self::X11 { display, .. } => Traits {
                name: "x11:",
                reaches_out: !display.starts_with(':'),
                ..device
            },
            Self::V4l2 { .. } => Traits {
                name: "v4l2:",
                ..device
            },
            Self::Network { protocol, url } => Traits {
                listens: *protocol == Protocol::Udp || (*protocol == Protocol::Srt && is_waiting(url)),
                name: protocol.kind(),
                network: true,
                reaches_out: true,
                interruptible: true,
                ..own
            },
            Self::File { .. } => Traits { name: "file:", ..own },
            Self::Lavfi { .. } => Traits { name: "lavfi:", ..own },
            Self::Exec { .. } => Traits {
                name: "exec:",
                reaches_out: true,
                interruptible: true,
                ..own
            },
            Self::Whip => Traits {
                name: "whip:",
                network: true,
                listens: true,
                interruptible: true,
                ..own
            },
            Self::Slate(_) => Traits { name: "slate:", ..own },
        }
    }

    /// Its kind: what stands before everything that says where it is.
    pub fn kind(&self) -> &'static str {
        self.traits().name
    }

    /// What failed where it fails, in words: a path, a display, `host:port`. `None`: there is nothing but the source itself.
    pub fn place(&self) -> Option<String> {
        match self {
            Self::X11 { display, .. } => Some(format!("display {display}")),
            Self::V4l2 { device, .. } => Some(device.display().to_string()),
            Self::File { path } => Some(path.display().to_string()),
            Self::Network { url, .. } => match Address::of(url) {
                // Before one more `@` the host may be the beginning of a secret.
                Some(address) if !address.path.contains('@') => Some(address.authority()),
                Some(_) | None => {
                    let shown = self.to_string();
                    let (_, rest) = shown.split_once("://")?;
                    rest.split(['/', '?', '#']).next().map(str::to_owned)
                }
            },
            Self::Exec { command } => Some(program(command).unwrap_or("the command").to_owned()),
            // The reason says it.
            Self::Test | Self::Lavfi { .. } | Self::Whip | Self::Slate(_) => None,
        }
    }

    /// Where it shows that a source which was not there has come back.
    pub fn door(&self) -> Option<Door> {
        match self {
            Self::Network { protocol, url } => {
                let address = Address::of(url)?;
                let port = address.port.or(protocol.tcp_port())?;
                protocol
                    .tcp_port()
                    .map(|_by_tcp| Door::Tcp(address.host.to_owned(), port))
            }
            Self::X11 { display, .. } => {
                let (host, number) = display.rsplit_once(':')?;
                let number: u16 = number.split('.').next()?.parse().ok()?;
                match host {
                    "" => Some(Door::Unix(format!("/tmp/.X11-unix/X{number}").into())),
                    host => Some(Door::Tcp(host.to_owned(), X11_PORT.checked_add(number)?)),
                }
            }
            Self::V4l2 { device: path, .. } | Self::File { path } => Some(Door::Path(path.clone())),
            Self::Test | Self::Lavfi { .. } | Self::Exec { .. } | Self::Whip | Self::Slate(_) => None,
        }
    }
}

/// Whether an SRT URL has us take a connection.
fn is_waiting(url: &str) -> bool {
    Address::of(url).is_none() || url.contains("mode=listener")
}

impl Protocol {
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Rtsp => "rtsp:",
            Self::Rtsps => "rtsps:",
            Self::Http => "http:",
            Self::Https => "https:",
            Self::Rtmp => "rtmp:",
            Self::Rtmps => "rtmps:",
            Self::Srt => "srt:",
            Self::Udp => "udp:",
        }
    }
}
