//! The `supervisor` binary: see the library.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use supervisor::{App, Cli, check};

fn main() -> ExitCode {
    let mut cli: Cli = match framebridge_daemon::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    if let Err(error) = cli.hide_secrets() {
        // There is no log yet, and it is no reason not to run.
        _ = writeln!(
            io::stderr(),
            "[supervisor] passwords in --stream can be seen by everybody here: {error}"
        );
    }
    cli.heed_predecessor();
    framebridge_daemon::run("supervisor", cli.args, async |context| {
        check(&context).await?;
        App::load(context).await?.run().await
    })
}
