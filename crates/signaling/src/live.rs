//! The stream as a film without an end, by plain HTTP: for players that know no WebRTC, and where neither UDP nor TCP to media
//! gets through.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension,
    body::Body,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use framebridge_auth::Principal;
use framebridge_http::Place;
use framebridge_proto::media::AccessUnit;
use futures_util::stream;
use serde::Deserialize;
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{error::Elapsed, timeout},
};
use utoipa::IntoParams;

use crate::{
    access::now,
    app_state::AppState,
    client::Visitor,
    films::{Watching, page_name},
    fragments::Film,
    gate::Asker,
    owners::Owner,
    problem::{Details, Problem},
    stream::{OwnGuest, Stream},
};

/// How long a request waits for a stream that it has just woken up, as a viewer's POST does.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long for one whose source is being opened and is not known to fail: a camera may take as long to connect, and as long again to
/// its first keyframe. Who asks for a film has no page that would ask again.
const OPENING_PATIENCE: Duration = Duration::from_secs(20);

/// How often it is looked whether the watcher still may.
const LOOK: Duration = Duration::from_secs(1);

/// Somebody who watches so.
struct Watcher {
    who: Principal,
    shared: Arc<AppState>,
    stream: Arc<Stream>,
    /// What came before, and is sent first.
    past: VecDeque<AccessUnit>,
    units: Receiver<AccessUnit>,
    film: Film,
    watching: Watching,
    _place: Place,
    _guest: OwnGuest,
}

impl Watcher {
    /// What is sent next; `None`: nothing any more. Who reads too slowly misses frames and goes on at a keyframe.
    async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            // All arms are cancel-safe.
            let unit = tokio::select! {
                unit = next_unit(&mut self.past, &mut self.units) => unit,
                () = self.watching.sent_away() => return None,
            };
            if !self.shared.access.is_good(&self.who) || self.shared.is_draining() {
                return None;
            }
            match unit {
                Ok(Ok(unit)) => {
                    let parameters = self.stream.upstream().parameters;
                    let size = parameters.map_or((0, 0), |sent| (sent.width, sent.height));
                    if let Some(part) = self.film.add(&unit, size) {
                        self.watching.on_sent(part.len());
                        return Some(part);
                    }
                }
                Ok(Err(RecvError::Lagged(_))) => self.shared.engine.wish_keyframe(&self.stream.name),
                Ok(Err(RecvError::Closed)) => return None,
                Err(_quiet) => {}
            }
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Instead {
    /// By which a page names itself that watches so because WebRTC does not get through: up to 32 hexadecimal digits that it has
    /// drawn. One that an operator sends away is refused from then on.
    instead: Option<String>,
}

/// What came before, and then what comes; `Err` where nothing does for a while. Cancel-safe.
async fn next_unit(
    past: &mut VecDeque<AccessUnit>,
    units: &mut Receiver<AccessUnit>,
) -> Result<Result<AccessUnit, RecvError>, Elapsed> {
    match past.pop_front() {
        Some(unit) => Ok(Ok(unit)),
        None => timeout(LOOK, units.recv()).await,
    }
}

/// The stream as fragmented MP4, from the next keyframe on and without an end: for `<video>`, VLC, ffplay and the like.
///
/// An idle stream is started, and waited for up to 20 s while nothing is known to be wrong with it. The answer ends after five minutes; ask again for more. It has no sound.
#[utoipa::path(
    get, path = "/api/v1/streams/{stream}/live.mp4", operation_id = "get_film", tag = "api",
    params(("stream" = String, Path, description = "The stream's name"), Instead),
    responses(
        (status = 200, description = "The film, as it comes.", content_type = "video/mp4"),
        (status = 403, description = "A page of another site asks.", body = Details, content_type = "application/problem+json"),
        (status = 404, description = "There is no such stream.", body = Details, content_type = "application/problem+json"),
        (status = 409, description = "The stream's source or encoder is unavailable now; see Retry-After.", body = Details, content_type = "application/problem+json"),
        (status = 410, description = "An operator has sent the page away.", body = Details, content_type = "application/problem+json"),
        (status = 429, description = "This address has too many; see Retry-After.", body = Details, content_type = "application/problem+json"),
        (status = 503, description = "Too many watch so; see Retry-After.", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn film(
    State(shared): State<Arc<AppState>>,
    Extension(who): Asker,
    Visitor { client, address, .. }: Visitor,
    Path(stream): Path<String>,
    Query(Instead { instead }): Query<Instead>,
) -> Result<Response, Problem> {
    let stream = shared.stream(&stream)?;
    let page = page_name(instead);
    if page.as_ref().is_some_and(|page| shared.films.was_sent_away(page)) {
        let detail = "Whoever runs this Framebridge has ended your session.";
        return Err(Problem::new(StatusCode::GONE, "sent_away", detail));
    }
    let place = shared.limits.film(client)?;
    let guest = OwnGuest::of(&stream);
    let (past, units) = stream.units.join();
    let ready = stream.ready_or_opening(PATIENCE, OPENING_PATIENCE).await;
    ready.map_err(|told| Problem::from(told).told(&who, stream.words_for_viewers()))?;
    shared.engine.wish_keyframe(&stream.name);
    let owner = Owner {
        principal: who.clone(),
        address,
        since: now(),
        pushed: None,
        parameter_sets: Vec::new(),
    };
    let watcher = Watcher {
        watching: Watching::begin(&shared.films, stream.name.clone(), owner, page),
        who,
        shared,
        stream,
        past: past.into(),
        units,
        film: Film::default(),
        _place: place,
        _guest: guest,
    };
    let parts = stream::unfold(watcher, |mut watcher| async {
        let part = watcher.next().await?;
        Some((Ok::<_, Infallible>(part), watcher))
    });
    let headers = [(header::CONTENT_TYPE, "video/mp4"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(parts)).into_response())
}
