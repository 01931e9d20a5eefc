//! A source: opened, read and decoded, one picture at a time, on one path for every kind.

mod demuxer;
mod file;
mod recipe;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ffmpeg_next::{Error, frame};
use framebridge_config::Source as Location;
use framebridge_core::decode_backlog::DecodeRate;

use crate::{DisplayError, FfmpegError, Interrupt, Picture, ffi, pace::Pacer, slate, stamp, x11::Display};
use demuxer::{Decoded, Demuxer, Fed};
use file::PlayedFile;
use recipe::{Clock, Overlay, Recipe};

/// How long a network source may take to open: name, connection, description and the first packets.
pub const NETWORK_OPEN_LIMIT: Duration = Duration::from_secs(10);

/// How long an opened source may deliver data without a picture in it. Longer than the longest usual group of
/// pictures of a network camera, because the first group is joined in the middle.
pub const PICTURE_LIMIT: Duration = Duration::from_secs(12);

/// A timestamp further back than this is not the time its picture was taken.
const MAX_DELAY: Duration = Duration::from_secs(1);

/// A network source has so many times its limit of silence to open, within [`NETWORK_OPEN_LIMIT`]: the steps of it each wait for
/// an answer.
const OPEN_SILENCES: u32 = 5;

/// How often the picture of a source that has but one is shown again.
const STILL_INTERVAL: Duration = Duration::from_secs(1);

/// What saying good-bye to a camera may take.
const CLOSING_LIMIT: Duration = Duration::from_millis(500);

/// Pause before a device that had nothing is asked again.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// How a source is opened.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the pictures come from.
    pub location: Location,
    /// Frames per second to ask of a source that has no rate of its own.
    pub fps: u32,
    /// How long a network source may be silent once it is open.
    pub silence_limit: Duration,
}

/// An open source. Belongs to one thread, which may be blocked in it for ever: see [`Interrupt`].
pub struct Source {
    silence_limit: Duration,
    recipe: Recipe,
    interrupt: Interrupt,
    display: Option<Display>,
    demuxer: Demuxer,
    pacer: Pacer,
    file: Option<PlayedFile>,
    /// When the last picture came, or the source was opened.
    last_picture: Instant,
    /// Pictures since the source began, or began again.
    pictures: u64,
    /// The one picture of a source that has but one.
    still: Option<Still>,
    /// The first picture of a source that begins again, until there is a second.
    first: Option<frame::Video>,
}

struct Still {
    frame: frame::Video,
    /// When it is shown again.
    due: Instant,
}

/// A picture that was read and may have to wait for its time.
pub struct Undue {
    frame: frame::Video,
    /// Its time in the source.
    time: Option<Duration>,
    taken: Instant,
    due: Instant,
}

impl Undue {
    /// Its time in the source, where that has one.
    pub fn time(&self) -> Option<Duration> {
        self.time
    }

    /// When it was taken, as far as is known: of a network source, when it came.
    pub fn taken(&self) -> Instant {
        self.taken
    }

    /// When it is to be shown.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// It was taken then and is to be shown then.
    pub fn place(&mut self, taken: Instant, due: Instant) {
        (self.taken, self.due) = (taken, due);
    }
}

