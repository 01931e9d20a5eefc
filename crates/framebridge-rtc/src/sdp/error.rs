//! Why an offer was refused.

/// Why an offer was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OfferError {
    /// It can't be read or lacks something.
    Malformed(String),
    /// No section offers an H.264 that we send.
    NoAcceptableCodec,
    /// The H.264 that it offers is of packetization mode 0 alone.
    OnlyMode0,
    /// It is right, but asks for a transport that we don't have.
    Unacceptable(String),
}
