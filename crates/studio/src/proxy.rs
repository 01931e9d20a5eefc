//! A box's public address: what is asked there travels to the box's own server, and the answer back.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{ConnectInfo, Path, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request},
    response::{IntoResponse, Response},
};
use framebridge_studio_proto::{
    Bytes64, Header, PublicId, REQUEST_HEADERS, RESPONSE_HEADERS,
    limits::{MAX_CHUNK, MAX_PATH, MAX_REQUEST_BODY},
};
use tokio::time::timeout;

use crate::{
    boxes::{Answer, ask},
    hub::{Hub, Opened},
    page,
    problem::Problem,
    question::Question,
    turn,
};

/// The longest header value that is carried.
const MOST_VALUE: usize = 4096;

/// How long a request's body may take: it is some kilobytes.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// `/s/<id>`: relative links need the slash.
pub(crate) async fn root(Path(id): Path<String>) -> Response {
    match id.parse::<PublicId>() {
        Ok(id) => redirect(&format!("/s/{id}/")),
        Err(_) => page::nothing_here(),
    }
}

/// `/s/<id>/...`
pub(crate) async fn carry(
    State(hub): State<Arc<Hub>>,
    ConnectInfo(connection): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let navigation = is_navigation(&parts);
    match answer(&hub, connection, &parts, body).await {
        // A person sees how the box is, in words; the page finds out by itself when there is more to see.
        Ok(response) if navigation && is_outage(response.status()) => page::session(response.status()),
        Err(problem) if navigation && is_outage(problem.status) => page::session(problem.status),
        Err(problem) if navigation && problem.status == StatusCode::NOT_FOUND => page::nothing_here(),
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn answer(hub: &Hub, connection: SocketAddr, parts: &request::Parts, body: Body) -> Result<Response, Problem> {
    if parts.headers.contains_key(header::UPGRADE) {
        let detail = "There is no WebSocket here.";
        return Err(Problem::new(StatusCode::UPGRADE_REQUIRED, "no_upgrade", detail));
    }
    let (id, path) = split(parts).ok_or_else(Problem::not_found)?;
    let opened = hub.open(id).await?.ok_or_else(Problem::address_ended)?;
    let left = opened.left();
    let Opened { session, access } = opened;
    let joins = parts.method == Method::POST && path.starts_with("/whep/");
    let address = hub.limits.address(connection, &parts.headers);
    if joins {
        hub.limits.joins.take(address)?;
    } else if !parts.method.is_safe() && !path.starts_with("/whep/") && !is_same_origin(hub, &parts.headers) {
        let detail = "A page of another origin may not change anything here.";
        return Err(Problem::new(StatusCode::FORBIDDEN, "cross_origin", detail));
    }
    let view = session.view();
    let streams = view.report.iter().flat_map(|report| &report.streams);
    // An address with one thing to see leads straight there.
    if path == "/" && parts.method == Method::GET {
        let only = access.stream.clone().or_else(|| {
            let mut names = streams.map(|stream| &stream.name);
            names.next().filter(|_| names.next().is_none()).cloned()
        });
        if let Some(stream) = only {
            return Ok(redirect(&format!("/s/{id}/s/{stream}")));
        }
    }
    let Some(link) = session.link() else {
        let (excuse, wait) = view.excuse();
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "box_away", excuse).retry_after(wait));
    };
    let visit = hub.visits.enter(id, session.id, address, left).await?;
    let body = whole(body).await?;
    let question = Question {
        method: parts.method.to_string(),
        path,
        headers: request_headers(&parts.headers),
        access,
        body: body.chunks(MAX_CHUNK).map(|part| Bytes64(part.to_vec())).collect(),
    };
    let answer = ask(question, &link).await?;
    let visit = if answer.is_endless() {
        visit.into_stream()?
    } else {
        visit
    };
    let ice = if joins { hub.ice_servers(id, left) } else { Vec::new() };
    Ok(response(answer.for_visit(visit), id, ice.iter().flat_map(turn::links)))
}

/// A request's body.
async fn whole(body: Body) -> Result<Bytes, Problem> {
    let read = timeout(BODY_TIMEOUT, to_bytes(body, MAX_REQUEST_BODY)).await;
    let read = read.map_err(|_late| {
        let detail = "The request's body did not arrive in time.";
        Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", detail)
    })?;
    read.map_err(|_| {
        let detail = format!("A body may have {MAX_REQUEST_BODY} bytes.");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
    })
}

