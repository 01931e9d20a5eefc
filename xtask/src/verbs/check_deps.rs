//! `cargo xtask check deps`: the dependency arrows of `docs/architecture.md`, proved on what cargo would build, and no
//! circles between the modules of a crate.

mod modules;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use crate::{
    cargo::{cargo, output},
    error::Error,
};

/// Crates that only some of ours may depend on. A trailing `*` stands for any ending.
struct Owned {
    crates: &'static [&'static str],
    by: &'static [&'static str],
    why: &'static str,
}

const OWNED: &[Owned] = &[
    Owned {
        crates: &[
            "supervisor",
            "encoder",
            "signaling",
            "bridge",
            "studio",
            "bridgectl",
            "framebridge-tests",
            "xtask",
        ],
        by: &[],
        why: "binaries depend on libraries and never on each other",
    },
    Owned {
        crates: &["ffmpeg-*"],
        by: &["framebridge-capture"],
        why: "FFmpeg's bindings are the longest compile of the tree, and its licence stays in one binary",
    },
    Owned {
        crates: &["framebridge-capture"],
        by: &["encoder"],
        why: "only the encoder links FFmpeg",
    },
    Owned {
        crates: &["rtc-*", "webrtc*"],
        by: &["framebridge-rtc"],
        why: "the family moves monthly",
    },
    Owned {
        crates: &["framebridge-rtc"],
        by: &["signaling", "framebridge-testkit"],
        why: "one process serves viewers, and the light viewer plays one",
    },
    Owned {
        crates: &["bincode", "interprocess"],
        by: &["framebridge-ipc"],
        why: "the wire format is one file",
    },
    Owned {
        crates: &["rusqlite"],
        by: &["studio"],
        why: "only the studio keeps records",
    },
    Owned {
        crates: &["async-nats"],
        by: &["studio"],
        why: "only the studio has other nodes",
    },
    Owned {
        crates: &["tokio-rustls"],
        by: &["framebridge-dial", "framebridge-http"],
        why: "one crate connects out by TLS, and one serves HTTPS",
    },
    Owned {
        crates: &["framebridge-dial"],
        by: &["bridge", "supervisor", "signaling"],
        why: "only the bridge connects out, the supervisor for web hooks, and signaling to whom a stream is sent on",
    },
    Owned {
        crates: &["rcgen", "x509-parser"],
        by: &["framebridge-auth"],
        why: "one crate knows certificates",
    },
    Owned {
        crates: &["tokio-tungstenite"],
        by: &["bridge", "studio"],
        why: "only a box's session is a WebSocket, and these are its ends",
    },
    Owned {
        crates: &["axum*", "tower-http", "utoipa*"],
        by: &["signaling", "studio", "framebridge-http"],
        why: "only signaling and studio serve HTTP",
    },
    Owned {
        crates: &["framebridge-http"],
        by: &["signaling", "studio"],
        why: "only signaling and studio serve HTTP",
    },
    Owned {
        crates: &["framebridge-testkit"],
        by: &["framebridge-tests"],
        why: "nothing that ships links the testkit",
    },
    Owned {
        crates: &["framebridge-manual"],
        by: &[],
        why: "nothing that ships links what writes its manual",
    },
    Owned {
        crates: &["clap_mangen", "clap_complete"],
        by: &["framebridge-manual"],
        why: "nothing that ships links what writes its manual",
    },
    Owned {
        crates: &["framebridge-daemon"],
        by: BINARIES,
        why: "libraries leave signals and exit codes to binaries",
    },
];

const BINARIES: &[&str] = &["supervisor", "encoder", "signaling", "bridge", "studio", "bridgectl"];

/// Crates that must not reach something, however far down.
struct Pure {
    crates: &'static [&'static str],
    without: &'static [&'static str],
    why: &'static str,
}

