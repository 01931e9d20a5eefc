//! `bridgectl snapshot STREAM -o FILE`

use std::io::{self, Write as _};

use anyhow::{Context as _, bail};
use framebridge_proto::encoder::{EncoderAnswer, EncoderRequest, ImageFormat};

use crate::{ask, cli, exit::Exit};

pub(crate) async fn run(asked: &cli::Snapshot) -> anyhow::Result<Exit> {
    let png = asked
        .output
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
    let format = if png { ImageFormat::Png } else { ImageFormat::Jpeg };
    let answer = ask::encoder(&asked.stream, EncoderRequest::Snapshot(format)).await?;
    let EncoderAnswer::Snapshot { image, age_ms, .. } = answer else {
        bail!(ask::MISMATCH)
    };
    let path = asked.output.display();
    std::fs::write(&asked.output, &image).with_context(|| format!("writing {path}"))?;
    writeln!(io::stdout(), "{path}: {} bytes, a picture {age_ms} ms old", image.len())?;
    Ok(Exit::Ok)
}
