//! Who may ask: what keeps a hostile web page from using its visitor's browser against us.
//!
//! Every web page that is open on this machine, or on one of a network that we listen on, can send requests. Four rules:
//!
//! - **Host.** It has to be an IP address, `localhost`, this machine's own name, one of `http.hosts`, or below `home.arpa` or
//!   `internal`: a page that rebinds its own name to our address still names itself there. Those two are nobody's in public
//!   DNS; only a network's own server answers for them (RFC 8375). What any device may say of itself (`evil.local`) is not.
//! - **Origin.** Nothing but WHEP changes anything for a page of another origin (CSRF), and without CORS headers none
//!   can read the API, a snapshot or the metrics. Where a browser says itself that a request is `same-origin`
//!   (`Sec-Fetch-Site`), a proxy may have changed its Host.
//! - **Sec-Fetch-Site.** What costs something, a snapshot or a clip, is not made for a page of another site, which could show it
//!   to nobody, but could ask for it with every `<img>`.
//! - **WHEP, snapshots and events are open** to pages of the origins in `http.origins`, by default of none. Our own page and
//!   players that are no web pages need none of it.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use framebridge_http::Transport;

use crate::{
    app_state::AppState,
    client::{self, IsSecure},
    problem::Problem,
    unknown_host,
};

/// WHEP's methods. Some players ask with OPTIONS themselves, and a browser asks whether they may.
const METHODS: &str = "GET, HEAD, POST, PATCH, DELETE, OPTIONS";

/// Request headers that a WHEP player may send: any, and those that `*` does not mean (`Authorization`), or that older
/// browsers want named.
const REQUEST_HEADERS: &str = "Authorization, Content-Type, If-Match, *";

/// Response headers that a WHEP player reads.
const EXPOSED_HEADERS: &str = "Accept-Patch, Accept-Post, Allow, ETag, Link, Location, Retry-After, WWW-Authenticate";

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Asks, in a preflight, whether a page of a public network may speak with a server of a private one; and the answer.
const ASKS_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOWS_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// How long a browser may remember a preflight's answer, seconds: the most that Chromium honours.
const PREFLIGHT_AGE: &str = "7200";

/// Refuses a `Host` that only a rebound name can have, and other origins' changes; adds the headers every answer has.
pub(crate) async fn admit(State(shared): State<Arc<AppState>>, mut request: Request, next: Next) -> Response {
    client::note(&mut request, &shared.access.trusted);
    let is_plain = client::transport(&request) == Transport::Plain;
    let is_trustworthy = is_trustworthy(&request);
    let mut response = match check(&shared, &request) {
        Ok(()) if is_plain && shared.tls.is_some() => to_https(&request),
        Ok(()) => next.run(request).await,
        Err(Refused::Host) => {
            unknown_host::shown(host(&request), &request).unwrap_or_else(|| unknown_host().into_response())
        }
        Err(Refused::Page(problem)) => problem.into_response(),
    };
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    if is_trustworthy {
        // Elsewhere browsers ignore it, and tell so in the console of each page.
        let opener = HeaderName::from_static("cross-origin-opener-policy");
        let same = HeaderValue::from_static("same-origin");
        response.headers_mut().insert(opener, same);
    }
    let policy = shared.site.content_security_policy.clone();
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    // [`share`] knows better.
    let own = HeaderValue::from_static("same-origin");
    response.headers_mut().entry(RESOURCE_POLICY).or_insert(own);
    if shared.site.hsts && !is_plain {
        let year = HeaderValue::from_static("max-age=31536000");
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
    response
}

/// Whether the page's origin is potentially trustworthy to its browser (Secure Contexts, section 3.1).
fn is_trustworthy(request: &Request) -> bool {
    let is_secure = request.extensions().get() == Some(&IsSecure(true));
    let name = host(request).map_or("", |host| host.rsplit_once(':').map_or(host, |(name, _port)| name));
    let is_loopback = name
        .trim_matches(['[', ']'])
        .parse()
        .is_ok_and(|address: IpAddr| address.is_loopback());
    is_secure || is_loopback || name == "localhost" || name.ends_with(".localhost")
}

/// Sends who came by HTTP on to HTTPS, at the name it came by.
fn to_https(request: &Request) -> Response {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let location = format!("https://{}{path}", host(request).unwrap_or_default());
    match HeaderValue::from_str(&location) {
        Ok(location) => (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, location)]).into_response(),
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

/// Adds the CORS headers to answers that pages of other origins may read.
pub(crate) async fn share(State(shared): State<Arc<AppState>>, request: Request, next: Next) -> Response {
    let asks_whether = request.method() == Method::OPTIONS;
    let is_preflight = asks_whether && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let from_public = request.headers().contains_key(ASKS_PRIVATE_NETWORK);
    let asking = asking_origin(request.headers());
    let mut response = next.run(request).await;
    if is_preflight && response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response = StatusCode::NO_CONTENT.into_response();
    }
    let headers = response.headers_mut();
    let anyone = HeaderValue::from_static("*");
    let allowed = if shared.site.is_open() {
        Some(anyone)
    } else {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        asking.filter(|origin| shared.site.lets_play(origin))
    };
    let Some(allowed) = allowed else { return response };
    // Also for an `<img>`, which asks without CORS.
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(EXPOSED_HEADERS),
    );
    if asks_whether {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static(REQUEST_HEADERS),
        );
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_AGE));
        if from_public {
            headers.insert(ALLOWS_PRIVATE_NETWORK, HeaderValue::from_static("true"));
        }
    }
    response
}

