//! Decides whether a source's own H.264 is sent on as it comes, without decoding it, and says why not where it is not.
//!
//! | what is seen | what follows |
//! | --- | --- |
//! | nothing yet | pictures are decoded and encoded |
//! | a keyframe, and nothing against it | sent on from this one on |
//! | something that players don't show as it is, or more than was asked for | encoded from this very picture on |
//! | the operator asks for another quality | the same, until he asks for the configured one again |
//!
//! What was found against a source holds until it is opened anew or something else is asked for; only one that has become
//! slow may be quick again.

#[cfg(test)]
mod tests;

use std::{fmt, time::Duration};

use crate::{h264::Sps, rate_meter::RateMeter};

/// Who joins starts at the last keyframe and catches up with all that came since: more than this nobody sends at once.
pub const LONGEST_GROUP: Duration = Duration::from_secs(10);

/// Keyframes that are meant to be [`LONGEST_GROUP`] apart may be a little late.
const GROUP_SLACK: Duration = Duration::from_millis(500);

/// What a group may weigh: it is kept for those who join, by the encoder and by signaling.
pub const HEAVIEST_GROUP: usize = 12 << 20;

/// More than this, bits a second, few links carry. Only who demands it gets it.
const MOST_UNASKED: f64 = 20_000_000.0;

/// More pictures a second than this few screens show: mostly a container's mistake. Likewise.
const MOST_PICTURES_UNASKED: f64 = 125.0;

/// The window over which a source's rate and bits are measured.
const WINDOW: Duration = Duration::from_secs(4);

/// It is faster than asked for from this excess on (as in [`cadence`](crate::cadence)), and heavier from this.
const TOO_FAST: f64 = 1.1;
const TOO_HEAVY: f64 = 1.15;

/// Between two pictures of a slow source the last one has to be sent again for those who watch, and that takes an encoder.
const SLOW: Duration = Duration::from_millis(500);

/// What goes further, forwards or back, is a pause or a jump of the source's clock, and no part of a group's length.
const LONGEST_STEP: Duration = Duration::from_secs(1);

/// Slow pictures in a row that are no accident, and quick ones after which a source is slow no more.
const SLOW_PICTURES: u32 = 4;
const QUICK_PICTURES: u32 = 50;

/// No picture of a stream is longer or higher.
const LONGEST_EDGE: u32 = 4096;

/// A bitrate is told again when it differs by more than one part in this many.
const TOLD_PART: u32 = 4;

/// What speaks against sending a source on as it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// It is of another codec, by its name.
    Codec(String),
    /// Its `profile_idc` is none that browsers play.
    Profile(u8),
    /// Its pictures have more than 8 bits.
    Depth(u32),
    /// They are not 4:2:0.
    Chroma,
    /// They are two fields each.
    Fields,
    /// They come in another order than that in which they are shown.
    Reordered,
    /// They are to be turned or mirrored.
    Turned,
    /// Their pixels are not square.
    NotSquare,
    /// They are larger than browsers play.
    TooLarge,
    /// There is but one.
    OnePicture,
    /// It can't be read without being decoded.
    Unreadable,
    /// Keyframes are too far apart.
    LongGroups,
    /// What is between two keyframes is too much.
    HeavyGroups,
    /// Pictures come too rarely.
    Slow,
    /// A smaller picture was asked for: its longest edge, and that of what comes.
    Smaller(u32, u32),
    /// Fewer pictures a second were asked for: how many, and how many come.
    Thinner(u32, u32),
    /// Less was asked for: bits a second, and what comes.
    Lighter(u32, u32),
    /// It is more than most links carry: bits a second.
    Heavy(u32),
    /// It is more pictures a second than screens show.
    TooFast(u32),
    /// Another quality than the configured one is in force.
    QualitySet,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mega = |bits: &u32| f64::from(*bits) / 1_000_000.0;
        match self {
            Self::Codec(name) => write!(f, "it is {name}, not H.264"),
            Self::Profile(number) => write!(f, "browsers don't play its profile (H.264 profile {number})"),
            Self::Depth(bits) => write!(f, "it has {bits} bits a colour"),
            Self::Chroma => f.write_str("its colours are not 4:2:0"),
            Self::Fields => f.write_str("it has fields"),
            Self::Reordered => f.write_str("it has B-frames"),
            Self::Turned => f.write_str("its pictures are to be turned or mirrored"),
            Self::NotSquare => f.write_str("its pixels are not square"),
            Self::TooLarge => write!(f, "it is larger than {LONGEST_EDGE} pixels"),
            Self::OnePicture => f.write_str("it is a single picture"),
            Self::Unreadable => f.write_str("its H.264 is not as it should be"),
            Self::LongGroups => write!(f, "its keyframes are more than {} s apart", LONGEST_GROUP.as_secs()),
            Self::HeavyGroups => write!(
                f,
                "from keyframe to keyframe it has more than {} MiB",
                HEAVIEST_GROUP >> 20
            ),
            Self::Slow => f.write_str("it gives less than 2 pictures a second"),
            Self::Smaller(asked, comes) => write!(f, "longest_edge = {asked}, and it has {comes}"),
            Self::Thinner(asked, comes) => write!(f, "fps = {asked}, and it has {comes}"),
            Self::Lighter(asked, comes) => {
                write!(f, "bitrate = {asked}, and it sends {:.1} Mb/s", mega(comes))
            }
            Self::Heavy(comes) => {
                write!(
                    f,
                    "it sends {:.1} Mb/s, more than most links carry (encoder = \"copy\" sends it all the same)",
                    mega(comes)
                )
            }
            Self::TooFast(comes) => write!(
                f,
                "it has {comes} pictures a second, more than screens show (encoder = \"copy\" sends them all the same)"
            ),
            Self::QualitySet => f.write_str("another quality than the configured one is set"),
        }
    }
}

