//! The stream as a film without an end, by plain HTTP: for players that know no WebRTC, and where neither UDP nor TCP to media
//! gets through.

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
use framebridge_proto::media::AccessUnit;
use futures_util::stream;
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::timeout,
};

use crate::{
    app_state::AppState,
    client::ClientAddress,
    fragments::Film,
    gate::Asker,
    problem::{Details, Problem},
    stream::{OwnGuest, Stream},
};

/// How long a request waits for a stream that it has just woken up, as a viewer's POST does.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often it is looked whether the watcher still may.
const LOOK: Duration = Duration::from_secs(1);

/// Somebody who watches so.
struct Watcher {
    who: Principal,
    shared: Arc<AppState>,
    stream: Arc<Stream>,
    units: Receiver<AccessUnit>,
    film: Film,
    _place: Place,
    _guest: OwnGuest,
}

impl Watcher {
    /// What is sent next; `None`: nothing any more. Who reads too slowly misses frames and goes on at a keyframe.
    async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let unit = timeout(LOOK, self.units.recv()).await;
            if !self.shared.access.is_good(&self.who) || self.shared.is_draining() {
                return None;
            }
            match unit {
                Ok(Ok(unit)) => {
                    let parameters = self.stream.upstream().parameters;
                    let size = parameters.map_or((0, 0), |sent| (sent.width, sent.height));
                    if let Some(part) = self.film.add(&unit, size) {
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

/// The stream as fragmented MP4, from the next keyframe on and without an end: for `<video>`, VLC, ffplay and the like.
///
/// An idle stream is started. The answer ends after five minutes; ask again for more. It has no sound.
#[utoipa::path(
    get, path = "/api/v1/streams/{stream}/live.mp4", operation_id = "get_film", tag = "api",
    params(("stream" = String, Path, description = "The stream's name")),
    responses(
        (status = 200, description = "The film, as it comes.", content_type = "video/mp4"),
        (status = 403, description = "A page of another site asks.", body = Details, content_type = "application/problem+json"),
        (status = 404, description = "There is no such stream.", body = Details, content_type = "application/problem+json"),
        (status = 409, description = "The stream's source or encoder is unavailable now; see Retry-After.", body = Details, content_type = "application/problem+json"),
        (status = 429, description = "This address has too many; see Retry-After.", body = Details, content_type = "application/problem+json"),
        (status = 503, description = "Too many watch so; see Retry-After.", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn film(
    State(shared): State<Arc<AppState>>,
    Extension(who): Asker,
    client: ClientAddress,
    Path(stream): Path<String>,
) -> Result<Response, Problem> {
    let stream = shared.stream(&stream)?;
    let place = shared.limits.film(client)?;
    let guest = OwnGuest::of(&stream);
    let units = stream.units.subscribe();
    let ready = stream.ready(PATIENCE).await;
    ready.map_err(|told| Problem::from(told).told(&who, stream.words_for_viewers()))?;
    shared.engine.wish_keyframe(&stream.name);
    let watcher = Watcher {
        who,
        shared,
        stream,
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
