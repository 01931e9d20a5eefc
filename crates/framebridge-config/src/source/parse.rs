//! How sources are written.

use std::{ops::RangeInclusive, str::FromStr, time::Duration};

use percent_encoding::percent_decode_str;

use super::{Address, CameraFormat, CameraOptions, Protocol, Region, Slate, Source};
use crate::mask::without_secrets;

/// Why a URL names no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSource {
    /// Nothing we know starts like this.
    #[error(
        "`{0}` is no source: use test:, x11::0, v4l2:/dev/video0, rtsp://host/path, http://host/path, rtmp://host/app/name, \
         srt://host:port, udp://:port, file:PATH, lavfi:GRAPH, exec:COMMAND or whip:"
    )]
    UnknownScheme(String),
    /// It says what is meant without saying what kind of source that is.
    #[error("`{written}` is no source by itself; did you mean `{meant}`?")]
    Meant {
        /// What was written, without secrets.
        written: String,
        /// What is a source.
        meant: String,
    },
    /// What stands for a port is none. It is not shown: it may be the beginning of a password.
    #[error("the port behind its host is none: use 1 to 65535")]
    Port,
    /// The part after the scheme is missing.
    #[error("`{scheme}` needs {needed} after it, e.g. `{example}`")]
    Missing {
        /// The scheme.
        scheme: &'static str,
        /// What has to follow.
        needed: &'static str,
        /// A good one.
        example: &'static str,
    },
    /// `test:` and `whip:` take nothing.
    #[error("`{scheme}:` takes nothing after it, found `{rest}`")]
    TrailingText {
        /// The scheme, without its colon.
        scheme: String,
        /// What was found.
        rest: String,
    },
    /// A region that can't be read.
    #[error("`{0}` is no region: use +X,Y,WxH in pixels, e.g. +0,0,1280x720, at least 16x16")]
    Region(String),
    /// A slate that can't be read.
    #[error("`{0}` is no slate: use SECONDS,REASON with the seconds since 1970 and the reason percent-encoded")]
    Slate(String),
    /// What a camera is not told.
    #[error(
        "`{0}` says nothing of a camera's mode: use size=1920x1080, format=raw, mjpeg or h264, or fps=30, with & between them"
    )]
    CameraOption(String),
    /// A display that X would not understand.
    #[error("`{0}` is no X display: use e.g. :0 or host:0.0, and a part of it as :0+X,Y,WxH")]
    Display(String),
    /// A path that only a shell understands.
    #[error("`{0}` is no path: write the home directory in full")]
    Home(String),
    /// A device by its name alone.
    #[error("`{0}` is no path of a device: use e.g. /dev/video0")]
    Device(String),
}

/// Narrower than this x264 and X11 both refuse.
const SMALLEST_EDGE: u32 = 16;

impl FromStr for Source {
    type Err = InvalidSource;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        // What was copied often has a blank before it or behind it.
        let url = url.trim();
        let unknown = || match meant(url) {
            Some(meant) => InvalidSource::Meant {
                written: without_secrets(url),
                meant,
            },
            None => InvalidSource::UnknownScheme(without_secrets(url)),
        };
        let (scheme, rest) = url.split_once(':').ok_or_else(unknown)?;
        match scheme {
            "test" if rest.is_empty() => Ok(Self::Test),
            "whip" if rest.is_empty() => Ok(Self::Whip),
            "test" | "whip" => Err(InvalidSource::TrailingText {
                scheme: scheme.to_owned(),
                rest: rest.to_owned(),
            }),
            "x11" => x11(rest),
            "v4l2" => camera(rest),
            // A shell would have made a path of it.
            "file" if rest.starts_with('~') => Err(InvalidSource::Home(rest.to_owned())),
            "file" => Ok(Self::File {
                path: needed(rest, "file:", "a path", "file:/srv/video.mp4")?.into(),
            }),
            "lavfi" => Ok(Self::Lavfi {
                graph: needed(rest, "lavfi:", "a filter graph", "lavfi:smptebars")?.into(),
            }),
            "exec" => Ok(Self::Exec {
                command: needed(rest.trim(), "exec:", "a command", "exec:rpicam-vid -t 0 --inline -o -")?.into(),
            }),
            "slate" => slate(rest)
                .map(Self::Slate)
                .ok_or_else(|| InvalidSource::Slate(rest.to_owned())),
            _ => match Protocol::ALL.into_iter().find(|protocol| protocol.scheme() == scheme) {
                Some(protocol) => network(protocol, url),
                None => Err(unknown()),
            },
        }
    }
}

/// The rates that a camera may be asked for.
const CAMERA_RATES: RangeInclusive<u32> = 1..=240;

