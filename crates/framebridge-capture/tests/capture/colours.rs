//! A painted colour arrives: in the stream, in a clip, and in both kinds of snapshot.

use std::{fs, path::Path};

use framebridge_capture::{Picture, image};
use framebridge_proto::encoder::ImageFormat;

use crate::{
    film::{colours, encoded, ffmpeg, probe, text},
    next, open,
};

const PAINTED: [[u8; 3]; 7] = [
    [255, 0, 0],
    [0, 255, 0],
    [0, 0, 255],
    [255, 255, 0],
    [0x33, 0x66, 0x99],
    [128, 128, 128],
    [0, 0, 0],
];

/// How far each channel may be off.
const TOLERANCE: u8 = 4;

/// A graph that paints the colours side by side, in RGB.
pub(crate) fn painted(width: u32, height: u32) -> String {
    let stripe = width / 7 + 1;
    let mut graph = String::new();
    let mut inputs = String::new();
    for (number, [red, green, blue]) in PAINTED.iter().enumerate() {
        graph += &format!("color=c=0x{red:02x}{green:02x}{blue:02x}:s={stripe}x{height}:r=25,format=gbrp[c{number}];");
        inputs += &format!("[c{number}]");
    }
    format!("{graph}{inputs}hstack=inputs=7,scale={width}:{height}:flags=neighbor,format=gbrp,setsar=1")
}

pub(crate) fn assert_painted(what: &str, film: &Path) {
    for (seen, painted) in colours(film, 7).iter().zip(&PAINTED) {
        let off = seen
            .iter()
            .zip(painted)
            .map(|(seen, painted)| seen.abs_diff(*painted))
            .max();
        assert!(off.unwrap() <= TOLERANCE, "{what}: {painted:?} arrived as {seen:?}");
    }
}

/// Looks at `picture` in all the ways in which it can be had. Gives what the stream says of its colours at 1920 and 640 pixels.
fn look(what: &str, picture: &Picture) -> [Vec<String>; 2] {
    let dir = tempfile::tempdir().unwrap();
    for (format, name) in [(ImageFormat::Png, "png"), (ImageFormat::Jpeg, "jpg")] {
        let path = dir.path().join("snapshot").with_extension(name);
        fs::write(&path, image(picture, format, 1920).unwrap()).unwrap();
        // JPEG itself is good to a few numbers only; both errors may meet.
        if format == ImageFormat::Png {
            assert_painted(&format!("{what}, PNG"), &path);
        } else {
            assert_painted(&format!("{what}, JPEG"), &path);
        }
    }
    [1920, 640].map(|edge| {
        let film = encoded(dir.path(), picture, edge);
        assert_painted(&format!("{what}, encoded at {edge}"), &film);
        probe(&film, "color_range,color_space,color_transfer,color_primaries")
    })
}

#[test]
fn rgb_arrives_as_it_was_painted_and_the_stream_says_how() {
    for format in ["bgr0", "rgb24", "gbrp", "rgb48le", "gbrp10le", "rgb0", "0bgr"] {
        let graph = format!("lavfi:{},format={format}", painted(1920, 1080));
        let said = look(format, &next(&mut open(&graph)));
        assert_eq!(said[0], ["tv", "bt709", "bt709", "bt709"], "{format}");
        assert_eq!(said[1], ["tv", "smpte170m", "bt709", "bt709"], "{format}");
    }
}

#[test]
fn what_ffmpegs_filters_paint_arrives() {
    for size in [(1920, 1080), (640, 360)] {
        // They paint by BT.601 at any size, and do not say so.
        let graph = format!("lavfi:{},format=yuv420p", painted(size.0, size.1));
        let said = look("yuv420p of a graph", &next(&mut open(&graph)));
        assert_eq!(said[0][..2], ["tv", "smpte170m"]);
    }
}

/// FFmpeg rounds down where it paints these from RGB, which costs 5 in blue; out of yuv422p it packs the numbers as they are.
#[test]
fn what_webcams_send_arrives() {
    for packed in ["yuyv422", "uyvy422"] {
        let graph = format!("lavfi:{},format=yuv422p,format={packed}", painted(640, 360));
        look(packed, &next(&mut open(&graph)));
    }
}

/// A film of the painted colours.
fn film(dir: &Path, name: &str, size: (u32, u32), filter: &str, arguments: &[&str]) -> std::path::PathBuf {
    let path = dir.join(name);
    let graph = painted(size.0, size.1);
    let input = ["-f", "lavfi", "-t", "0.12", "-i", &graph, "-vf", filter];
    ffmpeg(&[&input[..], arguments, &[text(&path)]].concat());
    path
}

