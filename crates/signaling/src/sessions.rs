//! A viewer's session as the API shows it, and for a while after its end why it ended.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Extension, Json,
    extract::{Path, State},
};
use framebridge_proto::StreamName;
use framebridge_rtc::{CloseReason, SessionId, ViewerState};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app_state::AppState,
    gate::Asker,
    problem::{Details, Problem},
    whep::unknown_session,
};

/// Ended sessions that are remembered; the oldest goes for the next. A page asks within a second.
const REMEMBERED: usize = 256;

/// A viewer's session.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionView {
    /// The stream it watches.
    stream: String,
    /// `connecting`, `live`, `grace` (it has gone quiet and may come back) or `closed`.
    state: &'static str,
    /// It had a connection that is lost, and its place is kept.
    webrtc_reconnecting: bool,
    /// What is or was wrong with its connection; `null`: nothing.
    webrtc_error: Option<String>,
}

/// How the latest sessions ended.
#[derive(Debug, Default)]
pub(crate) struct Ended(Mutex<VecDeque<(SessionId, StreamName, CloseReason)>>);

impl Ended {
    /// A session has ended.
    pub(crate) fn note(&self, session: SessionId, stream: StreamName, reason: CloseReason) {
        let mut ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.len() == REMEMBERED {
            ended.pop_front();
        }
        ended.push_back((session, stream, reason));
    }

    fn of(&self, session: &SessionId) -> Option<(StreamName, ViewerState)> {
        let ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, stream, reason) = ended.iter().rev().find(|(known, ..)| known == session)?;
        Some((stream.clone(), ViewerState::Closed(*reason)))
    }
}

/// How a viewer's session is; for a while after its end, why it ended.
#[utoipa::path(
    get, path = "/api/v1/streams/{stream}/sessions/{session}", tag = "api",
    params(
        ("stream" = String, Path, description = "The stream's name"),
        ("session" = String, Path, description = "The session's id: the last part of its WHEP URL"),
    ),
    responses(
        (status = 200, body = SessionView),
        (status = 404, description = "There is no such session (any more).", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn session(
    State(shared): State<Arc<AppState>>,
    Extension(who): Asker,
    Path((stream, session)): Path<(String, String)>,
) -> Result<Json<SessionView>, Problem> {
    let wanted = &shared.stream(&stream)?.name;
    let session: SessionId = session.parse().map_err(|_| unknown_session())?;
    let open = shared.engine.session(&session).map(|info| (info.stream, info.state));
    if shared
        .owners
        .of(&session)
        .is_some_and(|owner| !owner.principal.is_same(&who))
    {
        return Err(unknown_session());
    }
    let (stream, state) = open
        .or_else(|| shared.ended.of(&session))
        .filter(|(stream, _)| stream == wanted)
        .ok_or_else(unknown_session)?;
    let webrtc_error = match state {
        ViewerState::Connecting | ViewerState::Live => None,
        ViewerState::Grace => Some("Nothing has been heard from the viewer for a while.".to_owned()),
        ViewerState::Closed(reason) => reason.is_fault().then(|| format!("The connection was lost: {reason}.")),
    };
    Ok(Json(SessionView {
        stream: stream.to_string(),
        state: state.as_str(),
        webrtc_reconnecting: state == ViewerState::Grace,
        webrtc_error,
    }))
}
