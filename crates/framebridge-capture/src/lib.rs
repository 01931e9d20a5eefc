//! Sources and encoders behind a safe API: the only crate that knows FFmpeg.
//!
//! Three steps, each blocking and each on a thread of the caller's, so that a wedged source can be told from a
//! wedged encoder: a [`Source`] is opened, read and decoded into [`Picture`]s; the caller thins them out; an
//! [`Encoder`] scales and encodes them into access units, whose bytes are never copied. Besides, [`choose`] finds
//! an encoder that opens on this machine, [`image()`] makes a snapshot, [`clip()`] makes an MP4 of encoded frames,
//! [`Interrupt`] makes a blocked thread return, and a [`Desktop`] is steered.
//!
//! This crate has no retries and no policy, and a thread only where an RTSP camera or a command is spoken with. A call may block for ever where FFmpeg does (a stopped X
//! server, a FIFO without a writer). The caller watches for that and ends the process with [`terminate`].

mod annexb;
mod black;
mod clip;
mod colour;
mod decode;
mod desktop;
mod encode;
mod error;
mod ffi;
mod image;
mod interrupt;
mod pace;
mod picture;
mod rtsp;
mod scale;
mod shape;
mod slate;
mod source;
mod stamp;
mod text;
mod webcam;
mod wide;
mod x11;

use std::sync::Once;

pub use annexb::nal_types;
pub use clip::{Clip, ClipError, clip};
pub use colour::Colours;
pub use decode::{DecodeError, FrameDecoder, last_picture};
pub use desktop::{Desktop, DesktopError};
pub use encode::{Choice, Codec, Config as EncoderConfig, EncodeError, EncodedFrame, Encoder, choose, probe};
pub use error::FfmpegError;
pub use image::{ImageError, image};
pub use interrupt::Interrupt;
pub use picture::{Picture, monotonic_ns};
pub use rtsp::{CameraError, TrustError};
pub use scale::{ScaleError, Scaler, fit};
pub use source::{
    Came, Config as SourceConfig, Feed, NETWORK_OPEN_LIMIT, PICTURE_LIMIT, Source, SourceError, UnduePicture, UndueUnit,
};
pub use x11::DisplayError;

/// Ends the process at once with `code`, without the exit handlers that might wait for what is stuck.
pub fn terminate(code: i32) -> ! {
    ffi::terminate(code)
}

/// The version of the FFmpeg that is linked, e.g. `5.1.9-0+deb12u1`.
pub fn ffmpeg_version() -> String {
    ffi::version()
}

/// What a source takes that this machine's FFmpeg was built without, in its own word; `None`: nothing.
pub fn lacks(source: &framebridge_config::Source) -> Option<&'static str> {
    init();
    source::lacks(source)
}

/// Takes from this process what a source of this kind does not need, for good: sockets that reach other machines, and looks into
/// other processes. The command of an `exec:` source is not ours to judge.
///
/// # Errors
/// The kernel knows no filters of calls.
pub fn confine(source: &framebridge_config::Source) -> std::io::Result<()> {
    if matches!(source, framebridge_config::Source::Exec { .. }) {
        return Ok(());
    }
    ffi::confine(source.traits().reaches_out)
}

/// Registers FFmpeg's devices and takes over its log, once.
fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        ffmpeg_next::error::register_all();
        ffmpeg_next::device::register_all();
        ffmpeg_next::format::network::init();
        ffi::capture_log();
        ffi::limit_memory(source::MAX_PLANE);
    });
}