fn arrives(path: &Path) -> [Vec<String>; 2] {
    look(text(path), &next(&mut open(&format!("file:{}", path.display()))))
}

const X264: [&str; 6] = ["-c:v", "libx264", "-preset", "ultrafast", "-qp", "2"];

#[test]
fn what_says_nothing_is_bt709_where_it_is_hd_and_else_bt601() {
    let dir = tempfile::tempdir().unwrap();
    for (name, size, matrix, said) in [
        ("hd.mp4", (1920, 1080), "bt709", "bt709"),
        ("sd.mp4", (720, 576), "bt601", "smpte170m"),
    ] {
        let filter = format!("scale=out_color_matrix={matrix}:out_range=tv,format=yuv420p");
        let path = film(dir.path(), name, size, &filter, &X264);
        assert_eq!(probe(&path, "color_space"), ["unknown"]);
        assert_eq!(arrives(&path)[0], ["tv", said, "bt709", "bt709"]);
    }
}

#[test]
fn what_is_said_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    for (name, matrix, tag, range) in [
        ("601.mp4", "bt601", "smpte170m", "tv"),
        ("pal.mp4", "bt601", "bt470bg", "tv"),
        ("709.mp4", "bt709", "bt709", "tv"),
        ("full.mp4", "bt709", "bt709", "pc"),
        ("full601.mp4", "bt601", "smpte170m", "pc"),
    ] {
        let filter = format!("scale=out_color_matrix={matrix}:out_range={range},format=yuv420p");
        let tags = ["-colorspace", tag, "-color_range", range, "-color_trc", "iec61966-2-1"];
        let path = film(dir.path(), name, (1920, 1080), &filter, &[&X264[..], &tags].concat());
        let said = arrives(&path);
        assert_eq!(said[0], ["tv", tag, "iec61966-2-1", "bt709"], "{name}");
        assert_eq!(said[1][1], tag, "{name}: scaling changes no colours");
    }
}

#[test]
fn the_full_range_of_other_codecs_arrives() {
    let dir = tempfile::tempdir().unwrap();
    let full = "scale=out_color_matrix=bt709:out_range=pc,format=yuv420p";
    let tags = ["-colorspace", "bt709", "-color_range", "pc"];
    for (name, codec) in [
        ("vp9.webm", &["-c:v", "libvpx-vp9", "-lossless", "1"][..]),
        ("av1.mkv", &["-c:v", "libsvtav1", "-qp", "4", "-preset", "10"]),
        (
            "hevc.mp4",
            &[
                "-c:v",
                "libx265",
                "-x265-params",
                "log-level=error:qp=2",
                "-preset",
                "ultrafast",
            ],
        ),
    ] {
        let path = film(dir.path(), name, (1280, 720), full, &[codec, &tags].concat());
        assert_eq!(arrives(&path)[0][..2], ["tv", "bt709"], "{name}");
    }
    let jpeg = "scale=out_color_matrix=bt601:out_range=pc,format=yuvj422p";
    let path = film(
        dir.path(),
        "mjpeg.avi",
        (1920, 1080),
        jpeg,
        &["-c:v", "mjpeg", "-q:v", "1"],
    );
    assert_eq!(arrives(&path)[0][0], "tv");
}

#[test]
fn bt2020_becomes_bt709() {
    let dir = tempfile::tempdir().unwrap();
    for (format, range) in [
        ("yuv420p10le", "tv"),
        ("yuv420p10le", "pc"),
        ("yuv420p", "tv"),
        ("yuv422p12le", "tv"),
    ] {
        let filter = format!(
            "zscale=pin=bt709:tin=bt709:min=gbr:rin=pc:p=bt2020:t=bt2020-10:m=bt2020nc:r={range},format={format}"
        );
        let tags = [
            "-c:v",
            "ffv1",
            "-colorspace",
            "bt2020nc",
            "-color_primaries",
            "bt2020",
            "-color_trc",
            "bt2020-10",
            "-color_range",
            range,
        ];
        let path = film(dir.path(), "2020.mkv", (1280, 720), &filter, &tags);
        let picture = next(&mut open(&format!("file:{}", path.display())));
        let png = dir.path().join("snapshot.png");
        fs::write(&png, image(&picture, ImageFormat::Png, 1280).unwrap()).unwrap();
        assert_painted(&format!("BT.2020, {format} {range}"), &png);
        let sent = encoded(dir.path(), &picture, 1280);
        if format != "yuv420p" {
            // Eight bits of BT.2020 are good to four in a dark channel, and both errors may meet.
            assert_painted(&format!("BT.2020, {format} {range}, sent"), &sent);
        }
        let said = probe(&sent, "color_range,color_space,color_transfer,color_primaries");
        assert_eq!(said, ["tv", "bt709", "bt709", "bt709"]);
    }
}

