//! `bridgectl jobs`

use std::io::{self, Write as _};

use anyhow::bail;
use framebridge_proto::bridge::{BridgeAnswer, BridgeRequest};

use crate::{ask, exit::Exit};

pub(crate) async fn run() -> anyhow::Result<Exit> {
    let BridgeAnswer::Jobs { paused, jobs } = ask::bridge(BridgeRequest::Jobs).await? else {
        bail!(ask::MISMATCH)
    };
    let mut out = io::stdout();
    if paused {
        writeln!(out, "paused: no jobs are taken until `bridgectl bridge resume`")?;
    }
    if jobs.is_empty() {
        writeln!(out, "no job is in hand, and no result waits for the studio")?;
    }
    for job in jobs {
        let why = job.error.map(|error| format!(": {error}")).unwrap_or_default();
        writeln!(out, "{}  {}{why}", job.id, job.state)?;
    }
    Ok(Exit::Ok)
}
