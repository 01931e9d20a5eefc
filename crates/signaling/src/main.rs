//! See the library.

use std::process::ExitCode;

use signaling::{App, Cli};

fn main() -> ExitCode {
    let Cli { args } = match framebridge_daemon::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    framebridge_daemon::run("signaling", args, async |context| App::load(context).await?.run().await)
}
