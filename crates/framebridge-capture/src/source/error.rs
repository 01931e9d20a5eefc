//! Why there is no source, or no further picture from it.

use std::{io, time::Duration};

use ffmpeg_next::Error;
use framebridge_core::source_life::Failure;
use x11rb::errors::ConnectError;

use crate::{CameraError, DisplayError, FfmpegError};

/// Why there is no source, or no further picture from it.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Somebody called [`Interrupt::stop`](crate::Interrupt::stop).
    #[error("capture was stopped")]
    Stopped,
    /// The display of an `x11:` source.
    #[error(transparent)]
    Display(#[from] DisplayError),
    /// The camera of an `rtsp:` source.
    #[error(transparent)]
    Camera(#[from] CameraError),
    /// The command of an `exec:` source did not start.
    #[error("the command does not start")]
    Command(#[source] std::io::Error),
    /// The command of an `exec:` source has ended.
    #[error("the command has ended: {0}")]
    CommandEnded(String),
    /// The command of an `exec:` source runs, and has written nothing to be shown.
    #[error("the command has written no picture for {:.1} s", waited.as_secs_f32())]
    Mute {
        /// How long it was waited for.
        waited: Duration,
    },
    /// Nobody publishes a `whip:` source.
    #[error("nobody publishes to {0}")]
    Unpublished(String),
    /// Pictures of a `whip:` source came, and come no more: its publisher has left, or we were too slow to read them all.
    #[error("what was published to {0} has ended")]
    PublishedEnded(String),
    /// The process is not there that takes what is published.
    #[error("signaling is not there to take what is published to {0}")]
    NoFeed(String),
    /// Somebody publishes, and sends no keyframe.
    #[error("whoever publishes to {endpoint} has sent no keyframe for {:.1} s", waited.as_secs_f32())]
    NoKeyframe {
        /// Where it is published.
        endpoint: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// It can't be opened, has no video, or none that FFmpeg decodes.
    #[error("can't open the source")]
    Open(#[source] FfmpegError),
    /// A camera that somebody else uses.
    #[error("it is in use by {0}")]
    Busy(String),
    /// Its group is one that nothing comes from.
    #[error(
        "no network of this machine leads to this group: add a route to it, or name the address of a network by `?localaddr=192.0.2.7`"
    )]
    NoRoute,
    /// A file with nothing in it.
    #[error("the file is empty")]
    Empty,
    /// It was opened, and has no video.
    #[error("there is no video in it")]
    NoVideo,
    /// It has video that this machine's FFmpeg has no decoder for.
    #[error("this machine's FFmpeg has no decoder for its video")]
    NoDecoder,
    /// It did not answer in time, as FFmpeg or its deadline saw it.
    #[error("the source did not answer within {:.1} s", waited.as_secs_f32())]
    OpenTimeout {
        /// How long it was waited for.
        waited: Duration,
        /// FFmpeg's reason, where it has one besides that we ended it.
        #[source]
        source: Option<FfmpegError>,
    },
    /// Reading failed.
    #[error("can't read from the source")]
    Read(#[source] FfmpegError),
    /// What was read can't be decoded.
    #[error("can't decode the source")]
    Decode(#[source] FfmpegError),
    /// Nothing came from the network in time.
    #[error("the source was silent for {} s", limit.as_secs_f32())]
    Silent {
        /// How long it was given.
        limit: Duration,
    },
    /// Data comes, pictures do not.
    #[error("the source delivers data, but no picture for {} s", limit.as_secs())]
    NoPicture {
        /// How long it was given.
        limit: Duration,
    },
    /// It is over.
    #[error("the source has ended")]
    Ended,
    /// It is over, and there was no picture in it.
    #[error("the source holds no picture that can be decoded")]
    Undecodable(#[source] FfmpegError),
}

impl SourceError {
    /// What it means for the next try.
    pub fn failure(&self) -> Failure {
        match self {
            Self::Camera(error) => error.failure(),
            Self::Open(error)
            | Self::OpenTimeout {
                source: Some(error), ..
            } => failure(error.code()),
            Self::Display(DisplayError::Connect(error)) if is_absent(error) => Failure::Unreachable,
            Self::Stopped
            | Self::Display(_)
            | Self::Command(_)
            | Self::CommandEnded(_)
            | Self::Unpublished(_)
            | Self::PublishedEnded(_)
            | Self::NoFeed(_)
            | Self::NoKeyframe { .. }
            | Self::OpenTimeout { source: None, .. }
            | Self::Mute { .. }
            | Self::Busy(_)
            | Self::NoRoute
            | Self::Empty
            | Self::NoVideo
            | Self::NoDecoder
            | Self::Read(_)
            | Self::Decode(_)
            | Self::Silent { .. }
            | Self::NoPicture { .. }
            | Self::Ended
            | Self::Undecodable(_) => Failure::Other,
        }
    }
}

/// Whether a display is not there at all: one that refuses us would do so again.
fn is_absent(error: &ConnectError) -> bool {
    let absent = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
    matches!(error, ConnectError::IoError(error) if absent.contains(&error.kind()))
}

/// What FFmpeg's code means.
fn failure(code: Error) -> Failure {
    let unreachable = [
        libc::ECONNREFUSED,
        libc::EHOSTUNREACH,
        libc::ENETUNREACH,
        libc::ETIMEDOUT,
        // A file or a device that is not there.
        libc::ENOENT,
    ];
    if code == Error::HttpUnauthorized {
        Failure::Refused
    } else if unreachable.iter().any(|errno| code == Error::Other { errno: *errno }) {
        Failure::Unreachable
    } else {
        Failure::Other
    }
}
