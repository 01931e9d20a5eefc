//! `bridgectl pause STREAM`

use anyhow::bail;
use framebridge_proto::{
    StreamName,
    encoder::{EncoderAnswer, EncoderRequest},
};
use serde_json::json;

use crate::{ask, exit::Exit, out::Out};

pub(crate) async fn run(stream: &StreamName, out: Out) -> anyhow::Result<Exit> {
    let EncoderAnswer::Done { changed } = ask::encoder(stream, EncoderRequest::Pause).await? else {
        bail!(ask::MISMATCH)
    };
    let note = if changed { "" } else { ", as it was already" };
    let text = format!("{stream} is paused until `bridgectl resume {stream}`{note}");
    out.tell(&text, &json!({ "stream": stream, "paused": true, "changed": changed }))?;
    Ok(Exit::Ok)
}