/// What is wanted of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wish {
    /// Whether a source may be sent on as it comes.
    pub allowed: bool,
    /// Whether that is wanted however much it sends.
    pub demanded: bool,
    /// The longest edge that was asked for, if one was.
    pub longest_edge: Option<u32>,
    /// Pictures a second.
    pub fps: Option<u32>,
    /// Bits a second.
    pub bitrate: Option<u32>,
    /// Whether another quality than the configured one is in force.
    pub quality_set: bool,
}

/// One picture as it came.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The parameter set in force; `None`: none came yet.
    pub sps: Option<&'a Sps>,
    /// Whether it is an IDR.
    pub keyframe: bool,
    /// Whether it leans on pictures before and after it.
    pub bidirectional: bool,
    /// When it is shown, on the source's clock or any other that runs like ours.
    pub at: Duration,
    /// Its bytes.
    pub bytes: usize,
}

/// What becomes of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It is decoded, and encoded as asked for.
    Encode,
    /// It is sent on as it is.
    Copy,
}

/// What is told of a stream that is sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Of its pictures.
    pub size: (u32, u32),
    /// Whole pictures a second.
    pub fps: u32,
    /// Bits a second.
    pub bitrate: u32,
    /// As an SDP has it.
    pub profile_level_id: [u8; 3],
}

/// The machine: one [`observe`](Self::observe) per picture.
#[derive(Debug)]
pub struct AsItComes {
    wish: Wish,
    way: Way,
    /// What was found against this source.
    found: Option<Obstacle>,
    slow: Slowness,
    last: Option<Duration>,
    /// From the first picture to the last, in which a source that begins again goes on.
    passed: Duration,
    /// Between the last two.
    step: Duration,
    group: Option<Group>,
    pictures: RateMeter,
    weight: Weight,
    told: Option<Told>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Group {
    length: Duration,
    bytes: usize,
}

/// Whether a source has become slow.
#[derive(Debug, Default)]
struct Slowness {
    is_slow: bool,
    /// Pictures in a row that say otherwise.
    against: u32,
}

impl Slowness {
    fn step(&mut self, step: Duration) {
        if (step >= SLOW) == self.is_slow {
            self.against = 0;
            return;
        }
        self.against += 1;
        let enough = if self.is_slow { QUICK_PICTURES } else { SLOW_PICTURES };
        if self.against >= enough {
            *self = Self {
                is_slow: !self.is_slow,
                against: 0,
            };
        }
    }
}

/// What a source sends, over whole groups: a keyframe alone says nothing.
#[derive(Debug, Default)]
struct Weight {
    since: Option<Duration>,
    bytes: usize,
    /// Bits a second, once a window has passed.
    rate: Option<f64>,
}

impl Weight {
    /// `at`: the time that has passed since the first picture.
    fn add(&mut self, seen: &Seen<'_>, at: Duration) {
        if seen.keyframe {
            let since = *self.since.get_or_insert(at);
            let span = at.saturating_sub(since);
            if span >= WINDOW {
                #[expect(clippy::cast_precision_loss, reason = "an estimate")]
                let bits = self.bytes as f64 * 8.0;
                (self.rate, self.since, self.bytes) = (Some(bits / span.as_secs_f64()), Some(at), 0);
            }
        }
        self.bytes += seen.bytes;
    }
}

impl AsItComes {
    /// One that has seen nothing.
    pub fn new(wish: Wish) -> Self {
        Self {
            wish,
            way: Way::Encode,
            found: None,
            slow: Slowness::default(),
            last: None,
            passed: Duration::ZERO,
            step: Duration::ZERO,
            group: None,
            pictures: RateMeter::new(WINDOW),
            weight: Weight::default(),
            told: None,
        }
    }

