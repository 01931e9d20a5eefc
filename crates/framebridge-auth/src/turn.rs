//! Ephemeral TURN credentials (draft-uberti-behave-turn-rest): a user name that says until when, and its HMAC.

use data_encoding::{BASE64, HEXLOWER};
use ring::hmac;

use crate::UnixTime;

/// The secret shared with a TURN server (`static-auth-secret` in coturn).
pub struct Turn(hmac::Key);

impl Turn {
    /// By the secret.
    pub fn new(secret: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes()))
    }

    /// User name and password, good until `until`, for one who is known to us as `whom`: the user name, which travels in the
    /// clear and which the relay logs, has only a hash of that.
    pub fn credentials(&self, whom: &str, until: UnixTime) -> (String, String) {
        let whom = hmac::sign(&self.0, whom.as_bytes());
        let username = format!("{until}:{}", HEXLOWER.encode(&whom.as_ref()[..8]));
        let password = BASE64.encode(hmac::sign(&self.0, username.as_bytes()).as_ref());
        (username, password)
    }
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Turn(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_what_coturn_computes() {
        // echo -n box | openssl dgst -sha1 -hmac secret: its first 16 digits are the user, then
        // echo -n 1700043200:1ba7b2c73f5da978 | openssl dgst -sha1 -hmac secret -binary | base64
        let (username, password) = Turn::new("secret").credentials("box", 1_700_043_200);
        assert_eq!(username, "1700043200:1ba7b2c73f5da978");
        assert_eq!(password, "/WQqE/LiFfhznHQzrTNQWZ9bR5A=");
    }
}
