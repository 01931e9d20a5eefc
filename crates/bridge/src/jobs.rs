//! Does a studio's jobs on this box.

use std::{pin::Pin, sync::Arc};

use anyhow::{Context as _, bail, ensure};
use framebridge_config::{Settings, StudioAllow};
use framebridge_core::studio::job_slot;
use framebridge_daemon::{doctor, isolated_now, tail};
use framebridge_ipc::{EncoderClient, Identity, RequestError, RuntimeDir, SupervisorClient};
use framebridge_proto::{
    RefusalKind, Role, StreamName,
    encoder::{self, EncoderAnswer, EncoderRequest, ImageFormat},
    status::Status,
    supervisor::{SupervisorAnswer, SupervisorRequest},
};
use framebridge_studio_proto::{ClipSpan, JobKind, limits::MAX_INLINE_RESULT};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::upload::File;

/// Events that a diagnosis holds at most: with some 300 bytes each, a quarter of what may travel in a frame.
const LATEST_EVENTS: usize = 100;

/// Lines of signaling's log that it holds.
const LAST_LINES: usize = 50;

/// What to say of an answer to another question.
const MISMATCH: &str = "the encoder answered something else";

/// What a job is done with.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) dir: RuntimeDir,
    pub(crate) identity: Identity,
    /// The box as it was when the job was offered.
    pub(crate) status: Option<Status>,
    pub(crate) settings: Arc<Settings>,
}

/// What a job made.
#[derive(Debug, Clone)]
pub(crate) enum Made {
    /// Small enough for a frame.
    Inline(Value),
    /// Bytes that are brought apart.
    File(File),
}

/// Does jobs: [`run`], but in tests.
pub(crate) type Worker = fn(Context, JobKind) -> Pin<Box<dyn Future<Output = Result<Made, job_slot::Failure>> + Send>>;

/// Whether the box lets its studio have such a job done. A picture is what every viewer may have.
pub(crate) fn is_allowed(kind: &str, allow: StudioAllow) -> bool {
    allow.jobs || (allow.view && kind == JobKind::SNAPSHOT)
}

/// Whether it can be done here.
pub(crate) fn is_supported(kind: &JobKind, streams: &[StreamName]) -> bool {
    match kind {
        JobKind::Snapshot { stream, .. } | JobKind::Clip { stream, .. } => streams.contains(stream),
        JobKind::Diagnose => true,
        JobKind::Unknown => false,
    }
}

/// Does a job.
pub(crate) async fn run(context: Context, kind: JobKind) -> Result<Made, job_slot::Failure> {
    let done = match kind {
        JobKind::Snapshot { stream, png } => snapshot(&context, &stream, png).await,
        JobKind::Clip { stream, span } => clip(&context, &stream, span).await,
        JobKind::Diagnose => diagnosis(&context).await,
        JobKind::Unknown => Err(anyhow::anyhow!("there is no such job")),
    };
    done.map_err(|error| job_slot::Failure {
        retryable: is_passing(&error),
        error: format!("{error:#}"),
    })
}

/// Whether it may be otherwise another time. What an encoder says is wrong with the question stays wrong.
fn is_passing(error: &anyhow::Error) -> bool {
    match error.downcast_ref() {
        Some(RequestError::Refused(refusal)) => match refusal.kind {
            RefusalKind::NotFound | RefusalKind::Invalid => false,
            RefusalKind::Unavailable | RefusalKind::Failed => true,
        },
        Some(_) | None => true,
    }
}

/// What the box knows of itself: how it is, what has happened, what a look at the machine finds, what signaling logged.
async fn diagnosis(context: &Context) -> anyhow::Result<Made> {
    let events = events(context)
        .await
        .unwrap_or_else(|error| vec![json!({ "error": format!("{error:#}") })]);
    let (dir, settings) = (context.dir.clone(), Arc::clone(&context.settings));
    let signaling = context.status.as_ref().and_then(doctor::signaling_pid);
    let examine = move || {
        doctor::examine(&doctor::Scene {
            dir: &dir,
            settings: Ok(&settings),
            signaling,
            is_running: true,
        })
    };
    // It binds and connects, which may block.
    let doctor = spawn_blocking(move || isolated_now(examine))
        .await?
        .map_err(anyhow::Error::msg)?;
    let log = tail::last(&context.dir, Role::Signaling.as_str(), LAST_LINES);
    let log = log.into_iter().map(Value::from).collect();
    let known = json!({
        "build": context.identity.build,
        "runtime_dir": context.dir.path(),
        "status": context.status,
        "doctor": doctor,
    });
    Ok(Made::Inline(report(known, events, log)?))
}

