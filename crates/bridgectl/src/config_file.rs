//! The operator's configuration file, changed with its comments and its order kept.

use std::{
    env, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use framebridge_config::{ConfigError, DEFAULT_FILE, Input, Settings, read_file};
use toml_edit::{DocumentMut, Item, Table, Value};

use crate::{ask, file, running::Running};

/// Tables that are new come after all that there are: their places in the file are numbered from here.
const BEHIND_ALL: isize = 1_000_000;

/// The file as it is, and then as it shall be.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    path: PathBuf,
    document: DocumentMut,
    /// Tables that were added.
    added: isize,
    /// Whether its lines end as they do elsewhere (CR and LF).
    has_returns: bool,
}

/// Which file: that of the command line, of the supervisor that runs, of `$FRAMEBRIDGE_CONFIG`, or the usual one.
pub(crate) async fn path(named: Option<&Path>) -> PathBuf {
    if let Some(path) = named {
        return path.to_owned();
    }
    let running = ask::status().await.ok().and_then(|status| Running::look(&status).ok());
    let its = running.and_then(|running| running.config());
    let variable = || env::var_os("FRAMEBRIDGE_CONFIG").filter(|path| !path.is_empty());
    its.or_else(|| variable().map(PathBuf::from))
        .unwrap_or_else(|| DEFAULT_FILE.into())
}

impl ConfigFile {
    /// Reads the file; one that is not there yet is empty.
    ///
    /// # Errors
    /// It can't be read, or is no TOML.
    pub(crate) fn open(path: PathBuf) -> anyhow::Result<Self> {
        let text = match read_file(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(ConfigError::Read { path, source }.into()),
        };
        Self::parse(path, &text)
    }

    fn parse(path: PathBuf, text: &str) -> anyhow::Result<Self> {
        let document = match text.parse::<DocumentMut>() {
            Ok(document) => document,
            // Named with its line, as everywhere.
            Err(error) => {
                return Err(settings(&path, text)
                    .err()
                    .map_or_else(|| anyhow::Error::from(error), Into::into));
            }
        };
        Ok(Self {
            path,
            document,
            added: 0,
            has_returns: text.contains("\r\n"),
        })
    }

    /// What is changed.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file has this stream.
    pub(crate) fn has_stream(&self, name: &str) -> bool {
        self.document
            .get("streams")
            .and_then(|streams| streams.get(name))
            .is_some()
    }

    /// Whether the file itself sets `section.key`.
    pub(crate) fn sets(&self, section: &str, key: &str) -> bool {
        let mut item = Some(self.document.as_item());
        for part in section.split('.').chain([key]) {
            item = item.and_then(|item| item.get(part));
        }
        item.is_some()
    }

    /// The names of the file's streams, in its order.
    pub(crate) fn streams(&self) -> Vec<String> {
        let streams = self.document.get("streams").and_then(Item::as_table_like);
        streams
            .into_iter()
            .flat_map(|streams| streams.iter())
            .map(|(name, _)| name.to_owned())
            .collect()
    }

    /// Sets `section.key`, e.g. `http.tls` and `key`. A section that is not there comes last in the file.
    ///
    /// # Errors
    /// A part of the section's name is no table.
    pub(crate) fn set(&mut self, section: &str, key: &str, value: impl Into<Value>) -> anyhow::Result<()> {
        let is_new = !self.has_section(section);
        let mut table: &mut dyn toml_edit::TableLike = self.document.as_table_mut();
        for part in section.split('.') {
            let item = table.entry(part).or_insert_with(|| {
                let mut table = Table::new();
                table.set_implicit(true);
                Item::Table(table)
            });
            table = item
                .as_table_like_mut()
                .with_context(|| format!("`{part}` in [{section}] is no table"))?;
        }
        let mut value = value.into();
        if let Some(old) = table.get(key).and_then(Item::as_value) {
            // The comment beside it, too.
            value.decor_mut().clone_from(old.decor());
        }
        table.insert(key, Item::Value(value));
        if is_new {
            self.place(section);
        }
        Ok(())
    }

    fn has_section(&self, section: &str) -> bool {
        let mut item = Some(self.document.as_item());
        for part in section.split('.') {
            item = item.and_then(|item| item.get(part));
        }
        item.and_then(Item::as_table).is_some_and(|table| !table.is_implicit())
    }

