//! Who watches by plain HTTP, and what viewers' pages tell: listed, counted, sent away.

use hyper::{Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    encoder::{Encoder, Script},
    site::{PATIENCE, Site},
};

#[tokio::test]
async fn stream_is_a_film_without_an_end_for_who_has_no_webrtc() {
    let site = Site::start().await;
    let encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    site.get("/api/v1/streams/nothing/live.mp4")
        .await
        .problem(404, "unknown_stream");
    let mut connection = tokio::net::TcpStream::connect(site.address).await.unwrap();
    let request = format!(
        "GET /api/v1/streams/test/live.mp4 HTTP/1.1\r\nHost: {}\r\n\r\n",
        site.address
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut film = Vec::new();
    let has = |film: &[u8], kind: &[u8]| film.windows(4).filter(|four| *four == kind).count();
    let reading = async {
        // Past a keyframe and the frames after it.
        while has(&film, b"mdat") < 40 {
            let mut part = [0; 4096];
            let read = connection.read(&mut part).await.unwrap();
            assert!(read > 0, "it ended: {}", String::from_utf8_lossy(&film));
            film.extend_from_slice(&part[..read]);
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap();
    let head = String::from_utf8_lossy(&film[..200]).into_owned();
    assert!(
        head.starts_with("HTTP/1.1 200 OK") && head.contains("video/mp4"),
        "{head}"
    );
    assert_eq!((has(&film, b"ftyp"), has(&film, b"moov")), (1, 1));
    assert_eq!(site.get("/api/v1/streams/test").await.json()["state"], "live");
    let listed = site.get("/api/v1/viewers").await.json();
    let viewer = &listed["viewers"][0];
    assert_eq!(
        (&viewer["path"], &viewer["path_reason"], &viewer["stream"]),
        (&json!("http"), &json!("it asked for live.mp4"), &json!("test"))
    );
    let metrics = site.get("/metrics").await;
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    assert!(
        metrics.contains("framebridge_viewers_by_http{stream=\"test\"} 1"),
        "{metrics}"
    );
    let session = viewer["session"].as_str().unwrap();
    let gone = site
        .send(Method::DELETE, &format!("/api/v1/viewers/{session}"), &[], "")
        .await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    // The connection is kept, and has to be read meanwhile.
    let ending = async {
        let reading = async { while connection.read(&mut [0; 4096]).await.unwrap() > 0 {} };
        let leaving = async { while site.get("/api/v1/viewers").await.json()["viewers"] != json!([]) {} };
        tokio::select! {
            () = reading => {}
            () = leaving => {}
        }
    };
    tokio::time::timeout(PATIENCE, ending).await.unwrap();
    assert_eq!(site.get("/api/v1/viewers").await.json()["viewers"], json!([]));
    drop(connection);
    encoder
        .sees("the end of the subscription", |seen| !seen.subscribed)
        .await;
}

#[tokio::test]
async fn film_waits_for_a_source_that_is_being_opened() {
    let site = Site::start().await;
    let encoder = Encoder::start(&site.dir, "test", Script::Hangs).await;
    let mut connection = tokio::net::TcpStream::connect(site.address).await.unwrap();
    let request = format!(
        "GET /api/v1/streams/test/live.mp4 HTTP/1.1\r\nHost: {}\r\n\r\n",
        site.address
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    encoder.sees("a subscription", |seen| seen.subscribed).await;
    // Whoever asks for that can ask again, and is told to after three seconds.
    let refused = site.get("/api/v1/streams/test/snapshot.jpg").await;
    refused.problem(409, "stream_unavailable");
    encoder.open();
    let mut head = [0; 12];
    let reading = connection.read_exact(&mut head);
    tokio::time::timeout(PATIENCE, reading).await.unwrap().unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
}

#[tokio::test]
async fn page_that_was_sent_away_gets_no_film_any_more() {
    let site = Site::start().await;
    let _encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    let path = "/api/v1/streams/test/live.mp4?instead=0011223344556677";
    let mut connection = tokio::net::TcpStream::connect(site.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", site.address);
    connection.write_all(request.as_bytes()).await.unwrap();
    assert!(connection.read(&mut [0; 4096]).await.unwrap() > 0);
    let listed = site.get("/api/v1/viewers").await.json();
    let viewer = &listed["viewers"][0];
    assert_eq!(viewer["path_reason"], "neither UDP nor TCP gets through");
    let session = viewer["session"].as_str().unwrap();
    site.send(Method::DELETE, &format!("/api/v1/viewers/{session}"), &[], "")
        .await;
    site.get(path).await.problem(410, "sent_away");
}

#[tokio::test]
async fn what_a_page_tells_is_shown_to_operators_and_counted() {
    let site = Site::start().await;
    let _encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    let (location, _) = site.join("test").await;
    let session = location.rsplit('/').next().unwrap();
    let path = format!("/api/v1/streams/test/sessions/{session}/report");
    let tell = async |path: &str, body: &'static str| {
        let headers = [("content-type", "application/json")];
        site.send(Method::POST, path, &headers, body).await
    };
    let told = r#"{"fps": 29.94, "wire_to_screen_ms": 40, "loss_percent": 2, "freezes": 3}"#;
    assert_eq!(tell(&path, told).await.status, StatusCode::NO_CONTENT);
    let listed = site.get("/api/v1/viewers").await.json();
    let viewer = &listed["viewers"][0];
    assert_eq!((&viewer["fps"], &viewer["freezes"]), (&json!(29.9), &json!(3)));
    let metrics = site.get("/metrics").await;
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    for line in [
        "framebridge_viewers_reporting{stream=\"test\"} 1",
        "framebridge_viewer_loss_ratio{stream=\"test\"} 0.02",
        "framebridge_viewer_freezes_total{stream=\"test\"} 0",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    tell(&path, "[").await.problem(400, "invalid");
    tell(&path, r#"{"fps": "many"}"#).await.problem(400, "invalid");
    let nobody = format!("/api/v1/streams/test/sessions/{}/report", "0".repeat(32));
    tell(&nobody, told).await.problem(404, "unknown_session");
    let elsewhere = path.replace("/test/", "/door/");
    tell(&elsewhere, told).await.problem(404, "unknown_session");
}
