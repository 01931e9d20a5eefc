//! Opens what FFmpeg opens, and says why it can't be.

use std::{fs, time::Instant};

use ffmpeg_next::Error;
use framebridge_config::{Protocol, Source as Location};

use super::{Running, SourceError, command::Command, demuxer::Demuxer, published, recipe::Recipe};
use crate::{FfmpegError, Interrupt, ffi, rtsp::Relay, webcam};

/// Opens it, or says why it can't be.
pub(super) fn open(
    recipe: &mut Recipe,
    location: &Location,
    beside: &mut Running,
    interrupt: &Interrupt,
) -> Result<Demuxer, SourceError> {
    let started = Instant::now();
    let opened = Demuxer::open(recipe, interrupt);
    let opened = match opened {
        // Its pictures are told apart in a way that FFmpeg does not know.
        Err(Error::InvalidData) if is_multipart(recipe, location, interrupt) => {
            recipe.loosen();
            Demuxer::open(recipe, interrupt)
        }
        Ok(_) | Err(_) => opened,
    };
    opened.map_err(|code| {
        let (waited, source) = (started.elapsed(), FfmpegError::of(code));
        if interrupt.is_stopped() {
            SourceError::Stopped
        } else if let Some(refusal) = beside.camera.as_ref().and_then(Relay::refusal) {
            SourceError::Camera(refusal)
        } else if let Some(words) = beside.command.as_mut().and_then(Command::last_words) {
            SourceError::CommandEnded(words)
        } else if let (Error::Other { errno: libc::EBUSY }, Location::V4l2 { device, .. }) = (code, location) {
            SourceError::Busy(webcam::users(device).unwrap_or_else(|| "another program".to_owned()))
        } else if is_empty(location) {
            SourceError::Empty
        } else if is_udp(location) && code == (Error::Other { errno: libc::ENODEV }) {
            SourceError::NoRoute
        } else if let Some(endpoint) = beside.endpoint.clone() {
            published::no_publisher(endpoint, code, interrupt.is_overdue().then_some(waited))
        } else if code == Error::StreamNotFound {
            SourceError::NoVideo
        } else if code == Error::DecoderNotFound {
            SourceError::NoDecoder
        } else if recipe.interruptible && interrupt.is_overdue() && beside.command.is_some() {
            SourceError::Mute { waited }
        } else if recipe.interruptible && interrupt.is_overdue() {
            // That it was ended by us is no reason of FFmpeg's.
            let source = (code != Error::Exit).then_some(source);
            SourceError::OpenTimeout { waited, source }
        } else {
            SourceError::Open(source)
        }
    })
}

/// Whether a server says that it sends one picture after the other.
fn is_multipart(recipe: &Recipe, location: &Location, interrupt: &Interrupt) -> bool {
    let is_web = matches!(
        location,
        Location::Network {
            protocol: Protocol::Http | Protocol::Https,
            ..
        }
    );
    let kind = is_web
        .then(|| ffi::content_type(&recipe.opening(), interrupt))
        .flatten();
    kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("multipart/"))
}

/// Whether it is a file with nothing in it: what FFmpeg misses there differs by the file's name.
fn is_empty(location: &Location) -> bool {
    let Location::File { path } = location else {
        return false;
    };
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() == 0)
}

fn is_udp(location: &Location) -> bool {
    matches!(
        location,
        Location::Network {
            protocol: Protocol::Udp,
            ..
        }
    )
}

/// What a source takes that FFmpeg was built without.
pub(crate) fn lacks(location: &Location) -> Option<&'static str> {
    let device = |name: &'static str| (!ffi::has_format(name)).then_some(name);
    match location {
        Location::Network { protocol, .. } => match protocol {
            Protocol::Rtsp | Protocol::Rtsps => device("rtsp"),
            Protocol::Http | Protocol::Https | Protocol::Rtmp | Protocol::Rtmps | Protocol::Srt | Protocol::Udp => {
                let scheme = protocol.scheme();
                (!ffi::has_protocol(&format!("{scheme}://host:1/"))).then_some(scheme)
            }
        },
        Location::X11 { .. } => device("x11grab"),
        Location::V4l2 { .. } => device("v4l2"),
        Location::Test | Location::Lavfi { .. } | Location::Slate(_) => device("lavfi"),
        Location::Whip => (!ffi::has_protocol("unix:/")).then_some("unix"),
        Location::File { .. } | Location::Exec { .. } => None,
    }
}
