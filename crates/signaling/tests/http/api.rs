//! The API, and the document that describes all of HTTP.

use std::{collections::BTreeSet, time::Duration};

use framebridge_daemon::Tasks;
use framebridge_ipc::{Identity, Link, Listener, RuntimeDir};
use framebridge_proto::{
    Role,
    status::{
        BridgeState, BridgeStatus, Condition, FaultKind, Overall, ProcessState, ProcessStatus, Status, StreamState,
        StreamStatus,
    },
    supervisor::{FromSupervisor, Progress, SupervisorAnswer, ToSupervisor},
};
use hyper::{Method, StatusCode};
use serde_json::json;
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    encoder::{Encoder, JPEG, MP4, Script},
    site::Site,
};

const QUALITY: &str = "/api/v1/streams/test/quality";
const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn health_needs_nobody_else() {
    let site = Site::start().await;
    let health = site.get("/api/v1/health").await;
    assert_eq!(health.status, StatusCode::OK);
    assert_eq!(health.json(), json!({"live": true, "ready": true}));
}

#[tokio::test]
async fn streams_are_listed_with_what_is_known_of_them() {
    let site = Site::start().await;
    let _encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    site.shows("/api/v1/streams/test", |stream| stream["state"] == "idle")
        .await;
    let list = site.get("/api/v1/streams").await.json();
    let names: Vec<_> = list["streams"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stream| &stream["name"])
        .collect();
    assert_eq!(names, ["door", "test"]);
    let door = &list["streams"][0];
    assert_eq!(
        (&door["state"], &door["viewers"], &door["source"]),
        (&json!("down"), &json!(0), &json!("test:"))
    );

    site.join("test").await;
    let live = site
        .shows("/api/v1/streams/test", |stream| {
            stream["width"] == 1280 && !stream["encoder_load"].is_null()
        })
        .await;
    assert_eq!(
        (&live["state"], &live["encoder"], &live["whep"]),
        (&json!("live"), &json!("scripted"), &json!("/whep/test"))
    );
    let load = &live["encoder_load"];
    assert_eq!((&load["state"], &load["percent"]), (&json!("overloaded"), &json!(214)));
    assert_eq!(load["shortfall"], "encodes 14 of 30 pictures a second; fewer are sent");
    assert_eq!(door["encoder_load"], json!(null));
    assert_eq!(live["reason"], json!(null));
}

