//! Sources as people have them, seen in a browser.

use framebridge_tests::system::System;

use crate::playback::watch;

const PAINTED: [[i64; 3]; 5] = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0x33, 0x66, 0x99]];

/// How far each channel may be off.
const TOLERANCE: i64 = 4;

/// Chromium without a graphics card turns BT.709 into RGB with a factor for blue that fits into a signed byte, 128/64 instead of
/// 2.112: up to 12 off in blue, whoever encoded it. What FFmpeg reads out of the same stream is within [`TOLERANCE`].
const BLUE_OF_BT709: i64 = 13;

/// The colours in the middles of five columns of the picture that the page shows.
const SHOWN: &str = "(() => {
    const video = document.querySelector('video'), canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    const context = canvas.getContext('2d');
    context.drawImage(video, 0, 0);
    const column = (number) => context.getImageData(canvas.width * (number + 0.5) / 5, canvas.height / 2, 1, 1).data;
    return [0, 1, 2, 3, 4].map((number) => [...column(number)].slice(0, 3));
})()";

/// A graph that paints the colours side by side in RGB, and then does `further` with the picture.
fn painted(further: &str) -> String {
    let mut graph = String::from("lavfi:");
    for (number, [red, green, blue]) in PAINTED.iter().enumerate() {
        graph += &format!("color=c=0x{red:02x}{green:02x}{blue:02x}:s=384x1080:r=10,format=gbrp[c{number}];");
    }
    graph + "[c0][c1][c2][c3][c4]hstack=inputs=5," + further
}

#[test]
fn painted_colour_arrives_whatever_the_stream_says_its_numbers_mean() {
    // The filters' own YUV is BT.601 at any size; RGB is sent as BT.709 at 1920 and as BT.601 at 640 pixels.
    let (rgb, bt601) = (painted("format=bgr0"), painted("format=yuv420p"));
    for (longest_edge, blue_of_rgb) in [(640, TOLERANCE), (1920, BLUE_OF_BT709)] {
        let streams = [("rgb", rgb.as_str(), blue_of_rgb), ("sd", &bt601, TOLERANCE)];
        let sources = streams.map(|(name, source, _)| (name, source));
        let system = System::start_with(&sources, &format!("[video]\nlongest_edge = {longest_edge}")).unwrap();
        for (stream, _, blue) in streams {
            let page = watch(&system, stream);
            let shown = page.evaluate(SHOWN).unwrap();
            for (number, painted) in PAINTED.iter().enumerate() {
                for (channel, (painted, tolerance)) in painted.iter().zip([TOLERANCE, TOLERANCE, blue]).enumerate() {
                    let seen = shown[number][channel].as_i64().unwrap();
                    assert!(
                        (seen - painted).abs() <= tolerance,
                        "{stream} at {longest_edge}: {PAINTED:?} arrived as {shown}"
                    );
                }
            }
        }
    }
}

#[test]
fn slow_source_is_live_all_the_time_and_told_as_slow() {
    let system = System::start(&[("slow", "lavfi:testsrc2=size=640x360:rate=1/4")]).unwrap();
    let page = watch(&system, "slow");
    // Four of its pictures: more than any watchdog's patience with a fast source.
    let rate = page.rate(16).unwrap();
    assert!(rate >= 1.0, "its last picture is shown anew {rate:.1} times a second");
    assert_eq!(page.state().unwrap(), "live");
    assert_eq!(page.sessions().unwrap().len(), 1);
    assert_eq!(system.process("encoder-slow").unwrap().restarts, 0);
    let why = String::from_utf8(system.bridgectl(&["why", "slow"]).unwrap().stdout).unwrap();
    assert!(why.contains("1 picture in 4 s"), "{why}");
}
