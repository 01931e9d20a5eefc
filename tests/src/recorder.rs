//! A real X program that notes what it gets: `xev`, on the lower half of a screen.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, ensure};
use rustix::time::{ClockId, clock_gettime};

use crate::{
    process::{Process, command},
    wait::{self, PATIENCE},
};

/// Where the window is: its left and upper edge, in pixels.
pub const ORIGIN: (i32, i32) = (0, 360);
const GEOMETRY: &str = "1280x360+0+360";

/// The modifiers of an event, as X counts them.
pub const SHIFT: u32 = 1;
/// Control.
pub const CONTROL: u32 = 4;

/// What the program was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// A key, by the symbol that the program finds for it.
    Key {
        /// Pressed, or let go.
        down: bool,
        /// Its symbol, which may be another when it is let go under other modifiers.
        keysym: u32,
        /// The key itself.
        keycode: u32,
        /// What was held before.
        state: u32,
    },
    /// A button.
    Button {
        /// Pressed, or let go.
        down: bool,
        /// Which.
        button: u32,
        /// Where, on the screen.
        at: (i32, i32),
    },
    /// The pointer moved.
    Motion {
        /// To where, on the screen.
        at: (i32, i32),
        /// What was held.
        state: u32,
    },
}

/// The X server's own clock, in milliseconds, by which it stamps each event as it happens: whoever reads late reads what was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(u32);

impl Stamp {
    /// What it shows now: it is the system's monotonic one (`GetTimeInMillis`), and turns over after 49 days.
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        let millis = now.tv_sec.wrapping_mul(1000).wrapping_add(now.tv_nsec / 1_000_000);
        Self(u32::try_from(millis & 0xffff_ffff).unwrap_or_default())
    }

    /// What it showed at a time of the system's other clock.
    pub fn at(then: SystemTime) -> Self {
        let ago = SystemTime::now().duration_since(then).unwrap_or_default();
        Self(
            Self::now()
                .0
                .wrapping_sub(u32::try_from(ago.as_millis()).unwrap_or_default()),
        )
    }

    /// How much later than `earlier` it is; nothing where it is not.
    pub fn since(self, earlier: Self) -> Duration {
        let later = self.0.wrapping_sub(earlier.0);
        // The server's clock may be the coarse one, which is some milliseconds behind.
        let is_later = later < u32::MAX / 2;
        Duration::from_millis(if is_later { later.into() } else { 0 })
    }
}

/// The program. It has the keyboard where the pointer is over it.
#[derive(Debug)]
pub struct Recorder {
    file: PathBuf,
    _program: Process,
}

impl Recorder {
    /// Starts it on a display; what it says goes to a file in `scratch`.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub fn start(display: &str, scratch: &Path) -> anyhow::Result<Self> {
        let file = scratch.join("xev.log");
        let mut xev = command("stdbuf");
        xev.args(["-oL", "xev", "-display", display, "-geometry", GEOMETRY]);
        xev.args(["-event", "keyboard", "-event", "mouse"]);
        let recorder = Self {
            _program: Process::start(&mut xev, &file)?,
            file,
        };
        wait::until_true("xev's window", PATIENCE, || {
            Ok(recorder.said()?.contains("Outer window"))
        })?;
        Ok(recorder)
    }

    fn said(&self) -> anyhow::Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(&self.file)?).into_owned())
    }

    /// All that it was told since it began.
    ///
    /// # Errors
    /// What it says makes no sense.
    pub fn heard(&self) -> anyhow::Result<Vec<Heard>> {
        Ok(self.stamped()?.into_iter().map(|(_at, heard)| heard).collect())
    }

    /// When what was held since event number `since` was let go of, all of it; `None`: it is held still, or nothing was.
    ///
    /// # Errors
    /// What it says makes no sense.
    pub fn let_go_at(&self, since: usize) -> anyhow::Result<Option<Stamp>> {
        let stamped = self.stamped()?.split_off(since);
        let heard: Vec<Heard> = stamped.iter().map(|(_at, heard)| *heard).collect();
        let last = heard
            .iter()
            .rposition(|one| matches!(one, Heard::Key { down: false, .. } | Heard::Button { down: false, .. }));
        Ok(last.filter(|_| held(&heard).is_empty()).map(|last| stamped[last].0))
    }

    fn stamped(&self) -> anyhow::Result<Vec<(Stamp, Heard)>> {
        let said = self.said()?;
        let events: Vec<&str> = said
            .split("\n\n")
            .filter(|event| event.contains(" event, serial"))
            .collect();
        let last = events.len().saturating_sub(1);
        // The last one may not be whole yet.
        let heard = events
            .iter()
            .enumerate()
            .map(|(at, event)| read(event).or_else(|error| if at == last { Ok(None) } else { Err(error) }));
        heard.filter_map(Result::transpose).collect()
    }

    /// Waits until what it was told from event number `since` on is as it should be.
    ///
    /// # Errors
    /// It is not: what it was told instead.
    pub fn until(&self, what: &str, since: usize, is_so: impl Fn(&[Heard]) -> bool) -> anyhow::Result<Vec<Heard>> {
        wait::until(what, PATIENCE, || {
            let heard = self.heard()?.split_off(since);
            ensure!(is_so(&heard), "heard {heard:?}");
            Ok(Some(heard))
        })
    }
}

