//! The file of tokens: names, hashes, scopes.
//!
//! ```toml
//! [[token]]
//! name = "wall"
//! hash = "9f86…"            # SHA-256 of the token, 64 hexadecimal digits
//! scope = "view"            # view, control, publish or admin
//! streams = ["door"]        # left out: all
//! expires = 1795413600      # seconds since 1970; left out: never
//! ```

use std::collections::BTreeSet;

use framebridge_proto::StreamName;
use serde::{Deserialize, Serialize};

use crate::{
    UnixTime,
    principal::{Origin, Principal, Scope, Streams},
    token::{Hash, TokenId, TokenName, hash},
};

/// Every one is compared with each request's token.
const MOST_TOKENS: usize = 1024;

const HEADER: &str =
    "# Who may ask what: `bridgectl token` writes this, signaling reads it again when it changes. Hashes only.\n\n";

/// What is kept of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What its maker called it: unique in a register.
    pub name: TokenName,
    /// SHA-256 of the token; the token itself is not kept.
    pub hash: Hash,
    /// The most that it opens.
    pub scope: Scope,
    /// The streams that it opens.
    pub streams: Streams,
    /// When it ends; `None`: not by itself.
    pub expires: Option<UnixTime>,
}

/// All tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Register(Vec<Row>);

/// What is wrong with a file of tokens, or with a change to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// It is no TOML, or not of this shape.
    #[error("{0}")]
    Syntax(String),
    /// A token's hash is none.
    #[error("token `{0}`: its hash is not 64 hexadecimal digits")]
    Hash(TokenName),
    /// Two have one name.
    #[error("there are two tokens called `{0}`")]
    Twice(TokenName),
    /// There are too many.
    #[error("there are more than {MOST_TOKENS} tokens: revoke some")]
    TooMany,
    /// There is none of this name.
    #[error("there is no token called `{0}`")]
    Unknown(TokenName),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    token: Vec<Written>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: TokenName,
    hash: String,
    scope: Scope,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    streams: BTreeSet<StreamName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<UnixTime>,
}

impl Register {
    /// Reads a file's text.
    ///
    /// # Errors
    /// It makes no sense, or would let two tokens be taken for one.
    pub fn parse(text: &str) -> Result<Self, RegisterError> {
        let file: File = toml::from_str(text).map_err(|error| RegisterError::Syntax(error.message().to_owned()))?;
        file.token
            .into_iter()
            .try_fold(Self::default(), |mut register, written| {
                let hash = Hash::from_hex(&written.hash).ok_or_else(|| RegisterError::Hash(written.name.clone()))?;
                register.add(Row {
                    name: written.name,
                    hash,
                    scope: written.scope,
                    streams: Streams::only(written.streams),
                    expires: written.expires,
                })?;
                Ok(register)
            })
    }

    /// The text of its file.
    ///
    /// # Errors
    /// It can't be written down.
    pub fn to_text(&self) -> Result<String, RegisterError> {
        let token = self.0.iter().map(|row| Written {
            name: row.name.clone(),
            hash: row.hash.to_hex(),
            scope: row.scope,
            streams: match &row.streams {
                Streams::All => BTreeSet::new(),
                Streams::Only(named) => named.clone(),
            },
            expires: row.expires,
        });
        let file = File { token: token.collect() };
        let text = toml::to_string(&file).map_err(|error| RegisterError::Syntax(error.to_string()))?;
        Ok(format!("{HEADER}{text}"))
    }

    /// All rows, in the order of the file.
    pub fn rows(&self) -> &[Row] {
        &self.0
    }

    /// Adds a token.
    ///
    /// # Errors
    /// Its name is taken, or there are too many.
    pub fn add(&mut self, row: Row) -> Result<(), RegisterError> {
        if self.0.iter().any(|known| known.name == row.name) {
            return Err(RegisterError::Twice(row.name));
        }
        if self.0.len() >= MOST_TOKENS {
            return Err(RegisterError::TooMany);
        }
        self.0.push(row);
        Ok(())
    }

    /// Forgets a token.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn remove(&mut self, name: &TokenName) -> Result<(), RegisterError> {
        let before = self.0.len();
        self.0.retain(|row| row.name != *name);
        if self.0.len() == before {
            Err(RegisterError::Unknown(name.clone()))
        } else {
            Ok(())
        }
    }

    /// Whose token `given` is, if it still opens something. Compares with all, and takes as long whichever it is.
    pub fn find(&self, given: &str, now: UnixTime) -> Option<Principal> {
        let given = hash(given);
        let found = self.0.iter().fold(
            None,
            |found, row| {
                if row.hash.matches(&given) { Some(row) } else { found }
            },
        );
        found.and_then(|row| row.principal(now))
    }

    /// Whose token this is, if it still opens something: for who has shown the token before.
    pub fn of(&self, id: &TokenId, now: UnixTime) -> Option<Principal> {
        self.0.iter().find(|row| row.hash.id() == *id)?.principal(now)
    }
}

