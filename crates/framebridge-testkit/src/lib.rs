//! A light WHEP viewer for tests and benches: it connects like a browser, then counts packets instead of decoding
//! pictures, so that thousands of viewers fit on the machine under test.
//!
//! Development only; no daemon depends on it.

mod arrivals;
pub mod bench;
pub mod conformance;
mod pictures;
mod reception;
mod seat;
mod viewer;
pub mod whep;

pub use framebridge_rtc::dtls::Identity;
pub use pictures::Pictures;
pub use reception::Reception;
pub use seat::{Seat, watch};
pub use viewer::{AnswerError, Options, Viewer};
