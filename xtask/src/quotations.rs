//! Tests that every sentence quoted in the handbook can be said by a program.
//!
//! A quotation is a piece of code in the handbook's prose that reads like a sentence. It has to be part of one text in a program's
//! source, where `{…}` there and `…`, or a word in capitals, here stand for whatever is said in that place.

use std::{
    fs,
    iter::Peekable,
    path::{Path, PathBuf},
    str::Chars,
};

/// Stands for what a program fills in.
const ANYTHING: char = '\u{1}';

/// Words that begin what somebody types, asks or writes into a file: nothing that a program says.
const TYPED: [&str; 19] = [
    "bridgectl",
    "supervisor",
    "studio",
    "cargo",
    "curl",
    "systemctl",
    "journalctl",
    "nohup",
    "sudo",
    "man",
    "apt-get",
    "promtool",
    "GET",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "head",
    "chmod",
];

/// Fixed letters without which a quotation says too little to be looked for.
const LEAST: usize = 8;

/// Sentences that the handbook quotes.
fn quotations(text: &str) -> Vec<&str> {
    let prose = text.lines().filter(|line| !line.starts_with("    "));
    let mut is_fenced = false;
    let prose = prose.filter(|line| {
        let fence = line.starts_with("```");
        is_fenced ^= fence;
        !fence && !is_fenced
    });
    let spans = prose.flat_map(|line| line.split('`').skip(1).step_by(2));
    spans.filter(|span| is_sentence(span)).collect()
}

fn is_sentence(span: &str) -> bool {
    let first = span.split(' ').next().unwrap_or_default();
    // `Name: value` is a header.
    let is_typed = TYPED.contains(&first)
        || first.ends_with(':')
        || span.starts_with(['[', '-', '$', '/', '"'])
        || span.contains(" = ");
    span.trim().contains(' ') && !is_typed
}

/// `another supervisor (pid N) runs on …` -> the same with [`ANYTHING`] in place of `N`, and nothing at its ends.
fn pattern(quotation: &str) -> String {
    let mut out = String::new();
    for word in quotation.split_inclusive(|letter: char| !is_of_a_word(letter)) {
        let letters = word.trim_end_matches(|letter| !is_of_a_word(letter));
        let is_placeholder = !letters.is_empty() && letters.chars().all(|letter| letter.is_ascii_uppercase());
        if is_placeholder && !KEPT.contains(&letters) {
            out.push(ANYTHING);
            out.push_str(&word[letters.len()..]);
        } else {
            out.push_str(word);
        }
    }
    out.replace('…', &ANYTHING.to_string())
        .trim_matches(ANYTHING)
        .to_owned()
}

/// Words in capitals that mean themselves.
const KEPT: [&str; 3] = ["HTTP", "TCP", "UDP"];

fn is_of_a_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Every text in `source` as it is said, with [`ANYTHING`] for what is filled in; tests at its end do not count.
fn texts(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let mut texts = Vec::new();
    let mut letters = source.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '/' if letters.peek() == Some(&'/') => while letters.next_if(|letter| *letter != '\n').is_some() {},
            // `'"'` is no beginning of a text.
            '\'' if letters.peek() == Some(&'"') => _ = letters.next(),
            'r' if letters.peek() == Some(&'#') => skip_raw(&mut letters),
            '"' => texts.push(text(&mut letters)),
            _ => {}
        }
    }
    texts
}

/// `r#"…"#`, which no program says to people; or `r#name`.
fn skip_raw(letters: &mut Peekable<Chars<'_>>) {
    let hashes = std::iter::from_fn(|| letters.next_if_eq(&'#')).count();
    if letters.next_if_eq(&'"').is_none() {
        return;
    }
    while let Some(letter) = letters.next() {
        let mut closed = 0;
        while letter == '"' && closed < hashes && letters.next_if_eq(&'#').is_some() {
            closed += 1;
        }
        if closed == hashes {
            return;
        }
    }
}

/// The text that has just begun.
fn text(letters: &mut Peekable<Chars<'_>>) -> String {
    let mut out = String::new();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => break,
            '\\' => match letters.next() {
                Some('\n') => while letters.next_if(|letter| letter.is_whitespace()).is_some() {},
                Some('n') => out.push('\n'),
                Some(escaped) => out.push(escaped),
                None => {}
            },
            '{' if letters.next_if_eq(&'{').is_some() => out.push('{'),
            '}' => {
                letters.next_if_eq(&'}');
                out.push('}');
            }
            '{' => {
                while letters.next_if(|letter| *letter != '}').is_some() {}
                letters.next();
                out.push(ANYTHING);
            }
            letter => out.push(letter),
        }
    }
    out
}

/// All sources of programs and libraries.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && path.iter().any(|part| part == "src") {
            found.push(path);
        }
    }
}

#[test]
fn every_sentence_that_the_handbook_quotes_can_be_said() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    sources(&root.join("crates"), &mut files);
    let said: Vec<_> = files
        .iter()
        .flat_map(|file| texts(&fs::read_to_string(file).unwrap()))
        .collect();
    let handbook = fs::read_to_string(root.join("docs/operations.md")).unwrap();
    let quoted = quotations(&handbook);
    assert!(quoted.len() >= 6, "{quoted:?}");
    let unsaid = |quoted: &&&str| {
        let pattern = pattern(quoted);
        let fixed = pattern.chars().filter(|letter| *letter != ANYTHING).count();
        fixed < LEAST || !said.iter().any(|text| text.contains(&pattern))
    };
    let unsaid: Vec<_> = quoted.iter().filter(unsaid).collect();
    assert!(
        unsaid.is_empty(),
        "no program says {unsaid:#?}\nall that is quoted: {quoted:#?}"
    );
}

#[test]
fn texts_and_quotations_are_read_as_they_are_written() {
    let source = "// \"no text\"\nlet a = '\"'; let b = r#\"a \"raw\" one\"#; f(\"pid {pid} runs \\\n      on {}: {{stop}} \\\"it\\\"\");\n#[cfg(test)]\nmod tests { \"never\" }";
    assert_eq!(texts(source), ["pid \u{1} runs on \u{1}: {stop} \"it\""]);
    assert_eq!(pattern("another (pid N) runs on …"), "another (pid \u{1}) runs on ");
    assert_eq!(pattern("… is in use by …"), " is in use by ");
    assert_eq!(
        pattern("set FRAMEBRIDGE_RUNTIME_DIR to one"),
        "set FRAMEBRIDGE_RUNTIME_DIR to one"
    );
    let handbook = "Say `it is so` or `bridgectl why STREAM`, `a = b`, `word`.\n\n    `not this one`\n```toml\n`nor this`\n```\n`but this`\n";
    assert_eq!(quotations(handbook), ["it is so", "but this"]);
}
