//! `bridgectl bridge pause|resume|reconnect|address`

use std::io::{self, Write as _};

use anyhow::bail;
use framebridge_proto::bridge::{BridgeAnswer, BridgeRequest};

use crate::{ask, cli, exit::Exit};

pub(crate) async fn run(asked: cli::Bridge) -> anyhow::Result<Exit> {
    let (request, done) = match asked {
        cli::Bridge::Address => {
            let BridgeAnswer::Shared { url } = ask::bridge(BridgeRequest::Address).await? else {
                bail!(ask::MISMATCH)
            };
            writeln!(io::stdout(), "{url}")?;
            return Ok(Exit::Ok);
        }
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
