//! `encoder --probe`: what FFmpeg and which encoders this machine has, for `bridgectl doctor`.

use std::io::{self, Write as _};

use framebridge_capture::{Codec, ffmpeg_version, probe};
use framebridge_proto::probe::{Finding, Verdict};

/// Looks, and prints one finding a line, as JSON.
///
/// # Errors
/// Nobody reads them.
pub fn print_findings() -> io::Result<()> {
    let mut out = io::stdout();
    for finding in findings() {
        writeln!(out, "{}", serde_json::to_string(&finding)?)?;
    }
    Ok(())
}

fn findings() -> impl Iterator<Item = Finding> {
    let ffmpeg = Finding::new("ffmpeg", Verdict::Good, ffmpeg_version());
    let software = std::iter::once((Codec::X264, Verdict::Bad));
    let hardware = Codec::HARDWARE.map(|codec| (codec, Verdict::Absent));
    let encoders = software.chain(hardware).map(|(codec, otherwise)| match probe(codec) {
        Ok(()) => Finding::new(codec.ffmpeg_name(), Verdict::Good, "encodes"),
        Err(error) => Finding::new(
            codec.ffmpeg_name(),
            otherwise,
            format!("{:#}", anyhow::Error::new(error)),
        ),
    });
    std::iter::once(ffmpeg).chain(encoders)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_encodes_everywhere() {
        let x264 = findings().find(|finding| finding.what == "libx264").unwrap();
        assert_eq!(x264.verdict, Verdict::Good, "{}", x264.detail);
    }
}
