//! `bridgectl restart NAME`

use anyhow::ensure;
use framebridge_proto::{Role, supervisor::SupervisorRequest};
use serde_json::json;

use crate::{ask, exit::Exit, names, out::Out};

/// What to do instead: a process that has ended can't start itself.
const RESTART_SUPERVISOR: &str = "the supervisor can't restart itself: end it and start it again, under systemd by `systemctl restart \
     framebridge-supervisor`; the other processes go on meanwhile";

pub(crate) async fn run(name: &str, out: Out) -> anyhow::Result<Exit> {
    let status = ask::status().await?;
    let process = names::process(&status, name)?;
    ensure!(process.role != Role::Supervisor, RESTART_SUPERVISOR);
    let process = process.name.clone();
    ask::supervisor(SupervisorRequest::Restart {
        process: process.clone(),
    })
    .await?;
    let text = format!("{process} is being restarted");
    out.tell(&text, &json!({ "process": process, "restarting": true }))?;
    Ok(Exit::Ok)
}
