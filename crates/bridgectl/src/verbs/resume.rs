//! `bridgectl resume NAME`

use anyhow::{bail, ensure};
use framebridge_proto::{
    Role, StreamName,
    encoder::{EncoderAnswer, EncoderRequest},
    status::{ProcessState, Status, StreamState},
    supervisor::SupervisorRequest,
};
use serde_json::json;

use crate::{ask, exit::Exit, names, out::Out};

/// Ends a stream's pause, or starts a process that is parked or waits.
pub(crate) async fn run(name: &str, out: Out) -> anyhow::Result<Exit> {
    match ask::status().await {
        Ok(status) if !is_stream(&status, name) => process(&status, name, out).await,
        Ok(_stream) => unpause(&name.parse()?, out).await,
        // A pause is the encoder's own: it ends without a supervisor, too.
        Err(error) if ask::is_unreachable(&error) => match name.parse() {
            Ok(stream) => unpause(&stream, out).await.map_err(|_no_encoder| error),
            Err(_no_stream) => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// Whether `name` is a stream's. One that is also a process's, like `bridge`, is the stream's only while that is paused.
fn is_stream(status: &Status, name: &str) -> bool {
    let is_process = status.processes.iter().any(|process| process.name == name);
    let mut streams = status.streams.iter();
    streams.any(|stream| stream.name == name && (!is_process || stream.state == StreamState::Paused))
}

async fn process(status: &Status, name: &str, out: Out) -> anyhow::Result<Exit> {
    let found = names::process(status, name)?;
    ensure!(found.role != Role::Supervisor, "the supervisor runs: it answers");
    let process = found.name.clone();
    ask::supervisor(SupervisorRequest::Resume {
        process: process.clone(),
    })
    .await?;
    let text = if found.state == ProcessState::Running {
        format!("{process} runs already; where it does without something, it is tried with more")
    } else {
        format!("{process} is being started")
    };
    out.tell(&text, &json!({ "process": process, "state": found.state }))?;
    Ok(Exit::Ok)
}

async fn unpause(stream: &StreamName, out: Out) -> anyhow::Result<Exit> {
    let EncoderAnswer::Done { changed } = ask::encoder(stream, EncoderRequest::Resume).await? else {
        bail!(ask::MISMATCH)
    };
    let note = if changed {
        "is no longer paused"
    } else {
        "was not paused"
    };
    let text = format!("{stream} {note}");
    out.tell(&text, &json!({ "stream": stream, "paused": false, "changed": changed }))?;
    Ok(Exit::Ok)
}
