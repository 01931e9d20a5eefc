//! A source: opened, read and decoded, one picture at a time, on one path for every kind.

mod demuxer;
mod recipe;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ffmpeg_next::{Error, frame};
use framebridge_config::Source as Location;

use crate::{DisplayError, FfmpegError, Interrupt, Picture, pace::Pacer, slate, stamp, x11::Display};
use demuxer::{Decoded, Demuxer, Fed};
use recipe::{Clock, Overlay, Recipe};

/// How long a network source may take to open: name, connection, description and the first packets.
pub const NETWORK_OPEN_LIMIT: Duration = Duration::from_secs(10);

/// How long an opened source may deliver data without a picture in it. Longer than the longest usual group of
/// pictures of a network camera, because the first group is joined in the middle.
pub const PICTURE_LIMIT: Duration = Duration::from_secs(12);

/// A timestamp further back than this is not the time its picture was taken.
const MAX_DELAY: Duration = Duration::from_secs(1);

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
    /// When the last picture came, or the source was opened.
    last_picture: Instant,
    /// Whether there was a picture since the source began, or began again.
    fruitful: bool,
}

/// A picture that was read and may have to wait for its time.
pub struct Undue {
    frame: frame::Video,
    due: Instant,
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
        let demuxer = open(&recipe, config.silence_limit, interrupt)?;
        Ok(Self {
            silence_limit: config.silence_limit,
            recipe,
            interrupt: interrupt.clone(),
            display,
            demuxer,
            pacer: Pacer::default(),
            last_picture: Instant::now(),
            fruitful: false,
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

    /// Reads and decodes the next picture. Blocks in FFmpeg, and in the display server for `x11:`.
    ///
    /// # Errors
    /// The source ended, broke or fell silent, or the interrupt was stopped. It is of no use afterwards.
    pub fn read(&mut self) -> Result<Undue, SourceError> {
        if let Some(display) = &mut self.display {
            display.ping_if_due(Instant::now())?;
        }
        let mut frame = frame::Video::empty();
        loop {
            if self.interrupt.is_stopped() {
                return Err(SourceError::Stopped);
            }
            match self
                .demuxer
                .decode(&mut frame)
                .map_err(|code| SourceError::Decode(FfmpegError::of(code)))?
            {
                Decoded::Picture => break,
                Decoded::Hungry => self.feed()?,
                Decoded::Drained if self.recipe.looped && self.fruitful => self.rewind()?,
                Decoded::Drained => return Err(SourceError::Ended),
            }
        }
        let now = Instant::now();
        (self.last_picture, self.fruitful) = (now, true);
        let due = if self.recipe.paced {
            self.pacer
                .due(self.demuxer.timestamp(&frame), self.demuxer.interval, now)
        } else {
            now
        };
        Ok(Undue { frame, due })
    }

    /// The picture that was read, once it is due: at once for live sources. Does not block in FFmpeg.
    ///
    /// # Errors
    /// The interrupt was stopped.
    pub fn present(&mut self, undue: Undue) -> Result<Picture, SourceError> {
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
        let delay = match self.recipe.clock {
            Clock::Arrival => None,
            Clock::WallMicros => self
                .demuxer
                .timestamp(&frame)
                .and_then(|taken| since_epoch.checked_sub(taken)),
        };
        Ok(Picture::taken(
            frame,
            delay.filter(|delay| *delay < MAX_DELAY).unwrap_or_default(),
        ))
    }

    fn feed(&mut self) -> Result<(), SourceError> {
        let limit = PICTURE_LIMIT.max(self.silence_limit);
        if self.last_picture.elapsed() > limit {
            return Err(SourceError::NoPicture { limit });
        }
        if self.recipe.network {
            self.interrupt.arm(self.silence_limit);
        }
        match self.demuxer.feed() {
            Ok(Fed::Packet) => Ok(()),
            Ok(Fed::Nothing) if self.interrupt.wait_until(Instant::now() + POLL_INTERVAL) => Ok(()),
            Ok(Fed::Nothing) => Err(SourceError::Stopped),
            Err(_) if self.interrupt.is_stopped() => Err(SourceError::Stopped),
            Err(_) if self.interrupt.is_overdue() => Err(SourceError::Silent {
                limit: self.silence_limit,
            }),
            Err(Error::Eof) => Err(SourceError::Ended),
            Err(code) => Err(SourceError::Read(FfmpegError::of(code))),
        }
    }

    /// Begins a looped source again: by seeking, or by opening it anew where it can't seek.
    fn rewind(&mut self) -> Result<(), SourceError> {
        self.fruitful = false;
        self.pacer.rewound();
        if self.demuxer.rewind().is_err() {
            self.demuxer = open(&self.recipe, self.silence_limit, &self.interrupt)?;
        }
        Ok(())
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
        interrupt.arm(NETWORK_OPEN_LIMIT);
    }
    Demuxer::open(recipe, interrupt).map_err(|code| {
        let (waited, source) = (started.elapsed(), FfmpegError::of(code));
        if interrupt.is_stopped() {
            SourceError::Stopped
        } else if recipe.network && waited >= silence_limit {
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