    /// Takes in that a source was opened, and what is known against it from the start.
    pub fn opened(&mut self, known: Option<Obstacle>) {
        *self = Self {
            found: known,
            ..Self::new(self.wish)
        };
    }

    /// Takes in that the source goes on with another beginning: a file from its start.
    pub fn rewound(&mut self) {
        (self.last, self.group) = (None, None);
    }

    /// Takes in what is wanted. Where that is something else, it is looked again whether it can be had.
    pub fn wish(&mut self, wish: Wish) {
        if self.wish == wish {
            return;
        }
        self.wish = wish;
        let is_of_wish = |found: &Obstacle| {
            matches!(
                found,
                Obstacle::Smaller(..)
                    | Obstacle::Thinner(..)
                    | Obstacle::Lighter(..)
                    | Obstacle::Heavy(_)
                    | Obstacle::TooFast(_)
            )
        };
        if self.found.as_ref().is_some_and(is_of_wish) {
            self.found = None;
        }
        if !wish.allowed || wish.quality_set {
            self.way = Way::Encode;
        }
    }

    /// Takes in that reading it without decoding has failed.
    pub fn fails(&mut self, obstacle: Obstacle) {
        self.found.get_or_insert(obstacle);
        self.way = Way::Encode;
    }

    /// Whether pictures are worth being looked at: nothing that is known forbids to send them on.
    pub fn is_possible(&self) -> bool {
        self.wish.allowed && self.found.is_none()
    }

    /// What becomes of the picture at hand. From a picture on that is to be encoded, all that its group has had so far has to be
    /// decoded first.
    pub fn observe(&mut self, seen: &Seen<'_>) -> Way {
        if !self.is_possible() {
            return Way::Encode;
        }
        self.measure(seen);
        if let Some(found) = self.against(seen) {
            self.fails(found);
        } else if self.slow.is_slow || self.wish.quality_set {
            self.way = Way::Encode;
        } else if seen.keyframe {
            self.way = Way::Copy;
        }
        self.way
    }

    fn measure(&mut self, seen: &Seen<'_>) {
        let step = self.last.map_or(Duration::ZERO, |last| seen.at.saturating_sub(last));
        if !step.is_zero() {
            self.slow.step(step);
            self.step = step;
        }
        // A film's first picture follows its last one as others do.
        self.passed += if self.last.is_some() { step } else { self.step };
        self.pictures.add(self.passed);
        self.weight.add(seen, self.passed);
        if seen.keyframe {
            self.group = Some(Group::default());
        } else if let Some(group) = &mut self.group {
            group.length += step.min(LONGEST_STEP);
        }
        if let Some(group) = &mut self.group {
            group.bytes += seen.bytes;
        }
    }

    /// What there is against sending the source on, as of this picture.
    fn against(&mut self, seen: &Seen<'_>) -> Option<Obstacle> {
        let back = self.last.and_then(|last| last.checked_sub(seen.at)).unwrap_or_default();
        self.last = Some(seen.at);
        let goes_back = !back.is_zero() && back < LONGEST_STEP;
        let is_ordered = seen.sps.is_some_and(|sps| sps.reordered == Some(0));
        if (goes_back || seen.bidirectional) && !is_ordered {
            return Some(Obstacle::Reordered);
        }
        let group = self.group?;
        if group.length > LONGEST_GROUP + GROUP_SLACK {
            return Some(Obstacle::LongGroups);
        }
        if group.bytes > HEAVIEST_GROUP {
            return Some(Obstacle::HeavyGroups);
        }
        let Some(sps) = seen.sps else {
            return Some(Obstacle::Unreadable);
        };
        if seen.keyframe {
            unplayable(sps).or_else(|| self.unasked(sps))
        } else {
            self.too_fast()
        }
    }

