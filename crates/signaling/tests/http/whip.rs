//! WHIP, status by status. That pictures come of it `tests/e2e/published.rs` shows.

use axum::body::Bytes;
use framebridge_auth::Scope;
use hyper::{Method, StatusCode};
use tokio::{
    io::AsyncReadExt as _,
    net::UnixStream,
    time::{Duration, sleep, timeout},
};

use crate::{
    access,
    site::{Answer, PATIENCE, Site},
    whep::OFFER,
};

const STREAMS: &str = "[streams.live]\nsource = \"whip:\"\n[streams.test]\nsource = \"test:\"\n";
const SDP: (&str, &str) = ("content-type", "application/sdp");
const FRAGMENT: (&str, &str) = ("content-type", "application/trickle-ice-sdpfrag");

/// A browser's offer to send what it paints, and sound, which its group is named by.
pub(crate) fn offer() -> String {
    let video = OFFER.replace("a=recvonly", "a=sendonly").replace("a=mid:0", "a=mid:1");
    let (session, video) = video.split_once("m=video").unwrap();
    let session = session.replace("BUNDLE 0", "BUNDLE 0 1");
    let sound = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:EsAw\r\n\
        a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=mid:0\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n\
        a=setup:actpass\r\na=fingerprint:sha-256 DA:7B:57:DC:28:CE:04:4F:31:79:85:C4:31:67:EB:27:58:29:ED:77:2A:0D:24:AE:ED:AD:30:BC:BD:F1:9C:02\r\n";
    let numbering = "a=rtcp-fb:102 transport-cc\r\na=extmap:4 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n";
    format!("{session}{sound}m=video{video}{numbering}")
}

async fn publish(site: &Site, stream: &str) -> Answer {
    site.send(Method::POST, &format!("/whip/{stream}"), &[SDP], offer())
        .await
}