#[test]
fn hdr_is_tone_mapped_to_what_bt709_shows() {
    let dir = tempfile::tempdir().unwrap();
    for transfer in ["smpte2084", "arib-std-b67"] {
        let filter = format!(
            "zscale=pin=bt709:tin=bt709:min=gbr:rin=pc:p=bt2020:t={transfer}:m=bt2020nc:r=tv:npl=203,format=yuv420p10le"
        );
        let tags = [
            "-colorspace",
            "bt2020nc",
            "-color_primaries",
            "bt2020",
            "-color_trc",
            transfer,
        ];
        let path = film(
            dir.path(),
            "hdr.mp4",
            (1280, 720),
            &filter,
            &[&X264[..], &tags].concat(),
        );
        let picture = next(&mut open(&format!("file:{}", path.display())));
        let film = encoded(dir.path(), &picture, 1280);
        assert_eq!(probe(&film, "color_space,color_transfer,color_primaries"), ["bt709"; 3]);
        let seen = colours(&film, 7);
        let [red, green, blue, _, _, grey, black] = seen[..] else {
            panic!("{seen:?}")
        };
        assert!(
            red[0] > 180 && red[1] < 110 && red[2] < 110,
            "{transfer}: red is {red:?}"
        );
        assert!(
            green[1] > 180 && green[0] < 110 && green[2] < 110,
            "{transfer}: green is {green:?}"
        );
        assert!(
            blue[2] > 180 && blue[0] < 110 && blue[1] < 110,
            "{transfer}: blue is {blue:?}"
        );
        assert!(
            grey.iter().all(|part| (100..180).contains(part)),
            "{transfer}: grey is {grey:?}"
        );
        assert!(black.iter().all(|part| *part < 8), "{transfer}: black is {black:?}");
    }
}

#[test]
fn every_pixel_format_arrives() {
    for format in [
        "yuv410p",
        "yuv411p",
        "yuv420p10le",
        "yuv420p16le",
        "yuv422p",
        "yuv422p12le",
        "yuv440p",
        "yuv444p",
        "yuv444p16le",
        "nv12",
        "nv21",
        "p010le",
        "yuva420p",
        "yuva444p10le",
        "rgba",
        "argb",
        "gbrap",
        "rgba64le",
    ] {
        let graph = format!("lavfi:{},format={format}", painted(1280, 720));
        look(format, &next(&mut open(&graph)));
    }
}

#[test]
fn grey_and_palettes_arrive_and_what_shines_through_is_black_behind() {
    let seen = |graph: &str| {
        let picture = next(&mut open(graph));
        let dir = tempfile::tempdir().unwrap();
        colours(&encoded(dir.path(), &picture, 1280), 7)
    };
    for format in ["gray", "gray10le", "gray16le", "ya8"] {
        for [red, green, blue] in seen(&format!("lavfi:{},format={format}", painted(1280, 720))) {
            assert!(
                red.abs_diff(green) <= 2 && blue.abs_diff(green) <= 2,
                "{format}: {red} {green} {blue}"
            );
        }
        let grey = seen(&format!(
            "lavfi:color=c=0x808080:s=1280x720:r=25,format=gbrp,format={format}"
        ))[0];
        assert!(
            grey.iter().all(|part| part.abs_diff(128) <= TOLERANCE),
            "{format}: {grey:?}"
        );
    }
    let half = seen("lavfi:color=c=0xff8000@0.5:s=1280x720:r=25,format=rgba")[0];
    for (seen, wanted) in half.iter().zip([128, 64, 0]) {
        assert!(seen.abs_diff(wanted) <= TOLERANCE, "half of orange is {half:?}");
    }
    let dir = tempfile::tempdir().unwrap();
    let palette = "split[a][b];[a]palettegen=reserve_transparent=0[p];[b][p]paletteuse=dither=none";
    arrives(&film(dir.path(), "palette.gif", (1280, 720), palette, &[]));
}
