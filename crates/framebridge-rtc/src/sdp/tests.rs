//! Offers as players make them, and what we answer.

use super::{
    Answer, Candidate, Offer, OfferError,
    offer::{CAPTURE_TIME, NUMBERING, PLAYOUT},
};
use crate::{dtls::Identity, ice::Credentials};

/// The transport of whoever offers, with `user` as its ICE user.
fn transport(user: &str) -> Vec<String> {
    let fingerprint = ["AB"; 32].join(":");
    vec![
        format!("a=ice-ufrag:{user}"),
        "a=ice-pwd:0123456789abcdefghijklmn".to_owned(),
        format!("a=fingerprint:sha-256 {fingerprint}"),
        "a=setup:actpass".to_owned(),
    ]
}

/// A section, as its lines.
#[derive(Clone)]
struct Lines(Vec<String>);

impl Lines {
    fn of(lines: &[&str]) -> Self {
        Self(lines.iter().map(|line| (*line).to_owned()).collect())
    }

    fn with(mut self, lines: &[&str]) -> Self {
        self.0.extend(lines.iter().map(|line| (*line).to_owned()));
        self
    }

    /// With the transport of ICE user `user`.
    fn on(mut self, user: &str) -> Self {
        self.0.extend(transport(user));
        self
    }

    /// Port 0 and `a=bundle-only` (RFC 9143, section 6).
    fn bundle_only(mut self) -> Self {
        self.0[0] = self.0[0].replacen(" 9 ", " 0 ", 1);
        self.with(&["a=bundle-only"])
    }
}

fn audio(mid: &str) -> Lines {
    Lines::of(&[
        "m=audio 9 UDP/TLS/RTP/SAVPF 63 111 0",
        "c=IN IP4 0.0.0.0",
        &format!("a=mid:{mid}"),
    ])
    .with(&[
        "a=recvonly",
        "a=rtcp-mux",
        "a=rtpmap:63 red/48000/2",
        "a=fmtp:63 111/111",
        "a=rtpmap:111 opus/48000/2",
        "a=fmtp:111 minptime=10;useinbandfec=1",
        "a=rtpmap:0 PCMU/8000",
    ])
}

fn video(mid: &str) -> Lines {
    Lines::of(&[
        "m=video 9 UDP/TLS/RTP/SAVPF 96 97 102",
        "c=IN IP4 0.0.0.0",
        &format!("a=mid:{mid}"),
    ])
    .with(&[
        "a=recvonly",
        "a=rtcp-mux",
        "a=rtcp-rsize",
        "a=rtpmap:96 VP8/90000",
        "a=rtpmap:97 rtx/90000",
        "a=fmtp:97 apt=96",
        "a=rtpmap:102 H264/90000",
        "a=rtcp-fb:102 nack",
        "a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
    ])
}

fn data(mid: &str) -> Lines {
    Lines::of(&[
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 0.0.0.0",
        &format!("a=mid:{mid}"),
    ])
    .with(&["a=sctp-port:5000", "a=max-message-size:262144"])
}

/// An offer of these sections, with these lines of the session.
fn offer(session: &[&str], sections: &[Lines]) -> String {
    let head = ["v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0"];
    let head = head.iter().chain(session).map(|line| (*line).to_owned());
    let lines = head.chain(sections.iter().flat_map(|section| section.0.clone()));
    lines.flat_map(|line| [line, "\r\n".to_owned()]).collect()
}

/// What we answer, as the session's lines and each section's.
fn answer(offer: &str) -> Vec<Vec<String>> {
    let offer = Offer::parse(offer).unwrap();
    let text = Answer {
        offer,
        ice: Credentials {
            ufrag: "ours".to_owned(),
            password: "abcdefghijklmnopqrstuvwx".to_owned(),
        },
        fingerprint: Identity::generate().unwrap().fingerprint().clone(),
        candidates: vec![
            Candidate::host("192.0.2.1:8897".parse().unwrap(), 0),
            Candidate::tcp("192.0.2.1:8890".parse().unwrap(), 0),
        ],
        ssrc: 7,
        repair_ssrc: 8,
        name: "test".to_owned(),
        cname: "somebody".to_owned(),
    }
    .write(None);
    let mut parts = vec![Vec::new()];
    for line in text.lines() {
        if line.starts_with("m=") {
            parts.push(Vec::new());
        }
        parts.last_mut().unwrap().push(line.to_owned());
    }
    parts
}

