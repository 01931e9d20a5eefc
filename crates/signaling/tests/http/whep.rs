//! WHEP, status by status.

use hyper::{Method, StatusCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    encoder::{Encoder, Script},
    site::Site,
};

/// A browser's offer, cut down to what matters.
pub(crate) const OFFER: &str = "v=0\r\n\
    o=- 4611731400430051336 2 IN IP4 127.0.0.1\r\n\
    s=-\r\n\
    t=0 0\r\n\
    a=group:BUNDLE 0\r\n\
    a=msid-semantic: WMS\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 102 103\r\n\
    c=IN IP4 0.0.0.0\r\n\
    a=rtcp:9 IN IP4 0.0.0.0\r\n\
    a=ice-ufrag:EsAw\r\n\
    a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
    a=ice-options:trickle\r\n\
    a=fingerprint:sha-256 DA:7B:57:DC:28:CE:04:4F:31:79:85:C4:31:67:EB:27:58:29:ED:77:2A:0D:24:AE:ED:AD:30:BC:BD:F1:9C:02\r\n\
    a=setup:actpass\r\n\
    a=mid:0\r\n\
    a=recvonly\r\n\
    a=rtcp-mux\r\n\
    a=rtcp-rsize\r\n\
    a=rtpmap:102 H264/90000\r\n\
    a=rtcp-fb:102 nack\r\n\
    a=rtcp-fb:102 nack pli\r\n\
    a=rtcp-fb:102 ccm fir\r\n\
    a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n\
    a=rtpmap:103 rtx/90000\r\n\
    a=fmtp:103 apt=102\r\n";

/// Trickles one candidate of the offer's ICE generation.
const TRICKLE: &str = "a=group:BUNDLE 0\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 102\r\n\
    a=mid:0\r\n\
    a=ice-ufrag:EsAw\r\n\
    a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
    a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw\r\n\
    a=end-of-candidates\r\n";

/// Starts another ICE generation.
const RESTART: &str = "a=ice-options:trickle\r\n\
    a=group:BUNDLE 0\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 102\r\n\
    a=mid:0\r\n\
    a=ice-ufrag:ysXw\r\n\
    a=ice-pwd:vw5LmwG4y/e6dPP/zAP9Gp5k\r\n\
    a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag ysXw\r\n";

const FRAGMENT: (&str, &str) = ("content-type", "application/trickle-ice-sdpfrag");

fn is_strong_tag(tag: &str) -> bool {
    tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"')
}

#[tokio::test]
async fn post_starts_an_idle_stream_and_answers_with_a_session() {
    let site = Site::with(&format!(
        "[http]\norigins = [\"*\"]\n{}[[webrtc.ice_servers]]\nurls = [\"stun:stun.example:3478\", \"turn:turn.example:3478\"]\nusername = \"me\"\ncredential = \"secret\"\n",
        crate::site::TWO_STREAMS
    ))
    .await;
    let encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    encoder.sees("a link while idle", |seen| seen.links == 1).await;
    assert_eq!(encoder.seen().subscriptions, 0, "nobody watches yet");

    let answer = site.offer("test", OFFER).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/sdp");
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    let exposed = answer.header("access-control-expose-headers");
    assert!(
        ["Location", "ETag", "Link"].iter().all(|name| exposed.contains(name)),
        "{exposed}"
    );
    assert!(is_strong_tag(answer.header("etag")));
    assert!(
        answer.text().starts_with("v=0\r\n") && answer.text().contains("a=sendonly"),
        "{}",
        answer.text()
    );
    let links: Vec<_> = answer
        .headers
        .get_all("link")
        .iter()
        .map(|link| link.to_str().unwrap())
        .collect();
    let (events, servers) = links.split_last().unwrap();
    assert_eq!(
        servers,
        [
            "<stun:stun.example:3478>; rel=\"ice-server\"; username=\"me\"; credential=\"secret\"; credential-type=\"password\"",
            "<turn:turn.example:3478>; rel=\"ice-server\"; username=\"me\"; credential=\"secret\"; credential-type=\"password\"",
        ]
    );
    let location = answer.header("location");
    let session = location.strip_prefix("/whep/test/").expect("below the endpoint");
    assert!(
        session.len() == 32 && session.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{session}"
    );
    assert_eq!(
        *events,
        format!(
            "<{location}/sse>; rel=\"urn:ietf:params:whep:ext:core:server-sent-events\"; events=\"active,inactive,reconnect,viewercount\""
        )
    );

    encoder.sees("the subscription", |seen| seen.subscribed).await;
    site.shows("/api/v1/streams/test", |stream| {
        stream["viewers"] == 1 && stream["state"] == "live"
    })
    .await;
}

