//! Why an offer was refused.

/// Why an offer was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OfferError {
    /// It can't be read or lacks something.
    Malformed(String),
    /// No section offers an H.264 that we send.
    NoAcceptableCodec,
    /// It is right, but asks for a transport that we don't have.
    Unacceptable(String),
}
