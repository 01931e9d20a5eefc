//! Tokens of an identity provider: JWTs (RFC 7519) by EdDSA, ES256 or RS256, as RFC 8725 wants them checked.

use std::collections::BTreeSet;

use data_encoding::BASE64URL_NOPAD;
use framebridge_proto::StreamName;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    UnixTime,
    jwks::{Algorithm, KeySet},
    principal::{Origin, Principal, Scope, Streams},
};

/// The longest token that is looked at, bytes: some have a page of groups.
const MOST_BYTES: usize = 8192;

/// The longest `sub`, characters (OpenID Connect Core, section 2).
const MOST_SUBJECT: usize = 255;

/// A provider's clock may be so far ahead of ours, for `nbf`. An end is an end.
const AHEAD: UnixTime = 30;

/// What may stand before a scope's name, where a provider's names are for all that it knows.
const PREFIX: &str = "framebridge:";

/// Whose tokens are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// What `iss` has to be.
    pub name: String,
    /// What `aud` has to have.
    pub audience: String,
    /// The claim with scopes: words in a text, or a list.
    pub scope_claim: String,
    /// The claim with names of streams, likewise. A token without it is for all.
    pub streams_claim: String,
}

/// Why a JWT opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// It is none, or has parts that can't be read.
    #[error("it is no JWT")]
    Malformed,
    /// By another algorithm than those that are taken, or with extensions that one has to know (`crit`).
    #[error("it is signed in a way that is not taken: use EdDSA, ES256 or RS256")]
    Algorithm,
    /// None of the keys has signed it.
    #[error("its signature is by none of the keys")]
    Signature,
    /// `iss` is another.
    #[error("`iss` is not http.auth.jwt.issuer")]
    Issuer,
    /// `aud` is missing or names others.
    #[error("`aud` does not have http.auth.jwt.audience")]
    Audience,
    /// `exp` is missing or has passed.
    #[error("`exp` is missing or has passed")]
    Expired,
    /// `nbf` is still to come.
    #[error("`nbf` is still to come")]
    TooEarly,
    /// `sub` is missing, too long, or no plain text.
    #[error("`sub` is missing, or is not 1 to {MOST_SUBJECT} printable characters")]
    Subject,
    /// The claim with streams can't be read.
    #[error("the claim with streams has something else than names of streams")]
    Streams,
    /// It is good, and opens nothing here.
    #[error("the claim with scopes has none of view, control, publish and admin")]
    NoScope,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

impl Issuer {
    /// Whether `text` looks like a JWT, which no token of our own does.
    pub fn may_have_made(text: &str) -> bool {
        text.bytes().filter(|byte| *byte == b'.').count() == 2
    }

    /// Who holds `token`, which one of `keys` has to have signed, and what it opens now.
    ///
    /// # Errors
    /// It opens nothing.
    pub fn holder(&self, token: &str, keys: &KeySet, now: UnixTime) -> Result<Principal, JwtError> {
        let claims = claims(token, keys)?;
        let text = |claim: &str| claims.get(claim).and_then(Value::as_str);
        if text("iss") != Some(self.name.as_str()) {
            return Err(JwtError::Issuer);
        }
        if !words(claims.get("aud"), false).is_some_and(|named| named.contains(&self.audience.as_str())) {
            return Err(JwtError::Audience);
        }
        let expires = claims.get("exp").and_then(seconds).filter(|expires| now < *expires);
        let expires = expires.ok_or(JwtError::Expired)?;
        if let Some(begins) = claims.get("nbf") {
            let begins = seconds(begins).ok_or(JwtError::Malformed)?;
            if begins > now.saturating_add(AHEAD) {
                return Err(JwtError::TooEarly);
            }
        }
        let is_plain = |subject: &&str| {
            (1..=MOST_SUBJECT).contains(&subject.chars().count()) && !subject.chars().any(char::is_control)
        };
        let subject = text("sub").filter(is_plain).ok_or(JwtError::Subject)?;
        let scopes = words(claims.get(&self.scope_claim), true).unwrap_or_default();
        let scope = |word: &str| word.strip_prefix(PREFIX).unwrap_or(word).parse::<Scope>().ok();
        Ok(Principal {
            origin: Origin::Jwt {
                subject: subject.to_owned(),
            },
            scope: Scope::most(scopes.into_iter().filter_map(scope)).ok_or(JwtError::NoScope)?,
            streams: self.streams(&claims)?,
            expires: Some(expires),
        })
    }