const PURE: &[Pure] = &[
    Pure {
        crates: &["framebridge-core", "framebridge-proto", "framebridge-studio-proto"],
        without: &[
            "tokio*",
            "mio",
            "rustix",
            "libc",
            "socket2",
            "tracing*",
            "getrandom",
            "rand*",
        ],
        why: "decisions and messages know no runtime, clock, socket, file or log",
    },
    Pure {
        crates: &["xtask"],
        without: &["framebridge-*", "tokio*", "serde*", "libc", "syn"],
        why: "xtask builds in seconds on a machine without FFmpeg's headers",
    },
];

/// A package's name and everything it depends on, by name: directly, and all told.
#[derive(Debug, Default, PartialEq)]
struct Reach {
    direct: BTreeSet<String>,
    all: BTreeSet<String>,
}

/// Fails with every arrow that may not be.
pub(crate) fn run() -> Result<(), Error> {
    let tree = [
        "tree",
        "--workspace",
        "--edges",
        "normal,build",
        "--prefix",
        "depth",
        "--no-dedupe",
        "--format",
        " {p}",
    ];
    let mut wrong = violations(&parse(&output(&mut cargo(&tree))?));
    wrong.extend(modules::circles(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates")).map_err(Error::Sources)?);
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(Error::Arrows(wrong))
    }
}

/// Reads `cargo tree`'s lines, `<depth> <name> <version> ...`, where depth 0 is a member of the workspace.
fn parse(tree: &str) -> BTreeMap<String, Reach> {
    let mut members = BTreeMap::<String, Reach>::new();
    let mut member = String::new();
    for line in tree.lines() {
        let mut words = line.split_whitespace();
        let (Some(depth), Some(name)) = (words.next(), words.next()) else {
            continue;
        };
        if depth == "0" {
            member = name.to_owned();
        }
        let reach = members.entry(member.clone()).or_default();
        match depth {
            "0" => continue,
            "1" => _ = reach.direct.insert(name.to_owned()),
            _ => {}
        }
        reach.all.insert(name.to_owned());
    }
    members
}

/// Every rule broken, one sentence each.
fn violations(members: &BTreeMap<String, Reach>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (member, reach) in members {
        for rule in OWNED.iter().filter(|rule| !rule.by.contains(&member.as_str())) {
            wrong.extend(named(&reach.direct, rule.crates).map(|found| format!("{member} -> {found}: {}", rule.why)));
        }
        for rule in PURE.iter().filter(|rule| rule.crates.contains(&member.as_str())) {
            wrong.extend(named(&reach.all, rule.without).map(|found| format!("{member} ->> {found}: {}", rule.why)));
        }
    }
    wrong
}

/// Those of `crates` that one of `patterns` names.
fn named<'a>(crates: &'a BTreeSet<String>, patterns: &'a [&str]) -> impl Iterator<Item = &'a String> {
    crates.iter().filter(move |name| {
        patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == pattern,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "\
0 encoder v0.1.0 (/somewhere/crates/encoder)
1 framebridge-capture v0.1.0 (/somewhere)
2 ffmpeg-next v9.0.0
1 tokio v1.54.0
2 mio v1.0.0

0 framebridge-core v0.1.0 (/somewhere)
";

    #[test]
    fn the_drawn_arrows_pass() {
        let members = parse(TREE);
        assert_eq!(members["encoder"].direct.len(), 2);
        assert_eq!(members["encoder"].all.len(), 4);
        assert_eq!(violations(&members), [""; 0]);
    }

    #[test]
    fn a_direct_arrow_to_what_another_owns_is_named() {
        let members = parse("0 signaling v1\n1 ffmpeg-next v9\n1 encoder v1\n");
        let wrong = violations(&members);
        assert_eq!(wrong.len(), 2);
        assert!(
            wrong.iter().any(|line| line.starts_with("signaling -> ffmpeg-next: ")),
            "{wrong:?}"
        );
    }

    #[test]
    fn what_must_be_pure_is_so_however_far_down() {
        let members = parse("0 framebridge-core v1\n1 innocent v1\n2 tokio-util v1\n");
        assert!(violations(&members)[0].starts_with("framebridge-core ->> tokio-util: "));
    }
}
