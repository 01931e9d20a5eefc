//! Tokens, scopes, cookies and links: who gets in, how far, and for how long.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use framebridge_auth::{Register, Row, Scope, Streams, hash};
use hyper::{Method, StatusCode};
use serde_json::json;

use crate::{
    encoder::{Encoder, Script},
    site::{Answer, Site, TWO_STREAMS},
};

const JSON: (&str, &str) = ("content-type", "application/json");

/// A signaling that asks for tokens: `viewer`, `door` (which sees that stream only), `controller` and `operator`, each its own
/// token.
struct Guarded {
    site: Site,
    tokens: PathBuf,
    _folder: tempfile::TempDir,
}

pub(crate) fn row(name: &str, scope: Scope, stream: Option<&str>) -> Row {
    Row {
        name: name.parse().unwrap(),
        hash: hash(name),
        scope,
        streams: Streams::only(stream.map(|stream| stream.parse().unwrap())),
        expires: None,
    }
}

pub(crate) fn write(path: &Path, rows: impl IntoIterator<Item = Row>) {
    let mut register = Register::default();
    rows.into_iter().for_each(|row| register.add(row).unwrap());
    let fresh = path.with_extension("new");
    fs::write(&fresh, register.to_text().unwrap()).unwrap();
    fs::rename(fresh, path).unwrap();
}

impl Guarded {
    async fn start(http: &str, auth: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tokens = folder.path().join("tokens.toml");
        write(
            &tokens,
            [
                row("viewer", Scope::View, None),
                row("door", Scope::View, Some("door")),
                row("controller", Scope::Control, None),
                row("operator", Scope::Admin, None),
            ],
        );
        let configuration =
            format!("[http]\n{http}\n[http.auth]\nmode = \"token\"\ntokens = {tokens:?}\n{auth}\n{TWO_STREAMS}");
        Self {
            site: Site::with(&configuration).await,
            tokens,
            _folder: folder,
        }
    }

    async fn plain() -> Self {
        Self::start("", "").await
    }

    async fn ask(&self, token: &str, method: Method, path: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        self.site.send(method, path, &[("authorization", &bearer)], "").await
    }

    async fn get(&self, token: &str, path: &str) -> Answer {
        self.ask(token, Method::GET, path).await
    }

    async fn join(&self, token: &str, stream: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/sdp")];
        let path = format!("/whep/{stream}");
        self.site.send(Method::POST, &path, &headers, crate::whep::OFFER).await
    }

    /// Logs in, and returns the cookie.
    async fn log_in(&self, shown: &str) -> String {
        let answer = self.site.send(Method::POST, "/login", &[JSON], shown.to_owned()).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let cookie = answer.header("set-cookie");
        assert!(
            cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"),
            "{cookie}"
        );
        cookie.split(';').next().unwrap().to_owned()
    }
}

#[tokio::test]
async fn nobody_without_a_token_sees_more_than_the_door() {
    let guarded = Guarded::plain().await;
    for path in ["/api/v1/health", "/login", "/page/style.css", "/page/login.js"] {
        assert_eq!(guarded.site.get(path).await.status, StatusCode::OK, "{path}");
    }
    for path in ["/", "/wall", "/s/test", "/s/nothing"] {
        let page = guarded.site.get(path).await;
        assert_eq!(page.status, StatusCode::UNAUTHORIZED, "{path}");
        assert!(
            page.text().contains("id=login") && !page.text().contains("{root}"),
            "{page:?}"
        );
    }
    let documented = guarded.get("operator", "/api/v1/openapi.json").await.json();
    let open = [
        "/",
        "/wall",
        "/s/{stream}",
        // It tells of no stream, and leads to where one has to log in.
        "/s/{stream}/",
        "/page/{file}",
        "/login",
        "/logout",
        "/api/v1/health",
    ];
    for (path, methods) in documented["paths"].as_object().unwrap() {
        if open.contains(&path.as_str()) {
            continue;
        }
        let asked = path.replace("{stream}", "test").replace("{session}", &"0".repeat(32));
        for method in methods
            .as_object()
            .unwrap()
            .keys()
            .filter(|method| *method != "options")
        {
            let method: Method = method.to_uppercase().parse().unwrap();
            let answer = guarded.site.send(method, &asked, &[], "").await;
            answer.problem(401, "unauthorized");
            assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"framebridge\"");
        }
    }
    guarded
        .get("nonsense", "/api/v1/streams")
        .await
        .problem(401, "invalid_token");
}

