//! Everything that `ffmpeg-next` leaves to raw FFmpeg: the one module of this crate with `unsafe` in it.
//!
//! Kept as thin as it can be: each function is one task that the safe API lacks, takes and gives safe types, and holds
//! no pointer past its return except inside the `ffmpeg-next` value it hands out.

#![expect(
    unsafe_code,
    reason = "calls what ffmpeg-next does not wrap; every other module is safe"
)]

use std::{
    cell::RefCell,
    ffi::{CStr, CString, c_int},
    ptr,
};

use ffmpeg_next::{
    Dictionary, Error, Stream, StreamMut,
    error::{EINVAL, ENOMEM},
    ffi::{
        AV_INPUT_BUFFER_PADDING_SIZE, AV_OPT_SEARCH_CHILDREN, AVBufferRef, AVCodecID, AVDictionary, AVDiscard,
        AVFormatContext, AVHWDeviceType, AVHWFramesContext, AVIO_FLAG_READ, AVIO_SEEKABLE_NORMAL, AVIOContext,
        AVMediaType, AVPixelFormat, av_buffer_alloc, av_buffer_ref, av_buffer_unref, av_find_input_format,
        av_frame_is_writable, av_frame_ref, av_free, av_guess_sample_aspect_ratio, av_hwdevice_ctx_create,
        av_hwframe_ctx_alloc, av_hwframe_ctx_init, av_hwframe_get_buffer, av_hwframe_transfer_data,
        av_image_get_linesize, av_mallocz, av_max_alloc, av_opt_get, av_version_info, avformat_alloc_context,
        avformat_close_input, avformat_find_stream_info, avformat_open_input, avio_closep, avio_find_protocol_name,
        avio_open2, avio_size,
    },
    format::{Pixel, context},
    util::interrupt,
};

use crate::Interrupt;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod confine;
mod swscale;
pub(crate) mod v4l2;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) use confine::confine;

/// Filters of calls are written for each architecture.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) fn confine(_network: bool) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

pub(crate) use swscale::{Conversion, Side, Traits, format_name, plain};

/// What FFmpeg may read beyond the end of what it is given.
const PADDING: usize = AV_INPUT_BUFFER_PADDING_SIZE as usize;

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
    pub(crate) options: Vec<(&'static str, String)>,
    /// Whether to read ahead to learn the streams' parameters; devices know theirs at once.
    pub(crate) probe: bool,
    /// The largest picture that is decoded while it reads ahead.
    pub(crate) max_pixels: u32,
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
    for (key, value) in &opening.options {
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
            return Err(Error::Other { errno: ENOMEM });
        }
        (*context).interrupt_callback = callback.interrupt;
        let mut raw_options = options.disown();
        let opened = avformat_open_input(&raw mut context, url.as_ptr(), format, &raw mut raw_options);
        drop(Dictionary::own(raw_options));
        if opened < 0 {
            return Err(Error::from(opened));
        }
        if opening.probe {
            let found = find_streams(context, opening.max_pixels);
            if found < 0 {
                avformat_close_input(&raw mut context);
                return Err(Error::from(found));
            }
        }
        Ok(context::Input::wrap_with_interrupt(context, callback.guard))
    }
}

/// Reads ahead, with pictures of `max_pixels` at most in the streams that are known before.
///
/// # Safety
/// `context` is an open input of the caller's.
unsafe fn find_streams(context: *mut AVFormatContext, max_pixels: u32) -> c_int {
    // SAFETY: the number of streams is read off the live context. The array has an entry for each of them, which is null or a
    // dictionary that FFmpeg may take options from and give back; all are owned, and so freed, again.
    unsafe {
        let known = usize::try_from((*context).nb_streams).unwrap_or(0);
        let mut options: Vec<*mut AVDictionary> = (0..known)
            .map(|_| {
                let mut options = Dictionary::new();
                options.set("max_pixels", &max_pixels.to_string());
                options.disown()
            })
            .collect();
        let found = avformat_find_stream_info(context, options.as_mut_ptr());
        options.into_iter().for_each(|options| drop(Dictionary::own(options)));
        found
    }
}

/// Whether an input has a length: it is a file, wherever it comes from.
pub(crate) fn has_length(input: &mut context::Input) -> bool {
    // SAFETY: the context is live and borrowed mutably; its I/O context is null or live, and the call asks it for its size.
    unsafe {
        let io = (*input.as_mut_ptr()).pb;
        !io.is_null() && avio_size(io) > 0
    }
}

/// Whether what an input is read from can be read from another place on: a file can, and what a server gives in parts.
pub(crate) fn can_jump(input: &mut context::Input) -> bool {
    // SAFETY: the context is live and borrowed mutably; its I/O context is null or live.
    unsafe {
        let io = (*input.as_mut_ptr()).pb;
        // Without one the demuxer has its own ways.
        io.is_null() || (*io).seekable & AVIO_SEEKABLE_NORMAL != 0
    }
}

