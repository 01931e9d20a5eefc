//! The streams as the API shows them.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Path, State},
};
use framebridge_auth::{Principal, Scope};
use framebridge_core::encode_load::shortfall;
use framebridge_proto::{
    media::{CodecParameters, Load, LoadState, Rung},
    millis,
    status::{Condition, FaultKind, StreamState},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app_state::AppState,
    gate::Asker,
    problem::{Details, Problem},
    stream::Stream,
};

/// All streams.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StreamList {
    /// By name.
    streams: Vec<StreamView>,
}

/// One stream as this process sees it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StreamView {
    /// Its name.
    pub(crate) name: String,
    /// What viewers are shown in its place: `streams.NAME.title`.
    title: String,
    /// What the asker may do with it: `view`, `control`, `publish` or `admin`.
    scope: &'static str,
    /// Its source as configured, secrets left out, for operators; for others its kind, e.g. `rtsp:`.
    source: String,
    /// `idle`, `opening`, `live`, `paused`, `unavailable` or `slate`; `down` while its encoder is not there.
    #[schema(value_type = String)]
    state: StreamState,
    /// `well`, `faulty` (it can be watched, or soon can) or `dark` (it can't).
    #[schema(value_type = String)]
    condition: Condition,
    /// What is wrong, in one word; null if it is well or untried.
    #[schema(value_type = Option<String>)]
    fault: Option<FaultKind>,
    /// Why there is no picture, in a sentence for viewers; null where there is one, or will be once somebody watches.
    reason: Option<String>,
    /// Milliseconds until the next attempt to mend it; null if there is none, or it is not known.
    retry_in_ms: Option<u64>,
    /// Encoder in use; empty until known.
    encoder: String,
    /// How the machine keeps up with encoding it; null while nothing is encoded.
    encoder_load: Option<LoadView>,
    /// Encoded width in pixels; 0 until known.
    width: u32,
    /// Encoded height in pixels; 0 until known.
    height: u32,
    /// Frames per second in force, or configured until known.
    fps: u32,
    /// Bits per second in force, or configured until known.
    bitrate: u32,
    /// The quality that is asked for now, for all its viewers; a source may give less.
    quality: QualityInForce,
    /// What it can be had in: the full rung, and lower ones for viewers whose links can't carry that.
    rungs: Vec<RungView>,
    /// How old the kept still is that `snapshot.jpg?kept=true` gives; null: there is none.
    still_age_ms: Option<u64>,
    /// Viewers with an open session.
    viewers: u32,
    /// Frames received from the encoder since this process started.
    frames_received: u64,
    /// Frames sent since then, summed over viewers.
    frames_sent: u64,
    /// Milliseconds since the last frame was received.
    last_frame_age_ms: Option<u64>,
    /// Milliseconds from a picture's capture to its last packet's way out, the mean of the latest pictures; null until known.
    capture_to_wire_ms: Option<u64>,
    /// Whether its desktop may be steered by whoever has the scope `control`.
    control: bool,
    /// Who steers it now; null: nobody.
    controller: Option<String>,
    /// Where a player POSTs its offer.
    whep: String,
}

/// How a machine keeps up with encoding a stream.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LoadView {
    /// `nominal`, `strained` (from 85 %) or `overloaded` (from 105 %, for three pictures in a row).
    #[schema(value_type = String)]
    state: LoadState,
    /// The time that a picture takes, percent of the time that there is for it; 0 until known.
    percent: u32,
    /// Pictures a second that are encoded at most: fewer than `asked_fps` where the rate was given up.
    fps: u32,
    /// Pictures a second that are asked for and come.
    asked_fps: u32,
    /// Longest edge in pixels of what is encoded, likewise.
    longest_edge: u32,
    /// Longest edge in pixels that is asked for and comes.
    asked_longest_edge: u32,
    /// What the machine makes less of than is asked for, e.g. `encodes 14 of 30 pictures a second; fewer are sent`; null: nothing.
    shortfall: Option<String>,
}

impl From<Load> for LoadView {
    fn from(load: Load) -> Self {
        let shortfall = shortfall(&load);
        let Load {
            state,
            percent,
            fps,
            asked_fps,
            longest_edge,
            asked_longest_edge,
        } = load;
        Self {
            state,
            percent,
            fps,
            asked_fps,
            longest_edge,
            asked_longest_edge,
            shortfall,
        }
    }
}

/// One of the sizes and rates that a stream can be had in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RungView {
    /// `full`, `half` or `quarter` of the edge.
    rung: &'static str,
    /// Bits per second that it takes; null: it is not to be had now.
    bitrate: Option<u32>,
    /// Viewers that are given it, or wait for its next keyframe.
    viewers: u32,
    /// Why it is not to be had, as its encoder says.
    reason: Option<String>,
}

