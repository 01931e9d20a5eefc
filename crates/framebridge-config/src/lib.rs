//! The operator's settings: `framebridge.toml`, the environment's `FRAMEBRIDGE_*` and `--stream` flags become
//! validated [`Settings`].
//!
//! [`Settings::load`] reads the file and the environment; [`Settings::parse`] interprets them and is pure. One
//! reader reads every setting and knows its origin. An invalid value and an unknown key are problems, named by key
//! and line. A number out of range is clamped, with a warning that names it in the same way. All problems are
//! reported at once.
//!
//! [`Settings::for_process`] writes what one process needs to a file of its own, which [`Settings::handed`] reads there.

mod file;
mod handed;
mod hooks;
mod http;
mod ice_url;
mod listen;
mod log;
mod mask;
mod near;
mod place;
mod push;
mod reader;
mod settings;
mod source;
mod streams;
mod studio;

pub use file::read_file;
pub use handed::Change;
pub use hooks::{Hook, HookTarget};
pub use http::{Auth, AuthMode, Http, Jwt, Tls};
pub use ice_url::{NoIceUrl, ice_url};
pub use listen::listen_address;
pub use log::{Log, check_filter};
pub use mask::without_secrets;
pub use near::{did_you_mean, nearest};
pub use place::{Host, NoPlace, Place};
pub use push::Push;
pub use reader::{Entry, Problem};
pub use settings::{ConfigError, DEFAULT_FILE, IceServer, Input, Manage, Settings, Supervise, Webrtc};
pub use source::{
    Address, CameraFormat, CameraOptions, Door, InvalidSource, Protocol, Region, Slate, Source, SourceTls, Traits,
    program,
};
pub use streams::{Asked, EncoderChoice, Keep, Stream};
pub use studio::{Studio, StudioAllow, StudioToken};
