//! Every bad input gets the answer that was promised for it.

use framebridge_proto::status::{ProcessState, StreamState};
use framebridge_tests::{
    http::{Request, Response},
    process::command,
    system::{System, binary},
    wait::{self, PATIENCE},
};

use crate::sdp;

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

fn post(system: &System, path: &str, media_type: &str, body: impl Into<Vec<u8>>) -> Response {
    Request::new("POST", path)
        .body(media_type, body)
        .send(system.http())
        .unwrap()
}

#[track_caller]
fn assert_problem(answer: &Response, status: u16) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem = answer.json().unwrap();
    assert_eq!(problem["status"], status);
    for member in ["type", "title", "detail"] {
        assert!(
            problem[member].as_str().is_some_and(|text| !text.is_empty()),
            "no {member}: {problem}"
        );
    }
}

#[track_caller]
fn assert_retry_after(answer: &Response) {
    let seconds = answer.header("retry-after").and_then(|value| value.parse::<u64>().ok());
    assert!(
        seconds.is_some_and(|seconds| seconds > 0),
        "Retry-After: {:?}",
        answer.header("retry-after")
    );
}

#[test]
fn offers_that_cannot_be_answered_are_refused_by_kind() {
    let system = System::start_with(&[("test", "test:")], "max_viewers_per_stream = 2").unwrap();
    assert_problem(&post(&system, "/whep/nothing", SDP, sdp::offer()), 404);
    assert_problem(&post(&system, "/whep/test", "text/plain", sdp::offer()), 415);
    assert_problem(&post(&system, "/whep/test", SDP, "this is no SDP"), 400);
    assert_problem(&post(&system, "/whep/test", SDP, vec![0xff; 300]), 400);
    assert_problem(&post(&system, "/whep/test", SDP, sdp::offer_without_h264()), 422);
    let padded = format!("{}a=x:{}\r\n", sdp::offer(), "x".repeat(64 << 10));
    assert_problem(&post(&system, "/whep/test", SDP, padded), 413);

    for _place in 0..2 {
        let joined = post(&system, "/whep/test", SDP, sdp::offer());
        assert_eq!(joined.status, 201, "{}", joined.text());
    }
    let refused = post(&system, "/whep/test", SDP, sdp::offer());
    assert_problem(&refused, 503);
    assert_retry_after(&refused);
}

#[test]
fn session_is_created_trickled_restarted_and_ended_as_whep_has_it() {
    let system = System::start(&[("test", "test:")]).unwrap();
    let joined = post(&system, "/whep/test", SDP, sdp::offer());
    assert_eq!(joined.status, 201, "{}", joined.text());
    assert_eq!(joined.header("content-type"), Some(SDP));
    let location = joined.header("location").unwrap().to_owned();
    let etag = joined.header("etag").unwrap().to_owned();
    assert!(
        etag.starts_with('"') && etag.ends_with('"') && etag.len() > 2,
        "not a strong tag: {etag}"
    );
    assert!(joined.text().contains("a=candidate:"), "no candidate in the answer");

    let patch = |if_match: Option<&str>, media_type: &str, body: &str| {
        let request = Request::new("PATCH", &location).body(media_type, body);
        let request = if_match
            .into_iter()
            .fold(request, |request, tag| request.header("if-match", tag));
        request.send(system.http()).unwrap()
    };
    let candidate = "a=ice-ufrag:wxyz\r\na=ice-pwd:0123456789abcdefghijklmn\r\na=group:BUNDLE 0\r\n\
                     m=video 9 UDP/TLS/RTP/SAVPF 102\r\na=mid:0\r\n\
                     a=candidate:1 1 UDP 2122260223 127.0.0.1 54321 typ host\r\n";
    assert_problem(&patch(Some("\"stale\""), FRAGMENT, candidate), 412);
    assert_problem(&patch(Some(&etag), "text/plain", candidate), 415);
    assert_eq!(patch(Some(&etag), FRAGMENT, candidate).status, 204);
    assert_eq!(patch(None, FRAGMENT, candidate).status, 204);
    let restart = candidate.replace("wxyz", "abcd").replace("0123456789", "9876543210");
    assert_problem(&patch(None, FRAGMENT, &restart), 428);
    let restarted = patch(Some("*"), FRAGMENT, &restart);
    assert_eq!(restarted.status, 200, "{}", restarted.text());
    assert_ne!(
        restarted.header("etag"),
        Some(etag.as_str()),
        "an ICE restart is a new generation"
    );
    assert_problem(&patch(Some(&etag), FRAGMENT, candidate), 412);

    let ask = |method| Request::new(method, &location).send(system.http()).unwrap();
    assert_eq!(ask("HEAD").status, 204);
    assert_eq!(ask("DELETE").status, 200);
    assert_problem(&ask("DELETE"), 404);
    assert_problem(&ask("GET"), 404);
    assert_problem(&patch(Some("*"), FRAGMENT, candidate), 404);
}

#[test]
fn page_of_another_origin_may_not_play_unless_it_is_listed() {
    let system = System::start(&[("test", "test:")]).unwrap();
    let preflight = Request::new("OPTIONS", "/whep/test")
        .header("origin", "https://example.org")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type")
        .send(system.http())
        .unwrap();
    assert!(preflight.status < 300, "{}", preflight.status);
    assert_eq!(preflight.header("access-control-allow-origin"), None);
    let options = Request::new("OPTIONS", "/whep/test").send(system.http()).unwrap();
    assert_eq!(options.header("accept-post"), Some(SDP));
}