    /// What comes, and was not asked for.
    fn unasked(&self, sps: &Sps) -> Option<Obstacle> {
        let edge = sps.width.max(sps.height);
        if let Some(asked) = self.wish.longest_edge.filter(|asked| edge > *asked) {
            return Some(Obstacle::Smaller(asked, edge));
        }
        if let Some(found) = self.too_fast() {
            return Some(found);
        }
        let rate = self.weight.rate?;
        match self.wish.bitrate {
            Some(asked) => (rate > f64::from(asked) * TOO_HEAVY).then(|| Obstacle::Lighter(asked, whole(rate))),
            None => (rate > MOST_UNASKED && !self.wish.demanded).then(|| Obstacle::Heavy(whole(rate))),
        }
    }

    fn too_fast(&self) -> Option<Obstacle> {
        let comes = self.pictures.a_second()?;
        match self.wish.fps {
            Some(asked) => (comes > f64::from(asked) * TOO_FAST).then(|| Obstacle::Thinner(asked, whole(comes))),
            None => (comes > MOST_PICTURES_UNASKED && !self.wish.demanded).then(|| Obstacle::TooFast(whole(comes))),
        }
    }

    /// Why the source is not sent on; `None` where it is, where it may not be, and where nothing is known yet.
    pub fn obstacle(&self) -> Option<Obstacle> {
        if !self.wish.allowed {
            return None;
        }
        let passing = || {
            let set = self.wish.quality_set.then_some(Obstacle::QualitySet);
            set.or_else(|| self.slow.is_slow.then_some(Obstacle::Slow))
        };
        self.found.clone().or_else(passing)
    }

    /// What to tell of the stream at the keyframe at hand. What wobbles is told anew when it has really changed.
    /// `declared`: pictures a second by the source's own word.
    pub fn tell(&mut self, sps: &Sps, declared: Option<f64>) -> Told {
        let fps = self.pictures.a_second().or(declared).unwrap_or(25.0);
        let (fps, rate) = (whole(fps).max(1), self.weight.rate.map_or(0, whole));
        let last = self.told;
        let near = |was: u32, is: u32| was > 0 && was.abs_diff(is) <= was / TOLD_PART;
        let told = Told {
            size: (sps.width, sps.height),
            fps: last
                .map(|last| last.fps)
                .filter(|was| was.abs_diff(fps) * 6 <= *was)
                .unwrap_or(fps),
            bitrate: last
                .map(|last| last.bitrate)
                .filter(|was| near(*was, rate))
                .unwrap_or(rate),
            profile_level_id: sps.profile_level_id,
        };
        self.told = Some(told);
        told
    }
}

/// What browsers don't play as it is.
pub fn unplayable(sps: &Sps) -> Option<Obstacle> {
    let profile = sps.profile_level_id[0];
    let order = sps.reordered.unwrap_or(0);
    if sps.depth > 8 {
        Some(Obstacle::Depth(sps.depth))
    } else if sps.chroma != 1 {
        Some(Obstacle::Chroma)
    } else if ![66, 77, 100].contains(&profile) {
        Some(Obstacle::Profile(profile))
    } else if !sps.whole_frames {
        Some(Obstacle::Fields)
    } else if order > 0 {
        Some(Obstacle::Reordered)
    } else if sps.aspect.0 != sps.aspect.1 {
        Some(Obstacle::NotSquare)
    } else if sps.width.max(sps.height) > LONGEST_EDGE {
        Some(Obstacle::TooLarge)
    } else {
        None
    }
}

/// What a source's own word of the time between its pictures says against sending it on: for who can't wait to see it.
pub fn by_its_word(interval: Duration) -> Option<Obstacle> {
    let a_second = 1.0 / interval.as_secs_f64();
    if interval >= SLOW {
        Some(Obstacle::Slow)
    } else {
        (a_second > MOST_PICTURES_UNASKED).then(|| Obstacle::TooFast(whole(a_second)))
    }
}

/// How a stream's format is called: profile and level.
pub fn format_name([profile, constraints, level]: [u8; 3]) -> String {
    let name = match profile {
        66 if constraints & 0x40 != 0 => "Constrained Baseline",
        66 => "Baseline",
        77 => "Main",
        100 => "High",
        _ => "unknown profile",
    };
    format!("H.264 {name}, level {}.{}", level / 10, level % 10)
}

fn whole(number: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to what fits"
    )]
    let whole = number.round().clamp(0.0, f64::from(u32::MAX)) as u32;
    whole
}
