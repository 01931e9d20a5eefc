//! A source: opened, read and decoded, one picture at a time, on one path for every kind.

mod allowed;
mod coded;
mod command;
mod copied;
mod demuxer;
mod error;
mod file;
mod opening;
mod published;
mod recipe;
mod undue;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ffmpeg_next::{Error, frame};
use framebridge_config::{Source as Location, SourceTls};
use framebridge_core::{
    as_it_comes::{AsItComes, Obstacle, Wish},
    decode_backlog::DecodeRate,
};

use crate::{FfmpegError, Interrupt, Picture, ffi, pace::Pacer, rtsp::Relay, slate, stamp, x11::Display};
use command::Command;
pub use copied::Came;
pub use error::SourceError;
pub(crate) use opening::lacks;
pub use published::Feed;
pub use undue::{UnduePicture, UndueUnit};

use demuxer::{Decoded, Demuxer, Fed};
use file::PlayedFile;
use opening::open;
use recipe::{Beside, Clock, Overlay, Recipe, Timing};
use undue::Undue;

/// The largest plane of the largest picture that is decoded: four components of two bytes.
pub(crate) const MAX_PLANE: usize = allowed::MAX_PIXELS as usize * 8;

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

/// A desktop that does not change is looked at this often all the same: not every driver tells what it draws.
const DESKTOP_LOOK: Duration = Duration::from_secs(1);

/// FFmpeg makes up for the pictures of a desktop that were not asked for, as fast as it can. From this much on it is opened anew
/// instead, which takes some milliseconds.
const MOST_TO_MAKE_UP: Duration = Duration::from_millis(500);

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
    /// The longest edge that is made of its pictures, pixels: a camera that has several sizes is asked for one like that.
    pub longest_edge: u32,
    /// How long a network source may be silent once it is open.
    pub silence_limit: Duration,
    /// How one that speaks TLS proves who it is.
    pub tls: SourceTls,
    /// Where a `whip:` source is had from.
    pub feed: Option<Feed>,
}

/// An open source. Belongs to one thread, which may be blocked in it for ever: see [`Interrupt`].
pub struct Source {
    silence_limit: Duration,
    location: Location,
    recipe: Recipe,
    interrupt: Interrupt,
    demuxer: Demuxer,
    /// After FFmpeg's side: what it has to say when it closes is passed on.
    beside: Running,
    pacer: Pacer,
    /// When the last picture came, or the source was opened.
    last_picture: Instant,
    /// Pictures since the source began, or began again.
    pictures: u64,
    /// The one picture of a source that has but one.
    still: Option<Still>,
    /// The last picture of a desktop.
    desktop: Option<Desktop>,
    /// The first picture of a source that begins again, until there is a second.
    first: Option<frame::Video>,
}

/// What belongs to an open source besides what FFmpeg has opened.
#[derive(Default)]
struct Running {
    display: Option<Display>,
    file: Option<PlayedFile>,
    camera: Option<Relay>,
    command: Option<Command>,
    /// Where somebody has to publish it.
    endpoint: Option<String>,
}

/// A desktop of which not every picture is taken.
struct Desktop {
    frame: frame::Video,
    /// When it was last taken.
    taken: Instant,
    /// When it was last shown.
    shown: Instant,
    /// The time of the pictures that were not asked for.
    skipped: Duration,
}

struct Still {
    frame: frame::Video,
    /// When it is shown again.
    due: Instant,
}

impl Source {
    /// Opens a source. Blocks; `interrupt` ends that where FFmpeg looks at it.
    ///
    /// # Errors
    /// It can't be opened, has no video or none that FFmpeg decodes, or the interrupt was stopped.
    pub fn open(config: &Config, interrupt: &Interrupt) -> Result<Self, SourceError> {
        crate::init();
        let mut recipe = Recipe::new(config);
        arm(&recipe, config.silence_limit, interrupt);
        let mut beside = Running::start(&mut recipe, config, interrupt)?;
        let demuxer = open(&mut recipe, &config.location, &mut beside, interrupt)?;
        recipe.looped |= recipe.timing == Timing::NetworkOrRecorded && demuxer.timing == Timing::Recorded;
        Ok(Self {
            silence_limit: config.silence_limit,
            location: config.location.clone(),
            recipe,
            interrupt: interrupt.clone(),
            demuxer,
            beside,
            pacer: Pacer::default(),
            last_picture: Instant::now(),
            pictures: 0,
            still: None,
            desktop: None,
            first: None,
        })
    }