/// A diagnosis that fits into a frame: of what has happened and what was logged, the oldest is left out.
fn report(mut known: Value, mut events: Vec<Value>, mut log: Vec<Value>) -> anyhow::Result<Value> {
    loop {
        known["events"] = events.clone().into();
        known["log"] = log.clone().into();
        if known.to_string().len() <= MAX_INLINE_RESULT {
            return Ok(known);
        }
        ensure!(
            !events.is_empty() || !log.is_empty(),
            "the box's status alone is larger than the {MAX_INLINE_RESULT} bytes that a result may have"
        );
        events.drain(..events.len().div_ceil(2));
        log.drain(..log.len().div_ceil(2));
    }
}

/// The latest events of the supervisor's journal.
async fn events(context: &Context) -> anyhow::Result<Vec<Value>> {
    let mut supervisor = SupervisorClient::connect(&context.dir, &context.identity).await?;
    let answer = supervisor.request(SupervisorRequest::Journal { after: 0 }).await?;
    let SupervisorAnswer::Journal(mut events) = answer else {
        bail!("the supervisor answered something else");
    };
    events.drain(..events.len().saturating_sub(LATEST_EVENTS));
    Ok(events.iter().map(serde_json::to_value).collect::<Result<_, _>>()?)
}

async fn snapshot(context: &Context, stream: &StreamName, png: bool) -> anyhow::Result<Made> {
    let (format, media_type) = if png {
        (ImageFormat::Png, "image/png")
    } else {
        (ImageFormat::Jpeg, "image/jpeg")
    };
    let EncoderAnswer::Snapshot { image, .. } = ask(context, stream, EncoderRequest::Snapshot(format)).await? else {
        bail!(MISMATCH);
    };
    let bytes = image;
    Ok(Made::File(File { media_type, bytes }))
}

async fn clip(context: &Context, stream: &StreamName, span: ClipSpan) -> anyhow::Result<Made> {
    let span = match span {
        ClipSpan::Last(ms) => encoder::ClipSpan::Last { ms },
        ClipSpan::Next(ms) => encoder::ClipSpan::Next { ms },
    };
    let EncoderAnswer::Clip { mp4, .. } = ask(context, stream, EncoderRequest::Clip(span)).await? else {
        bail!(MISMATCH);
    };
    let (media_type, bytes) = ("video/mp4", mp4);
    Ok(Made::File(File { media_type, bytes }))
}

async fn ask(context: &Context, stream: &StreamName, request: EncoderRequest) -> anyhow::Result<EncoderAnswer> {
    let mut encoder = EncoderClient::connect(&context.dir, &context.identity, stream)
        .await
        .with_context(|| format!("the encoder of `{stream}` is not reachable"))?;
    Ok(encoder.request(request).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diagnosis_fits_into_a_frame_and_keeps_the_newest() {
        let numbered = |count: usize, length: usize| -> Vec<Value> {
            let long = "x".repeat(length);
            (0..count).map(|at| json!({ "at": at, "text": long })).collect()
        };
        let whole = report(json!({}), numbered(100, 100), numbered(50, 100)).unwrap();
        assert_eq!(whole["events"].as_array().map(Vec::len), Some(100));
        let short = report(json!({ "build": "b" }), numbered(100, 4000), numbered(50, 100)).unwrap();
        assert!(short.to_string().len() <= MAX_INLINE_RESULT);
        assert_eq!(short["events"].as_array().unwrap().last().unwrap()["at"], 99);
        assert_eq!(short["build"], "b");
        let status = "x".repeat(MAX_INLINE_RESULT);
        assert!(report(json!({ "status": status }), vec![], vec![]).is_err());
    }
}
