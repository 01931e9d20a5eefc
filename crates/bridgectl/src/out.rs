//! What a verb says: a sentence for people, or JSON for scripts.

use std::{
    fmt::Display,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::Serialize;

/// How answers are printed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Out {
    /// `--json`
    pub(crate) json: bool,
}

impl Out {
    /// Prints `text` for people, or `value` for scripts: one line of JSON.
    ///
    /// # Errors
    /// Nobody takes it.
    pub(crate) fn tell(self, text: &impl Display, value: &impl Serialize) -> anyhow::Result<()> {
        let line = if self.json {
            serde_json::to_string(value)?
        } else {
            text.to_string()
        };
        let mut out = io::stdout().lock();
        writeln!(out, "{}", line.trim_end_matches('\n'))?;
        Ok(out.flush()?)
    }
}

/// Where a picture or a film goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// `-`
    Stdout,
    /// A file whose name's ending says what is in it.
    File(PathBuf),
}

impl Target {
    /// Reads `text`, which has to be `-` or end in one of `endings`; `what` is written there.
    ///
    /// # Errors
    /// It would say that something else is in it.
    pub(crate) fn parse(text: &str, what: &str, endings: &[&str]) -> Result<Self, String> {
        if text == "-" {
            return Ok(Self::Stdout);
        }
        let path = PathBuf::from(text);
        let ending = ending(&path);
        if endings.iter().any(|known| Some(*known) == ending.as_deref()) {
            return Ok(Self::File(path));
        }
        let listed = endings
            .iter()
            .map(|ending| format!(".{ending}"))
            .collect::<Vec<_>>()
            .join(" or ");
        Err(format!("{what} ends in {listed}, or is - for stdout"))
    }

    /// Its name's ending, in small letters.
    pub(crate) fn ending(&self) -> Option<String> {
        match self {
            Self::Stdout => None,
            Self::File(path) => ending(path),
        }
    }

    /// What it is called.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Stdout => "stdout".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// Writes `bytes` there, and says `about` them: to stderr where stdout has the bytes.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn write(&self, bytes: &[u8], out: Out, about: &str, value: &impl Serialize) -> anyhow::Result<()> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes)?;
                stdout.flush()?;
                writeln!(io::stderr(), "{about}")?;
                Ok(())
            }
            Self::File(path) => {
                fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))?;
                out.tell(&about, value)
            }
        }
    }
}

fn ending(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_has_to_say_what_is_in_the_file() {
        let parse = |text| Target::parse(text, "a picture", &["jpg", "png"]);
        assert_eq!(parse("-"), Ok(Target::Stdout));
        assert_eq!(parse("a.b/c.PNG").unwrap().ending().as_deref(), Some("png"));
        for bad in ["a.gif", "a.webp", "a", "png", "", "."] {
            let refused = parse(bad);
            assert_eq!(
                refused,
                Err("a picture ends in .jpg or .png, or is - for stdout".to_owned()),
                "{bad}"
            );
        }
    }
}
