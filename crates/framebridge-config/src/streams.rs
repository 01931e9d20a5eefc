//! Streams: what is captured, and how it is encoded.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use framebridge_proto::{StreamName, encoder::Quality};

use crate::{
    mask::without_secrets,
    push::{self, Push},
    reader::{Reader, UP_TO_AN_HOUR},
    source::{Protocol, Source, SourceTls},
};

/// `[streams.NAME]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// Its name, the `NAME` above.
    pub name: StreamName,
    /// What viewers are shown in place of the name; the name, where none is given.
    pub title: String,
    /// Where its pictures come from.
    pub source: Source,
    /// The H.264 encoder to use.
    pub encoder: EncoderChoice,
    /// Bit rate, frame rate and size, each within its range.
    pub quality: Quality,
    /// Which of these the operator has set: a source that is sent on as it comes has its own of the others.
    pub asked: Asked,
    /// How long the source stays open after the last subscriber left.
    pub linger: Duration,
    /// No picture for this long from an open source is a stall.
    pub stall_timeout: Duration,
    /// How long a silent network source is waited for in the same connection before it is opened again.
    pub pause_timeout: Duration,
    /// When its source is open.
    pub keep: Keep,
    /// How long the source is closed before it is tried; `None`: it is not tried before somebody watches.
    pub probe: Option<Duration>,
    /// How much of the stream is kept for clips of the past; zero: nothing.
    pub pre_roll: Duration,
    /// Whether lower rungs may be made for viewers whose links can't carry the full one.
    pub lower_rungs: bool,
    /// A picture unchanged for this long is a fault, and the source is opened again; zero: it never is.
    pub frozen_after: Duration,
    /// How a source that speaks TLS proves who it is.
    pub tls: SourceTls,
    /// Whether it may be steered with scope `control`: pointer, keys and clipboard. Only a desktop can be.
    pub control: bool,
    /// Receivers elsewhere that it is sent on to.
    pub pushes: Vec<Push>,
}

impl Stream {
    /// Whether its frames are made alike. The receivers that it is sent on to do not count.
    pub fn is_fed_like(&self, other: &Self) -> bool {
        let pushes = other.pushes.clone();
        Self { pushes, ..self.clone() } == *other
    }
}

/// What the operator has set of a stream's quality, for this one or for all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// Bits a second.
    pub bitrate: bool,
    /// Frames a second.
    pub fps: bool,
    /// The longest edge.
    pub longest_edge: bool,
}

/// Whether a setting is one of [`Asked`].
pub(crate) fn is_wish(key: &str) -> bool {
    let is_of = |section: &str| section == "video" || section.starts_with("streams.");
    let parts = key.rsplit_once('.');
    parts.is_some_and(|(section, name)| is_of(section) && ["bitrate", "fps", "longest_edge"].contains(&name))
}

/// When a source is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// While somebody watches.
    OnDemand,
    /// Always.
    Always,
}

/// Which H.264 encoder to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncoderChoice {
    /// None where the source's own H.264 can be sent on; else the first hardware encoder that really opens, else software.
    Auto,
    /// The same, however much the source sends, and whatever it says.
    Copy,
    /// x264.
    Software,
    /// NVIDIA.
    Nvenc,
    /// VA-API.
    Vaapi,
    /// Intel Quick Sync.
    Qsv,
    /// V4L2 memory-to-memory, as on a Raspberry Pi.
    V4l2m2m,
}

/// Letters of a title: what fits on a card.
const MOST_TITLE: usize = 64;

/// Streams of one box: each has its encoder report to the supervisor, which serves 64 processes and operators at once.
const MOST_STREAMS: usize = 48;