#[track_caller]
fn has(lines: &[String], wanted: &str) {
    assert!(lines.iter().any(|line| line == wanted), "no {wanted} in {lines:#?}");
}

#[track_caller]
fn lacks(lines: &[String], start: &str) {
    assert!(
        !lines.iter().any(|line| line.starts_with(start)),
        "{start} in {lines:#?}"
    );
}

/// The section has a way to us.
#[track_caller]
fn is_open(lines: &[String]) {
    has(lines, "a=ice-ufrag:ours");
    has(lines, "a=setup:passive");
    has(lines, "a=end-of-candidates");
    assert!(lines.iter().any(|line| line.starts_with("a=candidate:")), "{lines:#?}");
}

#[test]
fn tag_that_is_another_section_is_accepted_idle_with_the_transport() {
    let group = "a=group:BUNDLE 0 1";
    let parts = answer(&offer(&[group], &[audio("0").on("wxyz"), video("1").on("wxyz")]));
    has(&parts[0], group);
    has(&parts[1], "m=audio 9 UDP/TLS/RTP/SAVPF 111");
    for line in [
        "a=rtpmap:111 opus/48000/2",
        "a=fmtp:111 minptime=10;useinbandfec=1",
        "a=inactive",
        "a=rtcp-mux",
    ] {
        has(&parts[1], line);
    }
    is_open(&parts[1]);
    lacks(&parts[1], "a=ssrc");
    has(&parts[2], "m=video 9 UDP/TLS/RTP/SAVPF 102");
    has(&parts[2], "a=sendonly");
    is_open(&parts[2]);
}

#[test]
fn tag_without_any_format_that_we_know_is_accepted_with_its_first() {
    let vp8 = Lines::of(&[
        "m=video 9 UDP/TLS/RTP/SAVPF 97 96",
        "a=mid:a",
        "a=recvonly",
        "a=rtcp-mux",
    ]);
    let vp8 = vp8
        .with(&["a=rtpmap:97 rtx/90000", "a=fmtp:97 apt=96", "a=rtpmap:96 VP8/90000"])
        .on("wxyz");
    let parts = answer(&offer(&["a=group:BUNDLE a b"], &[vp8, video("b").on("wxyz")]));
    has(&parts[0], "a=group:BUNDLE a b");
    has(&parts[1], "m=video 9 UDP/TLS/RTP/SAVPF 96");
    has(&parts[1], "a=rtpmap:96 VP8/90000");
    lacks(&parts[1], "a=fmtp");
    has(&parts[1], "a=inactive");
    is_open(&parts[1]);
}

#[test]
fn tag_for_data_is_accepted_as_data() {
    let parts = answer(&offer(
        &["a=group:BUNDLE 0 1"],
        &[data("0").on("wxyz"), video("1").on("wxyz")],
    ));
    has(&parts[0], "a=group:BUNDLE 0 1");
    has(&parts[1], "m=application 9 UDP/DTLS/SCTP webrtc-datachannel");
    has(&parts[1], "a=sctp-port:5000");
    is_open(&parts[1]);
    for none in ["a=inactive", "a=rtcp-mux", "a=rtpmap"] {
        lacks(&parts[1], none);
    }
    let old = Lines::of(&[
        "m=application 9 DTLS/SCTP 5000",
        "a=mid:0",
        "a=sctpmap:5000 webrtc-datachannel 1024",
    ]);
    let parts = answer(&offer(&["a=group:BUNDLE 0 1"], &[old.on("wxyz"), video("1")]));
    has(&parts[1], "m=application 9 DTLS/SCTP 5000");
    has(&parts[1], "a=sctpmap:5000 webrtc-datachannel 1024");
}

#[test]
fn only_the_tag_and_the_video_are_accepted_whatever_else_is_offered() {
    let sections = [audio("0"), audio("1"), data("2"), video("3"), video("4")].map(|section| section.on("wxyz"));
    let parts = answer(&offer(&["a=group:BUNDLE 0 1 2 3 4"], &sections));
    has(&parts[0], "a=group:BUNDLE 0 3");
    let ports: Vec<&str> = parts[1..].iter().filter_map(|part| part[0].split(' ').nth(1)).collect();
    assert_eq!(ports, ["9", "0", "0", "9", "0"]);
    has(&parts[2], "a=inactive");
    lacks(&parts[2], "a=candidate");
}

