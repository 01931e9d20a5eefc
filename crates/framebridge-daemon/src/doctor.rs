//! Finds what keeps Framebridge from working, without starting anything.

use std::{env, fs, io, net::TcpStream, os::unix::net::UnixStream};

use framebridge_auth::Certificate;
use framebridge_config::{ConfigError, Settings, Source, Tls};
use framebridge_ipc::RuntimeDir;
use framebridge_proto::{
    Role,
    probe::{Finding, Verdict},
    status::{ProcessState, Status},
};

use crate::{
    ports::{self, Holder, Port},
    since_epoch,
    surroundings::Surroundings,
};

/// X servers listen on TCP port 6000 plus the display's number, where they listen on TCP at all.
const X11_PORT: u16 = 6000;

/// What is known of the Framebridge that is looked at.
#[derive(Debug)]
pub struct Scene<'a> {
    /// Where its sockets are.
    pub dir: &'a RuntimeDir,
    /// What its operator asked for.
    pub settings: Result<&'a Settings, &'a ConfigError>,
    /// The pid of its signaling, while it runs.
    pub signaling: Option<u32>,
    /// Its encoders run, and know better than we whether a source can be had.
    pub is_running: bool,
}

/// The pid of the signaling that runs.
pub fn signaling_pid(status: &Status) -> Option<u32> {
    let found = status
        .processes
        .iter()
        .find(|process| process.role == Role::Signaling)?;
    found.pid.filter(|_| found.state == ProcessState::Running)
}

/// Looks at the runtime directory, and at what the settings need.
pub fn examine(scene: &Scene<'_>) -> Vec<Finding> {
    let mut findings = vec![runtime_dir(scene.dir)];
    match scene.settings {
        Ok(settings) => {
            findings.extend(configuration(settings));
            findings.extend(ports::wanted(settings).iter().map(|port| port_finding(port, scene)));
            if !scene.is_running {
                findings.extend(displays(settings));
            }
            findings.extend(settings.http.tls.as_ref().map(certificate));
        }
        Err(error) => {
            let error = chain(error);
            findings.push(Finding::new("configuration", Verdict::Bad, error.replace('\n', "; ")));
        }
    }
    findings
}

