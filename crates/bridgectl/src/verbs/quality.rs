//! `bridgectl quality STREAM [--fps N] [--bitrate B] [--size PIXELS] [--reset]`

use anyhow::bail;
use framebridge_proto::encoder::{EncoderAnswer, EncoderRequest, Quality};
use serde_json::json;

use crate::{ask, cli, exit::Exit, out::Out, units::bitrate};

pub(crate) async fn run(asked: &cli::Quality, out: Out) -> anyhow::Result<Exit> {
    let change = asked.change();
    let request = match change {
        Some(change) => EncoderRequest::SetQuality(change),
        None if asked.reset => EncoderRequest::ResetQuality,
        None => EncoderRequest::GetQuality,
    };
    let EncoderAnswer::Quality { quality, changed } = ask::encoder(&asked.stream, request).await? else {
        bail!(ask::MISMATCH)
    };
    let note = match (asked.reset, changed) {
        (true, _) => ", as configured",
        (false, false) if change.is_some() => ", as it was already",
        (false, _) => "",
    };
    let Quality {
        longest_edge,
        fps,
        bitrate: bits,
    } = quality;
    let text = format!(
        "{}: {longest_edge} px, {fps} fps, {}{note}",
        asked.stream,
        bitrate(bits)
    );
    let value = json!({
        "stream": asked.stream, "longest_edge": longest_edge, "fps": fps, "bitrate": bits, "changed": changed,
    });
    out.tell(&text, &value)?;
    Ok(Exit::Ok)
}
