//! How the streams are, told as it changes: server-sent events.
//!
//! One task looks, and only while somebody listens; each who listens is told what has changed since it was told last.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension,
    body::Body,
    extract::{Path, State},
    http::header,
    response::{IntoResponse as _, Response},
};
use framebridge_auth::Principal;
use framebridge_http::Place;
use framebridge_proto::StreamName;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};

use crate::{
    api,
    app_state::AppState,
    gate::Asker,
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
    name: StreamName,
    /// As the API shows it to operators, and to all others.
    shown: [Value; 2],
    /// Without what is restless.
    at_rest: Value,
}

/// One who listens.
struct Listener {
    who: Principal,
    shared: Arc<AppState>,
    /// To this stream; all that it may see without.
    only: Option<StreamName>,
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
        let glances = api::views(shared).await.into_iter().map(|(name, view)| {
            let for_operators = json!(view);
            let mut at_rest = for_operators.clone();
            if let Some(fields) = at_rest.as_object_mut() {
                fields.retain(|name, _| !RESTLESS.contains(&name.as_str()));
            }
            let shown = [for_operators, json!(view.for_viewers(shared))];
            Glance { name, shown, at_rest }
        });
        Self(glances.collect())
    }

    /// All of it that `who` may see, or of one stream.
    fn of<'a>(&'a self, who: &'a Principal, only: Option<&'a StreamName>) -> impl Iterator<Item = &'a Glance> {
        self.0
            .iter()
            .filter(move |glance| who.streams.has(&glance.name) && only.is_none_or(|only| glance.name == *only))
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
            // Whoever may not listen any more hears no further word.
            let is_good = self.shared.access.is_good(&self.who);
            let look = beat.min(Instant::now() + LOOK);
            match timeout_at(look, self.news.changed()).await {
                _ if !is_good => return None,
                Err(_quiet) if look < beat => {}
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
        let (who, only) = (&self.who, self.only.as_ref());
        let shown = |glance: &Glance| glance.shown[usize::from(!who.is_operator())].clone();
        let is_old = self.told.as_ref().is_some_and(|told| {
            told.of(who, only)
                .map(|glance| &glance.at_rest)
                .eq(look.of(who, only).map(|glance| &glance.at_rest))
        });
        if is_old {
            return None;
        }
        let event = match only {
            Some(_) => {
                let shown = look.of(who, only).next().map_or(Value::Null, shown);
                format!("event: stream\ndata: {shown}\n\n")
            }
            None => {
                let streams: Vec<_> = look.of(who, None).map(shown).collect();
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
pub(crate) async fn all(
    State(shared): State<Arc<AppState>>,
    Extension(who): Asker,
    client: ClientAddress,
) -> Result<Response, Problem> {
    listen(shared, who, client, None).await
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
    Extension(who): Asker,
    client: ClientAddress,
    Path(stream): Path<String>,
) -> Result<Response, Problem> {
    let only = shared.stream(&stream)?.name.clone();
    listen(shared, who, client, Some(only)).await
}

async fn listen(
    shared: Arc<AppState>,
    who: Principal,
    client: ClientAddress,
    only: Option<StreamName>,
) -> Result<Response, Problem> {
    let place = shared.limits.listen(client)?;
    let mut news = shared.events.latest.clone();
    // What it holds may be from when somebody listened last.
    news.mark_unchanged();
    let first = Look::at(&shared).await;
    let listener = Listener {
        who,
        shared,
        only,
        news,
        first: Some(Arc::new(first)),
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
