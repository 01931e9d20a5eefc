//! What a studio's jobs do here.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use framebridge_config::Settings;
use framebridge_core::studio::JobFailure;
use framebridge_daemon::{doctor, isolated_now, tail};
use framebridge_ipc::{EncoderClient, Identity, RuntimeDir, SupervisorClient};
use framebridge_proto::{
    Role, StreamName,
    encoder::{self, EncoderAnswer, EncoderRequest, ImageFormat},
    status::Status,
    supervisor::{SupervisorAnswer, SupervisorRequest},
};
use framebridge_studio_proto::{ClipSpan, JobId, JobKind, JobResult, UPLOAD_PATH};
use http_body_util::Full;
use hyper::{Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    task::spawn_blocking,
    time::{sleep, timeout},
};

use crate::dial::Studio;

/// Uploads of one result: the first, and two more.
const ATTEMPTS: u32 = 3;

/// Pause before an upload is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// How long one upload may take.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Events that a diagnosis holds: with some 300 bytes each, a quarter of what may travel in a frame.
const LATEST_EVENTS: usize = 100;

/// Lines of signaling's log that it holds.
const LAST_LINES: usize = 50;

/// What to say of an answer to another question.
const MISMATCH: &str = "the encoder answered something else";

/// What a job needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    pub(crate) dir: RuntimeDir,
    pub(crate) identity: Identity,
    /// The node that offered the job.
    pub(crate) studio: Studio,
    pub(crate) token: String,
    /// The box as it was when the job was offered.
    pub(crate) status: Option<Status>,
    pub(crate) settings: Arc<Settings>,
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
pub(crate) async fn run(desk: Desk, job: JobId, kind: JobKind) -> Result<JobResult, JobFailure> {
    let done = match kind {
        JobKind::Snapshot { stream, png } => snapshot(&desk, job, &stream, png).await,
        JobKind::Clip { stream, span } => clip(&desk, job, &stream, span).await,
        JobKind::Diagnose => diagnosis(&desk).await,
        JobKind::Unknown => Err(anyhow::anyhow!("there is no such job")),
    };
    done.map_err(|error| JobFailure {
        error: format!("{error:#}"),
        retryable: true,
    })
}

/// What the box knows of itself: how it is, what has happened, what a look at the machine finds, what signaling logged.
async fn diagnosis(desk: &Desk) -> anyhow::Result<JobResult> {
    let events = events(desk).await;
    let (dir, settings) = (desk.dir.clone(), Arc::clone(&desk.settings));
    // It binds and connects, which may block.
    let doctor = spawn_blocking(move || isolated_now(|| doctor::examine(&dir, Ok(&settings), true)))
        .await?
        .map_err(anyhow::Error::msg)?;
    Ok(JobResult::Inline {
        value: json!({
            "build": desk.identity.build,
            "runtime_dir": desk.dir.path(),
            "status": desk.status,
            "events": events.unwrap_or_else(|error| json!({ "error": format!("{error:#}") })),
            "doctor": doctor,
            "log": tail::last(&desk.dir, Role::Signaling.as_str(), LAST_LINES),
        }),
    })
}

/// The latest events of the supervisor's journal.
async fn events(desk: &Desk) -> anyhow::Result<Value> {
    let mut supervisor = SupervisorClient::connect(&desk.dir, &desk.identity).await?;
    let answer = supervisor.request(SupervisorRequest::Events { after: 0 }).await?;
    let SupervisorAnswer::Events(mut events) = answer else {
        bail!("the supervisor answered something else");
    };
    events.drain(..events.len().saturating_sub(LATEST_EVENTS));
    Ok(serde_json::to_value(events)?)
}

async fn snapshot(desk: &Desk, job: JobId, stream: &StreamName, png: bool) -> anyhow::Result<JobResult> {
    let (format, media_type) = if png {
        (ImageFormat::Png, "image/png")
    } else {
        (ImageFormat::Jpeg, "image/jpeg")
    };
    let EncoderAnswer::Snapshot { image, .. } = ask(desk, stream, EncoderRequest::Snapshot(format)).await? else {
        bail!(MISMATCH);
    };
    upload(desk, job, media_type, &image).await
}

