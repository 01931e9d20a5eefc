//! `bridgectl doctor`

use std::{
    env,
    ffi::OsStr,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};
use framebridge_config::{ConfigError, Settings, Source, Stream};
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

use crate::{ask, cli::Doctor, exit::Exit, names, out::Out, running::Running};

/// Where `install.sh` puts the daemons.
const INSTALLED: &str = "/usr/lib/framebridge";

/// Looks at everything, or at one source, whatever is found on the way; anything bad makes the exit code 1.
pub(crate) async fn run(asked: &Doctor, out: Out) -> anyhow::Result<Exit> {
    let status = ask::status().await;
    let running = status.as_ref().ok().map(Running::look);
    let findings = match &asked.source {
        Some(source) => one_source(source, &asked.args, running.and_then(Result::ok))?,
        None => everything(&asked.args, status, running).await,
    };
    out.tell(&render(&findings), &findings)?;
    let bad = findings.iter().any(|finding| finding.verdict == Verdict::Bad);
    Ok(if bad { Exit::Failure } else { Exit::Ok })
}

/// What a source is, by its URL or its stream's name.
fn one_source(source: &str, args: &Args, running: Option<Running>) -> anyhow::Result<Vec<Finding>> {
    let configured = match settings(args, running.as_ref()) {
        Ok(settings) => Some(settings),
        // Whether it is a stream's name can't be said then.
        Err(error) if !source.contains(':') => return Err(error.into()),
        Err(_) => None,
    };
    let mut streams = configured.iter().flat_map(|found| &found.streams);
    let stream = streams.find(|stream| stream.name.as_str() == source);
    let url = match stream {
        Some(stream) => stream.source.written(),
        // Without a scheme it is meant as a name.
        None if !source.contains(':') => {
            let streams = configured.iter().flat_map(|found| &found.streams);
            bail!(names::no_stream(
                source,
                streams.map(|stream| stream.name.as_str()),
                "stream list"
            ));
        }
        None => source.to_owned(),
    };
    probe(running.map(|running| running.binaries), "--probe-source", &url)
}

async fn everything(args: &Args, status: anyhow::Result<Status>, running: Option<io::Result<Running>>) -> Vec<Finding> {
    let dir = RuntimeDir::find();
    let mut findings = vec![supervisor(&status, running.as_ref())];
    let status = status.ok();
    let running = running.and_then(Result::ok);
    let settings = settings(args, running.as_ref());
    findings.extend(examine(&Scene {
        dir: &dir,
        settings: settings.as_ref(),
        signaling: status.as_ref().and_then(signaling_pid),
        is_running: status.is_some(),
    }));
    let bad = |error| vec![Finding::new("encoder", Verdict::Bad, format!("{error:#}"))];
    findings.extend(probe(running.map(|running| running.binaries), "--probe", "").unwrap_or_else(bad));
    for stream in settings.iter().flat_map(|settings| &settings.streams) {
        findings.push(match &status {
            Some(status) => source(stream, status).await,
            None => source_alone(stream),
        });
    }
    findings
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

/// What a source is, and whether it can be had with this user's rights.
pub(super) fn source_findings(source: &Source) -> anyhow::Result<Vec<Finding>> {
    probe(None, "--probe-source", &source.written())
}

/// Opens a stream's source where no encoder runs, with this user's rights. A command is not run: it may do anything.
fn source_alone(stream: &Stream) -> Finding {
    let what = format!("source of {}", stream.name);
    if matches!(stream.source, Source::Exec { .. }) {
        return Finding::new(what, Verdict::Absent, "a command, which only its encoder runs");
    }
    if stream.source == Source::Whip {
        return Finding::new(what, Verdict::Absent, "what is published goes to its encoder alone");
    }
    match source_findings(&stream.source) {
        Err(error) => Finding::new(what, Verdict::Bad, format!("{error:#}")),
        Ok(findings) => {
            let bad = findings.into_iter().find(|finding| finding.verdict == Verdict::Bad);
            let good = Finding::new(&what, Verdict::Good, format!("{} gives pictures", stream.source));
            bad.map_or(good, |bad| Finding { what, ..bad })
        }
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

/// FFmpeg's version and the encoders that open, or what a source is, from the one program that links FFmpeg. Asking a running
/// encoder would not do: this verb is for when nothing runs. What may be a secret goes by `input`.
fn probe(of_running: Option<PathBuf>, how: &str, input: &str) -> anyhow::Result<Vec<Finding>> {
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
    let output =
        run_probe(program.as_os_str(), how, input).with_context(|| format!("running {}", program.display()))?;
    ensure!(
        output.status.success(),
        "{} {how}: {}",
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
fn run_probe(encoder: &OsStr, how: &str, input: &str) -> io::Result<std::process::Output> {
    let mut child = Command::new(encoder)
        .arg(how)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that reads nothing says why by its exit code.
        _ = writeln!(stdin, "{input}");
    }
    child.wait_with_output()
}
