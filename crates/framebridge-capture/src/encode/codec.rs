//! The H.264 encoders that may be there, and how each is told to work live.

use std::fmt;

use ffmpeg_next::{
    Dictionary, Error, encoder,
    encoder::video::Video,
    format::Pixel,
    threading::{self, Type},
};

/// An H.264 encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// x264, always there.
    X264,
    /// NVIDIA.
    Nvenc,
    /// VA-API: Intel and AMD.
    Vaapi,
    /// Intel Quick Sync.
    Qsv,
    /// V4L2 memory-to-memory.
    V4l2m2m,
}

impl Codec {
    /// Hardware encoders, best first: the ones with the least delay and the best rate control lead.
    pub const HARDWARE: [Self; 4] = [Self::Nvenc, Self::Vaapi, Self::Qsv, Self::V4l2m2m];

    /// FFmpeg's name for it, which status and viewers' parameters show.
    pub fn ffmpeg_name(self) -> &'static str {
        match self {
            Self::X264 => "libx264",
            Self::Nvenc => "h264_nvenc",
            Self::Vaapi => "h264_vaapi",
            Self::Qsv => "h264_qsv",
            Self::V4l2m2m => "h264_v4l2m2m",
        }
    }

    /// The format that pictures are scaled to for it.
    pub(crate) fn pixel_format(self) -> Pixel {
        match self {
            Self::X264 | Self::Nvenc => Pixel::YUV420P,
            Self::Vaapi | Self::Qsv | Self::V4l2m2m => Pixel::NV12,
        }
    }

    /// Slices in parallel, never frames: each frame thread adds a frame of delay.
    pub(super) fn threading(self, size: (u32, u32)) -> threading::Config {
        // One thread does 720p30 in a sixth of its time, and two slices cost a few percent of the bits.
        let count = if u64::from(size.0) * u64::from(size.1) > 1280 * 720 {
            2
        } else {
            1
        };
        let mut config = threading::Config::kind(Type::Slice);
        config.count = count;
        config
    }

    pub(super) fn open(self, video: Video, found: ffmpeg_next::Codec) -> Result<encoder::Video, Error> {
        let mut options = Dictionary::new();
        for (key, value) in self.options() {
            options.set(key, value);
        }
        video.open_as_with(found, options)
    }

    /// No delay, no B-frames, constrained baseline where there is a choice, an IDR where an I-frame is forced, SPS and
    /// PPS before each IDR (which every encoder does as long as no global header is asked for).
    fn options(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::X264 => &[
                ("preset", "veryfast"),
                ("tune", "zerolatency"),
                ("profile", "baseline"),
                ("forced-idr", "1"),
                ("x264-params", "repeat-headers=1:annexb=1:scenecut=0"),
            ],
            Self::Nvenc => &[
                ("preset", "p3"),
                ("tune", "ull"),
                ("profile", "baseline"),
                ("rc", "cbr"),
                ("zerolatency", "1"),
                ("delay", "0"),
                ("forced-idr", "1"),
                ("no-scenecut", "1"),
            ],
            Self::Vaapi => &[
                ("profile", "constrained_baseline"),
                ("rc_mode", "CBR"),
                ("async_depth", "1"),
            ],
            Self::Qsv => &[
                ("preset", "veryfast"),
                ("profile", "baseline"),
                ("async_depth", "1"),
                ("forced_idr", "1"),
                ("look_ahead", "0"),
            ],
            Self::V4l2m2m => &[("num_capture_buffers", "4")],
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.ffmpeg_name())
    }
}