impl Row {
    fn principal(&self, now: UnixTime) -> Option<Principal> {
        let principal = Principal {
            origin: Origin::Token {
                id: self.hash.id(),
                name: self.name.clone(),
            },
            scope: self.scope,
            streams: self.streams.clone(),
            expires: self.expires,
        };
        (!principal.has_expired(now)).then_some(principal)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::token;

    fn row(name: &str, token: &str, scope: Scope, expires: Option<UnixTime>) -> Row {
        Row {
            name: name.parse().expect("a good name"),
            hash: hash(token),
            scope,
            streams: Streams::All,
            expires,
        }
    }

    fn register(rows: impl IntoIterator<Item = Row>) -> Register {
        rows.into_iter().fold(Register::default(), |mut register, row| {
            register.add(row).expect("a new name");
            register
        })
    }

    proptest! {
        #[test]
        fn only_the_token_itself_opens_and_only_its_own_row(
            secrets in prop::collection::btree_set(any::<[u8; 32]>(), 1..8),
            stranger in any::<[u8; 32]>(),
        ) {
            let tokens: Vec<String> = secrets.iter().map(token::make).collect();
            let register = register(tokens.iter().enumerate().map(|(at, token)| {
                row(&format!("t{at}"), token, Scope::ALL[at % 4], None)
            }));
            for (at, token) in tokens.iter().enumerate() {
                let found = register.find(token, 0).expect("its token");
                prop_assert_eq!(found.scope, Scope::ALL[at % 4]);
                prop_assert_eq!(found.to_string(), format!("token t{at}"));
                let cut = register.find(&token[..token.len() - 1], 0);
                prop_assert!(cut.is_none());
                // What the file tells opens nothing.
                let leaked = register.find(&hash(token).to_hex(), 0);
                prop_assert!(leaked.is_none());
            }
            let strange = register.find(&token::make(&stranger), 0);
            prop_assert_eq!(strange.is_some(), secrets.contains(&stranger));
        }

        #[test]
        fn file_says_again_what_was_written(
            rows in prop::collection::btree_map("[a-z]{1,8}", (any::<[u8; 32]>(), 0_usize..4, prop::option::of(0_u64..=i64::MAX as u64), prop::collection::btree_set("[a-z]{1,6}", 0..3)), 0..6),
        ) {
            let rows = rows.iter().map(|(name, (secret, scope, expires, streams))| Row {
                streams: Streams::only(streams.iter().map(|name| name.parse().expect("a good name"))),
                ..row(name, &token::make(secret), Scope::ALL[*scope], *expires)
            });
            let register = register(rows);
            prop_assert_eq!(Register::parse(&register.to_text().expect("text")), Ok(register));
        }

        #[test]
        fn no_text_is_a_panic(text in ".{0,200}") {
            let _read = Register::parse(&text);
        }
    }

    #[test]
    fn token_that_has_expired_or_was_revoked_opens_nothing() {
        let mut register = register([row("a", "secret", Scope::Admin, Some(100))]);
        let name = "a".parse().expect("a good name");
        assert!(register.find("secret", 99).is_some());
        assert!(register.find("secret", 100).is_none());
        assert!(register.of(&hash("secret").id(), 99).is_some());
        assert_eq!(register.remove(&name), Ok(()));
        assert!(register.find("secret", 99).is_none());
        assert!(register.of(&hash("secret").id(), 99).is_none());
        assert_eq!(register.remove(&name), Err(RegisterError::Unknown(name)));
    }

    #[test]
    fn file_that_makes_no_sense_is_refused_with_what_is_wrong() {
        let hash = "0".repeat(64);
        for (text, wrong) in [
            ("token = 1".to_owned(), "invalid type"),
            ("[[token]]\nname = \"a\"\n".to_owned(), "missing field"),
            (
                format!("[[token]]\nname = \"a\"\nhash = \"{hash}\"\nscope = \"root\"\n"),
                "unknown variant",
            ),
            (
                format!("[[token]]\nname = \"a\"\nhash = \"{hash}\"\nscope = \"view\"\nstream = \"x\"\n"),
                "unknown field",
            ),
            (
                "[[token]]\nname = \"a\"\nhash = \"00\"\nscope = \"view\"\n".to_owned(),
                "64 hexadecimal",
            ),
            (
                format!("[[token]]\nname = \"a b\"\nhash = \"{hash}\"\nscope = \"view\"\n"),
                "no name of a token",
            ),
            (
                format!("[[token]]\nname = \"a\"\nhash = \"{hash}\"\nscope = \"view\"\n").repeat(2),
                "two tokens",
            ),
        ] {
            let error = Register::parse(&text).expect_err("no sense").to_string();
            assert!(error.contains(wrong), "{text}: {error}");
        }
    }
}
