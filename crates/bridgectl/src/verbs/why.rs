//! `bridgectl why [NAME]`

use serde_json::json;

use crate::{ask, exit::Exit, out::Out, why};

pub(crate) async fn run(name: Option<String>, out: Out) -> anyhow::Result<Exit> {
    let answer = why::of(&ask::status().await?, name.as_deref())?;
    out.tell(
        &answer.sentence,
        &json!({ "well": answer.well, "sentence": answer.sentence }),
    )?;
    Ok(if answer.well { Exit::Ok } else { Exit::Failure })
}