#[tokio::test]
async fn quality_is_set_once_and_the_wrong_field_is_named() {
    let site = Site::start().await;
    let put = async |body: &'static str| site.send(Method::PUT, QUALITY, &[JSON], body).await;
    put(r#"{"fps": 15}"#).await.problem(409, "encoder_unavailable");

    let encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    encoder.sees("a link", |seen| seen.links == 1).await;
    site.shows("/api/v1/streams/test", |stream| stream["state"] == "idle")
        .await;
    let set = json!({"bitrate": 2_500_000, "fps": 15, "longest_edge": 1280, "changed": true});
    assert_eq!(put(r#"{"fps": 15}"#).await.json(), set);
    let again = put(r#"{"fps": 15, "longest_edge": 1280}"#).await;
    assert_eq!(
        (again.status, again.json()["changed"].clone()),
        (StatusCode::OK, json!(false))
    );

    assert_eq!(
        put(r#"{"fps": 500}"#).await.problem(400, "invalid_quality")["field"],
        "fps"
    );
    assert_eq!(
        put(r#"{"fps": "15"}"#).await.problem(400, "invalid_quality")["field"],
        "fps"
    );
    assert_eq!(
        put(r#"{"bitrat": 1}"#).await.problem(400, "invalid_quality")["field"],
        "bitrat"
    );
    put("{").await.problem(400, "invalid_quality");
    site.send(Method::PUT, QUALITY, &[], "{}")
        .await
        .problem(415, "unsupported_media_type");
    site.send(Method::PUT, QUALITY, &[JSON], "x".repeat(70_000))
        .await
        .problem(413, "body_too_large");
    site.send(Method::PUT, "/api/v1/streams/nothing/quality", &[JSON], "{}")
        .await
        .problem(404, "unknown_stream");
}

#[tokio::test]
async fn quality_that_is_changed_again_and_again_is_refused() {
    let site = Site::start().await;
    let _encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    site.shows("/api/v1/streams/test", |stream| stream["state"] == "idle")
        .await;
    let put = async |fps: usize| {
        let body = format!("{{\"fps\": {fps}}}");
        site.send(Method::PUT, QUALITY, &[JSON], body).await
    };
    let mut changed = 0;
    let started = tokio::time::Instant::now();
    let refused = loop {
        let answer = put(1 + changed % 60).await;
        if answer.status != StatusCode::OK {
            break answer;
        }
        changed += 1;
        assert!(changed < 60, "never refused");
    };
    refused.problem(429, "too_many_requests");
    assert_eq!(refused.retry_after(), 1);
    let most = 6 + usize::try_from(started.elapsed().as_secs()).unwrap();
    assert!((5..=most).contains(&changed), "{changed} changes");
    site.shows("/api/v1/streams/test", |stream| stream["fps"].as_u64() > Some(0))
        .await;
}

#[tokio::test]
async fn pause_is_the_encoders_to_keep_and_while_it_lasts_nothing_of_the_stream_is_shown() {
    let site = Site::start().await;
    let post = async |path: &str| site.send(Method::POST, path, &[], "").await;
    let (pause, resume) = ("/api/v1/streams/test/pause", "/api/v1/streams/test/resume");
    post(pause).await.problem(409, "encoder_unavailable");
    post("/api/v1/streams/nothing/pause")
        .await
        .problem(404, "unknown_stream");

    let _encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    site.shows("/api/v1/streams/test", |stream| stream["state"] == "idle")
        .await;
    assert_eq!(post(pause).await.json(), json!({"paused": true, "changed": true}));
    let paused = site
        .shows("/api/v1/streams/test", |stream| stream["state"] == "paused")
        .await;
    assert_eq!(
        (&paused["condition"], &paused["fault"], &paused["reason"]),
        (&json!("well"), &json!(null), &json!("paused by its operator"))
    );
    let still = site.get("/api/v1/streams/test/snapshot.jpg").await;
    assert_eq!(
        still.problem(409, "stream_unavailable")["detail"],
        "paused by its operator"
    );
    assert_eq!(post(resume).await.json(), json!({"paused": false, "changed": false}));
}

#[tokio::test]
async fn snapshot_starts_an_idle_stream_and_lets_it_go() {
    let site = Site::start().await;
    let encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    let snapshot = site.get("/api/v1/streams/test/snapshot.jpg").await;
    assert_eq!(
        (snapshot.status, snapshot.header("content-type")),
        (StatusCode::OK, "image/jpeg")
    );
    assert_eq!(snapshot.body, JPEG);
    assert_eq!(snapshot.header("cache-control"), "no-store");
    encoder
        .sees("the end of the subscription", |seen| {
            seen.subscriptions == 1 && !seen.subscribed
        })
        .await;

    let _failing = Encoder::start(&site.dir, "door", Script::Fails("no such camera")).await;
    // It is kept for those who look at the list later, and nothing is started for them.
    let stream = site.get("/api/v1/streams/test").await.json();
    assert!(stream["still_age_ms"].is_u64(), "{stream}");
    let kept = site.get("/api/v1/streams/test/snapshot.jpg?kept=true").await;
    assert_eq!(kept.body, JPEG);
    site.get("/api/v1/streams/door/snapshot.jpg?kept=true")
        .await
        .problem(404, "no_still");
    let refused = site.get("/api/v1/streams/door/snapshot.jpg").await;
    assert_eq!(
        refused.problem(409, "stream_unavailable")["detail"],
        "source unavailable: no such camera"
    );
}

#[tokio::test]
async fn metrics_count_per_stream_and_per_process() {
    let site = Site::start().await;
    let supervisor = Supervisor::start(&site.dir).await;
    let _encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    site.join("test").await;
    site.shows("/api/v1/streams/test", |stream| {
        stream["frames_received"].as_u64() > Some(3)
    })
    .await;
    let metrics = site.get("/metrics").await;
    assert_eq!(
        metrics.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let text = metrics.text();
    assert!(
        !text.contains("# EOF") && text.contains("# TYPE framebridge_nacks_total counter\n"),
        "{text}"
    );
    let value = |sample: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with(sample))
            .unwrap_or_else(|| panic!("no {sample} in {text}"));
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    assert!(value("framebridge_signaling_tasks ") > 0);
    for counter in [
        "frames_encoded",
        "frames_received",
        "frames_sent",
        "bytes_sent",
        "packets_sent",
        "packets_lost",
        "packets_retransmitted",
        "nacks",
        "repeats_refused",
        "keyframe_requests",
        "keyframe_requests_refused",
        "viewers_held",
        "frames_dropped",
    ] {
        for stream in ["test", "door"] {
            value(&format!("framebridge_{counter}_total{{stream=\"{stream}\"}} "));
        }
    }
    assert!(value("framebridge_frames_encoded_total{stream=\"test\"} ") > 3);
    assert_eq!(value("framebridge_frames_encoded_total{stream=\"door\"} "), 0);
    assert!(value("framebridge_capture_to_wire_seconds_count{stream=\"test\"} ") > 0);
    assert_eq!(value("framebridge_viewers{stream=\"test\"} "), 1);
    assert_eq!(value("framebridge_encoder_up{stream=\"door\"} "), 0);
    assert_eq!(
        value("framebridge_process_restarts_total{process=\"encoder-test\"} "),
        7
    );
    assert!(value("framebridge_bytes_received_total{stream=\"test\"} ") > 0);
    assert!(
        text.contains("\nframebridge_encoder_load{stream=\"test\"} 2.14\n"),
        "{text}"
    );
    let states = [("nominal", 0), ("strained", 0), ("overloaded", 1)];
    for (state, holds) in states {
        let sample = format!("framebridge_encoder_load_state{{stream=\"test\",state=\"{state}\"}} ");
        assert_eq!(value(&sample), holds, "{state}");
    }
    assert!(
        !text.contains("framebridge_encoder_load{stream=\"door\"}"),
        "nothing is encoded"
    );
    assert_eq!(value("framebridge_supervisor_up "), 1);
    let accept = [("accept", "application/openmetrics-text; version=1.0.0")];
    let open = site.send(Method::GET, "/metrics", &accept, "").await;
    assert!(open.header("content-type").starts_with("application/openmetrics-text"));
    assert!(open.text().ends_with("# EOF\n"));
    supervisor.stop.cancel();
}

#[tokio::test]
async fn metrics_tell_states_also_where_the_supervisor_is_away() {
    let site = Site::start().await;
    let _encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    site.shows("/api/v1/streams/test", |stream| stream["state"] == "idle")
        .await;
    let metrics = site.get("/metrics").await;
    let text = metrics.text();
    for sample in [
        "framebridge_supervisor_up 0",
        "framebridge_stream_state{stream=\"door\",state=\"down\"} 1",
        "framebridge_stream_state{stream=\"test\",state=\"idle\"} 1",
        "framebridge_stream_state{stream=\"test\",state=\"unavailable\"} 0",
        "framebridge_process_up{process=\"signaling\"} 1",
    ] {
        assert!(text.lines().any(|line| line == sample), "no {sample} in {text}");
    }
    // It would seem to begin anew.
    assert!(!text.contains("framebridge_process_restarts_total"), "{text}");
}

#[tokio::test]
async fn status_is_the_supervisors_or_else_our_own_and_says_which() {
    let site = Site::start().await;
    let _encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    let own = site
        .shows("/api/v1/status", |status| status["streams"][1]["state"] == "idle")
        .await;
    assert_eq!(own["overall"], "degraded");
    assert_eq!(own["processes"][0]["name"], "supervisor");
    assert_eq!(own["processes"][0]["state"], "unreachable");
    assert!(
        own["processes"][0]["last_reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("supervisor.sock")),
        "{own}"
    );
    assert_eq!(own["http"], site.address.to_string());
    assert_eq!(own["streams"][0]["state"], "down");

    let mut supervisor = Supervisor::start(&site.dir).await;
    let theirs = site
        .shows("/api/v1/status", |status| status["overall"] == "healthy")
        .await;
    assert_eq!(theirs["processes"][0]["restarts"], 7);

    let progress = supervisor.heartbeats.recv().await.unwrap();
    let Progress::Signaling(progress) = progress else {
        panic!("{progress:?}")
    };
    assert_eq!(progress.http, site.address.to_string());
    let streams: Vec<_> = progress.streams.iter().map(|stream| stream.stream.as_str()).collect();
    assert_eq!(streams, ["door", "test"]);
    supervisor.stop.cancel();
}

#[tokio::test]
async fn stream_whose_encoder_is_parked_says_so_in_the_supervisors_words() {
    let site = Site::start().await;
    let supervisor = Supervisor::start(&site.dir).await;
    let stream = site
        .shows("/api/v1/streams/door", |stream| stream["retry_in_ms"].is_u64())
        .await;
    assert_eq!((&stream["state"], &stream["reason"]), (&"down".into(), &PARKED.into()));
    let answer = site.offer("door", crate::whep::OFFER).await;
    assert_eq!(answer.problem(409, "stream_unavailable")["detail"], PARKED);
    assert_eq!(answer.retry_after(), 18);
    supervisor.stop.cancel();
}

#[tokio::test]
async fn document_and_routes_agree() {
    let site = Site::start().await;
    let document = site.get("/api/v1/openapi.json").await.json();
    assert!(
        document["openapi"]
            .as_str()
            .is_some_and(|version| version.starts_with("3.1"))
    );
    for (path, operations) in document["paths"].as_object().unwrap() {
        let documented: BTreeSet<String> = operations
            .as_object()
            .unwrap()
            .keys()
            .map(|key| key.to_uppercase())
            .collect();
        let concrete = path
            .replace("{stream}", "test")
            .replace("{session}", &"0".repeat(32))
            .replace("{file}", "style.css");
        // A method that nobody has makes every route tell what it does have.
        let refused = site.send(Method::TRACE, &concrete, &[], "").await;
        refused.problem(405, "method_not_allowed");
        let served: BTreeSet<String> = refused
            .header("allow")
            .split(',')
            .map(|method| method.trim().to_owned())
            .collect();
        // GET brings HEAD.
        let served: BTreeSet<String> = served.into_iter().filter(|method| method != "HEAD").collect();
        assert_eq!(served, documented, "{path}");
    }
    for reference in serde_json::to_string(&document)
        .unwrap()
        .split("\"#/components/schemas/")
        .skip(1)
    {
        let name = reference.split('"').next().unwrap();
        assert!(
            document["components"]["schemas"][name].is_object(),
            "{name} is referred to and not there"
        );
    }
}

#[tokio::test]
async fn clip_is_asked_for_by_its_last_or_its_next_seconds() {
    let site = Site::start().await;
    let _encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    site.shows("/api/v1/streams/test", |stream| stream["state"] == "idle")
        .await;
    let clip = "/api/v1/streams/test/clip.mp4";
    let film = site.get(&format!("{clip}?last=5")).await;
    assert_eq!((film.status, &film.body[..]), (StatusCode::OK, MP4));
    assert_eq!(film.header("content-type"), "video/mp4");
    for query in ["", "?last=5&next=5"] {
        site.get(&format!("{clip}{query}")).await.problem(400, "invalid_clip");
    }
    site.get(&format!("{clip}?last=-1")).await.problem(400, "bad_request");
    site.get("/api/v1/streams/none/clip.mp4?last=5")
        .await
        .problem(404, "unknown_stream");
}

#[tokio::test]
async fn clip_is_called_off_when_nobody_waits_for_it_any_more() {
    let site = Site::start().await;
    let encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    site.shows("/api/v1/streams/test", |stream| stream["state"] == "idle")
        .await;
    let asked = timeout(
        Duration::from_millis(500),
        site.get("/api/v1/streams/test/clip.mp4?next=60"),
    );
    assert!(asked.await.is_err(), "it takes a minute");
    encoder.sees("it called off", |seen| seen.cancels == 1).await;
}

/// What the supervisor says of `door`.
const PARKED: &str = "its encoder failed too often: exit code 70";

/// A supervisor that knows two processes: `encoder-test`, restarted seven times, and `encoder-door`, parked.
struct Supervisor {
    stop: CancellationToken,
    heartbeats: mpsc::Receiver<Progress>,
}

impl Supervisor {
    async fn start(dir: &RuntimeDir) -> Self {
        let path = dir.socket(Role::Supervisor, None);
        let listener: Listener<ToSupervisor, FromSupervisor> =
            Listener::bind(&path, &Identity::new(Role::Supervisor)).await.unwrap();
        let stop = CancellationToken::new();
        let tasks = Tasks::new(stop.clone());
        let (sender, heartbeats) = mpsc::channel(64);
        let children = tasks.clone();
        tasks.spawn(async move {
            loop {
                let link = listener.accept().await.unwrap().handshake().await.unwrap();
                children.spawn(serve(link, sender.clone()));
            }
        });
        Self { stop, heartbeats }
    }
}

async fn serve(mut link: Link<ToSupervisor, FromSupervisor>, heartbeats: mpsc::Sender<Progress>) {
    while let Ok(Some(message)) = link.receiver.recv().await {
        match message {
            ToSupervisor::Heartbeat(heartbeat) => heartbeats.send(heartbeat.progress).await.unwrap(),
            ToSupervisor::Happened(_) => {}
            ToSupervisor::Request { id, .. } => {
                let result = Ok(SupervisorAnswer::Status(status()));
                link.sender
                    .send(&FromSupervisor::Response { id, result })
                    .await
                    .unwrap();
            }
        }
    }
}

fn status() -> Status {
    let door = StreamStatus {
        name: "door".to_owned(),
        source: "test:".to_owned(),
        state: StreamState::Down,
        condition: Condition::Dark,
        fault: Some(FaultKind::EncoderParked),
        fault_age_ms: Some(12_500),
        reason: Some(PARKED.to_owned()),
        width: 0,
        height: 0,
        fps: 30,
        bitrate: 2_500_000,
        encoder: String::new(),
        viewers: 0,
        frames_encoded: 0,
        frames_sent: 0,
        last_frame_age_ms: None,
        verdict: format!("{PARKED}; parked for 12 s, next try in 18 s"),
        retry_in_ms: Some(17_500),
        unchanged_ms: 0,
        black_ms: 0,
        encoder_load: None,
        rungs: Vec::new(),
        pushes: Vec::new(),
    };
    let test = StreamStatus {
        name: "test".to_owned(),
        state: StreamState::Live,
        condition: Condition::Well,
        fault: None,
        fault_age_ms: None,
        reason: None,
        verdict: "live".to_owned(),
        retry_in_ms: None,
        ..door.clone()
    };
    Status {
        overall: Overall::Healthy,
        http: None,
        processes: vec![
            encoder("test", ProcessState::Running, 7),
            encoder("door", ProcessState::Parked, 5),
        ],
        streams: vec![door, test],
        bridge: BridgeStatus {
            state: BridgeState::Disabled,
            reason: None,
        },
    }
}

fn encoder(stream: &str, state: ProcessState, restarts: u64) -> ProcessStatus {
    ProcessStatus {
        name: format!("encoder-{stream}"),
        role: Role::Encoder,
        stream: Some(stream.to_owned()),
        state,
        pid: Some(1),
        uptime_s: Some(1),
        restarts,
        last_reason: None,
        heartbeat_age_ms: Some(10),
    }
}
