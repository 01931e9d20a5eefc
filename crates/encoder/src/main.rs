//! The `encoder` binary: see the library.

use std::process::ExitCode;

use encoder::{App, Cli, print_findings, print_source};
use framebridge_proto::{Role, process_name};

fn main() -> ExitCode {
    let cli: Cli = match framebridge_daemon::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let Some(stream) = cli.stream else {
        let printed = if cli.probe_source {
            print_source()
        } else {
            print_findings()
        };
        return printed.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    };
    let process = process_name(Role::Encoder, Some(&stream));
    framebridge_daemon::run(&process, cli.args, async |context| {
        App::load(context, &stream).await?.run().await
    })
}
