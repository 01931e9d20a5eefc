//! `bridgectl resume NAME`

use std::io::{self, Write as _};

use framebridge_proto::supervisor::SupervisorRequest;

use crate::{ask, exit::Exit};

pub(crate) async fn run(process: String) -> anyhow::Result<Exit> {
    ask::supervisor(SupervisorRequest::Resume {
        process: process.clone(),
    })
    .await?;
    writeln!(io::stdout(), "{process} is being started")?;
    Ok(Exit::Ok)
}
