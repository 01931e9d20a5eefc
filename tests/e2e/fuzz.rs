//! What the fuzzers have found, and the ways they have found, once more: without a fuzzer.

#[path = "../fuzz/src/targets/mod.rs"]
mod targets;

use std::{
    fs,
    panic::catch_unwind,
    path::Path,
    time::{Duration, Instant},
};

use targets::{TARGETS, named};

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus");

/// A search lets no input take longer than ten seconds; what is in the corpus is far below, on any machine.
const ONE: Duration = Duration::from_secs(10);

#[test]
fn the_corpus_is_borne() {
    for (target, run) in TARGETS {
        let inputs = fs::read_dir(Path::new(CORPUS).join(target)).unwrap_or_else(|error| panic!("{target}: {error}"));
        let mut count = 0;
        for input in inputs {
            let path = input.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            let begun = Instant::now();
            // It has said what is wrong, but not with what.
            assert!(catch_unwind(|| run(&bytes)).is_ok(), "{}", path.display());
            assert!(begun.elapsed() < ONE, "{} took {:?}", path.display(), begun.elapsed());
            count += 1;
        }
        assert!(count > 0, "{target} has no corpus");
    }
}

#[test]
fn every_folder_of_the_corpus_has_a_target() {
    for folder in fs::read_dir(CORPUS).unwrap() {
        let name = folder.unwrap().file_name().into_string().unwrap();
        assert!(named(&name).is_some(), "{name}");
    }
}
