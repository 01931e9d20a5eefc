//! Sources by URL.

mod address;
mod kind;
mod parse;
#[cfg(test)]
mod tests;

use std::{fmt, path::PathBuf, time::Duration};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

pub use self::{
    address::Address,
    kind::{Door, Protocol, Traits},
    parse::InvalidSource,
};
use crate::mask::without_secrets;

/// Where pictures come from. `Display` is the URL as configured, with secrets left out.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// `test:` — a moving pattern with a clock and a machine-readable stamp, 1280x720 at 30 fps.
    Test,
    /// `x11:DISPLAY[+X,Y,WxH]` — a desktop or a part of it, with the pointer.
    X11 {
        /// The display, e.g. `:0`.
        display: String,
        /// The part of it; `None` is all.
        region: Option<Region>,
    },
    /// `v4l2:DEVICE[?size=WxH&format=FORMAT&fps=N]` — a camera.
    V4l2 {
        /// The device, e.g. `/dev/video0`.
        device: PathBuf,
        /// What of its mode is named.
        options: CameraOptions,
    },
    /// `rtsp://…`, `http://…`, `srt://…` and others — an address on a network.
    Network {
        /// How it is spoken to.
        protocol: Protocol,
        /// The whole URL, credentials included.
        url: String,
    },
    /// `file:PATH` — any container FFmpeg reads, looped, in real time.
    File {
        /// The file.
        path: PathBuf,
    },
    /// `lavfi:GRAPH` — a libavfilter graph with one video output.
    Lavfi {
        /// The graph.
        graph: String,
    },
    /// `exec:COMMAND` — what a command of the shell writes to its standard output.
    Exec {
        /// The command.
        command: String,
    },
    /// `whip:` — what somebody publishes to `POST /whip/STREAM`.
    Whip,
    /// `slate:SECONDS,REASON` — no source, but words that say why there is none. The supervisor gives it to the encoder of
    /// a stream that failed too often with its own.
    Slate(Slate),
}

/// What a slate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slate {
    /// When the stream's own source is tried again, since the Unix epoch; written in whole seconds.
    pub until: Duration,
    /// Why it is not shown; written percent-encoded.
    pub reason: String,
}

/// A part of a desktop, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// From the left.
    pub x: u32,
    /// From the top.
    pub y: u32,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

/// What of a camera's mode is named; the rest is what fits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CameraOptions {
    /// Width and height in pixels.
    pub size: Option<(u32, u32)>,
    /// How pictures come.
    pub format: Option<CameraFormat>,
    /// Pictures a second, 1 to 240.
    pub fps: Option<u32>,
}

/// How a camera's pictures come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CameraFormat {
    /// As they are.
    Raw,
    /// Each a JPEG.
    Mjpeg,
    /// H.264.
    H264,
}

impl CameraFormat {
    const ALL: [(Self, &str); 3] = [(Self::Raw, "raw"), (Self::Mjpeg, "mjpeg"), (Self::H264, "h264")];
}

impl fmt::Display for CameraFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = Self::ALL.iter().find(|(known, _)| known == self);
        f.write_str(found.map_or("", |(_, name)| name))
    }
}

impl fmt::Display for CameraOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.size.map(|(width, height)| format!("size={width}x{height}"));
        let format = self.format.map(|format| format!("format={format}"));
        let fps = self.fps.map(|fps| format!("fps={fps}"));
        for (number, option) in [size, format, fps].into_iter().flatten().enumerate() {
            write!(f, "{}{option}", if number == 0 { "?" } else { "&" })?;
        }
        Ok(())
    }
}

/// How a source that speaks TLS has to prove who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceTls {
    /// Whether it has to at all.
    pub verify: bool,
    /// Certificates in PEM that are trusted in place of this machine's: of authorities, or the source's own.
    pub ca: Option<PathBuf>,
}

impl Default for SourceTls {
    fn default() -> Self {
        Self { verify: true, ca: None }
    }
}

impl Source {
    /// Whether what it is configured with is not all shown.
    pub fn has_secrets(&self) -> bool {
        match self {
            Self::Network { url, .. } => *url != self.to_string(),
            Self::Exec { command } => program(command) != Some(command),
            Self::Test | Self::X11 { .. } | Self::V4l2 { .. } | Self::File { .. } => false,
            Self::Lavfi { .. } | Self::Whip | Self::Slate(_) => false,
        }
    }

    /// It as it was written, secrets included: for a process of ours, and for no log.
    pub fn written(&self) -> String {
        match self {
            Self::Network { url, .. } => url.clone(),
            Self::Exec { command } => format!("exec:{command}"),
            Self::Test
            | Self::X11 { .. }
            | Self::V4l2 { .. }
            | Self::File { .. }
            | Self::Lavfi { .. }
            | Self::Whip
            | Self::Slate(_) => self.to_string(),
        }
    }

    /// What it says, where it is a slate.
    pub fn slate(&self) -> Option<&Slate> {
        if let Self::Slate(slate) = self {
            Some(slate)
        } else {
            None
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Test => f.write_str("test:"),
            Self::Whip => f.write_str("whip:"),
            Self::X11 { display, region: None } => write!(f, "x11:{display}"),
            Self::X11 {
                display,
                region: Some(Region { x, y, width, height }),
            } => {
                write!(f, "x11:{display}+{x},{y},{width}x{height}")
            }
            Self::V4l2 { device, options } => write!(f, "v4l2:{}{options}", device.display()),
            Self::Network { url, .. } => f.write_str(&without_secrets(url)),
            Self::File { path } => write!(f, "file:{}", path.display()),
            Self::Lavfi { graph } => write!(f, "lavfi:{graph}"),
            // Arguments may be passwords, and nobody can tell which.
            Self::Exec { command } => match program(command) {
                Some(program) if program == command => write!(f, "exec:{program}"),
                Some(program) => write!(f, "exec:{program} …"),
                None => f.write_str("exec:…"),
            },
            Self::Slate(Slate { until, reason }) => {
                let reason = utf8_percent_encode(reason, NON_ALPHANUMERIC);
                write!(f, "slate:{},{reason}", until.as_secs())
            }
        }
    }
}

/// The program that a command of the shell names first. `None`: it sets a variable before, which may be a secret.
pub fn program(command: &str) -> Option<&str> {
    let first = command.split_whitespace().next()?;
    (!first.contains('=')).then_some(first)
}

/// Like `Display`, so that a derived Debug around it shows no credentials.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({self})")
    }
}