    /// A claim that is there and names none opens none.
    fn streams(&self, claims: &Map<String, Value>) -> Result<Streams, JwtError> {
        let Some(claim) = claims.get(&self.streams_claim) else {
            return Ok(Streams::All);
        };
        let names = words(Some(claim), true).ok_or(JwtError::Streams)?;
        let names: Result<BTreeSet<StreamName>, _> = names.into_iter().map(str::parse).collect();
        names.map(Streams::Only).map_err(|_| JwtError::Streams)
    }
}

/// What the token says, once it is sure that a key's owner says it.
fn claims(token: &str, keys: &KeySet) -> Result<Map<String, Value>, JwtError> {
    if token.len() > MOST_BYTES {
        return Err(JwtError::Malformed);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(JwtError::Malformed)?;
    let (header, claims) = message.split_once('.').ok_or(JwtError::Malformed)?;
    let decode = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| JwtError::Malformed);
    let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| JwtError::Malformed)?;
    let algorithm = Algorithm::named(&header.alg).filter(|_| header.crit.is_none());
    let algorithm = algorithm.ok_or(JwtError::Algorithm)?;
    let signature = decode(signature)?;
    let id = header.kid.as_deref();
    if !keys.has_signed(algorithm, id, message.as_bytes(), &signature) {
        return Err(JwtError::Signature);
    }
    serde_json::from_slice(&decode(claims)?).map_err(|_| JwtError::Malformed)
}

