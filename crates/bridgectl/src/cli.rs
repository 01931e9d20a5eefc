//! The command line.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use framebridge_auth::{Scope, TokenName};
use framebridge_config::Source;
use framebridge_daemon::unix_ms;
use framebridge_proto::{
    StreamName,
    encoder::{ClipSpan, Quality as Encoded, QualityChange},
    limits::MAX_CLIP_SPAN,
};

use crate::{
    clock::{moment, seconds},
    onvif::Network,
    out::Target,
};

/// Ask a running Framebridge how it is, and tell it what to do.
#[derive(Debug, Parser)]
#[command(name = "bridgectl", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// For scripts: one line of JSON instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, all is well; 1 not done, or degraded; 2 down; 3 no supervisor is reachable; 64 the command line is wrong;
78 the configuration is wrong.
Sockets are looked for in $FRAMEBRIDGE_RUNTIME_DIR, else $XDG_RUNTIME_DIR/framebridge, else /run/framebridge.";

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Every process and every stream at a glance
    Status(Status),
    /// What happened: faults, what was done about them, how long it took
    #[command(visible_alias = "events")]
    Journal(Journal),
    /// How something is, and if not well, why, in one sentence
    Why {
        /// A stream, a process, or `studio` for the session with it; without a name, all of Framebridge
        name: Option<String>,
    },
    /// Stop a process and start it again, even a parked one
    Restart {
        /// Its name, as `status` shows it, or that of the stream whose encoder it is
        process: String,
    },
    /// Read the configuration again: streams come, change and go, and nobody who watches another notices
    Reload,
    /// Stop a stream for all its viewers, who keep their sessions, until it is resumed
    Pause {
        /// The stream
        stream: StreamName,
    },
    /// End a stream's pause, or start at once a process that is parked or waits
    Resume {
        /// The stream's name, or the process's, as `status` shows it
        name: String,
    },
    /// Show or change how a stream is encoded
    Quality(Quality),
    /// Save a stream's latest picture
    Snapshot(Snapshot),
    /// Save a piece of a stream as MP4
    Clip(Clip),
    /// Make a public address at the studio, and print it
    Share(Share),
    /// End all public addresses that `share` made
    Unshare,
    /// Who may ask: make, list and revoke tokens
    #[command(subcommand)]
    Token(Token),
    /// Make a link that lets in whoever opens it first, and print it
    Link(Link),
    /// Who watches
    Viewers {
        /// Only this stream
        stream: Option<StreamName>,
    },
    /// Send a viewer, a publisher or a push away
    Kick {
        /// Its session, as `viewers` shows it; or a push as STREAM/NAME
        session: String,
    },
    /// Certificates for HTTPS
    #[command(subcommand)]
    Certificate(Certificate),
    /// What the studio has asked for
    Jobs,
    /// Steer the session with the studio
    #[command(subcommand)]
    Bridge(Bridge),
    /// Look for what keeps Framebridge from working on this machine
    Doctor(Doctor),
    /// Who is told what happens: show them, or try them
    #[command(subcommand)]
    Hooks(Hooks),
    /// Check or print the configuration
    #[command(subcommand)]
    Config(Config),
    /// Ask what to show to whom, write the configuration, start Framebridge, and print the address to open
    Setup(Setup),
    /// The streams of the configuration: add, remove, list
    #[command(subcommand)]
    Stream(Stream),
}

/// Who may watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Who {
    /// People at this machine
    ThisMachine,
    /// People in the network who have a token or a link
    Token,
    /// Everybody who reaches this machine, and they may change everything
    Anyone,
}

/// How HTTP is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SetupTls {
    /// By a certificate that is made for this machine, and that nobody vouches for
    SelfSigned,
    /// Not here: in a network that is trusted, or behind a proxy
    Off,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Setup {
    /// A stream to show; repeatable. Without one, the first camera or display that is found, else a test pattern
    #[arg(long = "stream", value_name = "NAME=SOURCE", value_parser = named_source)]
    pub(crate) streams: Vec<NamedSource>,
    /// Look for cameras (ONVIF) there: an interface like eth0, or addresses like 192.168.1.0/24; repeatable. Those that answer are
    /// offered, and with --yes each of them is added
    #[arg(long, value_name = "NETWORK")]
    pub(crate) discover: Vec<Network>,
    /// A file with user:password for these cameras; - reads it from standard input
    #[arg(long, value_name = "FILE", requires = "discover")]
    pub(crate) login: Option<PathBuf>,
    /// Who may watch
    #[arg(long, value_enum)]
    pub(crate) who: Option<Who>,
    /// How HTTP is protected, where others may watch
    #[arg(long, value_enum)]
    pub(crate) tls: Option<SetupTls>,
    /// A studio that gives this box a public address
    #[arg(long, value_name = "URL", requires = "studio_token_file")]
    pub(crate) studio: Option<String>,
    /// The file with this box's token there, of mode 640 or stricter
    #[arg(long, value_name = "FILE", requires = "studio")]
    pub(crate) studio_token_file: Option<PathBuf>,
    /// Start it now and at each boot, by systemd
    #[arg(long)]
    pub(crate) start: bool,
    /// Ask nothing: what is not said is as safe as can be
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// The file to write; without it that of the Framebridge that runs, else the usual one
    #[arg(long, value_name = "PATH")]
    pub(crate) config: Option<PathBuf>,
}

