//! Messages as bytes: the only file that knows bincode.
//!
//! On the wire, one message is `u32 length | u32 header length | header in bincode | payload as it is`, integers big
//! endian; `length` counts what follows it. A message without a payload has none of those last bytes.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use framebridge_proto::{
    bridge::{FromBridge, ToBridge},
    encoder::{FromEncoder, ToEncoder},
    limits::{MAX_CONTROL_MESSAGE, MAX_MEDIA_MESSAGE},
    supervisor::{FromSupervisor, ToSupervisor},
};
use serde::{Serialize, de::DeserializeOwned};

/// Bytes before the payload's header: its length.
const HEADER_PREFIX: usize = 4;

/// Something that goes over a link, in one direction.
pub trait Message: Serialize + DeserializeOwned + Send + 'static {
    /// The largest one, header and payload together, in bytes.
    const MAX_LEN: usize;

    /// The bytes that travel beside the encoded header.
    fn payload(&self) -> Option<&Bytes> {
        None
    }

    /// Puts back what travelled beside the header. `false`: this message carries nothing there.
    fn attach(&mut self, payload: Bytes) -> bool {
        payload.is_empty()
    }
}

impl Message for ToEncoder {
    const MAX_LEN: usize = MAX_CONTROL_MESSAGE;
}

impl Message for FromEncoder {
    const MAX_LEN: usize = MAX_MEDIA_MESSAGE;

    fn payload(&self) -> Option<&Bytes> {
        if let Self::Frame(unit) = self {
            Some(&unit.payload)
        } else {
            None
        }
    }

    fn attach(&mut self, payload: Bytes) -> bool {
        if let Self::Frame(unit) = self {
            unit.payload = payload;
            return true;
        }
        payload.is_empty()
    }
}

impl Message for ToBridge {
    const MAX_LEN: usize = MAX_CONTROL_MESSAGE;
}

impl Message for FromBridge {
    const MAX_LEN: usize = MAX_CONTROL_MESSAGE;
}

impl Message for ToSupervisor {
    const MAX_LEN: usize = MAX_CONTROL_MESSAGE;
}

impl Message for FromSupervisor {
    const MAX_LEN: usize = MAX_CONTROL_MESSAGE;
}

/// A message ready for any number of links: encoded once, its payload shared.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// Length, header length, header.
    pub(crate) head: Bytes,
    /// The payload, not copied.
    pub(crate) payload: Bytes,
}

impl Encoded {
    /// All of it in one piece, as it goes over the wire. Copies; links don't.
    pub fn to_bytes(&self) -> Bytes {
        [&self.head[..], &self.payload[..]].concat().into()
    }
}

/// Why a message can't be sent.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The codec refused it.
    #[error("a message could not be encoded")]
    Codec(#[source] bincode::error::EncodeError),
    /// It weighs more than its channel allows.
    #[error("a message of {len} bytes is over its channel's {max}")]
    TooLong {
        /// What it weighs.
        len: usize,
        /// The cap.
        max: usize,
    },
}

/// Why received bytes are no message.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The header's length points outside the message.
    #[error("a message is shorter than its header")]
    Truncated,
    /// The codec refused the header.
    #[error("a message's header is malformed")]
    Codec(#[source] bincode::error::DecodeError),
    /// The header's bytes were not used up.
    #[error("a message's header has {0} bytes too many")]
    TrailingBytes(usize),
    /// Bytes beside a header that has no place for them.
    #[error("a message carries a payload that it has no place for")]
    UnexpectedPayload,
}

/// Headers may claim no more memory than the largest message has: bincode aborts the process without a limit.
fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<MAX_MEDIA_MESSAGE>()
}

/// Encodes `message` once, for as many links as want it.
///
/// # Errors
/// It is over its channel's cap, or the codec refuses it.
pub fn encode<M: Message>(message: &M) -> Result<Encoded, EncodeError> {
    let header = bincode::serde::encode_to_vec(message, config()).map_err(EncodeError::Codec)?;
    let payload = message.payload().cloned().unwrap_or_default();
    let len = HEADER_PREFIX + header.len() + payload.len();
    let too_long = EncodeError::TooLong { len, max: M::MAX_LEN };
    let (Ok(wire_len), Ok(header_len)) = (u32::try_from(len), u32::try_from(header.len())) else {
        return Err(too_long);
    };
    if len > M::MAX_LEN {
        return Err(too_long);
    }
    let mut head = BytesMut::with_capacity(4 + HEADER_PREFIX + header.len());
    head.put_u32(wire_len);
    head.put_u32(header_len);
    head.extend_from_slice(&header);
    Ok(Encoded {
        head: head.freeze(),
        payload,
    })
}

/// Decodes what followed the length prefix. The payload is a slice of `bytes`.
///
/// # Errors
/// The bytes are no message of this type; the connection they came on has to end.
pub fn decode<M: Message>(mut bytes: Bytes) -> Result<M, DecodeError> {
    if bytes.len() < HEADER_PREFIX {
        return Err(DecodeError::Truncated);
    }
    let header_len = usize::try_from(bytes.get_u32()).map_err(|_overflow| DecodeError::Truncated)?;
    if header_len > bytes.len() {
        return Err(DecodeError::Truncated);
    }
    let header = bytes.split_to(header_len);
    let (mut message, used): (M, usize) =
        bincode::serde::decode_from_slice(&header, config()).map_err(DecodeError::Codec)?;
    if used != header_len {
        return Err(DecodeError::TrailingBytes(header_len - used));
    }
    if message.attach(bytes) {
        Ok(message)
    } else {
        Err(DecodeError::UnexpectedPayload)
    }
}
