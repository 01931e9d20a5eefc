//! The codec: golden bytes that later versions must keep, and bytes from nowhere.

#![expect(clippy::unwrap_used, reason = "a test that can't go on says so by panicking")]

use bytes::Bytes;
use framebridge_ipc::{DecodeError, EncodeError, Message, decode, encode};
use framebridge_proto::{
    Refusal, RefusalKind, RequestId, StreamName,
    bridge::{BridgeAnswer, BridgeJob, BridgeRequest, FromBridge, ToBridge},
    control::{Act, Desk, Grant, Place, Steer},
    encoder::{
        ClipSpan, EncoderAnswer, EncoderRequest, FromEncoder, ImageFormat, Quality, QualityChange, SourceState,
        ToEncoder,
    },
    hooks::{Happening, HookEvent, HookStatus, HookTrial},
    limits::MAX_MEDIA_MESSAGE,
    media::{AccessUnit, Codec, CodecParameters, Load, LoadState, Rung, Track},
    status::{BridgeState, PushState, PushStatus},
    supervisor::{
        BridgeProgress, Counter, Datagrams, FromSupervisor, Heartbeat, Progress, Reloaded, SignalingProgress,
        StreamFlow, SupervisorAnswer, SupervisorRequest, ToSupervisor,
    },
};
use proptest::prelude::*;

/// Encodes to exactly `golden` (length prefix included), and `golden` decodes to the same again.
fn golden<M: Message + PartialEq + std::fmt::Debug>(message: &M, golden: &[u8]) {
    let bytes = encode(message).unwrap().to_bytes();
    assert_eq!(
        bytes, golden,
        "the bytes of {message:?} changed: append variants, never move them"
    );
    assert_eq!(&decode::<M>(bytes.slice(4..)).unwrap(), message);
}

#[test]
fn protocol_1_to_an_encoder_keeps_its_bytes() {
    golden(&ToEncoder::Subscribe, b"\0\0\0\x05\0\0\0\x01\x00");
    golden(&ToEncoder::Unsubscribe, b"\0\0\0\x05\0\0\0\x01\x01");
    golden(&ToEncoder::RequestKeyframe, b"\0\0\0\x05\0\0\0\x01\x02");
    let ask = |request| ToEncoder::Request {
        id: RequestId(7),
        request,
    };
    let change = QualityChange {
        bitrate: Some(100_000),
        fps: None,
        longest_edge: Some(64),
    };
    golden(
        &ask(EncoderRequest::SetQuality(change)),
        b"\0\0\0\x10\0\0\0\x0c\x03\x07\x00\x01\xfc\xa0\x86\x01\x00\x00\x01\x40",
    );
    golden(
        &ask(EncoderRequest::Snapshot(ImageFormat::Png)),
        b"\0\0\0\x08\0\0\0\x04\x03\x07\x04\x01",
    );
    golden(&ask(EncoderRequest::Stall), b"\0\0\0\x07\0\0\0\x03\x03\x07\x05");
    golden(
        &ask(EncoderRequest::Clip(ClipSpan::Next { ms: 200 })),
        b"\0\0\0\x09\0\0\0\x05\x03\x07\x06\x01\xc8",
    );
    golden(&ask(EncoderRequest::ResetQuality), b"\0\0\0\x07\0\0\0\x03\x03\x07\x08");
    golden(&ask(EncoderRequest::Still), b"\0\0\0\x07\0\0\0\x03\x03\x07\x09");
    golden(&ToEncoder::Cancel { id: RequestId(7) }, b"\0\0\0\x06\0\0\0\x02\x04\x07");
    let half = ToEncoder::SubscribeTo {
        track: Track::Video,
        rung: Rung::Half,
    };
    golden(&half, b"\0\0\0\x07\0\0\0\x03\x05\x00\x01");
    golden(
        &ask(EncoderRequest::StallRung(Rung::Quarter)),
        b"\0\0\0\x08\0\0\0\x04\x03\x07\x07\x02",
    );
}

