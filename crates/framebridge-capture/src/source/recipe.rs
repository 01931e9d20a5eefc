//! How FFmpeg is to open each kind of source.

use std::fs;

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
    /// What is drawn into its pictures.
    pub(super) overlay: Overlay,
    /// FFmpeg looks at the interrupt while it reads.
    pub(super) network: bool,
    /// What the timestamps mean.
    pub(super) clock: Clock,
    /// The display to keep an eye on.
    pub(super) display: Option<String>,
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
            Location::Rtsp { url } => Self::rtsp(url.clone(), config),
            Location::File { path } => {
                // A FIFO or a device node can't begin again, and is no file to probe at leisure either.
                let looped = fs::metadata(path).is_ok_and(|found| found.is_file());
                let url = format!("file:{}", path.display());
                Self {
                    format: None,
                    probe: true,
                    looped,
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
            overlay: Overlay::Nothing,
            network: false,
            clock: Clock::Arrival,
            display: None,
        }
    }

    fn rtsp(url: String, config: &Config) -> Self {
        let options = vec![
            ("rtsp_transport", "tcp".to_owned()),
            ("timeout", config.silence_limit.as_micros().to_string()),
            ("fflags", "nobuffer".to_owned()),
            ("analyzeduration", PROBE_MICROS.to_string()),
            ("probesize", PROBE_BYTES.to_string()),
        ];
        Self {
            options,
            probe: true,
            network: true,
            ..Self::device("rtsp", url)
        }
    }
}
