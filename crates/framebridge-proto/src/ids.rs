//! Identifiers that cross process borders.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A stream's name: 1 to 32 of `a-z 0-9 - _`, starting with a letter or digit, so that it can stand in a URL, a file
/// name and a unit name as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamName(String);

/// Why a [`StreamName`] was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a stream name: use 1 to 32 of a-z, 0-9, - and _, starting with a letter or digit")]
pub struct InvalidStreamName(pub String);

impl StreamName {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 32;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StreamName {
    type Err = InvalidStreamName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = text.as_bytes();
        let well_formed = (1..=Self::MAX_LEN).contains(&bytes.len())
            && bytes.iter().all(|&b| allowed(b) || b == b'-' || b == b'_')
            && allowed(bytes[0]);
        if well_formed {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidStreamName(text.to_owned()))
        }
    }
}

impl TryFrom<String> for StreamName {
    type Error = InvalidStreamName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<StreamName> for String {
    fn from(name: StreamName) -> Self {
        name.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a process is, as its handshake says. The number is the wire's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Role {
    /// Runs and judges the others.
    Supervisor = 1,
    /// Captures and encodes one stream.
    Encoder = 2,
    /// Serves viewers.
    Signaling = 3,
    /// Holds the session to a studio.
    Bridge = 4,
    /// An operator's command, a test or a tool.
    Operator = 5,
}

impl Role {
    /// The role's name, which is also its binary's.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Supervisor => "supervisor",
            Self::Encoder => "encoder",
            Self::Signaling => "signaling",
            Self::Bridge => "bridge",
            Self::Operator => "operator",
        }
    }

    /// The role with this number on the wire.
    pub fn from_wire(number: u8) -> Option<Self> {
        [
            Self::Supervisor,
            Self::Encoder,
            Self::Signaling,
            Self::Bridge,
            Self::Operator,
        ]
        .into_iter()
        .find(|role| *role as u8 == number)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// 128 random bits that a process draws once, when it starts: tells one life of a process from the next even when
/// the pid is the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceId(pub [u8; 16]);

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InstanceId({self})")
    }
}

/// Pairs a response with its request; unique per connection, chosen by who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_names_are_safe_in_urls_and_file_names() {
        for good in ["test", "a", "0cam", "front-door_2", &"x".repeat(32)] {
            assert_eq!(good.parse::<StreamName>().map(String::from), Ok(good.to_owned()));
        }
        for bad in ["", "-a", "_a", "Test", "a b", "a/b", "..", "ä", "a.b", &"x".repeat(33)] {
            assert_eq!(bad.parse::<StreamName>(), Err(InvalidStreamName(bad.to_owned())));
        }
    }

    #[test]
    fn every_role_comes_back_from_its_number() {
        for number in 0..=u8::MAX {
            assert!(Role::from_wire(number).is_none_or(|role| role as u8 == number));
        }
        assert_eq!(Role::from_wire(2), Some(Role::Encoder));
    }
}
