//! The command line.

use std::{ffi::OsString, path::PathBuf};

use lexopt::prelude::*;

use crate::error::Error;

/// What `cargo xtask --help` prints.
pub(crate) const HELP: &str = "\
cargo xtask <command>

  run-all [--config PATH] [--release] [--stream NAME=SOURCE]...
                      build everything and run it until Ctrl-C
  build [--release]   build every binary
  test                format, lints, dependency arrows, audit, documents, unit, integration and browser tests
  audit               licences, bans, sources and advisories (cargo-deny)
  dist [--out DIR] [--binaries DIR]
                      Debian packages and a tarball, of a release build or of the programs in DIR
  dist --try          install, upgrade and purge the packages on a fresh Debian 12, made by debootstrap (as root)
  check deps          prove that dependencies are as docs/architecture.md draws them, and no module in a circle
  bench [NAME] [...]  measure; without a name, what docs/benchmarks.md opens with
  conformance [--url URL] [--token T] [--json]
                      check a WHEP server against the draft, statement by statement; without a URL, ours
  chaos [--seconds N] [--seed S] [--viewers K] [--json]
                      break a running system at random and see it mend itself
  soak [--hours N] [--seed S] [--out FOLDER] | --report FILE
                      run a whole system for hours, with viewers, days and faults, and see that nothing grows
  stress [--seconds N] [--json]
                      viewers who stay, viewers who come and go, and a wall, and see what stays behind
  attack [--seconds N] [--only TEXT] [--url URL [--token T]] [--json]
                      flood, hold, forge and amplify against a running system, and see what its viewers notice
  fuzz TARGET [--seconds N] [--keep]
                      search for bytes from outside that are not borne; --keep puts what was reached into the corpus

CARGO_TARGET_DIR (default ~/.cache/framebridge/target) and FRAMEBRIDGE_RUNTIME_DIR are honoured.
";

/// How `dist` is asked for.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Dist {
    /// Where the packages go.
    pub(crate) out: Option<PathBuf>,
    /// Programs to pack, instead of building them.
    pub(crate) binaries: Option<PathBuf>,
    /// Try packages on a fresh system, instead of keeping them.
    pub(crate) is_tried: bool,
}

/// One command, parsed.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    Help,
    RunAll {
        release: bool,
        forwarded: Vec<OsString>,
    },
    Build {
        release: bool,
    },
    Test,
    Audit,
    CheckDeps,
    Dist(Dist),
    Fuzz {
        target: String,
        seconds: Option<u32>,
        keep: bool,
    },
    /// One of the programs that put a real system to the test.
    Trial {
        verb: String,
        arguments: Vec<OsString>,
    },
    Conformance {
        arguments: Vec<OsString>,
    },
    Bench {
        name: Option<String>,
        arguments: Vec<OsString>,
    },
}

/// Reads the process's own arguments.
pub(crate) fn parse() -> Result<Command, Error> {
    parse_from(lexopt::Parser::from_env())
}

fn parse_from(mut parser: lexopt::Parser) -> Result<Command, Error> {
    let command = match parser.next()? {
        None | Some(Short('h') | Long("help")) => return Ok(Command::Help),
        Some(Value(name)) => name.string()?,
        Some(other) => return Err(other.unexpected().into()),
    };
    match command.as_str() {
        "run-all" => run_all(parser),
        "build" => build(parser),
        "test" => nothing_more(parser, Command::Test),
        "audit" => nothing_more(parser, Command::Audit),
        "check" => match parser.value()?.string()?.as_str() {
            "deps" => nothing_more(parser, Command::CheckDeps),
            other => Err(Error::Usage(format!("nothing to check called `{other}`"))),
        },
        "bench" => bench(parser),
        "dist" => dist(parser),
        "fuzz" => fuzz(parser),
        "conformance" => Ok(Command::Conformance {
            arguments: parser.raw_args()?.collect(),
        }),
        "attack" | "chaos" | "soak" | "stress" => Ok(Command::Trial {
            arguments: parser.raw_args()?.collect(),
            verb: command,
        }),
        other => Err(Error::Usage(format!("no command called `{other}`"))),
    }
}

