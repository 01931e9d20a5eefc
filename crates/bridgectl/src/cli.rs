//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use framebridge_auth::{Scope, TokenName};
use framebridge_proto::{
    StreamName,
    encoder::{ClipSpan, QualityChange},
    limits::MAX_CLIP_SPAN,
};

/// Ask a running Framebridge how it is, and tell it what to do.
#[derive(Debug, Parser)]
#[command(name = "bridgectl", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, all healthy; 1 not done, or degraded; 2 down; 3 no supervisor reachable; 64 usage;
78 configuration.
Sockets are looked for in $FRAMEBRIDGE_RUNTIME_DIR, else $XDG_RUNTIME_DIR/framebridge, else /run/framebridge.";

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Every process and every stream at a glance
    Status(Status),
    /// What happened: faults, what was done about them, how long it took
    #[command(visible_alias = "events")]
    Journal(Journal),
    /// How a stream is, and if not well, why, in one sentence
    Why {
        /// The stream
        stream: StreamName,
    },
    /// Stop a process and start it again
    Restart {
        /// Its name, as `status` shows it
        process: String,
    },
    /// Stop a stream for all its viewers, who keep their sessions, until it is resumed
    Pause {
        /// The stream
        stream: StreamName,
    },
    /// End a stream's pause; or start a process that is parked or waits, at once
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
    /// Send a viewer away
    Kick {
        /// Its session, as `viewers` shows it
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
    Doctor(framebridge_daemon::Args),
    /// Check or print the configuration
    #[command(subcommand)]
    Config(Config),
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// For scripts: the same as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Stay, and show it anew every second
    #[arg(long)]
    pub(crate) watch: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Journal {
    /// Stay, and show further ones as they happen
    #[arg(long)]
    pub(crate) follow: bool,
    /// For scripts: one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Quality {
    /// The stream
    pub(crate) stream: StreamName,
    /// Frames per second
    #[arg(long)]
    fps: Option<u32>,
    /// Bits per second; `k` and `M` are understood
    #[arg(long, value_parser = bits_per_second)]
    bitrate: Option<u32>,
    /// Longest edge of the picture, in pixels
    #[arg(long)]
    size: Option<u32>,
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
    /// Where to save it: JPEG, or PNG if the name ends in .png
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
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
    /// Where to save it
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
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
        /// view, control or admin; each includes those before it
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

#[derive(Debug, Args)]
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
    let bits = number.parse::<f64>().map_err(|error| error.to_string())? * factor;
    // Through text, because that refuses what a u32 can't hold instead of bending it.
    format!("{bits:.0}")
        .parse()
        .map_err(|_| format!("`{text}` is not a bitrate"))
}

/// Reads `90s`, `30m`, `1h`, `7d`.
fn seconds(text: &str) -> Result<u64, String> {
    let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 24 * 3600)];
    let found = units
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(*unit)?, factor)));
    found
        .and_then(|(number, factor)| number.parse::<u64>().ok()?.checked_mul(*factor))
        .filter(|seconds| *seconds > 0)
        .ok_or_else(|| format!("`{text}` is no span of time: use e.g. 90s, 30m, 1h or 7d"))
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
    fn spans_of_time_are_read_as_people_write_them() {
        for (text, expected) in [("90s", 90), ("30m", 1800), ("1h", 3600), ("7d", 604_800)] {
            assert_eq!(seconds(text), Ok(expected));
        }
        for text in ["", "1", "h", "-1h", "1.5h", "0s", "99999999999999999999d"] {
            assert!(seconds(text).is_err(), "{text}");
        }
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
        for text in ["", "fast", "-1", "NaN", "1e99", "5000M"] {
            assert!(bits_per_second(text).is_err(), "{text}");
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
