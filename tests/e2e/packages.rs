//! The packages: what is in them, and a life with them: installed, watched, upgraded under a viewer, purged.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use framebridge_proto::status::{Overall, Status};
use framebridge_tests::{
    browser::{Browser, Page},
    machine::Machine,
    process::command,
    system::binary,
    wait::{self, PATIENCE},
};
use tempfile::TempDir;

const BUILD: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../crates/framebridge-daemon/debian/build.sh"
);

/// Where `cargo xtask dist --try` says that it has a system on which nothing was ever installed.
const FRESH: &str = "FRAMEBRIDGE_FRESH_SYSTEM";

/// Where packages are that were made on that system's release, because this one's do not run there: `box-1.0.deb` and `box-1.1.deb`.
const MADE_THERE: &str = "FRAMEBRIDGE_FRESH_PACKAGES";

/// Any moment: that of the commit, where packages are made for others.
const MOMENT: &str = "1764250000";

/// Half a second is what an encoder's restart costs; the machine also unpacks a package meanwhile, and runs a browser.
const NOTICED_MS: u64 = 4000;

/// Packages of this test's own programs, packed in a hurry.
fn packed(version: &str) -> TempDir {
    let out = tempfile::tempdir().unwrap();
    let programs = binary("supervisor").unwrap();
    let mut build = command(BUILD);
    build.arg(programs.parent().unwrap()).arg(out.path());
    build.envs([
        ("VERSION", version),
        ("SOURCE_DATE_EPOCH", MOMENT),
        ("COMPRESSION", "1"),
    ]);
    said(&mut build);
    out
}

/// What a command prints.
#[track_caller]
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {errors}{}",
        String::from_utf8_lossy(&output.stdout)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The files in a folder whose names begin so, sorted.
fn files(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_meant = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(prefix);
    let mut found: Vec<_> = entries.filter(is_meant).collect();
    found.sort();
    found
}

/// One field of a package's control file.
fn field(package: &Path, name: &str) -> String {
    said(command("dpkg-deb").arg("--field").arg(package).arg(name))
        .trim()
        .to_owned()
}

#[test]
fn packages_have_what_they_should_and_the_same_bytes_each_time() {
    let (first, again) = (packed("1.0"), packed("1.0"));
    let (all, twice) = (files(first.path(), "framebridge"), files(again.path(), "framebridge"));
    assert_eq!(all.len(), 3, "a box, a studio, a tarball: {all:?}");
    for (one, other) in all.iter().zip(&twice) {
        assert_eq!(one.file_name(), other.file_name());
        assert!(
            fs::read(one).unwrap() == fs::read(other).unwrap(),
            "{} differs",
            one.display()
        );
    }
    let (package, studio) = (
        &files(first.path(), "framebridge_")[0],
        &files(first.path(), "framebridge-studio_")[0],
    );
    let listed = said(command("dpkg-deb").arg("--contents").arg(package));
    for path in [
        "-rwxr-xr-x root/root ./usr/lib/framebridge/encoder",
        "-rwxr-xr-x root/root ./usr/lib/framebridge/supervisor",
        "-rwxr-xr-x root/root ./usr/bin/bridgectl",
        "-rw-r--r-- root/root ./usr/lib/systemd/system/framebridge-encoder@.service",
        "-rw-r--r-- root/root ./usr/share/polkit-1/rules.d/50-framebridge.rules",
        "-rw-r--r-- root/root ./usr/share/man/man1/bridgectl.1.gz",
        "-rw-r--r-- root/root ./usr/share/bash-completion/completions/bridgectl",
        "-rw-r--r-- root/root ./usr/share/zsh/vendor-completions/_bridgectl",
        "-rw-r--r-- root/root ./usr/share/fish/vendor_completions.d/bridgectl.fish",
        "drwxr-x--- root/root ./etc/framebridge/",
        "-rw-r----- root/root ./etc/framebridge/framebridge.toml",
    ] {
        let words: Vec<&str> = path.split(' ').collect();
        let has = listed.lines().any(|line| {
            line.starts_with(words[0]) && line.contains(words[1]) && line.ends_with(&format!(" {}", words[2]))
        });
        assert!(has, "{path} is not in\n{listed}");
    }
    assert!(
        !listed.contains("studio.service") && !listed.contains("etc/systemd"),
        "{listed}"
    );
    let depends = field(package, "Depends");
    for library in ["libavcodec", "libavdevice", "libc6", "systemd"] {
        assert!(depends.contains(library), "{depends}");
    }
    // The studio is no work under the GPL, and a studio's machine has no FFmpeg.
    assert!(!field(studio, "Depends").contains("libav") && field(studio, "Depends").contains("libsqlite3"));
    for package in [package, studio] {
        let control = tempfile::tempdir().unwrap();
        said(command("dpkg-deb").arg("--control").arg(package).arg(control.path()));
        for script in ["postinst", "prerm", "postrm"] {
            said(command("sh").arg("-n").arg(control.path().join(script)));
        }
        assert!(
            fs::read_to_string(control.path().join("conffiles"))
                .unwrap()
                .starts_with("/etc/framebridge")
        );
    }
    lint(&[package, studio]);
}

