//! `bridgectl setup`: from an installed package to an address that a telephone opens.
//!
//! What the command line does not say is asked for, where somebody sits at a terminal; elsewhere, and with `--yes`, it is what
//! lets in the fewest. The file is written last: whoever goes away in the middle has changed nothing.

mod answers;
mod found;
mod questions;

use std::{
    fs,
    io::{self, IsTerminal as _, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use framebridge_config::{AuthMode, DEFAULT_FILE, Settings};
use framebridge_daemon::reach;
use framebridge_proto::{
    probe::Verdict,
    status::{Overall, Status},
};
use serde_json::json;
use tokio::time::{Instant, sleep};

use self::{answers::Answers, found::Found};
use super::{
    certificate, doctor, link,
    share::qr_code,
    stream::{TakenUp, take_up},
    token,
};
use crate::{
    ask,
    cli::{self, Setup, SetupTls, Who},
    config_file::{self, ConfigFile},
    exit::Exit,
    onvif::{self, Login},
    out::Out,
};

/// The target that starts everything, where the package has it.
const TARGET: &str = "framebridge.target";

/// How long everything may take to be well after its start: an encoder is there within seconds.
const START_PATIENCE: Duration = Duration::from_secs(20);

/// How often it is looked at meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// A certificate that nobody vouches for is looked at once by each viewer: it is renewed when the box is.
const CERTIFICATE_LASTS: u64 = 3 * 365 * 24 * 3600;

/// What the first token is called.
const FIRST_TOKEN: &str = "owner";

pub(crate) async fn run(asked: Setup, out: Out) -> anyhow::Result<Exit> {
    let mut file = ConfigFile::open(config_file::path(asked.config.as_deref()).await)?;
    let folder = folder_of(file.path())?;
    let can_start = can_start(file.path());
    ensure!(
        !asked.start || can_start,
        "--start: this is not root, or systemd has no {TARGET} here: start `supervisor --config {}` yourself",
        file.path().display()
    );
    let is_asked = !asked.yes && !out.json && io::stdin().is_terminal();
    let known = answers::Known {
        found: found::sources(Path::new("/")),
        cameras: cameras(&asked, &file, is_asked).await?,
        streams: file.streams(),
        listens: file.sets("http", "listen"),
        can_start,
    };
    let answers = if is_asked {
        questions::ask(&asked, &known, &mut io::stdin().lock(), &mut io::stderr().lock(), look)?
    } else {
        Answers::without_asking(&asked, &known)
    };
    let tls = if answers.has_certificate() {
        let made = certificate_in(&folder)?;
        Some((made.0, made.1))
    } else {
        None
    };
    let tokens = (answers.who == Some(Who::Token)).then(|| folder.join("tokens.toml"));
    answers.write(
        &mut file,
        tokens.as_deref(),
        tls.as_ref().map(|(certificate, key)| (&**certificate, &**key)),
    )?;
    let settings = file.settings()?;
    let token = match &tokens {
        Some(path) => token::first(path, FIRST_TOKEN.parse()?)?,
        None => None,
    };
    file.save()?;
    writeln!(io::stderr(), "written: {}", file.path().display())?;
    let runs = run_it(&file, &settings, answers.start).await?;
    finish(&settings, file.path(), token, runs, out).await
}

/// The cameras of the networks that are named, each with its pictures, without those that are in the file already. Says who has
/// answered. Anybody may answer as a camera: with a login, which RTSP sends it, only those count that a person picks or has named.
async fn cameras(asked: &Setup, file: &ConfigFile, is_asked: bool) -> anyhow::Result<Vec<Vec<Found>>> {
    if asked.discover.is_empty() {
        return Ok(Vec::new());
    }
    let login = asked.login.as_deref().map(Login::read).transpose()?;
    let networks = asked.discover.iter().map(ToString::to_string).collect::<Vec<_>>();
    let networks = networks.join(", ");
    writeln!(io::stderr(), "looking for cameras: {networks} ...")?;
    let answered = onvif::discover(&asked.discover, login.as_ref()).await?;
    if answered.is_empty() {
        writeln!(io::stderr(), "  no camera has answered")?;
    }
    let settings = file.settings().ok();
    let sources = settings.iter().flat_map(|settings| &settings.streams);
    let mut names = file.streams();
    names.extend(asked.streams.iter().map(|stream| stream.name.to_string()));
    let known = sources.map(|stream| stream.source.to_string()).collect::<Vec<_>>();
    let mut cameras = Vec::new();
    for camera in answered {
        let is_named = asked.discover.iter().any(|network| network.is_only(camera.host));
        if login.is_some() && !is_asked && !is_named {
            let host = camera.host;
            writeln!(
                io::stderr(),
                "  {}: to add it with its login, name it: --discover {host}",
                camera.title()
            )?;
            continue;
        }
        match found::of_camera(camera, &known, &mut names) {
            Ok(found) => {
                // Who is asked is shown them all then.
                if let Some(best) = found.first().filter(|_| !is_asked) {
                    writeln!(io::stderr(), "  {}, as `{}`", best.label, best.stream.name)?;
                }
                cameras.push(found);
            }
            Err(why) => writeln!(io::stderr(), "  {why}")?,
        }
    }
    Ok(cameras)
}

/// Where what belongs to the file lies beside it.
fn folder_of(path: &Path) -> anyhow::Result<PathBuf> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::canonicalize(folder).with_context(|| format!("looking at the folder of {}", path.display()))
}

/// Whether systemd can be asked for the units of the package, which read the usual file.
fn can_start(config: &Path) -> bool {
    let is_usual = config == Path::new(DEFAULT_FILE);
    let is_root = rustix::process::geteuid().is_root();
    let folders = ["/usr/lib/systemd/system", "/etc/systemd/system"];
    let has_units = folders.iter().any(|folder| Path::new(folder).join(TARGET).exists());
    is_usual && is_root && has_units && Path::new("/run/systemd/system").exists()
}

/// What a source is, in a line; or why it can't be had, as far as this user can tell.
fn look(source: &framebridge_config::Source) -> Result<String, String> {
    let findings = doctor::source_findings(source).map_err(|error| format!("{error:#}"))?;
    if let Some(bad) = findings.iter().find(|finding| finding.verdict == Verdict::Bad) {
        return Err(bad.detail.clone());
    }
    let told = findings
        .iter()
        .find(|finding| finding.what == "picture" || finding.what == "opening");
    Ok(told.map_or_else(|| "it gives pictures".to_owned(), |finding| finding.detail.clone()))
}

/// The certificate and the key that are there, or new ones: who already trusts the first would have to trust anew.
fn certificate_in(folder: &Path) -> anyhow::Result<(String, String)> {
    let (certificate, key) = (folder.join("tls.crt"), folder.join("tls.key"));
    if certificate.exists() && key.exists() {
        return Ok((certificate.display().to_string(), key.display().to_string()));
    }
    let made = certificate::make(folder, Vec::new(), CERTIFICATE_LASTS)?;
    // Signaling reads it as the user that the folder is for. Elsewhere it is its maker's alone.
    let of = fs::metadata(folder)?;
    if rustix::process::geteuid().is_root() && of.gid() != 0 && of.mode() & 0o007 == 0 {
        chown(&made.key, None, Some(of.gid()))?;
        fs::set_permissions(&made.key, fs::Permissions::from_mode(0o640))?;
    }
    Ok((made.certificate, made.key))
}

/// Has what runs take the file up, or what does not run be started where that is wished for. Whether it runs now.
async fn run_it(file: &ConfigFile, settings: &Settings, is_to_start: bool) -> anyhow::Result<bool> {
    match take_up(file).await? {
        TakenUp::Yes(reloaded) => writeln!(io::stderr(), "{reloaded}")?,
        TakenUp::Another => return Ok(false),
        TakenUp::Nobody if is_to_start => start()?,
        TakenUp::Nobody => return Ok(false),
    }
    let until = Instant::now() + START_PATIENCE;
    let listen = settings.http.listen;
    let is_up = |status: Status| {
        let listens = listen.port() == 0 || status.http == Some(listen.to_string());
        listens && status.overall == Overall::Healthy
    };
    while !ask::status().await.is_ok_and(is_up) && Instant::now() < until {
        sleep(LOOK_AGAIN).await;
    }
    Ok(true)
}

#[expect(clippy::disallowed_methods, reason = "it asks systemd, which starts the processes")]
fn start() -> anyhow::Result<()> {
    let mut systemctl = Command::new("systemctl");
    let status = systemctl
        .args(["enable", "--now", TARGET])
        .stdout(Stdio::null())
        .status();
    let is_done = status.context("running systemctl")?.success();
    ensure!(
        is_done,
        "systemd does not start it: `systemctl status {TARGET}` says why"
    );
    writeln!(
        io::stderr(),
        "started, now and at each boot: systemctl status '{TARGET}'"
    )?;
    Ok(())
}

/// Says what to open: a link that logs a telephone in, where a token is asked for and Framebridge runs.
async fn finish(settings: &Settings, path: &Path, token: Option<String>, runs: bool, out: Out) -> anyhow::Result<Exit> {
    let http = &settings.http;
    let scheme = if http.tls.is_some() { "https" } else { "http" };
    let address = format!("{}/", reach::url(scheme, http.listen));
    let asks_for_tokens = http.auth.mode == AuthMode::Token;
    let opened = if runs && asks_for_tokens {
        link::make(cli::Link {
            control: true,
            ..cli::Link::default()
        })
        .await?
    } else {
        address.clone()
    };
    if let Some(token) = &token {
        writeln!(io::stderr(), "your token, shown this once: {token}")?;
    }
    if !runs {
        let how = if can_start(path) {
            format!("systemctl enable --now {TARGET}")
        } else {
            format!("supervisor --config {}", path.display())
        };
        writeln!(io::stderr(), "to start it: {how}")?;
    }
    let here_alone = http.listen.ip().is_loopback();
    let what = match (here_alone, runs && asks_for_tokens) {
        (true, _) => "open, at this machine:",
        (false, true) => "open on a telephone in this network; the link lets in the first who opens it, for 12 hours:",
        (false, false) => "open on a telephone in this network:",
    };
    writeln!(io::stderr(), "{what}")?;
    out.tell(
        &opened,
        &json!({ "config": path, "url": opened, "address": address, "token": token, "runs": runs }),
    )?;
    if !out.json && !here_alone {
        qr_code(&opened)?;
    }
    Ok(Exit::Ok)
}

/// That a certificate is asked for means nothing where nobody else can come.
fn protects(tls: SetupTls, who: Who) -> bool {
    tls == SetupTls::SelfSigned && who != Who::ThisMachine
}
