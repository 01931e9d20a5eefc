//! `cargo xtask dist`: Debian packages and a tarball, for the release of the system that builds them.
//!
//! The version and the time come from the commit, the programs from a build that names no folder of this machine, the files from
//! `crates/framebridge-daemon/debian/build.sh`. So who builds the same commit on the same release has the same packages.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    cargo::{self, Profile, cargo, output},
    cli::Dist,
    error::Error,
    machine,
};

/// The top of the checkout.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// What lays the files out and packs them.
const BUILD: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../crates/framebridge-daemon/debian/build.sh"
);

/// The programs that are in the packages.
const PROGRAMS: [&str; 6] = ["supervisor", "encoder", "signaling", "bridge", "bridgectl", "studio"];

/// Says where a fresh system is that the packages are tried on (`tests/e2e/packages.rs`).
const FRESH: &str = "FRAMEBRIDGE_FRESH_SYSTEM";

/// Builds, packs, and tries the packages where that is asked for.
pub(crate) fn run(asked: &Dist) -> Result<(), Error> {
    if asked.is_tried {
        return tried();
    }
    machine::ready_to_package()?;
    let programs = match &asked.binaries {
        Some(folder) => folder.clone(),
        None => {
            machine::ready_to_build()?;
            built()?
        }
    };
    let out = asked
        .out
        .clone()
        .unwrap_or_else(|| cargo::target_dir().join("packages"));
    let mut pack = Command::new(BUILD);
    pack.arg(&programs).arg(&out).env("VERSION", version()?);
    cargo::run(pack.env("SOURCE_DATE_EPOCH", committed("%ct")?))?;
    eprintln!("xtask: the packages are in {}", out.display());
    Ok(())
}

/// Builds the programs as they ship. In a folder of its own: its flags are not those of other builds.
fn built() -> Result<PathBuf, Error> {
    let target = cargo::target_dir().join("dist");
    let mut command = cargo(&["build", "--release", "--locked"]);
    for program in PROGRAMS {
        command.args(["--package", program]);
    }
    let renamed = [
        (ROOT.into(), "/framebridge"),
        (cargo_home(), "/cargo"),
        (target.clone(), "/target"),
    ];
    let flags: Vec<String> = renamed
        .iter()
        .map(|(folder, name)| format!("--remap-path-prefix={}={name}", canonical(folder).display()))
        .collect();
    // Between flags: a folder's name may have blanks.
    command
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env("CARGO_TARGET_DIR", &target);
    cargo::run(command.current_dir(ROOT))?;
    Ok(target.join("release"))
}

/// Where cargo keeps the sources of others.
fn cargo_home() -> PathBuf {
    let home = || env::home_dir().unwrap_or_default().join(".cargo");
    env::var_os("CARGO_HOME").map_or_else(home, PathBuf::from)
}

/// As the compiler names it.
fn canonical(folder: &Path) -> PathBuf {
    fs::canonicalize(folder).unwrap_or_else(|_missing| folder.to_owned())
}

/// The packages' version: that of the workspace where it is tagged, and before it, by the time of the commit. It ends in the system's
/// release, whose FFmpeg the encoder is linked with.
fn version() -> Result<String, Error> {
    let own = env!("CARGO_PKG_VERSION");
    let tags = git(&["tag", "--points-at", "HEAD"])?;
    let commit = if tags.lines().any(|tag| tag == format!("v{own}")) {
        String::new()
    } else {
        format!("~git{}.{}", committed("%cd")?, committed("%h")?)
    };
    // What is changed and not committed is no version of anything.
    let changed = if git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty() {
        ""
    } else {
        ".changed"
    };
    let release = fs::read_to_string("/etc/os-release").map_err(Error::Sources)?;
    Ok(format!("{own}{commit}{changed}+{}", short(&release)))
}

/// `deb12`, `ubuntu24.04`
fn short(os_release: &str) -> String {
    let value = |key: &str| {
        let mut lines = os_release.lines();
        let found = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        found.unwrap_or_default().trim_matches('"').to_owned()
    };
    let system = value("ID");
    let system = if system == "debian" { "deb" } else { &system };
    format!("{system}{}", value("VERSION_ID"))
}

/// Something of the commit that is checked out, as `git log` formats it.
fn committed(format: &str) -> Result<String, Error> {
    git(&[
        "log",
        "-1",
        &format!("--format={format}"),
        "--date=format-local:%Y%m%d%H%M%S",
    ])
}

fn git(arguments: &[&str]) -> Result<String, Error> {
    let mut git = Command::new("git");
    let said = output(git.args(arguments).current_dir(ROOT).env("TZ", "UTC"))?;
    Ok(said.trim().to_owned())
}

/// Installs the packages of the development build on a Debian 12 that nothing was ever installed on, which it makes first and keeps,
/// and lives with them there: a picture, an upgrade under a watching viewer, a purge.
fn tried() -> Result<(), Error> {
    machine::ready_to_test()?;
    machine::ready_to_bootstrap()?;
    let system = cargo::cache_dir().join("debian-12");
    if !system.join("etc/debian_version").is_file() {
        // Beside it, and moved once it is whole.
        let begun = cargo::cache_dir().join("debian-12.begun");
        cargo::run(Command::new("rm").arg("-rf").arg(&begun))?;
        let mut bootstrap = Command::new("debootstrap");
        bootstrap.args(["--variant=minbase", "--include=systemd,systemd-sysv,dbus", "bookworm"]);
        cargo::run(bootstrap.arg(&begun))?;
        cargo::run(Command::new("mv").args([&begun, &system]))?;
    }
    cargo::build(Profile::Dev)?;
    let tests = [
        "test",
        "--package",
        "framebridge-tests",
        "--test",
        "e2e",
        "packages",
        "--",
        "--nocapture",
    ];
    cargo::run(cargo(&tests).env(FRESH, system).current_dir(ROOT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_named_for_the_release_whose_libraries_they_need() {
        assert_eq!(
            short("NAME=\"Debian GNU/Linux\"\nID=debian\nVERSION_ID=\"12\"\n"),
            "deb12"
        );
        assert_eq!(
            short("ID=ubuntu\nVERSION_ID=\"24.04\"\nVERSION_CODENAME=noble\n"),
            "ubuntu24.04"
        );
        assert_eq!(short("ID=debian\nVERSION_CODENAME=forky\n"), "deb");
    }

    #[test]
    fn later_commit_is_a_later_version_and_the_release_is_the_latest() {
        let later = |later: &str, earlier: &str| {
            let judged = Command::new("dpkg")
                .args(["--compare-versions", later, "gt", earlier])
                .status();
            assert!(judged.unwrap().success(), "{later} after {earlier}");
        };
        let (first, second) = (
            "0.1.0~git20261127135700.489c88e+deb12",
            "0.1.0~git20261127140000.0000000+deb12",
        );
        later(second, first);
        later("0.1.0+deb12", second);
        later("0.1.0+deb13", "0.1.0+deb12");
        later("0.1.0~git20261127135700.489c88e.changed+deb12", first);
    }
}