/// What a server says that it sends, asked anew.
pub(crate) fn content_type(opening: &Opening<'_>, interrupt: &Interrupt) -> Option<String> {
    let url = c_string(opening.url).ok()?;
    let mut options = Dictionary::new();
    for (key, value) in &opening.options {
        options.set(key, value);
    }
    let watched = interrupt.clone();
    let callback = interrupt::new(Box::new(move || watched.is_tripped()));
    // SAFETY: `url`, the dictionary and the callback with its guard outlive all calls; the dictionary that FFmpeg gives back is
    // owned, and so freed, again. The I/O context is live from a call that succeeds until it is closed, and the text that is
    // read off it is our own and freed once.
    unsafe {
        let mut io: *mut AVIOContext = ptr::null_mut();
        let mut raw_options = options.disown();
        let opened = avio_open2(
            &raw mut io,
            url.as_ptr(),
            AVIO_FLAG_READ,
            &raw const callback.interrupt,
            &raw mut raw_options,
        );
        drop(Dictionary::own(raw_options));
        if opened < 0 {
            return None;
        }
        let mut value: *mut u8 = ptr::null_mut();
        let found = av_opt_get(io.cast(), c"mime_type".as_ptr(), AV_OPT_SEARCH_CHILDREN, &raw mut value);
        let said =
            (found >= 0 && !value.is_null()).then(|| CStr::from_ptr(value.cast()).to_string_lossy().into_owned());
        av_free(value.cast());
        avio_closep(&raw mut io);
        said
    }
}

/// Whether FFmpeg was built with the protocol that `url` begins with.
pub(crate) fn has_protocol(url: &str) -> bool {
    // SAFETY: the argument is a C string that outlives the call; the result is null or points to static data.
    c_string(url).is_ok_and(|url| unsafe { !avio_find_protocol_name(url.as_ptr()).is_null() })
}

/// Whether FFmpeg was built with this demuxer or device.
pub(crate) fn has_format(name: &str) -> bool {
    // SAFETY: the argument is a C string that outlives the call; the result is null or points to static data.
    c_string(name).is_ok_and(|name| unsafe { !av_find_input_format(name.as_ptr()).is_null() })
}

/// No single piece of memory that FFmpeg asks for is larger: a plane of the largest picture, with the most bytes a pixel.
pub(crate) fn limit_memory(bytes: usize) {
    // SAFETY: the call sets a number.
    unsafe { av_max_alloc(bytes) };
}

/// Gives a picture of eight bits a palette of its own, 0xAARRGGBB; leaves any other as it is. FFmpeg takes such pixels for three
/// colours of three, three and two bits where it was told of no palette.
pub(crate) fn set_palette(frame: &mut ffmpeg_next::frame::Video, palette: &[u32; 256]) {
    if !matches!(frame.format(), Pixel::PAL8 | Pixel::RGB8 | Pixel::BGR8) {
        return;
    }
    // SAFETY: the frame is live and borrowed mutably. Its second buffer is by FFmpeg's word the palette, if there is one, which
    // may be shared with other frames; it is given back and replaced by one of our own, which is as long as what is copied into
    // it. Both formats have a byte for each pixel in the first buffer.
    unsafe {
        let buffer = av_buffer_alloc(size_of_val(palette));
        if buffer.is_null() {
            return;
        }
        frame.set_format(Pixel::PAL8);
        let frame = frame.as_mut_ptr();
        ptr::copy_nonoverlapping(palette.as_ptr(), (*buffer).data.cast::<u32>(), palette.len());
        av_buffer_unref(&raw mut (*frame).buf[1]);
        (*frame).buf[1] = buffer;
        (*frame).data[1] = (*buffer).data;
        (*frame).linesize[1] = 4;
    }
}

/// Lets the demuxer leave out what belongs to other streams than the one with this index.
pub(crate) fn discard_others(input: &mut context::Input, index: usize) {
    for at in (0..input.streams().len()).filter(|at| *at != index) {
        if let Some(mut stream) = input.stream_mut(at) {
            // SAFETY: the stream is live and borrowed mutably; the field is a plain number that users may set.
            unsafe { (*stream.as_mut_ptr()).discard = AVDiscard::AVDISCARD_ALL };
        }
    }
}

/// A video stream's width and height by its container's word; 0 where it has none.
pub(crate) fn size(stream: &Stream<'_>) -> (u32, u32) {
    // SAFETY: the stream is live, and so are its parameters, which every stream has.
    let (width, height) = unsafe {
        let parameters = (*stream.as_ptr()).codecpar;
        ((*parameters).width, (*parameters).height)
    };
    (u32::try_from(width).unwrap_or(0), u32::try_from(height).unwrap_or(0))
}

