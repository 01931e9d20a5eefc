//! Who asks, and what they may do: how a principal is found in what a request carries, and which scope opens what.
//!
//! Everything here is decided from what it is given. Nothing reads a clock, a file or a socket: the caller brings the time (whole
//! seconds since the Unix epoch), fresh random bytes, and the text of a file.
//!
//! A JWT opens by what its issuer says in it; who holds it is known by `sub`, and nothing of it is kept.
//!
//! A token opens by its hash alone, and the hash is all that is kept. A cookie says who was let in and until when, signed with
//! a key of the server's, so that no table of sessions has to outlive the process.

mod certificate;
mod client;
mod cookie;
mod jwks;
mod jwt;
mod principal;
mod register;
mod token;
mod turn;

pub use certificate::{Certificate, CertificateError, SelfSigned, self_signed};
pub use client::{Cidr, InvalidCidr, client_address, rate_key};
pub use cookie::{CookieKey, MAX_COOKIE};
pub use jwks::{KeySet, KeySetError};
pub use jwt::{Issuer, JwtError};
pub use principal::{Denied, InvalidScope, Origin, Principal, Scope, Streams};
pub use register::{Register, RegisterError, Row};
pub use token::{Hash, InvalidTokenName, TokenId, TokenName, hash, make, secrets_match};
pub use turn::Turn;

/// Whole seconds since the Unix epoch.
pub type UnixTime = u64;
