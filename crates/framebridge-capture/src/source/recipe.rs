//! Says how FFmpeg opens each kind of source.

use std::{fs, path::PathBuf, time::Duration};

use framebridge_config::{Slate, Source as Location};

use super::Config;
use crate::{ffi::Opening, slate};

/// What FFmpeg opens, and how what comes out of it is treated.
pub(super) struct Recipe {
    format: Option<&'static str>,
    url: String,
    options: Vec<(&'static str, String)>,
    probe: bool,
    /// Begins again where it ends.
    pub(super) looped: bool,
    /// Comes as fast as it is read, so it has to be held to its own timestamps.
    pub(super) paced: bool,
    /// Made by FFmpeg's own filters.
    pub(super) painted: bool,
    /// What is drawn into its pictures.
    pub(super) overlay: Overlay,
    /// FFmpeg looks at the interrupt while it reads.
    pub(super) network: bool,
    /// What the timestamps mean.
    pub(super) clock: Clock,
    /// The display to keep an eye on.
    pub(super) display: Option<String>,
    /// The file that is played again and again.
    pub(super) file: Option<PathBuf>,
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

/// Network cameras say most about themselves at once; FFmpeg's default of 5 s is for files without headers.
const PROBE_MICROS: u32 = 1_000_000;
const PROBE_BYTES: u32 = 1_000_000;

/// For cameras that send by UDP: a second of a 16 Mb/s stream.
const UDP_BUFFER_BYTES: u32 = 2 << 20;

/// FFmpeg's own limit for a socket, beyond any of ours.
const SOCKET_LIMIT: Duration = Duration::from_secs(600);

impl Recipe {
    /// The recipe for `config`'s source.
    pub(super) fn new(config: &Config) -> Self {
        let fps = config.fps;
        match &config.location {
            Location::Test => {
                let graph = format!("testsrc2=size=1280x720:rate={fps},format=yuv420p");
                Self {
                    paced: true,
                    overlay: Overlay::Stamp,
                    ..Self::device("lavfi", graph)
                }
            }
            Location::Lavfi { graph } => Self {
                paced: true,
                ..Self::device("lavfi", graph.clone())
            },
            Location::Slate(slate) => Self {
                paced: true,
                overlay: Overlay::Slate(slate.clone()),
                ..Self::device("lavfi", slate::GRAPH.to_owned())
            },
            Location::X11 { display, region } => {
                // With the pointer drawn, FFmpeg asks the server for each picture and so notices most deaths itself.
                let mut options = vec![("framerate", fps.to_string()), ("draw_mouse", "1".to_owned())];
                let mut url = display.clone();
                if let Some(part) = region {
                    url = format!("{display}+{},{}", part.x, part.y);
                    options.push(("video_size", format!("{}x{}", part.width, part.height)));
                }
                let display = Some(display.clone());
                Self {
                    options,
                    clock: Clock::WallMicros,
                    display,
                    ..Self::device("x11grab", url)
                }
            }
            Location::V4l2 { device } => {
                let options = vec![("framerate", fps.to_string())];
                Self {
                    options,
                    ..Self::device("v4l2", device.display().to_string())
                }
            }
            Location::Rtsp { url } => Self::rtsp(url),
            Location::File { path } => {
                // A FIFO or a device node can't begin again, and is no file to probe at leisure either.
                let looped = fs::metadata(path).is_ok_and(|found| found.is_file());
                let url = format!("file:{}", path.display());
                Self {
                    format: None,
                    probe: true,
                    looped,
                    file: looped.then(|| path.clone()),
                    paced: true,
                    ..Self::device("", url)
                }
            }
        }
    }

    /// What is handed to FFmpeg.
    pub(super) fn opening(&self) -> Opening<'_> {
        Opening {
            format: self.format,
            url: &self.url,
            options: &self.options,
            probe: self.probe,
        }
    }

    fn device(format: &'static str, url: String) -> Self {
        Self {
            format: Some(format),
            url,
            options: Vec::new(),
            probe: false,
            looped: false,
            paced: false,
            painted: format == "lavfi",
            overlay: Overlay::Nothing,
            network: false,
            clock: Clock::Arrival,
            display: None,
            file: None,
        }
    }

    fn rtsp(url: &str) -> Self {
        let options = vec![
            // UDP for cameras that refuse TCP: then with the reordering buffer that FFmpeg gives it.
            ("rtsp_flags", "prefer_tcp".to_owned()),
            ("buffer_size", UDP_BUFFER_BYTES.to_string()),
            // Silence is judged by the interrupt, whose patience changes with what is learnt of the camera.
            ("timeout", SOCKET_LIMIT.as_micros().to_string()),
            ("fflags", "nobuffer".to_owned()),
            ("analyzeduration", PROBE_MICROS.to_string()),
            ("probesize", PROBE_BYTES.to_string()),
        ];
        Self {
            options,
            probe: true,
            network: true,
            ..Self::device("rtsp", encoded_userinfo(url))
        }
    }
}

/// `url` with its user and password as FFmpeg understands them: what would end the host's part is percent-encoded. They end
/// at the last `@` before the path; where there is none, but what looks like a port is no number, at the last `@` of all.
fn encoded_userinfo(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let port = authority.rsplit_once(':').map(|(_, port)| port);
    let has_port = port.is_none_or(|port| port.ends_with(']') || port.bytes().all(|byte| byte.is_ascii_digit()));
    let end = match authority.rfind('@') {
        None if !has_port => rest.rfind('@'),
        found => found,
    };
    let Some(end) = end else {
        return url.to_owned();
    };
    let mut encoded = format!("{scheme}://");
    for character in rest[..end].chars() {
        match character {
            '/' => encoded.push_str("%2F"),
            '?' => encoded.push_str("%3F"),
            '#' => encoded.push_str("%23"),
            '@' => encoded.push_str("%40"),
            other => encoded.push(other),
        }
    }
    encoded + &rest[end..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_encoded_as_far_as_they_have_to_be() {
        for (url, encoded) in [
            ("rtsp://cam/s", "rtsp://cam/s"),
            ("rtsp://cam:554/s?x=1@2", "rtsp://cam:554/s?x=1@2"),
            ("rtsp://[::1]:554/s@t", "rtsp://[::1]:554/s@t"),
            ("rtsp://[::1]/s@t", "rtsp://[::1]/s@t"),
            ("rtsp://u:p@cam/x@y", "rtsp://u:p@cam/x@y"),
            ("rtsp://u:p@ss@cam/s", "rtsp://u:p%40ss@cam/s"),
            ("rtsp://u:p/s@cam:554/s", "rtsp://u:p%2Fs@cam:554/s"),
            ("rtsp://u:p?s@cam/s", "rtsp://u:p%3Fs@cam/s"),
            ("rtsp://u:p#s@cam/s?a=b", "rtsp://u:p%23s@cam/s?a=b"),
            ("rtsp://u:p%2Fs@cam/s", "rtsp://u:p%2Fs@cam/s"),
        ] {
            assert_eq!(encoded_userinfo(url), encoded);
        }
    }
}
