//! The public keys of an identity provider: a JWK Set (RFC 7517), of which the keys that sign are taken.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::Value;

/// Keys that are kept of a set; a provider has two or three. A token that names none of them is tried with each of its kind.
const MOST_KEYS: usize = 32;

/// How tokens are signed. Nothing with a shared secret, and not `none` (RFC 8725, sections 3.1 and 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// Ed25519 (RFC 8037; RFC 9864).
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, of 2048 bits and more.
    Rs256,
}

/// The keys that tokens may be signed with.
#[derive(Debug, Clone)]
pub struct KeySet(Vec<Key>);

/// What is wrong with a file of keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// It is no JSON, or not of this shape.
    #[error("it is no JWK Set: {0}")]
    Syntax(String),
    /// A private key has no business there.
    #[error("key {0} has its private part: keep that where tokens are signed, and write only public keys here")]
    Private(usize),
    /// A key can't be read.
    #[error("key {number}: `{field}` is missing or is not what it should be")]
    Malformed {
        /// Which, from 1 on.
        number: usize,
        /// Its member.
        field: &'static str,
    },
    /// There are none, or none of the kinds that are taken.
    #[error("it has no key for EdDSA (Ed25519), ES256 or RS256")]
    None,
    /// There are too many.
    #[error("it has more than {MOST_KEYS} keys")]
    TooMany,
}

#[derive(Clone)]
struct Key {
    id: Option<String>,
    public: Public,
}

#[derive(Clone)]
enum Public {
    EdDsa(Vec<u8>),
    /// The point, uncompressed.
    Es256(Vec<u8>),
    Rs256 {
        n: Vec<u8>,
        e: Vec<u8>,
    },
}

#[derive(Deserialize)]
struct File {
    keys: Vec<Value>,
}

impl Algorithm {
    /// Reads a token's or a key's `alg`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            "ES256" => Some(Self::Es256),
            "RS256" => Some(Self::Rs256),
            _ => None,
        }
    }
}

impl KeySet {
    /// Reads a file's text. Keys of other kinds, and those that are to encrypt, are left out.
    ///
    /// # Errors
    /// It makes no sense, or no token could ever be checked with it.
    pub fn parse(text: &str) -> Result<Self, KeySetError> {
        let file: File = serde_json::from_str(text).map_err(|error| KeySetError::Syntax(error.to_string()))?;
        if file.keys.len() > MOST_KEYS {
            return Err(KeySetError::TooMany);
        }
        let mut keys = Vec::new();
        for (at, written) in file.keys.iter().enumerate() {
            keys.extend(Key::read(written, at + 1)?);
        }
        if keys.is_empty() {
            return Err(KeySetError::None);
        }
        Ok(Self(keys))
    }

    /// Whether one of the keys has signed `message`: the one that is named so, where that is said.
    pub(crate) fn has_signed(&self, algorithm: Algorithm, id: Option<&str>, message: &[u8], signature: &[u8]) -> bool {
        let may = |key: &&Key| key.public.algorithm() == algorithm && id.is_none_or(|id| key.is_called(id));
        let mut fitting = self.0.iter().filter(may);
        fitting.any(|key| key.public.has_signed(message, signature))
    }
}

