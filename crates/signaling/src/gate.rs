//! The gates: every route has one, and says what it takes to pass. There is no other way to serve a route, so that none can be
//! forgotten.

use std::{borrow::Cow, str::FromStr as _, sync::Arc};

use axum::{
    Extension, Router,
    extract::{RawPathParams, Request, State, rejection::RawPathParamsRejection},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse as _, Response},
    routing::MethodRouter,
};
use framebridge_auth::{Denied, Principal, Scope};
use framebridge_proto::StreamName;

use crate::{
    access::Unknown,
    app_state::AppState,
    client::{self, IsSecure},
    guard, page,
    problem::{self, Problem},
};

/// Who asks, as handlers are told it.
pub(crate) type Asker = Extension<Principal>;

/// A path, what it takes to use it, and its methods.
pub(crate) struct Route {
    path: Cow<'static, str>,
    needs: Needs,
    methods: MethodRouter<Arc<AppState>>,
}

#[derive(Debug, Clone, Copy)]
enum Needs {
    Nothing,
    Scope(Scope),
    /// Likewise; whoever is not known is shown where to log in.
    Page(Scope),
}

/// Routes with their gates.
pub(crate) struct Gated(Router<Arc<AppState>>);

impl Route {
    /// Takes this scope, with the stream that the path names.
    pub(crate) fn new(path: &'static str, scope: Scope, methods: MethodRouter<Arc<AppState>>) -> Self {
        let needs = Needs::Scope(scope);
        let path = path.into();
        Self { path, needs, methods }
    }

    /// A page that people open: whoever is not known is shown where to log in.
    pub(crate) fn page(path: &'static str, scope: Scope, methods: MethodRouter<Arc<AppState>>) -> Self {
        let needs = Needs::Page(scope);
        let path = path.into();
        Self { path, needs, methods }
    }

    /// Is everybody's, and tells nothing of any stream.
    pub(crate) fn open(path: &'static str, methods: MethodRouter<Arc<AppState>>) -> Self {
        let needs = Needs::Nothing;
        let path = path.into();
        Self { path, needs, methods }
    }

    /// The same route with a slash at the end of its path.
    pub(crate) fn with_slash(&self) -> Self {
        Self {
            path: format!("{}/", self.path).into(),
            needs: self.needs,
            methods: self.methods.clone(),
        }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// What it takes to use it; `None`: nothing.
    pub(crate) fn scope(&self) -> Option<Scope> {
        match self.needs {
            Needs::Nothing => None,
            Needs::Scope(scope) | Needs::Page(scope) => Some(scope),
        }
    }

    /// Whether people open it.
    pub(crate) fn is_page(&self) -> bool {
        matches!(self.needs, Needs::Page(_))
    }
}

impl Gated {
    /// Puts a gate before each route.
    pub(crate) fn new(shared: &Arc<AppState>, routes: impl IntoIterator<Item = Route>) -> Self {
        let add = |router: Router<Arc<AppState>>, Route { path, needs, methods }| {
            let gate = from_fn_with_state((Arc::clone(shared), needs), pass);
            router.route(&path, methods.route_layer(gate))
        };
        Self(routes.into_iter().fold(Router::new(), add))
    }

    /// Lets pages of the origins in `http.origins` use them.
    pub(crate) fn for_other_origins(self, shared: &Arc<AppState>) -> Self {
        Self(self.0.layer(from_fn_with_state(Arc::clone(shared), guard::share)))
    }

    /// These and those.
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0.merge(other.0))
    }

    /// The whole service.
    pub(crate) fn into_router(self, shared: Arc<AppState>) -> Router {
        self.0
            .fallback(nothing_here)
            .layer(from_fn_with_state(Arc::clone(&shared), guard::admit))
            .layer(from_fn(problem::seal))
            .with_state(shared)
    }
}

/// Where slashes are too many, the way to where they are not, for who only looks; else nothing, for people as a page.
async fn nothing_here(request: Request) -> Response {
    let tidied = Some(request.uri())
        .filter(|_| request.method().is_safe())
        .and_then(tidied);
    if let Some(location) = tidied.and_then(|location| HeaderValue::from_str(&location).ok()) {
        return (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, location)]).into_response();
    }
    let wanted = request.headers().get(header::ACCEPT).map(HeaderValue::as_bytes);
    let is_for_people = wanted.is_some_and(|wanted| wanted.starts_with(b"text/html"));
    if is_for_people && request.method() == Method::GET {
        return page::nothing(request.uri().path());
    }
    Problem::new(StatusCode::NOT_FOUND, "not_found", "There is nothing here.").into_response()
}

/// Where a path leads without its empty parts, if it has any: as far up as it is down, for a proxy may have taken off its
/// front. `OPTIONS *` has a path without any slash.
fn tidied(uri: &Uri) -> Option<String> {
    let path = uri.path();
    let depth = path.matches('/').count().checked_sub(1)?;
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let whole = format!("/{}", parts.join("/"));
    let is_tidy = whole == path || parts.iter().any(|part| part.starts_with('.'));
    if is_tidy {
        return None;
    }
    let up = "../".repeat(depth);
    let query = uri.query().map_or(String::new(), |query| format!("?{query}"));
    Some(format!("{up}{}{query}", &whole[1..]))
}