/// `NAME=SOURCE`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedSource {
    pub(crate) name: StreamName,
    pub(crate) source: Source,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Stream {
    /// Add one to the configuration, and start it where Framebridge runs
    Add(StreamAdd),
    /// Take one out of the configuration; its viewers are sent away
    Remove {
        /// Its name
        name: StreamName,
        #[command(flatten)]
        file: ConfigPath,
    },
    /// Show those of the configuration, each with its source
    List {
        #[command(flatten)]
        file: ConfigPath,
    },
}

#[derive(Debug, Args)]
pub(crate) struct StreamAdd {
    /// What to call it: a-z, 0-9, - and _
    pub(crate) name: StreamName,
    /// Where its pictures come from, e.g. rtsp://camera/stream or v4l2:/dev/video0; - reads it from standard input, for one with a
    /// password
    pub(crate) source: String,
    /// What viewers are shown in place of the name
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// Frames per second, 1 to 60
    #[arg(long, value_parser = fps)]
    pub(crate) fps: Option<u32>,
    /// Bits per second, 100k to 50M
    #[arg(long, value_parser = bits_per_second)]
    pub(crate) bitrate: Option<u32>,
    /// Longest edge of the picture in pixels, 64 to 4096
    #[arg(long, value_name = "PIXELS", value_parser = longest_edge)]
    pub(crate) size: Option<u32>,
    /// Keep its source open also while nobody watches
    #[arg(long)]
    pub(crate) always: bool,
    #[command(flatten)]
    pub(crate) file: ConfigPath,
}