#[test]
fn protocol_1_to_a_desktop_and_back_keeps_its_bytes() {
    let (grant, at) = (Grant(7), Place { x: 1, y: 1000 });
    let act = |act| ToEncoder::Steer(Steer::Act(grant, act));
    golden(
        &ToEncoder::Steer(Steer::Begin(grant)),
        b"\0\0\0\x07\0\0\0\x03\x06\x00\x07",
    );
    golden(
        &ToEncoder::Steer(Steer::Alive(grant)),
        b"\0\0\0\x07\0\0\0\x03\x06\x02\x07",
    );
    golden(
        &ToEncoder::Steer(Steer::End(grant)),
        b"\0\0\0\x07\0\0\0\x03\x06\x03\x07",
    );
    golden(
        &act(Act::Move(at)),
        b"\0\0\0\x0c\0\0\0\x08\x06\x01\x07\x00\x01\xfb\xe8\x03",
    );
    let press = Act::Button {
        button: 3,
        down: true,
        at,
    };
    golden(
        &act(press),
        b"\0\0\0\x0e\0\0\0\x0a\x06\x01\x07\x01\x03\x01\x01\xfb\xe8\x03",
    );
    golden(
        &act(Act::Wheel { dx: 0, dy: -3, at }),
        b"\0\0\0\x0e\0\0\0\x0a\x06\x01\x07\x02\x00\xfd\x01\xfb\xe8\x03",
    );
    let key = Act::Key { keysym: 97, down: true };
    golden(&act(key), b"\0\0\0\x0a\0\0\0\x06\x06\x01\x07\x03\x61\x01");
    golden(
        &act(Act::Text("hi".into())),
        b"\0\0\0\x0b\0\0\0\x07\x06\x01\x07\x04\x02hi",
    );
    golden(
        &act(Act::Clipboard("hi".into())),
        b"\0\0\0\x0b\0\0\0\x07\x06\x01\x07\x05\x02hi",
    );
    let desk = |desk| FromEncoder::Desk(desk);
    golden(
        &desk(Desk::Clipboard(grant, "hi".into())),
        b"\0\0\0\x0a\0\0\0\x06\x07\x00\x07\x02hi",
    );
    golden(&desk(Desk::Released(grant)), b"\0\0\0\x07\0\0\0\x03\x07\x01\x07");
    golden(
        &desk(Desk::Failed(grant, "no".into())),
        b"\0\0\0\x0a\0\0\0\x06\x07\x02\x07\x02no",
    );
    golden(
        &desk(Desk::Ended(grant, "no".into())),
        b"\0\0\0\x0a\0\0\0\x06\x07\x03\x07\x02no",
    );
}

