//! Writes encoded pictures as MP4 (ISO/IEC 14496-12) with FFmpeg's muxer, without encoding again.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _},
    time::Duration,
};

use bytes::Bytes;
use ffmpeg_next::{
    Dictionary, Error, Packet, Rational, encoder,
    format::{self, context::StreamIo},
    packet::Flags,
};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::{EncodedFrame, FfmpegError, annexb, encode::CLOCK_RATE, ffi};

/// Bytes of an index of no pictures, and of each picture in it at most: an entry in each of the tables for sizes, times,
/// chunks and keyframes.
const INDEX: usize = 4096;
const INDEX_ENTRY: usize = 40;

/// A film in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clip {
    /// The file's bytes: the index first, so that it plays while it is still being loaded.
    pub mp4: Bytes,
    /// How long it lasts, the last picture's own time included.
    pub duration: Duration,
}

/// Why there is no clip.
#[derive(Debug, thiserror::Error)]
pub enum ClipError {
    /// There is nothing to begin with.
    #[error("a clip has to begin with a keyframe")]
    NoKeyframe,
    /// The muxer failed.
    #[error("can't write the clip")]
    Mux(#[source] FfmpegError),
    /// The system has no memory for it.
    #[error("can't keep the clip in memory")]
    Memory(#[from] io::Error),
}

/// `pictures` of `size` pixels, from a keyframe on, as a film with their own times.
///
/// # Errors
/// They begin with no keyframe, FFmpeg can't write them, or there is no memory.
pub fn clip(size: (u32, u32), pictures: &[EncodedFrame]) -> Result<Clip, ClipError> {
    let first = pictures.first().filter(|first| first.keyframe);
    let first = first.ok_or(ClipError::NoKeyframe)?;
    crate::init();
    let times = times(pictures);
    let mut file = File::from(memfd_create("framebridge-clip", MemfdFlags::CLOEXEC).map_err(io::Error::from)?);
    write(file.try_clone()?, size, annexb::heads(&first.payload), pictures, &times)
        .map_err(|code| ClipError::Mux(FfmpegError::of(code)))?;
    let mut mp4 = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut mp4)?;
    let ticks = times.last().map_or(0, |(at, lasts)| at + lasts).unsigned_abs();
    Ok(Clip {
        mp4: mp4.into(),
        duration: Duration::from_secs(ticks) / CLOCK_RATE.unsigned_abs(),
    })
}

/// When each picture is shown, from the first one on, and for how long; the last one for as long as the one before it.
fn times(pictures: &[EncodedFrame]) -> Vec<(i64, i64)> {
    let start = pictures.first().map_or(0, |first| first.pts);
    let at = |picture: &EncodedFrame| i64::try_from(picture.pts.saturating_sub(start)).unwrap_or(i64::MAX);
    let mut lasts = 0;
    let mut times: Vec<(i64, i64)> = pictures
        .windows(2)
        .map(|pair| {
            lasts = at(&pair[1]) - at(&pair[0]);
            (at(&pair[0]), lasts)
        })
        .collect();
    times.extend(pictures.last().map(|last| (at(last), lasts)));
    times
}

fn write(
    file: File,
    size: (u32, u32),
    heads: &[u8],
    pictures: &[EncodedFrame],
    times: &[(i64, i64)],
) -> Result<(), Error> {
    let mut output = format::output_to_stream(StreamIo::from_write_seek(file)?, None, Some("mp4"))?;
    let mut stream = output.add_stream(encoder::find(ffmpeg_next::codec::Id::None))?;
    stream.set_time_base(Rational(1, CLOCK_RATE));
    ffi::describe_h264(&mut stream, size, heads)?;
    let mut options = Dictionary::new();
    let index = INDEX + INDEX_ENTRY * pictures.len();
    options.set("moov_size", &index.to_string());
    output.write_header_with(options)?;
    // The muxer may have chosen a clock of its own.
    let clock = output.stream(0).ok_or(Error::StreamNotFound)?.time_base();
    for (picture, (at, lasts)) in pictures.iter().zip(times) {
        let mut packet = Packet::copy(&picture.payload);
        packet.set_pts(Some(*at));
        packet.set_dts(Some(*at));
        packet.set_duration(*lasts);
        packet.set_flags(if picture.keyframe { Flags::KEY } else { Flags::empty() });
        packet.rescale_ts(Rational(1, CLOCK_RATE), clock);
        packet.write(&mut output)?;
    }
    output.write_trailer()
}