#[tokio::test]
async fn last_viewer_that_leaves_ends_the_subscription() {
    let site = Site::start().await;
    let encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    let (first, _) = site.join("test").await;
    let (second, _) = site.join("test").await;
    assert_ne!(first, second);

    assert_eq!(site.send(Method::DELETE, &first, &[], "").await.status, StatusCode::OK);
    site.shows("/api/v1/streams/test", |stream| stream["viewers"] == 1)
        .await;
    assert!(encoder.seen().subscribed, "the other one still watches");
    assert_eq!(site.send(Method::DELETE, &second, &[], "").await.status, StatusCode::OK);
    let seen = encoder
        .sees("the end of the subscription", |seen| !seen.subscribed)
        .await;
    assert_eq!((seen.subscriptions, seen.links), (1, 1));
}

#[tokio::test]
async fn post_names_what_is_wrong_with_it() {
    let site = Site::start().await;
    let _encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    let post =
        async |path, kind: &str, body: String| site.send(Method::POST, path, &[("content-type", kind)], body).await;
    let sdp = "application/sdp";

    post("/whep/nothing", sdp, OFFER.into())
        .await
        .problem(404, "unknown_stream");
    post("/whep/No..Name", sdp, OFFER.into())
        .await
        .problem(404, "unknown_stream");
    post("/whep/test", "text/plain", OFFER.into())
        .await
        .problem(415, "unsupported_media_type");
    site.send(Method::POST, "/whep/test", &[], OFFER)
        .await
        .problem(415, "unsupported_media_type");
    post("/whep/test", sdp, "hello".into())
        .await
        .problem(400, "malformed_sdp");
    post("/whep/test", sdp, String::new())
        .await
        .problem(400, "malformed_sdp");
    site.send(Method::POST, "/whep/test", &[("content-type", sdp)], &b"v=0\xff"[..])
        .await
        .problem(400, "not_utf8");
    post("/whep/test", sdp, OFFER.replace("H264/90000", "VP8/90000"))
        .await
        .problem(422, "no_acceptable_codec");
    post(
        "/whep/test",
        sdp,
        OFFER.replace("packetization-mode=1", "packetization-mode=0"),
    )
    .await
    .problem(422, "packetization_mode_0");
    post("/whep/test", sdp, OFFER.replace("setup:actpass", "setup:passive"))
        .await
        .problem(422, "unacceptable_offer");
    post(
        "/whep/test",
        sdp,
        OFFER.replace("level-asymmetry", "level\x07asymmetry"),
    )
    .await
    .problem(400, "malformed_sdp");
    for size in [64 * 1024 + 1, 200_000, 3_000_000] {
        post("/whep/test", sdp, "x".repeat(size))
            .await
            .problem(413, "body_too_large");
    }
    post("/whep/test", sdp, "x".repeat(64 * 1024))
        .await
        .problem(400, "malformed_sdp");

    assert_eq!(
        post("/whep/test", "Application/SDP; charset=utf-8", OFFER.into())
            .await
            .status,
        StatusCode::CREATED
    );
    site.shows("/api/v1/streams/test", |stream| stream["viewers"] == 1)
        .await;
}

