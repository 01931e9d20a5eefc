//! Frames as text.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{ToBox, ToStudio, close, limits::MAX_FRAME};

/// Why a text is no frame. Either ends the session.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It is longer than any frame may be.
    #[error("a frame of {len} bytes, of which {MAX_FRAME} are the most")]
    TooLong {
        /// Its length, bytes.
        len: usize,
    },
    /// It is not JSON, or not of the shape its type has.
    #[error("a malformed frame")]
    Malformed(#[source] serde_json::Error),
}

impl DecodeError {
    /// The code of the close frame that follows.
    pub fn close_code(&self) -> u16 {
        match self {
            Self::TooLong { .. } => close::TOO_LONG,
            Self::Malformed(_) => close::MALFORMED,
        }
    }
}

/// The version that a hello tells, whatever else of it has changed since; `None`: it is no hello.
pub fn hello_version(text: &str) -> Option<u16> {
    #[derive(Deserialize)]
    struct Told {
        r#type: String,
        version: u16,
    }
    let told: Told = serde_json::from_str(text).ok()?;
    (told.r#type == "hello").then_some(told.version)
}

/// What travels: [`ToStudio`] or [`ToBox`].
pub trait Frame: Serialize + DeserializeOwned {
    /// Reads one frame. One of a type that this side does not know comes out as `Unknown`.
    ///
    /// # Errors
    /// The text is too long or malformed.
    fn decode(text: &str) -> Result<Self, DecodeError> {
        if text.len() > MAX_FRAME {
            return Err(DecodeError::TooLong { len: text.len() });
        }
        serde_json::from_str(text).map_err(DecodeError::Malformed)
    }

    /// The frame as text.
    fn encode(&self) -> String {
        serde_json::to_string(self).expect("frames hold nothing that JSON can't")
    }
}

impl Frame for ToStudio {}
impl Frame for ToBox {}