fn camera(rest: &str) -> Result<Source, InvalidSource> {
    let (device, query) = rest.split_once('?').unwrap_or((rest, ""));
    let device = needed(device, "v4l2:", "a device", "v4l2:/dev/video0")?;
    if !device.starts_with('/') {
        return Err(InvalidSource::Device(device.to_owned()));
    }
    let device = device.into();
    let mut options = CameraOptions::default();
    for option in query.split('&').filter(|option| !option.is_empty()) {
        let odd = || InvalidSource::CameraOption(option.to_owned());
        match option.split_once('=').ok_or_else(odd)? {
            ("size", size) => {
                let edges = size.split_once('x');
                let edges =
                    edges.and_then(|(width, height)| Some((width.parse::<u32>().ok()?, height.parse::<u32>().ok()?)));
                let edges = edges.filter(|(width, height)| (*width).min(*height) >= SMALLEST_EDGE);
                options.size = Some(edges.ok_or_else(odd)?);
            }
            ("format", name) => {
                let found = CameraFormat::ALL.iter().find(|(_, known)| *known == name);
                options.format = Some(found.ok_or_else(odd)?.0);
            }
            ("fps", rate) => {
                let rate = rate.parse().ok().filter(|rate| CAMERA_RATES.contains(rate));
                options.fps = Some(rate.ok_or_else(odd)?);
            }
            _ => return Err(odd()),
        }
    }
    Ok(Source::V4l2 { device, options })
}

fn needed<'a>(
    rest: &'a str,
    scheme: &'static str,
    needed: &'static str,
    example: &'static str,
) -> Result<&'a str, InvalidSource> {
    if rest.is_empty() {
        Err(InvalidSource::Missing {
            scheme,
            needed,
            example,
        })
    } else {
        Ok(rest)
    }
}

fn network(protocol: Protocol, url: &str) -> Result<Source, InvalidSource> {
    let url_of_ours = url.split_once("://").is_some_and(|(_, rest)| {
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let port = authority.trim_start_matches('@').strip_prefix(':');
        protocol.may_listen() && port.is_some_and(|port| port.parse::<u16>().is_ok())
    });
    let (needed, example) = match protocol {
        Protocol::Rtsp | Protocol::Rtsps => ("//host/path", "rtsp://camera/stream"),
        Protocol::Http | Protocol::Https => ("//host/path", "http://camera/video.mjpg"),
        Protocol::Rtmp | Protocol::Rtmps => ("//host/app/name", "rtmp://server/live/door"),
        Protocol::Srt => ("//host:port", "srt://server:9000"),
        Protocol::Udp => ("//host:port", "udp://@239.0.0.1:1234"),
    };
    let has_port = protocol.tcp_port().is_some() || Address::of(url).is_some_and(|address| address.port.is_some());
    if url_of_ours || (Address::of(url).is_some() && has_port) {
        let url = url.to_owned();
        return Ok(Source::Network { protocol, url });
    }
    if has_odd_port(url) {
        return Err(InvalidSource::Port);
    }
    Err(InvalidSource::Missing {
        scheme: protocol.kind(),
        needed,
        example,
    })
}

/// Whether digits stand behind a host that are no port.
fn has_odd_port(url: &str) -> bool {
    let authority = url
        .split_once("://")
        .and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
    let host = authority.map(|authority| authority.rsplit_once('@').map_or(authority, |(_, host)| host));
    host.and_then(|host| host.rsplit_once(':')).is_some_and(|(host, port)| {
        let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        is_number && !host.is_empty() && port.parse::<u16>().is_err()
    })
}

/// A path or a display alone says what kind of source it most likely is.
fn meant(url: &str) -> Option<String> {
    let device = url.split('?').next().unwrap_or_default();
    let is_device = device.starts_with("/dev/video") || device.starts_with("/dev/v4l/");
    // Some cameras' paths have a password in them.
    if is_device && !device.contains(['=', '&']) && camera(url).is_ok() {
        Some(format!("v4l2:{url}"))
    } else if url.starts_with('/') && !url.contains(['@', ':', '=', '?', '&']) {
        Some(format!("file:{url}"))
    } else if url.starts_with(':') && x11(url).is_ok() {
        Some(format!("x11:{url}"))
    } else {
        None
    }
}

fn x11(rest: &str) -> Result<Source, InvalidSource> {
    let (display, region) = match rest.split_once('+') {
        Some((display, text)) => (
            display,
            Some(region(text).ok_or_else(|| InvalidSource::Region(text.to_owned()))?),
        ),
        None => (rest, None),
    };
    let number = display
        .rsplit_once(':')
        .map(|(_host, number)| number)
        .unwrap_or_default();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (server, screen) = number.split_once('.').unwrap_or((number, "0"));
    if !is_number(server) || !is_number(screen) {
        return Err(InvalidSource::Display(display.to_owned()));
    }
    Ok(Source::X11 {
        display: display.to_owned(),
        region,
    })
}

fn slate(rest: &str) -> Option<Slate> {
    let (until, reason) = rest.split_once(',')?;
    Some(Slate {
        until: Duration::from_secs(until.parse().ok()?),
        reason: percent_decode_str(reason).decode_utf8().ok()?.into_owned(),
    })
}

fn region(text: &str) -> Option<Region> {
    let mut parts = text.split(',');
    let (x, y, size) = (parts.next()?, parts.next()?, parts.next()?);
    let (width, height) = size.split_once('x')?;
    let region = Region {
        x: x.parse().ok()?,
        y: y.parse().ok()?,
        width: width.parse().ok()?,
        height: height.parse().ok()?,
    };
    (parts.next().is_none() && region.width >= SMALLEST_EDGE && region.height >= SMALLEST_EDGE).then_some(region)
}