    /// Puts a table behind all others, and what stands at the end of the file before it: there it stood.
    fn place(&mut self, section: &str) {
        let end = self.document.trailing().as_str().unwrap_or_default().to_owned();
        let is_first = self.added == 0
            && self
                .document
                .iter()
                .all(|(_, item)| item.as_table().is_some_and(is_unplaced));
        let mut item = Some(self.document.as_item_mut());
        for part in section.split('.') {
            item = item.and_then(|item| item.get_mut(part));
        }
        // One that is written in a line has no place of its own.
        let Some(table) = item.and_then(Item::as_table_mut) else {
            return;
        };
        table.set_implicit(false);
        table.set_position(Some(BEHIND_ALL + self.added));
        let gap = if is_first && end.is_empty() { "" } else { "\n" };
        table.decor_mut().set_prefix(format!("{end}{gap}"));
        self.document.set_trailing("");
        self.added += 1;
    }

    /// Takes a stream out, with the comment right above it; what stands above a blank line stays.
    ///
    /// # Errors
    /// The file does not have it.
    pub(crate) fn remove_stream(&mut self, name: &str) -> anyhow::Result<()> {
        let streams = self.document.get_mut("streams").and_then(Item::as_table_like_mut);
        let removed = streams.and_then(|streams| streams.remove(name));
        let removed = removed.with_context(|| format!("{} has no stream `{name}`", self.path.display()))?;
        let Some(table) = removed.as_table() else { return Ok(()) };
        let above = table
            .decor()
            .prefix()
            .and_then(|prefix| prefix.as_str())
            .unwrap_or_default();
        let kept = above.rfind("\n\n").map_or("", |at| &above[..=at]);
        if !kept.trim().is_empty() {
            self.keep(kept, table.position().unwrap_or_default());
        }
        if self.streams().is_empty() {
            self.document.remove("streams");
        }
        Ok(())
    }

    /// Puts a comment before the first table that comes after `position`, or at the end.
    fn keep(&mut self, comment: &str, position: isize) {
        let mut next = None;
        tables(self.document.as_table_mut(), &mut |table| {
            let at = table.position().unwrap_or_default();
            if at > position && !table.is_implicit() && next.is_none_or(|least| at < least) {
                next = Some(at);
            }
        });
        let Some(next) = next else {
            let end = self.document.trailing().as_str().unwrap_or_default().to_owned();
            self.document.set_trailing(format!("{comment}{end}"));
            return;
        };
        tables(self.document.as_table_mut(), &mut |table| {
            if table.position() == Some(next) && !table.is_implicit() {
                let own = table
                    .decor()
                    .prefix()
                    .and_then(|prefix| prefix.as_str())
                    .unwrap_or_default()
                    .to_owned();
                table.decor_mut().set_prefix(format!("{comment}{own}"));
            }
        });
    }

    /// The settings that the file would give, by itself: whether it makes sense.
    ///
    /// # Errors
    /// It makes none; each problem with its line.
    pub(crate) fn settings(&self) -> Result<Settings, ConfigError> {
        settings(&self.path, &self.document.to_string())
    }

    /// Writes it, if it makes sense.
    ///
    /// # Errors
    /// It makes none, or the system refuses.
    pub(crate) fn save(&self) -> anyhow::Result<Settings> {
        let settings = self.settings()?;
        file::replace(&self.path, self.text().as_bytes())?;
        Ok(settings)
    }

    /// What is written. Its lines end as they did.
    fn text(&self) -> String {
        let text = self.document.to_string();
        if self.has_returns {
            text.replace("\r\n", "\n").replace('\n', "\r\n")
        } else {
            text
        }
    }
}

fn settings(path: &Path, text: &str) -> Result<Settings, ConfigError> {
    let file = path.display().to_string();
    Settings::parse(&Input {
        file: &file,
        text,
        ..Input::default()
    })
}

/// Whether nothing in it stands in the file yet.
fn is_unplaced(table: &Table) -> bool {
    table.position().is_none() && table.iter().all(|(_, item)| item.as_table().is_none_or(is_unplaced))
}

