//! Frames as they are on the wire, and what is not one.

use framebridge_studio_proto::{
    Access, BoxId, BoxState, Bytes64, Capabilities, ClipSpan, DecodeError, Frame as _, Heartbeat, JobId, JobKind,
    Refusal, RefusalKind, RpcId, RpcRequest, RpcResponse, StreamReport, ToBox, ToStudio, limits,
};
use proptest::prelude::*;

#[test]
fn frames_to_a_box_of_version_one_read_and_write_the_same_for_ever() {
    let job = JobId::from_bits(7);
    let to_box = [
        (
            r#"{"type":"offer","job":"00000000000000000000000000000007","kind":"snapshot","stream":"door","png":true,"deadline_ms":20000}"#,
            ToBox::Offer {
                job,
                kind: JobKind::Snapshot {
                    stream: "door".parse().unwrap(),
                    png: true,
                },
                deadline_ms: 20_000,
            },
        ),
        (
            r#"{"type":"offer","job":"00000000000000000000000000000007","kind":"clip","stream":"door","last_ms":5000,"deadline_ms":1}"#,
            ToBox::Offer {
                job,
                kind: JobKind::Clip {
                    stream: "door".parse().unwrap(),
                    span: ClipSpan::Last(5000),
                },
                deadline_ms: 1,
            },
        ),
        (r#"{"type":"rpc_cancel","id":3}"#, ToBox::RpcCancel { id: RpcId(3) }),
        (
            r#"{"type":"error","code":"auth_failed","message":"no such token"}"#,
            ToBox::Error(Refusal {
                code: RefusalKind::AuthFailed,
                message: "no such token".into(),
            }),
        ),
        (
            r#"{"type":"rpc_request","id":1,"method":"GET","path":"/","headers":[["accept","*/*"]],"access":{"stream":"door","control":false},"data":"aGk=","end":true}"#,
            ToBox::RpcRequest(RpcRequest {
                id: RpcId(1),
                method: "GET".into(),
                path: "/".into(),
                headers: vec![("accept".into(), "*/*".into())],
                access: Access {
                    stream: Some("door".parse().unwrap()),
                    control: false,
                    share: None,
                },
                data: Bytes64(b"hi".to_vec()),
                end: true,
            }),
        ),
    ];
    for (text, frame) in to_box {
        assert_eq!(ToBox::decode(text).unwrap(), frame);
        assert_eq!(frame.encode(), text);
    }
}

#[test]
fn frames_to_a_studio_of_version_one_read_and_write_the_same_for_ever() {
    let to_studio = [
        (
            r#"{"type":"heartbeat","state":"degraded","reason":"HTTP is down","streams":[{"name":"door","state":"live","verdict":"live","viewers":2}],"capabilities":{"streams":[],"codecs":[],"jobs":[]}}"#,
            ToStudio::Heartbeat(Heartbeat {
                state: BoxState::Degraded,
                reason: Some("HTTP is down".into()),
                streams: vec![StreamReport {
                    name: "door".parse().unwrap(),
                    state: "live".into(),
                    verdict: "live".into(),
                    viewers: 2,
                }],
                job: None,
                capabilities: Capabilities::default(),
            }),
        ),
        (
            r#"{"type":"rpc_response","id":1,"status":204,"headers":[],"end":true}"#,
            ToStudio::RpcResponse(RpcResponse {
                id: RpcId(1),
                status: 204,
                headers: vec![],
                data: Bytes64::default(),
                end: true,
            }),
        ),
        (r#"{"type":"ready_for_more"}"#, ToStudio::ReadyForMore),
    ];
    for (text, frame) in to_studio {
        assert_eq!(ToStudio::decode(text).unwrap(), frame);
        assert_eq!(frame.encode(), text);
    }
}

#[test]
fn what_a_newer_side_adds_is_ignored() {
    let more = r#"{"type":"heartbeat_ack","at":"noon"}"#;
    assert_eq!(ToBox::decode(more).unwrap(), ToBox::HeartbeatAck);
    let kind = r#"{"type":"teleport","to":["anywhere",{}]}"#;
    assert_eq!(ToBox::decode(kind).unwrap(), ToBox::Unknown);
    assert_eq!(ToStudio::decode(kind).unwrap(), ToStudio::Unknown);
    let job = format!(
        r#"{{"type":"offer","job":"{}","kind":"paint","deadline_ms":1}}"#,
        JobId::from_bits(1)
    );
    assert!(matches!(
        ToBox::decode(&job).unwrap(),
        ToBox::Offer {
            kind: JobKind::Unknown,
            ..
        }
    ));
    let refusal = r#"{"type":"error","code":"sunspots","message":"m"}"#;
    let Ok(ToBox::Error(refusal)) = ToBox::decode(refusal) else {
        panic!("no refusal")
    };
    assert_eq!(refusal.code, RefusalKind::Fatal);
}

#[test]
fn what_is_no_frame_is_refused() {
    for bad in [
        "",
        "null",
        "[]",
        "{}",
        r#"{"type":7}"#,
        r#"{"type":"rpc_cancel"}"#,
        r#"{"type":"rpc_cancel","id":-1}"#,
        r#"{"type":"accept","job":"../.."}"#,
        r#"{"type":"rpc_chunk","id":1,"data":"not base64!","end":true}"#,
    ] {
        assert!(
            matches!(ToBox::decode(bad), Err(DecodeError::Malformed(_))) || bad.contains("accept"),
            "{bad}"
        );
        assert!(
            matches!(ToStudio::decode(bad), Err(DecodeError::Malformed(_))) || bad.contains("cancel"),
            "{bad}"
        );
    }
    let long = " ".repeat(limits::MAX_FRAME + 1);
    assert!(matches!(ToBox::decode(&long), Err(DecodeError::TooLong { .. })));
}

#[test]
fn chunk_of_the_largest_size_fits_into_a_frame_and_a_larger_one_is_refused() {
    let chunk = |len| {
        ToBox::RpcRequest(RpcRequest {
            id: RpcId(u64::MAX),
            method: "POST".into(),
            path: "/".repeat(8 * 1024),
            headers: vec![],
            access: Access::default(),
            data: Bytes64(vec![0; len]),
            end: false,
        })
        .encode()
    };
    assert!(chunk(limits::MAX_CHUNK).len() < limits::MAX_FRAME);
    assert!(ToBox::decode(&chunk(limits::MAX_CHUNK)).is_ok());
    assert!(ToBox::decode(&chunk(limits::MAX_CHUNK + 1)).is_err());
}

#[test]
fn what_is_too_long_is_cut_as_it_is_read_and_headers_that_do_not_travel_are_left_out() {
    let long = "\u{1b}[31m".to_owned() + &"R".repeat(200_000);
    let heartbeat = format!(
        r#"{{"type":"heartbeat","state":"degraded","reason":{long:?},"streams":[{streams}],"capabilities":{{"jobs":[{jobs}]}}}}"#,
        long = "R".repeat(200_000),
        streams = vec![r#"{"name":"door","state":"live","verdict":"\u001b[2Jlive","viewers":0}"#; 500].join(","),
        jobs = vec![r#""snapshot""#; 500].join(","),
    );
    let Ok(ToStudio::Heartbeat(heartbeat)) = ToStudio::decode(&heartbeat) else {
        panic!("no heartbeat")
    };
    assert_eq!(heartbeat.reason.map(|reason| reason.len()), Some(limits::MAX_REASON));
    assert_eq!(heartbeat.streams.len(), limits::MAX_STREAMS);
    assert_eq!(heartbeat.streams[0].verdict, " [2Jlive");
    assert_eq!(heartbeat.capabilities.jobs.len(), limits::MAX_WORDS);

    let line = serde_json::json!({"at_ms": 1, "level": long[..1000], "text": long});
    let batch = serde_json::json!({"type": "log_batch", "lines": [line]}).to_string();
    let Ok(ToStudio::LogBatch(batch)) = ToStudio::decode(&batch) else {
        panic!("no lines")
    };
    let line = &batch.lines[0];
    assert_eq!(
        (line.text.capacity(), line.level.as_str()),
        (limits::MAX_LOG_LINE, " [31mRRR")
    );

    let many: Vec<_> = (0..10_000)
        .map(|_| ("a", ""))
        .chain([("etag", "1"), ("link", "x")])
        .collect();
    let head = serde_json::json!({"type": "rpc_response", "id": 1, "status": 200, "headers": many, "end": false});
    let Ok(ToStudio::RpcResponse(head)) = ToStudio::decode(&head.to_string()) else {
        panic!("no answer")
    };
    let named = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(head.headers, [named("etag", "1"), named("link", "x")]);
    let links = vec![("link", "x".repeat(1000)); 100];
    let head = serde_json::json!({"type": "rpc_response", "id": 1, "status": 200, "headers": links, "end": false});
    let Ok(ToStudio::RpcResponse(head)) = ToStudio::decode(&head.to_string()) else {
        panic!("no answer")
    };
    let bytes: usize = head.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(bytes > 4000 && bytes <= limits::MAX_HEADERS, "{bytes}");

    let refusal = serde_json::json!({"type": "error", "code": "fatal", "message": format!("go \u{1b}[31m{long}")});
    let Ok(ToBox::Error(refusal)) = ToBox::decode(&refusal.to_string()) else {
        panic!("no refusal")
    };
    assert!(refusal.message.starts_with("go  [31m") && refusal.message.len() <= limits::MAX_REASON);
}

proptest! {
    #[test]
    fn nothing_that_comes_can_panic(text: String, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(ToBox::decode(&text));
        drop(ToStudio::decode(&text));
        let cut = ToStudio::Accept { job: JobId::from_bits(9) }.encode();
        let at = bytes.len() % cut.len();
        prop_assert!(ToStudio::decode(&cut[..at]).is_err());
    }

    #[test]
    fn bytes_come_back_as_they_were(data in prop::collection::vec(any::<u8>(), 0..500), id: u64, bits: u128) {
        let frame = ToStudio::RpcResponse(RpcResponse {
            id: RpcId(id), status: 200, headers: vec![], data: Bytes64(data), end: true,
        });
        prop_assert_eq!(ToStudio::decode(&frame.encode()).unwrap(), frame);
        let id = BoxId::from_bits(bits);
        prop_assert_eq!(id.to_string().parse(), Ok(id));
    }
}

#[test]
fn version_of_a_hello_is_read_whatever_else_it_says() {
    let told = framebridge_studio_proto::hello_version;
    assert_eq!(told(r#"{"type":"hello","version":7,"token":{"kind":"new"}}"#), Some(7));
    for other in [r#"{"type":"heartbeat","version":7}"#, r#"{"type":"hello"}"#, "hello"] {
        assert_eq!(told(other), None, "{other}");
    }
}
