//! The few STUN messages that ICE needs (RFC 8489, RFC 8445 section 7), over `rtc-stun`.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use rtc_dtls::crypto_provider::{RTCCryptoProvider, default_provider};
use rtc_stun::{
    attributes::{
        ATTR_ERROR_CODE, ATTR_ICE_CONTROLLED, ATTR_ICE_CONTROLLING, ATTR_MESSAGE_INTEGRITY, ATTR_PRIORITY,
        ATTR_USE_CANDIDATE, ATTR_USERNAME, AttrType,
    },
    fingerprint::FINGERPRINT,
    integrity::MessageIntegrity,
    message::{
        BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, Getter, Message, MessageType, Setter, TransactionId,
        is_stun_message,
    },
    xoraddr::XorMappedAddress,
};

use crate::random;

/// Which end of ICE a message says its sender is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IceRole {
    /// It nominates.
    Controlling,
    /// It follows.
    Controlled,
}

/// Names a transaction.
pub type Transaction = [u8; 12];

/// A decoded STUN message; not yet authenticated.
#[derive(Debug)]
pub struct Stun(Message);

/// The kinds of message that ICE knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A connectivity or consent check.
    Request,
    /// It worked.
    Success,
    /// It did not.
    Error,
}

impl Kind {
    fn wire(self) -> MessageType {
        match self {
            Self::Request => BINDING_REQUEST,
            Self::Success => BINDING_SUCCESS,
            Self::Error => BINDING_ERROR,
        }
    }
}

fn provider() -> &'static Arc<dyn RTCCryptoProvider> {
    static PROVIDER: OnceLock<Arc<dyn RTCCryptoProvider>> = OnceLock::new();
    #[expect(
        clippy::expect_used,
        reason = "fails only in a build of the family without its ring backend"
    )]
    PROVIDER.get_or_init(|| default_provider().expect("ring is compiled in"))
}

/// Whether a datagram may be STUN (RFC 7983: first byte 0 to 3, and the magic cookie).
pub fn is_stun(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|&first| first < 4) && is_stun_message(datagram)
}

/// The receiver's half of USERNAME in a check, without decoding the rest: how a stranger's first packet finds its
/// viewer. An answer may have a USERNAME, too (libnice's do), but that is the one of the request, whose receiver was the
/// other end.
pub fn peek_ufrag(datagram: &[u8]) -> Option<&str> {
    let is_request = is_stun(datagram) && datagram[..2] == BINDING_REQUEST.value().to_be_bytes();
    let mut rest = datagram.get(20..).filter(|_| is_request)?;
    loop {
        let kind = u16::from_be_bytes([*rest.first()?, *rest.get(1)?]);
        let length = usize::from(u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]));
        if kind == ATTR_MESSAGE_INTEGRITY.value() {
            return None;
        }
        if kind == ATTR_USERNAME.value() {
            let username = std::str::from_utf8(rest.get(4..4 + length)?).ok()?;
            return username.split(':').next();
        }
        rest = rest.get(4 + length.next_multiple_of(4)..)?;
    }
}

impl Stun {
    /// Decodes a datagram; `None` if it is not a well-formed binding message.
    pub fn decode(datagram: &[u8]) -> Option<Self> {
        let mut message = Message::new();
        message.unmarshal_binary(datagram).ok()?;
        let stun = Self(message);
        stun.kind().map(|_| stun)
    }

    /// What kind of message it is; `None` for indications and other methods.
    pub fn kind(&self) -> Option<Kind> {
        let known = [Kind::Request, Kind::Success, Kind::Error];
        known.into_iter().find(|kind| kind.wire() == self.0.typ)
    }

    /// Its transaction.
    pub fn transaction(&self) -> Transaction {
        self.0.transaction_id.0
    }

    /// Whether MESSAGE-INTEGRITY was made with `password`.
    pub fn is_authentic(&mut self, password: &str) -> bool {
        MessageIntegrity::check(&mut self.0, password.as_bytes(), provider().crypto()).is_ok()
    }

    /// An attribute that MESSAGE-INTEGRITY covers. What stands behind it anybody may have added (RFC 8489 section 14.5).
    fn attribute(&self, kind: AttrType) -> Option<&[u8]> {
        let attributes = self.0.attributes.0.iter();
        let mut covered = attributes.take_while(|it| it.typ != ATTR_MESSAGE_INTEGRITY);
        covered.find(|it| it.typ == kind).map(|it| it.value.as_slice())
    }