#[tokio::test]
async fn stream_that_can_not_be_watched_is_a_conflict_with_the_reason() {
    let site = Site::start().await;
    let failing = Encoder::start(&site.dir, "test", Script::Fails("no such camera")).await;
    failing.sees("a link", |seen| seen.links == 1).await;
    let answer = site.offer("test", OFFER).await;
    let problem = answer.problem(409, "stream_unavailable");
    assert_eq!(problem["detail"], "source unavailable: no such camera");
    assert!((6..=7).contains(&answer.retry_after()), "{answer:?}");
    failing
        .sees("the end of the subscription", |seen| {
            seen.subscriptions == 1 && !seen.subscribed
        })
        .await;

    // `door` has no encoder at all.
    let answer = site.offer("door", OFFER).await;
    answer.problem(409, "stream_unavailable");
    assert_eq!(answer.retry_after(), 1);
    assert_eq!(site.get("/api/v1/streams/door").await.json()["viewers"], 0);
}

#[tokio::test]
async fn slate_is_for_those_who_watch_already_and_others_are_told_when_to_come_back() {
    let site = Site::start().await;
    let encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    site.join("test").await;
    encoder.sees("the subscription", |seen| seen.subscribed).await;
    encoder.die();
    site.shows("/api/v1/streams/test", |stream| stream["state"] == "down")
        .await;

    let parked = Encoder::start(&site.dir, "test", Script::Slate("exit code 75: stalled")).await;
    parked.sees("the viewer's subscription", |seen| seen.subscribed).await;
    let stream = site
        .shows("/api/v1/streams/test", |stream| stream["state"] == "slate")
        .await;
    assert_eq!(stream["reason"], "exit code 75: stalled");
    assert!(
        stream["retry_in_ms"].as_u64().is_some_and(|left| left > 30_000),
        "{stream}"
    );
    let sent = stream["frames_sent"].as_u64();
    site.shows("/api/v1/streams/test", |stream| {
        stream["frames_received"].as_u64() > sent
    })
    .await;

    let answer = site.offer("test", OFFER).await;
    let problem = answer.problem(409, "stream_unavailable");
    assert_eq!(problem["detail"], "exit code 75: stalled");
    assert!((40..=42).contains(&answer.retry_after()), "{answer:?}");
    let stream = site.get("/api/v1/streams/test").await.json();
    assert_eq!(
        (&stream["viewers"], parked.seen().subscribed),
        (&1.into(), true),
        "{stream}"
    );
}

#[tokio::test]
async fn source_that_hangs_while_opening_does_not_hang_the_post() {
    let site = Site::start().await;
    let _encoder = Encoder::start(&site.dir, "test", Script::Hangs).await;
    let answer = site.offer("test", OFFER).await;
    answer.problem(409, "stream_unavailable");
    assert_eq!(answer.retry_after(), 1);
}

#[tokio::test]
async fn sessions_that_nobody_connects_to_make_room_for_a_viewer() {
    let site = Site::with("[webrtc]\nmax_viewers_per_stream = 6\n[streams.test]\nsource = \"test:\"\n").await;
    let _encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    let mut half_open = Vec::new();
    for _one in 0..6 {
        half_open.push(site.join("test").await.0);
    }
    let (viewer, _etag) = site.join("test").await;
    assert_eq!(site.get(&viewer).await.status, StatusCode::NO_CONTENT);
    site.get(&half_open[0]).await.problem(404, "unknown_session");
    for kept in &half_open[1..] {
        assert_eq!(
            site.get(kept).await.status,
            StatusCode::NO_CONTENT,
            "only the oldest goes"
        );
    }
}

#[tokio::test]
async fn viewer_too_many_is_asked_to_come_back_later() {
    let site = Site::with("[webrtc]\nmax_viewers_per_stream = 1\n[streams.test]\nsource = \"test:\"\n").await;
    let _encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    let (session, _) = site.join("test").await;
    let refused = site.offer("test", OFFER).await;
    refused.problem(503, "too_many_viewers");
    assert!(refused.retry_after() >= 1);
    site.send(Method::DELETE, &session, &[], "").await;
    site.join("test").await;
}

