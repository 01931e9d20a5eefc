//! Who may ask what.

use hyper::{Method, StatusCode};

use crate::{
    encoder::{Encoder, Script},
    site::Site,
};

#[tokio::test]
async fn rebound_name_reaches_nothing() {
    let site = Site::start().await;
    let port = site.address.port();
    for host in [
        format!("evil.example:{port}"),
        format!("127.0.0.1.evil.example:{port}"),
        String::new(),
    ] {
        for path in ["/", "/api/v1/streams", "/whep/test"] {
            site.send(Method::GET, path, &[("host", &host)], "")
                .await
                .problem(421, "unknown_host");
        }
    }
    for host in [
        format!("localhost:{port}"),
        format!("127.0.0.1:{port}"),
        format!("[::1]:{port}"),
    ] {
        assert_eq!(
            site.send(Method::GET, "/", &[("host", &host)], "").await.status,
            StatusCode::OK
        );
    }
}

#[tokio::test]
async fn name_that_is_listed_is_known() {
    let site = Site::with("[http]\nhosts = [\"live.example\"]\n[streams.test]\nsource = \"test:\"\n").await;
    let as_host = async |host| site.send(Method::GET, "/", &[("host", host)], "").await;
    assert_eq!(as_host("live.example").await.status, StatusCode::OK);
    as_host("evil.example").await.problem(421, "unknown_host");
    for host in ["box.home.arpa", "box.internal", "localhost.", "live.example."] {
        assert_eq!(as_host(host).await.status, StatusCode::OK, "{host}");
    }
}

#[tokio::test]
async fn person_who_comes_by_an_unknown_name_is_shown_which_line_to_add() {
    let site = Site::start().await;
    let headers = [("host", "box.fritz.box:8890"), ("accept", "text/html,*/*;q=0.8")];
    let shown = site.send(Method::GET, "/", &headers, "").await;
    assert_eq!(shown.status.as_u16(), 421);
    assert!(shown.header("content-type").starts_with("text/html"), "{shown:?}");
    assert!(shown.text().contains("hosts = [\"box.fritz.box\"]"), "{}", shown.text());
    let headers = [("host", "<script>"), ("accept", "text/html")];
    let shown = site.send(Method::GET, "/", &headers, "").await;
    assert!(!shown.text().contains("script"), "{}", shown.text());
}

#[tokio::test]
async fn page_behind_a_proxy_that_changes_the_host_may_change_something() {
    let site = Site::with("[http]\nhosts = [\"cam.example\"]\n[streams.test]\nsource = \"test:\"\n").await;
    let _encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    site.shows("/api/v1/streams/test", |stream| stream["state"] == "idle")
        .await;
    let keyframe = async |host: &str, origin: &str, browser: Option<&str>| {
        let mut headers = vec![("host", host), ("origin", origin)];
        headers.extend(browser.map(|site| ("sec-fetch-site", site)));
        site.send(Method::POST, "/api/v1/streams/test/keyframe", &headers, "")
            .await
            .status
    };
    let upstream = site.address.to_string();
    for (host, origin, browser) in [
        ("cam.example", "https://cam.example", None),
        ("Cam.Example", "https://cam.example", None),
        ("cam.example", "https://cam.example:8443", Some("same-origin")),
        (&upstream, "https://cam.example", None),
        (&upstream, "https://cam.example", Some("same-origin")),
    ] {
        let status = keyframe(host, origin, browser).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{host} {origin} {browser:?}");
    }
    for (host, origin, browser) in [
        ("cam.example", "https://evil.example", None),
        ("cam.example", "https://evil.example", Some("cross-site")),
        (&upstream, "https://cam.example", Some("same-site")),
    ] {
        let status = keyframe(host, origin, browser).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{host} {origin} {browser:?}");
    }
}

#[tokio::test]
async fn page_of_a_listed_origin_shows_pictures_and_frames_and_others_do_not() {
    let listed = "https://board.example";
    let site = Site::with(&format!(
        "[http]\norigins = [\"{listed}\"]\n[streams.test]\nsource = \"test:\"\n"
    ))
    .await;
    let _encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    site.shows("/api/v1/streams/test", |stream| stream["state"] == "idle")
        .await;
    let page = site.get("/s/test").await;
    let policy = page.header("content-security-policy");
    assert!(
        policy.ends_with("frame-ancestors 'self' https://board.example"),
        "{policy}"
    );
    let picture = "/api/v1/streams/test/snapshot.jpg";
    let referer = format!("{listed}/wall");
    let image = async |name: &str, origin: &str| {
        let headers = [("sec-fetch-site", "cross-site"), (name, origin)];
        site.send(Method::GET, picture, &headers, "").await
    };
    for (name, value) in [("origin", listed), ("referer", &referer)] {
        let shown = image(name, value).await;
        assert_eq!(shown.status, StatusCode::OK, "{shown:?}");
        assert_eq!(shown.header("cross-origin-resource-policy"), "cross-origin");
        assert_eq!(shown.header("access-control-allow-origin"), listed);
    }
    image("origin", "https://evil.example")
        .await
        .problem(403, "cross_origin");
    image("referer", "https://evil.example/https://board.example")
        .await
        .problem(403, "cross_origin");
    let preflight = [("origin", listed), ("access-control-request-method", "GET")];
    let told = site.send(Method::OPTIONS, "/api/v1/events", &preflight, "").await;
    assert_eq!(
        (told.status, told.header("access-control-allow-origin")),
        (StatusCode::NO_CONTENT, listed)
    );
    let status = [("origin", listed)];
    let status = site.send(Method::GET, "/api/v1/status", &status, "").await;
    assert!(
        !status.headers.contains_key("access-control-allow-origin"),
        "{status:?}"
    );
}

