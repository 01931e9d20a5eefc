//! Wrong command lines.

use std::time::Duration;

use framebridge_proto::exit_code;
use framebridge_tests::{
    process::{Process, command},
    system::binary,
};

/// None of them begins to work; a loaded machine still needs a moment to load one.
const BOUND: Duration = Duration::from_secs(20);

#[test]
fn wrong_command_line_ends_every_program_with_the_code_for_usage_and_help_with_none() {
    let scratch = tempfile::tempdir().unwrap();
    for name in ["supervisor", "encoder", "signaling", "bridge", "studio", "bridgectl"] {
        for (argument, code) in [("--nonsense", exit_code::USAGE), ("--help", exit_code::OK)] {
            let log = scratch.path().join(format!("{name}{argument}"));
            let mut program = Process::start(command(binary(name).unwrap()).arg(argument), &log).unwrap();
            let status = program.wait(BOUND).unwrap();
            assert_eq!(status.code(), Some(code.into()), "{name} {argument}");
            let said = std::fs::read_to_string(&log).unwrap();
            assert!(
                said.contains("Usage: "),
                "{name} {argument} says how it is used: {said}"
            );
        }
    }
}
