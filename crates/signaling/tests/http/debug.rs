//! What breaks a process from inside, and that nobody meets it by chance.

use hyper::{Method, StatusCode};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::{
    encoder::{Encoder, Script},
    site::Site,
};

const DISCONNECT: &str = "/api/v1/debug/disconnect-webrtc";
const STALL: &str = "/api/v1/debug/stall-encoder";
const CLOSE: &str = "/api/v1/debug/close-http-listener";

#[tokio::test]
async fn without_the_variable_there_is_nothing_to_break() {
    let site = Site::start().await;
    for path in [DISCONNECT, STALL, CLOSE] {
        site.send(Method::POST, path, &[], "").await.problem(404, "not_found");
    }
}

#[tokio::test]
async fn named_viewer_is_dropped_or_all_of_them() {
    let site = Site::breakable().await;
    let _encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    let mut sessions = Vec::new();
    for _viewer in 0..3 {
        sessions.push(site.join("test").await.0);
    }
    let id = sessions[0].rsplit('/').next().unwrap();
    let disconnect = async |query: &str| {
        let answer = site.send(Method::POST, &format!("{DISCONNECT}{query}"), &[], "").await;
        answer.json()["disconnected"].clone()
    };
    assert_eq!(disconnect(&format!("?session={id}")).await, 1);
    site.get(&sessions[0]).await.problem(404, "unknown_session");
    let api = format!("/api/v1/streams/test/sessions/{id}");
    let ended = site.shows(&api, |session| session["state"] == "closed").await;
    assert_eq!(
        ended["webrtc_error"],
        "The connection was lost: dropped without a word."
    );
    assert_eq!(ended["webrtc_reconnecting"], false);
    site.get(&format!("/api/v1/streams/door/sessions/{id}"))
        .await
        .problem(404, "unknown_session");
    let id = sessions[1].rsplit('/').next().unwrap();
    let open = site.get(&format!("/api/v1/streams/test/sessions/{id}")).await.json();
    assert_eq!(
        (&open["state"], &open["webrtc_error"]),
        (&"connecting".into(), &Value::Null)
    );
    assert_eq!(site.get(&sessions[1]).await.status, StatusCode::NO_CONTENT);
    assert_eq!(disconnect("").await, 2);
    assert_eq!(site.get("/api/v1/streams/test").await.json()["viewers"], 0);
    let nobody = site
        .send(Method::POST, &format!("{DISCONNECT}?session=me"), &[], "")
        .await;
    nobody.problem(404, "unknown_session");
}

#[tokio::test]
async fn encoder_is_asked_to_stall() {
    let site = Site::breakable().await;
    let _encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    site.shows("/api/v1/streams/test", |stream| stream["state"] == "idle")
        .await;
    let stalled = site.send(Method::POST, &format!("{STALL}?stream=test"), &[], "").await;
    assert_eq!(stalled.status, StatusCode::NO_CONTENT, "{stalled:?}");
    let unknown = site.send(Method::POST, &format!("{STALL}?stream=none"), &[], "").await;
    unknown.problem(404, "unknown_stream");
    site.send(Method::POST, STALL, &[], "")
        .await
        .problem(400, "bad_request");
}

#[tokio::test]
async fn closed_listener_refuses_and_the_process_goes_on() {
    let site = Site::breakable().await;
    let closed = site.send(Method::POST, CLOSE, &[], "").await;
    assert_eq!(closed.status, StatusCode::NO_CONTENT);
    let refused = TcpStream::connect(site.address).await;
    assert!(refused.is_err(), "{refused:?}");
    // It ends when it is told to, and not before.
    assert!(!site.has_ended());
    site.terminate();
    site.ended().await;
}
