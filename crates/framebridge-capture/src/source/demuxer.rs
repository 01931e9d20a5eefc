//! One opened input of FFmpeg's and the decoder of the one stream in it that is shown.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use ffmpeg_next::{
    Dictionary, Discard, Error, Packet, Rational, Rescale as _, Stream,
    codec::{self, Id, packet::side_data::Type as SideData},
    color::{Range, Space},
    decoder,
    error::{EAGAIN, ESPIPE},
    format::{context::Input, stream::Disposition},
    frame,
    media::Type,
    threading,
};
use framebridge_core::{
    as_it_comes::{AsItComes, Obstacle, Seen, Way},
    decode_backlog::{Decode, DecodeBacklog, DecodeRate},
    h264::Sps,
};

use super::{
    allowed::{CODECS, MAX_PIXELS},
    coded::{Coded, CodedPicture},
    recipe::{Recipe, Timing},
};
use crate::{
    FfmpegError, Interrupt,
    colour::{Colours, Unsaid},
    ffi, monotonic_ns,
    shape::{Orientation, Shaped, Shaper},
};

const MICROSECOND: Rational = Rational(1, 1_000_000);

/// Packets that are kept while nothing is known of a stream's size: a camera's first picture is one, or a few with what goes before
/// it.
const MOST_KEPT: usize = 16;

/// So many packets of pictures in another stream, and none in ours: they have moved there. That is less than half a second of most.
const MOVED: u32 = 10;

/// A read that took so long had to wait for the source.
const WAITED: Duration = Duration::from_millis(2);

pub(super) struct Demuxer {
    input: Input,
    decoder: decoder::Video,
    shaper: Shaper,
    unsaid: Unsaid,
    stream: usize,
    time_base: Rational,
    /// The time between pictures by the container's word, zero if it has none.
    pub(super) interval: Duration,
    draining: bool,
    /// What could not be decoded last.
    broken: Option<FfmpegError>,
    /// Of a source that comes whether it is read or not.
    backlog: Option<DecodeBacklog>,
    skipping: bool,
    /// Whether there was a moment without work since the last packet.
    rested: bool,
    /// When its pictures are to be shown: one of arrival, recorded and network.
    pub(super) timing: Timing,
    /// Of a stream whose size is not known yet: what goes into a new decoder where this one has too few threads for it.
    kept: Option<Vec<Packet>>,
    /// H.264 that may be sent on as it comes.
    coded: Option<Coded>,
    /// What was sent on since the last keyframe, as it came: at most [`LONGEST_GROUP`](framebridge_core::as_it_comes::LONGEST_GROUP)
    /// and [`HEAVIEST_GROUP`](framebridge_core::as_it_comes::HEAVIEST_GROUP), or else nothing is sent on any more.
    group: Vec<Packet>,
    /// What is to be decoded before anything else is read: that group.
    pending: VecDeque<Packet>,
    orientation: Orientation,
    /// Whether anything could be read from it.
    has_begun: bool,
    /// Packets of pictures in another stream since the last in ours.
    elsewhere: u32,
}

/// What the decoder has.
pub(super) enum Decoded {
    /// A picture in shape, with its time in the source.
    Picture(frame::Video, Option<Duration>),
    /// A picture that is shown with the next one.
    Held,
    /// It wants another packet.
    Hungry,
    /// The input has ended and every picture in it was given out.
    Drained,
}

/// What came of reading one packet.
pub(super) enum Fed {
    /// The decoder has it.
    Packet,
    /// It is a picture to be sent on as it is, with its time in the source.
    Picture(CodedPicture, Option<Duration>),
    /// Nothing for the decoder right now; a device that has no picture yet says so at once, again and again.
    Nothing,
}

