//! What is asked of a receiver that a stream is sent on to, and what comes of its answers: a receiver by a script.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Response, Uri},
};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    encoder::{Encoder, Script},
    site::Site,
};

/// What the receiver was asked: method, path, `Authorization`.
type Asked = Arc<Mutex<Vec<(Method, String, String)>>>;

/// A receiver that answers each path as it is told, and all else with 404.
struct Receiver {
    address: SocketAddr,
    asked: Asked,
    /// Ends with it.
    _server: JoinSet<()>,
}

/// `(method, path)`, and status, headers and body of the answer.
type Answer = (
    &'static str,
    &'static str,
    u16,
    &'static [(&'static str, &'static str)],
    &'static str,
);

impl Receiver {
    async fn start(script: &'static [Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Asked::default();
        let seen = Arc::clone(&asked);
        let answer = move |method: Method, uri: Uri, headers: HeaderMap| {
            let token = headers.get("authorization").map_or("", |value| value.to_str().unwrap());
            let told = (method.clone(), uri.path().to_owned(), token.to_owned());
            seen.lock().unwrap().push(told);
            let found = script
                .iter()
                .find(|(of, path, ..)| *of == method.as_str() && *path == uri.path());
            let (_, _, status, headers, body) = found.unwrap_or(&("", "", 404, &[], ""));
            let mut response = Response::builder().status(*status);
            for (name, value) in *headers {
                response = response.header(*name, *value);
            }
            let response = response.body(Body::from(*body)).unwrap();
            async move { response }
        };
        let router = Router::new().fallback(answer);
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            address,
            asked,
            _server: server,
        }
    }

    fn asked(&self) -> Vec<(Method, String, String)> {
        self.asked.lock().unwrap().clone()
    }
}

/// A stream with pictures that is sent on to the receiver, and the push once it is in this state.
async fn pushed(receiver: &Receiver, state: &str) -> Value {
    let url = format!("http://{}/whip/x", receiver.address);
    let text = format!(
        "[streams.test]\nsource = \"test:\"\n[[streams.test.push]]\nname = \"there\"\nurl = \"{url}\"\ntoken = \"SECRET\"\n"
    );
    let site = Site::with(&text).await;
    let waiting = |status: &Value| status["streams"][0]["pushes"][0]["state"] == "waiting";
    site.shows("/api/v1/status", waiting).await;
    assert!(receiver.asked().is_empty(), "there is nothing to send");
    let _encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    let status = site
        .shows("/api/v1/status", |status| {
            status["streams"][0]["pushes"][0]["state"] == state
        })
        .await;
    status["streams"][0]["pushes"][0].clone()
}

#[tokio::test]
async fn redirect_takes_the_token_along_and_an_answer_of_no_use_is_ended_there() {
    let receiver = Receiver::start(&[
        ("POST", "/whip/x", 307, &[("location", "/node/x")], ""),
        ("POST", "/node/x", 201, &[("location", "session/7")], "v=0\r\nnonsense"),
        ("DELETE", "/node/session/7", 200, &[], ""),
    ])
    .await;
    let push = pushed(&receiver, "unacceptable").await;
    assert!(
        push["reason"].as_str().unwrap().contains("its answer is malformed"),
        "{push}"
    );
    assert_eq!((&push["name"], &push["session"]), (&Value::from("there"), &Value::Null));
    let token = || "Bearer SECRET".to_owned();
    let expected = [
        (Method::POST, "/whip/x".to_owned(), token()),
        (Method::POST, "/node/x".to_owned(), token()),
        (Method::DELETE, "/node/session/7".to_owned(), token()),
    ];
    assert_eq!(receiver.asked(), expected);
}

#[tokio::test]
async fn another_host_is_never_asked() {
    // The same machine by another name: it would answer.
    let other = Receiver::start(&[]).await;
    let location: &'static str =
        Box::leak(format!("http://localhost:{}/whip/x", other.address.port()).into_boxed_str());
    let headers: &'static [(&'static str, &'static str)] = Box::leak(Box::new([("location", location)]));
    for (status, body, state, said) in [
        (302, "", "failed", "another host"),
        (201, "nonsense", "unacceptable", "malformed"),
    ] {
        let script: &'static [Answer] = Box::leak(Box::new([("POST", "/whip/x", status, headers, body)]));
        let receiver = Receiver::start(script).await;
        let push = pushed(&receiver, state).await;
        assert!(push["reason"].as_str().unwrap().contains(said), "{push}");
        assert_eq!(receiver.asked().len(), 1);
    }
    assert!(other.asked().is_empty(), "neither with the offer nor to end a session");
}

#[tokio::test]
async fn receiver_that_asks_for_time_gets_it() {
    const DATES: &[(&str, &str)] = &[
        ("retry-after", "Sun, 06 Nov 1994 08:51:37 GMT"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ];
    for script in [
        &[("POST", "/whip/x", 503, &[("retry-after", "120")] as &[_], "")],
        &[("POST", "/whip/x", 503, DATES, "")],
    ] {
        let receiver = Receiver::start(script).await;
        let push = pushed(&receiver, "failed").await;
        assert!(push["reason"].as_str().unwrap().contains("503"), "{push}");
        assert!(push["retry_in_ms"].as_u64() > Some(60_000), "{push}");
    }
}
