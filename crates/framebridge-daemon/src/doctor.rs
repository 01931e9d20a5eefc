//! What keeps Framebridge from working, as far as one can see without starting anything.

use std::{
    env, fs, io,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    time::{SystemTime, UNIX_EPOCH},
};

use framebridge_auth::Certificate;
use framebridge_config::{ConfigError, Settings, Source, Tls};
use framebridge_ipc::RuntimeDir;
use framebridge_proto::probe::{Finding, Verdict};

/// X servers listen on TCP port 6000 plus the display's number, where they listen on TCP at all.
const X11_PORT: u16 = 6000;

/// Looks at the runtime directory, and at what the settings need. `running`: Framebridge runs, and holds its ports itself.
pub fn examine(dir: &RuntimeDir, settings: Result<&Settings, &ConfigError>, running: bool) -> Vec<Finding> {
    let mut findings = vec![runtime_dir(dir)];
    match settings {
        Ok(settings) => {
            findings.push(Finding::new("configuration", Verdict::Good, "valid"));
            findings.extend(ports(settings, running));
            findings.extend(displays(settings));
            findings.extend(settings.http.tls.as_ref().map(certificate));
        }
        Err(error) => findings.push(Finding::new("configuration", Verdict::Bad, error.to_string())),
    }
    findings
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

/// Whether the certificate of HTTPS can be read, and how long it holds.
fn certificate(tls: &Tls) -> Finding {
    let path = tls.certificate.display();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
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
