//! What is told as it changes.

use serde_json::Value;
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
        let mut stream = TcpStream::connect(site.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", site.address);
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
