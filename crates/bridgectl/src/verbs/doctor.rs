//! `bridgectl doctor`

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{self, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    process::Command,
};

use anyhow::{Context as _, ensure};
use framebridge_config::{Settings, Source};
use framebridge_ipc::RuntimeDir;
use framebridge_proto::probe::{Finding, Verdict};

use crate::{ask, exit::Exit};

/// X servers listen on TCP port 6000 plus the display's number, where they listen on TCP at all.
const X11_PORT: u16 = 6000;

/// Looks at everything, whatever is found on the way; anything bad makes the exit code 1.
pub(crate) async fn run(args: &framebridge_daemon::Args) -> anyhow::Result<Exit> {
    let running = ask::status().await.is_ok();
    let mut findings = vec![runtime_dir(&RuntimeDir::find())];
    match args.load() {
        Ok(settings) => {
            findings.push(Finding::new("configuration", Verdict::Good, "valid"));
            findings.extend(ports(&settings, running));
            findings.extend(displays(&settings));
        }
        Err(error) => findings.push(Finding::new("configuration", Verdict::Bad, format!("{error:#}"))),
    }
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

fn runtime_dir(dir: &RuntimeDir) -> Finding {
    let path = dir.path().display();
    let (verdict, detail) = match dir.create().map(|()| fs::metadata(dir.path())) {
        Ok(Ok(found)) => (
            Verdict::Good,
            format!("{path}, mode {:o}, ours", found.permissions().mode() & 0o777),
        ),
        Ok(Err(error)) => (Verdict::Bad, format!("{path}: {error}")),
        Err(error) => (Verdict::Bad, format!("{:#}", anyhow::Error::from(error))),
    };
    Finding::new("socket directory", verdict, detail)
}

/// Whether the ports can be had. While Framebridge runs, it holds them itself.
fn ports(settings: &Settings, running: bool) -> Vec<Finding> {
    let tcp = (
        format!("TCP {}", settings.http.listen),
        TcpListener::bind(settings.http.listen).map(drop),
    );
    let udp = settings.webrtc.bind.iter().map(|&ip: &IpAddr| {
        let address = SocketAddr::new(ip, settings.webrtc.port);
        (format!("UDP {address}"), UdpSocket::bind(address).map(drop))
    });
    std::iter::once(tcp)
        .chain(udp)
        .map(|(what, bound)| match bound {
            Ok(()) => Finding::new(what, Verdict::Good, "free"),
            Err(error) if running && error.kind() == io::ErrorKind::AddrInUse => {
                Finding::new(what, Verdict::Good, "in use while Framebridge runs")
            }
            Err(error) => Finding::new(what, Verdict::Bad, format!("{error}: free it, or configure another")),
        })
        .collect()
}

/// The displays that streams are captured from, and the one this terminal is on.
fn displays(settings: &Settings) -> Vec<Finding> {
    let mut needed: Vec<&str> = settings
        .streams
        .iter()
        .filter_map(|stream| {
            if let Source::X11 { display, .. } = &stream.source {
                Some(display.as_str())
            } else {
                None
            }
        })
        .collect();
    needed.dedup();
    let own = env::var("DISPLAY").ok();
    let mut findings: Vec<Finding> = needed
        .iter()
        .map(|display| reach_display(display, Verdict::Bad))
        .collect();
    match own.as_deref() {
        Some(display) if needed.contains(&display) => {}
        Some(display) => findings.push(reach_display(display, Verdict::Absent)),
        None if needed.is_empty() => {
            findings.push(Finding::new(
                "DISPLAY",
                Verdict::Absent,
                "not set, and no stream captures one",
            ));
        }
        None => {}
    }
    findings
}

fn reach_display(display: &str, otherwise: Verdict) -> Finding {
    let what = format!("DISPLAY {display}");
    let Some((host, number)) = parse_display(display) else {
        return Finding::new(what, otherwise, "is not HOST:NUMBER");
    };
    let reached = if host.is_empty() {
        UnixStream::connect(format!("/tmp/.X11-unix/X{number}")).map(drop)
    } else {
        TcpStream::connect((host, X11_PORT.saturating_add(number))).map(drop)
    };
    match reached {
        Ok(()) => Finding::new(what, Verdict::Good, "reachable"),
        Err(error) => Finding::new(
            what,
            otherwise,
            format!("{error}: start the X server, or correct the display"),
        ),
    }
}

/// `HOST:NUMBER.SCREEN` -> host and number.
fn parse_display(display: &str) -> Option<(&str, u16)> {
    let (host, rest) = display.rsplit_once(':')?;
    let number = rest.split_once('.').map_or(rest, |(number, _screen)| number);
    Some((host, number.parse().ok()?))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displays_are_read_as_x_writes_them() {
        assert_eq!(parse_display(":0"), Some(("", 0)));
        assert_eq!(parse_display(":10.1"), Some(("", 10)));
        assert_eq!(parse_display("host:2"), Some(("host", 2)));
        assert_eq!(parse_display("zero"), None);
    }

    #[test]
    fn a_busy_port_is_bad_unless_framebridge_holds_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut settings = Settings::load(None, &[]).unwrap();
        settings.http.listen = taken.local_addr().unwrap();
        assert_eq!(ports(&settings, false)[0].verdict, Verdict::Bad);
        assert_eq!(ports(&settings, true)[0].verdict, Verdict::Good);
    }
}
