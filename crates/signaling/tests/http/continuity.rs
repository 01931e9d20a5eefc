//! What viewers keep when something else ends.

use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    encoder::{Encoder, Script},
    site::Site,
};

#[tokio::test]
async fn encoder_that_dies_and_returns_costs_no_viewer_its_session() {
    let site = Site::start().await;
    let first = Encoder::start(&site.dir, "test", Script::Opens).await;
    let (session, _) = site.join("test").await;
    let before = site
        .shows("/api/v1/streams/test", |stream| {
            stream["frames_received"].as_u64() > Some(3)
        })
        .await;

    first.die();
    let down = site
        .shows("/api/v1/streams/test", |stream| stream["state"] == "down")
        .await;
    assert!(
        down["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("not reachable")),
        "{down}"
    );
    assert_eq!(site.get(&session).await.status, StatusCode::NO_CONTENT);

    let second = Encoder::start(&site.dir, "test", Script::Opens).await;
    second
        .sees("the subscription, without anybody's doing", |seen| seen.subscribed)
        .await;
    let frames = before["frames_received"].as_u64();
    site.shows("/api/v1/streams/test", |stream| {
        stream["state"] == "live" && stream["frames_received"].as_u64() > frames.map(|frames| frames + 3)
    })
    .await;
    assert_eq!(site.get(&session).await.status, StatusCode::NO_CONTENT);
    assert_eq!(site.get("/api/v1/streams/test").await.json()["viewers"], 1);
}

#[tokio::test]
async fn post_that_waits_gets_its_session_when_the_encoder_comes_back() {
    let site = Site::start().await;
    let (answer, _encoder) = tokio::join!(site.offer("test", crate::whep::OFFER), async {
        site.shows("/api/v1/streams/test", |stream| stream["viewers"] == 1)
            .await;
        Encoder::start(&site.dir, "test", Script::Opens).await
    });
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
}

#[tokio::test]
async fn post_that_is_abandoned_leaves_no_place_taken() {
    let site = Site::start().await;
    let _encoder = Encoder::start(&site.dir, "test", Script::Hangs).await;
    let mut client = begin_to_join(&site).await;
    client.write_all(crate::whep::OFFER.as_bytes()).await.unwrap();
    let viewers = async |count: u32| {
        site.shows("/api/v1/streams/test", |stream| stream["viewers"] == count)
            .await
    };
    viewers(1).await;
    drop(client);
    let gone = Instant::now();
    viewers(0).await;
    // The POST itself would have waited for longer, and the viewer's place for longer still.
    assert!(gone.elapsed() < Duration::from_secs(2), "{:?}", gone.elapsed());
}

/// A viewer who has announced an offer and has not sent it yet.
async fn begin_to_join(site: &Site) -> TcpStream {
    let mut client = TcpStream::connect(site.address).await.unwrap();
    let head = format!(
        "POST /whep/test HTTP/1.1\r\nhost: {}\r\ncontent-type: application/sdp\r\ncontent-length: {}\r\n\r\n",
        site.address,
        crate::whep::OFFER.len()
    );
    client.write_all(head.as_bytes()).await.unwrap();
    client
}

#[tokio::test]
async fn viewer_who_comes_while_it_drains_is_told_when_to_come_again() {
    let site = Site::start().await;
    let _encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    // Their requests are taken up before the end, and decided upon after it has begun.
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(begin_to_join(&site).await);
    }
    assert_eq!(site.get("/api/v1/health").await.status, StatusCode::OK);
    let started = Instant::now();
    site.terminate();
    let closed = async { while TcpStream::connect(site.address).await.is_ok() {} };
    timeout(Duration::from_secs(5), closed)
        .await
        .expect("nobody new is let in");
    for mut client in clients {
        client.write_all(crate::whep::OFFER.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        let head = answer.to_ascii_lowercase();
        assert!(
            head.starts_with("http/1.1 503 ") && head.contains("\r\nretry-after: ") && head.contains("draining"),
            "{answer}"
        );
    }
    site.ended().await;
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
}

#[tokio::test]
async fn termination_ends_sessions_and_process_within_its_time() {
    let site = Site::start().await;
    let _encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    site.join("test").await;
    let started = Instant::now();
    site.terminate();
    site.ended().await;
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
}

#[tokio::test]
async fn keyframe_is_passed_on_to_the_encoder_and_nowhere_else() {
    let site = Site::start().await;
    site.send(Method::POST, "/api/v1/streams/test/keyframe", &[], "")
        .await
        .problem(409, "encoder_unavailable");
    let encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    site.join("test").await;
    let before = encoder.seen().keyframes;
    let asking = async {
        // One a second serves all who ask.
        let mut asks = 0;
        while encoder.seen().keyframes < before + 2 {
            let asked = site.send(Method::POST, "/api/v1/streams/test/keyframe", &[], "").await;
            assert_eq!(asked.status, StatusCode::ACCEPTED);
            asks += 1;
        }
        asks
    };
    let asks = tokio::time::timeout(std::time::Duration::from_secs(20), asking)
        .await
        .unwrap();
    assert!(asks > 2, "two in over a second: {asks}");
}

#[tokio::test]
async fn live_source_without_frames_is_said_to_be_silent() {
    let site = Site::start().await;
    let _encoder = Encoder::start(&site.dir, "test", Script::Stalls).await;
    site.join("test").await;
    let silent = site
        .shows("/api/v1/streams/test", |stream| {
            stream["reason"]
                .as_str()
                .is_some_and(|reason| reason.contains("no frame"))
        })
        .await;
    assert_eq!(silent["state"], "live");
    assert_eq!(
        (&silent["condition"], &silent["fault"]),
        (&"faulty".into(), &"frames_missing".into())
    );
}
