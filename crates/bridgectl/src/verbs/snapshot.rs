//! `bridgectl snapshot STREAM -o FILE`

use anyhow::bail;
use framebridge_proto::encoder::{EncoderAnswer, EncoderRequest, ImageFormat};
use serde_json::json;

use crate::{ask, cli, exit::Exit, out::Out};

pub(crate) async fn run(asked: &cli::Snapshot, out: Out) -> anyhow::Result<Exit> {
    let format = match asked.output.ending().as_deref() {
        Some("png") => ImageFormat::Png,
        Some(_) | None => ImageFormat::Jpeg,
    };
    let answer = ask::encoder(&asked.stream, EncoderRequest::Snapshot(format)).await?;
    let EncoderAnswer::Snapshot { image, age_ms, .. } = answer else {
        bail!(ask::MISMATCH)
    };
    let about = format!(
        "{}: {} bytes, a picture {age_ms} ms old",
        asked.output.name(),
        image.len()
    );
    let value = json!({ "file": asked.output.name(), "bytes": image.len(), "age_ms": age_ms });
    asked.output.write(&image, out, &about, &value)?;
    Ok(Exit::Ok)
}