#[test]
fn protocol_1_from_an_encoder_keeps_its_bytes() {
    golden(&FromEncoder::Source(SourceState::Live), b"\0\0\0\x06\0\0\0\x02\x00\x02");
    golden(
        &FromEncoder::Source(SourceState::Untried),
        b"\0\0\0\x06\0\0\0\x02\x00\x07",
    );
    let unavailable = SourceState::Unavailable {
        reason: "no".into(),
        retry_in_ms: 100,
    };
    golden(
        &FromEncoder::Source(unavailable),
        b"\0\0\0\x0a\0\0\0\x06\x00\x04\x02no\x64",
    );
    let parameters = CodecParameters {
        codec: Codec::H264,
        width: 64,
        height: 48,
        fps: 30,
        bitrate: 200,
        encoder: "x".into(),
        copied: Some([0x64, 0, 0x28]),
    };
    golden(
        &FromEncoder::Parameters(parameters),
        b"\0\0\0\x10\0\0\0\x0c\x01\x00\x40\x30\x1e\xc8\x01x\x01\x64\x00\x28",
    );
    let payload = Bytes::from_static(b"\0\0\x01picture");
    let unit = AccessUnit {
        sequence: 1,
        captured_ns: 2,
        encoded_ns: 300,
        pts: 4,
        keyframe: true,
        payload,
    };
    golden(
        &FromEncoder::Frame(unit),
        b"\0\0\0\x16\0\0\0\x08\x02\x01\x02\xfb\x2c\x01\x04\x01\0\0\x01picture",
    );
    let quality = Quality {
        bitrate: 200,
        fps: 30,
        longest_edge: 64,
    };
    golden(&FromEncoder::Quality(quality), b"\0\0\0\x08\0\0\0\x04\x05\xc8\x1e\x40");
    golden(
        &FromEncoder::NoRung { reason: "no".into() },
        b"\0\0\0\x08\0\0\0\x04\x06\x02no",
    );
    golden(&FromEncoder::Gap { ms: 200 }, b"\0\0\0\x06\0\0\0\x02\x08\xc8");
    let load = Load {
        state: LoadState::Overloaded,
        percent: 214,
        fps: 15,
        asked_fps: 30,
        longest_edge: 48,
        asked_longest_edge: 64,
    };
    golden(
        &FromEncoder::Load(Some(load)),
        b"\0\0\0\x0c\0\0\0\x08\x09\x01\x02\xd6\x0f\x1e\x30\x40",
    );
    golden(&FromEncoder::Load(None), b"\0\0\0\x06\0\0\0\x02\x09\x00");
    golden(&FromEncoder::Lost { frames: 9 }, b"\0\0\0\x06\0\0\0\x02\x03\x09");
}

#[test]
fn protocol_1_answers_of_an_encoder_keep_their_bytes() {
    let quality = Quality {
        bitrate: 200,
        fps: 30,
        longest_edge: 64,
    };
    let result = Ok(EncoderAnswer::Quality {
        quality,
        changed: false,
    });
    golden(
        &FromEncoder::Response {
            id: RequestId(1),
            result,
        },
        b"\0\0\0\x0c\0\0\0\x08\x04\x01\x00\x01\xc8\x1e\x40\x00",
    );
    let result = Ok(EncoderAnswer::Clip {
        duration_ms: 200,
        age_ms: 3,
        mp4: Bytes::from_static(b"film"),
    });
    golden(
        &FromEncoder::Response {
            id: RequestId(1),
            result,
        },
        b"\0\0\0\x0f\0\0\0\x0b\x04\x01\x00\x03\xc8\x03\x04film",
    );
}

#[test]
fn protocol_1_with_the_bridge_keeps_its_bytes() {
    let ask = |request| ToBridge::Request {
        id: RequestId(7),
        request,
    };
    golden(&ask(BridgeRequest::Pause), b"\0\0\0\x07\0\0\0\x03\x00\x07\x00");
    golden(&ask(BridgeRequest::Resume), b"\0\0\0\x07\0\0\0\x03\x00\x07\x01");
    golden(&ask(BridgeRequest::Reconnect), b"\0\0\0\x07\0\0\0\x03\x00\x07\x02");
    golden(&ask(BridgeRequest::Jobs), b"\0\0\0\x07\0\0\0\x03\x00\x07\x03");
    let share = BridgeRequest::Share {
        stream: Some("door".parse::<StreamName>().unwrap()),
        control: true,
        expires_s: Some(90),
    };
    golden(&ask(share), b"\0\0\0\x10\0\0\0\x0c\x00\x07\x04\x01\x04door\x01\x01\x5a");
    golden(&ask(BridgeRequest::Unshare), b"\0\0\0\x07\0\0\0\x03\x00\x07\x05");
    golden(&ask(BridgeRequest::Address), b"\0\0\0\x07\0\0\0\x03\x00\x07\x06");

    let answer = |result| FromBridge::Response {
        id: RequestId(7),
        result,
    };
    golden(&answer(Ok(BridgeAnswer::Done)), b"\0\0\0\x08\0\0\0\x04\x00\x07\x00\x00");
    let job = BridgeJob {
        id: "j".into(),
        state: "failed".into(),
        error: Some("no".into()),
    };
    golden(
        &answer(Ok(BridgeAnswer::Jobs {
            paused: true,
            jobs: vec![job],
        })),
        b"\0\0\0\x17\0\0\0\x13\x00\x07\x00\x01\x01\x01\x01j\x06failed\x01\x02no",
    );
    golden(
        &answer(Ok(BridgeAnswer::Shared { url: "u".into() })),
        b"\0\0\0\x0a\0\0\0\x06\x00\x07\x00\x02\x01u",
    );
    golden(
        &answer(Ok(BridgeAnswer::Unshared { ended: 2 })),
        b"\0\0\0\x09\0\0\0\x05\x00\x07\x00\x03\x02",
    );
    let refusal = Refusal::new(RefusalKind::Unavailable, "no");
    golden(&answer(Err(refusal)), b"\0\0\0\x0b\0\0\0\x07\x00\x07\x01\x02\x02no");
}

