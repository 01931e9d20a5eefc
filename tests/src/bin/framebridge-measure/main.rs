//! Measures what needs the whole system, or a browser; `cargo xtask bench` builds it in release mode and runs it.
//!
//! It asserts nothing: a number is a number of the machine it was taken on, and `docs/benchmarks.md` says which.

mod animation;
mod encode;
mod hands;
mod latency;
mod networks;
mod report;
mod sources;
mod summary;
mod wall;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use framebridge_tests::terminal;

/// Measure Framebridge as it ships.
#[derive(Debug, Parser)]
#[command(name = "framebridge-measure", bin_name = "cargo xtask bench")]
struct Cli {
    #[command(subcommand)]
    what: What,
    /// One JSON object instead of a table
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// First frame, latency, CPU and memory at 720p30, as docs/benchmarks.md opens with
    Summary,
    /// From the capture's stamp to the picture in Chromium, and to the frame on the encoder's socket
    Latency(latency::Options),
    /// Pictures, freezes, latency and the estimate behind links that lose, delay, queue and go away (as root)
    Networks(networks::Options),
    /// From an input event in Chromium to the program on a desktop, and to the changed picture
    Hands(hands::Options),
    /// Nothing: films the page while processes are killed, for README.md
    Animation(animation::Options),
    /// CPU per picture, beside the ffmpeg command with the same settings
    Encode(encode::Options),
    /// CPU, pictures and joins of one stream by its kind of source: sent on as it comes, moving, still
    Sources(sources::Options),
    /// The pictures that each cell of a wall has, in a browser beside the servers
    Wall(wall::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = |outcome: anyhow::Result<()>| terminal::exit_code("framebridge-measure", outcome.map(|()| true));
    let measured = match &cli.what {
        What::Summary => summary::measure(),
        What::Latency(options) => latency::measure(options),
        What::Hands(options) => hands::measure(options),
        What::Encode(options) => encode::measure(options),
        What::Sources(options) => sources::measure(options),
        What::Wall(options) => wall::measure(options),
        What::Networks(options) => return done(networks::measure(options, cli.json)),
        What::Animation(options) => return done(animation::film(options)),
    };
    done(measured.and_then(|report| report.print(cli.json)))
}
