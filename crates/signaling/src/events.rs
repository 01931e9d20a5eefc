//! How the streams are, told as it changes: server-sent events.
//!
//! One task looks, and only while somebody listens; each who listens is told what has changed since it was told last.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use futures_util::stream;
use serde_json::{Map, Value, json};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};

use crate::{
    api,
    problem::{Details, Problem},
    shared::Shared,
};

/// How often the task looks.
const LOOK: Duration = Duration::from_secs(1);

/// Who listens hears something at least so often, so that neither it nor a proxy between takes the silence for an end.
const BEAT: Duration = Duration::from_secs(5);

/// A program that was cut off comes back after so long. The server ends each connection after five minutes.
const RETRY_MS: u32 = 1000;

/// Listeners at once; each holds a connection. The next one gets 503.
const MOST_LISTENERS: usize = 256;

/// When there may be a place again.
const BUSY_RETRY: Duration = Duration::from_secs(5);

/// What changes all the time, and is no news.
const RESTLESS: [&str; 4] = ["frames_received", "frames_sent", "last_frame_age_ms", "retry_in_ms"];

/// Where one listens.
#[derive(Debug)]
pub(crate) struct Events {
    latest: watch::Receiver<Arc<Look>>,
    places: Arc<Semaphore>,
}

/// How the streams were at one moment.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Look(Vec<Picture>);

#[derive(Debug, PartialEq)]
struct Picture {
    name: String,
    /// As the API shows it.
    shown: Value,
}

/// One who listens.
struct Listener {
    /// To this stream; all of them without.
    only: Option<String>,
    news: watch::Receiver<Arc<Look>>,
    first: Option<Look>,
    /// What it was told last, without what is restless.
    told: Value,
    _place: OwnedSemaphorePermit,
}

impl Events {
    /// Nobody listens yet. What is sent, [`tell`] sends.
    pub(crate) fn new() -> (Self, watch::Sender<Arc<Look>>) {
        let (sender, latest) = watch::channel(Arc::default());
        let places = Arc::new(Semaphore::new(MOST_LISTENERS));
        (Self { latest, places }, sender)
    }
}

/// Looks, and tells who listens. With its end all events end.
pub(crate) async fn tell(shared: Arc<Shared>, news: watch::Sender<Arc<Look>>) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let is_heard = shared.events.places.available_permits() < MOST_LISTENERS;
        if is_heard {
            let look = Arc::new(Look::at(&shared).await);
            news.send_if_modified(|before| std::mem::replace(before, Arc::clone(&look)) != look);
        }
    }
}

impl Look {
    async fn at(shared: &Shared) -> Self {
        let pictures = api::views(shared).await.into_iter().map(|view| Picture {
            name: view.name.clone(),
            shown: json!(view),
        });
        Self(pictures.collect())
    }

    /// All of it, or of one stream.
    fn of(&self, only: Option<&str>) -> Value {
        let mut pictures = self.0.iter();
        match only {
            Some(only) => pictures
                .find(|picture| picture.name == only)
                .map_or(Value::Null, |picture| picture.shown.clone()),
            None => json!({ "streams": pictures.map(|picture| &picture.shown).collect::<Vec<_>>() }),
        }
    }
}

/// Without what is restless.
fn at_rest(mut shown: Value) -> Value {
    let calm = |stream: &mut Map<String, Value>| stream.retain(|name, _| !RESTLESS.contains(&name.as_str()));
    match shown.get_mut("streams").and_then(Value::as_array_mut) {
        Some(streams) => streams.iter_mut().filter_map(Value::as_object_mut).for_each(calm),
        None => shown.as_object_mut().into_iter().for_each(calm),
    }
    shown
}

impl Listener {
    /// What there is to tell next; `None`: nothing any more.
    async fn next(&mut self) -> Option<String> {
        if let Some(first) = self.first.take() {
            let told = self.news_of(&first)?;
            return Some(format!("retry: {RETRY_MS}\n{told}"));
        }
        let beat = Instant::now() + BEAT;
        loop {
            match timeout_at(beat, self.news.changed()).await {
                Err(_quiet) => return Some("event: beat\ndata: {}\n\n".to_owned()),
                Ok(Err(_ended)) => return None,
                Ok(Ok(())) => {
                    let look = Arc::clone(&self.news.borrow_and_update());
                    if let Some(told) = self.news_of(&look) {
                        return Some(told);
                    }
                }
            }
        }
    }

    /// The event, if there is something new in it.
    fn news_of(&mut self, look: &Look) -> Option<String> {
        let shown = look.of(self.only.as_deref());
        let at_rest = at_rest(shown.clone());
        let event = if self.only.is_some() { "stream" } else { "streams" };
        let is_news = std::mem::replace(&mut self.told, at_rest.clone()) != at_rest;
        is_news.then(|| format!("event: {event}\ndata: {shown}\n\n"))
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
        (status = 503, description = "Too many listen; see Retry-After.", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn all(State(shared): State<Arc<Shared>>) -> Result<Response, Problem> {
    listen(&shared, None).await
}

/// One stream, likewise: `stream` with what `/api/v1/streams/{stream}` answers, and `beat`.
#[utoipa::path(
    get, path = "/api/v1/streams/{stream}/events", tag = "api",
    params(("stream" = String, Path, description = "The stream's name")),
    responses(
        (status = 200, content_type = "text/event-stream", body = String),
        (status = 404, description = "There is no such stream.", body = Details, content_type = "application/problem+json"),
        (status = 503, description = "Too many listen; see Retry-After.", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn one(State(shared): State<Arc<Shared>>, Path(stream): Path<String>) -> Result<Response, Problem> {
    let stream = shared.stream(&stream)?;
    listen(&shared, Some(stream.name.to_string())).await
}

async fn listen(shared: &Shared, only: Option<String>) -> Result<Response, Problem> {
    let Ok(place) = Arc::clone(&shared.events.places).try_acquire_owned() else {
        let detail = format!("{MOST_LISTENERS} listen already.");
        return Err(
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_listeners", detail).retry_after(BUSY_RETRY),
        );
    };
    let mut news = shared.events.latest.clone();
    // What it holds may be from when somebody listened last.
    news.mark_unchanged();
    let listener = Listener {
        only,
        news,
        first: Some(Look::at(shared).await),
        told: Value::Null,
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