#[test]
fn protocol_1_to_the_supervisor_keeps_its_bytes() {
    let progress = Progress::Bridge(BridgeProgress {
        state: BridgeState::Online,
        reason: None,
    });
    golden(
        &ToSupervisor::Heartbeat(Heartbeat { sequence: 3, progress }),
        b"\0\0\0\x09\0\0\0\x05\x00\x03\x02\x03\x00",
    );
    let restart = SupervisorRequest::Restart {
        process: "bridge".into(),
    };
    golden(
        &ToSupervisor::Request {
            id: RequestId(2),
            request: restart,
        },
        b"\0\0\0\x0e\0\0\0\x0a\x01\x02\x01\x06bridge",
    );
    let request = SupervisorRequest::Reload;
    let reload = ToSupervisor::Request {
        id: RequestId(2),
        request,
    };
    golden(&reload, b"\0\0\0\x07\0\0\0\x03\x01\x02\x05");
    let try_hook = ToSupervisor::Request {
        id: RequestId(2),
        request: SupervisorRequest::TryHook { hook: "door".into() },
    };
    golden(&try_hook, b"\0\0\0\x0c\0\0\0\x08\x01\x02\x07\x04door");
    let left = Happening::ViewerLeft {
        stream: "a".parse().unwrap(),
        viewer: "b".into(),
        reason: "c".into(),
    };
    golden(
        &ToSupervisor::Happened(left),
        b"\0\0\0\x0c\0\0\0\x08\x02\x01\x01a\x01b\x01c",
    );
    let ended = ToSupervisor::Happened(Happening::SharesEnded { count: 3 });
    golden(&ended, b"\0\0\0\x07\0\0\0\x03\x02\x03\x03");
    let push = PushStatus {
        name: "a".into(),
        state: PushState::NotFound,
        reason: Some("no".into()),
        retry_in_ms: Some(5),
        session: None,
    };
    let flow = StreamFlow {
        stream: "s".parse().unwrap(),
        viewers: 1,
        live: 2,
        frames_published: Counter::default(),
        frames_sent: Counter::default(),
        pushes: vec![push],
    };
    let progress = Progress::Signaling(SignalingProgress {
        http: "h".into(),
        rtp: Counter::default(),
        datagrams: Datagrams::default(),
        streams: vec![flow],
        certificate: None,
    });
    golden(
        &ToSupervisor::Heartbeat(Heartbeat { sequence: 3, progress }),
        b"\0\0\0\x23\0\0\0\x1f\x00\x03\x01\x01h\x00\x00\x00\x00\x00\x01\x01s\x01\x02\x00\x00\x00\x00\x01\x01a\x06\x01\x02no\x01\x05\x00\x00",
    );
}

