//! `bridgectl reload`

use std::io::{self, Write as _};

use anyhow::bail;
use framebridge_ipc::RequestError;
use framebridge_proto::{
    RefusalKind,
    supervisor::{SupervisorAnswer, SupervisorRequest},
};

use crate::{ask, exit::Exit, out::Out};

/// Has the supervisor read its configuration again, and says what has changed; or what is wrong with it, and then nothing has.
pub(crate) async fn run(out: Out) -> anyhow::Result<Exit> {
    match ask::supervisor(SupervisorRequest::Reload).await {
        Ok(SupervisorAnswer::Reloaded(reloaded)) => {
            out.tell(&reloaded, &reloaded)?;
            Ok(Exit::Ok)
        }
        Ok(_another) => bail!(ask::MISMATCH),
        Err(error) => match error.downcast_ref() {
            Some(RequestError::Refused(refusal)) if refusal.kind == RefusalKind::Invalid => {
                writeln!(
                    io::stderr(),
                    "{}\nbridgectl: nothing has changed: the settings of before stay in force",
                    refusal.message
                )?;
                Ok(Exit::Config)
            }
            Some(_) | None => Err(error),
        },
    }
}
