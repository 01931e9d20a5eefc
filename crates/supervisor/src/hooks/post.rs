//! Posts what happened to a web address, signed as Standard Webhooks has it (<https://www.standardwebhooks.com>), for which
//! receivers have libraries.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use anyhow::{Context as _, ensure};
use data_encoding::BASE64;
use framebridge_daemon::since_epoch;
use framebridge_dial::Server;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode, Uri, body::Bytes, header};
use ring::hmac;
use rustix::fs::OFlags;
use tokio::task::spawn_blocking;

use super::{Failure, bulletin::Bulletin};

/// What a secret in base64 begins with, by the standard.
const IN_BASE64: &str = "whsec_";

/// The shortest key, bytes, by the standard.
const SHORTEST_KEY: usize = 24;

/// The longest file of a secret: the standard's longest key is 64 bytes.
const LONGEST_FILE: u64 = 4096;

/// The bits of a file's mode that let others than its owner and group at it.
const OTHERS: u32 = 0o007;

/// Posts it once.
pub(super) async fn send(url: &str, secret_file: Option<&Path>, bulletin: &Bulletin, lost: u64) -> Result<(), Failure> {
    let uri: Uri = url.parse().map_err(|_| Failure::lasting("its address can't be read"))?;
    let body = bulletin.json(lost);
    let key = match secret_file.map(Path::to_owned) {
        None => None,
        Some(file) => {
            let read = spawn_blocking(move || key(&file)).await;
            let read = read.map_err(anyhow::Error::from).and_then(|read| read);
            Some(read.map_err(|error| Failure::passing(format!("{error:#}")))?)
        }
    };
    let request = request(&uri, bulletin, body, key.as_ref())
        .map_err(|error| Failure::lasting(format!("its address can't be posted to: {error}")))?;
    let server = Server::of(&uri).ok_or_else(|| Failure::lasting("its address can't be read"))?;
    // What it says besides is not read: the connection is closed.
    let answer = framebridge_dial::exchange(&server, request, 0)
        .await
        .map_err(|error| Failure::passing(format!("{}: {:#}", server.host(), anyhow::Error::from(error))))?;
    judge(server.host(), answer.head.status)
}

/// Whether the server has it; if not, whether it may take it later.
fn judge(server: &str, status: StatusCode) -> Result<(), Failure> {
    let later = [
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::TOO_EARLY,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    let why = format!("{server} answered {status}");
    if status.is_success() {
        Ok(())
    } else if status.is_server_error() || later.contains(&status) {
        Err(Failure::passing(why))
    } else if status.is_redirection() {
        Err(Failure::lasting(format!("{why}: name the address that it leads to")))
    } else {
        Err(Failure::lasting(why))
    }
}

fn request(
    uri: &Uri,
    bulletin: &Bulletin,
    body: String,
    key: Option<&hmac::Key>,
) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let seconds = since_epoch().as_secs().to_string();
    let mut request = framebridge_dial::request(Method::POST, uri)
        .header(header::CONTENT_TYPE, "application/json")
        .header("webhook-id", &bulletin.id)
        .header("webhook-timestamp", &seconds);
    if let Some(key) = key {
        request = request.header("webhook-signature", signature(key, &bulletin.id, &seconds, &body));
    }
    request.body(Full::new(Bytes::from(body)))
}

/// By the standard: of id, time and body, so that none of them can be another's.
fn signature(key: &hmac::Key, id: &str, seconds: &str, body: &str) -> String {
    let signed = hmac::sign(key, format!("{id}.{seconds}.{body}").as_bytes());
    format!("v1,{}", BASE64.encode(signed.as_ref()))
}

/// The key in a file: the standard's `whsec_` and base64, or the first line as it is.
fn key(file: &Path) -> anyhow::Result<hmac::Key> {
    let shown = file.display();
    // A pipe that nobody writes to would keep whoever opens it.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let opened = fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(file)
        .with_context(|| format!("can't read {shown}"))?;
    let found = opened.metadata().with_context(|| format!("can't read {shown}"))?;
    ensure!(found.is_file(), "{shown} is no file");
    let mode = found.mode();
    ensure!(
        mode & OTHERS == 0,
        "everybody on this machine may read {shown}: chmod 640 {shown}"
    );
    let mut text = String::new();
    opened
        .take(LONGEST_FILE)
        .read_to_string(&mut text)
        .with_context(|| format!("can't read {shown}"))?;
    let line = text.lines().next().unwrap_or_default().trim();
    let bytes = match line.strip_prefix(IN_BASE64) {
        Some(encoded) => BASE64
            .decode(encoded.as_bytes())
            .with_context(|| format!("{shown} is no base64 behind {IN_BASE64}"))?,
        None => line.as_bytes().to_vec(),
    };
    ensure!(
        bytes.len() >= SHORTEST_KEY,
        "the secret in {shown} is too short: `openssl rand -base64 32` makes one"
    );
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn written(text: &str, mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), text).expect("written");
        fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).expect("ours");
        file
    }

    #[test]
    fn signature_is_the_standards() {
        // The example of the standard's own libraries.
        let file = written("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n", 0o600);
        let key = key(file.path()).expect("a key");
        let (id, seconds) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330");
        let signed = signature(&key, id, seconds, "{\"test\": 2432232314}");
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn secret_that_everybody_reads_or_guesses_is_refused() {
        let long = "a secret that is long enough";
        assert!(key(written(long, 0o640).path()).is_ok());
        for (text, mode, said) in [
            (long, 0o644, "chmod 640"),
            ("short", 0o600, "too short"),
            ("", 0o600, "too short"),
            ("whsec_!", 0o600, "no base64"),
        ] {
            let error = key(written(text, mode).path()).expect_err(text);
            assert!(error.to_string().contains(said), "{error:#}");
        }
    }

    #[test]
    fn what_a_server_refuses_for_good_is_not_pressed_on_it() {
        for (status, again) in [
            (500, true),
            (503, true),
            (429, true),
            (400, false),
            (404, false),
            (301, false),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let failure = judge("server", status).expect_err("refused");
            assert_eq!(failure.again, again, "{failure:?}");
        }
        assert!(judge("server", StatusCode::NO_CONTENT).is_ok());
    }
}
