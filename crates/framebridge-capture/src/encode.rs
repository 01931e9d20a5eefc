//! H.264: one encoder, opened for one size and frame rate, tuned to give out each picture before the next one comes.

mod choice;
mod codec;

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use ffmpeg_next::{Error, Packet, Rational, codec::Context, encoder, error::EAGAIN, format::Pixel, frame, picture};
use framebridge_core::rate_meter::RateMeter;

use crate::{
    FfmpegError, Picture, ScaleError, Scaler, annexb,
    colour::Colours,
    ffi::{self, VaapiFrames},
    scale::Target,
};

pub use choice::{Choice, choose, probe};
pub use codec::Codec;

/// The clock of [`EncodedFrame::pts`]: RTP's for video, RFC 6184 section 8.2.1.
pub(crate) const CLOCK_RATE: i32 = 90_000;

/// A moment of the machine's monotonic clock in that one's ticks. In 128 bits: a machine that has run for a month has more
/// nanoseconds than 64 bits hold 90,000 times.
pub(crate) fn pts_of(captured_ns: u64) -> u64 {
    let ticks = u128::from(captured_ns) * u128::from(CLOCK_RATE.unsigned_abs()) / 1_000_000_000;
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

/// An IDR comes by itself this often, for those who can't ask. Viewers ask, so it is rare: an IDR costs several
/// times what another picture does. Counted in the pictures' time, because their number says little of it.
const GROUP_NS: u64 = 10_000_000_000;

/// Pictures in a group, for encoders: more than any has in that time.
const GROUP_PICTURES: u32 = 65_535;

/// The rate control's buffer in seconds of stream: how far one picture may exceed its share. A whole second would let
/// an IDR delay what follows by as much on a link of just that rate; a quarter makes IDRs coarse at 500 kb/s.
const RATE_BUFFER_SECONDS: f64 = 0.5;

/// The rate control is told of another frame rate when it differs by more than this part.
const RATE_CHANGE: f64 = 0.05;

/// What comes is measured over so long: a second's bits are what is promised.
const RATE_WINDOW: Duration = Duration::from_secs(1);

/// More pictures than come in a second.
const MOST_LEFT_OUT: u32 = 120;

/// Slower streams than this get no more bits for a picture: it would be late by what it takes to send it.
const SLOWEST_FPS: f64 = 1.0;

/// Pictures an encoder may hold back; hardware ones keep a few. One that holds more does not encode live.
const MAX_IN_FLIGHT: usize = 8;

/// What an encoder is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Picture size in pixels, both even.
    pub size: (u32, u32),
    /// Frames per second at most. The bitrate is divided over what really comes.
    pub fps: u32,
    /// Bits per second.
    pub bitrate: u32,
    /// What the stream says of its colours, and what pictures are converted to.
    pub colours: Colours,
}

impl Config {
    /// Whether an encoder that is open for one of the two can go on for the other.
    pub fn differs_in_rate_only(self, other: Self) -> bool {
        Self {
            bitrate: other.bitrate,
            ..self
        } == other
    }
}

/// An open encoder. Belongs to one thread, with the scaler before it.
pub struct Encoder {
    codec: Codec,
    config: Config,
    encoder: encoder::Video,
    scaler: Scaler,
    /// Where pictures go before the encoder, for one that takes them from its device's memory.
    device: Option<VaapiFrames>,
    in_flight: VecDeque<InFlight>,
    last_pts: u64,
    /// When the picture was taken that the present group begins with.
    group_ns: u64,
    last_ns: u64,
    /// What really comes.
    meter: RateMeter,
    /// What the rate control was last told that comes.
    fps: f64,
}

#[derive(Debug, Clone, Copy)]
struct InFlight {
    pts: u64,
    captured_ns: u64,
}

/// One picture as it left the encoder: an access unit.
#[derive(Debug, Clone)]
pub struct EncodedFrame {
    /// Annex B bytes, not copied out of FFmpeg's buffer.
    pub payload: Bytes,
    /// Whether it is an IDR with SPS and PPS before it.
    pub keyframe: bool,
    /// Presentation time, 90 kHz, of the capture clock.
    pub pts: u64,
    /// When the picture was taken.
    pub captured_ns: u64,
}