/// What a stream's container says of its codec, in the codec's own form; empty where it says nothing.
pub(crate) fn extradata(stream: &Stream<'_>) -> Vec<u8> {
    // SAFETY: the stream is live, and so are its parameters, whose extradata is null or as long as they say; it is copied at once.
    unsafe {
        let parameters = (*stream.as_ptr()).codecpar;
        let length = usize::try_from((*parameters).extradata_size).unwrap_or(0);
        if (*parameters).extradata.is_null() {
            return Vec::new();
        }
        std::slice::from_raw_parts((*parameters).extradata, length).to_vec()
    }
}

/// Writes the shape of its pixels into `frame`: the container's word, or else the codec's.
pub(crate) fn complete_aspect(input: &mut context::Input, index: usize, frame: &mut ffmpeg_next::frame::Video) {
    let Some(mut stream) = input.stream_mut(index) else {
        return;
    };
    // SAFETY: both are live and borrowed mutably; the call looks at two fields of each, and needs no context.
    unsafe {
        let frame = frame.as_mut_ptr();
        (*frame).sample_aspect_ratio = av_guess_sample_aspect_ratio(ptr::null_mut(), stream.as_mut_ptr(), frame);
    }
}

/// Makes `stream`, of an output that has no header yet, one of H.264 with these pixels and `heads`, its SPS and PPS.
pub(crate) fn describe_h264(stream: &mut StreamMut<'_>, size: (u32, u32), heads: &[u8]) -> Result<(), Error> {
    let number = |number: usize| c_int::try_from(number).map_err(|_large| Error::InvalidData);
    let edge = |edge: u32| c_int::try_from(edge).map_err(|_large| Error::InvalidData);
    let (width, height, length) = (edge(size.0)?, edge(size.1)?, number(heads.len())?);
    // SAFETY: the stream is live and its parameters are its own. The extradata is allocated by FFmpeg, which frees it,
    // with the zeroed padding that it asks for, and is as long as what is copied into it.
    unsafe {
        let parameters = (*stream.as_mut_ptr()).codecpar;
        let extradata = av_mallocz(heads.len() + PADDING).cast::<u8>();
        if extradata.is_null() {
            return Err(Error::Other { errno: ENOMEM });
        }
        ptr::copy_nonoverlapping(heads.as_ptr(), extradata, heads.len());
        (*parameters).codec_type = AVMediaType::AVMEDIA_TYPE_VIDEO;
        (*parameters).codec_id = AVCodecID::AV_CODEC_ID_H264;
        ((*parameters).width, (*parameters).height) = (width, height);
        ((*parameters).extradata, (*parameters).extradata_size) = (extradata, length);
    }
    Ok(())
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
    check(unsafe { av_frame_ref(copy.as_mut_ptr(), frame.as_ptr()) })?;
    Ok(copy)
}

/// Whether two frames of one format and size hold the same pixels.
pub(crate) fn has_same_pixels(one: &ffmpeg_next::frame::Video, other: &ffmpeg_next::frame::Video) -> bool {
    let width = c_int::try_from(one.width()).unwrap_or(c_int::MAX);
    let has_palette = one.format() == Pixel::PAL8;
    let planes = if has_palette {
        1
    } else {
        one.planes().min(other.planes())
    };
    let same = (0..planes).all(|plane| {
        let (mine, others) = (one.data(plane), other.data(plane));
        if mine.as_ptr() == others.as_ptr() {
            return true;
        }
        let number = c_int::try_from(plane).unwrap_or(c_int::MAX);
        // SAFETY: the call computes from three numbers.
        let bytes = unsafe { av_image_get_linesize(one.format().into(), width, number) };
        let bytes = usize::try_from(bytes).unwrap_or(0);
        let rows = mine
            .chunks(one.stride(plane).max(1))
            .zip(others.chunks(other.stride(plane).max(1)));
        // What lies beyond a row's pixels is nobody's.
        bytes > 0
            && rows
                .into_iter()
                .all(|(mine, others)| mine.get(..bytes) == others.get(..bytes))
    });
    same && (!has_palette || palette(one) == palette(other))
}

/// The colours of a picture of eight bits.
fn palette(frame: &ffmpeg_next::frame::Video) -> Option<&[u8]> {
    // SAFETY: the frame is live and borrowed for as long as the result. The second plane of its format is null or, by FFmpeg's
    // word, a palette of 256 colours of four bytes.
    unsafe {
        let colours = (*frame.as_ptr()).data[1];
        (!colours.is_null()).then(|| std::slice::from_raw_parts(colours, 1024))
    }
}

