//! `framebridge-bench`: what the media plane costs on this machine. `cargo xtask bench` builds and calls it.

fn main() -> anyhow::Result<()> {
    framebridge_testkit::bench::run()
}