/// An error with its causes, in one line.
fn chain(error: &ConfigError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

/// That it is valid, and what is odd about it.
fn configuration(settings: &Settings) -> Vec<Finding> {
    let odd = settings.warnings.iter();
    let odd = odd.map(|warning| Finding::new("configuration", Verdict::Bad, warning.to_string()));
    let found = Surroundings::of(settings);
    let around = found.problems.into_iter().chain(found.warnings);
    // Certificate and sources are looked at by themselves.
    let around = around.filter(|found| found.key != "http.tls.certificate" && !found.key.starts_with("streams."));
    let around = around.map(|found| Finding::new("configuration", Verdict::Bad, found.to_string()));
    let good = Finding::new("configuration", Verdict::Good, "valid");
    std::iter::once(good).chain(odd).chain(around).collect()
}

/// Whether sockets and files can be made there. Root looks at another's as it is: its owner has to get along with it.
fn runtime_dir(dir: &RuntimeDir) -> Finding {
    let path = dir.path().display();
    let (owner, own) = (dir.owner(), rustix::process::geteuid());
    let (verdict, detail) = match owner {
        Some(owner) if own.is_root() && owner != own.as_raw() => (Verdict::Good, format!("{path}, of uid {owner}")),
        Some(_) | None => match dir.try_out() {
            Ok(()) => (Verdict::Good, format!("{path}, takes files and sockets")),
            Err(error) => (Verdict::Bad, format!("{:#}", anyhow::Error::from(error))),
        },
    };
    Finding::new("runtime directory", verdict, detail)
}

/// Whether a port is free, or has who should have it.
fn port_finding(port: &Port, scene: &Scene<'_>) -> Finding {
    let what = port.to_string();
    let Err(error) = port.try_out() else {
        return match scene.signaling {
            Some(pid) if port.address.port() != 0 => {
                let detail = format!(
                    "free, though signaling (pid {pid}) runs: it listens elsewhere, or `bridgectl restart signaling`"
                );
                Finding::new(what, Verdict::Bad, detail)
            }
            Some(_) | None => Finding::new(what, Verdict::Good, "free"),
        };
    };
    let holders = port.holders();
    // What is ours the supervisor holds, too: it keeps copies for the next signaling.
    let ours = holders.iter().find(|holder| Some(holder.pid) == scene.signaling);
    let is_hidden = scene.signaling.is_some() && holders.is_empty();
    if error.kind() == io::ErrorKind::AddrInUse && (ours.is_some() || is_hidden) {
        let by = ours.map_or_else(|| "Framebridge".to_owned(), Holder::to_string);
        return Finding::new(what, Verdict::Good, format!("in use by {by}"));
    }
    let mut detail = port.why_not(&error);
    if let Some(dir) = holders.first().and_then(runtime_dir_of) {
        detail += &format!("; it is a Framebridge's, with the runtime directory {dir}");
    }
    Finding::new(what, Verdict::Bad, detail)
}

/// The runtime directory that a process was started for, where it is one of Framebridge's and lets us look. Its name counts,
/// not its environment alone: whatever is started from an operator's shell has the variable, too.
fn runtime_dir_of(holder: &Holder) -> Option<String> {
    /// They have the sockets: one serves on them, the other keeps them for its successor.
    const PROGRAMS: [&str; 2] = ["signaling", "supervisor"];
    if !PROGRAMS.contains(&holder.name.as_str()) {
        return None;
    }
    let environment = fs::read(format!("/proc/{}/environ", holder.pid)).ok()?;
    let mut variables = environment.split(|byte| *byte == 0);
    let dir = variables.find_map(|variable| variable.strip_prefix(b"FRAMEBRIDGE_RUNTIME_DIR="))?;
    Some(String::from_utf8_lossy(dir).into_owned())
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

/// Whether the certificate of HTTPS can be read, and how long it holds.
fn certificate(tls: &Tls) -> Finding {
    let path = tls.certificate.display();
    let now = since_epoch().as_secs();
    let read = fs::read(&tls.certificate).map_err(|error| error.to_string());
    let read = read.and_then(|pem| Certificate::read(&pem).map_err(|error| error.to_string()));
    let (verdict, detail) = match read.map(|found| (found.notice(now), found)) {
        Err(error) => (Verdict::Bad, format!("{path}: {error}")),
        Ok((Some(notice), found)) => (Verdict::Bad, format!("{path} ({}): {notice}", found.subject)),
        Ok((None, found)) => {
            let days = found.days_left(now).unwrap_or(0);
            (Verdict::Good, format!("{path} ({}), {days} days left", found.subject))
        }
    };
    Finding::new("certificate", verdict, detail)
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

#[cfg(test)]
mod tests {
    use std::{
        net::TcpListener,
        process::Command,
        thread,
        time::{Duration, Instant},
    };

    use super::*;

    /// How long a program may take to become what it was started as.
    const START_TIMEOUT: Duration = Duration::from_secs(30);

    #[test]
    fn displays_are_read_as_x_writes_them() {
        assert_eq!(parse_display(":0"), Some(("", 0)));
        assert_eq!(parse_display(":10.1"), Some(("", 10)));
        assert_eq!(parse_display("host:2"), Some(("host", 2)));
        assert_eq!(parse_display("zero"), None);
    }

    #[test]
    fn busy_port_is_bad_unless_it_is_signalings() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut settings = Settings::load(None, &[]).unwrap();
        settings.http.listen = taken.local_addr().unwrap();
        settings.webrtc.bind.clear();
        let (scratch, own) = (tempfile::tempdir().unwrap(), std::process::id());
        let dir = RuntimeDir::at(scratch.path());
        let found = |signaling| {
            let scene = Scene {
                dir: &dir,
                settings: Ok(&settings),
                signaling,
                is_running: true,
            };
            let findings = examine(&scene);
            findings
                .into_iter()
                .find(|finding| finding.what.starts_with("TCP"))
                .unwrap()
        };
        let strangers = found(None);
        assert_eq!(strangers.verdict, Verdict::Bad);
        assert!(
            strangers.detail.contains(&format!("in use by pid {own} (")),
            "{}",
            strangers.detail
        );
        assert_eq!(
            found(Some(1)).verdict,
            Verdict::Bad,
            "signaling runs, and another has its port"
        );
        assert_eq!(found(Some(own)).verdict, Verdict::Good);
        drop(taken);
        assert_eq!(found(None).verdict, Verdict::Good);
        assert_eq!(
            found(Some(own)).verdict,
            Verdict::Bad,
            "signaling runs, and does not have it"
        );
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test needs a process with an environment")]
    fn only_a_program_of_ours_is_called_that() {
        // Any program has an operator's environment; this one is none of those that have ports.
        let sleeper = Command::new("sleep")
            .arg("60")
            .env("FRAMEBRIDGE_RUNTIME_DIR", "/run/of/mine")
            .spawn();
        let mut sleeper = sleeper.unwrap();
        // The kernel lets `spawn` return when the old program is gone, which is before the new one's environment shows.
        let deadline = Instant::now() + START_TIMEOUT;
        let environment = format!("/proc/{}/environ", sleeper.id());
        while fs::read(&environment).unwrap().is_empty() {
            assert!(Instant::now() < deadline, "{environment} stays empty");
            thread::yield_now();
        }
        let named = |name: &str| {
            runtime_dir_of(&Holder {
                pid: sleeper.id(),
                name: name.to_owned(),
            })
        };
        assert_eq!(named("sleep"), None);
        assert_eq!(named("signaling").as_deref(), Some("/run/of/mine"));
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
    }

    #[test]
    fn directory_and_settings_that_cant_be_used_are_bad() {
        let error = Settings::load(Some(std::path::Path::new("/nonexistent.toml")), &[]).unwrap_err();
        let dir = RuntimeDir::at(format!("/tmp/{}", "d".repeat(110)));
        let scene = Scene {
            dir: &dir,
            settings: Err(&error),
            signaling: None,
            is_running: false,
        };
        let bad: Vec<_> = examine(&scene);
        assert!(
            bad.iter().all(|finding| finding.verdict == Verdict::Bad) && bad.len() == 2,
            "{bad:?}"
        );
        assert!(
            bad[0].detail.contains("too long") && bad[1].detail.contains("No such file"),
            "{bad:?}"
        );
    }
}