/// As an encoder reads it; the socket comes soon after the rest.
pub(crate) async fn feed(site: &Site) -> UnixStream {
    let path = site.dir.feed(&"live".parse().unwrap());
    let connected = async {
        loop {
            if let Ok(socket) = UnixStream::connect(&path).await {
                return socket;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, connected).await.expect("the socket in time")
}

#[tokio::test]
async fn publisher_is_answered_and_has_the_place_until_it_leaves() {
    let site = Site::with(STREAMS).await;
    let answer = publish(&site, "live").await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    let text = answer.text();
    for part in [
        "a=group:BUNDLE 0 1\r\n",
        "m=audio 9 ",
        "a=inactive\r\n",
        "a=recvonly\r\n",
        "a=rtcp-fb:102 nack\r\n",
        "a=rtcp-fb:102 nack pli\r\n",
        "a=rtcp-fb:102 transport-cc\r\n",
        "a=rtpmap:103 rtx/90000\r\n",
        "a=extmap:4 ",
        "profile-level-id=42e034",
    ] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
    assert!(!text.contains("a=ssrc") && !text.contains("a=msid:"), "{text}");
    let session = answer.header("location").to_owned();
    assert!(session.starts_with("/whip/live/"), "{session}");

    let second = publish(&site, "live").await;
    second.problem(409, "already_published");
    assert!(second.retry_after() > 0);

    let trickle = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
        a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\n";
    let trickled = site.send(Method::PATCH, &session, &[FRAGMENT], trickle).await;
    assert_eq!(trickled.status, StatusCode::NO_CONTENT);
    let fresh = trickle.replace("EsAw", "ysXw");
    let unconditional = site.send(Method::PATCH, &session, &[FRAGMENT], fresh.clone()).await;
    unconditional.problem(428, "if_match_required");
    let restarted = site
        .send(Method::PATCH, &session, &[FRAGMENT, ("if-match", "*")], fresh)
        .await;
    assert_eq!(restarted.status, StatusCode::OK, "{restarted:?}");
    assert_ne!(restarted.header("etag"), answer.header("etag"));

    let ended = site.send(Method::DELETE, &session, &[], "").await;
    assert_eq!(ended.status, StatusCode::OK);
    let again = site.send(Method::DELETE, &session, &[], "").await;
    again.problem(404, "unknown_session");
    assert_eq!(
        publish(&site, "live").await.status,
        StatusCode::CREATED,
        "the place is free"
    );
}

#[tokio::test]
async fn what_is_no_offer_to_publish_is_refused() {
    let site = Site::with(STREAMS).await;
    publish(&site, "test").await.problem(409, "not_for_publishing");
    publish(&site, "nobody").await.problem(404, "unknown_stream");
    let of = |body: String| site.send(Method::POST, "/whip/live", &[SDP], Bytes::from(body));
    of("hello".to_owned()).await.problem(400, "malformed_sdp");
    of(OFFER.to_owned()).await.problem(422, "no_acceptable_codec");
    of(offer().replace("H264/90000", "VP8/90000"))
        .await
        .problem(422, "no_acceptable_codec");
    let untyped = site.send(Method::POST, "/whip/live", &[], offer()).await;
    assert_eq!(untyped.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let options = site.send(Method::OPTIONS, "/whip/live", &[], "").await;
    assert_eq!(
        (options.status, options.header("accept-post")),
        (StatusCode::OK, "application/sdp")
    );
    assert_eq!(
        publish(&site, "live").await.status,
        StatusCode::CREATED,
        "none of them took the place"
    );
}

#[tokio::test]
async fn page_of_another_origin_publishes_where_it_is_listed_by_name_and_has_a_token() {
    const STUDIO: (&str, &str) = ("origin", "https://studio.example");
    const OTHER: (&str, &str) = ("origin", "https://other.example");
    const BEARER: (&str, &str) = ("authorization", "Bearer studio");
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens.toml");
    access::write(&tokens, [access::row("studio", Scope::Publish, Some("live"))]);
    let guarded = format!("mode = \"token\"\ntokens = {tokens:?}");
    for (origin, auth, wanted) in [
        (STUDIO.1, &*guarded, StatusCode::CREATED),
        ("*", &guarded, StatusCode::FORBIDDEN),
        // There any page in a browser on this machine would have this machine's rights.
        (STUDIO.1, "mode = \"none\"", StatusCode::FORBIDDEN),
    ] {
        let site = Site::with(&format!(
            "[http]\norigins = [{origin:?}]\n[http.auth]\n{auth}\n{STREAMS}"
        ))
        .await;
        let post = async |headers: &[(&str, &str)]| site.send(Method::POST, "/whip/live", headers, offer()).await;
        assert_eq!(post(&[SDP, BEARER, OTHER]).await.status, StatusCode::FORBIDDEN);
        assert_eq!(post(&[SDP, STUDIO]).await.status, StatusCode::FORBIDDEN);
        let published = post(&[SDP, BEARER, STUDIO]).await;
        assert_eq!(published.status, wanted, "{origin}, {auth}: {published:?}");
        if wanted != StatusCode::CREATED {
            continue;
        }
        assert_eq!(published.header("access-control-allow-origin"), STUDIO.1);
        let session = published.header("location").to_owned();
        let end = async |origin| site.send(Method::DELETE, &session, &[BEARER, origin], "").await.status;
        assert_eq!(end(OTHER).await, StatusCode::FORBIDDEN);
        assert_eq!(end(STUDIO).await, StatusCode::OK);
    }
}

#[tokio::test]
async fn who_publishes_is_told_and_can_be_sent_away() {
    let site = Site::with(STREAMS).await;
    let session = publish(&site, "live").await.header("location").to_owned();
    let id = session.rsplit_once('/').unwrap().1;
    let told = site.get("/api/v1/viewers").await.json();
    assert_eq!(told["viewers"], serde_json::json!([]), "{told}");
    let publisher = &told["publishers"][0];
    assert_eq!(publisher["stream"], "live", "{told}");
    assert_eq!(publisher["session"], id[..8], "{told}");
    assert!(
        publisher["principal"].is_string() && publisher["address"].is_string(),
        "{told}"
    );
    assert!(publisher["since"].as_u64().unwrap() > 0, "{told}");
    let only = site.get("/api/v1/viewers?stream=test").await.json();
    assert_eq!(only["publishers"], serde_json::json!([]), "{only}");
    let kicked = site
        .send(Method::DELETE, &format!("/api/v1/viewers/{}", &id[..8]), &[], "")
        .await;
    assert_eq!(kicked.status, StatusCode::NO_CONTENT, "{kicked:?}");
    let told = site.get("/api/v1/viewers").await.json();
    assert_eq!(told["publishers"], serde_json::json!([]), "{told}");
    assert_eq!(
        publish(&site, "live").await.status,
        StatusCode::CREATED,
        "the place is free"
    );
}

#[tokio::test]
async fn encoder_finds_out_by_the_socket_whether_somebody_publishes() {
    let site = Site::with(STREAMS).await;
    let mut socket = feed(&site).await;
    assert_eq!(socket.read(&mut [0; 1]).await.unwrap(), 0, "nobody does");
    let answer = publish(&site, "live").await;
    let mut socket = feed(&site).await;
    let (mut byte, session) = ([0; 1], answer.header("location"));
    let early = timeout(Duration::from_millis(300), socket.read(&mut byte)).await;
    assert!(early.is_err(), "closed while somebody publishes: {early:?}");
    let (ended, read) = tokio::join!(site.send(Method::DELETE, session, &[], ""), socket.read(&mut byte));
    assert_eq!(
        (ended.status, read.unwrap()),
        (StatusCode::OK, 0),
        "it waits until its publisher leaves"
    );
}
