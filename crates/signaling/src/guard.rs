//! Who may ask: what keeps a hostile web page from using its visitor's browser against us.
//!
//! Every web page that is open on this machine, or on one of a network that we listen on, can send requests. Four rules:
//!
//! - **Host.** It has to be an IP address, `localhost`, this machine's own name, or one of `http.hosts`: a page that rebinds
//!   its own name to our address still names itself there. Other names of a local network are whatever somebody in it says.
//! - **Origin.** Nothing but WHEP changes anything for a page of another origin (CSRF), and without CORS headers none
//!   can read the API, a snapshot or the metrics.
//! - **Sec-Fetch-Site.** What costs something, a snapshot or a clip, is not made for a page of another site, which could show it
//!   to nobody, but could ask for it with every `<img>`.
//! - **WHEP is open** to pages of the origins in `http.origins`, by default of none. Our own page and players that are no
//!   web pages need none of it.

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
};

/// What a page may load: its own modules and styles, our API, and pictures made by either.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// WHEP's methods. Some players ask with OPTIONS themselves, and a browser asks whether they may.
const METHODS: &str = "GET, HEAD, POST, PATCH, DELETE, OPTIONS";

/// Request headers that a WHEP player may send: any, and those that `*` does not mean (`Authorization`), or that older
/// browsers want named.
const REQUEST_HEADERS: &str = "Authorization, Content-Type, If-Match, *";

/// Response headers that a WHEP player reads.
const EXPOSED_HEADERS: &str = "Accept-Patch, Accept-Post, Allow, ETag, Link, Location, Retry-After, WWW-Authenticate";

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
        Err(problem) => problem.into_response(),
    };
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
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

/// Adds the CORS headers to WHEP's answers.
pub(crate) async fn share(State(shared): State<Arc<AppState>>, request: Request, next: Next) -> Response {
    let preflight = request.method() == Method::OPTIONS;
    let from_public = request.headers().contains_key(ASKS_PRIVATE_NETWORK);
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let anyone = HeaderValue::from_static("*");
    let allowed = if shared.site.is_open() {
        Some(anyone)
    } else {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        origin.filter(|origin| shared.site.lets_play(origin))
    };
    let Some(allowed) = allowed else { return response };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(EXPOSED_HEADERS),
    );
    if preflight {
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

fn check(shared: &AppState, request: &Request) -> Result<(), Problem> {
    let host = host(request);
    // On our own socket a name means nothing.
    let is_ours = client::transport(request) == Transport::Local;
    if !is_ours && !host.is_some_and(|host| shared.site.is_called(host)) {
        return Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "unknown_host",
            "This server does not know itself by this name: ask it by its address, or list the name in http.hosts.",
        ));
    }
    let changes = !request.method().is_safe() && !request.uri().path().starts_with("/whep/");
    if changes && !is_same_origin(request.headers(), host) {
        return Err(Problem::cross_origin());
    }
    if is_costly(request.uri().path()) && is_cross_site(request.headers()) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "cross_origin",
            "Pictures are not made for pages of another site.",
        ));
    }
    Ok(())
}

/// Whether reading it has something made.
fn is_costly(path: &str) -> bool {
    path.ends_with("/snapshot.jpg") || path.ends_with("/clip.mp4")
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
    authority.is_some() && authority == host
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_has_to_be_our_own_host_where_there_is_one() {
        let with = |origin| HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_static(origin))]);
        assert!(is_same_origin(&HeaderMap::new(), Some("a:1")));
        assert!(is_same_origin(&with("http://a:1"), Some("a:1")));
        for bad in ["http://a:2", "http://b", "null", "a:1"] {
            assert!(!is_same_origin(&with(bad), Some("a:1")), "{bad}");
        }
        assert!(!is_same_origin(&with("null"), None));
    }
}