/// The origin of the page that asks: as it says, or as its address begins, for a browser asks for an `<img>` without Origin.
fn asking_origin(headers: &HeaderMap) -> Option<HeaderValue> {
    if let Some(origin) = headers.get(header::ORIGIN) {
        return Some(origin.clone());
    }
    let referer = headers.get(header::REFERER)?.to_str().ok()?;
    let (scheme, rest) = referer.split_once("://")?;
    let authority = rest.split('/').next()?;
    HeaderValue::from_str(&format!("{scheme}://{authority}")).ok()
}

/// Why a request is not let in.
enum Refused {
    /// It names a host that we are not.
    Host,
    /// A page asks for what pages of its origin may not have.
    Page(Problem),
}

fn unknown_host() -> Problem {
    Problem::new(
        StatusCode::MISDIRECTED_REQUEST,
        "unknown_host",
        "This server does not know itself by this name: ask it by its address, or list the name in http.hosts.",
    )
}

fn check(shared: &AppState, request: &Request) -> Result<(), Refused> {
    let (host, headers) = (host(request), request.headers());
    // On our own socket a name means nothing.
    let is_ours = client::transport(request) == Transport::Local;
    if !is_ours && !host.is_some_and(|host| shared.site.is_called(host)) {
        return Err(Refused::Host);
    }
    let path = request.uri().path();
    // A page that is listed, with a token that no browser sends by itself: then neither a cookie nor this machine's own rights count.
    let may_publish = || {
        let has_token = !is_ours && shared.access.asks_for_tokens && headers.contains_key(header::AUTHORIZATION);
        let is_listed = || asking_origin(headers).is_some_and(|origin| shared.site.lists(&origin));
        path.starts_with("/whip/") && has_token && is_listed()
    };
    let changes = !request.method().is_safe() && !path.starts_with("/whep/") && !may_publish();
    if changes && !is_same_origin(headers, host) && !is_behind_proxy(headers, shared.site.listed()) {
        return Err(Refused::Page(Problem::cross_origin()));
    }
    let may_read =
        || shared.site.is_open() || asking_origin(headers).is_some_and(|origin| shared.site.lets_play(&origin));
    if is_costly(path) && is_cross_site(headers) && !may_read() {
        return Err(Refused::Page(Problem::new(
            StatusCode::FORBIDDEN,
            "cross_origin",
            "Pictures are not made for pages of another site.",
        )));
    }
    Ok(())
}

