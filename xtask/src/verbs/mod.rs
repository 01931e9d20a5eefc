//! One verb, one file.

mod audit;
mod bench;
mod check_deps;
mod conformance;
mod dist;
mod fuzz;
mod run_all;
mod test;
mod trial;

use crate::{
    cargo::{self, Profile},
    cli::{self, Command},
    error::Error,
    machine,
};

/// Carries a command out.
pub(crate) fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Help => {
            eprint!("{}", cli::HELP);
            Ok(())
        }
        Command::RunAll { release, forwarded } => run_all::run(Profile::release(release), &forwarded),
        Command::Build { release } => {
            machine::ready_to_build()?;
            cargo::build(Profile::release(release))
        }
        Command::Test => test::run(),
        Command::Audit => audit::run(),
        Command::CheckDeps => check_deps::run(),
        Command::Dist(asked) => dist::run(&asked),
        Command::Conformance { arguments } => conformance::run(&arguments),
        Command::Trial { verb, arguments } => trial::run(&verb, &arguments),
        Command::Fuzz { target, seconds, keep } => fuzz::run(&target, seconds, keep),
        Command::Bench { name, arguments } => bench::run(name.as_deref(), &arguments),
    }
}