#[tokio::test]
async fn frames_have_a_list_of_their_own() {
    let site = Site::with(
        "[http]\norigins = [\"*\"]\nframe_ancestors = [\"https://board.example\"]\n[streams.test]\nsource = \"test:\"\n",
    )
    .await;
    let policy = site.get("/").await;
    let policy = policy.header("content-security-policy");
    assert!(
        policy.ends_with("frame-ancestors 'self' https://board.example"),
        "{policy}"
    );
    let closed = Site::with("[http]\norigins = [\"*\"]\n[streams.test]\nsource = \"test:\"\n").await;
    let policy = closed.get("/").await;
    assert!(
        policy
            .header("content-security-policy")
            .ends_with("frame-ancestors 'self'")
    );
}

#[tokio::test]
async fn page_of_another_origin_changes_and_reads_nothing() {
    let site = Site::start().await;
    let _encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    let own = format!("http://{}", site.address);
    let keyframe = "/api/v1/streams/test/keyframe";
    for origin in ["https://evil.example", "null"] {
        site.send(Method::POST, keyframe, &[("origin", origin)], "")
            .await
            .problem(403, "cross_origin");
        let read = site
            .send(Method::GET, "/api/v1/streams", &[("origin", origin)], "")
            .await;
        assert!(!read.headers.contains_key("access-control-allow-origin"), "{read:?}");
        assert_eq!(read.header("cross-origin-resource-policy"), "same-origin");
    }
    let preflight = site
        .send(Method::OPTIONS, "/whep/test", &[("origin", "https://evil.example")], "")
        .await;
    assert!(
        !preflight.headers.contains_key("access-control-allow-origin"),
        "{preflight:?}"
    );
    site.shows("/api/v1/streams/test", |stream| stream["state"] == "idle")
        .await;
    assert_eq!(
        site.send(Method::POST, keyframe, &[("origin", &own)], "").await.status,
        StatusCode::ACCEPTED
    );
}

#[tokio::test]
async fn page_of_another_site_has_no_picture_made_and_everybody_else_may() {
    let site = Site::start().await;
    let encoder = Encoder::start(&site.dir, "test", Script::Opens).await;
    site.shows("/api/v1/streams/test", |stream| stream["state"] == "idle")
        .await;
    let costly = ["snapshot.jpg", "clip.mp4?last=5"].map(|what| format!("/api/v1/streams/test/{what}"));
    let ask = async |path: &str, from| site.send(Method::GET, path, &[("sec-fetch-site", from)], "").await;
    for path in &costly {
        ask(path, "cross-site").await.problem(403, "cross_origin");
    }
    assert_eq!(encoder.seen().requests, 0);
    for from in ["same-origin", "same-site", "none"] {
        for path in &costly {
            assert_eq!(ask(path, from).await.status, StatusCode::OK, "{path} from {from}");
        }
    }
    // What costs nothing may be linked to from anywhere.
    assert_eq!(ask("/", "cross-site").await.status, StatusCode::OK);
}

#[tokio::test]
async fn origins_that_are_listed_may_play_and_others_may_not() {
    let listed = "https://player.example";
    let site = Site::with(&format!(
        "[http]\norigins = [\"{listed}\"]\n[streams.test]\nsource = \"test:\"\n"
    ))
    .await;
    let allowed = site
        .send(Method::OPTIONS, "/whep/test", &[("origin", listed)], "")
        .await;
    assert_eq!(allowed.header("access-control-allow-origin"), listed);
    assert_eq!(allowed.header("vary"), "Origin");
    let other = site
        .send(Method::OPTIONS, "/whep/test", &[("origin", "https://evil.example")], "")
        .await;
    assert!(!other.headers.contains_key("access-control-allow-origin"), "{other:?}");
}

#[tokio::test]
async fn every_error_is_a_problem() {
    let site = Site::start().await;
    site.get("/nothing").await.problem(404, "not_found");
    site.get("/page/nothing.js").await.problem(404, "not_found");
    site.get("/api/v1/streams/nothing").await.problem(404, "unknown_stream");
    site.get("/api/v1/streams/%ff").await.problem(400, "bad_request");
    let wrong_method = site.send(Method::DELETE, "/api/v1/streams", &[], "").await;
    wrong_method.problem(405, "method_not_allowed");
    assert!(wrong_method.header("allow").contains("GET"));
    site.send(Method::PUT, "/whep/test", &[], "")
        .await
        .problem(405, "method_not_allowed");
}