    /// USERNAME, receiver's half first.
    pub fn username(&self) -> Option<(String, String)> {
        let username = std::str::from_utf8(self.attribute(ATTR_USERNAME)?).ok()?;
        username
            .split_once(':')
            .map(|(ours, theirs)| (ours.to_owned(), theirs.to_owned()))
    }

    /// PRIORITY, or 0.
    pub fn priority(&self) -> u32 {
        let value = self.attribute(ATTR_PRIORITY).and_then(|value| value.try_into().ok());
        value.map_or(0, u32::from_be_bytes)
    }

    /// Whether it nominates its pair.
    pub fn nominates(&self) -> bool {
        self.attribute(ATTR_USE_CANDIDATE).is_some()
    }

    /// The role its sender claims.
    pub fn role(&self) -> Option<IceRole> {
        let has = |kind| self.attribute(kind).is_some();
        if has(ATTR_ICE_CONTROLLING) {
            Some(IceRole::Controlling)
        } else {
            has(ATTR_ICE_CONTROLLED).then_some(IceRole::Controlled)
        }
    }

    /// The address our request seemed to come from.
    pub fn mapped_address(&self) -> Option<SocketAddr> {
        let mut address = XorMappedAddress::default();
        address.get_from(&self.0).ok()?;
        Some(SocketAddr::new(address.ip, address.port))
    }
}

/// A check to send.
#[derive(Debug, Clone, Copy)]
pub struct Check<'a> {
    /// The receiver's ufrag, then ours.
    pub ufrags: (&'a str, &'a str),
    /// The receiver's password.
    pub password: &'a str,
    /// Our role.
    pub role: IceRole,
    /// The priority our end would have as a peer-reflexive candidate.
    pub priority: u32,
    /// Nominate the pair (controlling only).
    pub nominate: bool,
}

impl Check<'_> {
    /// The request's transaction and bytes.
    pub fn encode(&self) -> (Transaction, Vec<u8>) {
        let transaction = random::bytes();
        let mut message = start(BINDING_REQUEST, transaction);
        message.add(ATTR_USERNAME, format!("{}:{}", self.ufrags.0, self.ufrags.1).as_bytes());
        let role = match self.role {
            IceRole::Controlling => ATTR_ICE_CONTROLLING,
            IceRole::Controlled => ATTR_ICE_CONTROLLED,
        };
        // The tie-breaker: we never change our role, so it never wins.
        message.add(role, &[0; 8]);
        message.add(ATTR_PRIORITY, &self.priority.to_be_bytes());
        if self.nominate {
            message.add(ATTR_USE_CANDIDATE, &[]);
        }
        (transaction, finish(message, self.password))
    }
}

/// What a server is asked that says where a datagram came from: the request's transaction and bytes.
pub(crate) fn question() -> (Transaction, Vec<u8>) {
    let transaction = random::bytes();
    let mut message = start(BINDING_REQUEST, transaction);
    // Fails never: there is room for it.
    _ = FINGERPRINT.add_to(&mut message);
    (transaction, message.raw)
}

/// The answer to an authentic request: where it came from.
pub fn success(transaction: Transaction, from: SocketAddr, password: &str) -> Vec<u8> {
    let mut message = start(BINDING_SUCCESS, transaction);
    let mapped = XorMappedAddress {
        ip: from.ip(),
        port: from.port(),
    };
    // The only failure is an address of the wrong length, which `IpAddr` excludes.
    if mapped.add_to(&mut message).is_err() {
        return Vec::new();
    }
    finish(message, password)
}

/// 487: both ends claim the same role, and we keep ours (RFC 8445 section 7.3.1.1).
pub fn role_conflict(transaction: Transaction, password: &str) -> Vec<u8> {
    let mut message = start(BINDING_ERROR, transaction);
    message.add(ATTR_ERROR_CODE, b"\0\0\x04\x57Role Conflict");
    finish(message, password)
}

/// A message with any attributes, signed.
pub(crate) fn signed(kind: Kind, transaction: Transaction, attributes: &[(u16, &[u8])], password: &str) -> Vec<u8> {
    let mut message = start(kind.wire(), transaction);
    for (kind, value) in attributes {
        message.add(AttrType(*kind), value);
    }
    finish(message, password)
}

