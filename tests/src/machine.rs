//! A machine of one's own with a real systemd: a container that sees this machine's files or those of another system, copies
//! what it writes, and shares this machine's network.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Output,
    sync::MutexGuard,
};

use anyhow::{Context as _, anyhow, ensure};
use framebridge_proto::status::{ProcessStatus, Status};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    process::{Process, command, may_make, signal},
    system::{alone, binary, free_port},
    wait::{self, PATIENCE},
};

/// Mounts `$2/root`, the files below `$1` and what is written over them in memory, and boots it. All of it in a mount
/// namespace of its own: when its processes are gone, nothing is left. Nothing that this machine starts for itself is
/// started there.
const BOOT: &str = r#"
files=$1 scratch=$2 binaries=$3 units=$4 packages=$5 name=$6
shift 6
mount -t tmpfs framebridge-test "$scratch"
mkdir "$scratch/upper" "$scratch/work" "$scratch/root"
mount -t overlay -o "lowerdir=$files,upperdir=$scratch/upper,workdir=$scratch/work" overlay "$scratch/root"
cd "$scratch/root"
: > etc/machine-id
rm -rf etc/systemd/system/* etc/systemd/system-preset/*
mkdir -p etc/systemd/system-preset etc/systemd/journald.conf.d
echo 'disable *' > etc/systemd/system-preset/00-framebridge-test.preset
printf '[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\n' > etc/systemd/journald.conf.d/framebridge-test.conf
exec systemd-nspawn --quiet --directory=. --machine="$name" --boot --console=pipe "$@" \
    --bind-ro="$binaries:/opt/binaries" --bind-ro="$units:/opt/units" --bind="$packages:/opt/packages" -- --unit=multi-user.target
"#;

/// Where the units and their installer are.
const UNITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/framebridge-daemon/systemd");

/// A machine under a real systemd.
#[derive(Debug)]
pub struct Machine {
    nspawn: Process,
    /// Its first process, as this machine numbers it.
    init: u32,
    http: SocketAddr,
    udp: u16,
    _dir: TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Machine {
    /// Boots one and installs Framebridge on it as the handbook says, with one stream, `test`, and `further` configuration. `None`:
    /// only root may have one.
    ///
    /// # Errors
    /// It does not come up.
    pub fn boot(further: &str) -> anyhow::Result<Option<Self>> {
        let dir = tempfile::tempdir()?;
        let Some(machine) = Self::bare(Path::new("/"), dir.path())? else {
            return Ok(None);
        };
        machine.run("mkdir -p /etc/framebridge")?;
        machine.configure(further)?;
        machine.run("/opt/units/install.sh /opt/binaries")?;
        machine.run("systemctl enable --now framebridge.target framebridge-encoder@test.service")?;
        Ok(Some(machine))
    }

    /// Boots one with the files below `system`, on which nothing is installed yet, with a folder of this machine at /opt/packages.
    /// `None`: only root may have one.
    ///
    /// # Errors
    /// It does not come up.
    pub fn bare(system: &Path, packages: &Path) -> anyhow::Result<Option<Self>> {
        if !may_make("a machine") {
            return Ok(None);
        }
        let guard = alone();
        let dir = tempfile::Builder::new().prefix("framebridge-machine-").tempdir()?;
        let scratch = dir.path().join("files");
        fs::create_dir(&scratch)?;
        let binaries = binary("supervisor")?;
        let binaries = binaries.parent().context("a binary lies in no folder")?;
        let name = format!("framebridge-test-{}", std::process::id());
        let mut boot = command("unshare");
        boot.args(["--mount", "--propagation=private", "sh", "-ec", BOOT, "boot"])
            .args([system, &scratch, binaries])
            .arg(fs::canonicalize(UNITS)?)
            .arg(packages)
            .arg(name)
            .args(of_the_host());
        let log = dir.path().join("log");
        let nspawn = Process::start(&mut boot, &log)?;
        let said = || fs::read_to_string(&log).unwrap_or_default();
        let init = wait::until("a container to start", PATIENCE, || init_of(nspawn.pid()))
            .with_context(|| format!("systemd-nspawn: {}", said()))?;
        let machine = Self {
            nspawn,
            init,
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?)),
            udp: free_port()?,
            _dir: dir,
            _alone: guard,
        };
        wait::until_true("systemd to have booted", PATIENCE, || {
            Ok(machine.run("systemctl is-system-running")?.trim() == "running")
        })
        .with_context(|| format!("systemd-nspawn: {}", said()))?;
        Ok(Some(machine))
    }

    /// Writes its configuration: ports that are free here, one stream, `test`, and `further`.
    ///
    /// # Errors
    /// There is no folder for it.
    pub fn configure(&self, further: &str) -> anyhow::Result<()> {
        let (tcp, udp) = (self.http.port(), self.udp);
        self.run(&format!(
            "cat > /etc/framebridge/framebridge.toml <<'END'\n\
             [http]\nlisten = \"127.0.0.1:{tcp}\"\n[webrtc]\nport = {udp}\n{further}\n\
             [streams.test]\nsource = \"test:\"\nEND"
        ))
        .map(drop)
    }

    /// What a shell on it, root's, prints.
    ///
    /// # Errors
    /// It fails; what it said.
    pub fn run(&self, line: &str) -> anyhow::Result<String> {
        let output = self.try_run(line)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`{line}`: {}: {said}", output.status);
        Ok(String::from_utf8(output.stdout)?)
    }

    fn try_run(&self, line: &str) -> anyhow::Result<Output> {
        let mut shell = command("nsenter");
        shell
            .args(["--target", &self.init.to_string()])
            .args(["--mount", "--uts", "--ipc", "--pid", "--cgroup", "--root", "--wd"])
            .args(["env", "--ignore-environment"])
            // As a login sets it, where it is not Framebridge's.
            .args(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "XDG_RUNTIME_DIR=/run/user/0"])
            .args(["sh", "-ec", line]);
        Ok(shell.output()?)
    }

    /// What `bridgectl` prints there, for root.
    ///
    /// # Errors
    /// It fails; what it said.
    pub fn bridgectl(&self, arguments: &str) -> anyhow::Result<String> {
        self.run(&format!("bridgectl {arguments}"))
    }

    /// The whole picture.
    ///
    /// # Errors
    /// No supervisor answers.
    pub fn status(&self) -> anyhow::Result<Status> {
        // Its exit code says how all is, which is in the answer, too.
        let output = self.try_run("bridgectl status --json")?;
        serde_json::from_slice(&output.stdout).with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// One process's row of the picture.
    ///
    /// # Errors
    /// There is no such row.
    pub fn process(&self, name: &str) -> anyhow::Result<ProcessStatus> {
        let mut rows = self.status()?.processes.into_iter();
        rows.find(|process| process.name == name)
            .ok_or_else(|| anyhow!("status has no process `{name}`"))
    }

    /// One of a unit's properties, as `systemctl show` prints it.
    ///
    /// # Errors
    /// There is no such unit.
    pub fn property(&self, unit: &str, name: &str) -> anyhow::Result<String> {
        let line = format!("systemctl show --value --property={name} {unit}");
        Ok(self.run(&line)?.trim().to_owned())
    }

    /// Sends a signal to the main processes of units, as `systemctl kill` does.
    ///
    /// # Errors
    /// One does not run.
    pub fn signal(&self, signal: &str, units: &[&str]) -> anyhow::Result<()> {
        let units = units.join(" ");
        self.run(&format!("systemctl kill --kill-whom=main --signal={signal} {units}"))
            .map(drop)
    }

    /// The address of a page.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    /// Where HTTP answers.
    pub fn http(&self) -> SocketAddr {
        self.http
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lines = self.run("journalctl --no-pager --output=short-precise --lines=120");
            #[expect(clippy::print_stderr, reason = "a test that fails shows what the machine said")]
            {
                eprintln!("{}", lines.unwrap_or_default());
            }
        }
        // With its first process all others go, and with them what was mounted for them.
        _ = signal(self.init, Signal::KILL).and_then(|()| self.nspawn.wait(PATIENCE).map(drop));
    }
}

/// On a host with a systemd of its own, that one is told of the container; elsewhere there is nobody to tell.
fn of_the_host() -> &'static [&'static str] {
    if Path::new("/run/systemd/system").is_dir() {
        &[]
    } else {
        &["--register=no", "--keep-unit"]
    }
}

/// The container's first process, once there is one: the child of nspawn that has become systemd.
fn init_of(nspawn: u32) -> anyhow::Result<Option<u32>> {
    let children = fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children"))?;
    let init = children
        .split_whitespace()
        .find(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "systemd\n"));
    Ok(init.map(str::parse).transpose()?)
}