/// Debian's own judge, where it is installed: it brings half of Perl with it.
fn lint(packages: &[&PathBuf]) {
    if command("lintian").arg("--version").output().is_err() {
        return;
    }
    let mut lintian = command("lintian");
    said(lintian.args(["--allow-root", "--fail-on=error"]).args(packages));
}

/// A system to install on, and how: on this machine's own files, whose libraries are there; on a fresh one, with all that comes along.
struct Ground {
    system: PathBuf,
    install: &'static str,
}

fn grounds() -> Vec<Ground> {
    let here = Ground {
        system: "/".into(),
        install: "dpkg --install",
    };
    let fresh = env::var_os(FRESH).map(|system| Ground {
        system: system.into(),
        install: "DEBIAN_FRONTEND=noninteractive apt-get --yes --quiet=2 install --no-install-recommends dbus polkitd",
    });
    // Packages of another release are only for that.
    let here = Some(here).filter(|_| env::var_os(MADE_THERE).is_none());
    here.into_iter().chain(fresh).collect()
}

/// Two versions of the box's package, made of this test's own programs; or those that were made elsewhere.
fn boxes() -> (PathBuf, Option<TempDir>) {
    if let Some(there) = env::var_os(MADE_THERE) {
        return (there.into(), None);
    }
    let packages = tempfile::tempdir().unwrap();
    for version in ["1.0", "1.1"] {
        let made = packed(version);
        for file in files(made.path(), "framebridge_") {
            fs::copy(&file, packages.path().join(format!("box-{version}.deb"))).unwrap();
        }
    }
    (packages.path().to_owned(), Some(packages))
}

/// All files and accounts that a package could leave, but for what the package manager and the journal write for themselves, and
/// copies of what was.
fn everything(machine: &Machine) -> BTreeSet<String> {
    let without = "/var/tmp /var/log /var/cache /var/lib/dpkg /var/lib/apt /var/lib/systemd";
    let prune: Vec<_> = without.split(' ').map(|path| format!("-path {path}")).collect();
    let prune = prune.join(" -o ");
    let files = format!("find /etc /usr /var -xdev \\( {prune} \\) -prune -o -print; find /run -name '*framebridge*'");
    let found = machine.run(&files).unwrap();
    let accounts = machine.run("cat /etc/passwd /etc/group").unwrap();
    let is_backup = |line: &str| {
        line.starts_with("/etc/") && (line.ends_with('-') || line.ends_with(".lock") || line.ends_with(".cache"))
    };
    // Groups of devices are for every program that uses these: whoever comes first makes them.
    let is_shared = |line: &str| line.starts_with("video:") || line.starts_with("render:");
    let lines = found.lines().chain(accounts.lines());
    lines
        .filter(|line| !is_backup(line) && !is_shared(line))
        .map(str::to_owned)
        .collect()
}

/// The pids of all processes, each with its name.
fn pids(status: &Status) -> Vec<(String, Option<u32>)> {
    status
        .processes
        .iter()
        .map(|process| (process.name.clone(), process.pid))
        .collect()
}

fn until_healthy(machine: &Machine) -> Status {
    wait::until("all to be well", PATIENCE, || {
        let status = machine.status()?;
        Ok((status.overall == Overall::Healthy).then_some(status))
    })
    .unwrap()
}

/// A machine on which a package can be installed, as it is before.
struct Installation<'a> {
    machine: &'a Machine,
    ground: &'a Ground,
    before: BTreeSet<String>,
}

impl<'a> Installation<'a> {
    /// What `file` needs besides is installed with it first, and may stay; what it brings itself may not.
    fn new(machine: &'a Machine, ground: &'a Ground, package: &str, file: &str) -> Self {
        let mut installation = Self {
            machine,
            ground,
            before: BTreeSet::new(),
        };
        if ground.system != Path::new("/") {
            machine.run("apt-get --quiet=2 update").unwrap();
            installation.install(file);
            machine.run(&format!("dpkg --purge {package}")).unwrap();
        }
        installation.before = everything(machine);
        installation
    }

    fn install(&self, file: &str) -> String {
        let line = format!("{} /opt/packages/{file}", self.ground.install);
        self.machine.run(&line).unwrap()
    }

    fn assert_purged(&self, package: &str) {
        self.machine.run(&format!("dpkg --purge {package}")).unwrap();
        let left: Vec<_> = everything(self.machine).difference(&self.before).cloned().collect();
        assert_eq!(left, [""; 0], "on {}", self.ground.system.display());
    }
}

