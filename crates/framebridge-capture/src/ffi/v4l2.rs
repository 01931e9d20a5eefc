//! What a camera can do, asked of its driver (`linux/videodev2.h`).

use std::{fs::File, io, os::fd::AsRawFd as _};

/// What a driver is asked. Tests stand in for it: few machines that test have a camera.
pub(crate) trait Ioctls {
    /// Its format of this number, as V4L2 names it.
    fn format(&self, index: u32) -> Option<[u8; 4]>;
    /// The sizes of this number.
    fn sizes(&self, fourcc: [u8; 4], index: u32) -> Option<Sizes>;
    /// The rates of this number.
    fn rates(&self, fourcc: [u8; 4], size: (u32, u32), index: u32) -> Option<Rates>;
}

/// Sizes in pixels.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sizes {
    One((u32, u32)),
    Between {
        least: (u32, u32),
        most: (u32, u32),
        step: (u32, u32),
    },
}

/// Pictures a second.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rates {
    One(f64),
    Between { least: f64, most: f64 },
}

/// `V4L2_BUF_TYPE_VIDEO_CAPTURE`
const CAPTURE: u32 = 1;
/// `V4L2_FRMSIZE_TYPE_DISCRETE`, and `V4L2_FRMIVAL_TYPE_DISCRETE`.
const DISCRETE: u32 = 1;

/// `struct v4l2_fmtdesc`
#[repr(C)]
#[derive(Default)]
struct FormatDescription {
    index: u32,
    kind: u32,
    flags: u32,
    description: [u8; 32],
    fourcc: u32,
    code: u32,
    reserved: [u32; 3],
}

/// `struct v4l2_frmsizeenum`: one size, or a range with steps (width: least, most, step; height likewise).
#[repr(C)]
#[derive(Default)]
struct SizeDescription {
    index: u32,
    fourcc: u32,
    kind: u32,
    values: [u32; 6],
    reserved: [u32; 2],
}

/// `struct v4l2_frmivalenum`: one interval, or a range (least, most, step), each as a fraction of seconds.
#[repr(C)]
#[derive(Default)]
struct IntervalDescription {
    index: u32,
    fourcc: u32,
    width: u32,
    height: u32,
    kind: u32,
    values: [u32; 6],
    reserved: [u32; 2],
}

/// `_IOWR('V', number, T)`
const fn request<T>(number: u32) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "these structures have less than a hundred bytes"
    )]
    let size = size_of::<T>() as u32;
    3 << 30 | size << 16 | 0x56 << 8 | number
}

const ENUM_FORMAT: u32 = request::<FormatDescription>(2);
const ENUM_SIZE: u32 = request::<SizeDescription>(74);
const ENUM_INTERVAL: u32 = request::<IntervalDescription>(75);

/// Fills `about`, whose index says what is asked for; `None`: there is no such thing.
fn ask<T>(device: &File, request: u32, about: &mut T) -> Option<()> {
    // SAFETY: the request's number has the size of `T` in it, which is laid out as the kernel's structure of that request; the
    // kernel writes no further, and keeps no pointer.
    let done = unsafe { libc::ioctl(device.as_raw_fd(), request.into(), std::ptr::from_mut(about)) };
    (done == 0).then_some(())
}

impl Ioctls for File {
    fn format(&self, index: u32) -> Option<[u8; 4]> {
        let mut about = FormatDescription {
            index,
            kind: CAPTURE,
            ..FormatDescription::default()
        };
        ask(self, ENUM_FORMAT, &mut about)?;
        Some(about.fourcc.to_le_bytes())
    }

    fn sizes(&self, fourcc: [u8; 4], index: u32) -> Option<Sizes> {
        let mut about = SizeDescription {
            index,
            fourcc: u32::from_le_bytes(fourcc),
            ..SizeDescription::default()
        };
        ask(self, ENUM_SIZE, &mut about)?;
        let [width, height, ..] = about.values;
        let [
            least_width,
            most_width,
            step_width,
            least_height,
            most_height,
            step_height,
        ] = about.values;
        Some(if about.kind == DISCRETE {
            Sizes::One((width, height))
        } else {
            Sizes::Between {
                least: (least_width, least_height),
                most: (most_width, most_height),
                step: (step_width, step_height),
            }
        })
    }

    fn rates(&self, fourcc: [u8; 4], (width, height): (u32, u32), index: u32) -> Option<Rates> {
        let mut about = IntervalDescription {
            index,
            fourcc: u32::from_le_bytes(fourcc),
            width,
            height,
            ..IntervalDescription::default()
        };
        ask(self, ENUM_INTERVAL, &mut about)?;
        let [seconds, parts, most_seconds, most_parts, ..] = about.values;
        let rate = |seconds: u32, parts: u32| f64::from(parts) / f64::from(seconds.max(1));
        Some(if about.kind == DISCRETE {
            Rates::One(rate(seconds, parts))
        } else {
            Rates::Between {
                least: rate(most_seconds, most_parts),
                most: rate(seconds, parts),
            }
        })
    }
}

/// Opens a camera to ask it.
pub(crate) fn open(path: &std::path::Path) -> io::Result<File> {
    File::options().read(true).write(true).open(path)
}