/// Calls `each` with every table below `table`.
fn tables(table: &mut Table, each: &mut impl FnMut(&mut Table)) {
    for (_, item) in table.iter_mut() {
        if let Item::Table(table) = item {
            each(table);
            tables(table, each);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUSE: &str = "\
# The house's cameras.
# Ask Ada before you change one.

# at the front
[streams.door]
source = \"rtsp://door/s\" # the old one
fps = 15

# Behind the house, dark at night.
[streams.yard]
source = \"test:\"

[http]
listen = \"127.0.0.1:8890\" # this machine

# [streams.attic]
# source = \"rtsp://attic/s\"
";

    fn file(text: &str) -> ConfigFile {
        ConfigFile::parse("f.toml".into(), text).unwrap()
    }

    #[test]
    fn stream_is_added_behind_everything_and_nothing_else_changes() {
        let mut file = file(HOUSE);
        file.set("streams.attic", "source", "test:").unwrap();
        file.set("streams.attic", "fps", 10).unwrap();
        assert_eq!(
            file.document.to_string(),
            format!("{HOUSE}\n[streams.attic]\nsource = \"test:\"\nfps = 10\n")
        );
        assert_eq!(file.streams(), ["door", "yard", "attic"]);
        file.settings().unwrap();
    }

    #[test]
    fn lines_end_as_they_did() {
        let mut file = file(&HOUSE.replace('\n', "\r\n"));
        file.set("streams.attic", "source", "test:").unwrap();
        let expected = format!("{HOUSE}\n[streams.attic]\nsource = \"test:\"\n");
        assert_eq!(file.text(), expected.replace('\n', "\r\n"));
    }

    #[test]
    fn file_of_comments_alone_keeps_them_on_top() {
        let mut only = file("# mine\n");
        only.set("streams.a", "source", "test:").unwrap();
        only.set("http", "listen", "127.0.0.1:1").unwrap();
        assert_eq!(
            only.document.to_string(),
            "# mine\n\n[streams.a]\nsource = \"test:\"\n\n[http]\nlisten = \"127.0.0.1:1\"\n"
        );
        let mut empty = file("");
        empty.set("http.auth", "mode", "token").unwrap();
        assert_eq!(empty.document.to_string(), "[http.auth]\nmode = \"token\"\n");
    }

    #[test]
    fn value_is_changed_where_it_stands_and_sections_within_others_are_made() {
        let mut file = file(HOUSE);
        file.set("http", "listen", "0.0.0.0:8890").unwrap();
        file.set("http.auth", "mode", "none").unwrap();
        let text = file.document.to_string();
        assert!(
            text.contains("[http]\nlisten = \"0.0.0.0:8890\" # this machine\n"),
            "{text}"
        );
        assert!(
            text.ends_with("# source = \"rtsp://attic/s\"\n\n[http.auth]\nmode = \"none\"\n"),
            "{text}"
        );
        file.settings().unwrap();
    }

    #[test]
    fn stream_goes_with_its_own_comment_and_without_that_of_the_file() {
        let mut first = file(HOUSE);
        first.remove_stream("door").unwrap();
        let text = first.document.to_string();
        let kept = "# The house's cameras.\n# Ask Ada before you change one.\n\n# Behind the house, dark at night.\n[streams.yard]";
        assert!(text.starts_with(kept), "{text}");
        assert!(
            !text.contains("at the front") && !text.contains("the old one"),
            "{text}"
        );
        first.remove_stream("yard").unwrap();
        let text = first.document.to_string();
        assert!(
            text.starts_with("# The house's cameras.") && text.contains("# [streams.attic]"),
            "{text}"
        );
        assert!(!text.contains("dark at night"), "{text}");
        assert!(
            first
                .remove_stream("nosuch")
                .unwrap_err()
                .to_string()
                .contains("nosuch")
        );
    }

    #[test]
    fn streams_that_are_written_in_other_ways_are_changed_too() {
        let mut inline = file("streams = { a = { source = \"test:\" } }\n");
        inline.set("streams.b", "source", "test:").unwrap();
        assert_eq!(inline.settings().unwrap().streams.len(), 2);
        inline.remove_stream("a").unwrap();
        assert_eq!(inline.streams(), ["b"]);
        let mut dotted = file("[streams]\na.source = \"test:\"\n");
        dotted.set("streams.b", "source", "test:").unwrap();
        assert_eq!(dotted.settings().unwrap().streams.len(), 2);
        dotted.remove_stream("a").unwrap();
        assert_eq!(dotted.settings().unwrap().streams.len(), 1);
    }

    #[test]
    fn file_that_makes_no_sense_is_refused_with_its_line() {
        let error = ConfigFile::parse("f.toml".into(), "[http\n").unwrap_err();
        assert!(error.to_string().starts_with("f.toml:1"), "{error}");
        let mut file = file("[http]\n");
        file.set("http", "listen", "nowhere").unwrap();
        assert!(file.settings().unwrap_err().to_string().contains("http.listen"));
    }
}
