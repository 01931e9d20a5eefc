//! `cargo xtask fuzz`: searches for bytes that a target does not bear, with libFuzzer and a stable compiler.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    cargo::{self, cargo, output, target_dir},
    error::Error,
    machine,
};

/// The fuzzer's own workspace.
const HOME: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fuzz");

/// What has rustc count edges, and tell libFuzzer what is compared with what. cargo-fuzz passes the same, and for its
/// sanitizers needs a nightly compiler besides; safe Rust has little for those to find.
const INSTRUMENTED: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// libFuzzer's bounds on one input: above them it counts as found. The slowest target, a whole DTLS handshake or a few,
/// takes some milliseconds, and none needs more than its input some times over.
const BOUNDS: &[&str] = &["-timeout=10", "-rss_limit_mb=1024", "-malloc_limit_mb=256"];

/// Builds the fuzzer and searches one target, a folder of the corpus: until the first find, or for so long. `keep` searches no
/// further, and puts what the searches so far have reached into the committed corpus.
pub(crate) fn run(target: &str, seconds: Option<u32>, keep: bool) -> Result<(), Error> {
    let committed = Path::new(HOME).join("corpus").join(target);
    if !committed.is_dir() {
        return Err(Error::Usage(format!(
            "no target `{target}`; there are {}",
            targets()?.join(", ")
        )));
    }
    machine::ready_to_fuzz()?;
    let fuzzer = build()?;
    let folder = |name: &str| {
        let folder = target_dir().join("fuzz").join(name).join(target);
        fs::create_dir_all(&folder).map(|()| folder).map_err(Error::Sources)
    };
    let (searched, found) = (folder("corpus")?, folder("found")?);
    let mut search = Command::new(fuzzer);
    search.env("FRAMEBRIDGE_FUZZ_TARGET", target).args(BOUNDS);
    if keep {
        // Only what reaches new edges, however often.
        search
            .args(["-merge=1", "-use_counters=0"])
            .args([&committed, &searched]);
        return cargo::run(&mut search);
    }
    if let Some(seconds) = seconds {
        search.arg(format!("-max_total_time={seconds}"));
    }
    search.args(["-print_final_stats=1", "-use_value_profile=1"]);
    search.arg(format!("-artifact_prefix={}/", found.display()));
    search.args([&searched, &committed]);
    cargo::run(&mut search).inspect_err(|_| {
        eprintln!(
            "xtask: what was found is in {}; once it is mended, it belongs into {}",
            found.display(),
            committed.display()
        );
    })
}

/// The corpus has a folder for each.
fn targets() -> Result<Vec<String>, Error> {
    let folders = fs::read_dir(Path::new(HOME).join("corpus")).map_err(Error::Sources)?;
    let mut targets: Vec<String> = folders
        .filter_map(Result::ok)
        .map(|folder| folder.file_name().to_string_lossy().into_owned())
        .collect();
    targets.sort();
    Ok(targets)
}

/// Builds the fuzzer beside everything else, for its flags are its own.
fn build() -> Result<PathBuf, Error> {
    let version = output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.unwrap_or("x86_64-unknown-linux-gnu");
    let target = target_dir().join("fuzz");
    let manifest = format!("{HOME}/Cargo.toml");
    // With a target named, the flags are not for build scripts.
    let arguments = ["build", "--release", "--manifest-path", &manifest, "--target", host];
    cargo::run(
        cargo(&arguments)
            .env("CARGO_TARGET_DIR", &target)
            .env("RUSTFLAGS", INSTRUMENTED),
    )?;
    Ok(target.join(host).join("release/framebridge-fuzz"))
}