/// Why there is no source, or no further picture from it.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Somebody called [`Interrupt::stop`].
    #[error("capture was stopped")]
    Stopped,
    /// The display of an `x11:` source.
    #[error(transparent)]
    Display(#[from] DisplayError),
    /// It can't be opened, has no video, or none that FFmpeg decodes.
    #[error("can't open the source")]
    Open(#[source] FfmpegError),
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
        /// FFmpeg's reason.
        #[source]
        source: FfmpegError,
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

impl Source {
    /// Opens a source. Blocks; `interrupt` ends that where FFmpeg looks at it.
    ///
    /// # Errors
    /// It can't be opened, has no video or none that FFmpeg decodes, or the interrupt was stopped.
    pub fn open(config: &Config, interrupt: &Interrupt) -> Result<Self, SourceError> {
        crate::init();
        let recipe = Recipe::new(config);
        let display = recipe.display.as_deref().map(Display::connect).transpose()?;
        let file = recipe.file.clone().map(PlayedFile::new);
        let demuxer = open(&recipe, config.silence_limit, interrupt)?;
        Ok(Self {
            silence_limit: config.silence_limit,
            recipe,
            interrupt: interrupt.clone(),
            display,
            demuxer,
            pacer: Pacer::default(),
            file,
            last_picture: Instant::now(),
            pictures: 0,
            still: None,
            first: None,
        })
    }

    /// Whether a source of this kind takes its frame rate from us, so that another rate means to open it anew.
    pub fn follows_rate(location: &Location) -> bool {
        match location {
            Location::Test | Location::X11 { .. } | Location::V4l2 { .. } => true,
            Location::Rtsp { .. } | Location::File { .. } | Location::Lavfi { .. } | Location::Slate(_) => false,
        }
    }

    /// The time between two pictures by the source's own word, if it gives one.
    pub fn interval(&self) -> Option<Duration> {
        Some(self.demuxer.interval).filter(|interval| !interval.is_zero())
    }

    /// Whether it comes over a network, and so unevenly.
    pub fn is_network(&self) -> bool {
        self.recipe.network
    }

    /// From now on a network source may be silent for so long.
    pub fn set_silence_limit(&mut self, limit: Duration) {
        self.silence_limit = limit;
    }

    /// Pictures a second that are decoded, and that come, where this machine is too slow for all of them.
    pub fn decode_rate(&self) -> Option<DecodeRate> {
        self.demuxer.decode_rate()
    }

    /// Reads and decodes the next picture, with a call of `progress` for each packet. Blocks in FFmpeg, and in the
    /// display server for `x11:`.
    ///
    /// # Errors
    /// The source ended, broke or fell silent, or the interrupt was stopped. It is of no use afterwards.
    pub fn read(&mut self, progress: &dyn Fn()) -> Result<Undue, SourceError> {
        if let Some(display) = &mut self.display {
            display.ping_if_due(Instant::now())?;
        }
        if let Some(undue) = self.still()? {
            return Ok(undue);
        }
        let (mut frame, time) = loop {
            if self.interrupt.is_stopped() {
                return Err(SourceError::Stopped);
            }
            match self
                .demuxer
                .decode()
                .map_err(|code| SourceError::Decode(FfmpegError::of(code)))?
            {
                Decoded::Picture(frame, time) => break (frame, time),
                Decoded::Held => {}
                Decoded::Hungry => {
                    if self.feed()? {
                        progress();
                    }
                }
                Decoded::Drained if self.recipe.looped && self.pictures > 0 => {
                    self.rewind()?;
                    if let Some(undue) = self.still()? {
                        return Ok(undue);
                    }
                }
                Decoded::Drained if self.pictures > 0 => return Err(SourceError::Ended),
                Decoded::Drained => return Err(SourceError::Undecodable(self.demuxer.broken())),
            }
        };
        if let Some(palette) = self.display.as_ref().and_then(Display::palette) {
            ffi::set_palette(&mut frame, palette);
        }
        let now = Instant::now();
        self.last_picture = now;
        self.pictures += 1;
        if self.recipe.looped {
            let kept = if self.pictures == 1 {
                ffi::reference(&frame).ok()
            } else {
                None
            };
            self.first = kept;
        }
        let due = if self.recipe.paced {
            self.pacer.due(time, self.demuxer.interval, now)
        } else {
            now
        };
        let taken = match self.recipe.clock {
            Clock::Arrival => due,
            Clock::WallMicros => now.checked_sub(delay(time)).unwrap_or(now),
        };
        Ok(Undue {
            frame,
            time,
            taken,
            due,
        })
    }

    /// The picture that was read, once it is due: at once for live sources. Does not block in FFmpeg.
    ///
    /// # Errors
    /// The interrupt was stopped.
    pub fn present(&mut self, undue: Undue) -> Result<Picture, SourceError> {
        if undue.due > Instant::now() {
            self.demuxer.rested();
        }
        if !self.interrupt.wait_until(undue.due) {
            return Err(SourceError::Stopped);
        }
        let mut frame = undue.frame;
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        match &self.recipe.overlay {
            Overlay::Nothing => {}
            Overlay::Stamp => stamp::draw(&mut frame, since_epoch),
            Overlay::Slate(slate) => slate::draw(&mut frame, slate, since_epoch),
        }
        Ok(Picture::taken(frame, undue.taken.elapsed()))
    }

    /// The picture of a source that has but one, again. `None`: it has more, or its file has changed.
    fn still(&mut self) -> Result<Option<Undue>, SourceError> {
        let Some(still) = &mut self.still else {
            return Ok(None);
        };
        if self.file.as_mut().is_some_and(PlayedFile::has_changed) {
            self.still = None;
            self.reopen()?;
            return Ok(None);
        }
        let frame = ffi::reference(&still.frame).map_err(|code| SourceError::Read(FfmpegError::of(code)))?;
        let due = still.due.max(Instant::now());
        still.due = due + STILL_INTERVAL;
        Ok(Some(Undue {
            frame,
            time: None,
            taken: due,
            due,
        }))
    }

    /// Whether there was a packet.
    fn feed(&mut self) -> Result<bool, SourceError> {
        let limit = PICTURE_LIMIT.max(self.silence_limit);
        if self.last_picture.elapsed() > limit {
            return Err(SourceError::NoPicture { limit });
        }
        if self.recipe.network {
            self.interrupt.arm(self.silence_limit);
        }
        match self.demuxer.feed() {
            Ok(Fed::Packet) => Ok(true),
            Ok(Fed::Nothing) if self.interrupt.wait_until(Instant::now() + POLL_INTERVAL) => Ok(false),
            Ok(Fed::Nothing) => Err(SourceError::Stopped),
            Err(_) if self.interrupt.is_stopped() => Err(SourceError::Stopped),
            Err(_) if self.interrupt.is_overdue() => Err(SourceError::Silent {
                limit: self.silence_limit,
            }),
            Err(Error::Eof) if self.pictures == 0 => Err(SourceError::Undecodable(self.demuxer.broken())),
            Err(Error::Eof) => Err(SourceError::Ended),
            Err(code) => Err(SourceError::Read(FfmpegError::of(code))),
        }
    }

    /// Begins a looped source again: by seeking, or by opening it anew where it can't seek or is another one now.
    fn rewind(&mut self) -> Result<(), SourceError> {
        if self.file.as_mut().is_some_and(PlayedFile::has_changed) {
            return self.reopen();
        }
        if self.pictures == 1
            && let Some(frame) = self.first.take()
        {
            let due = self.last_picture + STILL_INTERVAL;
            self.still = Some(Still { frame, due });
            return Ok(());
        }
        self.pictures = 0;
        self.pacer.rewound();
        if self.demuxer.rewind().is_err() {
            self.demuxer = open(&self.recipe, self.silence_limit, &self.interrupt)?;
        }
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), SourceError> {
        self.pictures = 0;
        self.pacer.rewound();
        self.demuxer = open(&self.recipe, self.silence_limit, &self.interrupt)?;
        Ok(())
    }
}

/// How long ago a picture was taken whose time is that of the wall's clock.
fn delay(taken: Option<Duration>) -> Duration {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let delay = taken.and_then(|taken| since_epoch.checked_sub(taken));
    delay.filter(|delay| *delay < MAX_DELAY).unwrap_or_default()
}

impl Drop for Source {
    fn drop(&mut self) {
        // What is closed next may be a camera, which is told so.
        self.interrupt.begin_closing(CLOSING_LIMIT);
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("interval", &self.interval())
            .finish_non_exhaustive()
    }
}

fn open(recipe: &Recipe, silence_limit: Duration, interrupt: &Interrupt) -> Result<Demuxer, SourceError> {
    let started = Instant::now();
    if recipe.network {
        interrupt.arm(NETWORK_OPEN_LIMIT.min(silence_limit * OPEN_SILENCES));
    } else {
        interrupt.disarm();
    }
    Demuxer::open(recipe, interrupt).map_err(|code| {
        let (waited, source) = (started.elapsed(), FfmpegError::of(code));
        if interrupt.is_stopped() {
            SourceError::Stopped
        } else if code == Error::StreamNotFound {
            SourceError::NoVideo
        } else if code == Error::DecoderNotFound {
            SourceError::NoDecoder
        } else if recipe.network && interrupt.is_overdue() {
            SourceError::OpenTimeout { waited, source }
        } else {
            SourceError::Open(source)
        }
    })
}

impl std::fmt::Debug for Undue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Undue").field("due", &self.due).finish_non_exhaustive()
    }
}
