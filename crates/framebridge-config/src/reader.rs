//! Reads settings one by one and remembers where each came from.

mod unit;
mod unknown;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display},
    ops::RangeInclusive,
    str::FromStr,
    time::Duration,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use self::unit::Unit;
use crate::source::Source;

/// Something wrong with one setting, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `framebridge.toml:12`, `environment` or `--stream`.
    pub place: String,
    /// The setting, e.g. `http.listen`, as file or environment spell it.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.key, self.message)
    }
}

/// One effective setting, for `bridgectl config print`.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its full key, e.g. `http.listen`.
    pub key: String,
    /// Its value as TOML; secrets are masked.
    pub value: String,
    /// `default`, `framebridge.toml:12`, `environment` or `--stream`.
    pub origin: String,
    /// Its value as TOML, secret or not.
    written: String,
}

/// What the environment's variables of ours begin with.
pub(crate) const PREFIX: &str = "FRAMEBRIDGE_";

/// Variables of ours that are no settings: where things are, and switches for tests.
pub(crate) const OTHER_VARIABLES: [&str; 5] = [
    "FRAMEBRIDGE_CONFIG",
    "FRAMEBRIDGE_RUNTIME_DIR",
    "FRAMEBRIDGE_ENCODERS_DIR",
    "FRAMEBRIDGE_BIN_DIR",
    DEBUG_ENDPOINTS,
];

/// Any span from nothing to an hour, in milliseconds.
pub(crate) const UP_TO_AN_HOUR: RangeInclusive<u32> = 0..=3_600_000;

/// `1` lets tests break processes from inside.
pub(crate) const DEBUG_ENDPOINTS: &str = "FRAMEBRIDGE_DEBUG_ENDPOINTS";

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key)
            .field("value", &self.value)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

impl Entry {
    /// Its value as TOML, secret or not: what gives the setting again.
    pub(crate) fn written(&self) -> &str {
        &self.written
    }

    /// Whether its value is a secret that is set.
    pub(crate) fn is_secret(&self) -> bool {
        self.value == quoted(&MASK)
    }
}

/// Stands in for a secret in [`Entry::value`].
const MASK: &str = "********";

