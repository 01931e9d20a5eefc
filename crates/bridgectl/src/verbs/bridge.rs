//! `bridgectl bridge pause|resume|reconnect`

use std::io::{self, Write as _};

use framebridge_proto::bridge::BridgeRequest;

use crate::{ask, cli, exit::Exit};

pub(crate) async fn run(asked: cli::Bridge) -> anyhow::Result<Exit> {
    let (request, done) = match asked {
        cli::Bridge::Pause => (
            BridgeRequest::Pause,
            "no jobs are taken until `bridgectl bridge resume`",
        ),
        cli::Bridge::Resume => (BridgeRequest::Resume, "jobs are taken"),
        cli::Bridge::Reconnect => (
            BridgeRequest::Reconnect,
            "the bridge leaves its studio and connects anew",
        ),
    };
    ask::bridge(request).await?;
    writeln!(io::stdout(), "{done}")?;
    Ok(Exit::Ok)
}