#[tokio::test]
async fn patch_follows_the_rules_of_entity_tags() {
    let site = Site::start().await;
    let _encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    let (session, tag) = site.join("test").await;
    let patch =
        async |headers: &[(&str, &str)], body: &'static str| site.send(Method::PATCH, &session, headers, body).await;

    for tag in [None, Some("*"), Some("\"*\""), Some(tag.trim_matches('"'))] {
        let headers: Vec<_> = [FRAGMENT].into_iter().chain(tag.map(|tag| ("if-match", tag))).collect();
        assert_eq!(patch(&headers, TRICKLE).await.status, StatusCode::NO_CONTENT, "{tag:?}");
    }
    patch(&[FRAGMENT], RESTART).await.problem(428, "if_match_required");
    patch(&[FRAGMENT, ("if-match", "\"other\"")], TRICKLE)
        .await
        .problem(412, "ice_generation_changed");
    patch(&[FRAGMENT, ("if-match", &format!("W/{tag}"))], TRICKLE)
        .await
        .problem(412, "ice_generation_changed");
    patch(&[FRAGMENT, ("if-match", "no quotes")], TRICKLE)
        .await
        .problem(400, "malformed_if_match");
    patch(&[("content-type", "application/sdp"), ("if-match", &tag)], TRICKLE)
        .await
        .problem(415, "unsupported_media_type");
    patch(&[FRAGMENT, ("if-match", &tag)], "hello")
        .await
        .problem(400, "malformed_fragment");
    let trickled = patch(&[FRAGMENT, ("if-match", &tag)], TRICKLE).await;
    assert_eq!(trickled.status, StatusCode::NO_CONTENT, "{trickled:?}");
    assert!(trickled.body.is_empty() && !trickled.headers.contains_key("etag"));

    let restarted = patch(&[FRAGMENT, ("if-match", "*")], RESTART).await;
    assert_eq!(restarted.status, StatusCode::OK, "{restarted:?}");
    assert_eq!(restarted.header("content-type"), "application/trickle-ice-sdpfrag");
    assert!(
        restarted.text().contains("a=ice-ufrag:") && restarted.text().contains("a=candidate:"),
        "{restarted:?}"
    );
    let renewed = restarted.header("etag");
    assert!(is_strong_tag(renewed) && renewed != tag);
    let outdated = patch(&[FRAGMENT, ("if-match", &tag)], TRICKLE).await;
    outdated.problem(412, "ice_generation_changed");
    assert_eq!(outdated.header("etag"), renewed);
}

#[tokio::test]
async fn session_is_known_from_join_to_leave_and_only_below_its_stream() {
    let site = Site::start().await;
    let _encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    let (session, tag) = site.join("test").await;
    let elsewhere = session.replace("/test/", "/door/");
    let unheard_of = format!("/whep/test/{}", "0".repeat(32));

    for method in [Method::GET, Method::HEAD] {
        let known = site.send(method, &session, &[], "").await;
        assert_eq!(
            (known.status, known.header("etag")),
            (StatusCode::NO_CONTENT, tag.as_str())
        );
        assert!(known.body.is_empty());
    }
    for path in [elsewhere.as_str(), &unheard_of, "/whep/test/not-an-id"] {
        site.get(path).await.problem(404, "unknown_session");
        site.send(Method::DELETE, path, &[], "")
            .await
            .problem(404, "unknown_session");
        let patched = site
            .send(Method::PATCH, path, &[FRAGMENT, ("if-match", "*")], RESTART)
            .await;
        patched.problem(404, "unknown_session");
    }
    assert_eq!(
        site.send(Method::DELETE, &session, &[("if-match", "\"any\"")], "")
            .await
            .status,
        StatusCode::OK
    );
    site.send(Method::DELETE, &session, &[], "")
        .await
        .problem(404, "unknown_session");
    site.get(&session).await.problem(404, "unknown_session");
}