/// Why a picture could not be encoded, or an encoder not be opened.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The encoder did not open.
    #[error("{codec} does not open")]
    Open {
        /// Which one.
        codec: Codec,
        /// FFmpeg's reason.
        #[source]
        source: FfmpegError,
    },
    /// The picture could not be brought into the encoder's format.
    #[error(transparent)]
    Scale(#[from] ScaleError),
    /// The encoder failed on a picture.
    #[error("{codec} failed")]
    Encode {
        /// Which one.
        codec: Codec,
        /// FFmpeg's reason.
        #[source]
        source: FfmpegError,
    },
    /// It takes pictures and gives none.
    #[error("{codec} holds back more than {MAX_IN_FLIGHT} pictures")]
    HoldsBack {
        /// Which one.
        codec: Codec,
    },
    /// What it calls a start can't be decoded from.
    #[error("{codec} starts without SPS, PPS and IDR")]
    NotSelfContained {
        /// Which one.
        codec: Codec,
    },
}

impl Encoder {
    /// Opens `codec`.
    ///
    /// # Errors
    /// It is not compiled in, its device is missing, or it refuses the configuration.
    pub fn open(codec: Codec, config: Config) -> Result<Self, EncodeError> {
        crate::init();
        let failed = |code| EncodeError::Open {
            codec,
            source: FfmpegError::of(code),
        };
        let found = encoder::find_by_name(codec.ffmpeg_name())
            .ok_or(Error::EncoderNotFound)
            .map_err(failed)?;
        let mut video = Context::new_with_codec(found).encoder().video().map_err(failed)?;
        video.set_width(config.size.0);
        video.set_height(config.size.1);
        let device = if codec == Codec::Vaapi {
            let device = VaapiFrames::open(config.size).map_err(failed)?;
            device.attach(&mut video).map_err(failed)?;
            Some(device)
        } else {
            None
        };
        video.set_format(if device.is_some() {
            Pixel::VAAPI
        } else {
            codec.pixel_format()
        });
        video.set_time_base(Rational(1, CLOCK_RATE));
        video.set_frame_rate(i32::try_from(config.fps).ok().map(|fps| Rational(fps, 1)));
        video.set_gop(GROUP_PICTURES);
        video.set_max_b_frames(0);
        video.set_colorspace(config.colours.matrix);
        video.set_color_range(config.colours.range);
        video.set_color_primaries(config.colours.primaries);
        video.set_color_transfer_characteristic(config.colours.transfer);
        video.set_threading(codec.threading(config.size));
        set_rate(&mut video, config.bitrate.into(), config.bitrate);
        let encoder = codec.open(video, found).map_err(failed)?;
        Ok(Self {
            codec,
            config,
            encoder,
            scaler: Scaler::new(),
            device,
            in_flight: VecDeque::with_capacity(MAX_IN_FLIGHT),
            last_pts: 0,
            group_ns: 0,
            last_ns: 0,
            meter: RateMeter::new(RATE_WINDOW),
            fps: f64::from(config.fps),
        })
    }

    /// What it is open for.
    pub fn config(&self) -> Config {
        self.config
    }

    /// Changes the rate from the next picture on, without an IDR.
    pub fn set_bitrate(&mut self, bitrate: u32) {
        if bitrate != self.config.bitrate {
            self.config.bitrate = bitrate;
            self.spread();
        }
    }

    /// Tells the rate control what each picture may take. It believes in the frame rate that it was opened for, without
    /// delay at least; so where fewer come it is told a rate that is higher by as much.
    fn spread(&mut self) {
        let rate = f64::from(self.config.bitrate) * f64::from(self.config.fps.max(1)) / self.fps;
        set_rate(&mut self.encoder, rate, self.config.bitrate);
    }

    /// Takes in when a picture was taken, and how many came since the last one and are not encoded because they are the same.
    fn measure(&mut self, captured_ns: u64, left_out: u32) {
        let left_out = if self.last_ns == 0 {
            0
        } else {
            left_out.min(MOST_LEFT_OUT)
        };
        let last = Duration::from_nanos(self.last_ns);
        let step = Duration::from_nanos(captured_ns).saturating_sub(last) / (left_out + 1);
        for number in 1..=left_out {
            self.meter.add(last + step * number);
        }
        self.meter.add(Duration::from_nanos(captured_ns));
        let fps = self
            .meter
            .a_second()
            .map(|fps| fps.clamp(SLOWEST_FPS, f64::from(self.config.fps.max(1))));
        if let Some(fps) = fps.filter(|fps| (fps / self.fps - 1.0).abs() > RATE_CHANGE) {
            self.fps = fps;
            self.spread();
        }
    }

