//! Everything that `ffmpeg-next` leaves to raw FFmpeg: the one module of this crate with `unsafe` in it.
//!
//! Kept as thin as it can be: each function is one task that the safe API lacks, takes and gives safe types, and holds
//! no pointer past its return except inside the `ffmpeg-next` value it hands out.

#![expect(
    unsafe_code,
    reason = "calls what ffmpeg-next does not wrap; every other module is safe"
)]

use std::{cell::RefCell, ffi::CString, ptr};

use ffmpeg_next::{
    Dictionary, Error,
    ffi::{
        AVFormatContext, av_find_input_format, avformat_alloc_context, avformat_close_input, avformat_find_stream_info,
        avformat_open_input,
    },
    format::context,
    util::interrupt,
};

use crate::Interrupt;

thread_local! {
    static LAST_LOG_LINE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// How to open an input.
pub(crate) struct Opening<'a> {
    /// The demuxer or device; `None` lets FFmpeg find out.
    pub(crate) format: Option<&'static str>,
    /// What the demuxer opens.
    pub(crate) url: &'a str,
    /// Its options. FFmpeg ignores those it does not know.
    pub(crate) options: &'a [(&'static str, String)],
    /// Whether to read ahead to learn the streams' parameters; devices know theirs at once.
    pub(crate) probe: bool,
}

/// Opens an input with a given demuxer, options *and* an interrupt, of which `ffmpeg-next` offers any two.
pub(crate) fn open_input(opening: &Opening<'_>, interrupt: &Interrupt) -> Result<context::Input, Error> {
    take_last_log_line();
    let url = c_string(opening.url)?;
    let format = match opening.format {
        None => ptr::null(),
        Some(name) => {
            let name = c_string(name)?;
            // SAFETY: `name` is a C string that outlives the call; the result points to static data or is null.
            let format = unsafe { av_find_input_format(name.as_ptr()) };
            if format.is_null() {
                return Err(Error::DemuxerNotFound);
            }
            format
        }
    };
    let mut options = Dictionary::new();
    for (key, value) in opening.options {
        options.set(key, value);
    }
    let watched = interrupt.clone();
    let callback = interrupt::new(Box::new(move || watched.is_tripped()));
    // SAFETY: `context` is a context of our own until `avformat_open_input` takes it: it frees it and sets it to null
    // when it fails. The callback's closure lives in `callback.guard`, which either outlives the failed call or goes
    // into the `Input` beside the context that refers to it. `url` and the dictionary outlive the call, and the
    // dictionary that FFmpeg gives back is owned, and so freed, again.
    unsafe {
        let mut context: *mut AVFormatContext = avformat_alloc_context();
        if context.is_null() {
            return Err(Error::Other {
                errno: ffmpeg_next::error::ENOMEM,
            });
        }
        (*context).interrupt_callback = callback.interrupt;
        let mut raw_options = options.disown();
        let opened = avformat_open_input(&raw mut context, url.as_ptr(), format, &raw mut raw_options);
        drop(Dictionary::own(raw_options));
        if opened < 0 {
            return Err(Error::from(opened));
        }
        if opening.probe {
            let found = avformat_find_stream_info(context, ptr::null_mut());
            if found < 0 {
                avformat_close_input(&raw mut context);
                return Err(Error::from(found));
            }
        }
        Ok(context::Input::wrap_with_interrupt(context, callback.guard))
    }
}

/// Sets the size of the rate control's buffer, in bits, on a codec that may already be open.
pub(crate) fn set_rate_buffer(codec: &mut ffmpeg_next::codec::Context, bits: i32) {
    // SAFETY: the pointer is that of a live codec context, which `codec` borrows mutably; the field is a plain integer
    // that FFmpeg documents as settable by the user.
    unsafe { (*codec.as_mut_ptr()).rc_buffer_size = bits };
}

/// Lets `copy` refer to the same buffers as `frame`, instead of copying the pixels as `clone` does.
pub(crate) fn reference(frame: &ffmpeg_next::frame::Video) -> Result<ffmpeg_next::frame::Video, Error> {
    let mut copy = ffmpeg_next::frame::Video::empty();
    // SAFETY: both are live frames of which `copy` is empty; the call counts references to `frame`'s buffers, which
    // are never written to after that because a frame's only writer is the stage that made it.
    let done = unsafe { ffmpeg_next::ffi::av_frame_ref(copy.as_mut_ptr(), frame.as_ptr()) };
    if done < 0 { Err(Error::from(done)) } else { Ok(copy) }
}

/// Whether nobody else refers to `frame`'s buffers, so that its pixels may be written to.
pub(crate) fn is_writable(frame: &ffmpeg_next::frame::Video) -> bool {
    // SAFETY: `frame` is a live frame; the call only looks at its reference counts, whatever its prototype says.
    unsafe { ffmpeg_next::ffi::av_frame_is_writable(frame.as_ptr().cast_mut()) > 0 }
}

/// Ends the process at once, without exit handlers, which might wait for the very thing that is stuck.
pub(crate) fn terminate(code: i32) -> ! {
    // SAFETY: `_exit` takes an integer and does not return.
    unsafe { libc::_exit(code) }
}

/// The last error that FFmpeg logged on this thread since this was last called.
pub(crate) fn take_last_log_line() -> Option<String> {
    LAST_LOG_LINE.with_borrow_mut(Option::take)
}

/// From now on FFmpeg's errors go to [`take_last_log_line`] and, like the rest of what it says, to no terminal.
pub(crate) fn capture_log() {
    log::capture();
}

fn c_string(text: &str) -> Result<CString, Error> {
    CString::new(text).map_err(|_nul| Error::Other {
        errno: ffmpeg_next::error::EINVAL,
    })
}

/// The callback's argument list has another type on each architecture; only this one's is known to be right.
#[cfg(target_arch = "x86_64")]
mod log {
    use std::ffi::{CStr, c_char, c_int, c_void};

    use ffmpeg_next::ffi::{__va_list_tag, AV_LOG_ERROR, av_log_format_line2, av_log_set_callback};

    use super::LAST_LOG_LINE;

    /// Longer lines are cut.
    const LINE: usize = 512;

    pub(super) fn capture() {
        // SAFETY: `on_line` has the type asked for and is valid for the process's whole life.
        unsafe { av_log_set_callback(Some(on_line)) };
    }

    unsafe extern "C" fn on_line(context: *mut c_void, level: c_int, format: *const c_char, list: *mut __va_list_tag) {
        if level > AV_LOG_ERROR {
            return;
        }
        let mut line = [0 as c_char; LINE];
        let mut print_prefix = 0;
        // SAFETY: the first four are what FFmpeg has just given us; `line` has the length we say, and FFmpeg ends what
        // it writes there with a zero.
        let text = unsafe {
            let length = c_int::try_from(LINE).unwrap_or(0);
            av_log_format_line2(
                context,
                level,
                format,
                list,
                line.as_mut_ptr(),
                length,
                &raw mut print_prefix,
            );
            CStr::from_ptr(line.as_ptr())
        };
        let text = text.to_string_lossy().trim().trim_end_matches('.').to_owned();
        // A thread that is going away has no cell any more, and nobody who would read it.
        let _kept = LAST_LOG_LINE.try_with(|last| last.replace(Some(text)));
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod log {
    pub(super) fn capture() {
        ffmpeg_next::log::set_level(ffmpeg_next::log::Level::Fatal);
    }
}
