//! `bridgectl quality STREAM [--fps N] [--bitrate B] [--size N]`

use std::io::{self, Write as _};

use anyhow::bail;
use framebridge_proto::encoder::{EncoderAnswer, EncoderRequest};

use crate::{ask, cli, exit::Exit};

pub(crate) async fn run(asked: &cli::Quality) -> anyhow::Result<Exit> {
    let change = asked.change();
    let request = change.map_or(EncoderRequest::GetQuality, EncoderRequest::SetQuality);
    match ask::encoder(&asked.stream, request).await? {
        EncoderAnswer::Quality { quality, changed } => {
            let note = if change.is_some() && !changed {
                ", as it was already"
            } else {
                ""
            };
            writeln!(
                io::stdout(),
                "{}: {} px, {} fps, {} b/s{note}",
                asked.stream,
                quality.longest_edge,
                quality.fps,
                quality.bitrate
            )?;
            Ok(Exit::Ok)
        }
        other @ (EncoderAnswer::Done { .. } | EncoderAnswer::Snapshot { .. }) => {
            bail!("the encoder answered something else: {other:?}")
        }
    }
}
