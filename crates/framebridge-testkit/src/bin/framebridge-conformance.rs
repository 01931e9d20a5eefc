//! `framebridge-conformance`: whether a WHEP server does what the draft says. `cargo xtask conformance` builds and calls it.

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    let is_conformant = framebridge_testkit::conformance::run()?;
    Ok(if is_conformant {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