#[test]
fn video_that_is_the_tag_stays_alone_in_the_group() {
    let parts = answer(&offer(
        &["a=group:BUNDLE 1 0"],
        &[audio("0").on("wxyz"), video("1").on("wxyz")],
    ));
    has(&parts[0], "a=group:BUNDLE 1");
    has(&parts[1], "m=audio 0 UDP/TLS/RTP/SAVPF 63 111 0");
}

#[test]
fn group_counts_only_if_the_video_is_in_it() {
    for (groups, expected) in [
        (&["a=group:BUNDLE 7"][..], None),
        (&["a=group:LS 0 1"], None),
        (&["a=group:BUNDLED 0 1"], None),
        (&["a=group:BUNDLE"], None),
        (&["a=group:BUNDLE 0"], None),
        (&["a=group:BUNDLE 0", "a=group:BUNDLE 1"], Some("a=group:BUNDLE 1")),
        (&["a=group:BUNDLE 7 1"], Some("a=group:BUNDLE 1")),
        (&["a=group:LS 0 1", "a=group:BUNDLE 0 1"], Some("a=group:BUNDLE 0 1")),
    ] {
        let parts = answer(&offer(groups, &[audio("0").on("abcd"), video("1").on("wxyz")]));
        let said = parts[0].iter().find(|line| line.starts_with("a=group"));
        assert_eq!(said.map(String::as_str), expected, "{groups:?}");
    }
    let nameless = Lines(video("1").0.into_iter().filter(|line| line != "a=mid:1").collect());
    let parts = answer(&offer(
        &["a=group:BUNDLE 0 1"],
        &[audio("0").on("abcd"), nameless.on("wxyz")],
    ));
    lacks(&parts[0], "a=group");
}

#[test]
fn tag_that_the_offer_itself_does_not_want_is_none() {
    let mut unwanted = audio("0").on("abcd");
    unwanted.0[0] = unwanted.0[0].replacen(" 9 ", " 0 ", 1);
    let text = offer(&["a=group:BUNDLE 0 1"], &[unwanted, video("1").on("wxyz")]);
    assert_eq!(Offer::parse(&text).unwrap().ice.ufrag, "wxyz");
    has(&answer(&text)[0], "a=group:BUNDLE 1");
}

#[test]
fn transport_of_a_group_is_its_tags() {
    let group = &["a=group:BUNDLE 0 1"];
    let candidates = ["a=candidate:1 1 udp 5 192.0.2.1 4000 typ host"];
    let tag = audio("0").on("tags").with(&candidates);
    // As RFC 9429 writes it, with port 9 as some do, and with a transport of its own that is not used once bundled.
    let others = ["a=candidate:1 1 udp 5 192.0.2.1 4001 typ host"];
    for video in [
        video("1").bundle_only(),
        video("1"),
        video("1").on("other").with(&others),
    ] {
        let offer = Offer::parse(&offer(group, &[tag.clone(), video])).unwrap();
        assert_eq!(offer.ice.ufrag, "tags");
        assert_eq!(offer.candidates.len(), 1);
        assert_eq!(offer.candidates[0].address.port(), 4000);
        assert_eq!(offer.transport_mid(), Some("0"));
    }
    // Without a group each section goes its own way.
    let offer = Offer::parse(&offer(&[], &[tag, video("1").on("other")])).unwrap();
    assert_eq!((offer.ice.ufrag.as_str(), offer.candidates.len()), ("other", 0));
    assert_eq!(offer.transport_mid(), Some("1"));
}

