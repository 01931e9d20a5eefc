//! Asks the daemons over their sockets.

use std::{fmt, time::Duration};

use anyhow::{Context as _, bail};
use framebridge_ipc::{BridgeClient, EncoderClient, Identity, RuntimeDir, SupervisorClient, connect_http};
use framebridge_proto::{
    Role, StreamName,
    bridge::{BridgeAnswer, BridgeRequest},
    encoder::{EncoderAnswer, EncoderRequest, Quality},
    process_name,
    status::{ProcessState, Status},
    supervisor::{SupervisorAnswer, SupervisorRequest},
};
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use rustix::process::geteuid;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::names;

/// What went wrong is that the supervisor could not be reached; the error below it says where it was looked for.
#[derive(Debug)]
pub(crate) struct NoSupervisor;

impl fmt::Display for NoSupervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no supervisor is reachable")
    }
}

/// An encoder that was started listens within a second; a machine that is busy may take some more.
const START_PATIENCE: Duration = Duration::from_secs(5);

/// How often it is looked for meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What to say of an answer to another question.
pub(crate) const MISMATCH: &str = "the answer is to another question";

/// Asks the supervisor one thing.
pub(crate) async fn supervisor(request: SupervisorRequest) -> anyhow::Result<SupervisorAnswer> {
    let dir = RuntimeDir::find();
    let connected = SupervisorClient::connect(&dir, &Identity::new(Role::Operator)).await;
    let mut client = connected.map_err(|error| no_supervisor(error.into(), &dir))?;
    Ok(client.request(request).await?)
}

/// Adds what to do: another user's directory looks like none.
fn no_supervisor(error: anyhow::Error, dir: &RuntimeDir) -> anyhow::Error {
    let error = match dir.owner() {
        Some(owner) if owner != geteuid().as_raw() => error.context(format!(
            "{} is uid {owner}'s: run this as root, or as that user",
            dir.path().display()
        )),
        Some(_) => error,
        None => error.context(format!(
            "there is no runtime directory {}: start Framebridge, or set FRAMEBRIDGE_RUNTIME_DIR to where it runs",
            dir.path().display()
        )),
    };
    error.context(NoSupervisor)
}

/// Whether an error is that there is nobody to ask.
pub(crate) fn is_unreachable(error: &anyhow::Error) -> bool {
    error.is::<NoSupervisor>()
}

/// Asks the supervisor for the status of everything.
pub(crate) async fn status() -> anyhow::Result<Status> {
    let SupervisorAnswer::Status(status) = supervisor(SupervisorRequest::Status).await? else {
        bail!(MISMATCH)
    };
    Ok(status)
}

/// Asks the encoder of `stream` one thing. One that is just starting is waited for.
pub(crate) async fn encoder(stream: &StreamName, request: EncoderRequest) -> anyhow::Result<EncoderAnswer> {
    let dir = RuntimeDir::find();
    let until = Instant::now() + START_PATIENCE;
    loop {
        let connected = EncoderClient::connect(&dir, &Identity::new(Role::Operator), stream).await;
        let error = match connected {
            Ok(mut client) => return Ok(client.request(request).await?),
            Err(error) => error,
        };
        let status = status().await?;
        names::stream(&status, stream.as_str())?;
        let encoder = names::process(&status, &process_name(Role::Encoder, Some(stream)))?;
        let may_come = matches!(
            encoder.state,
            ProcessState::Starting | ProcessState::Running | ProcessState::BackingOff
        );
        if !may_come || Instant::now() >= until {
            return Err(error).with_context(|| format!("the encoder of `{stream}` is {}", encoder.state));
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// What the encoder of `stream` encodes with now, if one runs.
pub(crate) async fn quality(stream: &StreamName) -> Option<Quality> {
    let connected = EncoderClient::connect(&RuntimeDir::find(), &Identity::new(Role::Operator), stream).await;
    match connected.ok()?.request(EncoderRequest::GetQuality).await {
        Ok(EncoderAnswer::Quality { quality, .. }) => Some(quality),
        Ok(_) | Err(_) => None,
    }
}

/// Asks signaling one thing by HTTP, on the socket of this machine's own processes: what it answers, `null` if nothing.
pub(crate) async fn signaling(method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
    let dir = RuntimeDir::find();
    let stream = match connect_http(&dir).await {
        Ok(stream) => stream,
        Err(error) => {
            // Without a supervisor that is why; and one knows why.
            let status = status().await?;
            let row = names::process(&status, Role::Signaling.as_str())?;
            let why = row
                .last_reason
                .as_ref()
                .map(|why| format!(" ({why})"))
                .unwrap_or_default();
            return Err(error).with_context(|| format!("signaling is {}{why}", row.state));
        }
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(
            body.map(|body| body.to_string()).unwrap_or_default(),
        )))?;
    let exchange = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        anyhow::Ok((status, answer.into_body().collect().await?.to_bytes()))
    };
    let (status, body) = tokio::select! {
        answered = exchange => answered?,
        ended = connection => bail!("signaling has hung up: {ended:?}"),
    };
    let body: Value = if body.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&body)?
    };
    if !status.is_success() {
        bail!("{}", body["detail"].as_str().unwrap_or("signaling refused"));
    }
    Ok(body)
}

/// Asks the bridge one thing.
pub(crate) async fn bridge(request: BridgeRequest) -> anyhow::Result<BridgeAnswer> {
    let dir = RuntimeDir::find();
    let mut client = BridgeClient::connect(&dir, &Identity::new(Role::Operator))
        .await
        .context("the bridge is not reachable")?;
    Ok(client.request(request).await?)
}
