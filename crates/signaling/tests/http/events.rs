//! What is told as it changes.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::TcpStream,
    time::timeout,
};

use crate::{
    encoder::{Encoder, Script},
    site::{PATIENCE, Site},
};

/// One who listens.
struct Ear(Lines<BufReader<TcpStream>>);

impl Ear {
    async fn to(site: &Site, path: &str) -> Self {
        Self::again(site, path, "").await
    }

    /// Of who has heard the event of this id before; empty: of none.
    async fn again(site: &Site, path: &str, id: &str) -> Self {
        let mut stream = TcpStream::connect(site.address).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nLast-Event-ID: {id}\r\n\r\n",
            site.address
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut ear = Self(BufReader::new(stream).lines());
        assert_eq!(ear.line().await.unwrap(), "HTTP/1.1 200 OK");
        ear.until("content-type: text/event-stream").await;
        ear
    }

    /// The next line; `None` at the end.
    async fn line(&mut self) -> Option<String> {
        let line = timeout(PATIENCE, self.0.next_line()).await.expect("a line in time");
        line.unwrap()
    }

    async fn until(&mut self, wanted: &str) {
        while self.line().await.expect("no end before") != wanted {}
    }

    /// Reads to the end of the answer; the connection may serve another.
    async fn until_end(&mut self) {
        // Its last chunk is empty.
        while self.line().await.is_some_and(|line| line != "0") {}
    }

    /// The name of the next event but beats.
    async fn next(&mut self) -> String {
        loop {
            let line = self.line().await.expect("no end before");
            if let Some(name) = line.strip_prefix("event: ").filter(|name| *name != "beat") {
                return name.to_owned();
            }
        }
    }

    /// The data of the next event of this name.
    async fn event(&mut self, name: &str) -> Value {
        self.until(&format!("event: {name}")).await;
        let line = self.line().await.unwrap();
        serde_json::from_str(line.strip_prefix("data: ").unwrap()).unwrap()
    }
}

#[tokio::test]
async fn changes_of_streams_are_told_to_who_listens_and_nothing_else_is() {
    let site = Site::start().await;
    let mut all = Ear::to(&site, "/api/v1/events").await;
    let mut one = Ear::to(&site, "/api/v1/streams/test/events").await;
    let mut other = Ear::to(&site, "/api/v1/streams/door/events").await;
    all.until("retry: 1000").await;
    let names: Vec<_> = all.event("streams").await["streams"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stream| stream["name"].clone())
        .collect();
    assert_eq!(names, ["door", "test"]);
    assert_eq!(one.event("stream").await["state"], "down");
    assert_eq!(other.event("stream").await["state"], "down");

    let _encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    while one.event("stream").await["state"] != "idle" {}
    while all.event("streams").await["streams"][1]["state"] != "idle" {}
    // What happens to one stream is no news of another, which is told all the same that somebody is there.
    let next = loop {
        let line = other.line().await.unwrap();
        if line.starts_with("event: ") {
            break line;
        }
    };
    assert_eq!(next, "event: beat");

    site.terminate();
    while all.line().await.is_some() {}
}

#[tokio::test]
async fn unknown_stream_has_no_events() {
    let site = Site::start().await;
    site.get("/api/v1/streams/none/events")
        .await
        .problem(404, "unknown_stream");
}

/// Opens an event stream of a session; where it is.
async fn opened(site: &Site, session: &str, body: &'static str) -> String {
    let headers: &[_] = match body {
        "" => &[],
        _ => &[("content-type", "application/json")],
    };
    let opened = site.send(Method::POST, &format!("{session}/sse"), headers, body).await;
    assert_eq!(opened.status, StatusCode::CREATED, "{opened:?}");
    opened.header("location").to_owned()
}

#[tokio::test]
async fn viewer_is_told_of_its_session_what_it_has_asked_for() {
    let site = Site::start().await;
    let encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    let (session, _) = site.join("test").await;
    site.shows("/api/v1/streams/test", |stream| stream["state"] == "live")
        .await;
    let every = opened(&site, &session, "").await;
    assert_eq!(every, format!("{session}/sse/active-inactive-reconnect-viewercount"));
    let few = opened(&site, &session, r#"["inactive", "layers", "active"]"#).await;
    assert_eq!(few, format!("{session}/sse/active-inactive"));

    let (mut all, mut few_ear) = (Ear::to(&site, &every).await, Ear::to(&site, &few).await);
    assert_eq!(all.event("active").await, json!({}));
    assert_eq!(all.event("viewercount").await, json!({ "viewercount": 1 }));
    few_ear.until("event: active").await;
    let (second, _) = site.join("test").await;
    assert_eq!(all.event("viewercount").await, json!({ "viewercount": 2 }));
    encoder.die();
    assert_eq!(all.event("inactive").await, json!({}));
    // Of two events it was told one, and then the other.
    assert_eq!(few_ear.next().await, "inactive");
    few_ear.until("id: inactive").await;

    // Who comes back is told what it has missed; who has heard nothing is not told that nothing comes.
    let mut back = Ear::again(&site, &few, "active").await;
    back.event("inactive").await;
    let mut fresh = Ear::to(&site, &every).await;
    assert_eq!(fresh.next().await, "viewercount");

    // It ends by itself, and all with their session.
    assert_eq!(site.send(Method::DELETE, &few, &[], "").await.status, StatusCode::OK);
    back.until_end().await;
    site.get(&few).await.problem(404, "unknown_events");
    site.send(Method::DELETE, &few, &[], "")
        .await
        .problem(404, "unknown_events");
    assert_eq!(
        opened(&site, &session, r#"["active", "inactive"]"#).await,
        few,
        "it is opened again"
    );
    let mut again = Ear::to(&site, &few).await;
    site.send(Method::DELETE, &session, &[], "").await;
    again.until_end().await;
    all.until_end().await;
    site.get(&few).await.problem(404, "unknown_session");
    site.send(Method::DELETE, &second, &[], "").await;
}

#[tokio::test]
async fn server_that_goes_has_its_viewers_begin_anew() {
    let site = Site::start().await;
    let _encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    let (session, _) = site.join("test").await;
    let events = opened(&site, &session, "[]").await;
    let mut ear = Ear::to(&site, &events).await;
    ear.until("event: viewercount").await;
    site.terminate();
    assert_eq!(ear.event("reconnect").await, json!({}));
    while ear.line().await.is_some() {}
}

#[tokio::test]
async fn event_stream_that_can_not_be_is_refused_with_the_reason() {
    let site = Site::start().await;
    let _encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    let (session, _) = site.join("test").await;
    let json = ("content-type", "application/json");
    let post = async |kind, body: &'static str| site.send(Method::POST, &format!("{session}/sse"), &[kind], body).await;
    post(json, "{}").await.problem(400, "invalid");
    post(json, r#"["layers"]"#).await.problem(400, "unknown_events");
    post(("content-type", "text/plain"), "active")
        .await
        .problem(415, "unsupported_media_type");
    for unknown in ["layers", "inactive-active", ""] {
        let answer = site.get(&format!("{session}/sse/{unknown}")).await;
        assert!(answer.status.is_client_error(), "{unknown}: {answer:?}");
    }
    let nobody = format!("/whep/test/{}/sse", "0".repeat(32));
    site.send(Method::POST, &nobody, &[], "")
        .await
        .problem(404, "unknown_session");
    // Of another stream than its own.
    let elsewhere = session.replace("/test/", "/door/");
    site.get(&format!("{elsewhere}/sse/active"))
        .await
        .problem(404, "unknown_session");
}
