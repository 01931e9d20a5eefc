//! More is asked than an encoder reads or answers.

use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use tokio::{task::JoinSet, time::timeout};

use framebridge_proto::limits::MAX_REQUESTS;

use crate::{
    encoder::{Encoder, JPEG, Script},
    site::{PATIENCE, Site},
};

const SNAPSHOT: &str = "/api/v1/streams/test/snapshot.jpg";

/// Viewers that come and go: twice as many messages fill the socket to an encoder that does not read.
const PILE: usize = 300;

/// Requests of one moment, as from a page that went wrong.
const CROWD: usize = 100;

/// Those of them that may wait.
const WAITING: usize = 8;

#[tokio::test]
async fn encoder_that_reads_nothing_is_still_read() {
    let site = Site::start().await;
    let _encoder = Encoder::start(&site.dir, "test", Script::Deaf).await;
    let (first, _) = site.join("test").await;
    site.shows("/api/v1/streams/test", |stream| {
        stream["frames_received"].as_u64() > Some(0)
    })
    .await;
    site.send(Method::DELETE, &first, &[], "").await;
    for _viewer in 0..PILE {
        let (location, _) = site.join("test").await;
        site.send(Method::DELETE, &location, &[], "").await;
    }
    let so_far = site.get("/api/v1/streams/test").await.json()["frames_received"].as_u64();
    let more = so_far.map(|frames| frames + 60);
    site.shows("/api/v1/streams/test", |stream| {
        stream["frames_received"].as_u64() > more
    })
    .await;
    // What can't be asked is refused, and does not wait.
    let site = std::sync::Arc::new(site);
    let mut asking = JoinSet::new();
    for _one in 0..=MAX_REQUESTS {
        let site = std::sync::Arc::clone(&site);
        asking.spawn(async move { site.send(Method::POST, "/api/v1/streams/test/pause", &[], "").await });
    }
    let refused = timeout(PATIENCE, asking.join_next()).await.expect("an answer at once");
    refused.unwrap().unwrap().problem(503, "too_many_requests");
}

#[tokio::test]
async fn however_many_ask_for_a_keyframe_it_is_made_once_a_second_and_for_the_last_one_too() {
    let site = Site::start().await;
    let encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    site.shows("/api/v1/streams/test", |stream| stream["state"] == "idle")
        .await;
    let started = Instant::now();
    let mut before_last = 0;
    for _ask in 0..CROWD {
        before_last = encoder.seen().keyframes;
        let asked = site.send(Method::POST, "/api/v1/streams/test/keyframe", &[], "").await;
        assert_eq!(asked.status, StatusCode::ACCEPTED);
    }
    encoder.sees("the last one", |seen| seen.keyframes > before_last).await;
    let most = 2 + started.elapsed().as_secs();
    let made = u64::from(encoder.seen().keyframes);
    assert!(made <= most, "{made} in {:?}", started.elapsed());
}

#[tokio::test]
async fn crowd_that_wants_a_snapshot_costs_the_encoder_one_and_those_over_the_limit_are_told_to_come_back() {
    let site = std::sync::Arc::new(Site::start().await);
    let encoder = Encoder::start(&site.dir, "test", Script::Mute).await;
    encoder.sees("a link", |seen| seen.links == 1).await;
    let mut asking = JoinSet::new();
    for _one in 0..CROWD {
        let site = std::sync::Arc::clone(&site);
        asking.spawn(async move { site.get(SNAPSHOT).await });
    }
    for _refused in WAITING..CROWD {
        let answer = timeout(PATIENCE, asking.join_next()).await.expect("an answer at once");
        let answer = answer.unwrap().unwrap();
        answer.problem(503, "too_many_requests");
        assert_eq!(answer.retry_after(), 1);
    }
    encoder.sees("one request", |seen| seen.requests == 1).await;
    let none = timeout(Duration::from_secs(1), asking.join_next()).await;
    assert!(none.is_err(), "{none:?} although the encoder has not answered");
    assert_eq!(encoder.seen().requests, 1, "the others wait for the same picture");
}

#[tokio::test]
async fn snapshots_within_a_quarter_of_a_second_are_the_same_picture() {
    let site = Site::start().await;
    let encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    let started = tokio::time::Instant::now();
    for _one in 0..20 {
        let answer = site.get(SNAPSHOT).await;
        assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, JPEG));
    }
    let most = 1 + started.elapsed().as_millis() / 250;
    assert!(
        u128::from(encoder.seen().requests) <= most,
        "{:?} in {most} quarters",
        encoder.seen()
    );
}
