//! What programs and the pages ask: how a session is; for operators, all boxes, their logs and their jobs.

use std::{io::ErrorKind, net::SocketAddr, sync::Arc};

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{ConnectInfo, Path, Query, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use framebridge_core::studio::box_session;
use framebridge_proto::StreamName;
use framebridge_studio_proto::{Access, ClipSpan, JobId, JobKind, JobResult, PublicId, StreamReport};
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{fs::File, io::AsyncReadExt as _};

use crate::{
    auth,
    boxes::{Event, Session, View, ask},
    hub::{Hub, Opened},
    problem::Problem,
    question::Question,
    random,
    store::{JobRow, JobState, Kind, Record},
    uploads,
};

/// How long a job may take besides what it waits for, unless its request says otherwise.
const DEFAULT_DEADLINE_MS: u64 = 30_000;

/// The longest a job may take.
const LONGEST_DEADLINE_MS: u64 = 300_000;

/// Bytes of a file that are read at once.
const PART: usize = 64 * 1024;

/// Jobs shown of one box.
const MOST_JOBS: u32 = 50;

/// How a session is.
#[derive(Debug, Serialize)]
struct SessionView {
    id: PublicId,
    state: &'static str,
    reason: Option<String>,
    /// What happens next, in words.
    next: &'static str,
    /// Whether the box is connected.
    linked: bool,
    since_s: u64,
    last_seen_ms: Option<u64>,
    url: String,
    streams: Vec<StreamReport>,
}

/// This process answers.
pub(crate) async fn health(State(hub): State<Arc<Hub>>) -> Json<Value> {
    Json(json!({ "live": true, "nodes": hub.nodes.view() }))
}

/// How the session behind a public address is.
pub(crate) async fn session(State(hub): State<Arc<Hub>>, Path(id): Path<String>) -> Result<impl IntoResponse, Problem> {
    let id: PublicId = id.parse().map_err(|_| Problem::not_found())?;
    let Opened { session, access } = hub.open(id).await?.ok_or_else(Problem::address_ended)?;
    let mut view = view(&hub, id, session.view());
    if let Some(only) = access.stream {
        view.streams.retain(|stream| stream.name == only);
        // The reason names other streams.
        if view.state == box_session::State::ProviderOnline.as_str() {
            view.reason = view.streams.first().map(|stream| stream.verdict.clone());
        }
    }
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(view)))
}

fn view(hub: &Hub, id: PublicId, view: View) -> SessionView {
    SessionView {
        id,
        state: view.shown.state.as_str(),
        reason: view.shown.reason,
        next: view.shown.state.next(),
        linked: view.shown.linked,
        since_s: view.shown.since.elapsed().as_secs(),
        last_seen_ms: view.last_seen_ms,
        url: hub.address(id),
        streams: view.report.map(|report| report.streams).unwrap_or_default(),
    }
}

