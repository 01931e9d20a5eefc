//! A camera on this machine: what modes it has, and who uses it.

use std::{fs, path::Path};

use framebridge_config::{CameraFormat, CameraOptions};
use framebridge_core::camera_mode::{Format, Mode, Wish, choose};

use crate::ffi::v4l2::{self, Ioctls, Rates, Sizes};

/// No driver has more of anything; one that always has another is not listened to for ever.
const MOST: u32 = 256;

/// Of a range of sizes those that people ask for, and its largest.
const USUAL: [(u32, u32); 8] = [
    (3840, 2160),
    (2560, 1440),
    (1920, 1080),
    (1280, 720),
    (1024, 768),
    (800, 600),
    (640, 480),
    (320, 240),
];

/// V4L2's formats that FFmpeg takes, and what it calls them.
const FORMATS: [([u8; 4], Format, &str); 12] = [
    (*b"YUYV", Format::Raw, "yuyv422"),
    (*b"UYVY", Format::Raw, "uyvy422"),
    (*b"YU12", Format::Raw, "yuv420p"),
    (*b"YV12", Format::Raw, "yuv420p"),
    (*b"422P", Format::Raw, "yuv422p"),
    (*b"NV12", Format::Raw, "nv12"),
    (*b"RGB3", Format::Raw, "rgb24"),
    (*b"BGR3", Format::Raw, "bgr24"),
    (*b"GREY", Format::Raw, "gray"),
    (*b"MJPG", Format::Mjpeg, "mjpeg"),
    (*b"JPEG", Format::Mjpeg, "mjpeg"),
    (*b"H264", Format::H264, "h264"),
];

/// What FFmpeg's `v4l2` is told, for the mode that fits best of those that the camera at `device` has. Of one that can't be asked, or
/// does nothing that is named, what was asked for: FFmpeg then says what is wrong.
pub(crate) fn options(
    device: &Path,
    wanted: &CameraOptions,
    fps: u32,
    longest_edge: u32,
) -> Vec<(&'static str, String)> {
    let modes = v4l2::open(device).map(|camera| modes(&camera)).unwrap_or_default();
    let wish = wish(wanted, fps, longest_edge);
    let Some(mode) = choose(&modes, &wish) else {
        if !modes.is_empty() {
            tracing::warn!("{} has no such mode, but {}", device.display(), told(&modes));
        }
        return as_asked(wanted, fps);
    };
    tracing::info!("{}: {}", device.display(), one(&mode));
    let mut options = vec![
        ("framerate", format!("{:.3}", mode.fps)),
        ("video_size", size_of(mode.size)),
    ];
    options.extend(name(mode.fourcc).map(|name| ("input_format", name.to_owned())));
    options
}

fn wish(wanted: &CameraOptions, fps: u32, longest_edge: u32) -> Wish {
    Wish {
        fps: f64::from(wanted.fps.unwrap_or(fps)),
        longest_edge,
        size: wanted.size,
        format: wanted.format.map(|format| match format {
            CameraFormat::Raw => Format::Raw,
            CameraFormat::Mjpeg => Format::Mjpeg,
            CameraFormat::H264 => Format::H264,
        }),
    }
}

fn as_asked(wanted: &CameraOptions, fps: u32) -> Vec<(&'static str, String)> {
    let mut options = vec![("framerate", wanted.fps.unwrap_or(fps).to_string())];
    options.extend(wanted.size.map(|size| ("video_size", size_of(size))));
    options.extend(match wanted.format {
        Some(CameraFormat::Mjpeg) => Some(("input_format", "mjpeg".to_owned())),
        Some(CameraFormat::H264) => Some(("input_format", "h264".to_owned())),
        Some(CameraFormat::Raw) | None => None,
    });
    options
}

/// All modes of a camera that FFmpeg takes.
fn modes(camera: &impl Ioctls) -> Vec<Mode> {
    let formats = (0..MOST).map_while(|index| camera.format(index));
    let known = formats.filter_map(|fourcc| FORMATS.iter().find(|(known, ..)| *known == fourcc));
    let mut modes = Vec::new();
    for (fourcc, format, _) in known {
        for size in sizes(camera, *fourcc) {
            let rates = (0..MOST).map_while(|index| camera.rates(*fourcc, size, index));
            modes.extend(rates.flat_map(each_rate).map(|fps| Mode {
                format: *format,
                fourcc: *fourcc,
                size,
                fps,
            }));
        }
    }
    modes
}

fn sizes(camera: &impl Ioctls, fourcc: [u8; 4]) -> Vec<(u32, u32)> {
    let found = (0..MOST).map_while(|index| camera.sizes(fourcc, index));
    let each = found.flat_map(|sizes| match sizes {
        Sizes::One(size) => vec![size],
        Sizes::Between { least, most, step } => {
            let fits = |value: u32, least: u32, most: u32, step: u32| {
                (least..=most).contains(&value) && (value - least).is_multiple_of(step.max(1))
            };
            let usual = USUAL.into_iter().filter(|size| {
                fits(size.0, least.0, most.0, step.0) && fits(size.1, least.1, most.1, step.1) && *size != most
            });
            usual.chain([most]).collect()
        }
    });
    each.collect()
}

