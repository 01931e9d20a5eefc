//! WHEP's server-sent events: a session's viewer is told whether pictures come, how many watch, and when it has to begin anew
//! (draft-ietf-wish-whep, "Server-Sent Events extension").
//!
//! An event stream is its session and the events that are wanted, which its address names: nothing of it is kept, so that it
//! goes on where another process goes on with the session. What was told last is the event's id, which whoever comes back says.

use std::sync::Arc;

use axum::{
    Extension,
    body::{Body, HttpBody as _},
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response, sse::Event},
};
use framebridge_auth::Principal;
use framebridge_core::session_news::{Kinds, News, Seen, SessionNews};
use framebridge_http::Place;
use framebridge_proto::{
    StreamName,
    status::{Condition, StreamState},
};
use framebridge_rtc::{SessionId, ViewerState};
use futures_util::stream;
use serde_json::json;
use tokio::{sync::watch, time::timeout};

use crate::{
    app_state::AppState,
    body,
    client::ClientAddress,
    events::{self, LOOK, RETRY},
    gate::Asker,
    glances::Glances,
    negotiation::{self, prefix},
    problem::{Details, Problem},
    whep,
};

const LAST_EVENT_ID: &str = "last-event-id";

/// One who listens.
struct Listener {
    who: Principal,
    shared: Arc<AppState>,
    stream: StreamName,
    session: SessionId,
    wanted: Kinds,
    news: SessionNews,
    /// Changes each second, and ends with this process.
    seconds: watch::Receiver<Arc<Glances>>,
    /// The first event says when to come back.
    is_first: bool,
    is_over: bool,
    _place: Place,
}

impl Listener {
    /// What there is to tell next; `None`: nothing any more.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(news) = self.news.poll_output() {
                return Some(self.event(news));
            }
            if self.is_over {
                return None;
            }
            if !self.is_first {
                let second = timeout(LOOK, self.seconds.changed()).await;
                self.is_over = matches!(second, Ok(Err(_)));
            }
            let seen = self.look();
            self.news.handle(seen?);
            if self.is_first && !self.is_over {
                self.is_first = false;
                // At once, so that whoever asks knows that it is heard, also where there is nothing to tell.
                return Some(Event::default().retry(RETRY));
            }
        }
    }

    /// How it is now; `None`: this is none of who listens any more.
    fn look(&mut self) -> Option<Seen> {
        let shared = &self.shared;
        if !shared.access.is_good(&self.who) || shared.silenced.has(&self.session, self.wanted) {
            return None;
        }
        let open = shared.engine.session(&self.session);
        let is_broken = match &open {
            Some(info) => info.state == ViewerState::Grace || info.is_lost || shared.is_draining(),
            None => {
                self.is_over = true;
                let ended = shared.ended.of(&self.session);
                let is_fault = matches!(ended, Some((_, ViewerState::Closed(reason))) if reason.is_fault());
                is_fault || shared.is_draining()
            }
        };
        // One whose settings have changed is another.
        let stream = shared.streams.get(&self.stream)?;
        let health = stream.health();
        Some(Seen {
            is_active: health.state == StreamState::Live && health.condition != Condition::Dark,
            viewers: stream.viewers(),
            is_broken,
        })
    }

    fn event(&self, news: News) -> Event {
        let (name, data) = match news {
            News::Active => ("active", json!({})),
            News::Inactive => ("inactive", json!({})),
            News::Reconnect => ("reconnect", json!({})),
            News::ViewerCount(viewers) => ("viewercount", json!({ "viewercount": viewers })),
        };
        let event = Event::default().event(name).data(data.to_string());
        match news {
            News::Active | News::Inactive => event.id(name),
            News::Reconnect | News::ViewerCount(_) => event,
        }
    }
}

/// Opens an event stream: an array of the events that are wanted in; none, or no body: all.
#[utoipa::path(
    post, path = "/whep/{stream}/{session}/sse", operation_id = "whep_open_events", tag = "whep",
    params(
        ("stream" = String, Path, description = "The stream's name"),
        ("session" = String, Path, description = "The session's id"),
    ),
    request_body(content = Vec<String>, content_type = "application/json", description = "Names of events"),
    responses(
        (status = 201, description = "It is open; the content is empty.",
            headers(("Location" = String, description = "The event stream's URL"))),
        (status = 400, description = "The body is no array of names, or has no event that there is.", body = Details, content_type = "application/problem+json"),
        (status = 404, description = "There is no such session (any more).", body = Details, content_type = "application/problem+json"),
        (status = 413, description = "The body has over 64 KiB.", body = Details, content_type = "application/problem+json"),
        (status = 415, description = "The body is no application/json.", body = Details, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests of this address; see Retry-After.", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn open(
    State(shared): State<Arc<AppState>>,
    Extension(who): Asker,
    client: ClientAddress,
    Path((stream, session)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let session = whep::known_session(&shared, &who, &stream, &session)?;
    shared.limits.patch(client)?;
    // A body of no declared length may be there, and be empty.
    let has_body = !body.is_end_stream() && headers.contains_key(header::CONTENT_TYPE);
    let wanted = if has_body {
        wanted(&body::read(&headers, body, "application/json").await?)?
    } else {
        Kinds::ALL
    };
    shared.silenced.begin(&session, wanted);
    let location = format!("{}/whep/{stream}/{session}/sse/{wanted}", prefix(&headers));
    let location = HeaderValue::from_str(&location).map_err(|_| Problem::unwritten())?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)]))
}