/// The address's id, and what is asked below it, as it was written.
fn split(parts: &request::Parts) -> Option<(PublicId, String)> {
    let whole = parts.uri.path_and_query()?.as_str();
    let (id, rest) = whole.strip_prefix("/s/")?.split_once('/')?;
    if rest.len() >= MAX_PATH {
        return None;
    }
    Some((id.parse().ok()?, format!("/{rest}")))
}

fn request_headers(headers: &HeaderMap) -> Vec<Header> {
    let value = |name: &&str| {
        let value = headers
            .get(*name)?
            .to_str()
            .ok()
            .filter(|value| value.len() <= MOST_VALUE)?;
        Some(((*name).to_owned(), value.to_owned()))
    };
    REQUEST_HEADERS.iter().filter_map(value).collect()
}

/// The box's answer as the viewer gets it.
fn response(answer: Answer, id: PublicId, links: impl Iterator<Item = String>) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut headers = HeaderMap::new();
    for (name, value) in &answer.headers {
        let known = RESPONSE_HEADERS.iter().find(|known| *known == name);
        let value = match name.as_str() {
            "location" => location(id, value),
            "link" => link(id, value),
            _ => value.clone(),
        };
        if let (Some(known), Ok(value)) = (known, HeaderValue::try_from(value)) {
            headers.append(HeaderName::from_static(known), value);
        }
    }
    if status.is_success() {
        headers.extend(links.filter_map(|link| Some((header::LINK, HeaderValue::try_from(link).ok()?))));
    }
    // The box's origin is this address only, whatever else this studio serves: it may not set a worker for all of it.
    headers.insert(
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    );
    (status, headers, answer.into_body()).into_response()
}

/// Where the box's own server says something is, as seen from outside.
fn location(id: PublicId, value: &str) -> String {
    let path = match value.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => value,
    };
    if path.starts_with('/') {
        format!("/s/{id}{path}")
    } else {
        path.to_owned()
    }
}

/// A `Link` of the box's own server, likewise: one of a path is to something of its own, others are STUN and TURN servers.
fn link(id: PublicId, value: &str) -> String {
    match value.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
        Some((target, rest)) if target.starts_with('/') => format!("<{}>{rest}", location(id, target)),
        _ => value.to_owned(),
    }
}

/// Whether a person's browser asks for a page.
pub(crate) fn is_navigation(parts: &request::Parts) -> bool {
    let accept = parts.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    parts.method == Method::GET && accept.is_some_and(|accept| accept.contains("text/html"))
}

fn is_outage(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}

/// Programs send no `Origin`; browsers send it with everything that is not a plain read.
fn is_same_origin(hub: &Hub, headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    origin.to_str().is_ok_and(|origin| {
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        origin == hub.public_url || (authority.is_some() && authority == host)
    })
}

fn redirect(to: &str) -> Response {
    (
        StatusCode::FOUND,
        [(header::LOCATION, to), (header::CACHE_CONTROL, "no-store")],
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(uri: &str) -> request::Parts {
        Request::builder().uri(uri).body(()).unwrap().into_parts().0
    }

    #[test]
    fn paths_travel_as_they_were_written() {
        let id = "0123456789abcdef0123456789abcdef";
        let path = |rest: &str| split(&parts(&format!("/s/{id}{rest}"))).map(|(_, path)| path);
        assert_eq!(path("/").as_deref(), Some("/"));
        assert_eq!(path("/s/a%2Fb?x=1&y").as_deref(), Some("/s/a%2Fb?x=1&y"));
        assert_eq!(path("/a/../b").as_deref(), Some("/a/../b"));
        assert_eq!(path(&format!("/{}", "x".repeat(MAX_PATH))), None);
        assert!(split(&parts("/s/short/x")).is_none());
    }

    #[test]
    fn locations_stay_below_the_public_address() {
        let id = PublicId::from_bits(1);
        for (from, to) in [
            ("/whep/test/1", format!("/s/{id}/whep/test/1")),
            ("http://127.0.0.1:8890/whep/test/1", format!("/s/{id}/whep/test/1")),
            ("//evil.example/x", format!("/s/{id}//evil.example/x")),
            ("x", "x".to_owned()),
            ("http://host", format!("/s/{id}/")),
        ] {
            assert_eq!(location(id, from), to);
        }
        assert_eq!(
            link(id, "</whep/test/1/sse>; rel=\"events\""),
            format!("</s/{id}/whep/test/1/sse>; rel=\"events\"")
        );
        let turn = "<turn:turn.example>; rel=\"ice-server\"";
        assert_eq!(link(id, turn), turn);
    }
}
