//! Decodes pictures that were sent on without being decoded: for images, and for whatever else needs to see one.

use ffmpeg_next::{
    Error, Packet,
    codec::{self, Flags, Id},
    color::Range,
    decoder,
    error::EAGAIN,
    frame,
};

use crate::{
    EncodedFrame, FfmpegError, Picture,
    colour::{Colours, Unsaid},
};

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// FFmpeg has no decoder for H.264, or none that opens.
    #[error("this machine's FFmpeg does not decode H.264")]
    Open(#[source] FfmpegError),
    /// What was given can't be decoded.
    #[error("the stream can't be decoded")]
    Decode(#[source] FfmpegError),
}

/// A decoder of H.264 frames that follow each other, from a keyframe on. Belongs to one thread.
pub struct FrameDecoder {
    decoder: decoder::Video,
    last: Option<frame::Video>,
}

impl FrameDecoder {
    /// One that has seen nothing.
    ///
    /// # Errors
    /// FFmpeg was built without it.
    pub fn new() -> Result<Self, DecodeError> {
        crate::init();
        let failed = |code| DecodeError::Open(FfmpegError::of(code));
        let found = decoder::find(Id::H264).ok_or(Error::DecoderNotFound).map_err(failed)?;
        let mut context = codec::Context::new_with_codec(found);
        // Nothing comes in another order than it is shown in.
        context.set_flags(Flags::LOW_DELAY);
        let decoder = context
            .decoder()
            .open_as(found)
            .and_then(|opened| opened.video())
            .map_err(failed)?;
        Ok(Self { decoder, last: None })
    }

    /// Decodes the next frame, and gives the picture that comes of it.
    ///
    /// # Errors
    /// FFmpeg can't. The next keyframe may be better.
    pub fn decode(&mut self, coded: &EncodedFrame) -> Result<Option<Picture>, DecodeError> {
        self.feed(coded)?;
        Ok(self.last.take().map(|frame| picture(frame, coded.captured_ns)))
    }

    fn feed(&mut self, coded: &EncodedFrame) -> Result<(), DecodeError> {
        let mut packet = Packet::copy(&coded.payload);
        packet.set_pts(i64::try_from(coded.pts).ok());
        let failed = |code| DecodeError::Decode(FfmpegError::of(code));
        self.decoder.send_packet(&packet).map_err(failed)?;
        self.drain().map_err(failed)
    }

    fn drain(&mut self) -> Result<(), Error> {
        loop {
            let mut frame = frame::Video::empty();
            match self.decoder.receive_frame(&mut frame) {
                Ok(()) => self.last = Some(frame),
                Err(Error::Other { errno: EAGAIN } | Error::Eof) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// The picture that the last of `frames` shows, which begin with a keyframe. `None`: there is none in them.
///
/// # Errors
/// FFmpeg can't decode them.
pub fn last_picture(frames: &[EncodedFrame]) -> Result<Option<Picture>, DecodeError> {
    let Some(newest) = frames.last() else {
        return Ok(None);
    };
    let mut decoder = FrameDecoder::new()?;
    for coded in frames {
        decoder.feed(coded)?;
    }
    let failed = |code| DecodeError::Decode(FfmpegError::of(code));
    decoder.decoder.send_eof().map_err(failed)?;
    decoder.drain().map_err(failed)?;
    Ok(decoder.last.map(|frame| picture(frame, newest.captured_ns)))
}

fn picture(mut frame: frame::Video, captured_ns: u64) -> Picture {
    let unsaid = Unsaid {
        matrix: None,
        grey: Range::MPEG,
    };
    Colours::of(&frame, unsaid).tag(&mut frame);
    Picture { frame, captured_ns }
}

impl std::fmt::Debug for FrameDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameDecoder").finish_non_exhaustive()
    }
}
