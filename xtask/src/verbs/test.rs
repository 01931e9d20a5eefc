//! `cargo xtask test`: everything that must hold before a change goes in.

use std::{process::Command, time::Instant};

use crate::{
    cargo::{self, Profile, cargo},
    error::Error,
    machine,
    verbs::{audit, check_deps, conformance},
};

/// The viewer page's own tests.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/signaling/page/");

/// A link that leads nowhere is an error. Bare addresses stay: clap shows the same comments as help.
const RUSTDOC: &str = "-D warnings -A rustdoc::bare-urls";

/// A name, and what is done under it.
type Step = (&'static str, fn() -> Result<(), Error>);

/// In the order in which a fault is cheapest to find.
const STEPS: &[Step] = &[
    ("format", || cargo::run(&mut cargo(&["fmt", "--all", "--check"]))),
    ("machine", machine::ready_to_test),
    ("dependencies", check_deps::run),
    ("audit", audit::run),
    ("lints", || {
        cargo::run(&mut cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]))
    }),
    ("documents", || {
        cargo::run(cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"]).env("RUSTDOCFLAGS", RUSTDOC))
    }),
    ("page", || cargo::run(Command::new("node").arg("--test").arg(PAGE))),
    // The end-to-end tests run the binaries themselves, which `cargo test` alone does not build.
    ("build", || cargo::build(Profile::Dev)),
    // Nothing is demanded of the counts: they are in the log for whoever compares two of them.
    ("instructions", || {
        cargo::run(Command::new(Profile::Dev.folder().join("framebridge-bench")).arg("instructions"))
    }),
    ("conformance", || cargo::run(&mut conformance::program())),
    // To the end, so that one run names all that fails.
    ("tests", || {
        cargo::run(&mut cargo(&["test", "--workspace", "--no-fail-fast"]))
    }),
];

/// Runs every step up to the first that fails; the last line says how it went.
pub(crate) fn run() -> Result<(), Error> {
    let started = Instant::now();
    for (name, step) in STEPS {
        eprintln!("xtask: {name}");
        step().inspect_err(|_| eprintln!("xtask: FAILED at {name} after {} s", started.elapsed().as_secs()))?;
    }
    eprintln!(
        "xtask: all {} steps passed in {} s",
        STEPS.len(),
        started.elapsed().as_secs()
    );
    Ok(())
}
