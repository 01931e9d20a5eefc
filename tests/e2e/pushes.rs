//! Streams that are sent on to a receiver elsewhere: another Framebridge, which somebody publishes to.

use std::{fs, path::Path};

use framebridge_proto::status::{PushState, PushStatus};
use framebridge_tests::{
    no_udp::NoUdp,
    system::System,
    wait::{self, PATIENCE},
};
use serde_json::Value;

/// What is published to at the receiver.
const PUBLISHED: &str = "live";

/// What is sent on.
const STREAM: &str = "test";

/// A receiver that asks for tokens, and one that may publish there.
fn receiver(folder: &Path) -> (System, String) {
    let receiver = System::start_with(&[(PUBLISHED, "whip:"), ("camera", "test:")], &asking(folder)).unwrap();
    let token = publishing(&receiver);
    (receiver, token)
}

/// Tokens are asked for, and are in a file of `folder`.
fn asking(folder: &Path) -> String {
    let tokens = folder.join("tokens.toml").display().to_string();
    format!("[http.auth]\nmode = \"token\"\ntokens = {tokens:?}\nopen = [\"view\"]\n[video]\nkeep = \"always\"\n")
}

/// A token that may publish.
fn publishing(receiver: &System) -> String {
    let made = receiver
        .bridgectl(&["token", "new", "studio", "--scope", "publish"])
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

fn push(name: &str, url: &str, token: &str) -> String {
    format!("[[streams.{STREAM}.push]]\nname = {name:?}\nurl = {url:?}\ntoken = {token:?}\n")
}

fn pushes(system: &System) -> Vec<PushStatus> {
    system.stream(STREAM).unwrap().pushes
}

/// Waits until the first push is in this state.
fn until(system: &System, state: PushState) -> PushStatus {
    wait::until(&format!("the push to be {state}"), PATIENCE, || {
        Ok(system
            .stream(STREAM)?
            .pushes
            .into_iter()
            .next()
            .filter(|push| push.state == state))
    })
    .unwrap()
}

/// Pictures go on to come at the receiver.
fn until_pictures_come(receiver: &System) {
    let before = receiver.stream(PUBLISHED).unwrap().frames_encoded;
    wait::until_true("pictures at the receiver", PATIENCE, || {
        let found = receiver.stream(PUBLISHED)?;
        // A new life counts from none.
        Ok(found.frames_encoded > before + 20 || (10..before).contains(&found.frames_encoded))
    })
    .unwrap();
}

/// The one viewer that there is.
fn viewer(system: &System) -> Value {
    let shown = system.bridgectl(&["viewers", "--json"]).unwrap();
    let viewers: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(viewers.as_array().map(Vec::len), Some(1), "{viewers}");
    viewers[0].clone()
}

#[test]
fn stream_is_sent_on_in_one_session_whatever_dies_and_anew_when_its_receiver_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let (receiver, token) = receiver(folder.path());
    let url = receiver.url(&format!("/whip/{PUBLISHED}"));
    let further = format!("disconnect_grace_ms = 1000\n{}", push("hall", &url, &token));
    let sender = System::start_beside(&receiver, &[(STREAM, "test:")], &further).unwrap();
    let live = until(&sender, PushState::Live);
    let snapshot = || {
        receiver
            .get(&format!("/api/v1/streams/{PUBLISHED}/snapshot.jpg"))
            .unwrap()
    };
    wait::until_true("a picture at the receiver", PATIENCE, || Ok(snapshot().status == 200)).unwrap();
    let first = viewer(&sender);
    assert_eq!(first["principal"], "push hall", "{first}");
    assert_eq!(Value::from(live.session.clone()), first["session"], "{first}");
    assert!(first["path"].as_str().unwrap().starts_with("udp"), "{first}");

    // Of what dies here, the receiver sees no more than a gap.
    sender.kill_and_await("signaling").unwrap();
    let after = until(&sender, PushState::Live);
    assert_eq!(after.session, live.session);
    sender.kill_and_await(&format!("encoder-{STREAM}")).unwrap();
    let before = sender.stream(STREAM).unwrap().frames_sent;
    wait::until_true("pictures to go on", PATIENCE, || {
        Ok(sender.stream(STREAM)?.frames_sent > before + 30)
    })
    .unwrap();
    wait::until_true("a picture at the receiver", PATIENCE, || Ok(snapshot().status == 200)).unwrap();
    assert_eq!(viewer(&sender)["session"], first["session"]);

    // A Framebridge that receives keeps its publishers' sessions, too.
    receiver.kill_and_await("signaling").unwrap();
    until_pictures_come(&receiver);
    assert_eq!(viewer(&sender)["session"], first["session"]);

    // What a receiver ends begins anew.
    let publisher = viewer(&receiver)["session"].as_str().unwrap().to_owned();
    let ended = receiver.bridgectl(&["kick", &publisher]).unwrap();
    assert!(ended.status.success(), "{ended:?}");
    wait::until_true("another session", PATIENCE, || {
        let push = pushes(&sender).remove(0);
        Ok(push.state == PushState::Live && push.session != live.session)
    })
    .unwrap();
    wait::until_true("a picture at the receiver", PATIENCE, || Ok(snapshot().status == 200)).unwrap();

    // An operator ends it, and begins it again.
    let session = until(&sender, PushState::Live).session.unwrap();
    let kicked = sender.bridgectl(&["kick", &session]).unwrap();
    assert!(kicked.status.success(), "{kicked:?}");
    let reason = until(&sender, PushState::Kicked).reason.unwrap();
    assert!(reason.contains("bridgectl reload"), "{reason}");
    wait::until_true("the receiver to know", PATIENCE, || {
        let reason = receiver.stream(PUBLISHED)?.reason;
        Ok(reason.is_some_and(|reason| reason.contains("nobody publishes")))
    })
    .unwrap();
    let reloaded = sender.bridgectl(&["reload"]).unwrap();
    assert!(reloaded.status.success(), "{reloaded:?}");
    until(&sender, PushState::Live);
    until_pictures_come(&receiver);
}