/// The characters of what was pressed, without what modifies them.
pub fn typed(heard: &[Heard]) -> String {
    let characters = heard.iter().filter_map(|heard| match heard {
        Heard::Key { down: true, keysym, .. } => character(*keysym),
        Heard::Key { .. } | Heard::Button { .. } | Heard::Motion { .. } => None,
    });
    characters.collect()
}

/// What is pressed after all that: keys by their codes, and buttons as negative numbers.
pub fn held(heard: &[Heard]) -> Vec<i64> {
    let mut held = Vec::new();
    for event in heard {
        let (what, down) = match event {
            Heard::Key { keycode, down, .. } => (i64::from(*keycode), *down),
            Heard::Button { button, down, .. } => (-i64::from(*button), *down),
            Heard::Motion { .. } => continue,
        };
        held.retain(|other| *other != what);
        if down {
            held.push(what);
        }
    }
    held
}

fn character(keysym: u32) -> Option<char> {
    match keysym {
        0x20..=0x7e | 0xa0..=0xff => char::from_u32(keysym),
        // From before Unicode had a rule of its own.
        0x20ac => Some('€'),
        0x13bc => Some('Œ'),
        0x13bd => Some('œ'),
        0x0100_0100..=0x0110_ffff => char::from_u32(keysym & 0x00ff_ffff),
        0xff0d => Some('\n'),
        0xff09 => Some('\t'),
        _ => None,
    }
}

fn read(event: &str) -> anyhow::Result<Option<(Stamp, Heard)>> {
    let after = |mark: &str, until: char| {
        let (_, rest) = event
            .split_once(mark)
            .with_context(|| format!("no {mark} in {event}"))?;
        Ok::<_, anyhow::Error>(rest.split(until).next().unwrap_or_default().trim().to_owned())
    };
    let hex = |mark| {
        let text = after(mark, ',')?;
        Ok::<_, anyhow::Error>(u32::from_str_radix(text.trim_start_matches("0x"), 16)?)
    };
    let place = || {
        let text = after("root:(", ')')?;
        let (x, y) = text.split_once(',').context("a place")?;
        Ok::<_, anyhow::Error>((x.parse()?, y.parse()?))
    };
    let kind = event.trim_start().split(' ').next().unwrap_or_default();
    let heard = match kind {
        "KeyPress" | "KeyRelease" => Some(Heard::Key {
            down: kind == "KeyPress",
            keysym: hex("(keysym ")?,
            keycode: after("keycode ", ' ')?.parse()?,
            state: hex("state ")?,
        }),
        "ButtonPress" | "ButtonRelease" => Some(Heard::Button {
            down: kind == "ButtonPress",
            button: after("button ", ',')?.parse()?,
            at: place()?,
        }),
        "MotionNotify" => Some(Heard::Motion {
            at: place()?,
            state: hex("state ")?,
        }),
        _ => None,
    };
    heard
        .map(|heard| Ok((Stamp(after(" time ", ',')?.parse()?), heard)))
        .transpose()
}
