//! Says how FFmpeg opens each kind of source.

use std::{fs, path::PathBuf, time::Duration};

use framebridge_config::{Address, Protocol, Slate, Source as Location, SourceTls};

use super::{
    Config, Feed,
    allowed::{Allowed, MAX_PIXELS},
};
use crate::{ffi::Opening, slate, webcam};

/// What FFmpeg opens, and how what comes out of it is treated.
pub(super) struct Recipe {
    format: Option<&'static str>,
    pub(super) url: String,
    options: Vec<(&'static str, String)>,
    allowed: Allowed,
    probe: bool,
    /// Begins again where it ends.
    pub(super) looped: bool,
    /// When its pictures are to be shown.
    pub(super) timing: Timing,
    /// Made by FFmpeg's own filters.
    pub(super) painted: bool,
    /// What is drawn into its pictures.
    pub(super) overlay: Overlay,
    /// FFmpeg looks at the interrupt while it reads.
    pub(super) interruptible: bool,
    /// What the timestamps mean.
    pub(super) clock: Clock,
    /// What has to be there for it, or is kept an eye on.
    pub(super) beside: Beside,
}

/// What belongs to a source besides what FFmpeg opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Beside {
    Nothing,
    /// The display to keep an eye on.
    Display(String),
    /// The file that is played again and again.
    File(PathBuf),
    /// The camera that is reached first.
    Camera(Protocol, String),
    /// The command that writes it.
    Command(String),
    /// Whoever publishes it.
    Publisher,
}

/// When pictures are to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timing {
    /// When they come.
    Arrival,
    /// By their own timestamps: they come as fast as they are read.
    Recorded,
    /// By their own timestamps, as far as these run like time: they come unevenly.
    Network,
    /// As a recording where FFmpeg finds one, else as from a network.
    NetworkOrRecorded,
    /// As a recording where there are timestamps, else when they come.
    RecordedOrArrival,
}

/// What is drawn into pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Overlay {
    Nothing,
    /// The time.
    Stamp,
    /// Why there is nothing else to see.
    Slate(Slate),
}

/// What a picture's timestamp says about when it was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// Nothing: it was taken when it came.
    Arrival,
    /// Microseconds since the Unix epoch, when it was taken.
    WallMicros,
}

/// Live sources say most about themselves at once; FFmpeg's default of 5 s is for files without headers.
const PROBE_MICROS: u32 = 1_000_000;
const PROBE_BYTES: u32 = 1_000_000;

/// For sources that send by UDP: a second of a 16 Mb/s stream.
const UDP_BUFFER_BYTES: u32 = 2 << 20;

/// FFmpeg's own limit for a socket, beyond any of ours.
const SOCKET_LIMIT: Duration = Duration::from_secs(600);

/// Addresses that a server sends us on to, one after the other.
const MOST_REDIRECTS: u32 = 4;

impl Recipe {
    /// The recipe for `config`'s source.
    pub(super) fn new(config: &Config) -> Self {
        let fps = config.fps;
        match &config.location {
            Location::Test => {
                let graph = format!("testsrc2=size=1280x720:rate={fps},format=yuv420p");
                Self {
                    overlay: Overlay::Stamp,
                    ..Self::painted(graph)
                }
            }
            Location::Lavfi { graph } => Self::painted(graph.clone()),
            Location::Slate(slate) => Self {
                overlay: Overlay::Slate(slate.clone()),
                ..Self::painted(slate::GRAPH.to_owned())
            },
            Location::X11 { display, region } => {
                // With the pointer drawn, FFmpeg asks the server for each picture and so notices most deaths itself.
                let mut options = vec![("framerate", fps.to_string()), ("draw_mouse", "1".to_owned())];
                let mut url = display.clone();
                if let Some(part) = region {
                    url = format!("{display}+{},{}", part.x, part.y);
                    options.push(("video_size", format!("{}x{}", part.width, part.height)));
                }
                Self {
                    options,
                    clock: Clock::WallMicros,
                    beside: Beside::Display(display.clone()),
                    ..Self::device("x11grab", url)
                }
            }
            Location::V4l2 { device, options } => {
                let options = webcam::options(device, options, fps, config.longest_edge);
                Self {
                    options,
                    ..Self::device("v4l2", device.display().to_string())
                }
            }
            Location::Network { protocol, url } => Self::network(*protocol, url, &config.tls),
            Location::File { path } => {
                // A FIFO or a device node can't begin again, and is no file to probe at leisure either.
                let looped = fs::metadata(path).is_ok_and(|found| found.is_file());
                Self {
                    looped,
                    beside: if looped {
                        Beside::File(path.clone())
                    } else {
                        Beside::Nothing
                    },
                    timing: Timing::Recorded,
                    ..Self::stream(format!("file:{}", path.display()), Allowed::FILE)
                }
            }
            Location::Whip => Self::published(config.feed.as_ref()),
            Location::Exec { command } => Self {
                options: probing(),
                timing: Timing::RecordedOrArrival,
                interruptible: true,
                beside: Beside::Command(command.clone()),
                // What is read is known once the command runs.
                ..Self::stream(String::new(), Allowed::COMMAND)
            },
        }
    }