#[test]
fn receiver_that_no_udp_reaches_gets_the_stream_by_tcp() {
    let Some(network) = NoUdp::build().unwrap() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let receiver = System::start_public(&[(PUBLISHED, "whip:")], &asking(folder.path())).unwrap();
    let token = publishing(&receiver);
    let url = format!("http://{}:{}/whip/{PUBLISHED}", NoUdp::HERE, receiver.http().port());
    let there = network.there(|| {
        let sender = System::start_beside(&receiver, &[(STREAM, "test:")], &push("hall", &url, &token))?;
        until(&sender, PushState::Live);
        let path = viewer(&sender)["path"].clone();
        assert!(path.as_str().is_some_and(|path| path.starts_with("tcp")), "{path}");
        Ok(sender)
    });
    let _sender = there.unwrap();
    until_pictures_come(&receiver);
}

#[test]
fn each_refusal_of_a_receiver_is_told_by_its_name_and_mended_while_the_stream_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (receiver, token) = receiver(folder.path());
    let all = [
        push("first", &receiver.url(&format!("/whip/{PUBLISHED}")), "WRONG"),
        push("second", &receiver.url("/whip/nothing"), &token),
        push("third", &receiver.url("/whip/camera"), &token),
        push("fourth", "http://127.0.0.1:9/whip", &token),
    ];
    let sender = System::start_beside(&receiver, &[(STREAM, "test:")], &all.concat()).unwrap();
    let expected = [
        PushState::Unauthorized,
        PushState::NotFound,
        PushState::Conflict,
        PushState::Unreachable,
    ];
    wait::until_true("each refusal", PATIENCE, || {
        Ok(sender.stream(STREAM)?.pushes.iter().map(|push| push.state).eq(expected))
    })
    .unwrap();
    let why = sender.bridgectl(&["why", STREAM]).unwrap();
    let said = String::from_utf8_lossy(&why.stdout).into_owned();
    assert_eq!(why.status.code(), Some(1), "{said}");
    assert!(
        said.contains("push to first is unauthorized") && said.contains("`token`"),
        "{said}"
    );
    let metrics = sender.get("/metrics").unwrap().text();
    let line = r#"framebridge_push_state{stream="test",push="second",state="not-found"} 1"#;
    assert!(metrics.contains(line), "{metrics}");
    let shown = sender.bridgectl(&["config", "print"]).unwrap();
    let printed = String::from_utf8_lossy(&shown.stdout).into_owned();
    for told in [&said, &metrics, &printed, &sender.log().unwrap()] {
        assert!(!told.contains(&token) && !told.contains("WRONG"), "{told}");
    }

    // One that is refused has no session: its name ends it, and no other's.
    let wrong = sender.bridgectl(&["kick", "test/seconds"]).unwrap();
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(!wrong.status.success() && said.contains("second"), "{said}");
    let ended = sender.bridgectl(&["kick", "test/second"]).unwrap();
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(ended.status.success() && said.contains("bridgectl reload"), "{ended:?}");
    wait::until_true("the one that was ended", PATIENCE, || {
        let states = pushes(&sender).into_iter().map(|push| push.state);
        Ok(states.eq([expected[0], PushState::Kicked, expected[2], expected[3]]))
    })
    .unwrap();

    // The encoder does not notice.
    let encoder = sender.pid(&format!("encoder-{STREAM}")).unwrap();
    let text = fs::read_to_string(sender.config()).unwrap();
    let (head, _) = text.split_once("[[").unwrap();
    let (_, tail) = text.rsplit_once(&format!("[streams.{STREAM}]")).unwrap();
    let mended = push("first", &receiver.url(&format!("/whip/{PUBLISHED}")), &token);
    fs::write(sender.config(), format!("{head}{mended}[streams.{STREAM}]{tail}")).unwrap();
    let reloaded = sender.bridgectl(&["reload"]).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&reloaded.stdout).trim(),
        format!("pushed otherwise: {STREAM}")
    );
    until(&sender, PushState::Live);
    assert_eq!(pushes(&sender).len(), 1);
    until_pictures_come(&receiver);
    assert_eq!(sender.pid(&format!("encoder-{STREAM}")).unwrap(), encoder);
}