impl Demuxer {
    pub(super) fn open(recipe: &Recipe, interrupt: &Interrupt) -> Result<Self, Error> {
        let mut input = ffi::open_input(&recipe.opening(), interrupt)?;
        let stream = shown(&input)?;
        let (index, time_base) = (stream.index(), stream.time_base());
        let rate = [stream.avg_frame_rate(), stream.rate()]
            .into_iter()
            .find(|rate| rate.0 > 0 && rate.1 > 0);
        let interval = rate.map(|rate| Duration::from_secs_f64(f64::from(rate.1) / f64::from(rate.0)));
        let turned = stream.side_data().find(|found| found.kind() == SideData::DisplayMatrix);
        let orientation = turned
            .and_then(|found| Orientation::of(found.data()))
            .unwrap_or_default();
        let parameters = stream.parameters();
        let coded = (parameters.id() == Id::H264).then(|| Coded::new(&ffi::extradata(&stream)));
        let unsaid = unsaid(parameters.id(), recipe.painted);
        let size = ffi::size(&stream);
        let decoder = decoder_of(parameters, size)?;
        ffi::discard_others(&mut input, index);
        let timing = timing(recipe.timing, &mut input);
        // What was said on the way to what works is no reason for what fails later.
        ffi::take_last_log_line();
        Ok(Self {
            input,
            decoder,
            shaper: Shaper::new(orientation),
            unsaid,
            stream: index,
            time_base,
            interval: interval.unwrap_or_default(),
            draining: false,
            broken: None,
            backlog: (timing == Timing::Network).then(DecodeBacklog::new),
            skipping: false,
            rested: true,
            timing,
            kept: (size == (0, 0)).then(Vec::new),
            coded,
            group: Vec::new(),
            pending: VecDeque::new(),
            orientation,
            has_begun: false,
            elsewhere: 0,
        })
    }

    /// What is known from the start against sending it on as it comes.
    pub(super) fn obstacle(&self) -> Option<Obstacle> {
        if self.coded.is_none() {
            return Some(Obstacle::Codec(self.decoder.id().name().to_owned()));
        }
        (self.orientation != Orientation::default()).then_some(Obstacle::Turned)
    }

    /// The parameter set in force, of H.264.
    pub(super) fn sps(&self) -> Option<&Sps> {
        self.coded.as_ref()?.sps()
    }