/// Which configuration.
#[derive(Debug, Args)]
pub(crate) struct ConfigPath {
    /// The configuration file; without it that of the Framebridge that runs, else the usual one
    #[arg(long, value_name = "PATH")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Only open this source, a stream's name or a URL, and say what it is
    pub(crate) source: Option<String>,
    #[command(flatten)]
    pub(crate) args: framebridge_daemon::Args,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Stay, and show it anew every second; Ctrl-C ends it
    #[arg(long)]
    pub(crate) watch: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Journal {
    /// Stay, and show further events as they happen; Ctrl-C ends it
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the last so many events
    #[arg(short = 'n', long, value_name = "COUNT")]
    pub(crate) lines: Option<usize>,
    /// Only events since then: a span like 10m or 2h, or a time in UTC like "2026-11-23 06:40"
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub(crate) since: Option<u64>,
    /// Only events of this stream and its encoder
    #[arg(long, value_name = "STREAM")]
    pub(crate) stream: Option<StreamName>,
}

#[derive(Debug, Args)]
pub(crate) struct Quality {
    /// The stream
    pub(crate) stream: StreamName,
    /// Frames per second, 1 to 60
    #[arg(long, value_parser = fps)]
    fps: Option<u32>,
    /// Bits per second, 100k to 50M; `k` is a thousand, `M` a million
    #[arg(long, value_parser = bits_per_second)]
    bitrate: Option<u32>,
    /// Longest edge of the picture in pixels, 64 to 4096
    #[arg(long, value_name = "PIXELS", value_parser = longest_edge)]
    size: Option<u32>,
    /// Take back what was set: the stream is encoded as it is configured
    #[arg(long, conflicts_with_all = ["fps", "bitrate", "size"])]
    pub(crate) reset: bool,
}

impl Quality {
    /// What is to change; `None` if it was only asked for.
    pub(crate) fn change(&self) -> Option<QualityChange> {
        let change = QualityChange {
            bitrate: self.bitrate,
            fps: self.fps,
            longest_edge: self.size,
        };
        (change != QualityChange::default()).then_some(change)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Snapshot {
    /// The stream
    pub(crate) stream: StreamName,
    /// Where to save it: a name that ends in .jpg, .jpeg or .png; - is stdout, which gets a JPEG
    #[arg(short, long, value_name = "FILE", value_parser = picture, allow_hyphen_values = true)]
    pub(crate) output: Target,
}

#[derive(Debug, Args)]
pub(crate) struct Clip {
    /// The stream
    pub(crate) stream: StreamName,
    /// What has been, e.g. 10s, as far as it was kept
    #[arg(long, value_name = "TIME", value_parser = clip_millis, required_unless_present = "next", conflicts_with = "next")]
    last: Option<u32>,
    /// What comes, e.g. 10s
    #[arg(long, value_name = "TIME", value_parser = clip_millis)]
    next: Option<u32>,
    /// Where to save it: a name that ends in .mp4; - is stdout
    #[arg(short, long, value_name = "FILE", value_parser = film, allow_hyphen_values = true)]
    pub(crate) output: Target,
    /// Exit with 0 also where less was kept than asked for
    #[arg(long)]
    pub(crate) allow_short: bool,
}

impl Clip {
    /// Which piece.
    pub(crate) fn span(&self) -> ClipSpan {
        match self.next {
            Some(ms) => ClipSpan::Next { ms },
            None => ClipSpan::Last {
                ms: self.last.unwrap_or(0),
            },
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Share {
    /// Only this stream
    pub(crate) stream: Option<StreamName>,
    /// End it after this long, e.g. 90s, 30m, 1h, 7d
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(crate) expires: Option<u64>,
    /// Let its holder change things, too
    #[arg(long)]
    pub(crate) control: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Hooks {
    /// Show the hooks, what waits for them, and what failed last
    List,
    /// Tell a hook, or all of them, of a test, and show what comes of it
    Test {
        /// Only this one
        name: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Bridge {
    /// Take no jobs for now
    Pause,
    /// Take jobs again
    Resume,
    /// Leave the studio and connect anew
    Reconnect,
    /// Print the box's own public address: whoever has it sees everything, for as long as the studio's token lives
    Address,
}

/// Where the tokens are: as the configuration has it.
#[derive(Debug, Args)]
pub(crate) struct TokenFile {
    /// Configuration file; without it $FRAMEBRIDGE_CONFIG, then /etc/framebridge/framebridge.toml
    #[arg(long, value_name = "PATH")]
    pub(crate) config: Option<PathBuf>,
    /// The file of tokens, instead of `http.auth.tokens`
    #[arg(long, value_name = "PATH")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token and print it: it is shown this once
    New {
        /// What to call it: a-z, A-Z, 0-9, -, _ and .
        name: TokenName,
        /// view, control, publish or admin; control includes view, and admin all
        #[arg(long)]
        scope: Scope,
        /// Only this stream; repeatable
        #[arg(long = "stream", value_name = "STREAM")]
        streams: Vec<StreamName>,
        /// End it after this long, e.g. 12h, 30d
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        expires: Option<u64>,
        #[command(flatten)]
        file: TokenFile,
    },
    /// Show all tokens: what they are called and what they open
    List {
        #[command(flatten)]
        file: TokenFile,
    },
    /// End a token, and within two seconds what it has opened
    Revoke {
        /// What it is called
        name: TokenName,
        #[command(flatten)]
        file: TokenFile,
    },
}

#[derive(Debug, Default, Args)]
pub(crate) struct Link {
    /// Only this stream
    #[arg(long)]
    pub(crate) stream: Option<StreamName>,
    /// Let its holder change things, too
    #[arg(long)]
    pub(crate) control: bool,
    /// Out again after this long, e.g. 90m, 12h (the default), 30d at most
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(crate) expires: Option<u64>,
    /// How the other reaches this machine, e.g. https://live.example; without it, by its address
    #[arg(long, value_name = "URL")]
    pub(crate) at: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Certificate {
    /// Make one for this machine's names and addresses, signed by itself
    SelfSigned {
        /// Where to put tls.crt and tls.key
        #[arg(long, value_name = "FOLDER", default_value = ".")]
        out: PathBuf,
        /// A further name or address; repeatable
        #[arg(long = "name", value_name = "NAME")]
        names: Vec<String>,
        /// How long it is to hold
        #[arg(long, value_name = "TIME", value_parser = seconds, default_value = "365d")]
        expires: u64,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Say whether it is valid, and if not which key on which line is wrong
    Check(framebridge_daemon::Args),
    /// Print what is in force: file, environment and defaults together, secrets masked
    Print(framebridge_daemon::Args),
}

/// Reads `800000`, `800k`, `2.5M`.
fn bits_per_second(text: &str) -> Result<u32, String> {
    let (number, factor) = match text.strip_suffix(['k', 'K']) {
        Some(number) => (number, 1e3),
        None => text
            .strip_suffix(['m', 'M'])
            .map_or((text, 1.0), |number| (number, 1e6)),
    };
    let range = Encoded::BITRATE;
    let invalid = || {
        format!(
            "use a number of bits per second from {}k to {}M, e.g. 800k or 2.5M",
            range.start() / 1000,
            range.end() / 1_000_000
        )
    };
    let bits = number.parse::<f64>().map_err(|_not_a_number| invalid())? * factor;
    // Through text, because that refuses what a u32 can't hold instead of bending it.
    let bits = format!("{bits:.0}").parse().ok();
    bits.filter(|bits| range.contains(bits)).ok_or_else(invalid)
}

/// Reads a number in `range`.
fn within(text: &str, range: RangeInclusive<u32>) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("use a whole number from {} to {}", range.start(), range.end()))
}

/// Reads `NAME=SOURCE`.
fn named_source(text: &str) -> Result<NamedSource, String> {
    let (name, source) = text
        .split_once('=')
        .ok_or("use NAME=SOURCE, e.g. door=rtsp://camera/stream")?;
    Ok(NamedSource {
        name: name.parse::<StreamName>().map_err(|error| error.to_string())?,
        source: source.parse::<Source>().map_err(|error| error.to_string())?,
    })
}

fn fps(text: &str) -> Result<u32, String> {
    within(text, Encoded::FPS)
}

fn longest_edge(text: &str) -> Result<u32, String> {
    within(text, Encoded::LONGEST_EDGE)
}

fn since(text: &str) -> Result<u64, String> {
    moment(text, unix_ms())
}

fn picture(text: &str) -> Result<Target, String> {
    Target::parse(text, "a picture", &["jpg", "jpeg", "png"])
}

fn film(text: &str) -> Result<Target, String> {
    Target::parse(text, "a clip", &["mp4"])
}

/// Reads the length of a clip.
fn clip_millis(text: &str) -> Result<u32, String> {
    let span = Duration::from_secs(seconds(text)?);
    let most = MAX_CLIP_SPAN;
    let millis = u32::try_from(span.as_millis()).ok().filter(|_| span <= most);
    millis.ok_or_else(|| format!("a clip lasts up to {} s", most.as_secs()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn manual_and_completions_are_those_of_this_command_line() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/manual");
        let stale = framebridge_manual::stale(&Cli::command(), "bridgectl", folder.as_ref()).unwrap();
        assert!(
            stale.is_empty(),
            "FRAMEBRIDGE_WRITE_MANUAL=1 cargo test -p bridgectl manual writes {stale:?}"
        );
    }

    #[test]
    fn bitrates_are_read_as_people_write_them() {
        for (text, bits) in [
            ("800000", 800_000),
            ("800k", 800_000),
            ("2.5M", 2_500_000),
            ("3m", 3_000_000),
        ] {
            assert_eq!(bits_per_second(text), Ok(bits));
        }
        for text in ["", "fast", "-1", "NaN", "1e99", "51M", "99k"] {
            assert!(bits_per_second(text).is_err(), "{text}");
        }
    }

    #[test]
    fn values_that_cant_be_are_refused_with_those_that_can() {
        for (line, said) in [
            ("quality test --fps 1000", "from 1 to 60"),
            ("quality test --size 10", "from 64 to 4096"),
            ("quality test --bitrate 4", "from 100k to 50M"),
            ("snapshot test -o x.gif", ".jpg or .jpeg or .png"),
            ("snapshot test -o x", ".jpg or .jpeg or .png"),
            ("clip test --next 1s -o x.mkv", ".mp4"),
            ("clip test --next 2m -o x.mp4", "up to 60 s"),
            ("journal --since tomorrow", "10m"),
        ] {
            let refused = Cli::try_parse_from(format!("bridgectl {line}").split(' '))
                .unwrap_err()
                .to_string();
            assert!(refused.contains(said), "{line}: {refused}");
        }
        for line in [
            "snapshot test -o -",
            "snapshot test -o x.JPG --json",
            "--json clip test --last 9s --allow-short -o x.mp4",
        ] {
            Cli::try_parse_from(format!("bridgectl {line}").split(' ')).unwrap();
        }
    }

    #[test]
    fn quality_without_a_value_changes_nothing() {
        let parse = |line: &str| {
            let Verb::Quality(quality) = Cli::try_parse_from(line.split(' ')).unwrap().verb else {
                unreachable!()
            };
            quality.change()
        };
        assert_eq!(parse("bridgectl quality test"), None);
        let change = QualityChange {
            fps: Some(15),
            ..QualityChange::default()
        };
        assert_eq!(parse("bridgectl quality test --fps 15"), Some(change));
    }
}
