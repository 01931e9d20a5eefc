//! `bridgectl doctor`

use std::{
    env,
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use framebridge_config::{ConfigError, Settings, Stream};
use framebridge_daemon::{
    Args,
    doctor::{Scene, examine, signaling_pid},
};
use framebridge_ipc::RuntimeDir;
use framebridge_proto::{
    encoder::{EncoderAnswer, EncoderRequest, ImageFormat},
    probe::{Finding, Verdict},
    status::{Status, StreamState},
};

use crate::{ask, exit::Exit, out::Out, running::Running};

/// Where `install.sh` puts the daemons.
const INSTALLED: &str = "/usr/lib/framebridge";

/// Looks at everything, whatever is found on the way; anything bad makes the exit code 1.
pub(crate) async fn run(args: &Args, out: Out) -> anyhow::Result<Exit> {
    let dir = RuntimeDir::find();
    let (status, mut findings) = (ask::status().await, Vec::new());
    let running = status.as_ref().ok().map(Running::look);
    findings.push(supervisor(&status, running.as_ref()));
    let status = status.ok();
    let running = running.and_then(Result::ok);
    let settings = settings(args, running.as_ref());
    findings.extend(examine(&Scene {
        dir: &dir,
        settings: settings.as_ref(),
        signaling: status.as_ref().and_then(signaling_pid),
        is_running: status.is_some(),
    }));
    let binaries = running.map(|running| running.binaries);
    findings.extend(
        encoders(binaries).unwrap_or_else(|error| vec![Finding::new("encoder", Verdict::Bad, format!("{error:#}"))]),
    );
    if let (Some(status), Ok(settings)) = (&status, &settings) {
        for stream in &settings.streams {
            findings.push(source(stream, status).await);
        }
    }
    out.tell(&render(&findings), &findings)?;
    let bad = findings.iter().any(|finding| finding.verdict == Verdict::Bad);
    Ok(if bad { Exit::Failure } else { Exit::Ok })
}

fn render(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.what.len()).max().unwrap_or(0);
    let lines = findings.iter().map(|Finding { what, verdict, detail }| {
        let mark = match verdict {
            Verdict::Good => "ok",
            Verdict::Absent => "--",
            Verdict::Bad => "BAD",
        };
        format!("{mark:<3}  {what:<width$}  {detail}")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What the command line says, or what the supervisor that runs was started with.
fn settings(args: &Args, running: Option<&Running>) -> Result<Settings, ConfigError> {
    let is_asked_for = args.config.is_some() || !args.streams.is_empty();
    match running {
        Some(running) if !is_asked_for => running.settings(),
        Some(_) | None => args.load(),
    }
}

fn supervisor(status: &anyhow::Result<Status>, running: Option<&io::Result<Running>>) -> Finding {
    const WHAT: &str = "supervisor";
    match (status, running) {
        (Err(error), _) => Finding::new(WHAT, Verdict::Absent, format!("{error:#}")),
        (Ok(_), Some(Ok(running))) => {
            let config = running
                .args
                .config
                .as_ref()
                .map(|path| format!(", --config {}", path.display()));
            let detail = format!(
                "pid {}, of uid {}, from {}{}",
                running.pid,
                running.uid,
                running.binaries.display(),
                config.unwrap_or_default()
            );
            Finding::new(WHAT, Verdict::Good, detail)
        }
        (Ok(_), Some(Err(error))) => {
            let detail =
                format!("runs, and can't be looked at ({error}): what follows is of this user's own configuration");
            Finding::new(WHAT, Verdict::Absent, detail)
        }
        (Ok(_), None) => Finding::new(WHAT, Verdict::Good, "runs"),
    }
}

/// Has the stream's encoder give a picture: it has the rights, and the environment, that count.
async fn source(stream: &Stream, status: &Status) -> Finding {
    let (name, what) = (stream.name.as_str(), format!("source of {}", stream.name));
    let is_paused =
        |known: &&framebridge_proto::status::StreamStatus| known.name == name && known.state == StreamState::Paused;
    if !status.streams.iter().any(|known| known.name == name) {
        let detail = "the supervisor was started without it: start it again to have it";
        return Finding::new(what, Verdict::Bad, detail);
    }
    if status.streams.iter().any(|known| is_paused(&known)) {
        return Finding::new(
            what,
            Verdict::Absent,
            format!("paused: `bridgectl resume {name}` ends that"),
        );
    }
    match ask::encoder(&stream.name, EncoderRequest::Snapshot(ImageFormat::Jpeg)).await {
        Ok(EncoderAnswer::Snapshot { .. }) => {
            Finding::new(what, Verdict::Good, format!("{} gives pictures", stream.source))
        }
        Ok(_) => Finding::new(what, Verdict::Bad, ask::MISMATCH),
        Err(error) => {
            let detail = format!("{}: {error:#}; `bridgectl why {name}` follows it", stream.source);
            Finding::new(what, Verdict::Bad, detail)
        }
    }
}

/// FFmpeg's version and the encoders that open, from the one program that links FFmpeg. Asking a running encoder would
/// not do: this verb is for when nothing runs.
fn encoders(of_running: Option<PathBuf>) -> anyhow::Result<Vec<Finding>> {
    let own = env::current_exe().context("finding our own folder")?;
    let folders = of_running
        .into_iter()
        .chain(own.parent().map(Path::to_owned))
        .chain([INSTALLED.into()]);
    let mut programs = folders.map(|folder| folder.join("encoder"));
    let program = programs.find(|program| program.exists()).with_context(|| {
        format!(
            "there is no program `encoder` beside {} or in {INSTALLED}: install all five programs in one folder",
            own.display()
        )
    })?;
    let output = probe(program.as_os_str()).with_context(|| format!("running {}", program.display()))?;
    ensure!(
        output.status.success(),
        "{} --probe: {}",
        program.display(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let lines = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).context("reading the encoder's findings"))
        .collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a probe that ends by itself, not a process to be supervised"
)]
fn probe(encoder: &OsStr) -> io::Result<std::process::Output> {
    Command::new(encoder).arg("--probe").output()
}