/// Whether reading it has something made.
fn is_costly(path: &str) -> bool {
    ["/snapshot.jpg", "/clip.mp4", "/live.mp4"]
        .iter()
        .any(|costly| path.ends_with(costly))
}

/// Whether a page of another site has its browser ask. Programs, and old browsers, do not say.
fn is_cross_site(headers: &HeaderMap) -> bool {
    headers
        .get("sec-fetch-site")
        .is_some_and(|site| site.as_bytes() == b"cross-site")
}

/// `host[:port]` of the request.
pub(crate) fn host(request: &Request) -> Option<&str> {
    let named = request.uri().authority().map(|authority| authority.as_str());
    named.or_else(|| request.headers().get(header::HOST)?.to_str().ok())
}

/// Programs send no `Origin`; browsers send it with everything that is not a plain read.
pub(crate) fn is_same_origin(headers: &HeaderMap, host: Option<&str>) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let authority = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"))
        .map(|(_, authority)| authority);
    authority
        .zip(host)
        .is_some_and(|(page, host)| page.eq_ignore_ascii_case(host))
}

/// Whether a page of ours sent it and a proxy has changed its Host, to that of its upstream or to one without a port: the
/// browser says that it is of the same origin; an older one, that the page is of a name in `http.hosts`.
fn is_behind_proxy(headers: &HeaderMap, listed: &[String]) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin";
    }
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    let Some((_, authority)) = origin.and_then(|origin| origin.split_once("://")) else {
        return false;
    };
    let name = authority.rsplit_once(':').map_or(authority, |(name, _port)| name);
    listed.iter().any(|listed| listed.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_has_to_be_our_own_host_where_there_is_one() {
        let with = |origin| HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_static(origin))]);
        assert!(is_same_origin(&HeaderMap::new(), Some("a:1")));
        assert!(is_same_origin(&with("http://a:1"), Some("a:1")));
        assert!(is_same_origin(&with("http://cam.example"), Some("Cam.Example")));
        for bad in ["http://a:2", "http://b", "null", "a:1"] {
            assert!(!is_same_origin(&with(bad), Some("a:1")), "{bad}");
        }
        assert!(!is_same_origin(&with("null"), None));
    }

    #[test]
    fn proxy_that_changes_the_host_is_seen_through_by_what_the_browser_says() {
        let listed = ["cam.example".to_owned()];
        let behind = |origin, site: Option<&'static str>| {
            let site = site.map(|site| {
                (
                    HeaderName::from_static("sec-fetch-site"),
                    HeaderValue::from_static(site),
                )
            });
            let origin = (header::ORIGIN, HeaderValue::from_static(origin));
            is_behind_proxy(&HeaderMap::from_iter([origin].into_iter().chain(site)), &listed)
        };
        assert!(behind("https://cam.example:8443", Some("same-origin")));
        assert!(behind("https://Cam.Example:8443", None));
        for (origin, site) in [
            ("https://cam.example", Some("same-site")),
            ("https://cam.example", Some("cross-site")),
            ("https://evil.example", None),
            ("null", None),
        ] {
            assert!(!behind(origin, site), "{origin} {site:?}");
        }
        assert!(!is_behind_proxy(&HeaderMap::new(), &["*".to_owned()]));
    }

    #[test]
    fn page_that_asks_is_known_by_its_origin_or_by_its_address() {
        let asks = |name, value| {
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
            asking_origin(&headers)
        };
        let page = Some(HeaderValue::from_static("http://a:1"));
        assert_eq!(asks(header::ORIGIN, "http://a:1"), page);
        assert_eq!(asks(header::REFERER, "http://a:1/page?x"), page);
        assert_eq!(asks(header::REFERER, "nothing"), None);
    }
}