#[tokio::test]
async fn scope_opens_what_it_is_for() {
    let guarded = Guarded::plain().await;
    let streams = "/api/v1/streams";
    let clip = "/api/v1/streams/test/clip.mp4?last=1";
    for (token, path, status) in [
        ("viewer", streams, 200),
        ("viewer", "/", 200),
        ("viewer", clip, 403),
        ("viewer", "/api/v1/status", 403),
        ("viewer", "/metrics", 403),
        ("viewer", "/api/v1/viewers", 403),
        // It passes the gate; its encoder is not there.
        ("controller", clip, 409),
        ("controller", "/api/v1/status", 403),
        ("operator", "/api/v1/status", 200),
        ("operator", "/metrics", 200),
    ] {
        let answer = guarded.get(token, path).await;
        assert_eq!(answer.status.as_u16(), status, "{token} {path}: {answer:?}");
    }
    let refused = guarded
        .ask("viewer", Method::POST, "/api/v1/streams/test/keyframe")
        .await;
    refused.problem(403, "scope");
    assert!(refused.header("www-authenticate").contains("insufficient_scope"));
}

#[tokio::test]
async fn token_of_one_stream_knows_of_no_other() {
    let guarded = Guarded::plain().await;
    let list = guarded.get("door", "/api/v1/streams").await.json();
    assert_eq!(list["streams"].as_array().unwrap().len(), 1);
    assert_eq!(list["streams"][0]["name"], "door");
    for path in [
        "/api/v1/streams/test",
        "/api/v1/streams/test/events",
        "/whep/test",
        "/s/test",
    ] {
        guarded.get("door", path).await.problem(404, "unknown_stream");
    }
    guarded.join("door", "test").await.problem(404, "unknown_stream");
}

#[tokio::test]
async fn where_a_source_is_only_operators_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens.toml");
    write(
        &tokens,
        [row("viewer", Scope::View, None), row("operator", Scope::Admin, None)],
    );
    let site = Site::with(&format!(
        "[http.auth]\nmode = \"token\"\ntokens = {tokens:?}\n[streams.cam]\nsource = \"rtsp://u:secret@192.0.2.7/s\"\n"
    ))
    .await;
    let source = async |token: &str| {
        let bearer = format!("Bearer {token}");
        let path = "/api/v1/streams/cam";
        let answer = site.send(Method::GET, path, &[("authorization", &bearer)], "").await;
        answer.json()["source"].clone()
    };
    assert_eq!(source("viewer").await, "rtsp:");
    let told = source("operator").await.to_string();
    assert!(told.contains("192.0.2.7") && !told.contains("secret"), "{told}");
}

