//! Tests that the paths and links in the documents exist, and that decisions are numbered one by one.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where paths in documents begin: at the top of the checkout, or, as decisions write it, below `crates`.
const TOPS: [(&str, &str); 5] = [
    ("crates/", ""),
    ("docs/", ""),
    ("tests/", ""),
    ("xtask/", ""),
    ("framebridge-", "crates/"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The README and every document.
fn documents() -> Vec<PathBuf> {
    let folders = ["docs", "docs/decisions"].map(|folder| fs::read_dir(root().join(folder)).unwrap());
    let files = folders.into_iter().flatten().map(|entry| entry.unwrap().path());
    let prose = files.filter(|file| file.extension().is_some_and(|extension| extension == "md"));
    prose.chain([root().join("README.md")]).collect()
}

/// Paths of files that a document names in backticks. `{a,b}` stands for each, words in capitals for any name.
fn named(text: &str) -> Vec<String> {
    let words = text.split('`').skip(1).step_by(2);
    let paths = words.filter(|word| word.contains('/') && !word.contains([' ', '*', '<']));
    paths
        .filter_map(|word| {
            let (_, folder) = TOPS.iter().find(|(start, _)| word.starts_with(start))?;
            Some(format!("{folder}{word}"))
        })
        .flat_map(|path| each(&path))
        .filter(|path| !path.split(['/', '.']).any(is_placeholder))
        .collect()
}

/// `a/{b,c}.rs` is `a/b.rs` and `a/c.rs`.
fn each(path: &str) -> Vec<String> {
    let Some((before, (inside, after))) = path
        .split_once('{')
        .and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
    else {
        return vec![path.to_owned()];
    };
    inside.split(',').map(|one| format!("{before}{one}{after}")).collect()
}

fn is_placeholder(word: &str) -> bool {
    word.len() > 1 && word.chars().all(|letter| letter.is_ascii_uppercase()) && word != "README"
}

/// Where the links of a document lead, but for those that leave the checkout.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets
        .map(|(target, _)| target.split('#').next().unwrap_or_default())
        .filter(|target| !target.is_empty() && !target.contains("://"))
}

#[test]
fn every_path_and_link_in_a_document_leads_somewhere() {
    let (mut seen, mut missing) = (0, Vec::new());
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        let paths = named(&text).into_iter().map(|path| root().join(path));
        let beside = document.parent().unwrap();
        let linked = links(&text).map(|target| beside.join(target));
        for path in paths.chain(linked) {
            seen += 1;
            if !path.exists() {
                missing.push(format!("{}: {}", document.display(), path.display()));
            }
        }
    }
    assert!(seen > 100, "only {seen} paths and links were found");
    assert_eq!(missing, [""; 0]);
}

#[test]
fn decisions_are_numbered_one_by_one_and_their_head_says_the_same() {
    let decisions = root().join("docs/decisions");
    let mut found: Vec<_> = fs::read_dir(decisions)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    for (number, file) in (1..).zip(found) {
        let (name, text) = (
            file.file_name().unwrap().to_string_lossy(),
            fs::read_to_string(&file).unwrap(),
        );
        assert!(
            name.starts_with(&format!("{number:04}-")),
            "{name} should be decision {number}"
        );
        assert!(
            text.starts_with(&format!("# {number:04}: ")),
            "{name}: its head has another number"
        );
    }
}

#[test]
fn minimum_of_rust_is_the_same_wherever_it_is_said() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let minimum = env!("CARGO_PKG_RUST_VERSION");
    for document in ["README.md", "docs/operations.md"] {
        let text = read(document);
        let said: Vec<_> = text
            .split("Rust ")
            .skip(1)
            .filter_map(|rest| rest.split_once(" or newer"))
            .collect();
        let numbers: Vec<&str> = said
            .iter()
            .map(|(number, _)| *number)
            .filter(|number| number.len() < 8)
            .collect();
        assert!(
            !numbers.is_empty() && numbers.iter().all(|number| *number == minimum),
            "{document}: {numbers:?}"
        );
    }
    let container = read("crates/framebridge-daemon/debian/Containerfile");
    let built_with = container
        .lines()
        .find_map(|line| line.strip_prefix("ARG RUST="))
        .unwrap();
    let parts = |version: &str| {
        version
            .split('.')
            .map(|part| part.parse::<u32>().unwrap())
            .collect::<Vec<_>>()
    };
    assert!(parts(built_with) >= parts(minimum), "{built_with}");
}

#[test]
fn alternatives_are_each_looked_for_and_placeholders_are_not() {
    assert_eq!(
        named("`crates/a/{b,c}.rs`, `crates/d/VERB.rs`, `framebridge-core/src` and `nothing`"),
        ["crates/a/b.rs", "crates/a/c.rs", "crates/framebridge-core/src"]
    );
    assert_eq!(links("[a](b.md#c) [d](https://e)").collect::<Vec<_>>(), ["b.md"]);
}