/// The streams of the file, then those of `--stream`, which wins; with neither, the built-in `test`.
pub(crate) fn streams(reader: &mut Reader<'_>, flags: &[String]) -> Vec<Stream> {
    let video = stream_defaults(reader);
    let may_execute = reader.flag("sources.exec", false);
    let mut streams = BTreeMap::new();
    let mut sources = BTreeMap::new();
    for flag in flags {
        match stream_flag(flag) {
            Ok((name, source)) => {
                if let Some(first) = sources.insert(name.clone(), source) {
                    let message = format!("`{name}` is named twice, and can have one source: the first was {first}");
                    reader.flag_problem("--stream", &shown_flag(flag), message);
                }
            }
            Err(message) => reader.flag_problem("--stream", &shown_flag(flag), message),
        }
    }
    let configured = reader.children("streams");
    for text in &configured {
        match text.parse::<StreamName>() {
            Ok(name) => {
                let source = match sources.remove(&name) {
                    Some(source) => {
                        reader.given("--stream", format!("streams.{name}.source"), &source);
                        source
                    }
                    None => file_source(reader, &name),
                };
                streams.insert(name.clone(), stream(reader, name, source, &video));
            }
            Err(error) => reader.problem(&format!("streams.{text}"), error.to_string()),
        }
    }
    if flags.is_empty() && configured.is_empty() {
        let name = StreamName::from_str("test").expect("a valid name");
        let source = reader.source("streams.test.source");
        streams.insert(name.clone(), stream(reader, name, source, &video));
    }
    for (name, source) in sources {
        reader.given("--stream", format!("streams.{name}.source"), &source);
        streams.insert(name.clone(), stream(reader, name, source, &video));
    }
    if !may_execute {
        refuse_commands(reader, &streams);
    }
    if streams.len() > MOST_STREAMS {
        let message = format!(
            "{} streams are more than the {MOST_STREAMS} that one box has",
            streams.len()
        );
        reader.problem("streams", message);
    }
    streams.into_values().collect()
}

/// A command runs with the rights of its encoder, so whoever may write a source may not start one by that alone.
fn refuse_commands(reader: &mut Reader<'_>, streams: &BTreeMap<StreamName, Stream>) {
    for (name, _) in streams
        .iter()
        .filter(|(_, stream)| matches!(stream.source, Source::Exec { .. }))
    {
        let message = "`exec:` runs a command, which has to be allowed: set sources.exec = true";
        reader.problem(&format!("streams.{name}.source"), message);
    }
}

/// `NAME=SOURCE`
/// `NAME=SOURCE` without what may be a secret.
fn shown_flag(flag: &str) -> String {
    match flag.split_once('=') {
        Some((name, source)) => format!("{}={}", without_secrets(name), without_secrets(source)),
        None => without_secrets(flag),
    }
}

fn stream_flag(flag: &str) -> Result<(StreamName, Source), String> {
    let (name, source) = flag
        .split_once('=')
        .ok_or("use NAME=SOURCE, e.g. door=rtsp://camera/stream")?;
    Ok((
        name.parse()
            .map_err(|error: framebridge_proto::InvalidStreamName| error.to_string())?,
        source
            .parse()
            .map_err(|error: crate::InvalidSource| error.to_string())?,
    ))
}

fn file_source(reader: &mut Reader<'_>, name: &StreamName) -> Source {
    let key = format!("streams.{name}.source");
    let source = reader.source(&key);
    if !reader.has(&key) {
        reader.problem(&key, "a stream needs a source, e.g. source = \"rtsp://camera/stream\"");
    }
    source
}

/// What a stream gets that does not set a key itself: `[video]`.
struct StreamDefaults {
    encoder: EncoderChoice,
    quality: Quality,
    linger: Duration,
    stall_timeout: Duration,
    pause_timeout: Duration,
    keep: Keep,
    probe: Duration,
    pre_roll: Duration,
    lower_rungs: bool,
    frozen_after: Duration,
    tls_verify: bool,
    /// A path; empty: this machine's own authorities.
    tls_ca: String,
}