/// The events that a body asks for.
fn wanted(body: &[u8]) -> Result<Kinds, Problem> {
    let names: Vec<String> = serde_json::from_slice(body).map_err(|error| {
        let detail = format!("The body is no array of names of events: {error}.");
        Problem::new(StatusCode::BAD_REQUEST, "invalid", detail)
    })?;
    if names.is_empty() {
        return Ok(Kinds::ALL);
    }
    Kinds::named(names.iter().map(String::as_str)).ok_or_else(|| {
        let detail = format!(
            "There are the events {} alone.",
            Kinds::ALL.to_string().replace('-', ", ")
        );
        Problem::new(StatusCode::BAD_REQUEST, "unknown_events", detail)
    })
}

/// The events of an event stream, and `beat` at least every 5 s. It ends with its session.
#[utoipa::path(
    get, path = "/whep/{stream}/{session}/sse/{events}", operation_id = "whep_follow_events", tag = "whep",
    params(
        ("stream" = String, Path, description = "The stream's name"),
        ("session" = String, Path, description = "The session's id"),
        ("events" = String, Path, description = "As Location had it, e.g. `active-inactive`"),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was heard"),
    ),
    responses(
        (status = 200, description = "Events, for as long as the connection lasts.", content_type = "text/event-stream", body = String),
        (status = 404, description = "There is no such event stream (any more).", body = Details, content_type = "application/problem+json"),
        (status = 429, description = "This address has too many; see Retry-After.", body = Details, content_type = "application/problem+json"),
        (status = 503, description = "Too many listen; see Retry-After.", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn follow(
    State(shared): State<Arc<AppState>>,
    Extension(who): Asker,
    client: ClientAddress,
    Path((stream, session, events)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (session, wanted) = known(&shared, &who, &stream, &session, &events)?;
    let stream = shared.stream(&stream)?.name.clone();
    let place = shared.limits.listen(client)?;
    let told = headers.get(LAST_EVENT_ID).map(HeaderValue::as_bytes);
    let was_active = told.and_then(|told| match told {
        b"active" => Some(true),
        b"inactive" => Some(false),
        _ => None,
    });
    let listener = Listener {
        who,
        seconds: shared.glances.clone(),
        shared,
        stream,
        session,
        wanted,
        news: SessionNews::new(wanted, was_active),
        is_first: true,
        is_over: false,
        _place: place,
    };
    Ok(events::answer(stream::unfold(listener, |mut listener| async {
        let told = listener.next().await?;
        Some((told, listener))
    })))
}

/// Ends an event stream, and who listens to it hears no more.
#[utoipa::path(
    delete, path = "/whep/{stream}/{session}/sse/{events}", operation_id = "whep_close_events", tag = "whep",
    params(
        ("stream" = String, Path, description = "The stream's name"),
        ("session" = String, Path, description = "The session's id"),
        ("events" = String, Path, description = "As Location had it, e.g. `active-inactive`"),
    ),
    responses(
        (status = 200, description = "It has ended."),
        (status = 404, description = "There is no such event stream (any more).", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn close(
    State(shared): State<Arc<AppState>>,
    Extension(who): Asker,
    Path((stream, session, events)): Path<(String, String, String)>,
) -> Result<StatusCode, Problem> {
    let (session, wanted) = known(&shared, &who, &stream, &session, &events)?;
    let is_open = |session: &SessionId| shared.engine.session(session).is_some();
    shared.silenced.end(session, wanted, is_open);
    Ok(StatusCode::OK)
}

/// What can be done to open an event stream.
#[utoipa::path(
    options, path = "/whep/{stream}/{session}/sse", operation_id = "whep_get_events_options", tag = "whep",
    params(
        ("stream" = String, Path, description = "The stream's name"),
        ("session" = String, Path, description = "The session's id"),
    ),
    responses((status = 200, description = "See Allow, Accept-Post and the CORS headers."))
)]
pub(crate) async fn options() -> impl IntoResponse {
    [
        (header::ALLOW, "POST, OPTIONS"),
        (negotiation::ACCEPT_POST, "application/json"),
    ]
}

/// What can be done with an event stream.
#[utoipa::path(
    options, path = "/whep/{stream}/{session}/sse/{events}", operation_id = "whep_get_event_stream_options", tag = "whep",
    params(
        ("stream" = String, Path, description = "The stream's name"),
        ("session" = String, Path, description = "The session's id"),
        ("events" = String, Path, description = "As Location had it"),
    ),
    responses((status = 200, description = "See Allow and the CORS headers."))
)]
pub(crate) async fn options_of_one() -> impl IntoResponse {
    [(header::ALLOW, "GET, HEAD, DELETE, OPTIONS")]
}

/// The event stream of a URL: of a session of who asks, and not ended.
fn known(
    shared: &AppState,
    who: &Principal,
    stream: &str,
    session: &str,
    events: &str,
) -> Result<(SessionId, Kinds), Problem> {
    let session = whep::known_session(shared, who, stream, session)?;
    let wanted = Kinds::parse(events);
    let wanted = wanted.filter(|wanted| !shared.silenced.has(&session, *wanted));
    let unknown = || {
        Problem::new(
            StatusCode::NOT_FOUND,
            "unknown_events",
            "There is no such event stream (any more).",
        )
    };
    Ok((session, wanted.ok_or_else(unknown)?))
}
