//! `bridgectl jobs`

use anyhow::bail;
use framebridge_proto::bridge::{BridgeAnswer, BridgeRequest};
use serde_json::json;

use crate::{ask, exit::Exit, out::Out};

pub(crate) async fn run(out: Out) -> anyhow::Result<Exit> {
    let BridgeAnswer::Jobs { paused, jobs } = ask::bridge(BridgeRequest::Jobs).await? else {
        bail!(ask::MISMATCH)
    };
    let mut lines = Vec::new();
    if paused {
        lines.push("paused: no jobs are taken until `bridgectl bridge resume`".to_owned());
    }
    if jobs.is_empty() {
        lines.push("no job is in hand, and no result waits for the studio".to_owned());
    }
    lines.extend(jobs.iter().map(|job| {
        let why = job.error.as_ref().map(|error| format!(": {error}"));
        format!("{}  {}{}", job.id, job.state, why.unwrap_or_default())
    }));
    out.tell(&lines.join("\n"), &json!({ "paused": paused, "jobs": jobs }))?;
    Ok(Exit::Ok)
}