fn run_all(mut parser: lexopt::Parser) -> Result<Command, Error> {
    let (mut release, mut forwarded) = (false, Vec::new());
    while let Some(argument) = parser.next()? {
        match argument {
            Long("release") => release = true,
            Long(flag @ ("config" | "stream")) => {
                forwarded.push(format!("--{flag}").into());
                forwarded.push(parser.value()?);
            }
            other @ (Short(_) | Long(_) | Value(_)) => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::RunAll { release, forwarded })
}

fn build(mut parser: lexopt::Parser) -> Result<Command, Error> {
    let mut release = false;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("release") => release = true,
            other @ (Short(_) | Long(_) | Value(_)) => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Build { release })
}

fn dist(mut parser: lexopt::Parser) -> Result<Command, Error> {
    let mut asked = Dist::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("out") => asked.out = Some(parser.value()?.into()),
            Long("binaries") => asked.binaries = Some(parser.value()?.into()),
            Long("try") => asked.is_tried = true,
            other @ (Short(_) | Long(_) | Value(_)) => return Err(other.unexpected().into()),
        }
    }
    if asked.is_tried && (asked.out.is_some() || asked.binaries.is_some()) {
        return Err(Error::Usage("`dist --try` takes nothing else".to_owned()));
    }
    Ok(Command::Dist(asked))
}

fn bench(mut parser: lexopt::Parser) -> Result<Command, Error> {
    let mut arguments = parser.raw_args()?.peekable();
    let named = arguments
        .peek()
        .is_some_and(|first| !first.to_string_lossy().starts_with('-'));
    let name = if named {
        arguments.next().map(|name| name.string()).transpose()?
    } else {
        None
    };
    Ok(Command::Bench {
        name,
        arguments: arguments.collect(),
    })
}

fn fuzz(mut parser: lexopt::Parser) -> Result<Command, Error> {
    let target = parser.value()?.string()?;
    let (mut seconds, mut keep) = (None, false);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("seconds") => seconds = Some(parser.value()?.parse()?),
            Long("keep") => keep = true,
            other @ (Short(_) | Long(_) | Value(_)) => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Fuzz { target, seconds, keep })
}

fn nothing_more(mut parser: lexopt::Parser, command: Command) -> Result<Command, Error> {
    match parser.next()? {
        None => Ok(command),
        Some(other) => Err(other.unexpected().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, Error> {
        parse_from(lexopt::Parser::from_args(line.split_whitespace()))
    }

    #[test]
    fn run_all_keeps_its_own_flag_and_forwards_the_rest_in_order() {
        let command = parsed("run-all --stream a=test: --release --config=x.toml").unwrap();
        let forwarded = ["--stream", "a=test:", "--config", "x.toml"]
            .map(OsString::from)
            .to_vec();
        assert_eq!(
            command,
            Command::RunAll {
                release: true,
                forwarded
            }
        );
    }

    #[test]
    fn bench_takes_a_name_or_flags_at_once() {
        let command = parsed("bench fanout --viewers 10").unwrap();
        let arguments = ["--viewers", "10"].map(OsString::from).to_vec();
        assert_eq!(
            command,
            Command::Bench {
                name: Some("fanout".into()),
                arguments
            }
        );
        let arguments = vec![OsString::from("--json")];
        assert_eq!(
            parsed("bench --json").unwrap(),
            Command::Bench { name: None, arguments }
        );
    }

    #[test]
    fn trial_gets_its_arguments_as_they_are() {
        let arguments = ["--hours", "0.05"].map(OsString::from).to_vec();
        let verb = "soak".to_owned();
        assert_eq!(parsed("soak --hours 0.05").unwrap(), Command::Trial { verb, arguments });
    }

    #[test]
    fn what_makes_no_sense_is_a_usage_error() {
        for line in [
            "fly",
            "test now",
            "check",
            "check arrows",
            "build --fast",
            "dist everything",
            "dist --try --out x",
            "run-all --config",
            "fuzz",
            "fuzz dtls --seconds soon",
        ] {
            assert!(matches!(parsed(line), Err(Error::Usage(_))), "{line}");
        }
    }
}
