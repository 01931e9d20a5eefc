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