async fn clip(desk: &Desk, job: JobId, stream: &StreamName, span: ClipSpan) -> anyhow::Result<JobResult> {
    let span = match span {
        ClipSpan::Last(ms) => encoder::ClipSpan::Last { ms },
        ClipSpan::Next(ms) => encoder::ClipSpan::Next { ms },
    };
    let EncoderAnswer::Clip { mp4, .. } = ask(desk, stream, EncoderRequest::Clip(span)).await? else {
        bail!(MISMATCH);
    };
    upload(desk, job, "video/mp4", &mp4).await
}

async fn ask(desk: &Desk, stream: &StreamName, request: EncoderRequest) -> anyhow::Result<EncoderAnswer> {
    let mut encoder = EncoderClient::connect(&desk.dir, &desk.identity, stream)
        .await
        .with_context(|| format!("the encoder of `{stream}` is not reachable"))?;
    Ok(encoder.request(request).await?)
}

/// Brings a job's bytes to the studio.
async fn upload(desk: &Desk, job: JobId, media_type: &str, bytes: &Bytes) -> anyhow::Result<JobResult> {
    let mut attempt = 1;
    loop {
        let put = timeout(UPLOAD_TIMEOUT, put(desk, job, media_type, bytes.clone()));
        let failed = match put.await {
            Ok(Ok(())) => {
                return Ok(JobResult::Uploaded {
                    media_type: media_type.to_owned(),
                    bytes: bytes.len() as u64,
                });
            }
            Ok(Err(error)) => error,
            Err(_late) => anyhow::anyhow!("it took over {} s", UPLOAD_TIMEOUT.as_secs()),
        };
        if attempt == ATTEMPTS {
            return Err(failed.context("uploading the result"));
        }
        attempt += 1;
        sleep(PAUSE).await;
    }
}

async fn put(desk: &Desk, job: JobId, media_type: &str, bytes: Bytes) -> anyhow::Result<()> {
    let stream = desk.studio.dial().await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::put(desk.studio.path(&format!("{UPLOAD_PATH}{job}")))
        .header(header::HOST, desk.studio.authority())
        .header(header::AUTHORIZATION, format!("Bearer {}", desk.token))
        .header(header::CONTENT_TYPE, media_type)
        .body(Full::new(bytes))?;
    let response = async {
        let response = sender.send_request(request).await?;
        anyhow::Ok(response.status())
    };
    // The connection has to be driven for the answer to come; it may end first, right after it.
    tokio::pin!(response);
    let status = tokio::select! {
        status = &mut response => status?,
        ended = connection => {
            ended?;
            response.await?
        }
    };
    ensure!(status == StatusCode::NO_CONTENT, "the studio answered {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use framebridge_proto::Role;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// Uploads to a studio that answers so, one after the other; what came of it, and the requests.
    async fn upload_to(answers: [&str; 3]) -> (anyhow::Result<JobResult>, Vec<String>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let dir = tempfile::tempdir().unwrap();
        let desk = Desk {
            dir: RuntimeDir::at(dir.path()),
            identity: Identity::new(Role::Bridge),
            studio: Studio::parse(&url).unwrap(),
            token: "t".to_owned(),
            status: None,
            settings: Arc::new(Settings::load(None, &[]).unwrap()),
        };
        let answering = async {
            let mut requests = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"bytes") {
                    assert!(stream.read_buf(&mut request).await.unwrap() > 0, "it broke off");
                }
                requests.push(String::from_utf8(request).unwrap());
                let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            requests
        };
        let bytes = Bytes::from_static(b"bytes");
        tokio::join!(upload(&desk, JobId::from_bits(7), "image/png", &bytes), answering)
    }

    #[tokio::test]
    async fn upload_that_fails_is_tried_twice_more_and_is_the_same_each_time() {
        let refused = "507 Insufficient Storage";
        let (arrived, given_up) =
            tokio::join!(upload_to([refused, refused, "204 No Content"]), upload_to([refused; 3]));
        let (result, requests) = arrived;
        let media_type = "image/png".to_owned();
        assert_eq!(result.unwrap(), JobResult::Uploaded { media_type, bytes: 5 });
        let path = format!("PUT /box/v1/uploads/{} ", JobId::from_bits(7));
        assert!(
            requests.iter().all(|request| request.starts_with(&path)),
            "{requests:?}"
        );
        assert!(requests.iter().all(|request| *request == requests[0]), "{requests:?}");
        assert!(format!("{:#}", given_up.0.unwrap_err()).contains("507"));
    }
}
