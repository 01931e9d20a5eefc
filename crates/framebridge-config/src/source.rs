//! Sources by URL.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

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
    /// `v4l2:DEVICE` — a camera.
    V4l2 {
        /// The device, e.g. `/dev/video0`.
        device: PathBuf,
    },
    /// `rtsp://…` or `rtsps://…` — a network camera, over TCP.
    Rtsp {
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

impl Source {
    /// Whether what it is configured with is not all shown.
    pub fn has_secrets(&self) -> bool {
        matches!(self, Self::Rtsp { url } if *url != self.to_string())
    }

    /// Its kind: what stands before everything that says where it is.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Test => "test:",
            Self::X11 { .. } => "x11:",
            Self::V4l2 { .. } => "v4l2:",
            Self::Rtsp { url } if url.starts_with("rtsps:") => "rtsps:",
            Self::Rtsp { .. } => "rtsp:",
            Self::File { .. } => "file:",
            Self::Lavfi { .. } => "lavfi:",
            Self::Slate(_) => "slate:",
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

/// Why a URL names no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSource {
    /// Nothing we know starts like this.
    #[error("`{0}` is no source: use test:, x11::0, v4l2:/dev/video0, rtsp://host/path, file:PATH or lavfi:GRAPH")]
    UnknownScheme(String),
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
    /// `test:` takes nothing.
    #[error("`test:` takes nothing after it, found `{0}`")]
    TrailingText(String),
    /// A region that can't be read.
    #[error("`{0}` is no region: use +X,Y,WxH in pixels, e.g. +0,0,1280x720, at least 16x16")]
    Region(String),
    /// A slate that can't be read.
    #[error("`{0}` is no slate: use SECONDS,REASON with the seconds since 1970 and the reason percent-encoded")]
    Slate(String),
    /// A display that X would not understand.
    #[error("`{0}` is no X display: use e.g. :0 or host:0.0")]
    Display(String),
}

/// Narrower than this x264 and X11 both refuse.
const SMALLEST_EDGE: u32 = 16;

impl FromStr for Source {
    type Err = InvalidSource;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let unknown = || InvalidSource::UnknownScheme(without_secrets(url));
        let (scheme, rest) = url.split_once(':').ok_or_else(unknown)?;
        match scheme {
            "test" if rest.is_empty() => Ok(Self::Test),
            "test" => Err(InvalidSource::TrailingText(rest.to_owned())),
            "x11" => x11(rest),
            "v4l2" => Ok(Self::V4l2 {
                device: needed(rest, "v4l2:", "a device", "v4l2:/dev/video0")?.into(),
            }),
            "file" => Ok(Self::File {
                path: needed(rest, "file:", "a path", "file:/srv/video.mp4")?.into(),
            }),
            "lavfi" => Ok(Self::Lavfi {
                graph: needed(rest, "lavfi:", "a filter graph", "lavfi:smptebars")?.into(),
            }),
            "rtsp" | "rtsps" => rtsp(url, rest),
            "slate" => slate(rest)
                .map(Self::Slate)
                .ok_or_else(|| InvalidSource::Slate(rest.to_owned())),
            _ => Err(unknown()),
        }
    }
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

fn rtsp(url: &str, rest: &str) -> Result<Source, InvalidSource> {
    let authority = rest
        .strip_prefix("//")
        .and_then(|rest| rest.split('/').next())
        .unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    if host.is_empty() || host.starts_with(':') {
        return Err(InvalidSource::Missing {
            scheme: "rtsp:",
            needed: "//host/path",
            example: "rtsp://camera/stream",
        });
    }
    Ok(Source::Rtsp { url: url.to_owned() })
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
    if !number.starts_with(|c: char| c.is_ascii_digit()) {
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

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Test => f.write_str("test:"),
            Self::X11 { display, region: None } => write!(f, "x11:{display}"),
            Self::X11 {
                display,
                region: Some(Region { x, y, width, height }),
            } => {
                write!(f, "x11:{display}+{x},{y},{width}x{height}")
            }
            Self::V4l2 { device } => write!(f, "v4l2:{}", device.display()),
            Self::Rtsp { url } => f.write_str(&without_secrets(url)),
            Self::File { path } => write!(f, "file:{}", path.display()),
            Self::Lavfi { graph } => write!(f, "lavfi:{graph}"),
            Self::Slate(Slate { until, reason }) => {
                let reason = utf8_percent_encode(reason, NON_ALPHANUMERIC);
                write!(f, "slate:{},{reason}", until.as_secs())
            }
        }
    }
}

/// Like `Display`, so that a derived Debug around it shows no credentials.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_urls_print_as_they_were_written() {
        for url in [
            "test:",
            "x11::0",
            "x11::0.1+10,20,640x480",
            "x11:localhost:10.0",
            "v4l2:/dev/video0",
            "rtsp://cam/stream?x=1",
            "rtsps://cam:322/s",
            "file:/a b/c.mp4",
            "lavfi:testsrc=size=320x240:rate=5",
            "slate:1795413600,exit%20code%2075%3A%20gone",
        ] {
            assert_eq!(
                url.parse::<Source>().map(|source| source.to_string()),
                Ok(url.to_owned())
            );
        }
    }

    #[test]
    fn credentials_are_kept_for_ffmpeg_and_shown_to_nobody() {
        let source: Source = "rtsp://admin:p@ss@cam/s".parse().expect("a good URL");
        assert_eq!(
            source,
            Source::Rtsp {
                url: "rtsp://admin:p@ss@cam/s".into()
            }
        );
        assert_eq!(format!("{source} {source:?}"), "rtsp://cam/s Source(rtsp://cam/s)");
        let error = "htp://admin:pass@cam/s".parse::<Source>().expect_err("no such scheme");
        assert!(!error.to_string().contains("pass"), "{error}");
    }

    #[test]
    fn bad_urls_say_what_would_be_good() {
        for (url, hint) in [
            ("", "use test:"),
            ("nonsense", "use test:"),
            ("http://x/", "use test:"),
            ("test:x", "takes nothing"),
            ("x11:", "no X display"),
            ("x11:zero", "no X display"),
            ("x11::0+1,2", "no region"),
            ("x11::0+1,2,3x4", "at least 16x16"),
            ("x11::0+-1,2,30x40", "no region"),
            ("v4l2:", "/dev/video0"),
            ("file:", "a path"),
            ("lavfi:", "a filter graph"),
            ("slate:soon", "no slate"),
            ("slate:soon,because", "no slate"),
            ("rtsp:", "//host/path"),
            ("rtsp://", "//host/path"),
            ("rtsp://user@/x", "//host/path"),
        ] {
            let error = url.parse::<Source>().expect_err(url).to_string();
            assert!(error.contains(hint), "{url}: {error}");
        }
    }
}