/// The profile `balanced` of `docs/viewer.md`: 2.5 Mb/s carries 720p30 of a desktop without visible blocks.
const BUILT_IN: StreamDefaults = StreamDefaults {
    encoder: EncoderChoice::Auto,
    quality: Quality {
        bitrate: 2_500_000,
        fps: 30,
        longest_edge: 1280,
    },
    linger: Duration::from_secs(5),
    stall_timeout: Duration::from_secs(2),
    // What a Wi-Fi camera needs to change its access point; cameras with one session refuse a second one for a minute.
    pause_timeout: Duration::from_secs(10),
    keep: Keep::OnDemand,
    // A dead camera is known within a minute, and opening one so often costs it and this machine next to nothing.
    probe: Duration::from_secs(60),
    pre_roll: Duration::from_secs(15),
    lower_rungs: true,
    // A picture may stand still for ever and be right.
    frozen_after: Duration::ZERO,
    tls_verify: true,
    tls_ca: String::new(),
};

fn stream_defaults(reader: &mut Reader<'_>) -> StreamDefaults {
    video(reader, "video", &BUILT_IN)
}

fn stream(reader: &mut Reader<'_>, name: StreamName, source: Source, defaults: &StreamDefaults) -> Stream {
    let StreamDefaults {
        encoder,
        quality,
        linger,
        stall_timeout,
        pause_timeout,
        keep,
        probe,
        pre_roll,
        lower_rungs,
        frozen_after,
        tls_verify,
        tls_ca,
    } = video(reader, &format!("streams.{name}"), defaults);
    if !speaks_tls(&source) {
        let keys = ["tls_verify", "tls_ca"].map(|key| format!("streams.{name}.{key}"));
        let why = "only sources over TLS prove who they are, e.g. rtsps: or https:";
        reader.warn_if_set(&keys.each_ref().map(String::as_str), why);
    }
    let control = control(reader, &name, &source);
    let pushes = push::read(reader, &name);
    let is_set = |field: &str| {
        ["video".to_owned(), format!("streams.{name}")]
            .iter()
            .any(|section| reader.has(&format!("{section}.{field}")))
    };
    let asked = Asked {
        bitrate: is_set("bitrate"),
        fps: is_set("fps"),
        longest_edge: is_set("longest_edge"),
    };
    let may_probe = !probe.is_zero() && (is_set("probe_ms") || !is_disturbed_by_probes(&source));
    Stream {
        title: title(reader, &name),
        name,
        source,
        encoder,
        quality,
        asked,
        linger,
        stall_timeout,
        pause_timeout,
        keep,
        probe: may_probe.then_some(probe),
        pre_roll,
        lower_rungs,
        frozen_after,
        tls: SourceTls {
            verify: tls_verify,
            ca: (!tls_ca.is_empty()).then(|| tls_ca.into()),
        },
        control,
        pushes,
    }
}

/// Nobody steers anything unless that is written for the stream itself.
fn control(reader: &mut Reader<'_>, name: &StreamName, source: &Source) -> bool {
    let key = format!("streams.{name}.control");
    let control = reader.flag(&key, false);
    // A slate stands for a desktop whose capture fails.
    if control && !matches!(source, Source::X11 { .. } | Source::Slate(_)) {
        let message =
            format!("only a desktop can be steered, and {source} is none: use a source like x11::0, or leave it out");
        reader.problem(&key, message);
    }
    control
}

fn title(reader: &mut Reader<'_>, name: &StreamName) -> String {
    let key = format!("streams.{name}.title");
    let Some(title) = reader.optional(&key, false) else {
        return name.to_string();
    };
    let length = title.chars().count();
    if length > MOST_TITLE {
        let message = format!("a title has up to {MOST_TITLE} letters, and this one {length}");
        reader.problem(&key, message);
    } else if title.trim().is_empty() || title.chars().any(char::is_control) {
        reader.problem(&key, "a title is one line of text, e.g. title = \"Front door\"");
    }
    title
}

/// A camera that is opened shows that by a light, and another program may want it; a command may do anything; a slate tells nothing.
fn is_disturbed_by_probes(source: &Source) -> bool {
    matches!(source, Source::V4l2 { .. } | Source::Exec { .. } | Source::Slate(_))
}

