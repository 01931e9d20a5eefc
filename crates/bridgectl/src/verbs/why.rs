//! `bridgectl why [NAME]`

use framebridge_proto::supervisor::{SupervisorAnswer, SupervisorRequest};
use serde_json::json;

use crate::{ask, exit::Exit, out::Out, why};

pub(crate) async fn run(name: Option<String>, out: Out) -> anyhow::Result<Exit> {
    let status = ask::status().await?;
    let mut answer = why::of(&status, name.as_deref())?;
    // Of a stream the supervisor says more than its status shows: what else may keep its viewers away.
    let stream = status.streams.iter().find(|stream| Some(&stream.name) == name.as_ref());
    if let Some(stream) = stream {
        let stream = stream.name.parse()?;
        if let SupervisorAnswer::Why(why) = ask::supervisor(SupervisorRequest::Why { stream }).await? {
            answer = why;
        }
    }
    out.tell(
        &answer.sentence,
        &json!({ "well": answer.well, "sentence": answer.sentence }),
    )?;
    Ok(if answer.well { Exit::Ok } else { Exit::Failure })
}