#[test]
fn source_that_cannot_be_opened_is_unavailable_and_not_a_crash() {
    let system = System::start(&[("test", "test:"), ("gone", "file:/nowhere/gone.mp4")]).unwrap();
    let refused = post(&system, "/whep/gone", SDP, sdp::offer());
    assert_problem(&refused, 409);
    assert_retry_after(&refused);
    assert!(
        refused.text().contains("No such file"),
        "FFmpeg's reason is not given: {}",
        refused.text()
    );
    let gone = wait::until("the stream to be unavailable", PATIENCE, || {
        post(&system, "/whep/gone", SDP, sdp::offer());
        Ok(Some(system.stream("gone")?).filter(|stream| stream.state == StreamState::Unavailable))
    })
    .unwrap();
    assert!(gone.verdict.contains("No such file"), "{}", gone.verdict);
    let encoder = system.process("encoder-gone").unwrap();
    assert_eq!(
        (encoder.state, encoder.restarts),
        (ProcessState::Running, 0),
        "{encoder:?}"
    );
    assert_eq!(
        post(&system, "/whep/test", SDP, sdp::offer()).status,
        201,
        "one stream's trouble is another's"
    );
}

#[test]
fn bad_configuration_is_refused_with_its_key_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.toml");
    let refused = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let mut supervisor = command(binary("supervisor").unwrap());
        supervisor
            .arg("--config")
            .arg(&file)
            .env("FRAMEBRIDGE_RUNTIME_DIR", folder.path());
        let output = supervisor.output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{text}");
        String::from_utf8(output.stderr).unwrap()
    };
    let said = refused("[http]\nlisten = \"127.0.0.1:1\"\n\n[streams.cam]\nsource = \"gopher://cam\"\n");
    assert!(
        said.contains("source") && said.contains("gopher://cam") && said.contains('5'),
        "{said}"
    );
    let said = refused("[http]\nlisten = \"nowhere\"\n");
    assert!(said.contains("listen") && said.contains('2'), "{said}");
    let said = refused("[http]\nlisten = \"127.0.0.1:1\"\nlisen = 1\n");
    assert!(said.contains("lisen") && said.contains('3'), "{said}");
}

#[test]
fn quality_is_set_once_and_a_wrong_one_names_its_field() {
    let system = System::start(&[("test", "test:")]).unwrap();
    assert_eq!(post(&system, "/whep/test", SDP, sdp::offer()).status, 201);
    let put = |body: &str| {
        let request = Request::new("PUT", "/api/v1/streams/test/quality").body("application/json", body);
        request.send(system.http()).unwrap()
    };
    for (body, field) in [
        (r#"{"fps": 0}"#, "fps"),
        (r#"{"bitrate": 1}"#, "bitrate"),
        (r#"{"longest_edge": 100000}"#, "longest_edge"),
        (r#"{"speed": 3}"#, "speed"),
    ] {
        let answer = put(body);
        assert_problem(&answer, 400);
        assert!(answer.text().contains(field), "{body}: {}", answer.text());
    }
    let first = put(r#"{"fps": 15, "bitrate": 800000, "longest_edge": 640}"#);
    assert_eq!(first.status, 200, "{}", first.text());
    assert_eq!(first.json().unwrap()["changed"], true);
    let again = put(r#"{"fps": 15, "bitrate": 800000, "longest_edge": 640}"#);
    assert_eq!(again.json().unwrap()["changed"], false);
    wait::until_true("the new size to be in force", PATIENCE, || {
        let stream = system.stream("test")?;
        Ok((stream.width, stream.height, stream.fps, stream.bitrate) == (640, 360, 15, 800_000))
    })
    .unwrap();
}

#[test]
fn programs_read_health_status_metrics_and_pictures() {
    let system = System::start(&[("test", "test:")]).unwrap();
    assert_eq!(post(&system, "/whep/test", SDP, sdp::offer()).status, 201);
    assert_eq!(system.get("/api/v1/health").unwrap().status, 200);
    let status = system.get("/api/v1/status").unwrap().json().unwrap();
    assert_eq!(status["streams"][0]["name"], "test");
    assert_eq!(
        system.get("/api/v1/streams/test").unwrap().json().unwrap()["name"],
        "test"
    );
    assert_problem(&system.get("/api/v1/streams/nothing").unwrap(), 404);
    let keyframe = Request::new("POST", "/api/v1/streams/test/keyframe")
        .send(system.http())
        .unwrap();
    assert!(keyframe.status < 300, "{}", keyframe.text());
    let picture = system.get("/api/v1/streams/test/snapshot.jpg").unwrap();
    assert_eq!(
        (picture.status, picture.header("content-type")),
        (200, Some("image/jpeg"))
    );
    assert!(
        picture.body.starts_with(&[0xff, 0xd8]) && picture.body.ends_with(&[0xff, 0xd9]),
        "not a whole JPEG"
    );
    let metrics = system.get("/metrics").unwrap().text();
    for name in [
        "frames_encoded",
        "frames_sent",
        "keyframe_requests",
        "keyframe_requests_refused",
        "viewers",
        "bytes_sent",
        "packets_lost",
        "nacks",
        "repeats_refused",
        "restarts",
    ] {
        assert!(
            metrics
                .lines()
                .any(|line| !line.starts_with('#') && line.contains(name)),
            "no {name} in:\n{metrics}"
        );
    }
}
