//! `bridgectl bridge pause|resume|reconnect|address`

use anyhow::bail;
use framebridge_proto::bridge::{BridgeAnswer, BridgeRequest};
use serde_json::json;

use crate::{ask, cli, exit::Exit, out::Out};

pub(crate) async fn run(asked: cli::Bridge, out: Out) -> anyhow::Result<Exit> {
    let (request, done) = match asked {
        cli::Bridge::Address => {
            let BridgeAnswer::Shared { url } = ask::bridge(BridgeRequest::Address).await? else {
                bail!(ask::MISMATCH)
            };
            out.tell(&url, &json!({ "url": url }))?;
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
    out.tell(&done, &json!({ "done": done }))?;
    Ok(Exit::Ok)
}