    /// Encodes one picture, scaled to the encoder's size. `keyframe` makes it an IDR. What comes out is mostly this
    /// very picture; a hardware encoder may give an earlier one, or none yet. `left_out`: so many came since the last one and
    /// are not encoded, because they show the same; the bits of what moves next are counted by them.
    ///
    /// # Errors
    /// It could not be scaled, or the encoder failed and is of no further use.
    pub fn encode_after(
        &mut self,
        left_out: u32,
        picture: &Picture,
        keyframe: bool,
    ) -> Result<Option<EncodedFrame>, EncodeError> {
        let target = Target {
            format: self.codec.pixel_format(),
            size: self.config.size,
            colours: self.config.colours,
        };
        let mut frame = self.scaler.convert(picture, &target)?;
        if let Some(device) = &self.device {
            let failed = |code| EncodeError::Encode {
                codec: self.codec,
                source: FfmpegError::of(code),
            };
            frame = device.upload(&frame).map_err(failed)?;
        }
        self.measure(picture.captured_ns, left_out);
        let keyframe = self.begins_group(keyframe, picture.captured_ns);
        let pts = self.next_pts(picture.captured_ns);
        frame.set_pts(i64::try_from(pts).ok());
        // A decoded picture carries its own kind, which would force the encoder's.
        frame.set_kind(if keyframe {
            picture::Type::I
        } else {
            picture::Type::None
        });
        self.send(
            &frame,
            InFlight {
                pts,
                captured_ns: picture.captured_ns,
            },
        )?;
        self.receive()
    }

    /// [`encode_after`](Self::encode_after) for a picture with nothing left out before it.
    ///
    /// # Errors
    /// The same.
    pub fn encode(&mut self, picture: &Picture, keyframe: bool) -> Result<Option<EncodedFrame>, EncodeError> {
        self.encode_after(0, picture, keyframe)
    }

    /// Whether the picture taken at `captured_ns` is to be an IDR: because one was asked for, or because with the next picture
    /// the group would be too long.
    fn begins_group(&mut self, asked: bool, captured_ns: u64) -> bool {
        let step = captured_ns.saturating_sub(std::mem::replace(&mut self.last_ns, captured_ns));
        let begins = asked || captured_ns.saturating_sub(self.group_ns) + step > GROUP_NS;
        if begins {
            self.group_ns = captured_ns;
        }
        begins
    }

    fn next_pts(&mut self, captured_ns: u64) -> u64 {
        // x264 takes timestamps that go back, and muddles them.
        self.last_pts = pts_of(captured_ns).max(self.last_pts + 1);
        self.last_pts
    }

    fn send(&mut self, frame: &frame::Video, entry: InFlight) -> Result<(), EncodeError> {
        let codec = self.codec;
        if self.in_flight.len() == MAX_IN_FLIGHT {
            return Err(EncodeError::HoldsBack { codec });
        }
        self.encoder.send_frame(frame).map_err(|code| EncodeError::Encode {
            codec,
            source: FfmpegError::of(code),
        })?;
        self.in_flight.push_back(entry);
        Ok(())
    }

    fn receive(&mut self) -> Result<Option<EncodedFrame>, EncodeError> {
        let codec = self.codec;
        let mut packet = Packet::empty();
        match self.encoder.receive_packet(&mut packet) {
            Ok(()) => {}
            Err(Error::Other { errno: EAGAIN }) => return Ok(None),
            Err(code) => {
                return Err(EncodeError::Encode {
                    codec,
                    source: FfmpegError::of(code),
                });
            }
        }
        // No B-frames: pictures leave in the order in which they came.
        let entry = self.in_flight.pop_front().ok_or(EncodeError::HoldsBack { codec })?;
        let payload = Bytes::from_owner(Payload(packet));
        let keyframe = annexb::is_idr(&payload);
        if keyframe && !annexb::is_self_contained(&payload) {
            return Err(EncodeError::NotSelfContained { codec });
        }
        Ok(Some(EncodedFrame {
            payload,
            keyframe,
            pts: entry.pts,
            captured_ns: entry.captured_ns,
        }))
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder")
            .field("codec", &self.codec)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// A packet whose bytes can be shared without a copy.
struct Payload(Packet);

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        self.0.data().unwrap_or_default()
    }
}

/// `rate` bits a second by the encoder's clock, with a buffer for a stream of `bitrate`.
fn set_rate(video: &mut encoder::video::Video, rate: f64, bitrate: u32) {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most 50 Mb/s times the 60 pictures of a second: fits a usize"
    )]
    let bits = rate as usize;
    video.set_bit_rate(bits);
    video.set_max_bit_rate(bits);
    #[expect(clippy::cast_possible_truncation, reason = "half of at most 50 Mb/s fits an i32")]
    let buffer = (f64::from(bitrate) * RATE_BUFFER_SECONDS) as i32;
    ffi::set_rate_buffer(video, buffer);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_that_has_run_for_400_days_has_times_like_any() {
        let up = 400 * 86_400 * 1_000_000_000;
        assert_eq!(pts_of(up), 400 * 86_400 * 90_000);
        assert_eq!(pts_of(up + 1_000_000_000) - pts_of(up), 90_000);
    }
}