/// Of a range of rates those that people ask for, and its ends.
fn each_rate(rates: Rates) -> Vec<f64> {
    match rates {
        Rates::One(rate) => vec![rate],
        Rates::Between { least, most } => {
            let usual = [60.0, 50.0, 30.0, 25.0, 15.0, 10.0, 5.0];
            let within = usual.into_iter().filter(|rate| (least..=most).contains(rate));
            within.chain([least, most]).collect()
        }
    }
}

fn name(fourcc: [u8; 4]) -> Option<&'static str> {
    let found = FORMATS.iter().find(|(known, ..)| *known == fourcc);
    found.map(|(_, _, name)| *name)
}

fn size_of((width, height): (u32, u32)) -> String {
    format!("{width}x{height}")
}

fn one(mode: &Mode) -> String {
    let format = name(mode.fourcc).unwrap_or("?");
    format!("{format} {} at {:.4} pictures a second", size_of(mode.size), mode.fps)
}

/// The sizes that there are, each once.
fn told(modes: &[Mode]) -> String {
    let mut sizes: Vec<(u32, u32)> = modes.iter().map(|mode| mode.size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes.into_iter().map(size_of).collect::<Vec<_>>().join(", ")
}

/// Who has a device open, by what the system lets us see: `firefox (pid 7)`.
pub(crate) fn users(device: &Path) -> Option<String> {
    let device = fs::canonicalize(device).ok()?;
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let found = processes.filter_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let open = fs::read_dir(process.path().join("fd")).ok()?.flatten();
        let has_it = open
            .filter_map(|file| fs::read_link(file.path()).ok())
            .any(|file| file == device);
        let name = fs::read_to_string(process.path().join("comm")).ok()?;
        (has_it && pid != std::process::id()).then(|| format!("{} (pid {pid})", name.trim()))
    });
    let found: Vec<String> = found.collect();
    (!found.is_empty()).then(|| found.join(", "))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    /// A usual webcam's driver, with a range besides.
    struct Webcam;

    impl Ioctls for Webcam {
        fn format(&self, index: u32) -> Option<[u8; 4]> {
            [*b"YUYV", *b"odd!", *b"MJPG"]
                .get(usize::try_from(index).unwrap())
                .copied()
        }

        fn sizes(&self, fourcc: [u8; 4], index: u32) -> Option<Sizes> {
            match (&fourcc, index) {
                (b"YUYV", 0) => Some(Sizes::One((640, 480))),
                (b"YUYV", 1) => Some(Sizes::One((1280, 720))),
                (b"MJPG", 0) => Some(Sizes::Between {
                    least: (160, 120),
                    most: (2592, 1944),
                    step: (8, 8),
                }),
                _ => None,
            }
        }

        fn rates(&self, fourcc: [u8; 4], size: (u32, u32), index: u32) -> Option<Rates> {
            match (&fourcc, size, index) {
                (b"YUYV", (640, 480), 0) => Some(Rates::One(30.0)),
                (b"YUYV", _, 0) => Some(Rates::One(10.0)),
                (b"MJPG", _, 0) => Some(Rates::Between { least: 1.0, most: 30.0 }),
                _ => None,
            }
        }
    }

    fn taken(wanted: CameraOptions, fps: u32, edge: u32) -> Option<(&'static str, (u32, u32), f64)> {
        let mode = choose(&modes(&Webcam), &wish(&wanted, fps, edge))?;
        Some((name(mode.fourcc)?, mode.size, mode.fps))
    }

    #[test]
    fn modes_of_a_driver_are_read_and_the_one_that_fits_is_taken() {
        let any = CameraOptions::default();
        assert_eq!(taken(any, 30, 640), Some(("yuyv422", (640, 480), 30.0)));
        assert_eq!(taken(any, 30, 1280), Some(("mjpeg", (1280, 720), 30.0)));
        assert_eq!(taken(any, 10, 1280), Some(("yuyv422", (1280, 720), 10.0)));
        assert_eq!(taken(any, 25, 4096), Some(("mjpeg", (2592, 1944), 25.0)));
        let named = CameraOptions {
            size: Some((800, 600)),
            fps: Some(15),
            ..any
        };
        assert_eq!(taken(named, 30, 1280), Some(("mjpeg", (800, 600), 15.0)));
        let raw = CameraOptions {
            size: Some((800, 600)),
            format: Some(CameraFormat::Raw),
            ..any
        };
        assert_eq!(taken(raw, 30, 1280), None);
        assert_eq!(
            as_asked(&raw, 30),
            [("framerate", "30".to_owned()), ("video_size", "800x600".to_owned())]
        );
    }

    #[test]
    fn what_is_no_camera_has_no_modes_and_no_words_of_its_own() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(modes(&File::open(file.path()).unwrap()).is_empty());
        let asked = options(file.path(), &CameraOptions::default(), 25, 1280);
        assert_eq!(asked, [("framerate", "25".to_owned())]);
    }

    #[test]
    fn who_has_a_device_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(users(file.path()), None);
        #[expect(clippy::disallowed_methods, reason = "somebody else who has it")]
        let mut holder = std::process::Command::new("sleep")
            .arg("60")
            .stdin(File::open(file.path()).unwrap())
            .spawn()
            .unwrap();
        let told = users(file.path());
        holder.kill().unwrap();
        holder.wait().unwrap();
        let named = told.is_some_and(|told| told.contains(&format!("(pid {})", holder.id())));
        assert!(named, "it is named");
    }
}
