//! Cookies: who was let in and until when, signed. Nothing about them is kept, so that they outlive the process that gave them.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use framebridge_proto::StreamName;
use ring::hmac;

use crate::{
    UnixTime,
    principal::{Origin, Principal, Streams},
    register::Register,
    token::TokenId,
};

/// The longest cookie that is looked at, bytes: a link's with a hundred streams.
pub const MAX_COOKIE: usize = 4096;

/// What cookies are signed with.
pub struct CookieKey(hmac::Key);

impl CookieKey {
    /// A key of 256 random bits.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// A cookie's value that says until `until` who `principal` is; `None` for one who needs none.
    pub fn bake(&self, principal: &Principal, until: UnixTime) -> Option<String> {
        let until = principal.expires.map_or(until, |expires| expires.min(until));
        let claim = match &principal.origin {
            Origin::Token { id, .. } => format!("token {until} {}", id.as_str()),
            Origin::Link { id } => {
                let streams = match &principal.streams {
                    Streams::All => String::new(),
                    Streams::Only(named) => named.iter().map(|name| format!(" {name}")).collect(),
                };
                format!("link {until} {id} {}{streams}", principal.scope)
            }
            Origin::Jwt { subject } => {
                let subject = BASE64URL_NOPAD.encode(subject.as_bytes());
                let streams = match &principal.streams {
                    Streams::All => "all".to_owned(),
                    Streams::Only(named) => named
                        .iter()
                        .fold("only".to_owned(), |text, name| format!("{text} {name}")),
                };
                format!("jwt {until} {subject} {} {streams}", principal.scope)
            }
            Origin::Local | Origin::Anyone | Origin::Share | Origin::Push { .. } => return None,
        };
        let tag = hmac::sign(&self.0, claim.as_bytes());
        let encode = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        Some(format!("{}.{}", encode(claim.as_bytes()), encode(tag.as_ref())))
    }

    /// Who holds a cookie, and until when it says so, if we gave it and what it was given for still opens something.
    pub fn read(&self, cookie: &str, register: &Register, now: UnixTime) -> Option<(Principal, UnixTime)> {
        if cookie.len() > MAX_COOKIE {
            return None;
        }
        let (claim, tag) = cookie.split_once('.')?;
        let claim = BASE64URL_NOPAD.decode(claim.as_bytes()).ok()?;
        let tag = BASE64URL_NOPAD.decode(tag.as_bytes()).ok()?;
        hmac::verify(&self.0, &claim, &tag).ok()?;
        let claim = String::from_utf8(claim).ok()?;
        let mut words = claim.split(' ');
        let kind = words.next()?;
        let until: UnixTime = words.next()?.parse().ok()?;
        if until <= now {
            return None;
        }
        let id = words.next()?;
        let principal = match kind {
            "token" => register.of(&TokenId::from(id), now)?,
            "link" => Principal {
                origin: Origin::Link { id: id.to_owned() },
                scope: words.next()?.parse().ok()?,
                streams: Streams::only(
                    words
                        .map(str::parse::<StreamName>)
                        .collect::<Result<Vec<_>, _>>()
                        .ok()?,
                ),
                expires: Some(until),
            },
            "jwt" => Principal {
                origin: Origin::Jwt {
                    subject: String::from_utf8(BASE64URL_NOPAD.decode(id.as_bytes()).ok()?).ok()?,
                },
                scope: words.next()?.parse().ok()?,
                streams: match words.next()? {
                    "all" => Streams::All,
                    _only => Streams::Only(words.map(str::parse).collect::<Result<_, _>>().ok()?),
                },
                expires: Some(until),
            },
            _ => return None,
        };
        Some((principal, until))
    }
}

impl fmt::Debug for CookieKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{principal::Scope, register::Row, token};

    fn register() -> Register {
        let mut register = Register::default();
        let row = Row {
            name: "wall".parse().expect("a good name"),
            hash: token::hash("secret"),
            scope: Scope::Control,
            streams: Streams::All,
            expires: Some(500),
        };
        register.add(row).expect("the first");
        register
    }

    fn key() -> CookieKey {
        CookieKey::new(&[1; 32])
    }

    proptest! {
        #[test]
        fn changed_cookie_opens_nothing(at in 0_usize..200, flip in 1_u8..128) {
            let holder = register().find("secret", 0).expect("the token");
            let mut cookie = key().bake(&holder, 100).expect("a cookie").into_bytes();
            let at = at % cookie.len();
            cookie[at] ^= flip;
            if let Ok(cookie) = String::from_utf8(cookie) {
                prop_assert_eq!(key().read(&cookie, &register(), 0), None);
            }
        }

        #[test]
        fn no_text_is_a_panic(text in ".{0,200}") {
            prop_assert_eq!(key().read(&text, &register(), 0), None);
        }
    }

    #[test]
    fn cookie_of_a_token_ends_with_itself_and_with_the_token() {
        let holder = register().find("secret", 0).expect("the token");
        let cookie = key().bake(&holder, 100).expect("a cookie");
        assert_eq!(key().read(&cookie, &register(), 99), Some((holder.clone(), 100)));
        assert_eq!(key().read(&cookie, &register(), 100), None);
        assert_eq!(key().read(&cookie, &Register::default(), 99), None);
        assert_eq!(CookieKey::new(&[2; 32]).read(&cookie, &register(), 99), None);
        let long = key().bake(&holder, 10_000).expect("a cookie");
        assert_eq!(key().read(&long, &register(), 499).map(|(_, until)| until), Some(500));
        assert_eq!(key().read(&long, &register(), 500), None);
    }

    #[test]
    fn cookie_of_a_link_says_what_the_link_opened() {
        let door: StreamName = "door".parse().expect("a good name");
        let holder = Principal::of_link("ab12".into(), Scope::View, Streams::only([door]), 100);
        let cookie = key().bake(&holder, 1000).expect("a cookie");
        assert_eq!(key().read(&cookie, &Register::default(), 99), Some((holder, 100)));
        assert_eq!(key().read(&cookie, &Register::default(), 100), None);
    }

    #[test]
    fn cookie_of_a_jwt_opens_what_it_opened_and_no_longer() {
        let door: StreamName = "door".parse().expect("a good name");
        for streams in [Streams::All, Streams::Only([door].into()), Streams::Only([].into())] {
            let holder = Principal {
                origin: Origin::Jwt {
                    subject: "Ada L. <ada@idp>".to_owned(),
                },
                streams,
                ..Principal::of_link(String::new(), Scope::Control, Streams::All, 100)
            };
            let cookie = key().bake(&holder, 1000).expect("a cookie");
            assert_eq!(key().read(&cookie, &Register::default(), 99), Some((holder, 100)));
            assert_eq!(key().read(&cookie, &Register::default(), 100), None);
        }
    }

    #[test]
    fn who_needs_none_gets_none() {
        assert_eq!(key().bake(&Principal::local(), 100), None);
        assert_eq!(key().bake(&Principal::anyone(Scope::View), 100), None);
    }
}
