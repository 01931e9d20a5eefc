//! Identifiers in frames and addresses.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Why an id was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no id: 32 hexadecimal digits are expected")]
pub struct InvalidId(pub String);

/// 128 bits, written as 32 hexadecimal digits.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(u128);

        impl $name {
            /// The id with these bits; where they come from is the caller's business.
            pub fn from_bits(bits: u128) -> Self {
                Self(bits)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let digits = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
                u128::from_str_radix(text, 16)
                    .ok()
                    .filter(|_| digits)
                    .map(Self)
                    .ok_or_else(|| InvalidId(text.chars().take(64).collect()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }
    };
}

id! {
    /// Which box it is, over all lives of its processes: with its token it finds its session again.
    BoxId
}

id! {
    /// What stands in a public address after `/s/`: a session or a share. Not to be guessed.
    PublicId
}

id! {
    /// One job, however often it is offered or its result is sent.
    JobId
}

/// One request through the session; unique within one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RpcId(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_from_text_and_nothing_else_does() {
        let id = PublicId::from_bits(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(PublicId::from_bits(1).to_string().len(), 32);
        for bad in [
            "",
            "1",
            &"0".repeat(33),
            &"A".repeat(32),
            &"+".repeat(32),
            &format!("+{}", "0".repeat(31)),
        ] {
            assert!(bad.parse::<PublicId>().is_err(), "{bad}");
        }
    }
}
