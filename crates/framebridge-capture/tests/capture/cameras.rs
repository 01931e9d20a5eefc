//! RTSP cameras that refuse: each for its own reason, and each is told by it.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use framebridge_capture::{CameraError, Interrupt, Source, SourceConfig, SourceError};
use framebridge_config::SourceTls;
use framebridge_core::source_life::Failure;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use crate::{
    config, refusal,
    server::{Server, rtsp, trap},
};

/// A camera that lets in who answers a challenge of this algorithm, and then has no such stream.
fn camera(challenges: &'static [&'static str], accepted: &'static str) -> Server {
    Server::start(move |_, request| {
        let said = request.lines().find(|line| line.starts_with("Authorization:"));
        if request.starts_with("OPTIONS") || said.is_some_and(|said| said.contains(accepted)) {
            let status = if request.starts_with("OPTIONS") {
                "200 OK"
            } else {
                "404 Not Found"
            };
            return rtsp(request, status, "");
        }
        let headers: String = challenges
            .iter()
            .map(|challenge| format!("WWW-Authenticate: {challenge}\r\n"))
            .collect();
        rtsp(request, "401 Unauthorized", &headers)
    })
}

const MD5: &str = "Digest realm=\"cam\", nonce=\"n\", algorithm=\"MD5\"";
const SHA256: &str = "Digest realm=\"cam\", nonce=\"n\", algorithm=\"SHA-256\"";
const SHA512: &str = "Digest realm=\"cam\", nonce=\"n\", algorithm=\"SHA-512-256\"";

#[test]
fn a_password_is_told_in_every_way_that_cameras_ask_for_it() {
    let in_vain = "it refuses the user or the password";
    let inside = "it has no such stream (404 Not Found)";
    let cases: [(&'static [&'static str], &'static str, &str); 8] = [
        (&[MD5], "algorithm=MD5", inside),
        (&[SHA256], "algorithm=SHA-256", inside),
        (&[MD5, SHA256], "algorithm=SHA-256", inside),
        (&[SHA512, MD5], "algorithm=MD5", inside),
        (
            &["Basic realm=\"cam\", Digest realm=\"cam\", nonce=\"n\""],
            "Digest username=\"admin\"",
            inside,
        ),
        (&["Basic realm=\"cam\""], "Basic YWRtaW46cmlnaHQ=", inside),
        (&[MD5, SHA256], "never", in_vain),
        (&[SHA512], "never", "by Digest with SHA-512-256, which is not supported"),
    ];
    for (challenges, accepted, told) in cases {
        let camera = camera(challenges, accepted);
        let said = refusal(&format!("rtsp://admin:right@127.0.0.1:{}/live", camera.port));
        assert!(said.contains(told), "{challenges:?}: {said}");
        assert_eq!(camera.connections(), 1, "{challenges:?}");
        let asked = camera.heard.lock().unwrap();
        let tries = asked
            .iter()
            .filter(|request| request.contains("Authorization:"))
            .count();
        assert!(tries <= 1, "a password that is refused is not tried again: {asked:?}");
        assert!(asked.iter().all(|request| !request.contains("right@")), "{asked:?}");
    }
    let camera = camera(&[MD5], "never");
    let said = refusal(&format!("rtsp://127.0.0.1:{}/live", camera.port));
    assert!(said.contains("asks for a user and a password"), "{said}");
}

/// What a camera that answers every `DESCRIBE` with this is taken for.
fn refused(status: &'static str, headers: String) -> SourceError {
    let camera = Server::start(move |_, request| {
        if request.starts_with("OPTIONS") {
            rtsp(request, "200 OK", "")
        } else {
            rtsp(request, status, &headers)
        }
    });
    let url = format!("rtsp://127.0.0.1:{}/live", camera.port);
    Source::open(&config(&url, 30), &Interrupt::new()).unwrap_err()
}

#[test]
fn refusals_are_told_apart_and_never_steer_a_terminal() {
    let busy = refused("453 Not Enough Bandwidth", String::new());
    assert!(
        matches!(&busy, SourceError::Camera(CameraError::Busy(said)) if said.contains("453")),
        "{busy:?}"
    );
    let busy = refused("503 Service Unavailable", String::new());
    assert!(matches!(busy, SourceError::Camera(CameraError::Busy(_))), "{busy:?}");
    assert_eq!(busy.failure(), Failure::Other);
    let shown = refused("404 \x1b]0;PWNED\x07\x1b[31mred", String::new()).to_string();
    assert!(
        shown.contains("PWNED") && !shown.chars().any(char::is_control),
        "{shown:?}"
    );
}

#[test]
fn a_camera_that_sends_elsewhere_is_not_followed() {
    let (port, caught) = trap();
    let location = format!("Location: rtsp://admin:SECRET@127.0.0.1:{port}/inside\r\n");
    for status in ["301 Moved", "302 Found", "305 Use Proxy"] {
        let error = refused(status, location.clone()).to_string();
        assert!(
            error.contains(&format!("configure rtsp://127.0.0.1:{port}/inside")),
            "{error}"
        );
    }
    assert_eq!(caught.load(Ordering::Relaxed), 0);
}