    /// Whether what is decoded now was sent on already.
    pub(super) fn is_catching_up(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether its server sends one picture after the other, each with a head.
    pub(super) fn is_multipart(&self) -> bool {
        self.input.format().name() == "mpjpeg"
    }

    /// What FFmpeg calls the container and the codec.
    pub(super) fn names(&self) -> (String, String) {
        (
            self.input.format().name().to_owned(),
            self.decoder.id().name().to_owned(),
        )
    }

    /// The next decoded picture.
    pub(super) fn decode(&mut self) -> Result<Decoded, Error> {
        let mut frame = frame::Video::empty();
        match self.decoder.receive_frame(&mut frame) {
            Ok(()) => {
                if let Some(kept) = self.kept.take()
                    && self.outgrows(&frame, kept)?
                {
                    return Ok(Decoded::Hungry);
                }
                if let Some(backlog) = &mut self.backlog {
                    backlog.decoded();
                }
                self.shape(frame)
            }
            Err(Error::Other { errno: EAGAIN }) => Ok(Decoded::Hungry),
            Err(Error::Eof) => match self.shaper.finish()? {
                Some(shaped) => Ok(self.tagged(shaped)),
                None => Ok(Decoded::Drained),
            },
            // One broken picture; the decoder goes on with the next.
            Err(Error::InvalidData) => {
                self.broken = Some(FfmpegError::of(Error::InvalidData));
                Ok(Decoded::Hungry)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the first picture is one for more threads: then it comes again, out of another decoder.
    fn outgrows(&mut self, first: &frame::Video, kept: Vec<Packet>) -> Result<bool, Error> {
        let size = (first.width(), first.height());
        let Some(stream) = self.input.stream(self.stream).filter(|_| threads(size).is_some()) else {
            return Ok(false);
        };
        self.decoder = decoder_of(stream.parameters(), size)?;
        for packet in kept {
            // What it did not refuse before it does not refuse now; and if it does, a later one is a beginning, too.
            if self.decoder.send_packet(&packet).is_err() {
                break;
            }
        }
        Ok(true)
    }

    /// Keeps a packet for another decoder.
    fn keep(&mut self, packet: &Packet) {
        let Some(kept) = &mut self.kept else {
            return;
        };
        if packet.is_key() {
            kept.clear();
        }
        if kept.len() < MOST_KEPT {
            kept.push(packet.clone());
        }
    }

    fn shape(&mut self, mut frame: frame::Video) -> Result<Decoded, Error> {
        ffi::complete_aspect(&mut self.input, self.stream, &mut frame);
        let shaped = self.shaper.shape(frame)?;
        Ok(shaped.map_or(Decoded::Held, |shaped| self.tagged(shaped)))
    }

    fn tagged(&self, (mut frame, timestamp): Shaped) -> Decoded {
        Colours::of(&frame, self.unsaid).tag(&mut frame);
        Decoded::Picture(frame, timestamp.and_then(|at| time(at, self.time_base)))
    }

    /// Reads one packet into the decoder, or to be sent on. After the input's end, the decoder gives out what it still holds.
    pub(super) fn feed(&mut self, copy: &mut AsItComes) -> Result<Fed, Error> {
        if let Some(packet) = self.pending.pop_front() {
            return self.send(&packet);
        }
        let mut packet = Packet::empty();
        let asked = Instant::now();
        let read = packet.read(&mut self.input);
        self.rested |= asked.elapsed() >= WAITED;
        self.has_begun |= read.is_ok();
        match read {
            Ok(()) if packet.stream() != self.stream => self.look_elsewhere(&packet, copy),
            Ok(()) if self.has_other_codec() => self.follow(&packet, copy),
            Ok(()) => match self.copied(&packet, copy) {
                Ok(picture) => Ok(picture),
                Err(_decoded) if !self.pending.is_empty() => {
                    self.pending.push_back(packet);
                    Ok(Fed::Packet)
                }
                Err(_decoded) if !self.wants(&packet) => Ok(Fed::Packet),
                Err(_decoded) => self.send(&packet),
            },
            // One broken packet; demuxers find the next one.
            Err(Error::InvalidData) if self.has_begun || !self.is_multipart() => Ok(Fed::Packet),
            Err(Error::Other { errno: EAGAIN }) => Ok(Fed::Nothing),
            Err(Error::Eof) if !self.draining => {
                self.draining = true;
                self.decoder.send_eof().map(|()| Fed::Packet)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes in that another stream has given something. Those that there were at first are not read; a transport stream may move
    /// its pictures to one that was not there.
    fn look_elsewhere(&mut self, packet: &Packet, copy: &mut AsItComes) -> Result<Fed, Error> {
        let stream = self.input.stream(packet.stream());
        if stream.is_none_or(|stream| stream.parameters().medium() != Type::Video) {
            return Ok(Fed::Packet);
        }
        self.elsewhere += 1;
        if self.elsewhere < MOVED || !packet.is_key() {
            return Ok(Fed::Packet);
        }
        self.follow(packet, copy)
    }

    /// Whether our stream's pictures are of another codec from here on.
    fn has_other_codec(&self) -> bool {
        let id = self.input.stream(self.stream).map(|stream| stream.parameters().id());
        id.is_some_and(|id| id != self.decoder.id() && decoder::find(id).is_some())
    }

    /// Shows what the stream of a packet gives, from that one on.
    fn follow(&mut self, packet: &Packet, copy: &mut AsItComes) -> Result<Fed, Error> {
        let Some(stream) = self.input.stream(packet.stream()) else {
            return Ok(Fed::Packet);
        };
        let (parameters, size) = (stream.parameters(), ffi::size(&stream));
        tracing::info!(codec = parameters.id().name(), "the source's pictures go on otherwise");
        self.coded = (parameters.id() == Id::H264).then(|| Coded::new(&ffi::extradata(&stream)));
        self.unsaid = unsaid(parameters.id(), false);
        self.time_base = stream.time_base();
        self.decoder = decoder_of(parameters, size)?;
        self.shaper = Shaper::new(self.orientation);
        self.kept = (size == (0, 0)).then(Vec::new);
        self.backlog = self.backlog.is_some().then(DecodeBacklog::new);
        (self.stream, self.elsewhere, self.skipping) = (packet.stream(), 0, false);
        self.group.clear();
        self.pending.clear();
        copy.opened(self.obstacle());
        self.send(packet)
    }

    fn send(&mut self, packet: &Packet) -> Result<Fed, Error> {
        self.keep(packet);
        match self.decoder.send_packet(packet) {
            Ok(()) => Ok(Fed::Packet),
            Err(Error::InvalidData) => {
                self.broken = Some(FfmpegError::of(Error::InvalidData));
                Ok(Fed::Packet)
            }
            Err(error) => Err(error),
        }
    }

    /// The picture in a packet that is sent on as it is; otherwise it is to be decoded.
    fn copied(&mut self, packet: &Packet, copy: &mut AsItComes) -> Result<Fed, Way> {
        self.elsewhere = 0;
        let Some(coded) = self.coded.as_mut().filter(|_| copy.is_possible()) else {
            self.decode_group();
            return Err(Way::Encode);
        };
        let Some(picture) = coded.picture(packet) else {
            // Parameter sets, or what an encoder likes to tell: the decoder may need it.
            if self.group.is_empty() {
                return Err(Way::Encode);
            }
            self.group.push(packet.clone());
            return Ok(Fed::Packet);
        };
        let time = packet.pts().or(packet.dts()).and_then(|at| time(at, self.time_base));
        let seen = Seen {
            sps: coded.sps(),
            keyframe: picture.keyframe,
            bidirectional: picture.bidirectional,
            at: time.unwrap_or_else(now),
            bytes: picture.payload.len(),
        };
        if copy.observe(&seen) == Way::Encode {
            self.decode_group();
            return Err(Way::Encode);
        }
        if picture.keyframe {
            if self.group.is_empty() {
                // What is decoded from here on does not continue what was.
                self.decoder.flush();
            }
            self.group.clear();
        }
        self.group.push(packet.clone());
        Ok(Fed::Picture(picture, time))
    }

    /// From now on pictures are decoded, beginning with those that were sent on since the last keyframe.
    fn decode_group(&mut self) {
        if self.group.is_empty() {
            return;
        }
        self.pending = std::mem::take(&mut self.group).into();
        self.skipping = false;
        // It has had nothing to do, and is not behind.
        self.backlog = self.backlog.is_some().then(DecodeBacklog::new);
    }

    /// Whether to decode a packet, or to leave it out because this machine is too slow for all.
    fn wants(&mut self, packet: &Packet) -> bool {
        let rested = std::mem::take(&mut self.rested);
        let timestamp = packet.dts().or(packet.pts()).and_then(|at| time(at, self.time_base));
        let (Some(backlog), Some(timestamp)) = (&mut self.backlog, timestamp) else {
            return true;
        };
        let decode = backlog.packet(timestamp, packet.is_key(), rested, Instant::now());
        if self.skipping && decode != Decode::Nothing {
            // What is in it belongs to before the gap.
            self.decoder.flush();
        }
        self.skipping = decode == Decode::Nothing;
        self.decoder.skip_frame(match decode {
            Decode::All | Decode::Nothing => Discard::Default,
            Decode::Needed => Discard::NonReference,
        });
        !self.skipping
    }

    /// Takes in that there was a moment without work.
    pub(super) fn rested(&mut self) {
        self.rested = true;
    }

    /// What is decoded of what comes, where this machine is too slow.
    pub(super) fn decode_rate(&self) -> Option<DecodeRate> {
        self.backlog.as_ref().and_then(DecodeBacklog::rate)
    }

    /// What could not be decoded last, or that there was nothing.
    pub(super) fn broken(&mut self) -> FfmpegError {
        self.broken
            .take()
            .unwrap_or_else(|| FfmpegError::of(Error::InvalidData))
    }

    /// Goes back to the beginning, if the input can.
    pub(super) fn rewind(&mut self) -> Result<(), Error> {
        // A server that gives no parts of a film takes a jump back as it comes, and breaks off later.
        if !ffi::can_jump(&mut self.input) {
            return Err(Error::Other { errno: ESPIPE });
        }
        self.input.seek(0, ..)?;
        self.decoder.flush();
        self.draining = false;
        self.group.clear();
        self.pending.clear();
        Ok(())
    }
}

/// A decoder for pictures of `size`, of which nothing larger than is allowed is decoded.
fn decoder_of(parameters: codec::Parameters, size: (u32, u32)) -> Result<decoder::Video, Error> {
    let found = decoder::find(parameters.id()).ok_or(Error::DecoderNotFound)?;
    let mut context = codec::Context::from_parameters(parameters)?;
    if let Some(threads) = threads(size) {
        context.set_threading(threads);
    }
    let mut options = Dictionary::new();
    options.set("codec_whitelist", CODECS);
    options.set("max_pixels", &MAX_PIXELS.to_string());
    context.decoder().open_as_with(found, options)?.video()
}

/// When the pictures of an opened input are to be shown.
fn timing(wanted: Timing, input: &mut Input) -> Timing {
    let format = input.format();
    let is = |names: &[&str]| format.name().split(',').any(|name| names.contains(&name));
    match wanted {
        Timing::NetworkOrRecorded if is(&["hls"]) || ffi::has_length(input) => Timing::Recorded,
        Timing::NetworkOrRecorded => Timing::Network,
        // Their timestamps are made up from a rate that is made up.
        Timing::RecordedOrArrival if is(&["h264", "hevc", "mjpeg", "mpjpeg"]) => Timing::Arrival,
        Timing::RecordedOrArrival => Timing::Recorded,
        Timing::Arrival | Timing::Recorded | Timing::Network => wanted,
    }
}

/// For packets without a time: one that runs like any other.
fn now() -> Duration {
    Duration::from_nanos(monotonic_ns())
}

fn time(timestamp: i64, time_base: Rational) -> Option<Duration> {
    let micros = timestamp.rescale(time_base, MICROSECOND);
    u64::try_from(micros).ok().map(Duration::from_micros)
}

/// Threads for decoding pictures of `size`, where one may be too slow: frames in parallel, each of which is held back by the
/// time of one picture. Smaller ones are decoded in a part of that time.
fn threads(size: (u32, u32)) -> Option<threading::Config> {
    let large = u64::from(size.0) * u64::from(size.1) > 1920 * 1088;
    large.then(|| {
        let mut threads = threading::Config::kind(threading::Type::Frame);
        threads.count = 2;
        threads
    })
}

/// The stream that players show: no picture that is attached to something else, one that can be decoded, the one that its
/// author chose, the largest, the first.
fn shown(input: &Input) -> Result<Stream<'_>, Error> {
    let videos = || {
        input
            .streams()
            .filter(|stream| stream.parameters().medium() == Type::Video)
    };
    let rank = |stream: &Stream<'_>| {
        let is = |kind| stream.disposition().contains(kind);
        let (width, height) = ffi::size(stream);
        let pixels = u64::from(width) * u64::from(height);
        (!is(Disposition::ATTACHED_PIC), is(Disposition::DEFAULT), pixels)
    };
    let decodable = |stream: &Stream<'_>| {
        let found = decoder::find(stream.parameters().id());
        found.is_some_and(|found| CODECS.split(',').any(|allowed| allowed == found.name()))
    };
    // The last of equals is taken.
    let best = videos()
        .filter(decodable)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .max_by_key(rank);
    best.ok_or_else(|| {
        if videos().next().is_some() {
            Error::DecoderNotFound
        } else {
            Error::StreamNotFound
        }
    })
}

/// What to take for granted of pictures of a codec. `painted`: FFmpeg's own filters made them, which paint by BT.601
/// at any size.
fn unsaid(codec: Id, painted: bool) -> Unsaid {
    let matrix = if codec == Id::MJPEG {
        Some(Space::BT470BG)
    } else {
        painted.then_some(Space::SMPTE170M)
    };
    let is_video = !matches!(
        codec,
        Id::RAWVIDEO
            | Id::PNG
            | Id::APNG
            | Id::GIF
            | Id::BMP
            | Id::TIFF
            | Id::WEBP
            | Id::MJPEG
            | Id::JPEG2000
            | Id::PGM
    );
    Unsaid {
        matrix,
        grey: if is_video { Range::MPEG } else { Range::JPEG },
    }
}