/// The texts of a claim that is one text, or a list of them; `split`: one text has several words.
fn words(claim: Option<&Value>, split: bool) -> Option<Vec<&str>> {
    match claim? {
        Value::String(text) if split => Some(text.split_whitespace().collect()),
        Value::String(text) => Some(vec![text]),
        Value::Array(list) => list.iter().map(Value::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

/// A NumericDate, which may have a fraction: the whole seconds before it.
fn seconds(date: &Value) -> Option<UnixTime> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` takes what is out of range for the nearest that is in it"
    )]
    let whole = |date: f64| (date >= 0.0).then_some(date as UnixTime);
    date.as_u64().or_else(|| date.as_f64().and_then(whole))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ring::{
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
    };
    use serde_json::json;

    use super::*;

    const NOW: UnixTime = 1_800_000_000;

    fn pair() -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a pair")
    }

    fn encode(bytes: impl AsRef<[u8]>) -> String {
        BASE64URL_NOPAD.encode(bytes.as_ref())
    }

    fn keys() -> KeySet {
        let public = encode(pair().public_key());
        let keys = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "a", "x": public }] });
        KeySet::parse(&keys.to_string()).expect("keys")
    }

    fn issuer() -> Issuer {
        Issuer {
            name: "https://idp.example".to_owned(),
            audience: "framebridge".to_owned(),
            scope_claim: "scope".to_owned(),
            streams_claim: "streams".to_owned(),
        }
    }

    fn token(header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = pair().sign(message.as_bytes());
        format!("{message}.{}", encode(signature))
    }

    fn good() -> Value {
        json!({
            "iss": "https://idp.example", "aud": "framebridge", "sub": "ada", "exp": NOW + 60, "scope": "openid view control",
        })
    }

    /// A good token but for these claims; `null` leaves one out.
    fn holder(changes: &Value) -> Result<Principal, JwtError> {
        let mut claims = good();
        let fields = claims.as_object_mut().expect("an object");
        for (name, value) in changes.as_object().expect("an object") {
            fields.insert(name.clone(), value.clone());
        }
        fields.retain(|_, value| !value.is_null());
        issuer().holder(&token(&json!({ "alg": "EdDSA", "kid": "a" }), &claims), &keys(), NOW)
    }

    #[test]
    fn token_opens_what_its_claims_say() {
        let ada = holder(&json!({})).expect("good");
        assert_eq!(
            (ada.scope, &ada.streams, ada.expires),
            (Scope::Control, &Streams::All, Some(NOW + 60))
        );
        assert_eq!(ada.to_string(), "jwt ada");
        let door = holder(&json!({ "streams": ["door"], "scope": ["framebridge:view"], "aud": ["x", "framebridge"] }));
        let door = door.expect("good");
        assert_eq!(
            (door.scope, door.streams),
            (Scope::View, Streams::only(["door".parse().expect("a name")]))
        );
        let none = holder(&json!({ "streams": [] })).expect("good");
        assert!(
            !none.streams.has(&"door".parse().expect("a name")),
            "no stream is not every stream"
        );
        assert!(
            holder(&json!({ "exp": 1_800_000_000.5, "nbf": NOW + 20 })).is_err(),
            "it ends in this second"
        );
        assert!(holder(&json!({ "exp": 1_800_000_001.5, "nbf": NOW + 20 })).is_ok());
    }

    #[test]
    fn token_that_lacks_what_it_needs_opens_nothing() {
        for (changes, error) in [
            (json!({ "iss": "https://other.example" }), JwtError::Issuer),
            (json!({ "iss": null }), JwtError::Issuer),
            (json!({ "aud": "other" }), JwtError::Audience),
            (json!({ "aud": "other framebridge" }), JwtError::Audience),
            (json!({ "aud": null }), JwtError::Audience),
            (json!({ "exp": null }), JwtError::Expired),
            (json!({ "exp": NOW }), JwtError::Expired),
            (json!({ "exp": "never" }), JwtError::Expired),
            (json!({ "exp": -1 }), JwtError::Expired),
            (json!({ "nbf": NOW + 60 }), JwtError::TooEarly),
            (json!({ "nbf": "later" }), JwtError::Malformed),
            (json!({ "sub": null }), JwtError::Subject),
            (json!({ "sub": "a\nb" }), JwtError::Subject),
            (json!({ "sub": "a".repeat(300) }), JwtError::Subject),
            (json!({ "streams": 7 }), JwtError::Streams),
            (json!({ "streams": ["no name!"] }), JwtError::Streams),
            (json!({ "scope": "openid viewer" }), JwtError::NoScope),
            (json!({ "scope": null }), JwtError::NoScope),
        ] {
            assert_eq!(holder(&changes), Err(error), "{changes}");
        }
    }

    #[test]
    fn only_the_named_key_and_a_known_algorithm_count() {
        let with = |header: Value| issuer().holder(&token(&header, &good()), &keys(), NOW);
        assert!(with(json!({ "alg": "EdDSA" })).is_ok(), "a token need not name its key");
        for (header, error) in [
            (json!({ "alg": "EdDSA", "kid": "b" }), JwtError::Signature),
            (json!({ "alg": "RS256", "kid": "a" }), JwtError::Signature),
            (json!({ "alg": "none" }), JwtError::Algorithm),
            (json!({ "alg": "HS256", "kid": "a" }), JwtError::Algorithm),
            (
                json!({ "alg": "EdDSA", "crit": ["b64"], "b64": false }),
                JwtError::Algorithm,
            ),
            (json!({}), JwtError::Malformed),
        ] {
            assert_eq!(with(header.clone()), Err(error), "{header}");
        }
        let unsigned = format!("{}.{}.", encode(r#"{"alg":"EdDSA"}"#), encode(good().to_string()));
        assert_eq!(issuer().holder(&unsigned, &keys(), NOW), Err(JwtError::Signature));
    }

    #[test]
    fn es256_is_taken() {
        let random = SystemRandom::new();
        let written = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a pair");
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, written.as_ref(), &random).expect("a pair");
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let keys = json!({ "keys": [{ "kty": "EC", "crv": "P-256", "alg": "ES256", "x": encode(x), "y": encode(y) }] });
        let keys = KeySet::parse(&keys.to_string()).expect("keys");
        let message = format!("{}.{}", encode(r#"{"alg":"ES256"}"#), encode(good().to_string()));
        let signature = pair.sign(&random, message.as_bytes()).expect("a signature");
        let token = format!("{message}.{}", encode(signature));
        assert!(issuer().holder(&token, &keys, NOW).is_ok());
    }

    proptest! {
        #[test]
        fn changed_token_opens_nothing(at in 0_usize..1000, flip in 1_u8..128) {
            let mut changed = token(&json!({ "alg": "EdDSA" }), &good()).into_bytes();
            let at = at % changed.len();
            changed[at] ^= flip;
            if let Ok(changed) = String::from_utf8(changed) {
                prop_assert!(issuer().holder(&changed, &keys(), NOW).is_err());
            }
        }

        #[test]
        fn no_text_is_a_panic(text in ".{0,200}") {
            prop_assert!(issuer().holder(&text, &keys(), NOW).is_err());
        }
    }
}