/// Finds out who asks, and lets through who may.
async fn pass(
    State((shared, needs)): State<(Arc<AppState>, Needs)>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Response {
    // A browser asks without credentials whether it may ask (Fetch, CORS preflight).
    let (scope, is_page) = match needs {
        _ if request.method() == Method::OPTIONS => return next.run(request).await,
        Needs::Nothing => return next.run(request).await,
        Needs::Scope(scope) => (scope, false),
        Needs::Page(scope) => (scope, true),
    };
    let asker = match shared.access.identify(&mut request) {
        Ok(asker) => asker,
        Err(Unknown::Nobody) if is_page => return page::please_log_in(request.uri().path()),
        Err(unknown) => return refusal(unknown).into_response(),
    };
    if asker.by_cookie && !request.method().is_safe() && !is_from_our_page(request.headers(), guard::host(&request)) {
        return Problem::cross_origin().into_response();
    }
    // One that can't be read is for the handler to refuse.
    let stream = params.ok().and_then(|params| {
        let named = params.iter().find(|(name, _)| *name == "stream");
        named.and_then(|(_, stream)| StreamName::from_str(stream).ok())
    });
    if let Err(denied) = asker.principal.may(scope, stream.as_ref()) {
        let address = client::address(&request);
        if shared.access.is_news(address) {
            let (who, path) = (&asker.principal, request.uri().path());
            tracing::info!(target: "audit", %who, %address, path, "refused");
        }
        return match denied {
            Denied::Stream => Problem::unknown_stream(),
            Denied::Scope(scope) => out_of_scope(scope),
        }
        .into_response();
    }
    let is_secure = request.extensions().get() == Some(&IsSecure(true));
    request.extensions_mut().insert(asker.principal);
    let mut response = next.run(request).await;
    let renewed = asker.renewed.map(|cookie| shared.access.set_cookie(&cookie, is_secure));
    if let Some(cookie) = renewed.and_then(|cookie| HeaderValue::from_str(&cookie).ok()) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// What is answered to who is not known.
pub(crate) fn refusal(unknown: Unknown) -> Problem {
    let unauthorized = |code, detail: &str, challenge| {
        Problem::new(StatusCode::UNAUTHORIZED, code, detail)
            .header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    };
    match unknown {
        Unknown::Nobody => unauthorized(
            "unauthorized",
            "This needs a token, as `Authorization: Bearer TOKEN`, or a login at /login.",
            "Bearer realm=\"framebridge\"",
        ),
        Unknown::WrongToken => unauthorized(
            "invalid_token",
            "The token is not known here, or has ended.",
            "Bearer realm=\"framebridge\", error=\"invalid_token\"",
        ),
        Unknown::TooMany(wait) => {
            let detail = "Too many wrong tokens have come from this address.";
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_wrong_tokens", detail).retry_after(wait)
        }
        Unknown::NoScope => out_of_scope(Scope::View),
    }
}

fn out_of_scope(scope: Scope) -> Problem {
    let detail = format!("This needs a token of scope `{scope}`.");
    let challenge = format!("Bearer realm=\"framebridge\", error=\"insufficient_scope\", scope=\"{scope}\"");
    let problem = Problem::new(StatusCode::FORBIDDEN, "scope", detail);
    match HeaderValue::from_str(&challenge) {
        Ok(challenge) => problem.header(header::WWW_AUTHENTICATE, challenge),
        Err(_never) => problem,
    }
}

/// Whether a page of ours sent it: with a cookie, that nothing speaks against it is not enough.
fn is_from_our_page(headers: &HeaderMap, host: Option<&str>) -> bool {
    let site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    match site {
        Some(site) => site == "same-origin",
        None => headers.contains_key(header::ORIGIN) && guard::is_same_origin(headers, host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookie_changes_something_for_our_own_pages_only() {
        let with = |pairs: &[(&'static str, &'static str)]| {
            let headers = pairs
                .iter()
                .map(|(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            is_from_our_page(&headers, Some("box:1"))
        };
        assert!(with(&[("sec-fetch-site", "same-origin")]));
        assert!(with(&[("origin", "http://box:1")]));
        for bad in [
            &[][..],
            &[("sec-fetch-site", "cross-site"), ("origin", "http://box:1")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none")],
            &[("origin", "http://box:2")],
            &[("origin", "null")],
        ] {
            assert!(!with(bad), "{bad:?}");
        }
    }

    #[test]
    fn path_with_too_many_slashes_leads_to_the_one_without() {
        let tidied = |path: &'static str| super::tidied(&Uri::from_static(path));
        assert_eq!(tidied("/s/x/").as_deref(), Some("../../s/x"));
        assert_eq!(tidied("//s/x").as_deref(), Some("../../s/x"));
        assert_eq!(
            tidied("/api/v1/streams/x/?a=b").as_deref(),
            Some("../../../../api/v1/streams/x?a=b")
        );
        assert_eq!(tidied("//evil.example/").as_deref(), Some("../../evil.example"));
        for tidy in [
            "/",
            "/s/x",
            "/s/x?a=//",
            "/s/..//",
            "*",
            "box:8890",
            "http://box:8890",
            "http://box?a",
        ] {
            assert_eq!(tidied(tidy), None, "{tidy}");
        }
    }
}