    /// The time between two pictures by the source's own word, if it gives one.
    pub fn interval(&self) -> Option<Duration> {
        Some(self.demuxer.interval).filter(|interval| !interval.is_zero())
    }

    /// Whether its pictures come unevenly, as from a network, and are to be put back where their timestamps say.
    pub fn is_uneven(&self) -> bool {
        self.demuxer.timing == Timing::Network
    }

    /// What was found out about it, `picture` being its latest: what each thing is called, and what it is.
    pub fn findings(&self, picture: &Picture) -> Vec<(&'static str, String)> {
        let (container, codec) = self.demuxer.names();
        let rate = self.interval().map_or_else(
            || "says nothing of its rate".to_owned(),
            |interval| format!("{:.2} pictures a second by its own word", 1.0 / interval.as_secs_f64()),
        );
        let timing = match self.demuxer.timing {
            Timing::Recorded | Timing::RecordedOrArrival => "recorded: held to its timestamps",
            Timing::Network | Timing::NetworkOrRecorded => "live, from a network: bursts are evened out",
            Timing::Arrival => "live: shown as it comes",
        };
        let mut findings = vec![
            ("container", container),
            ("codec", codec),
            ("rate", rate),
            ("time", timing.to_owned()),
        ];
        let display = self.beside.display.as_ref();
        if display.is_some_and(|display| display.is_xwayland().unwrap_or_default()) {
            findings.push((
                "display",
                "Xwayland: of its desktop only X programs are seen".to_owned(),
            ));
        }
        findings.extend(picture.findings());
        findings
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
    pub fn read(&mut self, progress: &dyn Fn()) -> Result<UnduePicture, SourceError> {
        match self.come(progress, &mut AsItComes::new(Wish::default()))? {
            Came::Picture(undue) => Ok(undue),
            Came::Coded(_) => Err(SourceError::Undecodable(self.demuxer.broken())),
        }
    }

    /// What is known from the start against sending its pictures on as they come.
    pub fn obstacle(&self) -> Option<Obstacle> {
        self.demuxer.obstacle()
    }

    /// [`read`](Self::read), where a picture need not be decoded that `copy` would send on as it comes.
    ///
    /// # Errors
    /// The same.
    pub fn come(&mut self, progress: &dyn Fn(), copy: &mut AsItComes) -> Result<Came, SourceError> {
        if let Some(display) = &mut self.beside.display {
            display.ping_if_due(Instant::now())?;
            if display.has_new_size()? {
                self.follow_screen()?;
            }
        }
        if let Some(undue) = self.still()? {
            return Ok(Came::Picture(undue));
        }
        if let Some(undue) = self.untouched()? {
            return Ok(Came::Picture(undue));
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
                // It was sent on already.
                Decoded::Picture(..) if self.demuxer.is_catching_up() => {}
                Decoded::Picture(frame, time) => break (frame, time),
                Decoded::Held => {}
                Decoded::Hungry => match self.feed(copy)? {
                    Fed::Packet => progress(),
                    Fed::Picture(picture, time) => return Ok(Came::Coded(self.coded(picture, time))),
                    Fed::Nothing => {}
                },
                Decoded::Drained if self.recipe.looped && self.pictures > 0 => {
                    copy.rewound();
                    if self.pictures == 1 && self.first.is_none() {
                        copy.fails(Obstacle::OnePicture);
                        self.reopen()?;
                        continue;
                    }
                    self.rewind()?;
                    if let Some(undue) = self.still()? {
                        return Ok(Came::Picture(undue));
                    }
                }
                Decoded::Drained if self.pictures > 0 => return Err(self.ended()),
                Decoded::Drained => return Err(SourceError::Undecodable(self.demuxer.broken())),
            }
        };
        if let Some(palette) = self.beside.display.as_ref().and_then(Display::palette) {
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
        if self.beside.display.is_some() {
            self.desktop = ffi::reference(&frame).ok().map(|frame| Desktop {
                frame,
                taken: now,
                shown: now,
                skipped: self.desktop.take().map_or(Duration::ZERO, |desktop| desktop.skipped),
            });
        }
        let due = self.due(time, now);
        let taken = match self.recipe.clock {
            Clock::Arrival => due,
            Clock::WallMicros => now.checked_sub(delay(time)).unwrap_or(now),
        };
        Ok(Came::Picture(Undue::new(frame, time, taken, due)))
    }

    /// When a picture that came `now` is to be shown, as far as that is known here.
    fn due(&mut self, time: Option<Duration>, now: Instant) -> Instant {
        if self.demuxer.timing == Timing::Recorded {
            self.pacer.due(time, self.demuxer.interval, now)
        } else {
            now
        }
    }

    /// The picture that was read, once it is due: at once for live sources. Does not block in FFmpeg.
    ///
    /// # Errors
    /// The interrupt was stopped.
    pub fn present(&mut self, undue: UnduePicture) -> Result<Picture, SourceError> {
        let taken = undue.taken();
        if undue.due() > Instant::now() {
            self.demuxer.rested();
        }
        let mut frame = undue.wait(&self.interrupt)?;
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        match &self.recipe.overlay {
            Overlay::Nothing => {}
            Overlay::Stamp => stamp::draw(&mut frame, since_epoch),
            Overlay::Slate(slate) => slate::draw(&mut frame, slate, since_epoch),
        }
        Ok(Picture::taken(frame, taken.elapsed()))
    }

    /// The picture of a desktop again, on which nothing was drawn since.
    fn untouched(&mut self) -> Result<Option<UnduePicture>, SourceError> {
        let (Some(display), Some(desktop)) = (&mut self.beside.display, &mut self.desktop) else {
            return Ok(None);
        };
        let now = Instant::now();
        let changed = display.has_changed()?;
        if !changed && now - desktop.taken < DESKTOP_LOOK {
            let frame = ffi::reference(&desktop.frame).map_err(|code| SourceError::Read(FfmpegError::of(code)))?;
            let interval = self.demuxer.interval.max(POLL_INTERVAL);
            let due = (desktop.shown + interval).max(now);
            desktop.shown = due;
            desktop.skipped += interval;
            self.last_picture = now;
            return Ok(Some(Undue::new(frame, None, due, due)));
        }
        if changed && desktop.skipped > MOST_TO_MAKE_UP {
            desktop.skipped = Duration::ZERO;
            self.reopen()?;
        }
        Ok(None)
    }

    /// The picture of a source that has but one, again. `None`: it has more, or its file has changed.
    fn still(&mut self) -> Result<Option<UnduePicture>, SourceError> {
        let Some(still) = &mut self.still else {
            return Ok(None);
        };
        let has_changed = match &mut self.beside.file {
            Some(file) => file.has_changed(),
            // A picture on the network is asked for again.
            None if self.interrupt.wait_until(still.due) => true,
            None => return Err(SourceError::Stopped),
        };
        if has_changed {
            self.still = None;
            self.reopen()?;
            return Ok(None);
        }
        let frame = ffi::reference(&still.frame).map_err(|code| SourceError::Read(FfmpegError::of(code)))?;
        let due = still.due.max(Instant::now());
        still.due = due + STILL_INTERVAL;
        Ok(Some(Undue::new(frame, None, due, due)))
    }

    fn feed(&mut self, copy: &mut AsItComes) -> Result<Fed, SourceError> {
        let limit = PICTURE_LIMIT.max(self.silence_limit);
        if self.last_picture.elapsed() > limit {
            return Err(SourceError::NoPicture { limit });
        }
        if self.recipe.interruptible {
            self.interrupt.arm(self.silence_limit);
        }
        match self.demuxer.feed(copy) {
            Ok(Fed::Nothing) if self.interrupt.wait_until(Instant::now() + POLL_INTERVAL) => Ok(Fed::Nothing),
            Ok(Fed::Nothing) => Err(SourceError::Stopped),
            Ok(fed) => Ok(fed),
            Err(_) if self.interrupt.is_stopped() => Err(SourceError::Stopped),
            Err(Error::InvalidData) if self.demuxer.is_multipart() => {
                self.recipe.loosen();
                self.reopen().map(|()| Fed::Nothing)
            }
            // Some demuxers tell of our deadline with their next packet only.
            Err(code) if self.interrupt.is_overdue() || code == Error::Exit => Err(SourceError::Silent {
                limit: self.silence_limit,
            }),
            Err(_) if self.has_screen_changed() => {
                self.follow_screen()?;
                Ok(Fed::Nothing)
            }
            Err(Error::Eof) if self.pictures == 0 && self.beside.endpoint.is_none() => {
                Err(SourceError::Undecodable(self.demuxer.broken()))
            }
            Err(Error::Eof) => Err(self.ended()),
            Err(code) => Err(SourceError::Read(FfmpegError::of(code))),
        }
    }

    /// Why there is nothing more.
    fn ended(&mut self) -> SourceError {
        if let Some(endpoint) = self.beside.endpoint.clone() {
            return if self.pictures > 0 {
                SourceError::PublishedEnded(endpoint)
            } else {
                SourceError::Unpublished(endpoint)
            };
        }
        let words = self.beside.command.as_mut().and_then(Command::last_words);
        words.map_or(SourceError::Ended, SourceError::CommandEnded)
    }

    /// Begins a looped source again: by seeking, or by opening it anew where it can't seek or is another one now.
    fn rewind(&mut self) -> Result<(), SourceError> {
        if self.beside.file.as_mut().is_some_and(PlayedFile::has_changed) {
            return self.reopen();
        }
        if self.pictures == 1
            && let Some(frame) = self.first.take()
        {
            let due = self.last_picture + STILL_INTERVAL;
            self.still = Some(Still { frame, due });
            return Ok(());
        }
        if self.demuxer.rewind().is_err() {
            return self.reopen();
        }
        self.pictures = 0;
        self.pacer.rewound();
        Ok(())
    }

    /// Whether a screen has another size, by its server's own word: a part of what was captured may be gone.
    fn has_screen_changed(&mut self) -> bool {
        let display = self.beside.display.as_mut();
        display.is_some_and(|display| display.has_new_size_now().unwrap_or_default())
    }

    /// Captures a screen in the size that it has now.
    fn follow_screen(&mut self) -> Result<(), SourceError> {
        tracing::info!("the screen has another size: capturing it anew");
        self.desktop = None;
        self.reopen()
    }

    fn reopen(&mut self) -> Result<(), SourceError> {
        self.pictures = 0;
        self.pacer.rewound();
        arm(&self.recipe, self.silence_limit, &self.interrupt);
        self.demuxer = open(&mut self.recipe, &self.location, &mut self.beside, &self.interrupt)?;
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

/// Gives what is opened from now on its time, where that can be given.
fn arm(recipe: &Recipe, silence_limit: Duration, interrupt: &Interrupt) {
    if recipe.interruptible {
        interrupt.arm(NETWORK_OPEN_LIMIT.min(silence_limit * OPEN_SILENCES));
    } else {
        interrupt.disarm();
    }
}

impl Running {
    /// Gets ready what has to be there before FFmpeg opens the source.
    fn start(recipe: &mut Recipe, config: &Config, interrupt: &Interrupt) -> Result<Self, SourceError> {
        let mut running = Self::default();
        match recipe.beside.clone() {
            Beside::Nothing => {}
            Beside::Display(name) => running.display = Some(Display::connect(&name)?),
            Beside::File(path) => running.file = Some(PlayedFile::new(path)),
            Beside::Camera(protocol, url) => {
                let camera = Relay::open(protocol, &url, &config.tls, interrupt);
                if interrupt.is_stopped() {
                    return Err(SourceError::Stopped);
                }
                let camera = camera?;
                recipe.url.clone_from(&camera.url);
                running.camera = Some(camera);
            }
            Beside::Publisher => {
                running.endpoint = config.feed.as_ref().map(|feed| feed.endpoint.clone());
            }
            Beside::Command(command) => {
                let command = Command::start(&command).map_err(SourceError::Command)?;
                recipe.url = command.url();
                running.command = Some(command);
            }
        }
        Ok(running)
    }
}