#[tokio::test]
async fn session_is_its_openers_alone() {
    let guarded = Guarded::plain().await;
    let _encoder = Encoder::start(&guarded.site.dir, "test", Script::Opens).await;
    let joined = guarded.join("viewer", "test").await;
    assert_eq!(joined.status, StatusCode::CREATED, "{joined:?}");
    let location = joined.header("location").to_owned();
    let shown = location.replace("/whep/test", "/api/v1/streams/test/sessions");
    for path in [&location, &shown] {
        guarded.get("controller", path).await.problem(404, "unknown_session");
    }
    guarded
        .ask("controller", Method::DELETE, &location)
        .await
        .problem(404, "unknown_session");
    let viewers = guarded.get("operator", "/api/v1/viewers").await.json();
    assert_eq!(viewers["viewers"][0]["principal"], "token viewer");
    assert_eq!(viewers["viewers"][0]["address"], "127.0.0.1");
    let session = viewers["viewers"][0]["session"].as_str().unwrap();
    assert!(location.contains(session) && session.len() == 8);
    assert_eq!(
        guarded.ask("viewer", Method::DELETE, &location).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn viewer_that_is_sent_away_is_gone() {
    let guarded = Guarded::plain().await;
    let _encoder = Encoder::start(&guarded.site.dir, "test", Script::Opens).await;
    let joined = guarded.join("viewer", "test").await;
    let location = joined.header("location").to_owned();
    let brief = &location.rsplit('/').next().unwrap()[..8];
    let kick = |digits: &str| format!("/api/v1/viewers/{digits}");
    guarded
        .ask("operator", Method::DELETE, &kick(""))
        .await
        .problem(404, "not_found");
    guarded
        .ask("operator", Method::DELETE, &kick(&brief[..7]))
        .await
        .problem(404, "unknown_session");
    let gone = guarded.ask("operator", Method::DELETE, &kick(brief)).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    guarded.get("viewer", &location).await.problem(404, "unknown_session");
    let id = location.rsplit('/').next().unwrap();
    let session = guarded
        .get("viewer", &format!("/api/v1/streams/test/sessions/{id}"))
        .await
        .json();
    assert_eq!(
        (&session["state"], &session["sent_away"]),
        (&"closed".into(), &true.into())
    );
}

#[tokio::test]
async fn token_that_was_made_this_moment_is_good_at_once() {
    let guarded = Guarded::plain().await;
    for name in ["first", "second", "third"] {
        let asked = guarded.get(name, "/api/v1/streams").await;
        asked.problem(401, "invalid_token");
        write(&guarded.tokens, [row(name, Scope::View, None)]);
        assert_eq!(
            guarded.get(name, "/api/v1/streams").await.status,
            StatusCode::OK,
            "{name}"
        );
    }
}

#[tokio::test]
async fn revoked_token_ends_what_it_opened_within_two_seconds() {
    let guarded = Guarded::plain().await;
    let _encoder = Encoder::start(&guarded.site.dir, "test", Script::Opens).await;
    let cookie = guarded.log_in(r#"{"token": "viewer"}"#).await;
    assert_eq!(guarded.join("viewer", "test").await.status, StatusCode::CREATED);
    let other = guarded.join("controller", "test").await;
    write(
        &guarded.tokens,
        [
            row("controller", Scope::Control, None),
            row("operator", Scope::Admin, None),
        ],
    );
    let revoked = Instant::now();
    let viewers = async || {
        guarded.get("operator", "/api/v1/viewers").await.json()["viewers"]
            .as_array()
            .unwrap()
            .len()
    };
    while viewers().await > 1 {
        assert!(revoked.elapsed() < Duration::from_secs(2), "the session goes on");
        tokio::task::yield_now().await;
    }
    guarded
        .get("viewer", "/api/v1/streams")
        .await
        .problem(401, "invalid_token");
    let by_cookie = guarded
        .site
        .send(Method::GET, "/api/v1/streams", &[("cookie", &cookie)], "")
        .await;
    by_cookie.problem(401, "unauthorized");
    let kept = guarded.get("controller", other.header("location")).await;
    assert_eq!(kept.status, StatusCode::NO_CONTENT, "the other's session goes on");
}

#[tokio::test]
async fn file_of_tokens_that_makes_no_sense_changes_nothing() {
    let guarded = Guarded::plain().await;
    fs::write(&guarded.tokens, "nonsense").unwrap();
    let watched = Instant::now();
    while watched.elapsed() < Duration::from_millis(1200) {
        assert_eq!(guarded.get("viewer", "/api/v1/streams").await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn cookie_opens_pages_and_changes_something_for_them_alone() {
    let guarded = Guarded::plain().await;
    let cookie = guarded.log_in(r#"{"token": " controller\n"}"#).await;
    let cookie = ("cookie", cookie.as_str());
    let list = guarded.site.send(Method::GET, "/api/v1/streams", &[cookie], "").await;
    assert_eq!(list.status, StatusCode::OK);
    let keyframe = "/api/v1/streams/test/keyframe";
    for path in [keyframe, "/whep/test"] {
        guarded
            .site
            .send(Method::POST, path, &[cookie], "")
            .await
            .problem(403, "cross_origin");
        let foreign = [cookie, ("origin", "https://evil.example")];
        guarded
            .site
            .send(Method::POST, path, &foreign, "")
            .await
            .problem(403, "cross_origin");
    }
    let own = format!("http://{}", guarded.site.address);
    guarded
        .site
        .send(Method::POST, keyframe, &[cookie, ("origin", &own)], "")
        .await
        .problem(409, "encoder_unavailable");
    let out = guarded.site.send(Method::POST, "/logout", &[cookie], "").await;
    assert!(out.header("set-cookie").contains("Max-Age=0"), "{out:?}");
    for wrong in [r#"{"token": "a", "code": "b"}"#, "{}", "[]", r#"{"tokens": "a"}"#] {
        let answer = guarded.site.send(Method::POST, "/login", &[JSON], wrong).await;
        answer.problem(400, "invalid_login");
    }
}

#[tokio::test]
async fn link_opens_once_and_what_it_is_for() {
    let guarded = Guarded::plain().await;
    let made = guarded
        .site
        .send_as_own(Method::POST, "/api/v1/links", &[JSON], r#"{"stream": "door"}"#)
        .await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let code = made.json()["path"]
        .as_str()
        .unwrap()
        .strip_prefix("/login#")
        .unwrap()
        .to_owned();
    let shown = json!({ "code": code }).to_string();
    let cookie = guarded.log_in(&shown).await;
    let list = guarded
        .site
        .send(Method::GET, "/api/v1/streams", &[("cookie", &cookie)], "")
        .await
        .json();
    assert_eq!(list["streams"].as_array().unwrap().len(), 1);
    assert_eq!(list["streams"][0]["name"], "door");
    let again = guarded.site.send(Method::POST, "/login", &[JSON], shown).await;
    again.problem(401, "invalid_token");
    for bad in [r#"{"scope": "admin"}"#, r#"{"stream": "A"}"#, "[]"] {
        let refused = guarded
            .site
            .send_as_own(Method::POST, "/api/v1/links", &[JSON], bad)
            .await;
        refused.problem(400, "invalid_link");
    }
}

#[tokio::test]
async fn who_guesses_waits_and_nobody_else_does() {
    let guarded = Guarded::start("trusted_proxies = [\"127.0.0.1\"]", "").await;
    let guess = async |from: &str, token: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("x-forwarded-for", from)];
        guarded.site.send(Method::GET, "/api/v1/streams", &headers, "").await
    };
    for _ in 0..5 {
        guess("192.0.2.1", "wrong").await.problem(401, "invalid_token");
    }
    let told = guess("192.0.2.1", "wrong").await;
    told.problem(429, "too_many_wrong_tokens");
    assert!((1..=2).contains(&told.retry_after()));
    guess("203.0.113.9, 192.0.2.2", "wrong")
        .await
        .problem(401, "invalid_token");
    assert_eq!(guess("192.0.2.1", "viewer").await.status, StatusCode::OK);
}

#[tokio::test]
async fn only_our_own_processes_say_for_whom_they_ask() {
    let guarded = Guarded::plain().await;
    let claim = [("framebridge-access", "control")];
    let stranger = guarded.site.send(Method::GET, "/api/v1/streams", &claim, "").await;
    stranger.problem(401, "unauthorized");

    let list = async |access: &str| {
        let headers = [("framebridge-access", access)];
        guarded
            .site
            .send_as_own(Method::GET, "/api/v1/streams", &headers, "")
            .await
    };
    assert_eq!(list("view").await.json()["streams"].as_array().unwrap().len(), 2);
    assert_eq!(
        list("view; stream=door").await.json()["streams"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    list("admin").await.problem(401, "unauthorized");
    let status = guarded
        .site
        .send_as_own(Method::GET, "/api/v1/status", &[("framebridge-access", "control")], "")
        .await;
    status.problem(403, "scope");
    let operator = guarded.site.send_as_own(Method::GET, "/api/v1/status", &[], "").await;
    assert_eq!(operator.status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_open_needs_no_token_and_the_rest_does() {
    let guarded = Guarded::start("", "open = [\"view\"]").await;
    assert_eq!(guarded.site.get("/api/v1/streams").await.status, StatusCode::OK);
    guarded.site.get("/api/v1/status").await.problem(403, "scope");
    assert_eq!(guarded.get("operator", "/api/v1/status").await.status, StatusCode::OK);
}

#[tokio::test]
async fn each_viewer_gets_turn_credentials_of_its_own_that_end() {
    let site = Site::with(&format!(
        "{TWO_STREAMS}[[webrtc.ice_servers]]\nurls = [\"turn:turn.example:3478\"]\nsecret = \"shared with coturn\"\n"
    ))
    .await;
    let _encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    let link = async || site.offer("test", crate::whep::OFFER).await.header("link").to_owned();
    let (one, other) = (link().await, link().await);
    assert_ne!(one, other);
    assert!(!one.contains("shared with coturn"), "{one}");
    let until: u64 = one
        .split_once("username=\"")
        .and_then(|(_, rest)| rest.split_once(':'))
        .map(|(until, _)| until.parse().unwrap())
        .unwrap();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    assert!((now + 3500..=now + 3600).contains(&until), "{one}");
}
