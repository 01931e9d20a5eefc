//! `bridgectl why STREAM`

use std::io::{self, Write as _};

use anyhow::bail;
use framebridge_proto::{
    StreamName,
    supervisor::{SupervisorAnswer, SupervisorRequest},
};

use crate::{ask, exit::Exit};

pub(crate) async fn run(stream: StreamName) -> anyhow::Result<Exit> {
    let SupervisorAnswer::Why(why) = ask::supervisor(SupervisorRequest::Why { stream }).await? else {
        bail!(ask::MISMATCH)
    };
    writeln!(io::stdout(), "{}", why.sentence)?;
    Ok(if why.well { Exit::Ok } else { Exit::Failure })
}
