//! The viewer's page as it is served.

use hyper::{Method, StatusCode};

use crate::site::Site;

#[tokio::test]
async fn page_and_its_parts_are_served_and_revalidated() {
    let site = Site::start().await;
    for (path, kind) in [
        ("/", "text/html"),
        ("/s/test", "text/html"),
        ("/wall", "text/html"),
        ("/page/index.js", "text/javascript"),
        ("/page/page.js", "text/javascript"),
        ("/page/wall.js", "text/javascript"),
        ("/page/login.js", "text/javascript"),
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
async fn every_script_imports_what_is_served() {
    let site = Site::start().await;
    let mut known = vec![
        "index.js".to_owned(),
        "page.js".to_owned(),
        "wall.js".to_owned(),
        "login.js".to_owned(),
    ];
    let mut at = 0;
    while let Some(name) = known.get(at).cloned() {
        at += 1;
        let script = site.get(&format!("/page/{name}")).await;
        assert_eq!(script.status, StatusCode::OK, "{name}");
        let text = script.text();
        // They are sent without the ends of lines.
        let imported = text.split("from\"./").skip(1);
        let imported = imported
            .filter_map(|rest| rest.split_once('"'))
            .map(|(name, _)| name.to_owned());
        for name in imported.collect::<Vec<_>>() {
            if !known.contains(&name) {
                known.push(name);
            }
        }
    }
    assert!(known.len() > 10, "{known:?}");
}

#[tokio::test]
async fn mistyped_address_is_answered_in_words_to_people_and_in_json_to_programs() {
    let site = Site::start().await;
    let people = [("accept", "text/html,application/xhtml+xml;q=0.9")];
    let answer = site.send(Method::GET, "/a/b", &people, "").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(
        answer.text().contains("href=\"../page/style.css\""),
        "{}",
        answer.text()
    );
    site.get("/a/b").await.problem(404, "not_found");
    let slash = site.get("/s/test/?controls=0").await;
    assert_eq!(
        (slash.status, slash.header("location")),
        (StatusCode::PERMANENT_REDIRECT, "../test?controls=0")
    );
    assert_eq!(site.get("/s/no,name/").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn openers_are_kept_out_where_browsers_heed_it() {
    let site = Site::start().await;
    for (host, is_heeded) in [
        ("127.0.0.1:1", true),
        ("[::1]:1", true),
        ("localhost", true),
        ("192.0.2.1:8890", false),
    ] {
        let page = site.send(Method::GET, "/", &[("host", host)], "").await;
        let policy = page.headers.get("cross-origin-opener-policy");
        assert_eq!(policy.is_some(), is_heeded, "{host}");
    }
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
