//! The viewer's page as it is served.

use hyper::{Method, StatusCode};

use crate::site::Site;

#[tokio::test]
async fn page_and_its_parts_are_served_and_revalidated() {
    let site = Site::start().await;
    for (path, kind) in [
        ("/", "text/html"),
        ("/s/test", "text/html"),
        ("/page/index.js", "text/javascript"),
        ("/page/page.js", "text/javascript"),
        ("/page/choices.js", "text/javascript"),
        ("/page/player.js", "text/javascript"),
        ("/page/whep.js", "text/javascript"),
        ("/page/style.css", "text/css"),
    ] {
        let fresh = site.get(path).await;
        assert_eq!(fresh.status, StatusCode::OK, "{path}");
        assert!(fresh.header("content-type").starts_with(kind), "{path}");
        assert_eq!(fresh.header("cache-control"), "no-cache");
        assert_eq!(fresh.header("x-content-type-options"), "nosniff");
        let tag = fresh.header("etag");
        let known = site.send(Method::GET, path, &[("if-none-match", tag)], "").await;
        assert_eq!(
            (known.status, known.body.len()),
            (StatusCode::NOT_MODIFIED, 0),
            "{path}"
        );
    }
}

#[tokio::test]
async fn page_of_an_unknown_stream_is_a_page_and_not_found() {
    let site = Site::start().await;
    let answer = site.get("/s/nothing").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.text().contains("<video"));
}

#[tokio::test]
async fn page_may_load_its_own_parts_and_nothing_else() {
    let site = Site::start().await;
    let policy = site.get("/s/test").await.header("content-security-policy").to_owned();
    for rule in [
        "default-src 'none'",
        "script-src 'self'",
        "connect-src 'self'",
        "frame-ancestors 'self'",
    ] {
        assert!(policy.contains(rule), "{policy}");
    }
    for path in ["/", "/s/test"] {
        let page = site.get(path).await;
        assert!(!page.text().contains("://"), "{path} refers to another site");
        assert!(
            !page.text().contains("style=") && !page.text().contains("onclick"),
            "{path} has inline code"
        );
    }
}
