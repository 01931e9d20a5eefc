//! `bridgectl quality STREAM [--fps N] [--bitrate B] [--size N]`

use std::io::{self, Write as _};

use anyhow::bail;
use framebridge_proto::encoder::{EncoderAnswer, EncoderRequest, Quality};

use crate::{ask, cli, exit::Exit};

pub(crate) async fn run(asked: &cli::Quality) -> anyhow::Result<Exit> {
    let change = asked.change();
    let request = change.map_or(EncoderRequest::GetQuality, EncoderRequest::SetQuality);
    let EncoderAnswer::Quality { quality, changed } = ask::encoder(&asked.stream, request).await? else {
        bail!(ask::MISMATCH)
    };
    let note = if change.is_some() && !changed {
        ", as it was already"
    } else {
        ""
    };
    let Quality {
        longest_edge,
        fps,
        bitrate,
    } = quality;
    writeln!(
        io::stdout(),
        "{}: {longest_edge} px, {fps} fps, {bitrate} b/s{note}",
        asked.stream
    )?;
    Ok(Exit::Ok)
}
