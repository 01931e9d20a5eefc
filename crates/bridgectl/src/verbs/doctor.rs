//! `bridgectl doctor`

use std::{
    env,
    ffi::OsStr,
    io::{self, Write as _},
    process::Command,
};

use anyhow::{Context as _, ensure};
use framebridge_daemon::doctor;
use framebridge_ipc::RuntimeDir;
use framebridge_proto::probe::{Finding, Verdict};

use crate::{ask, exit::Exit};

/// Looks at everything, whatever is found on the way; anything bad makes the exit code 1.
pub(crate) async fn run(args: &framebridge_daemon::Args) -> anyhow::Result<Exit> {
    let running = ask::status().await.is_ok();
    let mut findings = doctor::examine(&RuntimeDir::find(), args.load().as_ref(), running);
    findings
        .extend(encoders().unwrap_or_else(|error| vec![Finding::new("encoder", Verdict::Bad, format!("{error:#}"))]));

    let width = findings.iter().map(|finding| finding.what.len()).max().unwrap_or(0);
    for Finding { what, verdict, detail } in &findings {
        let mark = match verdict {
            Verdict::Good => "ok",
            Verdict::Absent => "--",
            Verdict::Bad => "BAD",
        };
        writeln!(io::stdout(), "{mark:<3}  {what:<width$}  {detail}")?;
    }
    let bad = findings.iter().any(|finding| finding.verdict == Verdict::Bad);
    Ok(if bad { Exit::Failure } else { Exit::Ok })
}

/// FFmpeg's version and the encoders that open, from the one program that links FFmpeg. Asking a running encoder would
/// not do: this verb is for when nothing runs.
fn encoders() -> anyhow::Result<Vec<Finding>> {
    let program = env::current_exe()
        .context("finding our own folder")?
        .with_file_name("encoder");
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
