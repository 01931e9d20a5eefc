//! What viewers ask for: offers, and fragments for trickled candidates and restarts.

use std::sync::LazyLock;

use framebridge_rtc::{
    dtls::Identity,
    hostile::{self, Asked},
    ice::Credentials,
};

static IDENTITY: LazyLock<Identity> = LazyLock::new(|| Identity::generate().expect("ring makes a certificate"));

/// An offer: what is answered has a section for each of its sections, and no more control characters than line ends.
pub(super) fn offer(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    // What a receiver answers to an offer of ours is read by the same code.
    _ = hostile::agrees(text);
    let Some(answer) = hostile::answer(text, IDENTITY.fingerprint()) else {
        return;
    };
    assert!(answer.ends_with("\r\n"));
    let lines: Vec<&str> = answer.split_terminator("\r\n").collect();
    assert!(!lines.iter().any(|line| line.contains(char::is_control)), "{answer:?}");
    let sections = lines.iter().filter(|line| line.starts_with("m=")).count();
    let offered = text.lines().filter(|line| line.trim_start().starts_with("m=")).count();
    assert_eq!(sections, offered, "{answer}");
    let open = lines.iter().filter(|line| **line == "a=sendonly").count();
    assert_eq!(open, 1, "one section plays: {answer}");
}

/// A fragment of a PATCH: what it asks for can be sent back and read as the same.
pub(super) fn fragment(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let current = Credentials {
        ufrag: "abcd".to_owned(),
        password: "0123456789012345678901".to_owned(),
    };
    let Some(Asked { restart, candidates }) = hostile::fragment(text, &current) else {
        return;
    };
    let candidates_in = text.matches("candidate").count();
    assert!(candidates.len() <= candidates_in, "candidates out of nothing");
    let Some(fresh) = restart else { return };
    assert_ne!(fresh, current);
    let written = hostile::write_fragment(&fresh, &candidates);
    let read = hostile::fragment(&written, &current).expect("what we write can be read");
    assert_eq!((read.restart, read.candidates), (Some(fresh), candidates));
}