    /// What is handed to FFmpeg.
    pub(super) fn opening(&self) -> Opening<'_> {
        Opening {
            format: self.format,
            url: &self.url,
            options: self.allowed.options().into_iter().chain(self.options.clone()).collect(),
            probe: self.probe,
            max_pixels: MAX_PIXELS,
        }
    }

    /// From now on pictures are told apart by how a JPEG begins, whatever stands between them. Each comes with the next one then.
    pub(super) fn loosen(&mut self) {
        self.format = Some("mjpeg");
        self.probe = false;
        self.timing = Timing::Arrival;
    }

    /// Something in one of several formats, which FFmpeg finds out.
    fn stream(url: String, allowed: Allowed) -> Self {
        Self {
            format: None,
            probe: true,
            allowed,
            ..Self::device("", url)
        }
    }

    /// Something that FFmpeg's filters paint.
    fn painted(graph: String) -> Self {
        Self {
            timing: Timing::Recorded,
            painted: true,
            ..Self::device("lavfi", graph)
        }
    }

    fn device(format: &'static str, url: String) -> Self {
        Self {
            format: Some(format),
            url,
            options: Vec::new(),
            allowed: Allowed::device(format),
            probe: false,
            looped: false,
            timing: Timing::Arrival,
            painted: false,
            overlay: Overlay::Nothing,
            interruptible: false,
            clock: Clock::Arrival,
            beside: Beside::Nothing,
        }
    }

    fn network(protocol: Protocol, url: &str, tls: &SourceTls) -> Self {
        let text = |value: u32| value.to_string();
        let encoded = Address::of(url).map_or_else(|| url.to_owned(), |address| address.encoded());
        let mut options = probing();
        match protocol {
            Protocol::Rtsp | Protocol::Rtsps => return Self::camera(protocol, url),
            Protocol::Http | Protocol::Https => {
                options.push(("max_redirects", text(MOST_REDIRECTS)));
                options.extend(trust(tls));
            }
            Protocol::Rtmp => {}
            Protocol::Rtmps => options.extend(trust(tls)),
            Protocol::Srt | Protocol::Udp => {
                options.push(("buffer_size", text(UDP_BUFFER_BYTES)));
                // A full buffer costs pictures, and not the connection.
                options.push(("overrun_nonfatal", "1".to_owned()));
            }
        }
        let timing = match protocol {
            Protocol::Http | Protocol::Https => Timing::NetworkOrRecorded,
            Protocol::Rtsp | Protocol::Rtsps | Protocol::Rtmp | Protocol::Rtmps | Protocol::Srt | Protocol::Udp => {
                Timing::Network
            }
        };
        Self {
            options,
            timing,
            interruptible: true,
            ..Self::stream(encoded, Allowed::network(protocol))
        }
    }

    /// What is published: its head says all, and no picture is to wait to be looked at.
    fn published(feed: Option<&Feed>) -> Self {
        let socket = feed.map(|feed| feed.socket.display().to_string());
        Self {
            timing: Timing::Network,
            interruptible: true,
            allowed: Allowed::PUBLISHED,
            beside: Beside::Publisher,
            ..Self::device("matroska", format!("unix:{}", socket.unwrap_or_default()))
        }
    }

    /// A camera says what it sends before it sends anything: nothing has to be found out by waiting for pictures.
    fn camera(protocol: Protocol, url: &str) -> Self {
        let mut options = vec![
            ("buffer_size", UDP_BUFFER_BYTES.to_string()),
            // Silence is judged by the interrupt, whose patience changes with what is learnt of the camera.
            ("timeout", SOCKET_LIMIT.as_micros().to_string()),
            ("fflags", "nobuffer".to_owned()),
            ("allowed_media_types", "video".to_owned()),
        ];
        options.push(if protocol == Protocol::Rtsps {
            // What is asked for over TLS is not to come in the clear.
            ("rtsp_transport", "tcp".to_owned())
        } else {
            // UDP for cameras that refuse TCP: then with the reordering buffer that FFmpeg gives it.
            ("rtsp_flags", "prefer_tcp".to_owned())
        });
        Self {
            options,
            timing: Timing::Network,
            interruptible: true,
            allowed: Allowed::network(protocol),
            beside: Beside::Camera(protocol, url.to_owned()),
            ..Self::device("rtsp", String::new())
        }
    }
}

/// How long a live source is looked at before it is shown.
fn probing() -> Vec<(&'static str, String)> {
    vec![
        ("analyzeduration", PROBE_MICROS.to_string()),
        ("probesize", PROBE_BYTES.to_string()),
    ]
}

/// Whom FFmpeg's own TLS trusts.
fn trust(tls: &SourceTls) -> Vec<(&'static str, String)> {
    let mut options = vec![("tls_verify", u8::from(tls.verify).to_string())];
    if let Some(ca) = &tls.ca {
        options.push(("ca_file", ca.display().to_string()));
    }
    options
}
