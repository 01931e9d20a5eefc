//! Checks what the machine must have, and installs what is missing.

use std::process::Command;

use crate::{
    cargo::{output, run, succeeds},
    error::Error,
};

/// How one sees that something is there.
enum Sign {
    /// One of these programs is on the path.
    Program(&'static [&'static str]),
    /// pkg-config knows this library.
    Library(&'static str),
    /// This command succeeds.
    Succeeds(&'static [&'static str]),
    /// dpkg has the package itself.
    Package,
}

/// A Debian package and the sign that it, or something as good, is there.
struct Needed {
    package: &'static str,
    sign: Sign,
}

const fn needed(package: &'static str, sign: Sign) -> Needed {
    Needed { package, sign }
}

/// What building takes: FFmpeg's headers, clang for its bindings, and SQLite.
const BUILD: &[Needed] = &[
    needed("pkg-config", Sign::Program(&["pkg-config"])),
    needed("clang", Sign::Program(&["clang"])),
    needed("libclang-dev", Sign::Package),
    needed("libavutil-dev", Sign::Library("libavutil")),
    needed("libavcodec-dev", Sign::Library("libavcodec")),
    needed("libavformat-dev", Sign::Library("libavformat")),
    needed("libavfilter-dev", Sign::Library("libavfilter")),
    needed("libavdevice-dev", Sign::Library("libavdevice")),
    needed("libswscale-dev", Sign::Library("libswscale")),
    needed("libswresample-dev", Sign::Library("libswresample")),
    needed("libsqlite3-dev", Sign::Library("sqlite3")),
    // The test pattern's clock is drawn with whatever font fontconfig finds.
    needed("fonts-dejavu-core", Sign::Package),
];

/// What tests and measurements take besides: a browser, a display, what runs the page's tests without a browser, what a
/// second WebRTC implementation runs in, an RTSP server, what a studio lives with, systemd and what it needs.
const TEST: &[Needed] = &[
    needed(
        "chromium",
        Sign::Program(&["chromium", "chromium-browser", "google-chrome"]),
    ),
    needed("ffmpeg", Sign::Program(&["ffmpeg"])),
    needed("xvfb", Sign::Program(&["Xvfb"])),
    // A program on it that says what it gets, and other layouts for it.
    needed("x11-utils", Sign::Program(&["xev"])),
    needed("x11-xkb-utils", Sign::Program(&["setxkbmap"])),
    needed("nodejs", Sign::Program(&["node"])),
    // It fetches the players of others.
    needed("npm", Sign::Program(&["npm"])),
    needed("python3", Sign::Program(&["python3"])),
    needed(
        "python3-venv",
        Sign::Succeeds(&["python3", "-c", "import venv, ensurepip"]),
    ),
    needed("python3-gi", Sign::Package),
    needed("gir1.2-gst-rtsp-server-1.0", Sign::Package),
    needed("gstreamer1.0-plugins-base", Sign::Package),
    needed("gstreamer1.0-plugins-good", Sign::Package),
    needed("gstreamer1.0-plugins-ugly", Sign::Package),
    // A third: webrtcbin with its ICE, its bindings, and a decoder.
    needed("gstreamer1.0-plugins-bad", Sign::Package),
    needed("gstreamer1.0-nice", Sign::Package),
    needed("gir1.2-gst-plugins-bad-1.0", Sign::Package),
    needed("python3-gst-1.0", Sign::Package),
    // Between a studio's nodes; between it and viewers; in front of it.
    needed("nats-server", Sign::Program(&["nats-server"])),
    needed("coturn", Sign::Program(&["turnserver"])),
    needed("stunnel4", Sign::Program(&["stunnel"])),
    // Networks of their own, with NATs between them.
    needed("iproute2", Sign::Program(&["ip"])),
    needed("nftables", Sign::Program(&["nft"])),
    needed("openssl", Sign::Program(&["openssl"])),
    // It judges metrics and alert rules.
    needed("prometheus", Sign::Program(&["promtool"])),
    // It counts instructions.
    needed("valgrind", Sign::Program(&["valgrind"])),
    // They judge the units; a container runs them under a systemd of its own, which asks polkit what is allowed.
    needed("systemd", Sign::Program(&["systemd-analyze"])),
    needed("systemd-container", Sign::Program(&["systemd-nspawn"])),
    needed("dbus", Sign::Program(&["dbus-daemon"])),
    needed("polkitd", Sign::Package),
    // They make the packages.
    needed("dpkg-dev", Sign::Program(&["dpkg-shlibdeps"])),
    needed("binutils", Sign::Program(&["strip"])),
];