#[test]
fn transport_may_stand_at_the_session_and_rtcp_mux_anywhere() {
    let lines = transport("wxyz");
    let mut session: Vec<&str> = lines.iter().map(String::as_str).collect();
    session.push("a=rtcp-mux");
    let bare = |section: Lines| Lines(section.0.into_iter().filter(|line| line != "a=rtcp-mux").collect());
    assert_eq!(
        Offer::parse(&offer(&session, &[bare(video("0"))])).unwrap().ice.ufrag,
        "wxyz"
    );
    session.push("a=group:BUNDLE 0 1");
    let text = offer(&session, &[audio("0"), bare(video("1")).bundle_only()]);
    assert_eq!(Offer::parse(&text).unwrap().ice.ufrag, "wxyz");
    let exclusive = bare(video("0")).on("wxyz").with(&["a=rtcp-mux-only"]);
    Offer::parse(&offer(&[], &[exclusive])).unwrap();
    let text = offer(&["a=group:BUNDLE 0 1"], &[audio("0").on("wxyz"), bare(video("1"))]);
    Offer::parse(&text).unwrap();
    Offer::parse(&offer(&[], &[bare(video("0")).on("wxyz")])).unwrap_err();
}

#[test]
fn answer_says_what_was_offered_and_what_whep_wants() {
    let parts = answer(&offer(&["a=group:BUNDLE 0"], &[video("0").on("wxyz")]));
    has(&parts[0], "a=ice-options:trickle ice2");
    for line in [
        "a=rtcp-rsize",
        "a=rtcp-mux-only",
        "a=ssrc:7 cname:somebody",
        "a=msid:test video",
    ] {
        has(&parts[1], line);
    }
    let plain = Lines(video("0").0.into_iter().filter(|line| line != "a=rtcp-rsize").collect());
    let parts = answer(&offer(&[], &[plain.on("wxyz")]));
    lacks(&parts[1], "a=rtcp-rsize");
    lacks(&parts[1], "a=rtcp-mux-only");
}

#[test]
fn any_fingerprint_that_we_know_is_the_viewers() {
    let named = |lines: &[&str]| {
        let mut section = video("0").on("wxyz");
        section.0.retain(|line| !line.starts_with("a=fingerprint"));
        Offer::parse(&offer(&[], &[section.with(lines)])).map(|offer| offer.fingerprints.len())
    };
    let of = |hash: &str, bytes: usize| format!("a=fingerprint:{hash} {}", vec!["CD"; bytes].join(":"));
    let (sha1, sha256, sha512) = (of("sha-1", 20), of("sha-256", 32), of("SHA-512", 64));
    assert_eq!(named(&[&sha1, &sha256]), Ok(1));
    assert_eq!(named(&[&sha256, &sha1, &sha256, &sha512]), Ok(3));
    assert_eq!(named(&vec![&*sha256; 20]), Ok(8));
    for bad in [&[][..], &[&*sha1], &["a=fingerprint:sha-256 CD"]] {
        assert!(matches!(named(bad), Err(OfferError::Malformed(_))), "{bad:?}");
    }
}

#[test]
fn transport_that_we_do_not_have_is_unacceptable_and_not_malformed() {
    let with = |from: &str, to: &str| {
        let text = offer(&[], &[video("0").on("wxyz")]).replace(from, to);
        Offer::parse(&text).map(|offer| offer.video)
    };
    for fine in ["a=setup:active", "a=x"] {
        assert_eq!(with("a=setup:actpass", fine), Ok(0));
    }
    for other in [
        ("a=setup:actpass", "a=setup:passive"),
        ("a=setup:actpass", "a=setup:holdconn"),
        ("a=rtcp-mux", "a=x"),
    ] {
        assert!(
            matches!(with(other.0, other.1), Err(OfferError::Unacceptable(_))),
            "{other:?}"
        );
    }
}

#[test]
fn control_characters_and_what_is_no_token_or_no_ice_text_are_refused() {
    let good = offer(&["a=group:BUNDLE 0"], &[video("0").on("wxyz")]);
    Offer::parse(&good).unwrap();
    Offer::parse(&good.replace("\r\n", "\n")).unwrap();
    for control in ['\0', '\x07', '\r', '\t', '\x1b', '\x7f', '\u{85}', '\u{9b}'] {
        for (from, to) in [
            ("packetization-mode", format!("x{control}y;packetization-mode")),
            ("a=rtcp-fb:102 nack", format!("a=rtcp-fb:102 na{control}ck")),
            ("s=-", format!("s={control}-")),
        ] {
            let bad = good.replacen(from, &to, 1);
            assert!(matches!(Offer::parse(&bad), Err(OfferError::Malformed(_))), "{bad:?}");
        }
    }
    for (from, to) in [
        ("a=ice-ufrag:wxyz", "a=ice-ufrag:wx yz"),
        ("a=ice-ufrag:wxyz", "a=ice-ufrag:wx:z"),
        ("a=ice-ufrag:wxyz", "a=ice-ufrag:wxy"),
        ("a=ice-pwd:0", "a=ice-pwd:\u{e9}"),
        ("a=mid:0", "a=mid:0 1"),
        ("a=mid:0", &*format!("a=mid:{}", "0".repeat(65))),
    ] {
        let bad = good.replacen(from, to, 1);
        assert!(matches!(Offer::parse(&bad), Err(OfferError::Malformed(_))), "{bad}");
    }
    let twice = offer(&["a=group:BUNDLE 0"], &[audio("0").on("wxyz"), video("0").on("wxyz")]);
    assert!(matches!(Offer::parse(&twice), Err(OfferError::Malformed(_))));
}

