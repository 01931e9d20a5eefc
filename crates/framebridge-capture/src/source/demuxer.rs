//! One opened input of FFmpeg's and the decoder of the one stream in it that is shown.

use std::time::Duration;

use ffmpeg_next::{
    Error, Packet, Rational, Rescale as _, codec, decoder, error::EAGAIN, format::context::Input, frame, media::Type,
};

use super::recipe::Recipe;
use crate::{Interrupt, ffi};

const MICROSECOND: Rational = Rational(1, 1_000_000);

pub(super) struct Demuxer {
    input: Input,
    decoder: decoder::Video,
    stream: usize,
    time_base: Rational,
    /// The time between pictures by the container's word, zero if it has none.
    pub(super) interval: Duration,
    draining: bool,
}

/// What the decoder has.
pub(super) enum Decoded {
    Picture,
    /// It wants another packet.
    Hungry,
    /// The input has ended and every picture in it was given out.
    Drained,
}

/// What came of reading one packet.
pub(super) enum Fed {
    /// The decoder has it.
    Packet,
    /// Nothing for the decoder right now; a device that has no picture yet says so at once, again and again.
    Nothing,
}

impl Demuxer {
    pub(super) fn open(recipe: &Recipe, interrupt: &Interrupt) -> Result<Self, Error> {
        let input = ffi::open_input(&recipe.opening(), interrupt)?;
        let stream = input.streams().best(Type::Video).ok_or(Error::StreamNotFound)?;
        let (index, time_base) = (stream.index(), stream.time_base());
        let rate = [stream.avg_frame_rate(), stream.rate()]
            .into_iter()
            .find(|rate| rate.0 > 0 && rate.1 > 0);
        let interval = rate.map(|rate| Duration::from_secs_f64(f64::from(rate.1) / f64::from(rate.0)));
        let decoder = codec::Context::from_parameters(stream.parameters())?
            .decoder()
            .video()?;
        Ok(Self {
            input,
            decoder,
            stream: index,
            time_base,
            interval: interval.unwrap_or_default(),
            draining: false,
        })
    }

    /// The next decoded picture, into `frame`.
    pub(super) fn decode(&mut self, frame: &mut frame::Video) -> Result<Decoded, Error> {
        match self.decoder.receive_frame(frame) {
            Ok(()) => Ok(Decoded::Picture),
            Err(Error::Other { errno: EAGAIN }) => Ok(Decoded::Hungry),
            Err(Error::Eof) => Ok(Decoded::Drained),
            // One broken picture; the decoder goes on with the next.
            Err(Error::InvalidData) => Ok(Decoded::Hungry),
            Err(error) => Err(error),
        }
    }

    /// Reads one packet into the decoder. After the input's end, the decoder gives out what it still holds.
    pub(super) fn feed(&mut self) -> Result<Fed, Error> {
        let mut packet = Packet::empty();
        match packet.read(&mut self.input) {
            Ok(()) if packet.stream() != self.stream => Ok(Fed::Packet),
            Ok(()) => match self.decoder.send_packet(&packet) {
                Ok(()) | Err(Error::InvalidData) => Ok(Fed::Packet),
                Err(error) => Err(error),
            },
            // One broken packet; demuxers find the next one.
            Err(Error::InvalidData) => Ok(Fed::Packet),
            Err(Error::Other { errno: EAGAIN }) => Ok(Fed::Nothing),
            Err(Error::Eof) if !self.draining => {
                self.draining = true;
                self.decoder.send_eof().map(|()| Fed::Packet)
            }
            Err(error) => Err(error),
        }
    }

    /// Goes back to the beginning, if the input can.
    pub(super) fn rewind(&mut self) -> Result<(), Error> {
        self.input.seek(0, ..)?;
        self.decoder.flush();
        self.draining = false;
        Ok(())
    }

    /// A decoded picture's time in the source.
    pub(super) fn timestamp(&self, frame: &frame::Video) -> Option<Duration> {
        let micros = frame.timestamp().or(frame.pts())?.rescale(self.time_base, MICROSECOND);
        u64::try_from(micros).ok().map(Duration::from_micros)
    }
}
