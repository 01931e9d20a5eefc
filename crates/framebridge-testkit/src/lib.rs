//! What tests and benches watch with: a light WHEP viewer of the project's own, which connects in full and then
//! counts packets instead of decoding pictures, so that thousands of them fit on the machine under test.
//!
//! Development only; no daemon depends on it.

pub mod bench;
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