fn start(kind: MessageType, transaction: Transaction) -> Message {
    let mut message = Message::new();
    message.reset();
    message.transaction_id = TransactionId(transaction);
    message.set_type(kind);
    message.write_header();
    message
}

fn finish(mut message: Message, password: &str) -> Vec<u8> {
    let integrity = MessageIntegrity::new_short_term_integrity_with_provider(password.to_owned(), provider().crypto());
    let finished = integrity
        .add_to(&mut message)
        .and_then(|()| FINGERPRINT.add_to(&mut message));
    // Both fail only on a broken crypto provider; an empty datagram is not sent.
    if finished.is_ok() { message.raw } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check() -> (Transaction, Vec<u8>) {
        Check {
            ufrags: ("0abc", "them"),
            password: "secretsecretsecretsecret",
            role: IceRole::Controlling,
            priority: 77,
            nominate: true,
        }
        .encode()
    }

    #[test]
    fn a_check_says_what_it_was_made_of() {
        let (transaction, datagram) = check();
        assert!(is_stun(&datagram));
        assert_eq!(peek_ufrag(&datagram), Some("0abc"));
        let mut stun = Stun::decode(&datagram).unwrap();
        assert_eq!((stun.kind(), stun.transaction()), (Some(Kind::Request), transaction));
        assert_eq!(stun.username(), Some(("0abc".to_owned(), "them".to_owned())));
        assert_eq!(
            (stun.priority(), stun.nominates(), stun.role()),
            (77, true, Some(IceRole::Controlling))
        );
        assert!(stun.is_authentic("secretsecretsecretsecret"));
        assert!(!stun.is_authentic("another"));
    }

    #[test]
    fn answers_name_the_transaction_and_the_address() {
        for from in ["192.0.2.7:4000", "[2001:db8::1]:4000"] {
            let from: SocketAddr = from.parse().unwrap();
            let mut stun = Stun::decode(&success([7; 12], from, "pw")).unwrap();
            assert_eq!((stun.kind(), stun.transaction()), (Some(Kind::Success), [7; 12]));
            assert_eq!(stun.mapped_address(), Some(from));
            assert!(stun.is_authentic("pw"));
        }
        let mut stun = Stun::decode(&role_conflict([8; 12], "pw")).unwrap();
        assert_eq!((stun.kind(), stun.transaction()), (Some(Kind::Error), [8; 12]));
        assert!(stun.is_authentic("pw"));
    }

    #[test]
    fn the_username_in_an_answer_leads_nowhere() {
        let mut answer = start(BINDING_SUCCESS, [7; 12]);
        answer.add(ATTR_USERNAME, b"them:0abc");
        let answer = finish(answer, "secretsecretsecretsecret");
        assert!(is_stun(&answer));
        assert_eq!(peek_ufrag(&answer), None);
    }

    #[test]
    fn what_stands_behind_the_integrity_is_ignored() {
        const PASSWORD: &str = "secretsecretsecretsecret";
        let integrity =
            MessageIntegrity::new_short_term_integrity_with_provider(PASSWORD.to_owned(), provider().crypto());
        let mut message = start(BINDING_REQUEST, [7; 12]);
        integrity.add_to(&mut message).unwrap();
        message.add(ATTR_USERNAME, b"0abc:them");
        message.add(ATTR_ICE_CONTROLLED, &[0; 8]);
        message.add(ATTR_PRIORITY, &[0, 0, 0, 77]);
        message.add(ATTR_USE_CANDIDATE, &[]);
        let mut stun = Stun::decode(&message.raw).unwrap();
        assert!(stun.is_authentic(PASSWORD));
        assert_eq!((stun.username(), stun.role(), stun.priority()), (None, None, 0));
        assert!(!stun.nominates());
        assert_eq!(peek_ufrag(&message.raw), None);
    }

    #[test]
    fn damaged_messages_are_no_messages() {
        let (_, datagram) = check();
        for length in 0..datagram.len() {
            let cut = &datagram[..length];
            assert!(Stun::decode(cut).is_none());
            let _: Option<&str> = peek_ufrag(cut);
        }
        for at in 0..datagram.len() - 8 {
            let mut touched = datagram.clone();
            touched[at] ^= 0x55;
            assert!(Stun::decode(&touched).is_none_or(|mut stun| !stun.is_authentic("secretsecretsecretsecret")));
            let _: Option<&str> = peek_ufrag(&touched);
        }
    }
}
