//! Lines to steer by: who gets one, and who does not.

use hyper::{Method, StatusCode};

use crate::site::Site;

const SDP: [(&str, &str); 1] = [("content-type", "application/sdp")];

const DESKS: &str = "[streams.desk]\nsource = \"x11::7\"\ncontrol = true\n[streams.show]\nsource = \"x11::7\"\n";

/// What a browser offers that wants data channels and nothing else.
fn offer() -> String {
    let fingerprint = ["AB"; 32].join(":");
    format!(
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
         m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\n\
         a=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\na=mid:0\r\na=sctp-port:5000\r\n\
         a=fingerprint:sha-256 {fingerprint}\r\n"
    )
}

#[tokio::test]
async fn line_is_for_desktops_that_may_be_steered() {
    let site = Site::with(DESKS).await;
    let post = async |stream: &str, body: String| {
        let path = format!("/api/v1/streams/{stream}/control");
        site.send(Method::POST, &path, &SDP, body).await
    };
    let opened = post("desk", offer()).await;
    assert_eq!(opened.status, StatusCode::CREATED);
    assert!(opened.text().contains("a=sctp-port:5000\r\n"), "{}", opened.text());
    let line = opened.header("location").to_owned();
    assert!(line.starts_with("/api/v1/streams/desk/control/"), "{line}");
    assert_eq!(site.get(&line).await.status, StatusCode::NO_CONTENT);
    let closed = site.send(Method::DELETE, &line, &[], "").await;
    assert_eq!(closed.status, StatusCode::NO_CONTENT);
    for method in [Method::GET, Method::DELETE] {
        site.send(method, &line, &[], "").await.problem(404, "unknown_line");
    }
    post("show", offer()).await.problem(403, "view_only");
    post("nothing", offer()).await.problem(404, "unknown_stream");
    post("desk", "v=0".to_owned()).await.problem(400, "malformed_sdp");
    let video = offer().replace("m=application", "m=video");
    post("desk", video).await.problem(422, "unacceptable_offer");
    let path = "/api/v1/streams/desk/control";
    let back = site.send(Method::DELETE, path, &[], "").await;
    assert_eq!(
        (back.status, back.json()["ended"].as_bool()),
        (StatusCode::OK, Some(false))
    );
    let desk = site.get("/api/v1/streams/desk").await.json();
    assert_eq!(
        (&desk["control"], &desk["controller"]),
        (&true.into(), &serde_json::Value::Null)
    );
    assert_eq!(site.get("/api/v1/streams/show").await.json()["control"], false);
}

#[tokio::test]
async fn line_takes_the_scope_and_there_are_only_so_many() {
    let site = Site::with(&format!(
        "[http.auth]\nopen = \"view\"\nmode = \"token\"\ntokens = \"/nonexistent/tokens.toml\"\n{DESKS}"
    ))
    .await;
    let path = "/api/v1/streams/desk/control";
    site.send(Method::POST, path, &SDP, offer()).await.problem(403, "scope");
    site.send(Method::DELETE, path, &[], "").await.problem(403, "scope");
    let site = Site::with(DESKS).await;
    for _ in 0..64 {
        let opened = site.send(Method::POST, path, &SDP, offer()).await;
        assert_eq!(opened.status, StatusCode::CREATED);
    }
    let full = site.send(Method::POST, path, &SDP, offer()).await;
    full.problem(503, "too_many_lines");
}