/// Whether it has a certificate to show.
fn speaks_tls(source: &Source) -> bool {
    matches!(
        source,
        Source::Network {
            protocol: Protocol::Rtsps | Protocol::Https | Protocol::Rtmps,
            ..
        }
    )
}

/// A source that nobody watches is tried no more often: an attempt itself takes up to some seconds.
const SHORTEST_PROBE: Duration = Duration::from_secs(1);

/// Nothing, or a second and more.
fn probe(reader: &mut Reader<'_>, key: &str, default: Duration) -> Duration {
    let probe = reader.millis(key, default, UP_TO_AN_HOUR);
    if probe.is_zero() || probe >= SHORTEST_PROBE {
        return probe;
    }
    let (found, used) = (probe.as_millis(), SHORTEST_PROBE.as_millis());
    if reader.has(key) {
        reader.warn(key, format!("{found} is between 0 and {used}: {used} is used"));
    }
    SHORTEST_PROBE
}

fn video(reader: &mut Reader<'_>, section: &str, defaults: &StreamDefaults) -> StreamDefaults {
    let key = |name: &str| format!("{section}.{name}");
    StreamDefaults {
        encoder: reader.text(&key("encoder"), defaults.encoder),
        quality: Quality {
            bitrate: reader.number(&key("bitrate"), defaults.quality.bitrate, Quality::BITRATE),
            fps: reader.number(&key("fps"), defaults.quality.fps, Quality::FPS),
            longest_edge: reader.number(
                &key("longest_edge"),
                defaults.quality.longest_edge,
                Quality::LONGEST_EDGE,
            ),
        },
        linger: reader.millis(&key("linger_ms"), defaults.linger, UP_TO_AN_HOUR),
        stall_timeout: reader.millis(&key("stall_timeout_ms"), defaults.stall_timeout, 500..=60_000),
        pause_timeout: reader.millis(&key("pause_timeout_ms"), defaults.pause_timeout, 500..=60_000),
        keep: reader.text(&key("keep"), defaults.keep),
        probe: probe(reader, &key("probe_ms"), defaults.probe),
        pre_roll: reader.millis(&key("pre_roll_ms"), defaults.pre_roll, 0..=60_000),
        lower_rungs: reader.flag(&key("lower_rungs"), defaults.lower_rungs),
        frozen_after: reader.millis(&key("frozen_after_ms"), defaults.frozen_after, UP_TO_AN_HOUR),
        tls_verify: reader.flag(&key("tls_verify"), defaults.tls_verify),
        tls_ca: reader.text(&key("tls_ca"), defaults.tls_ca.clone()),
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OnDemand => "on-demand",
            Self::Always => "always",
        })
    }
}

impl FromStr for Keep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::OnDemand, Self::Always]
            .into_iter()
            .find(|keep| keep.to_string() == text)
            .ok_or_else(|| format!("`{text}` is no time to keep a source open: use on-demand or always"))
    }
}

impl EncoderChoice {
    /// Whether a source's own H.264 may be sent on.
    pub fn may_copy(self) -> bool {
        matches!(self, Self::Auto | Self::Copy)
    }

    const ALL: [(Self, &'static str); 7] = [
        (Self::Auto, "auto"),
        (Self::Copy, "copy"),
        (Self::Software, "software"),
        (Self::Nvenc, "nvenc"),
        (Self::Vaapi, "vaapi"),
        (Self::Qsv, "qsv"),
        (Self::V4l2m2m, "v4l2m2m"),
    ];
}

impl fmt::Display for EncoderChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            Self::ALL
                .iter()
                .find(|(choice, _)| choice == self)
                .map_or("auto", |(_, name)| name),
        )
    }
}

impl FromStr for EncoderChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names = || Self::ALL.map(|(_, name)| name).join(", ");
        Self::ALL
            .iter()
            .find_map(|&(choice, name)| (name == text).then_some(choice))
            .ok_or_else(|| format!("`{text}` is no encoder: use one of {}", names()))
    }
}
