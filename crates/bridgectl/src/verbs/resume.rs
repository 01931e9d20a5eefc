//! `bridgectl resume NAME`

use std::io::{self, Write as _};

use anyhow::bail;
use framebridge_proto::{
    StreamName,
    encoder::{EncoderAnswer, EncoderRequest},
    status::{Status, StreamState},
    supervisor::SupervisorRequest,
};

use crate::{ask, exit::Exit};

/// Ends a stream's pause, or starts a process that is parked or waits.
pub(crate) async fn run(name: String) -> anyhow::Result<Exit> {
    match ask::status().await {
        Ok(status) if !is_stream(&status, &name) => process(name).await,
        Ok(_stream) => unpause(&name.parse()?).await,
        // A pause is the encoder's own: it ends without a supervisor, too.
        Err(error) if ask::is_unreachable(&error) => match name.parse() {
            Ok(stream) => unpause(&stream).await.map_err(|_no_encoder| error),
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

async fn process(name: String) -> anyhow::Result<Exit> {
    ask::supervisor(SupervisorRequest::Resume { process: name.clone() }).await?;
    writeln!(io::stdout(), "{name} is being started")?;
    Ok(Exit::Ok)
}

async fn unpause(stream: &StreamName) -> anyhow::Result<Exit> {
    let EncoderAnswer::Done { changed } = ask::encoder(stream, EncoderRequest::Resume).await? else {
        bail!(ask::MISMATCH)
    };
    let note = if changed {
        "is no longer paused"
    } else {
        "was not paused"
    };
    writeln!(io::stdout(), "{stream} {note}")?;
    Ok(Exit::Ok)
}