#[test]
fn candidates_of_another_ice_user_are_left_out() {
    let lines = [
        "a=candidate:1 1 udp 5 192.0.2.1 4000 typ host ufrag wxyz",
        "a=candidate:1 1 udp 5 192.0.2.1 4001 typ host ufrag abcd",
    ];
    let offer = Offer::parse(&offer(&[], &[video("0").on("wxyz").with(&lines)])).unwrap();
    let ports: Vec<u16> = offer
        .candidates
        .iter()
        .map(|candidate| candidate.address.port())
        .collect();
    assert_eq!(ports, [4000]);
}

#[test]
fn repairs_and_numbers_are_taken_where_they_are_offered_for_the_format() {
    let lines = [
        "a=rtcp-fb:102 transport-cc",
        "a=rtcp-fb:102 goog-remb",
        "a=rtpmap:103 rtx/90000",
        "a=fmtp:103 apt=102",
    ];
    let extensions = [
        format!("a=extmap:5/recvonly {NUMBERING}"),
        format!("a=extmap:7 {PLAYOUT}"),
        format!("a=extmap:9 {CAPTURE_TIME}"),
    ];
    let mut section = video("0").with(&lines).with(&extensions.each_ref().map(String::as_str));
    section.0[0].push_str(" 103");
    let whole = offer(&["a=group:BUNDLE 0"], &[section.clone().on("theirs")]);
    let parts = answer(&whole);
    has(&parts[1], "m=video 9 UDP/TLS/RTP/SAVPF 102 103");
    for line in [
        "a=rtpmap:103 rtx/90000",
        "a=fmtp:103 apt=102",
        "a=rtcp-fb:102 transport-cc",
        "a=ssrc-group:FID 7 8",
        "a=ssrc:8 cname:somebody",
        &format!("a=extmap:5 {NUMBERING}"),
        &format!("a=extmap:7 {PLAYOUT}"),
        &format!("a=extmap:9 {CAPTURE_TIME}"),
    ] {
        has(&parts[1], line);
    }
    lacks(&parts[1], "a=rtcp-fb:102 goog-remb");
    // Without one of the three there are no numbers; without the first no repairs either.
    for (without, repairs) in [
        ("a=fmtp:103", false),
        ("a=rtcp-fb:102 transport-cc", true),
        ("a=extmap:5", true),
    ] {
        let lines: Vec<&str> = whole.lines().filter(|line| !line.starts_with(without)).collect();
        let parts = answer(&lines.join("\r\n"));
        lacks(&parts[1], "a=extmap:5");
        lacks(&parts[1], "a=rtcp-fb:102 transport-cc");
        has(&parts[1], "a=rtcp-fb:102 goog-remb");
        assert_eq!(parts[1].iter().any(|line| line.contains("FID")), repairs, "{without}");
    }
}

#[test]
fn numbers_need_an_extension_of_one_byte_that_the_viewer_takes() {
    for extmap in ["a=extmap:15", "a=extmap:0", "a=extmap:5/sendonly", "a=extmap:x"] {
        let lines = [
            "a=rtcp-fb:102 transport-cc",
            "a=rtpmap:103 rtx/90000",
            "a=fmtp:103 apt=102",
            &format!("{extmap} {NUMBERING}"),
        ];
        let mut section = video("0").with(&lines);
        section.0[0].push_str(" 103");
        let parts = answer(&offer(&["a=group:BUNDLE 0"], &[section.on("theirs")]));
        lacks(&parts[1], "a=extmap");
    }
}