/// A value as found, not yet understood.
#[derive(Debug, Clone)]
enum Raw {
    Text(String),
    Number(i64),
    Bool(bool),
    List(Vec<String>),
    Other(&'static str),
}

struct Found {
    raw: Raw,
    place: String,
    /// As the operator spelled it: the key, or the environment variable's name.
    spelled: String,
}

/// Reads settings by key: the environment wins over the file, the file over the default.
pub(crate) struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    root: &'a DeTable<'a>,
    env: &'a BTreeMap<String, String>,
    read: BTreeSet<String>,
    entries: Vec<Entry>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

/// What a [`Reader`] leaves behind.
pub(crate) struct Outcome {
    pub(crate) entries: Vec<Entry>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(file: &'a str, text: &'a str, root: &'a DeTable<'a>, env: &'a BTreeMap<String, String>) -> Self {
        Self {
            file,
            text,
            root,
            env,
            read: BTreeSet::new(),
            entries: Vec::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// A setting written as text, e.g. an address.
    pub(crate) fn text<T: FromStr<Err: Display> + Display>(&mut self, key: &str, default: T) -> T {
        self.value(key, default, quoted, parsed)
    }

    /// A source, whose address may hold a secret.
    pub(crate) fn source(&mut self, key: &str) -> Source {
        let written = |source: &Source| quoted(&source.written());
        self.value_of(key, Source::Test, quoted, written, parsed)
    }

    /// A setting written as text that need not be there; `secret` ones are masked where printed.
    pub(crate) fn optional(&mut self, key: &str, secret: bool) -> Option<String> {
        let show = |value: &Option<String>| match value {
            Some(_) if secret => quoted(&MASK),
            Some(text) => quoted(text),
            None => quoted(&""),
        };
        let written = |value: &Option<String>| quoted(&value.as_deref().unwrap_or_default());
        self.value_of(key, None, show, written, |raw| match raw {
            Raw::Text(text) => Ok(Some(text).filter(|text| !text.is_empty())),
            Raw::Number(_) | Raw::Bool(_) | Raw::List(_) | Raw::Other(_) => Err(expected("a string", &raw)),
        })
    }

    /// A whole number; out of `range` it is clamped, with a warning.
    pub(crate) fn number<N>(&mut self, key: &str, default: N, range: RangeInclusive<N>) -> N
    where
        N: TryFrom<i64> + Into<i64> + Copy + Display,
    {
        let (low, high): (i64, i64) = ((*range.start()).into(), (*range.end()).into());
        let unit = Unit::of(key);
        let of = unit.map(|unit| format!(" {unit}")).unwrap_or_default();
        let whole = unit.map_or_else(
            || "a whole number".to_owned(),
            |unit| format!("a whole number of {unit}"),
        );
        let mut clamped = None;
        let value = self.value(key, default, N::to_string, |raw| {
            let number = match raw {
                Raw::Number(number) => number,
                Raw::Text(ref text) => text.parse().map_err(|_not_a_number| {
                    let meant = unit
                        .and_then(|unit| unit.meant(text))
                        .map(|meant| format!(": write {meant}"));
                    expected(&whole, &raw) + &meant.unwrap_or_default()
                })?,
                Raw::Bool(_) | Raw::List(_) | Raw::Other(_) => return Err(expected(&whole, &raw)),
            };
            let held = number.clamp(low, high);
            if held != number {
                clamped = Some(format!("{number} is outside {low} to {high}{of}: {held} is used"));
            }
            N::try_from(held).map_err(|_never| format!("{held} does not fit"))
        });
        if let Some(message) = clamped {
            self.warn(key, message);
        }
        value
    }

    /// A port; 0 is any that is free. What is none is not made one: nobody would look for it there.
    pub(crate) fn port(&mut self, key: &str, default: u16) -> u16 {
        self.value(key, default, u16::to_string, |raw| {
            let port = match raw {
                Raw::Number(number) => u16::try_from(number).ok(),
                Raw::Text(ref text) => text.parse().ok(),
                Raw::Bool(_) | Raw::List(_) | Raw::Other(_) => None,
            };
            port.ok_or_else(|| expected("a port: use 1 to 65535, or 0 for any that is free", &raw))
        })
    }

    /// A span of time in whole milliseconds, under a key that ends in `_ms`.
    pub(crate) fn millis(&mut self, key: &str, default: Duration, range: RangeInclusive<u32>) -> Duration {
        let default = u32::try_from(default.as_millis()).unwrap_or(u32::MAX);
        Duration::from_millis(self.number(key, default, range).into())
    }

    /// `true` or `false`.
    pub(crate) fn flag(&mut self, key: &str, default: bool) -> bool {
        self.value(key, default, bool::to_string, |raw| match raw {
            Raw::Bool(flag) => Ok(flag),
            Raw::Text(ref text) => text.parse().map_err(|_not_a_bool| expected("true or false", &raw)),
            Raw::Number(_) | Raw::List(_) | Raw::Other(_) => Err(expected("true or false", &raw)),
        })
    }

    /// A list of texts, of which each counts once; in the environment separated by commas.
    pub(crate) fn list<T: FromStr<Err: Display> + Display>(&mut self, key: &str, default: Vec<T>) -> Vec<T> {
        let list = self.words(key, default);
        let shown: Vec<String> = list.iter().map(T::to_string).collect();
        let twice = shown.iter().enumerate().find(|(at, item)| shown[..*at].contains(item));
        if let Some((_, item)) = twice
            && self.has(key)
        {
            self.warn(key, format!("`{item}` is there twice: once is enough"));
        }
        list
    }

    /// A list of texts in which one may be there twice, as in a command.
    pub(crate) fn words<T: FromStr<Err: Display> + Display>(&mut self, key: &str, default: Vec<T>) -> Vec<T> {
        let show = |list: &Vec<T>| format!("[{}]", list.iter().map(quoted).collect::<Vec<_>>().join(", "));
        self.value(key, default, show, |raw| {
            let items = match raw {
                Raw::List(items) => items,
                Raw::Text(text) => text
                    .split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .map(str::to_owned)
                    .collect(),
                Raw::Number(_) | Raw::Bool(_) | Raw::Other(_) => return Err(expected("a list of strings", &raw)),
            };
            items
                .iter()
                .map(|item| item.parse().map_err(|error: T::Err| format!("`{item}`: {error}")))
                .collect()
        })
    }

    /// The names of the tables under `key`, in the file's alphabetical order.
    pub(crate) fn children(&self, key: &str) -> Vec<String> {
        match self.lookup(key).map(Spanned::get_ref) {
            Some(DeValue::Table(table)) => table.keys().map(|name| name.get_ref().to_string()).collect(),
            Some(DeValue::Array(items)) => (0..items.len()).map(|index| index.to_string()).collect(),
            Some(_) | None => Vec::new(),
        }
    }

    /// Whether the operator set `key` at all.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// Notes a source that came neither by the file nor by the environment.
    pub(crate) fn given(&mut self, origin: &str, key: String, source: &Source) {
        self.read.insert(key.clone());
        self.entries.push(Entry {
            key,
            value: quoted(source),
            origin: origin.to_owned(),
            written: quoted(&source.written()),
        });
    }

    /// Notes a problem with a setting that was understood by itself but not in its place.
    pub(crate) fn problem(&mut self, key: &str, message: impl Into<String>) {
        let (place, spelled) = self.spelling(key);
        // It is no unknown one as well.
        self.read.insert(key.to_owned());
        self.problems.push(Problem {
            place,
            key: spelled,
            message: message.into(),
        });
    }

    /// Notes that a setting does not do what it seems to.
    pub(crate) fn warn(&mut self, key: &str, message: impl Into<String>) {
        let (place, key) = self.spelling(key);
        let message = message.into();
        self.warnings.push(Problem { place, key, message });
    }

    /// Where a setting stands, and what it is called there; one that is missing, by its key.
    fn spelling(&self, key: &str) -> (String, String) {
        let found = self.find(key).map(|found| (found.place, found.spelled));
        found.unwrap_or_else(|| (self.place_of(key), key.to_owned()))
    }

    /// Warns of each of `keys` that is set: `why` it does nothing.
    pub(crate) fn warn_if_set(&mut self, keys: &[&str], why: &str) {
        for key in keys {
            if self.has(key) {
                self.warn(key, format!("has no effect: {why}"));
            }
        }
    }

    /// Warns where the first wait is longer than the longest one, which is what holds then.
    pub(crate) fn warn_of_cap(&mut self, first: (&str, Duration), longest: (&str, Duration)) {
        if first.1 > longest.1 {
            if self.has(first.0) {
                self.warn(first.0, format!("is longer than {}, which is used instead", longest.0));
            } else {
                self.warn(
                    longest.0,
                    format!("is shorter than {}, and is used instead of it", first.0),
                );
            }
        }
    }

    /// Notes a problem with a flag.
    pub(crate) fn flag_problem(&mut self, flag: &str, value: &str, message: impl Into<String>) {
        let problem = Problem {
            place: flag.to_owned(),
            key: value.to_owned(),
            message: message.into(),
        };
        self.problems.push(problem);
    }

    /// Ends the reading: what was not read is unknown.
    pub(crate) fn finish(mut self) -> Outcome {
        let mut unknown = Vec::new();
        self.unread("", self.root, &mut unknown);
        self.problems.extend(unknown);
        self.warnings.extend(self.stray_variables());
        Outcome {
            entries: self.entries,
            problems: self.problems,
            warnings: self.warnings,
        }
    }

    fn value<T>(
        &mut self,
        key: &str,
        default: T,
        show: impl Fn(&T) -> String,
        understand: impl FnOnce(Raw) -> Result<T, String>,
    ) -> T {
        self.value_of(key, default, &show, &show, understand)
    }

    /// [`value`](Self::value), where what is shown of it would not give it again.
    fn value_of<T>(
        &mut self,
        key: &str,
        default: T,
        show: impl Fn(&T) -> String,
        written: impl Fn(&T) -> String,
        understand: impl FnOnce(Raw) -> Result<T, String>,
    ) -> T {
        self.read.insert(key.to_owned());
        let mut origin = "default".to_owned();
        let value = match self.find(key) {
            None => default,
            Some(found) => match understand(found.raw) {
                Ok(value) => {
                    origin = found.place;
                    value
                }
                Err(message) => {
                    self.problems.push(Problem {
                        place: found.place,
                        key: found.spelled,
                        message,
                    });
                    default
                }
            },
        };
        self.entries.push(Entry {
            key: key.to_owned(),
            value: show(&value),
            origin,
            written: written(&value),
        });
        value
    }

    fn find(&self, key: &str) -> Option<Found> {
        let variable = variable(key);
        if let Some(text) = self.env.get(&variable) {
            return Some(Found {
                raw: Raw::Text(text.clone()),
                place: "environment".into(),
                spelled: variable,
            });
        }
        let value = self.lookup(key)?;
        let raw = match value.get_ref() {
            DeValue::String(text) => Raw::Text(text.to_string()),
            DeValue::Boolean(flag) => Raw::Bool(*flag),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or(Raw::Other("a number past 64 bits"), Raw::Number),
            DeValue::Array(items) => items
                .iter()
                .map(|item| item.get_ref().as_str().map(str::to_owned))
                .collect::<Option<Vec<_>>>()
                .map_or(Raw::Other("a list with something else in it"), Raw::List),
            DeValue::Float(_) => Raw::Other("a fraction"),
            DeValue::Datetime(_) => Raw::Other("a date"),
            DeValue::Table(_) => Raw::Other("a table"),
        };
        Some(Found {
            raw,
            place: self.place(value.span().start),
            spelled: key.to_owned(),
        })
    }

    /// The value at a dotted path; a number steps into a list.
    fn lookup(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        let mut steps = key.split('.');
        let mut value = self.root.get(steps.next()?)?;
        for step in steps {
            value = match value.get_ref() {
                DeValue::Table(table) => table.get(step)?,
                DeValue::Array(items) => items.get(step.parse::<usize>().ok()?)?,
                DeValue::String(_)
                | DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_) => return None,
            };
        }
        Some(value)
    }

    fn place(&self, offset: usize) -> String {
        let line = self
            .text
            .as_bytes()
            .iter()
            .take(offset)
            .filter(|&&byte| byte == b'\n')
            .count()
            + 1;
        format!("{}:{line}", self.file)
    }

    /// Where the nearest table around a missing key stands.
    fn place_of(&self, key: &str) -> String {
        let mut around = key;
        while let Some((parent, _)) = around.rsplit_once('.') {
            if let Some(value) = self.lookup(parent) {
                return self.place(value.span().start);
            }
            around = parent;
        }
        self.file.to_owned()
    }
}

/// The environment variable that sets `key`: `http.listen` is `FRAMEBRIDGE_HTTP_LISTEN`.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace(['.', '-'], "_"))
}

pub(crate) fn quoted(value: &impl Display) -> String {
    toml::Value::String(value.to_string()).to_string()
}

fn parsed<T: FromStr<Err: Display>>(raw: Raw) -> Result<T, String> {
    match raw {
        Raw::Text(text) => text.parse().map_err(|error: T::Err| error.to_string()),
        // What would be wrong in quotes as well says more.
        Raw::Number(number) => match number.to_string().parse::<T>() {
            Ok(_) => Err(expected("a string", &raw)),
            Err(error) => Err(error.to_string()),
        },
        Raw::Bool(_) | Raw::List(_) | Raw::Other(_) => Err(expected("a string", &raw)),
    }
}

fn expected(what: &str, found: &Raw) -> String {
    match found {
        Raw::Text(text) => format!("`{text}` is not {what}"),
        Raw::Number(number) => format!("`{number}` is not {what}"),
        Raw::Bool(flag) => format!("`{flag}` is not {what}"),
        Raw::List(_) => format!("a list is not {what}"),
        Raw::Other(kind) => format!("{kind} is not {what}"),
    }
}
