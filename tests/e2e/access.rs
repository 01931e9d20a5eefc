//! Who is let in, in a real browser: a login, a link, and the end of both.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

use framebridge_proto::status::{ProcessState, StreamState};
use framebridge_tests::{
    axe,
    browser::{Browser, Page},
    http::Request,
    system::System,
    wait::{self, PATIENCE},
};
use tempfile::TempDir;

/// From a token's end to that of everything it has opened.
const END: Duration = Duration::from_secs(2);

/// A system that asks for tokens, and the folder of their file.
fn guarded() -> (System, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let auth = format!("[http.auth]\nmode = \"token\"\ntokens = {:?}\n", tokens(folder.path()));
    let system = System::start_with(&[("test", "test:"), ("door", "test:")], &auth).unwrap();
    (system, folder)
}

fn tokens(folder: &Path) -> String {
    folder.join("tokens.toml").display().to_string()
}

fn bridgectl(system: &System, arguments: &[&str]) -> String {
    let output = system.bridgectl(arguments).unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn until_asked_to_log_in(page: &Page) {
    page.until_holds("document.querySelector('form#login') !== null && document.readyState === 'complete'")
        .unwrap();
}

#[test]
fn viewer_logs_in_and_is_out_within_two_seconds_of_its_tokens_end() {
    let (system, _folder) = guarded();
    let token = bridgectl(&system, &["token", "new", "wall", "--scope", "view"]);
    assert!(bridgectl(&system, &["token", "list"]).contains("wall"));
    let page = Browser::start().unwrap().open(&system.url("/s/test")).unwrap();
    until_asked_to_log_in(&page);
    axe::judge(&page).unwrap();
    page.evaluate(&format!(
        "document.querySelector('#token').value = '{token}'; document.querySelector('form').requestSubmit()"
    ))
    .unwrap();
    page.until_holds("document.querySelector('video') !== null").unwrap();
    page.until_live().unwrap();
    wait::until_true("the viewer, its path, loss and rate", PATIENCE, || {
        let viewers = bridgectl(&system, &["viewers", "test"]);
        let told = ["token wall", "127.0.0.1", "udp ", " % ", " Mb/s"];
        Ok(told.iter().all(|part| viewers.contains(part)))
    })
    .unwrap();

    // The cookie outlives the process that gave it, as the session does.
    system.kill_and_await("signaling").unwrap();
    let (session, before) = (page.sessions().unwrap(), page.decoded().unwrap());
    wait::until_true("pictures after the kill", PATIENCE, || Ok(page.decoded()? > before)).unwrap();
    assert_eq!(page.sessions().unwrap(), session);
    let list = page
        .evaluate("fetch('/api/v1/streams').then(({ status }) => status)")
        .unwrap();
    assert_eq!(list, 200);

    bridgectl(&system, &["token", "revoke", "wall"]);
    let revoked = Instant::now();
    wait::until_true("the session to end", END, || {
        Ok(!bridgectl(&system, &["viewers"]).contains("token wall"))
    })
    .unwrap();
    page.until_holds("document.querySelector('#reason').textContent.includes('your access has ended')")
        .unwrap();
    assert!(revoked.elapsed() < END, "it took {:?}", revoked.elapsed());
    let at_the_end = page.decoded().unwrap();
    page.evaluate("document.querySelector('a#login').click()").unwrap();
    until_asked_to_log_in(&page);
    assert!(at_the_end > before);
}

#[test]
fn link_lets_one_in_to_what_it_is_for() {
    let (system, _folder) = guarded();
    let link = bridgectl(&system, &["link", "--stream", "door", "--at", &system.url("")]);
    let browser = Browser::start().unwrap();
    let page = browser.open(&link).unwrap();
    page.until_holds("location.pathname === '/s/door' && document.querySelector('video') !== null")
        .unwrap();
    page.until_live().unwrap();
    let other = page
        .evaluate("fetch('/api/v1/streams/test').then(({ status }) => status)")
        .unwrap();
    assert_eq!(other, 404);
    let again = browser.open(&link).unwrap();
    again
        .until_holds("document.querySelector('#notice')?.textContent.includes('used already') ?? false")
        .unwrap();
}

#[test]
fn passwords_of_sources_are_nowhere_to_be_read() {
    let source = "rtsp://admin:SECRET1@127.0.0.1:1/live?password=SECRET2";
    let system = System::start(&[("cam", source)]).unwrap();
    wait::until_true("the source to have failed", PATIENCE, || {
        system.get("/api/v1/streams/cam/snapshot.jpg")?;
        Ok(system.stream("cam")?.state == StreamState::Unavailable)
    })
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("framebridge.toml");
    fs::write(&file, format!("[streams.cam]\nsource = {source:?}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let checked = bridgectl(&system, &["config", "check", "--config", &file.display().to_string()]);
    assert!(
        checked.contains("warning: ") && checked.contains("chmod 640"),
        "{checked}"
    );
    let shown = [
        system.get("/api/v1/streams").unwrap().text(),
        system.get("/api/v1/status").unwrap().text(),
        bridgectl(&system, &["config", "print"]),
        checked,
        system.log().unwrap(),
    ];
    for text in shown {
        assert!(!text.contains("SECRET"), "{text}");
    }
}

#[test]
fn https_is_served_from_a_certificate_of_our_own_and_http_leads_there() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = System::start(&[("test", "test:")]).unwrap();
    let out = folder.path().display().to_string();
    let printed = bridgectl(
        &nowhere,
        &["certificate", "self-signed", "--expires", "5d", "--out", &out],
    );
    assert!(
        printed.contains("[http.tls]") && printed.contains("127.0.0.1"),
        "{printed}"
    );
    drop(nowhere);
    let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    let tls = format!("[http.tls]\ncertificate = {certificate:?}\nkey = {key:?}\n");
    let system = System::start_with(&[("test", "test:")], &tls).unwrap();
    let led = Request::new("GET", "/s/test?x=1").send(system.http()).unwrap();
    assert_eq!(led.status, 308);
    assert_eq!(
        led.header("location"),
        Some(&*format!("https://{}/s/test?x=1", system.http()))
    );
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    // It is watched over, and bridge and operators reach it, as before.
    wait::until_true("signaling to be well", PATIENCE, || {
        Ok(system.process("signaling")?.state == ProcessState::Running && system.process("signaling")?.restarts == 0)
    })
    .unwrap();
    bridgectl(&system, &["viewers"]);
    // Whoever asks how a stream is hears that nobody will come in soon.
    wait::until_true("why to tell of the certificate", PATIENCE, || {
        // Until its encoder is there the stream is not well, and `why` says so by its exit code.
        let why = system.bridgectl(&["why", "test"])?.stdout;
        Ok(String::from_utf8_lossy(&why).contains("the certificate of HTTPS ends in 4 days: renew it"))
    })
    .unwrap();
}
