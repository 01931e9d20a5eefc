//! Films made with FFmpeg's own program, and what the same program sees in ours.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use framebridge_capture::{Codec, EncodedFrame, Encoder, EncoderConfig, Picture, Source, clip, fit};

/// Runs `ffmpeg` with `arguments`; gives what it wrote.
pub(crate) fn ffmpeg(arguments: &[&str]) -> Vec<u8> {
    let output = run("ffmpeg", &[&["-nostdin", "-y", "-v", "error"], arguments].concat());
    assert!(
        output.status.success(),
        "ffmpeg {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// What `ffprobe` finds in the first video stream of `film`: the values of `entries`, in FFmpeg's order.
pub(crate) fn probe(film: &Path, entries: &str) -> Vec<String> {
    let entries = format!("stream={entries}");
    let arguments = [
        "-v",
        "error",
        "-select_streams",
        "v:0",
        "-show_entries",
        &entries,
        "-of",
        "default=nw=1:nk=1",
    ];
    let output = run("ffprobe", &[&arguments[..], &[text(film)]].concat());
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[expect(clippy::disallowed_methods, reason = "the judge of what we make")]
fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The same picture, encoded as a stream would be, as a film of its own.
pub(crate) fn encoded(dir: &Path, picture: &Picture, longest_edge: u32) -> PathBuf {
    let size = fit(picture.size(), longest_edge);
    let config = EncoderConfig {
        size,
        fps: 25,
        bitrate: 20_000_000,
        colours: picture.colours().sent(size),
    };
    let mut encoder = Encoder::open(Codec::X264, config).unwrap();
    let units: Vec<EncodedFrame> = [true, false]
        .map(|keyframe| {
            let later = Duration::from_millis(if keyframe { 0 } else { 40 });
            encoder.encode(&picture.again(later), keyframe).unwrap().unwrap()
        })
        .into();
    let film = dir.join("sent.mp4");
    fs::write(&film, clip(size, &units).unwrap().mp4).unwrap();
    film
}

/// The colours in the middles of `columns` equal columns of an image or a film's first picture.
pub(crate) fn colours(film: &Path, columns: usize) -> Vec<[u8; 3]> {
    let (width, height) = (columns * 2, 2);
    let size = [width.to_string(), height.to_string()];
    let filter = format!("scale={}:{}:flags=neighbor,format=rgb24", size[0], size[1]);
    let pixels = ffmpeg(&[
        "-i",
        text(film),
        "-frames:v",
        "1",
        "-vf",
        &filter,
        "-f",
        "rawvideo",
        "-",
    ]);
    let of = |column: usize| {
        let at = (width + column * 2) * 3;
        [pixels[at], pixels[at + 1], pixels[at + 2]]
    };
    (0..columns).map(of).collect()
}

/// So many pictures of a source as a film.
pub(crate) fn encoded_run(dir: &Path, source: &mut Source, pictures: usize) -> PathBuf {
    let mut encoder: Option<Encoder> = None;
    let mut units = Vec::new();
    let mut size = (0, 0);
    for _ in 0..pictures {
        let picture = crate::next(source);
        size = picture.size();
        let encoder = encoder.get_or_insert_with(|| {
            let config = EncoderConfig {
                size,
                fps: 25,
                bitrate: 20_000_000,
                colours: picture.colours().sent(size),
            };
            Encoder::open(Codec::X264, config).unwrap()
        });
        units.extend(encoder.encode(&picture, false).unwrap());
    }
    let film = dir.join("run.mp4");
    fs::write(&film, clip(size, &units).unwrap().mp4).unwrap();
    film
}