impl Key {
    /// `None` for one that is not to sign tokens, or in a way that is not taken.
    fn read(written: &Value, number: usize) -> Result<Option<Self>, KeySetError> {
        let text = |field| written.get(field).and_then(Value::as_str);
        let bytes = |field: &'static str| {
            let decoded = text(field).and_then(|text| BASE64URL_NOPAD.decode(text.as_bytes()).ok());
            decoded.ok_or(KeySetError::Malformed { number, field })
        };
        let of_len = |field, len| match bytes(field) {
            Ok(bytes) if bytes.len() == len => Ok(bytes),
            Ok(_) | Err(_) => Err(KeySetError::Malformed { number, field }),
        };
        let is_for_signing = text("use").is_none_or(|used| used == "sig");
        let public = match (text("kty"), text("crv")) {
            (Some("OKP"), Some("Ed25519")) if is_for_signing => Public::EdDsa(of_len("x", 32)?),
            (Some("EC"), Some("P-256")) if is_for_signing => {
                Public::Es256([vec![4], of_len("x", 32)?, of_len("y", 32)?].concat())
            }
            (Some("RSA"), _) if is_for_signing => Public::Rs256 {
                n: bytes("n")?,
                e: bytes("e")?,
            },
            _ => return Ok(None),
        };
        if text("d").is_some() {
            return Err(KeySetError::Private(number));
        }
        let is_for_it = text("alg").is_none_or(|named| Algorithm::named(named) == Some(public.algorithm()));
        let id = text("kid").map(str::to_owned);
        Ok(is_for_it.then_some(Self { id, public }))
    }

    fn is_called(&self, id: &str) -> bool {
        self.id.as_deref() == Some(id)
    }
}

impl Public {
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::EdDsa(_) => Algorithm::EdDsa,
            Self::Es256(_) => Algorithm::Es256,
            Self::Rs256 { .. } => Algorithm::Rs256,
        }
    }

    fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::EdDsa(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
            Self::Es256(key) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).verify(message, signature),
            Self::Rs256 { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
        }
        .is_ok()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithm = self.public.algorithm();
        write!(f, "Key({:?}, {algorithm:?})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7515, appendix A.2: a token by RS256, and the public part of its key.
    #[test]
    fn rs256_example_of_the_rfc_is_good_and_no_other_text_is() {
        let keys = KeySet::parse(&format!(
            r#"{{"keys": [{{"kty": "RSA", "n": "{}", "e": "AQAB"}}]}}"#,
            concat!(
                "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yR",
                "T-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXB",
                "dQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9ia",
                "GNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
            )
        ))
        .expect("keys");
        let message = concat!(
            "eyJhbGciOiJSUzI1NiJ9.",
            "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
        );
        let signature = BASE64URL_NOPAD
            .decode(
                concat!(
                    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbd",
                    "s9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0Gar",
                    "ZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9",
                    "Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
                )
                .as_bytes(),
            )
            .expect("base64url");
        let is_good = |algorithm, id, message: &str| keys.has_signed(algorithm, id, message.as_bytes(), &signature);
        assert!(is_good(Algorithm::Rs256, None, message));
        assert!(!is_good(Algorithm::Rs256, None, &message.replace('c', "d")));
        assert!(!is_good(Algorithm::Es256, None, message));
        assert!(!is_good(Algorithm::Rs256, Some("other"), message));
    }

    #[test]
    fn set_that_checks_nothing_is_refused_with_what_is_wrong() {
        let x = BASE64URL_NOPAD.encode(&[7; 32]);
        let good = format!(r#"{{"kty": "OKP", "crv": "Ed25519", "x": "{x}"}}"#);
        for (keys, wrong) in [
            ("{".to_owned(), "no JWK Set"),
            (r#"{"kty": "oct", "k": "AAAA"}"#.to_owned(), "no key for"),
            (
                format!(r#"{{"kty": "OKP", "crv": "X25519", "x": "{x}"}}"#),
                "no key for",
            ),
            (good.replace('}', r#", "use": "enc"}"#), "no key for"),
            (good.replace('}', r#", "alg": "ES256"}"#), "no key for"),
            (good.replace('}', r#", "d": "AAAA"}"#), "private part"),
            (good.replace(&x, "AAAA"), "key 1: `x`"),
            (format!("{good},").repeat(MOST_KEYS) + &good, "more than"),
        ] {
            let error = KeySet::parse(&format!(r#"{{"keys": [{keys}]}}"#)).expect_err("no sense");
            assert!(error.to_string().contains(wrong), "{keys}: {error}");
        }
        assert!(KeySet::parse(&format!(r#"{{"keys": [{{"kty": "oct"}}, {good}]}}"#)).is_ok());
    }
}
