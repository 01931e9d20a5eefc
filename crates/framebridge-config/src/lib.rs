//! What the operator asked for: `framebridge.toml`, `FRAMEBRIDGE_*` environment and `--stream` flags become validated
//! [`Settings`].
//!
//! Reading files and the environment ([`Settings::load`]) is apart from making sense of them ([`Settings::parse`],
//! pure). Every setting is read through one reader, which knows where each value came from: a value that makes no
//! sense is a problem named by key and line, a number out of range is clamped with a warning named alike, and an
//! unknown key is a problem too. All problems are reported at once.

mod http;
mod mask;
mod reader;
mod settings;
mod source;
mod streams;
mod studio;

pub use http::{Auth, AuthMode, Http, Tls};
pub use reader::{Entry, Problem};
pub use settings::{ConfigError, IceServer, Input, Log, Manage, Settings, Supervise, Webrtc};
pub use source::{InvalidSource, Region, Slate, Source};
pub use streams::{EncoderChoice, Stream};
pub use studio::Studio;
