//! Tokens: who may register a box, and who may look at all of them.

use axum::http::{HeaderMap, header};
use data_encoding::BASE64;
use framebridge_auth::secrets_match;
use framebridge_studio_proto::{BoxId, PublicId};
use ring::hmac;

use crate::{
    random,
    store::{Kind, TokenRow},
};

/// A fresh token.
pub(crate) fn make() -> String {
    framebridge_auth::make(&random::bytes::<32>())
}

/// What is kept of a token.
pub(crate) fn hash(token: &str) -> [u8; 32] {
    *framebridge_auth::hash(token).as_bytes()
}

/// The token among `known` that `given` is, if it may still be used for `kind`. Takes as long whichever it is.
pub(crate) fn find<'a>(known: &'a [TokenRow], given: &str, kind: Kind) -> Option<&'a TokenRow> {
    let given = hash(given);
    known.iter().fold(None, |found, row| {
        let same = secrets_match(&row.hash, &given);
        if same && row.kind == kind && !row.revoked {
            Some(row)
        } else {
            found
        }
    })
}

/// The session that a token's box has at every node that knows the token. As hard to guess as the token itself.
pub(crate) fn session(token: &TokenRow, instance: BoxId) -> PublicId {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &token.hash);
    let tag = hmac::sign(&key, format!("session {instance}").as_bytes());
    let mut bits = [0; 16];
    bits.copy_from_slice(&tag.as_ref()[..16]);
    PublicId::from_bits(u128::from_be_bytes(bits))
}

/// The token that a request carries: `Bearer`, or the password of `Basic`, which is what a browser asks its user for.
pub(crate) fn presented(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Some(rest.trim().to_owned()),
        "basic" => {
            let decoded = BASE64.decode(rest.trim().as_bytes()).ok()?;
            let text = String::from_utf8(decoded).ok()?;
            text.split_once(':').map(|(_, password)| password.to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(token: &str, kind: Kind, revoked: bool) -> TokenRow {
        TokenRow {
            name: token.to_owned(),
            kind,
            hash: hash(token),
            revoked,
        }
    }

    #[test]
    fn only_the_right_token_of_the_right_kind_opens() {
        let known = [
            row("a", Kind::Box, false),
            row("b", Kind::Operator, false),
            row("c", Kind::Box, true),
        ];
        assert_eq!(find(&known, "a", Kind::Box).map(|row| row.name.as_str()), Some("a"));
        for (given, kind) in [
            ("a", Kind::Operator),
            ("b", Kind::Box),
            ("c", Kind::Box),
            ("", Kind::Box),
            ("A", Kind::Box),
        ] {
            assert!(find(&known, given, kind).is_none(), "{given}");
        }
        assert_ne!(make(), make());
    }

    #[test]
    fn tokens_come_as_bearer_or_as_a_browsers_password() {
        let with = |value: &'static str| {
            presented(&HeaderMap::from_iter([(
                header::AUTHORIZATION,
                axum::http::HeaderValue::from_static(value),
            )]))
        };
        assert_eq!(with("Bearer t").as_deref(), Some("t"));
        assert_eq!(with("Basic YW55OnQ6eA==").as_deref(), Some("t:x"));
        for bad in ["", "Bearer", "Basic", "Basic !", "Digest t"] {
            assert_eq!(with(bad), None, "{bad}");
        }
    }
}