/// Starts what was installed, and lets somebody watch.
fn watched(machine: &Machine) -> Page {
    machine.configure("").unwrap();
    machine.run("systemctl enable --now framebridge.target").unwrap();
    until_healthy(machine);
    let page = Browser::start().unwrap().open(&machine.url("/s/test")).unwrap();
    page.until_live().unwrap();
    machine.bridgectl("snapshot test -o /root/first.jpg").unwrap();
    let begins = machine.run("head -c 3 /root/first.jpg | od -An -tx1").unwrap();
    assert_eq!(begins.trim(), "ff d8 ff", "no JPEG");
    page
}

/// Installs the newer package: every process is another afterwards, and the viewer is the same.
fn assert_upgraded(installation: &Installation<'_>, page: &Page, file: &str) {
    let (machine, session) = (installation.machine, page.sessions().unwrap());
    let first = until_healthy(machine);
    page.start_recording().unwrap();
    installation.install(file);
    let second = until_healthy(machine);
    for (before, after) in pids(&first).iter().zip(pids(&second)) {
        assert!(
            before.0 == after.0 && before.1 != after.1,
            "{before:?} is still {after:?}"
        );
    }
    page.until_shows_later_than(SystemTime::now()).unwrap();
    page.until_live().unwrap();
    assert_eq!(page.sessions().unwrap(), session, "the viewer has lost its session");
    let shown = page.take_record().unwrap();
    let gaps = shown.windows(2).map(|pair| pair[1].0.saturating_sub(pair[0].0));
    let gap = gaps.max().unwrap_or_default();
    let system = installation.ground.system.display();
    #[expect(clippy::print_stderr, reason = "a measurement for whoever looks")]
    {
        eprintln!("upgraded on {system}: {gap} ms without a new picture");
    }
    assert!(gap < NOTICED_MS, "{gap} ms without a new picture");
}

#[test]
fn box_is_installed_watched_upgraded_under_a_viewer_and_purged_without_a_trace() {
    let (packages, _made) = boxes();
    for ground in grounds() {
        let Some(machine) = Machine::bare(&ground.system, &packages).unwrap() else {
            return;
        };
        let installation = Installation::new(&machine, &ground, "framebridge", "box-1.0.deb");
        let told = installation.install("box-1.0.deb");
        assert!(told.contains("nothing is started"), "{told}");
        let units = machine
            .run("systemctl list-unit-files --no-legend 'framebridge*'")
            .unwrap();
        assert!(units.contains("disabled") && !units.contains("enabled"), "{units}");
        assert_eq!(
            machine.property("framebridge.target", "ActiveState").unwrap(),
            "inactive"
        );

        let page = watched(&machine);
        assert_upgraded(&installation, &page, "box-1.1.deb");
        // What the operator has written is the operator's.
        let kept = || machine.run("cat /etc/framebridge/framebridge.toml").unwrap();
        assert!(kept().contains("[streams.test]"));
        machine.run("dpkg --remove framebridge").unwrap();
        assert_eq!(
            machine
                .run("find /proc -maxdepth 1 -user framebridge -o -user framebridge-encoder")
                .unwrap(),
            ""
        );
        assert!(kept().contains("[streams.test]"), "removed is not purged");
        installation.assert_purged("framebridge");
    }
}

#[test]
fn studio_is_installed_runs_by_its_unit_and_is_purged_without_a_trace() {
    let made = packed("1.0");
    let package = files(made.path(), "framebridge-studio_").remove(0);
    let file = package.file_name().unwrap().to_str().unwrap();
    for ground in grounds() {
        let Some(machine) = Machine::bare(&ground.system, made.path()).unwrap() else {
            return;
        };
        let installation = Installation::new(&machine, &ground, "framebridge-studio", file);
        assert!(installation.install(file).contains("nothing is started"));
        // Ports of its own: this machine's network is that machine's, too.
        let options = format!("STUDIO_OPTIONS=\"--listen {} --operators 127.0.0.1:0\"", machine.http());
        machine
            .run(&format!("echo '{options}' > /etc/framebridge-studio/environment"))
            .unwrap();
        machine.run("systemctl enable --now framebridge-studio").unwrap();
        let token =
            "runuser -u framebridge-studio -- framebridge-studio token new box --data /var/lib/framebridge-studio";
        assert!(machine.run(token).unwrap().starts_with("fbt_"));
        let answered = framebridge_tests::http::Request::new("GET", "/")
            .send(machine.http())
            .unwrap();
        assert!(answered.status < 500, "{}", answered.status);
        installation.install(file);
        let state = machine.property("framebridge-studio.service", "ActiveState").unwrap();
        assert_eq!(state, "active");
        installation.assert_purged("framebridge-studio");
    }
}
