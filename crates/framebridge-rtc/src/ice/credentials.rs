//! Who somebody is in ICE (RFC 8445, section 5.3).

use crate::random;

/// One ICE user's name and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name: 4 to 256 ice-chars.
    pub ufrag: String,
    /// The password: 22 to 256 ice-chars.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("ufrag", &self.ufrag)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// Credentials as somebody else wrote them; `None` unless both have the length and the characters that RFC 8839
    /// section 5.4 allows. What they hold goes into packets to addresses that the same somebody names.
    pub(crate) fn parse(ufrag: &str, password: &str) -> Option<Self> {
        let is_ice_char = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
        let is_valid = (4..=256).contains(&ufrag.len())
            && (22..=256).contains(&password.len())
            && ufrag.bytes().chain(password.bytes()).all(is_ice_char);
        is_valid.then(|| Self {
            ufrag: ufrag.to_owned(),
            password: password.to_owned(),
        })
    }

    /// New ones whose ufrag starts with `prefix`: 47 and 142 bits of randomness.
    pub fn random(prefix: &str) -> Self {
        Self {
            ufrag: format!("{prefix}{}", random::text(8)),
            password: random::text(24),
        }
    }
}
