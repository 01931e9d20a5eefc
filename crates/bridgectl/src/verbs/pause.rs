//! `bridgectl pause STREAM`

use std::io::{self, Write as _};

use anyhow::bail;
use framebridge_proto::{
    StreamName,
    encoder::{EncoderAnswer, EncoderRequest},
};

use crate::{ask, exit::Exit};

pub(crate) async fn run(stream: &StreamName) -> anyhow::Result<Exit> {
    let EncoderAnswer::Done { changed } = ask::encoder(stream, EncoderRequest::Pause).await? else {
        bail!(ask::MISMATCH)
    };
    let note = if changed { "" } else { ", as it was already" };
    writeln!(
        io::stdout(),
        "{stream} is paused until `bridgectl resume {stream}`{note}"
    )?;
    Ok(Exit::Ok)
}