#[tokio::test]
async fn slash_at_the_end_changes_nothing() {
    let site = Site::start().await;
    let _encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    let sdp = [("content-type", "application/sdp")];
    let joined = site.send(Method::POST, "/whep/test/", &sdp, OFFER).await;
    assert_eq!(joined.status, StatusCode::CREATED, "{joined:?}");
    let location = joined.header("location");
    assert!(
        !location.ends_with('/') && location.starts_with("/whep/test/"),
        "{location}"
    );
    let session = format!("{location}/");
    assert_eq!(site.get(&session).await.status, StatusCode::NO_CONTENT);
    let trickled = site.send(Method::PATCH, &session, &[FRAGMENT], TRICKLE).await;
    assert_eq!(trickled.status, StatusCode::NO_CONTENT, "{trickled:?}");
    assert_eq!(
        site.send(Method::DELETE, &session, &[], "").await.status,
        StatusCode::OK
    );
    site.send(Method::POST, "/whep/nothing/", &sdp, OFFER)
        .await
        .problem(404, "unknown_stream");
}

#[tokio::test]
async fn slashes_that_are_too_many_lead_to_where_they_are_not() {
    let site = Site::start().await;
    for (path, location) in [
        ("/s/test/", "../test"),
        ("//s/test", "../../s/test"),
        ("/api/v1/streams/test/?x=1", "../../../../api/v1/streams/test?x=1"),
    ] {
        let answer = site.get(path).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (StatusCode::PERMANENT_REDIRECT, location)
        );
    }
    site.get("/nothing").await.problem(404, "not_found");
}

#[tokio::test]
async fn whatever_is_asked_for_has_an_answer() {
    let site = Site::start().await;
    for target in [
        "OPTIONS *",
        "GET *",
        "CONNECT box:8890",
        "GET http://box",
        "GET http://box?a",
        "GET ?a",
        "GET //",
        "TRACE *",
    ] {
        let mut client = TcpStream::connect(site.address).await.unwrap();
        let request = format!(
            "{target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            site.address
        );
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1);
        assert!(status.is_some_and(|status| status < "500"), "{target}: {answer}");
    }
    site.get("/api/v1/health").await;
    assert!(!site.has_ended());
}

#[tokio::test]
async fn location_is_below_what_a_proxy_took_off() {
    let site = Site::start().await;
    let _encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    let headers = [("content-type", "application/sdp"), ("x-forwarded-prefix", "/cam/")];
    let joined = site.send(Method::POST, "/whep/test", &headers, OFFER).await;
    assert!(joined.header("location").starts_with("/cam/whep/test/"), "{joined:?}");
}

#[tokio::test]
async fn answer_goes_to_who_takes_sdp_and_says_the_level_that_is_sent() {
    let site = Site::start().await;
    let _encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    let post = async |accept: &str| {
        let headers = [("content-type", "application/sdp"), ("accept", accept)];
        site.send(Method::POST, "/whep/test", &headers, OFFER).await
    };
    post("application/json").await.problem(406, "not_acceptable");
    let answer = post("application/sdp").await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    assert!(answer.text().contains("profile-level-id=42e01f"), "{}", answer.text());
}

