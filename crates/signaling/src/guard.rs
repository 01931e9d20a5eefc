//! Who may ask: what keeps a hostile web page from using its visitor's browser against us.
//!
//! By default we listen on loopback, where every web page that is open on this machine can send requests. Three rules:
//!
//! - **Host.** On a loopback listener the `Host` has to be an IP address or `localhost`: a page that rebinds its own
//!   name to 127.0.0.1 still names itself there. On any other listener the operator's own names are unknown to us, and
//!   whoever reaches the network reaches us anyway.
//! - **Origin.** Nothing but WHEP changes anything for a page of another origin (CSRF), and without CORS headers none
//!   can read the API, a snapshot or the metrics.
//! - **WHEP is open** to the origins of `http.origins`, by default to all, because players on other sites are what the
//!   protocol is for. Browsers ask their user before a public page may reach a local address (Local Network Access);
//!   where that is not enough, list the origins.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{problem::Problem, shared::Shared, whep};

/// What a page may load: its own modules and styles, our API, and pictures made by either.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// Request headers that a WHEP player sends.
const REQUEST_HEADERS: &str = "Authorization, Content-Type, If-Match";

/// Response headers that a WHEP player reads.
const EXPOSED_HEADERS: &str = "Accept-Patch, ETag, Link, Location, Retry-After";

/// How long a browser may remember a preflight's answer, seconds: the most that Chromium honours.
const PREFLIGHT_AGE: &str = "7200";

/// Refuses a `Host` that only a rebound name can have, and other origins' changes; adds the headers every answer has.
pub(crate) async fn admit(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let mut response = match check(&shared, &request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Adds the CORS headers to WHEP's answers.
pub(crate) async fn share(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let preflight = request.method() == Method::OPTIONS;
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let anyone = HeaderValue::from_static("*");
    let allowed = if shared.origins.contains(&anyone) {
        Some(anyone)
    } else {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        origin.filter(|origin| shared.origins.contains(origin))
    };
    let Some(allowed) = allowed else { return response };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(EXPOSED_HEADERS),
    );
    if preflight {
        let methods = whep::METHODS.map(|method| method.to_string()).join(", ");
        if let Ok(methods) = HeaderValue::from_str(&methods) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        }
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static(REQUEST_HEADERS),
        );
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_AGE));
    }
    response
}

fn check(shared: &Shared, request: &Request) -> Result<(), Problem> {
    let host = host(request);
    if shared.address.ip().is_loopback() && !host.is_some_and(is_local_name) {
        return Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "unknown_host",
            "This server listens on loopback: ask it as localhost or by its address.",
        ));
    }
    let changes = !request.method().is_safe() && !request.uri().path().starts_with("/whep/");
    if changes && !is_same_origin(request.headers(), host) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "cross_origin",
            "A page of another origin may not change anything here.",
        ));
    }
    Ok(())
}

/// `host[:port]` of the request.
fn host(request: &Request) -> Option<&str> {
    let named = request.uri().authority().map(|authority| authority.as_str());
    named.or_else(|| request.headers().get(header::HOST)?.to_str().ok())
}

fn is_local_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let name = name.to_ascii_lowercase();
    name.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

/// Programs send no `Origin`; browsers send it with everything that is not a plain read.
fn is_same_origin(headers: &HeaderMap, host: Option<&str>) -> bool {
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
    fn addresses_and_localhost_are_local_names_and_nothing_else_is() {
        for good in [
            "127.0.0.1:8890",
            "127.0.0.1",
            "[::1]:8890",
            "localhost:1",
            "LOCALHOST",
            "box.localhost:8890",
        ] {
            assert!(is_local_name(good), "{good}");
        }
        for bad in [
            "evil.example:8890",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "",
            "[evil]",
        ] {
            assert!(!is_local_name(bad), "{bad}");
        }
    }

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