/// What tests use where it is to be had, and leave out with a word where it is not: another maker's browser, which Ubuntu does not have
/// as a package. FFmpeg's libraries, which building takes, are its H.264.
const WELCOME: &[Needed] = &[needed("firefox-esr", Sign::Program(&["firefox-esr"]))];

/// What making packages takes besides building.
const PACKAGE: &[Needed] = &[
    needed("dpkg-dev", Sign::Program(&["dpkg-shlibdeps"])),
    needed("binutils", Sign::Program(&["strip"])),
    needed("git", Sign::Program(&["git"])),
];

/// What making a fresh system takes.
const BOOTSTRAP: &[Needed] = &[needed("debootstrap", Sign::Program(&["debootstrap"]))];

/// What fuzzing takes besides: libFuzzer is C++.
const FUZZ: &[Needed] = &[needed("g++", Sign::Program(&["c++", "g++"]))];

/// Sees to it that the workspace can be built here.
pub(crate) fn ready_to_build() -> Result<(), Error> {
    ready(BUILD)
}

/// Sees to it that the fuzzer can be built here.
pub(crate) fn ready_to_fuzz() -> Result<(), Error> {
    ready(FUZZ)
}

/// Sees to it that packages can be made here.
pub(crate) fn ready_to_package() -> Result<(), Error> {
    ready(PACKAGE)
}

/// Sees to it that a fresh system can be made here.
pub(crate) fn ready_to_bootstrap() -> Result<(), Error> {
    ready(BOOTSTRAP)
}

/// Sees to it that the tests can run here.
pub(crate) fn ready_to_test() -> Result<(), Error> {
    ready(BUILD)?;
    ready(TEST)?;
    for welcome in WELCOME {
        if let Err(error) = ready(std::slice::from_ref(welcome)) {
            eprintln!("xtask: tests that use {} are left out: {error}", welcome.package);
        }
    }
    Ok(())
}

fn ready(needed: &[Needed]) -> Result<(), Error> {
    let missing: Vec<&str> = needed
        .iter()
        .filter(|needed| !is_there(needed))
        .map(|needed| needed.package)
        .collect();
    if missing.is_empty() { Ok(()) } else { install(&missing) }
}

fn is_there(needed: &Needed) -> bool {
    match needed.sign {
        Sign::Program(names) => names.iter().any(|name| on_path(name)),
        Sign::Library(name) => succeeds(Command::new("pkg-config").args(["--exists", name])),
        Sign::Succeeds(line) => succeeds(Command::new(line[0]).args(&line[1..])),
        Sign::Package => output(Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status}", needed.package]))
            .is_ok_and(|status| status == "installed"),
    }
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Installs packages where that needs no password; elsewhere says how.
fn install(packages: &[&str]) -> Result<(), Error> {
    let sudo: &[&str] = match () {
        () if !on_path("apt-get") => return Err(missing(packages)),
        () if is_root() => &[],
        () if succeeds(Command::new("sudo").args(["-n", "true"])) => &["sudo", "-n"],
        () => return Err(missing(packages)),
    };
    eprintln!("xtask: installing {}", packages.join(" "));
    let apt = |arguments: &[&str]| {
        let words = [
            sudo,
            &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-y"],
            arguments,
        ]
        .concat();
        run(Command::new(words[0]).args(&words[1..]))
    };
    let install = [&["install", "--no-install-recommends"], packages].concat();
    // Package lists that are missing or stale make the first try fail; a current machine is spared the update.
    apt(&install)
        .or_else(|_| apt(&["update"]).and_then(|()| apt(&install)))
        .map_err(|_| missing(packages))
}

fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_ok_and(|uid| uid.trim() == "0")
}

fn missing(packages: &[&str]) -> Error {
    Error::Missing {
        install: format!("sudo apt-get update && sudo apt-get install -y {}", packages.join(" ")),
    }
}