/// The quality that a stream is to have.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QualityInForce {
    /// Target bitrate, bits per second.
    bitrate: u32,
    /// Frames per second at most.
    fps: u32,
    /// Longest edge of the picture in pixels.
    longest_edge: u32,
}

/// All streams.
#[utoipa::path(get, path = "/api/v1/streams", operation_id = "list_streams", tag = "api", responses((status = 200, description = "Those that the asker may see.", body = StreamList)))]
pub(crate) async fn streams(State(shared): State<Arc<AppState>>, Extension(who): Asker) -> Json<StreamList> {
    let mut streams = Vec::new();
    let all = shared.streams.all();
    for stream in all.iter().filter(|stream| who.streams.has(&stream.name)) {
        streams.push(view_for(&who, &shared, stream).await);
    }
    Json(StreamList { streams })
}

/// One stream.
#[utoipa::path(
    get, path = "/api/v1/streams/{stream}", operation_id = "get_stream", tag = "api",
    params(("stream" = String, Path, description = "The stream's name")),
    responses(
        (status = 200, description = "How it is.", body = StreamView),
        (status = 404, description = "There is no such stream.", body = Details, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn stream(
    State(shared): State<Arc<AppState>>,
    Extension(who): Asker,
    Path(stream): Path<String>,
) -> Result<Json<StreamView>, Problem> {
    let stream = &shared.stream(&stream)?;
    Ok(Json(view_for(&who, &shared, stream).await))
}

impl StreamView {
    /// As it is shown to who is no operator.
    pub(crate) fn for_viewers(self, stream: &Stream) -> Self {
        let words = stream.words_for_viewers();
        Self {
            source: stream.source_kind.to_owned(),
            reason: self
                .reason
                .map(|_| words.unwrap_or("No picture arrives from the source.").to_owned()),
            ..self
        }
    }
}

async fn view_for(who: &Principal, shared: &AppState, stream: &Stream) -> StreamView {
    let view = view(shared, stream).await;
    let view = if who.is_operator() {
        view
    } else {
        view.for_viewers(stream)
    };
    StreamView {
        scope: who.scope.as_str(),
        ..view
    }
}

fn rungs(stream: &Stream) -> Vec<RungView> {
    let needs = *stream.counts.follow_rungs().borrow();
    let view = |(rung, bitrate, reason): (Rung, Option<u32>, Option<String>)| RungView {
        rung: rung.as_str(),
        bitrate,
        viewers: needs[rung.index()],
        reason,
    };
    stream.rungs.offered().map(view).into()
}

/// A stream as it is now, for operators.
pub(crate) async fn view(shared: &AppState, stream: &Stream) -> StreamView {
    let health = shared.health(stream).await;
    let upstream = stream.upstream();
    let received = stream.received.read();
    let parameters = upstream.parameters.as_ref();
    let known = |read: fn(&CodecParameters) -> u32| parameters.map(read);
    let quality = stream.quality_in_force();
    StreamView {
        name: stream.name.to_string(),
        title: stream.title.clone(),
        scope: Scope::View.as_str(),
        source: stream.source.clone(),
        state: stream.health().state,
        condition: health.condition,
        fault: health.fault,
        retry_in_ms: health.retry_in.map(millis),
        reason: health.reason,
        encoder: parameters.map(|found| found.encoder.clone()).unwrap_or_default(),
        encoder_load: upstream.load.map(LoadView::from),
        width: known(|found| found.width).unwrap_or(0),
        height: known(|found| found.height).unwrap_or(0),
        fps: known(|found| found.fps).unwrap_or(stream.quality.fps),
        bitrate: known(|found| found.copied.map_or(0, |_| found.bitrate))
            .filter(|rate| *rate > 0)
            .unwrap_or(quality.bitrate),
        quality: QualityInForce {
            bitrate: quality.bitrate,
            fps: quality.fps,
            longest_edge: quality.longest_edge,
        },
        rungs: rungs(stream),
        still_age_ms: stream.kept_still().map(|(at, _)| millis(at.elapsed())),
        viewers: stream.viewers(),
        frames_received: received.count,
        frames_sent: stream.counts.frames_sent(),
        last_frame_age_ms: received.age_ms,
        capture_to_wire_ms: stream.capture_to_wire_ms(),
        control: stream.control,
        controller: stream.hands.controller(),
        whep: format!("/whep/{}", stream.name),
    }
}
