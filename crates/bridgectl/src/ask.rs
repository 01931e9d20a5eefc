//! Asking the daemons.

use std::fmt;

use anyhow::{Context as _, bail};
use framebridge_ipc::{BridgeClient, EncoderClient, Identity, RuntimeDir, SupervisorClient, connect_http};
use framebridge_proto::{
    Role, StreamName,
    bridge::{BridgeAnswer, BridgeRequest},
    encoder::{EncoderAnswer, EncoderRequest},
    status::Status,
    supervisor::{SupervisorAnswer, SupervisorRequest},
};
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;

/// What went wrong is that the supervisor could not be reached; the error below it says where it was looked for.
#[derive(Debug)]
pub(crate) struct NoSupervisor;

impl fmt::Display for NoSupervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no supervisor is reachable")
    }
}

/// What to say of an answer to another question.
pub(crate) const MISMATCH: &str = "the answer is to another question";

/// Asks the supervisor one thing.
pub(crate) async fn supervisor(request: SupervisorRequest) -> anyhow::Result<SupervisorAnswer> {
    let dir = RuntimeDir::find();
    let mut client = SupervisorClient::connect(&dir, &Identity::new(Role::Operator))
        .await
        .context(NoSupervisor)?;
    Ok(client.request(request).await?)
}

/// Whether an error is that there is nobody to ask.
pub(crate) fn is_unreachable(error: &anyhow::Error) -> bool {
    error.is::<NoSupervisor>()
}

/// Asks the supervisor for the whole picture.
pub(crate) async fn status() -> anyhow::Result<Status> {
    let SupervisorAnswer::Status(status) = supervisor(SupervisorRequest::Status).await? else {
        bail!(MISMATCH)
    };
    Ok(status)
}

/// Asks the encoder of `stream` one thing.
pub(crate) async fn encoder(stream: &StreamName, request: EncoderRequest) -> anyhow::Result<EncoderAnswer> {
    let dir = RuntimeDir::find();
    let mut client = EncoderClient::connect(&dir, &Identity::new(Role::Operator), stream)
        .await
        .with_context(|| format!("the encoder of `{stream}` is not reachable"))?;
    Ok(client.request(request).await?)
}

/// Asks signaling one thing by HTTP, on the socket of this machine's own processes: what it answers, `null` if nothing.
pub(crate) async fn signaling(method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
    let dir = RuntimeDir::find();
    let stream = connect_http(&dir).await.context("signaling is not reachable")?;
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