#[tokio::test]
async fn preflight_lets_a_page_do_all_that_players_do() {
    let site = Site::with(&format!(
        "[http]\norigins = [\"https://player.example\"]\n{}",
        crate::site::TWO_STREAMS
    ))
    .await;
    let session = format!("/whep/test/{}", "0".repeat(32));
    for (path, method) in [
        ("/whep/test", "OPTIONS"),
        ("/whep/test", "POST"),
        ("/whep/test/", "POST"),
        (&session, "PATCH"),
        (&session, "DELETE"),
    ] {
        let asked = [
            ("origin", "https://player.example"),
            ("access-control-request-method", method),
            (
                "access-control-request-headers",
                "authorization,content-type,if-match,x-player",
            ),
            ("access-control-request-private-network", "true"),
        ];
        let told = site.send(Method::OPTIONS, path, &asked, "").await;
        assert_eq!(told.status, StatusCode::OK, "{told:?}");
        assert_eq!(told.header("access-control-allow-origin"), "https://player.example");
        let methods: Vec<&str> = told.header("access-control-allow-methods").split(", ").collect();
        assert!(methods.contains(&method), "{methods:?}");
        let headers: Vec<&str> = told.header("access-control-allow-headers").split(", ").collect();
        assert!(
            headers.contains(&"Authorization") && headers.contains(&"*"),
            "{headers:?}"
        );
        assert_eq!(told.header("access-control-allow-private-network"), "true");

        let stranger = [
            ("origin", "https://else.example"),
            ("access-control-request-private-network", "true"),
        ];
        let told = site.send(Method::OPTIONS, path, &stranger, "").await;
        for name in ["origin", "methods", "headers", "private-network"] {
            assert!(
                !told.headers.contains_key(format!("access-control-allow-{name}")),
                "{told:?}"
            );
        }
    }
}

#[tokio::test]
async fn options_say_what_is_accepted_to_pages_of_any_origin_where_any_may_play() {
    let site = Site::with(&format!("[http]\norigins = [\"*\"]\n{}", crate::site::TWO_STREAMS)).await;
    let preflight = [
        ("origin", "https://player.example"),
        ("access-control-request-method", "POST"),
    ];
    let endpoint = site.send(Method::OPTIONS, "/whep/test", &preflight, "").await;
    assert_eq!(endpoint.status, StatusCode::OK);
    assert_eq!(endpoint.header("accept-post"), "application/sdp");
    assert_eq!(endpoint.header("access-control-allow-origin"), "*");
    assert!(endpoint.header("access-control-allow-methods").contains("POST"));
    assert!(endpoint.header("access-control-allow-headers").contains("Content-Type"));

    let session = site
        .send(
            Method::OPTIONS,
            &format!("/whep/test/{}", "0".repeat(32)),
            &preflight,
            "",
        )
        .await;
    assert_eq!(session.status, StatusCode::OK);
    assert_eq!(session.header("accept-patch"), "application/trickle-ice-sdpfrag");
    assert!(
        ["PATCH", "DELETE"]
            .iter()
            .all(|method| session.header("access-control-allow-methods").contains(method))
    );

    let get = site.get("/whep/test").await;
    let head = site.send(Method::HEAD, "/whep/test", &[], "").await;
    for said in [get, head] {
        assert_eq!((said.status, said.body.len()), (StatusCode::OK, 0));
        assert_eq!(said.header("content-type"), "application/sdp");
        assert_eq!(said.header("accept-post"), "application/sdp");
    }
    site.get("/whep/nothing").await.problem(404, "unknown_stream");
}

#[tokio::test]
async fn loopback_is_offered_to_viewers_of_this_machine_alone() {
    let site = Site::with(
        "[http]\ntrusted_proxies = [\"127.0.0.1\"]\n[webrtc]\ncandidates = [\"198.51.100.7\"]\n[streams.test]\nsource = \"test:\"\n",
    )
    .await;
    let _encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    let candidates = async |further: &[(&str, &str)]| {
        let headers = [&[("content-type", "application/sdp")][..], further].concat();
        let joined = site.send(Method::POST, "/whep/test", &headers, OFFER).await;
        assert_eq!(joined.status, StatusCode::CREATED, "{joined:?}");
        ["127.0.0.1", "198.51.100.7"].map(|address| joined.text().contains(&format!(" {address} ")))
    };
    assert_eq!(candidates(&[]).await, [true, true]);
    assert_eq!(candidates(&[("x-forwarded-for", "192.0.2.1")]).await, [false, true]);
}