/// What a stream is that nobody looks at.
const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=cam\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n\
    a=rtpmap:96 H264/90000\r\na=control:trackID=1\r\n";

/// The addresses that a camera is asked to set up, where it describes its stream so.
fn set_up(describe: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> (u16, Vec<String>) {
    let camera = Server::start(move |_, request| match request.split(' ').next() {
        Some("DESCRIBE") => describe(request),
        Some("SETUP") => rtsp(request, "404 Not Found", ""),
        // Not every camera likes to be asked what it can.
        _ => rtsp(request, "405 Method Not Allowed", ""),
    });
    let said = refusal(&format!("rtsp://127.0.0.1:{}/live", camera.port));
    assert!(said.contains("it has no such stream"), "{said}");
    let heard = camera.heard.lock().unwrap();
    let asked = heard.iter().filter(|request| request.starts_with("SETUP "));
    let asked = asked.filter_map(|request| request.split(' ').nth(1).map(str::to_owned));
    (camera.port, asked.collect())
}

fn described(request: &str, headers: &str) -> Vec<u8> {
    let headers = format!(
        "{headers}Content-Type: application/sdp\r\nContent-Length: {}\r\n",
        SDP.len()
    );
    [rtsp(request, "200 OK", &headers), SDP.as_bytes().to_vec()].concat()
}

#[test]
fn track_is_found_where_the_camera_has_it_however_it_says_so() {
    for (base, there) in [
        ("", "/live"),
        ("Content-Base: /live/\r\n", "/live"),
        ("Content-Base: live/\r\n", "/live"),
        ("Content-Base: /other/\r\n", "/other"),
    ] {
        let (port, asked) = set_up(move |request| described(request, base));
        assert_eq!(asked, [format!("rtsp://127.0.0.1:{port}{there}/trackID=1")], "{base}");
    }
}

#[test]
fn stream_that_a_camera_has_elsewhere_at_itself_is_found_there() {
    for absolute in [true, false] {
        let (port, asked) = set_up(move |request| {
            let uri = request.split(' ').nth(1).unwrap();
            let Some(host) = uri.strip_suffix("/live") else {
                return described(request, "");
            };
            let to = if absolute { host } else { "" };
            rtsp(request, "302 Found", &format!("Location: {to}/main/0\r\n"))
        });
        assert_eq!(asked, [format!("rtsp://127.0.0.1:{port}/main/0/trackID=1")]);
    }
    // One that is sent round and round is told.
    let camera = Server::start(|_, request| {
        let status = if request.starts_with("OPTIONS") {
            "200 OK"
        } else {
            "302 Found"
        };
        rtsp(request, status, "Location: /live\r\n")
    });
    let said = refusal(&format!("rtsp://127.0.0.1:{}/live", camera.port));
    assert!(said.contains("it sends elsewhere"), "{said}");
}

#[test]
fn a_camera_that_takes_no_connection_is_unreachable() {
    let url = "rtsp://127.0.0.1:1/live";
    let error = Source::open(&config(url, 30), &Interrupt::new()).unwrap_err();
    assert_eq!(error.failure(), Failure::Unreachable);
}

/// Opens a camera that speaks TLS with a certificate of its own, and has no such stream.
fn over_tls(names: &str, trust: impl FnOnce(PathBuf) -> SourceTls) -> String {
    let dir = tempfile::tempdir().unwrap();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec![names.to_owned()]).unwrap();
    let path = dir.path().join("camera.pem");
    fs::write(&path, cert.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let camera = Server::start_with(Some(Arc::new(server)), |_, request| rtsp(request, "404 Not Found", ""));
    let url = format!("rtsps://127.0.0.1:{}/live", camera.port);
    let config = SourceConfig {
        tls: trust(path),
        feed: None,
        ..config(&url, 30)
    };
    let error = Source::open(&config, &Interrupt::new()).unwrap_err();
    error.to_string()
}

#[test]
fn a_camera_over_tls_proves_who_it_is_unless_its_operator_has_it_otherwise() {
    let anybody = |_| SourceTls {
        verify: false,
        ca: None,
    };
    let inside = "no such stream";
    let untrusted = "trust";
    let pinned = |path| SourceTls {
        verify: true,
        ca: Some(path),
    };
    for (names, said, told) in [
        ("127.0.0.1", over_tls("127.0.0.1", |_| SourceTls::default()), untrusted),
        (
            "wrong.example",
            over_tls("wrong.example", |_| SourceTls::default()),
            untrusted,
        ),
        ("127.0.0.1", over_tls("127.0.0.1", pinned), inside),
        ("its own", over_tls("wrong.example", pinned), inside),
        ("anybody", over_tls("wrong.example", anybody), inside),
    ] {
        assert!(said.contains(told), "{names}: {said}");
    }
    let missing = over_tls("127.0.0.1", |_| SourceTls {
        verify: true,
        ca: Some("/nonexistent.pem".into()),
    });
    assert!(missing.contains("/nonexistent.pem"), "{missing}");
}