/// Lets operators through, and nobody else.
pub(crate) async fn operators_only(
    State(hub): State<Arc<Hub>>,
    ConnectInfo(connection): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    match admit(&hub, connection, request.method().is_safe(), request.headers()).await {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

async fn admit(hub: &Hub, connection: SocketAddr, reads: bool, headers: &HeaderMap) -> Result<(), Problem> {
    let unauthorized = || {
        let detail = "This takes the token of an operator: `studio token new NAME --operator` makes one.";
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail).header(
            header::WWW_AUTHENTICATE,
            "Basic realm=\"Framebridge studio\", charset=\"UTF-8\"",
        )
    };
    // A browser that knows the password sends it for other sites' pages too; those may not change anything.
    let from_elsewhere = headers
        .get("sec-fetch-site")
        .is_some_and(|site| site != "same-origin" && site != "none");
    if !reads && from_elsewhere {
        let detail = "A page of another origin may not change anything here.";
        return Err(Problem::new(StatusCode::FORBIDDEN, "cross_origin", detail));
    }
    let given = auth::presented(headers).ok_or_else(unauthorized)?;
    let tokens = hub.store.current_tokens().await?;
    if auth::find(&tokens, &given, Kind::Operator).is_some() {
        return Ok(());
    }
    hub.limits.wrong_tokens.take(hub.limits.address(connection, headers))?;
    Err(unauthorized())
}

/// What operators are answered is for their own pages: a browser is to guess no type, and to lend it to no other origin.
pub(crate) async fn for_operators_only(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// All boxes.
pub(crate) async fn boxes(State(hub): State<Arc<Hub>>) -> Json<Value> {
    let mut sessions = hub.boxes.all();
    sessions.sort_by(|a, b| (&a.name, a.instance).cmp(&(&b.name, b.instance)));
    let boxes: Vec<Value> = sessions
        .iter()
        .map(|session| {
            // One look, so that its parts agree.
            let seen = session.view();
            let report = seen.report.as_ref();
            json!({
                "name": session.name,
                "instance": session.instance,
                "build": seen.build,
                "job": report.and_then(|report| report.job),
                "takes_jobs": report.is_none_or(|report| !report.capabilities.jobs.is_empty()),
                "jobs": report.map(|report| &report.capabilities.jobs),
                "session": view(&hub, session.id, seen.clone()),
            })
        })
        .collect();
    Json(json!({ "boxes": boxes }))
}

/// Where to go on reading.
#[derive(Debug, Deserialize)]
pub(crate) struct From {
    #[serde(default)]
    from: u64,
}

/// A box's latest log lines, from a number on.
pub(crate) async fn logs(
    State(hub): State<Arc<Hub>>,
    Path(id): Path<String>,
    Query(From { from }): Query<From>,
) -> Result<Json<Value>, Problem> {
    let (lines, next) = known(&hub, &id)?.lines(from);
    Ok(Json(json!({ "lines": lines, "next": next })))
}

/// The latest picture of a stream, small trouble where there is none.
pub(crate) async fn still(
    State(hub): State<Arc<Hub>>,
    Path((id, stream)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let stream: StreamName = stream.parse().map_err(|_| Problem::not_found())?;
    let link = known(&hub, &id)?.link().ok_or_else(Problem::link_lost)?;
    let question = Question {
        method: "GET".to_owned(),
        path: format!("/api/v1/streams/{stream}/snapshot.jpg"),
        headers: Vec::new(),
        access: Access::default(),
        body: Vec::new(),
    };
    let answer = ask(question, &link).await?;
    if answer.status != StatusCode::OK.as_u16() {
        return Err(Problem::not_found());
    }
    Ok(file_of("image/jpeg", answer.into_body()))
}

/// A file that a box made. The box may name any type: a browser is to save what is not known as a picture, and never to
/// run it.
fn file_of(media_type: &str, body: Body) -> Response {
    let known = ["image/jpeg", "image/png", "video/mp4"];
    let shown = known.into_iter().find(|known| *known == media_type);
    let kind = HeaderValue::from_static(shown.unwrap_or("application/octet-stream"));
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox")),
    ];
    (headers, body).into_response()
}

/// What is to be done, and how long it may take.
#[derive(Debug, Deserialize)]
pub(crate) struct Order {
    #[serde(flatten)]
    kind: JobKind,
    deadline_ms: Option<u64>,
}

/// Asks a box to do something.
pub(crate) async fn post_job(
    State(hub): State<Arc<Hub>>,
    Path(id): Path<String>,
    Json(order): Json<Order>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let session = known(&hub, &id)?;
    if order.kind == JobKind::Unknown {
        let detail = format!("`kind` has to be one of {}.", JobKind::NAMES.join(", "));
        return Err(Problem::new(StatusCode::BAD_REQUEST, "invalid", detail));
    }
    let usual_ms = match &order.kind {
        JobKind::Clip {
            span: ClipSpan::Next(ms),
            ..
        } => DEFAULT_DEADLINE_MS + u64::from(*ms),
        JobKind::Clip { .. } | JobKind::Snapshot { .. } | JobKind::Diagnose | JobKind::Unknown => DEFAULT_DEADLINE_MS,
    };
    let deadline_ms = order.deadline_ms.unwrap_or(usual_ms).clamp(1, LONGEST_DEADLINE_MS);
    let job = JobId::from_bits(random::bits());
    if !hub.store.add_job(job, session.id, &order.kind, deadline_ms).await? {
        let detail = "So many jobs wait for this box already that another would be forgotten.";
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_jobs", detail));
    }
    if hub.nodes.are_there()
        && let Some(row) = hub.store.job(job).await?
    {
        hub.nodes.on_record(Record::Job(row));
    }
    session.tell(Event::JobWaits).await;
    Ok((StatusCode::CREATED, Json(json!({ "id": job }))))
}

/// A box's jobs, newest first.
pub(crate) async fn jobs(State(hub): State<Arc<Hub>>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let session = known(&hub, &id)?;
    let jobs = hub.store.jobs(session.id, MOST_JOBS).await?;
    Ok(Json(json!({ "jobs": jobs.iter().map(job_view).collect::<Vec<_>>() })))
}

/// One job.
pub(crate) async fn job(State(hub): State<Arc<Hub>>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    Ok(Json(job_view(&known_job(&hub, &id).await?)))
}

/// What came of a job: the file itself.
pub(crate) async fn job_result(State(hub): State<Arc<Hub>>, Path(id): Path<String>) -> Result<Response, Problem> {
    let job = known_job(&hub, &id).await?;
    match job.result {
        None => Err(Problem::not_found()),
        Some(JobResult::Inline { value }) => Ok(Json(value).into_response()),
        Some(JobResult::Uploaded { media_type, .. }) => {
            let body = match File::open(hub.uploads.file(job.id)).await {
                Ok(file) => Body::from_stream(Box::pin(parts(file))),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    hub.nodes.file(job.id).await.ok_or_else(thrown_away)?
                }
                Err(error) => return Err(uploads::disk(error)),
            };
            Ok(file_of(&media_type, body))
        }
    }
}

fn thrown_away() -> Problem {
    let detail = "The file is not here any more: `studio --keep-days` and `--keep-mb` say how much is kept.";
    Problem::new(StatusCode::GONE, "thrown_away", detail)
}

/// A file's bytes, part by part.
fn parts(file: File) -> impl Stream<Item = std::io::Result<Bytes>> {
    stream::unfold(file, async |mut file| {
        let mut part = Vec::with_capacity(PART);
        match file.read_buf(&mut part).await {
            Ok(0) => None,
            Ok(_) => Some((Ok(Bytes::from(part)), file)),
            Err(error) => Some((Err(error), file)),
        }
    })
}

fn job_view(job: &JobRow) -> Value {
    let media_type = match &job.result {
        Some(JobResult::Uploaded { media_type, .. }) => Some(media_type.as_str()),
        Some(JobResult::Inline { .. }) => Some("application/json"),
        None => None,
    };
    json!({
        "id": job.id,
        "kind": job.kind,
        "state": job.state.as_str(),
        "error": job.error,
        "media_type": media_type,
        "result": (job.state == JobState::Done).then(|| format!("/api/v1/jobs/{}/result", job.id)),
        "created_ms": job.created_ms,
        "ended_ms": job.ended_ms,
    })
}

fn known(hub: &Hub, id: &str) -> Result<Arc<Session>, Problem> {
    let id = id.parse().map_err(|_| Problem::not_found())?;
    hub.boxes.get(id).ok_or_else(Problem::not_found)
}

async fn known_job(hub: &Hub, id: &str) -> Result<JobRow, Problem> {
    let id = id.parse().map_err(|_| Problem::not_found())?;
    hub.store.job(id).await?.ok_or_else(Problem::not_found)
}