/// Whether nobody else refers to `frame`'s buffers, so that its pixels may be written to.
pub(crate) fn is_writable(frame: &ffmpeg_next::frame::Video) -> bool {
    // SAFETY: `frame` is a live frame; the call only looks at its reference counts, whatever its prototype says.
    unsafe { av_frame_is_writable(frame.as_ptr().cast_mut()) > 0 }
}

/// Frames in a VA-API device's memory, of one size.
pub(crate) struct VaapiFrames(*mut AVBufferRef);

// SAFETY: a buffer reference may be used and released on any thread, as long as one at a time does; it is never cloned
// here, and FFmpeg's count behind it is atomic.
unsafe impl Send for VaapiFrames {}

impl VaapiFrames {
    /// Opens the default device and readies it for NV12 pictures of `size`.
    pub(crate) fn open(size: (u32, u32)) -> Result<Self, Error> {
        take_last_log_line();
        let edge = |edge: u32| c_int::try_from(edge).map_err(|_large| Error::InvalidData);
        let (width, height) = (edge(size.0)?, edge(size.1)?);
        let mut device = ptr::null_mut();
        // SAFETY: `device` takes a new reference or stays null. `frames` holds a reference of its own to the device, so
        // ours is released at once; `Self` owns `frames` from then on, and releases it whatever follows. Its data is
        // an `AVHWFramesContext` by FFmpeg's word, exclusively ours until it is initialised.
        unsafe {
            check(av_hwdevice_ctx_create(
                &raw mut device,
                AVHWDeviceType::AV_HWDEVICE_TYPE_VAAPI,
                ptr::null(),
                ptr::null_mut(),
                0,
            ))?;
            let frames = Self(av_hwframe_ctx_alloc(device));
            av_buffer_unref(&raw mut device);
            if frames.0.is_null() {
                return Err(Error::Other { errno: ENOMEM });
            }
            let context = (*frames.0).data.cast::<AVHWFramesContext>();
            (*context).format = AVPixelFormat::AV_PIX_FMT_VAAPI;
            (*context).sw_format = AVPixelFormat::AV_PIX_FMT_NV12;
            (*context).width = width;
            (*context).height = height;
            check(av_hwframe_ctx_init(frames.0))?;
            Ok(frames)
        }
    }

    /// Lets `codec`, which is not open yet, take its pictures from here.
    pub(crate) fn attach(&self, codec: &mut ffmpeg_next::codec::Context) -> Result<(), Error> {
        // SAFETY: both are live; the codec's context owns, and later releases, the reference it is given.
        unsafe {
            let reference = av_buffer_ref(self.0);
            if reference.is_null() {
                return Err(Error::Other { errno: ENOMEM });
            }
            (*codec.as_mut_ptr()).hw_frames_ctx = reference;
        }
        Ok(())
    }

    /// A copy of `frame` in the device's memory.
    pub(crate) fn upload(&self, frame: &ffmpeg_next::frame::Video) -> Result<ffmpeg_next::frame::Video, Error> {
        let mut uploaded = ffmpeg_next::frame::Video::empty();
        // SAFETY: all three are live and `uploaded` is empty, so that the pool gives it a buffer of the pool's size;
        // FFmpeg checks that `frame` fits.
        unsafe {
            check(av_hwframe_get_buffer(self.0, uploaded.as_mut_ptr(), 0))?;
            check(av_hwframe_transfer_data(uploaded.as_mut_ptr(), frame.as_ptr(), 0))?;
        }
        Ok(uploaded)
    }
}

impl Drop for VaapiFrames {
    fn drop(&mut self) {
        // SAFETY: the one reference that `self` owns, or null, which the call takes too.
        unsafe { av_buffer_unref(&raw mut self.0) };
    }
}

fn check(code: c_int) -> Result<(), Error> {
    if code < 0 { Err(Error::from(code)) } else { Ok(()) }
}

/// FFmpeg's version, as its distribution words it.
pub(crate) fn version() -> String {
    // SAFETY: the string is FFmpeg's own constant.
    unsafe { CStr::from_ptr(av_version_info()) }
        .to_string_lossy()
        .into_owned()
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
    CString::new(text).map_err(|_nul| Error::Other { errno: EINVAL })
}

/// The callback's argument list has another type on each architecture; only this one's is known to be right.
#[cfg(target_arch = "x86_64")]
mod log {
    use std::ffi::{CStr, c_char, c_int, c_void};

    use ffmpeg_next::ffi::{__va_list_tag, AV_LOG_ERROR, av_log_format_line2, av_log_set_callback};
    use framebridge_proto::plain;

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
        let text = text.to_string_lossy();
        let text = plain(text.trim().trim_end_matches('.'), LINE);
        // Sound is never decoded, and that is what this says, stream by stream.
        if text.starts_with("Codec (") && text.contains("not on whitelist") {
            return;
        }
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