#[test]
fn protocol_1_from_the_supervisor_keeps_its_bytes() {
    let answer = |answer| FromSupervisor::Response {
        id: RequestId(2),
        result: Ok(answer),
    };
    golden(&answer(SupervisorAnswer::Done), b"\0\0\0\x08\0\0\0\x04\x00\x02\x00\x00");
    let reloaded = Reloaded {
        added: vec!["a".parse().unwrap()],
        restarted: vec!["b".into()],
        ..Reloaded::default()
    };
    golden(
        &answer(SupervisorAnswer::Reloaded(reloaded)),
        b"\0\0\0\x12\0\0\0\x0e\x00\x02\x00\x04\x01\x01a\x00\x00\x01\x01b\x00\x00",
    );
    let hook = HookStatus {
        name: "a".into(),
        target: "b".into(),
        events: vec![HookEvent::StreamState, HookEvent::Disk],
        waiting: 1,
        delivered: 2,
        lost: 3,
        failures: 4,
        last_error: None,
        retry_in_ms: Some(5),
    };
    golden(
        &answer(SupervisorAnswer::Hooks(vec![hook])),
        b"\0\0\0\x17\0\0\0\x13\x00\x02\x00\x05\x01\x01a\x01b\x02\x00\x07\x01\x02\x03\x04\x00\x01\x05",
    );
    let trial = HookTrial {
        took_ms: 9,
        error: Some("no".into()),
    };
    golden(
        &answer(SupervisorAnswer::HookTried(trial)),
        b"\0\0\0\x0d\0\0\0\x09\x00\x02\x00\x06\x09\x01\x02no",
    );
}

#[test]
fn message_over_its_channels_cap_is_refused_before_it_is_sent() {
    let payload = Bytes::from(vec![0; MAX_MEDIA_MESSAGE]);
    let unit = AccessUnit {
        sequence: 0,
        captured_ns: 0,
        encoded_ns: 0,
        pts: 0,
        keyframe: true,
        payload,
    };
    let error = encode(&FromEncoder::Frame(unit)).unwrap_err();
    assert!(matches!(error, EncodeError::TooLong { .. }), "{error}");
}

#[test]
fn claimed_length_beyond_all_memory_is_an_error_and_no_abort() {
    // `Unavailable` with a reason that claims 2^62 bytes.
    let mut header = vec![0x00, 0x04, 0xfd];
    header.extend((1_u64 << 62).to_le_bytes());
    let mut bytes = u32::try_from(header.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(header);
    assert!(matches!(
        decode::<FromEncoder>(bytes.into()),
        Err(DecodeError::Codec(_))
    ));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        _ = decode::<ToEncoder>(bytes.clone());
        _ = decode::<FromEncoder>(bytes.clone());
        _ = decode::<ToSupervisor>(bytes.clone());
        _ = decode::<FromSupervisor>(bytes);
    }

    #[test]
    fn damaged_messages_never_panic(at in 4..60_usize, to in any::<u8>(), cut in 0..60_usize) {
        let progress = Progress::Bridge(BridgeProgress { state: BridgeState::Degraded, reason: Some("because".into()) });
        let message = ToSupervisor::Heartbeat(Heartbeat { sequence: 99, progress });
        let mut bytes = encode(&message).unwrap().to_bytes()[4..].to_vec();
        let at = at % bytes.len();
        bytes[at] = to;
        bytes.truncate(bytes.len().saturating_sub(cut % 8));
        _ = decode::<ToSupervisor>(bytes.into());
    }

    #[test]
    fn frames_come_back_as_they_went(sequence: u64, pts: u64, keyframe: bool, payload in prop::collection::vec(any::<u8>(), 0..5000)) {
        let payload = Bytes::from(payload);
        let message = FromEncoder::Frame(AccessUnit { sequence, captured_ns: pts, encoded_ns: sequence, pts, keyframe, payload });
        let bytes = encode(&message).unwrap().to_bytes();
        prop_assert_eq!(decode::<FromEncoder>(bytes.slice(4..)).unwrap(), message);
    }

    #[test]
    fn stream_names_from_the_wire_are_checked(text in "[ -~]{0,40}") {
        let good = text.parse::<StreamName>().is_ok();
        prop_assert_eq!(StreamName::try_from(text).is_ok(), good);
    }
}
