//! `bridgectl clip STREAM --last 10s|--next 10s -o FILE`

use std::{
    io::{self, Write as _},
    time::Duration,
};

use anyhow::{Context as _, bail};
use framebridge_proto::encoder::{EncoderAnswer, EncoderRequest};

use crate::{ask, cli, exit::Exit};

pub(crate) async fn run(asked: &cli::Clip) -> anyhow::Result<Exit> {
    let answer = ask::encoder(&asked.stream, EncoderRequest::Clip(asked.span())).await?;
    let EncoderAnswer::Clip {
        mp4,
        duration_ms,
        age_ms,
    } = answer
    else {
        bail!(ask::MISMATCH)
    };
    let path = asked.output.display();
    std::fs::write(&asked.output, &mp4).with_context(|| format!("writing {path}"))?;
    let seconds = |ms| Duration::from_millis(ms).as_secs_f64();
    writeln!(
        io::stdout(),
        "{path}: {} bytes, {:.2} s, ended {:.1} s ago",
        mp4.len(),
        seconds(duration_ms),
        seconds(age_ms)
    )?;
    Ok(Exit::Ok)
}
