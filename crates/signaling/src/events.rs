//! How the streams are, told as it changes: server-sent events.
//!
//! One task looks, and only while somebody listens; each who listens is told what has changed since it was told last.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Path, State},
    http::header,
    response::{IntoResponse as _, Response},
};
use framebridge_http::Place;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};

use crate::{
    api,
    app_state::AppState,
    limits::ClientAddress,
    problem::{Details, Problem},
};

/// How often the task looks.
const LOOK: Duration = Duration::from_secs(1);

/// Who listens hears something at least so often, so that neither it nor a proxy between takes the silence for an end.
const BEAT: Duration = Duration::from_secs(5);

/// A program that was cut off comes back after so long. The server ends each connection after five minutes.
const RETRY_MS: u32 = 1000;

/// What changes all the time, and is no news.
const RESTLESS: [&str; 4] = ["frames_received", "frames_sent", "last_frame_age_ms", "retry_in_ms"];

/// Where one listens.
#[derive(Debug)]
pub(crate) struct Events {
    latest: watch::Receiver<Arc<Look>>,
}

/// How the streams were at one moment.
#[derive(Debug, Default)]
pub(crate) struct Look(Vec<Glance>);

/// How one of them was.
#[derive(Debug)]
struct Glance {
    name: String,
    /// As the API shows it.
    shown: Value,
    /// Without what is restless.
    at_rest: Value,
}

/// One who listens.
struct Listener {
    /// To this stream; all of them without.
    only: Option<String>,
    news: watch::Receiver<Arc<Look>>,
    first: Option<Arc<Look>>,
    /// What it was told last.
    told: Option<Arc<Look>>,
    _place: Place,
}

impl Events {
    /// Nobody listens yet. What is sent, [`tell`] sends.
    pub(crate) fn new() -> (Self, watch::Sender<Arc<Look>>) {
        let (sender, latest) = watch::channel(Arc::default());
        (Self { latest }, sender)
    }
}

/// Looks, and tells who listens. With its end all events end.
pub(crate) async fn tell(shared: Arc<AppState>, news: watch::Sender<Arc<Look>>) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let is_heard = shared.limits.listeners.taken() > 0;
        if is_heard {
            news.send_replace(Arc::new(Look::at(&shared).await));
        }
    }
}

impl Look {
    async fn at(shared: &AppState) -> Self {
        let glances = api::views(shared).await.into_iter().map(|view| {
            let shown = json!(view);
            let mut at_rest = shown.clone();
            if let Some(fields) = at_rest.as_object_mut() {
                fields.retain(|name, _| !RESTLESS.contains(&name.as_str()));
            }
            Glance {
                name: view.name,
                shown,
                at_rest,
            }
        });
        Self(glances.collect())
    }

    /// All of it, or of one stream.
    fn of<'a>(&'a self, only: Option<&'a str>) -> impl Iterator<Item = &'a Glance> {
        self.0
            .iter()
            .filter(move |glance| only.is_none_or(|only| glance.name == only))
    }
}

impl Listener {
    /// What there is to tell next; `None`: nothing any more.
    async fn next(&mut self) -> Option<String> {
        if let Some(first) = self.first.take() {
            let told = self.news_of(first)?;
            return Some(format!("retry: {RETRY_MS}\n{told}"));
        }
        let beat = Instant::now() + BEAT;
        loop {
            match timeout_at(beat, self.news.changed()).await {
                Err(_quiet) => return Some("event: beat\ndata: {}\n\n".to_owned()),
                Ok(Err(_ended)) => return None,
                Ok(Ok(())) => {
                    let look = Arc::clone(&self.news.borrow_and_update());
                    if let Some(told) = self.news_of(look) {
                        return Some(told);
                    }
                }
            }
        }
    }

    /// The event, if there is something new in it.
    fn news_of(&mut self, look: Arc<Look>) -> Option<String> {
        let only = self.only.as_deref();
        let is_old = self.told.as_ref().is_some_and(|told| {
            told.of(only)
                .map(|glance| &glance.at_rest)
                .eq(look.of(only).map(|glance| &glance.at_rest))
        });
        if is_old {
            return None;
        }
        let event = match only {
            Some(_) => {
                let shown = look.of(only).next().map_or(&Value::Null, |glance| &glance.shown);
                format!("event: stream\ndata: {shown}\n\n")
            }
            None => {
                let streams: Vec<_> = look.of(None).map(|glance| &glance.shown).collect();
                format!("event: streams\ndata: {}\n\n", json!({ "streams": streams }))
            }
        };
        self.told = Some(look);
        Some(event)
    }
}

/// All streams, now and whenever something changes but counts and ages.
///
/// Server-sent events (EventSource): `streams` with what `/api/v1/streams` answers, `beat` at least every 5 s. It ends after
/// five minutes, and EventSource comes back by itself.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "api",
    responses(
        (status = 200, content_type = "text/event-stream", body = String),
        (status = 429, description = "This address has too many; see Retry-After.", body = Details, content_type = "application/problem+json"),
        (status = 503, description = "Too many listen; see Retry-After.", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn all(State(shared): State<Arc<AppState>>, client: ClientAddress) -> Result<Response, Problem> {
    listen(&shared, client, None).await
}

/// One stream, likewise: `stream` with what `/api/v1/streams/{stream}` answers, and `beat`.
#[utoipa::path(
    get, path = "/api/v1/streams/{stream}/events", tag = "api",
    params(("stream" = String, Path, description = "The stream's name")),
    responses(
        (status = 200, content_type = "text/event-stream", body = String),
        (status = 404, description = "There is no such stream.", body = Details, content_type = "application/problem+json"),
        (status = 429, description = "This address has too many; see Retry-After.", body = Details, content_type = "application/problem+json"),
        (status = 503, description = "Too many listen; see Retry-After.", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn one(
    State(shared): State<Arc<AppState>>,
    client: ClientAddress,
    Path(stream): Path<String>,
) -> Result<Response, Problem> {
    let stream = shared.stream(&stream)?;
    listen(&shared, client, Some(stream.name.to_string())).await
}

async fn listen(shared: &AppState, client: ClientAddress, only: Option<String>) -> Result<Response, Problem> {
    let place = shared.limits.listen(client)?;
    let mut news = shared.events.latest.clone();
    // What it holds may be from when somebody listened last.
    news.mark_unchanged();
    let listener = Listener {
        only,
        news,
        first: Some(Arc::new(Look::at(shared).await)),
        told: None,
        _place: place,
    };
    let told = stream::unfold(listener, |mut listener| async {
        let told = listener.next().await?;
        Some((Ok::<_, Infallible>(told), listener))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::from_stream(told)).into_response())
}
