//! The shape of a picture is that which players show.

use std::path::{Path, PathBuf};

use framebridge_capture::{Picture, image};
use framebridge_proto::encoder::ImageFormat;

use crate::{
    film::{colours, encoded, ffmpeg, probe, text},
    next, open,
};

/// A film of a graph.
fn film(path: &Path, graph: &str, arguments: &[&str]) -> PathBuf {
    let input = ["-f", "lavfi", "-i", graph];
    ffmpeg(&[&input[..], arguments, &["-pix_fmt", "yuv420p", text(path)]].concat());
    path.to_owned()
}

fn first(path: &Path) -> Picture {
    next(&mut open(&format!("file:{}", path.display())))
}

const X264: [&str; 4] = ["-c:v", "libx264", "-preset", "ultrafast"];

#[test]
fn oblong_pixels_become_square() {
    let dir = tempfile::tempdir().unwrap();
    for (size, aspect, seen) in [("720x576", "16/11", (1048, 576)), ("720x480", "10/11", (654, 480))] {
        for name in ["film.mp4", "film.ts", "film.mkv"] {
            let graph = format!("testsrc2=s={size}:r=25,setsar={aspect}");
            let path = film(
                &dir.path().join(name),
                &graph,
                &[&["-frames:v", "3"], &X264[..]].concat(),
            );
            let picture = first(&path);
            assert_eq!(picture.size(), seen, "{name} with {aspect}");
            let sent = encoded(dir.path(), &picture, 1280);
            assert_eq!(probe(&sent, "width,height"), [seen.0.to_string(), seen.1.to_string()]);
            let png = dir.path().join("snapshot.png");
            std::fs::write(&png, image(&picture, ImageFormat::Png, 1280).unwrap()).unwrap();
            assert_eq!(probe(&png, "width,height"), [seen.0.to_string(), seen.1.to_string()]);
        }
    }
}

/// Red, green, blue and white in the four corners' places.
const CORNERS: &str = "color=c=red:s=320x180:r=25[a];color=c=lime:s=320x180:r=25[b];color=c=blue:s=320x180:r=25[c];\
    color=c=white:s=320x180:r=25[d];[a][b]hstack[t];[c][d]hstack[u];[t][u]vstack";

#[test]
fn what_is_turned_or_mirrored_is_shown_upright() {
    let dir = tempfile::tempdir().unwrap();
    let upright = film(
        &dir.path().join("a.mp4"),
        CORNERS,
        &[&["-frames:v", "3"], &X264[..]].concat(),
    );
    let turned = dir.path().join("b.mp4");
    for degrees in ["0", "90", "180", "270"] {
        let rotate = format!("rotate={degrees}");
        ffmpeg(&[
            "-i",
            text(&upright),
            "-c",
            "copy",
            "-metadata:s:v:0",
            &rotate,
            text(&turned),
        ]);
        let shown = dir.path().join("shown.png");
        ffmpeg(&["-i", text(&turned), "-frames:v", "1", text(&shown)]);
        let picture = first(&turned);
        let size = [picture.size().0.to_string(), picture.size().1.to_string()];
        assert_eq!(size[..], probe(&shown, "width,height")[..], "turned by {degrees}");
        let sent = encoded(dir.path(), &picture, 640);
        for (ours, theirs) in colours(&sent, 2)
            .iter()
            .flatten()
            .zip(colours(&shown, 2).iter().flatten())
        {
            assert!(
                ours.abs_diff(*theirs) <= 40,
                "turned by {degrees}: {:?}",
                colours(&sent, 2)
            );
        }
    }
}

/// How many pictures of `film` look interlaced, and how many whole, to FFmpeg.
fn combs(film: &Path) -> (usize, usize) {
    let arguments = [
        "-i",
        text(film),
        "-vf",
        "idet,metadata=print:key=lavfi.idet.multiple.current_frame:file=-",
        "-f",
        "null",
        "-",
    ];
    let said = String::from_utf8(ffmpeg(&arguments)).unwrap();
    (
        said.matches("=tff").count() + said.matches("=bff").count(),
        said.matches("=progressive").count(),
    )
}

