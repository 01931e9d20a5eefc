//! Stores tokens, by their hash.

use framebridge_daemon::unix_ms;
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, odd, signed};

/// What a token opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// A box's session.
    Box,
    /// The dashboard.
    Operator,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Box => "box",
            Self::Operator => "operator",
        }
    }

    pub(crate) fn from_str(text: &str) -> Option<Self> {
        [Self::Box, Self::Operator]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// A token as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenRow {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) hash: [u8; 32],
    pub(crate) revoked: bool,
}

impl Store {
    pub(crate) fn add_token(&self, name: &str, kind: Kind, hash: &[u8; 32]) -> Result<(), StoreError> {
        let sql = "INSERT OR IGNORE INTO tokens (name, kind, hash, created_ms) VALUES (?1, ?2, ?3, ?4)";
        let added = self.now("add a token", |db| {
            db.execute(sql, params![name, kind.as_str(), hash, signed(unix_ms())])
        })?;
        if added == 0 {
            Err(StoreError::Taken(name.to_owned()))
        } else {
            Ok(())
        }
    }

    pub(crate) fn tokens(&self) -> Result<Vec<TokenRow>, StoreError> {
        self.now("read the tokens", read_tokens)
    }

    pub(crate) fn revoke_token(&self, name: &str) -> Result<bool, StoreError> {
        let sql = "UPDATE tokens SET revoked_ms = ?2 WHERE name = ?1 AND revoked_ms IS NULL";
        self.now("revoke a token", |db| {
            db.execute(sql, params![name, signed(unix_ms())])
                .map(|changed| changed > 0)
        })
    }

    /// The tokens, aside: one may have been made or revoked on the command line since.
    pub(crate) async fn current_tokens(&self) -> Result<Vec<TokenRow>, StoreError> {
        self.aside("read the tokens", read_tokens).await
    }
}

pub(super) fn read_tokens(db: &Connection) -> rusqlite::Result<Vec<TokenRow>> {
    let mut statement =
        db.prepare("SELECT name, kind, hash, revoked_ms IS NOT NULL FROM tokens ORDER BY created_ms")?;
    let rows = statement.query_map([], |row| {
        let kind: String = row.get(1)?;
        Ok(TokenRow {
            name: row.get(0)?,
            kind: Kind::from_str(&kind).ok_or_else(|| odd(1, &kind))?,
            hash: row.get(2)?,
            revoked: row.get(3)?,
        })
    })?;
    rows.collect()
}
