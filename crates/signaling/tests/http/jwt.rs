//! Tokens of an identity provider: what they open, and for how long.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use data_encoding::BASE64URL_NOPAD;
use hyper::{Method, StatusCode};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt as _, time::timeout};

use crate::{
    encoder::{Encoder, Script},
    site::{Answer, PATIENCE, Site, TWO_STREAMS},
    whip::{feed, offer},
};

const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// Trickles one candidate of the offer's ICE generation.
const TRICKLE: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
    a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\n";

/// A signaling that takes the tokens of a provider, whose key pair this is.
struct Provided {
    site: Site,
    keys: PathBuf,
    _folder: tempfile::TempDir,
}

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64URL_NOPAD.encode(bytes.as_ref())
}

/// A key set with the public part of the pair of this seed.
fn key_set(seed: u8) -> String {
    let x = encode(pair(seed).public_key());
    json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": x }] }).to_string()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A token for an hour, but for these claims.
fn token(seed: u8, changes: &Value) -> String {
    let mut claims = json!({
        "iss": "https://idp.example", "aud": "framebridge", "sub": "ada", "exp": now() + 3600, "scope": "view",
    });
    let fields = claims.as_object_mut().unwrap();
    fields.extend(changes.as_object().unwrap().clone());
    let message = format!("{}.{}", encode(r#"{"alg":"EdDSA"}"#), encode(claims.to_string()));
    let signature = pair(seed).sign(message.as_bytes());
    format!("{message}.{}", encode(signature))
}

impl Provided {
    async fn start() -> Self {
        Self::with(TWO_STREAMS).await
    }

    async fn with(streams: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("jwks.json");
        fs::write(&keys, key_set(1)).unwrap();
        let configuration = format!(
            "[http.auth]\nmode = \"token\"\n[http.auth.jwt]\nkeys = {keys:?}\nissuer = \"https://idp.example\"\n\
             audience = \"framebridge\"\n{streams}"
        );
        Self {
            site: Site::with(&configuration).await,
            keys,
            _folder: folder,
        }
    }

    async fn ask(&self, token: &str, method: Method, path: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        self.site.send(method, path, &[("authorization", &bearer)], "").await
    }

    async fn join(&self, token: &str) -> String {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/sdp")];
        let offer = crate::whep::OFFER;
        let joined = self.site.send(Method::POST, "/whep/test", &headers, offer).await;
        assert_eq!(joined.status, StatusCode::CREATED, "{joined:?}");
        joined.header("location").to_owned()
    }

    async fn publish(&self, token: &str, stream: &str) -> String {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/sdp")];
        let path = format!("/whip/{stream}");
        let answer = self.site.send(Method::POST, &path, &headers, offer()).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        answer.header("location").to_owned()
    }

    async fn trickle(&self, token: &str, session: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("content-type", FRAGMENT)];
        self.site.send(Method::PATCH, session, &headers, TRICKLE).await
    }
}

#[tokio::test]
async fn token_of_the_provider_opens_what_it_says_and_nothing_else() {
    let provided = Provided::start().await;
    let keyframe = "/api/v1/streams/test/keyframe";
    let viewer = token(1, &json!({}));
    let list = provided.ask(&viewer, Method::GET, "/api/v1/streams").await;
    assert_eq!(list.json()["streams"].as_array().unwrap().len(), 2);
    provided
        .ask(&viewer, Method::POST, keyframe)
        .await
        .problem(403, "scope");
    let controller = token(
        1,
        &json!({ "scope": "openid framebridge:control", "streams": ["test"] }),
    );
    let passed = provided.ask(&controller, Method::POST, keyframe).await;
    passed.problem(409, "encoder_unavailable");
    let door = provided.ask(&controller, Method::GET, "/api/v1/streams/door").await;
    door.problem(404, "unknown_stream");
    let stranger = token(1, &json!({ "scope": "openid" }));
    provided
        .ask(&stranger, Method::GET, "/api/v1/streams")
        .await
        .problem(403, "scope");
    for bad in [
        token(2, &json!({})),
        token(1, &json!({ "exp": now() })),
        token(1, &json!({ "aud": "other" })),
    ] {
        let refused = provided.ask(&bad, Method::GET, "/api/v1/streams").await;
        refused.problem(401, "invalid_token");
    }
}

#[tokio::test]
async fn page_is_logged_in_by_a_token_of_the_provider() {
    let provided = Provided::start().await;
    let body = json!({ "token": token(1, &json!({ "scope": "admin" })) }).to_string();
    let json = [("content-type", "application/json")];
    let let_in = provided.site.send(Method::POST, "/login", &json, body).await;
    assert_eq!(let_in.status, StatusCode::OK, "{let_in:?}");
    let cookie = let_in.header("set-cookie").split(';').next().unwrap();
    let status = provided
        .site
        .send(Method::GET, "/api/v1/status", &[("cookie", cookie)], "")
        .await;
    assert_eq!(status.status, StatusCode::OK);
}

#[tokio::test]
async fn session_lasts_as_long_as_its_owners_newest_token() {
    let provided = Provided::start().await;
    let _encoder = Encoder::start(&provided.site.dir, "test", Script::Opens).await;
    let (ada, operator) = (
        |exp: u64| token(1, &json!({ "exp": exp })),
        token(1, &json!({ "sub": "op", "scope": "admin" })),
    );
    let soon = now() + 3;
    let (ends, goes_on) = (provided.join(&ada(soon)).await, provided.join(&ada(soon)).await);
    let renewed = provided.ask(&ada(now() + 3600), Method::GET, &goes_on).await;
    assert_eq!(renewed.status, StatusCode::NO_CONTENT);
    let started = Instant::now();
    let left = loop {
        assert!(started.elapsed() < PATIENCE, "the session goes on");
        let viewers = provided.ask(&operator, Method::GET, "/api/v1/viewers").await.json();
        let viewers = viewers["viewers"].as_array().unwrap().clone();
        if let [left] = &viewers[..] {
            break left["session"].as_str().unwrap().to_owned();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(goes_on.contains(&left) && !ends.contains(&left));
}

#[tokio::test]
async fn publisher_stays_as_long_as_its_newest_token() {
    let provided = Provided::with("[streams.live]\nsource = \"whip:\"\n[streams.other]\nsource = \"whip:\"\n").await;
    let ada = |exp: u64| token(1, &json!({ "exp": exp, "scope": "publish" }));
    let soon = now() + 3;
    let goes_on = provided.publish(&ada(soon), "other").await;
    provided.publish(&ada(soon), "live").await;
    let mut of_live = feed(&provided.site).await;
    let renewed = provided.trickle(&ada(now() + 3600), &goes_on).await;
    assert_eq!(renewed.status, StatusCode::NO_CONTENT, "{renewed:?}");
    let ended = timeout(PATIENCE, of_live.read(&mut [0; 1])).await;
    assert_eq!(ended.expect("the session goes on").unwrap(), 0);
    let later = provided.trickle(&ada(now() + 3600), &goes_on).await;
    assert_eq!(later.status, StatusCode::NO_CONTENT, "{later:?}");
}

#[tokio::test]
async fn keys_are_read_again_and_what_makes_no_sense_changes_nothing() {
    let provided = Provided::start().await;
    fs::write(&provided.keys, "{}").unwrap();
    let (before, after) = (token(1, &json!({})), token(2, &json!({})));
    let opens = async |token: &str| {
        let answer = provided.ask(token, Method::GET, "/api/v1/streams").await;
        answer.status == StatusCode::OK
    };
    let watched = Instant::now();
    while watched.elapsed() < Duration::from_millis(1200) {
        assert!(opens(&before).await);
    }
    fs::write(&provided.keys, key_set(2)).unwrap();
    let started = Instant::now();
    while opens(&before).await {
        assert!(started.elapsed() < PATIENCE, "the old key goes on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(opens(&after).await);
}
