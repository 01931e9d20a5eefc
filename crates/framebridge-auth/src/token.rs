//! Tokens: what is given out, the hash of it that is kept, and the name that its maker gave it.

use std::{fmt, str::FromStr};

use data_encoding::HEXLOWER;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

/// Marks our tokens, for people and for scanners of leaked secrets.
const PREFIX: &str = "fbt_";

/// Of a hash, so much names its token: enough that no two are alike.
const ID_BYTES: usize = 16;

/// What is kept of a token: its SHA-256.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hash([u8; 32]);

/// Names a token without opening anything: the beginning of its hash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TokenId(String);

/// A token's name: 1 to 32 of `a-z A-Z 0-9 - _ .`
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenName(String);

/// A token's name that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no name of a token: use 1 to 32 of a-z, A-Z, 0-9, -, _ and .")]
pub struct InvalidTokenName(String);

/// A token of 256 fresh random bits, so that a plain hash of it tells nothing.
pub fn make(random: &[u8; 32]) -> String {
    format!("{PREFIX}{}", HEXLOWER.encode(random))
}

/// What is kept of a token.
pub fn hash(token: &str) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    Hash(hash)
}

/// Whether two secrets are the same; takes as long whichever they are.
pub fn secrets_match(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}

impl Hash {
    /// A hash that was kept as its bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A hash that was kept as text.
    pub fn from_hex(text: &str) -> Option<Self> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Itself as text.
    pub fn to_hex(&self) -> String {
        HEXLOWER.encode(&self.0)
    }

    /// The name of its token.
    pub fn id(&self) -> TokenId {
        TokenId(HEXLOWER.encode(&self.0[..ID_BYTES]))
    }

    /// Whether both are of the same token; takes as long whichever they are.
    pub fn matches(&self, other: &Self) -> bool {
        secrets_match(&self.0, &other.0)
    }
}

impl TokenId {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for TokenId {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl FromStr for TokenName {
    type Err = InvalidTokenName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if (1..=32).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidTokenName(text.to_owned()))
        }
    }
}

impl TryFrom<String> for TokenName {
    type Error = InvalidTokenName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TokenName> for String {
    fn from(name: TokenName) -> Self {
        name.0
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hash(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_sha256_and_survives_being_written_down() {
        let hash = hash("fbt_00");
        // printf fbt_00 | sha256sum
        assert_eq!(
            hash.to_hex(),
            "0ced25868cd116c153969db3ec1ae7aaf27ff6d0df7f3d022955512d92b049d8"
        );
        assert_eq!(Hash::from_hex(&hash.to_hex()), Some(hash));
        for bad in ["", "00", "zz", &"0".repeat(63), &"0".repeat(66)] {
            assert_eq!(Hash::from_hex(bad), None, "{bad}");
        }
    }

    #[test]
    fn token_is_marked_and_its_name_opens_nothing() {
        let token = make(&[7; 32]);
        assert!(token.starts_with(PREFIX) && token.len() == PREFIX.len() + 64);
        let hash = hash(&token);
        assert!(!hash.matches(&super::hash(&hash.id().0)));
        assert_eq!(format!("{hash:?}"), "Hash(..)");
    }
}
