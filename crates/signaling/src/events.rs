//! Sends changes of the streams as server-sent events.
//!
//! One task looks, and only while somebody listens; each who listens is told what has changed since it was told last.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::{Path, State},
    http::{HeaderValue, header},
    response::{
        IntoResponse as _, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use framebridge_auth::Principal;
use framebridge_http::Place;
use framebridge_proto::StreamName;
use futures_util::{Stream, StreamExt as _, stream};
use serde_json::json;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    app_state::AppState,
    client::ClientAddress,
    gate::Asker,
    glances::{Glance, Glances},
    problem::{Details, Problem},
    streams,
};

/// How often the task looks: a count that is a second old does no harm.
pub(crate) const LOOK: Duration = Duration::from_secs(1);

/// Who listens hears something at least so often, so that neither it nor a proxy between takes the silence for an end.
const BEAT: Duration = Duration::from_secs(5);

/// Who was cut off comes back after so long. The server ends each connection after five minutes.
pub(crate) const RETRY: Duration = Duration::from_secs(1);

/// One who listens.
struct Listener {
    who: Principal,
    shared: Arc<AppState>,
    /// To this stream; all that it may see without.
    only: Option<StreamName>,
    news: watch::Receiver<Arc<Glances>>,
    /// What it was told last; `None`: nothing yet.
    told: Option<Arc<Glances>>,
    _place: Place,
}

/// Looks, and tells who listens. With its end all events end.
pub(crate) async fn tell(shared: Arc<AppState>, news: watch::Sender<Arc<Glances>>) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let is_heard = shared.limits.listeners.taken() > 0;
        if is_heard {
            news.send_replace(Arc::new(look(&shared).await));
        }
    }
}

/// How the streams are now.
async fn look(shared: &AppState) -> Glances {
    let all = shared.streams.all();
    let mut glances = Vec::with_capacity(all.len());
    for stream in &all {
        let view = streams::view(shared, stream).await;
        let for_operators = json!(view);
        glances.push(Glance::new(
            stream.name.clone(),
            for_operators,
            json!(view.for_viewers(stream)),
        ));
    }
    Glances(glances)
}

impl Listener {
    /// What there is to tell next; `None`: nothing any more.
    async fn next(&mut self) -> Option<Event> {
        if self.told.is_none() {
            let first = Arc::new(look(&self.shared).await);
            return Some(self.tell(Event::default().retry(RETRY), first));
        }
        loop {
            let changed = timeout(LOOK, self.news.changed()).await;
            // Whoever may not listen any more hears no further word.
            if !self.shared.access.is_good(&self.who) || matches!(changed, Ok(Err(_))) {
                return None;
            }
            let (who, only) = (&self.who, self.only.as_ref());
            let look = Arc::clone(&self.news.borrow_and_update());
            let is_news = |told: &Arc<Glances>| !look.is_as(told, who, only);
            if changed.is_ok() && self.told.as_ref().is_none_or(is_news) {
                return Some(self.tell(Event::default(), look));
            }
        }
    }

    fn tell(&mut self, event: Event, look: Arc<Glances>) -> Event {
        let shown = look.shown_to(&self.who, self.only.as_ref());
        let (name, data) = match &self.only {
            Some(_) => ("stream", shown.into_iter().next().unwrap_or_default()),
            None => ("streams", json!({ "streams": shown })),
        };
        self.told = Some(look);
        event.event(name).data(data.to_string())
    }
}

/// All streams, now and whenever something changes but counts and ages.
///
/// Server-sent events (EventSource): `streams` with what `/api/v1/streams` answers, `beat` at least every 5 s. It ends after
/// five minutes, and EventSource comes back by itself.
#[utoipa::path(
    get, path = "/api/v1/events", operation_id = "follow_streams", tag = "api",
    responses(
        (status = 200, description = "Events, for as long as the connection lasts.", content_type = "text/event-stream", body = String),
        (status = 429, description = "This address has too many; see Retry-After.", body = Details, content_type = "application/problem+json"),
        (status = 503, description = "Too many listen; see Retry-After.", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn all(
    State(shared): State<Arc<AppState>>,
    Extension(who): Asker,
    client: ClientAddress,
) -> Result<Response, Problem> {
    listen(shared, who, client, None)
}

/// One stream, likewise: `stream` with what `/api/v1/streams/{stream}` answers, and `beat`.
#[utoipa::path(
    get, path = "/api/v1/streams/{stream}/events", operation_id = "follow_stream", tag = "api",
    params(("stream" = String, Path, description = "The stream's name")),
    responses(
        (status = 200, description = "Events, for as long as the connection lasts.", content_type = "text/event-stream", body = String),
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
    listen(shared, who, client, Some(only))
}

fn listen(
    shared: Arc<AppState>,
    who: Principal,
    client: ClientAddress,
    only: Option<StreamName>,
) -> Result<Response, Problem> {
    let place = shared.limits.listen(client)?;
    let mut news = shared.glances.clone();
    // What it holds may be from when somebody listened last.
    news.mark_unchanged();
    let listener = Listener {
        who,
        shared,
        only,
        news,
        told: None,
        _place: place,
    };
    Ok(answer(stream::unfold(listener, |mut listener| async {
        let told = listener.next().await?;
        Some((told, listener))
    })))
}

/// Answers with events for as long as there are any, and with `beat` at least every 5 s.
pub(crate) fn answer(events: impl Stream<Item = Event> + Send + 'static) -> Response {
    let beat = Event::default().event("beat").data("{}");
    let sse = Sse::new(events.map(Ok::<_, Infallible>)).keep_alive(KeepAlive::new().interval(BEAT).event(beat));
    let mut response = sse.into_response();
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, no_store);
    response
}