#[test]
fn fields_are_made_whole_and_whole_pictures_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    for (name, graph, arguments, deinterlaced) in [
        (
            "tff.mp4",
            "testsrc2=s=720x576:r=50,tinterlace=mode=interleave_top,fieldorder=tff",
            &["-flags", "+ilme+ildct", "-x264-params", "tff=1"][..],
            true,
        ),
        (
            "bff.mp4",
            "testsrc2=s=720x576:r=50,tinterlace=mode=interleave_bottom,fieldorder=bff",
            &["-flags", "+ilme+ildct", "-x264-params", "bff=1"],
            true,
        ),
        ("whole.mp4", "testsrc2=s=720x576:r=25", &[], false),
        // Combs without the flag are part of the picture.
        (
            "unsaid.mp4",
            "testsrc2=s=720x576:r=50,tinterlace=mode=interleave_top,setfield=prog",
            &[],
            false,
        ),
    ] {
        let path = film(
            &dir.path().join(name),
            graph,
            &[&["-frames:v", "40"], &X264[..], arguments].concat(),
        );
        let before = combs(&path);
        let mut source = open(&format!("file:{}", path.display()));
        let sent = crate::film::encoded_run(dir.path(), &mut source, 40);
        let after = combs(&sent);
        if deinterlaced {
            assert!(before.0 > 25, "{name}: {before:?}");
            assert!(after.0 <= 5 && after.1 > 30, "{name}: {before:?} became {after:?}");
        } else {
            assert!(after.0.abs_diff(before.0) <= 3, "{name}: {before:?} became {after:?}");
        }
    }
}

#[test]
fn any_size_is_shown_and_a_change_of_size_followed() {
    let dir = tempfile::tempdir().unwrap();
    for (size, seen) in [
        ((641, 361), (640, 360)),
        ((360, 640), (360, 640)),
        ((1920, 1080), (1920, 1080)),
        ((4096, 2160), (4096, 2160)),
        ((17, 16), (16, 16)),
    ] {
        let graph = format!("lavfi:testsrc=s={}x{}:r=25", size.0, size.1);
        let sent = encoded(dir.path(), &next(&mut open(&graph)), 4096);
        assert_eq!(
            probe(&sent, "width,height"),
            [seen.0.to_string(), seen.1.to_string()],
            "{size:?}"
        );
    }
    let parts = ["320x240", "640x360"].map(|size| {
        let path = dir.path().join(size).with_extension("h264");
        film(
            &path,
            &format!("testsrc2=s={size}:r=25"),
            &[&["-frames:v", "5"], &X264[..]].concat(),
        );
        std::fs::read(path).unwrap()
    });
    let path = dir.path().join("both.h264");
    std::fs::write(&path, parts.concat()).unwrap();
    let mut source = open(&format!("file:{}", path.display()));
    let sizes: Vec<_> = (0..10).map(|_| next(&mut source).size()).collect();
    assert_eq!(sizes, [[(320, 240); 5], [(640, 360); 5]].concat());
}

#[test]
fn the_picture_is_the_one_that_players_show() {
    let dir = tempfile::tempdir().unwrap();
    let cover = dir.path().join("cover.png");
    ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        "color=c=red:s=800x800",
        "-frames:v",
        "1",
        text(&cover),
    ]);
    let path = dir.path().join("covered.mp4");
    ffmpeg(
        &[
            &[
                "-i",
                text(&cover),
                "-f",
                "lavfi",
                "-i",
                "testsrc2=s=320x180:r=25",
                "-map",
                "0",
                "-map",
                "1",
            ][..],
            &[
                "-c:v:0",
                "png",
                "-disposition:v:0",
                "attached_pic",
                "-c:v:1",
                "libx264",
                "-t",
                "1",
                text(&path),
            ],
        ]
        .concat(),
    );
    assert_eq!(first(&path).size(), (320, 180), "not the cover");
    let path = dir.path().join("two.mkv");
    let (small, large) = ("testsrc2=s=320x180:r=25", "testsrc2=s=640x360:r=25");
    for (chosen, size) in [(0, (320, 180)), (1, (640, 360))] {
        let (yes, no) = (
            format!("-disposition:v:{chosen}"),
            format!("-disposition:v:{}", 1 - chosen),
        );
        ffmpeg(
            &[
                &[
                    "-f", "lavfi", "-i", small, "-f", "lavfi", "-i", large, "-map", "0", "-map", "1", "-c:v", "libx264",
                ][..],
                &["-t", "1", &yes, "default", &no, "0", text(&path)],
            ]
            .concat(),
        );
        assert_eq!(first(&path).size(), size, "the one that its author chose");
    }
}
