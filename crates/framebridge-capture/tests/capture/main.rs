//! Sources and encoders with the real FFmpeg: what comes out of them is decoded and looked at.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]
#![expect(clippy::cast_precision_loss, reason = "test arithmetic on small numbers")]

mod cameras;
mod colours;
mod commands;
mod confined;
mod desktop;
mod files;
mod film;
mod network;
mod server;
mod shapes;

use std::{
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ffmpeg_next::{codec, decoder, frame};
use framebridge_capture::{
    Codec, Colours, EncodedFrame, Encoder, EncoderConfig, Interrupt, Picture, Source, SourceConfig, SourceError,
    choose, fit, image, nal_types,
};
use framebridge_config::{EncoderChoice, SourceTls};
use framebridge_proto::{encoder::ImageFormat, stamp};

const HD: EncoderConfig = EncoderConfig {
    size: (1280, 720),
    fps: 30,
    bitrate: 2_500_000,
    colours: Colours::HD,
};

fn config(url: &str, fps: u32) -> SourceConfig {
    SourceConfig {
        location: url.parse().unwrap(),
        fps,
        longest_edge: 1280,
        silence_limit: Duration::from_secs(2),
        tls: SourceTls::default(),
        feed: None,
    }
}

fn open(url: &str) -> Source {
    Source::open(&config(url, 30), &Interrupt::new()).unwrap()
}

fn next(source: &mut Source) -> Picture {
    let undue = source.read(&|| ()).unwrap();
    source.present(undue).unwrap()
}

/// The error as the encoder process tells it: with its causes.
fn refusal(url: &str) -> String {
    let error = Source::open(&config(url, 30), &Interrupt::new()).unwrap_err();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

fn encode(source: &mut Source, encoder: &mut Encoder, pictures: usize) -> Vec<EncodedFrame> {
    (0..pictures)
        .map(|_| {
            encoder
                .encode(&next(source), false)
                .unwrap()
                .expect("zerolatency holds none back")
        })
        .collect()
}

struct Decoder(decoder::Video);

impl Decoder {
    fn new() -> Self {
        let codec = decoder::find(codec::Id::H264).unwrap();
        Self(codec::Context::new_with_codec(codec).decoder().video().unwrap())
    }

    fn decode(&mut self, unit: &EncodedFrame) -> frame::Video {
        let mut packet = ffmpeg_next::Packet::copy(&unit.payload);
        packet.set_pts(i64::try_from(unit.pts).ok());
        self.0.send_packet(&packet).unwrap();
        let mut frame = frame::Video::empty();
        if self.0.receive_frame(&mut frame).is_err() {
            // FFmpeg's decoder gives a picture out with the next packet; flushing is what makes it do so at once.
            self.0.send_eof().unwrap();
            self.0.receive_frame(&mut frame).unwrap();
            self.0.flush();
        }
        frame
    }
}

fn read_stamp(frame: &frame::Video) -> Option<u64> {
    stamp::read(frame.data(0), frame.stride(0), frame.width())
}

fn unix_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Makes a short film with our own parts: 30 pictures of `test:` at 30 fps in a raw H.264 or any FFmpeg container.
fn film(path: &Path, pictures: usize) {
    let mut source = open("lavfi:testsrc2=size=320x240:rate=120");
    let mut encoder = Encoder::open(
        Codec::X264,
        EncoderConfig {
            size: (320, 240),
            fps: 30,
            bitrate: 500_000,
            colours: Colours::HD,
        },
    )
    .unwrap();
    let units = encode(&mut source, &mut encoder, pictures);
    let bytes: Vec<u8> = units.iter().flat_map(|unit| unit.payload.to_vec()).collect();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn the_test_source_comes_in_real_time_at_720p() {
    let mut source = open("test:");
    let started = Instant::now();
    let pictures: Vec<Picture> = (0..31).map(|_| next(&mut source)).collect();
    let took = started.elapsed();
    assert!(pictures.iter().all(|picture| picture.size() == (1280, 720)));
    assert!(pictures.is_sorted_by(|a, b| a.captured_ns < b.captured_ns));
    assert!(
        (Duration::from_millis(950)..Duration::from_secs(3)).contains(&took),
        "31 pictures in {took:?}"
    );
}

#[test]
fn every_start_is_sps_pps_idr_in_constrained_baseline_and_nothing_is_held_back() {
    let mut source = open("test:");
    let mut encoder = Encoder::open(Codec::X264, HD).unwrap();
    let mut units = encode(&mut source, &mut encoder, 10);
    units.push(encoder.encode(&next(&mut source), true).unwrap().unwrap());
    units.extend(encode(&mut source, &mut encoder, 5));
    let keyframes: Vec<usize> = (0..units.len()).filter(|&at| units[at].keyframe).collect();
    assert_eq!(keyframes, [0, 10], "only the first and the one asked for are IDRs");
    for (at, unit) in units.iter().enumerate() {
        // Access unit delimiters and SEI come and go; what counts is in this order.
        let types: Vec<u8> = nal_types(&unit.payload).filter(|kind| ![6, 9].contains(kind)).collect();
        let expected: &[u8] = if unit.keyframe { &[7, 8, 5] } else { &[1] };
        assert_eq!(types, expected, "picture {at}");
    }
    assert!(units.is_sorted_by(|a, b| a.pts < b.pts));
    let sps = units[0]
        .payload
        .windows(4)
        .find(|bytes| bytes[..3] == [0, 0, 1] && bytes[3] & 0x1f == 7);
    let start = sps
        .map(|sps| sps.as_ptr() as usize - units[0].payload.as_ptr() as usize + 4)
        .unwrap();
    let (profile, constraints) = (units[0].payload[start], units[0].payload[start + 1]);
    assert_eq!(
        (profile, constraints & 0x40),
        (66, 0x40),
        "profile_idc 66 with constraint_set1_flag"
    );
}

#[test]
fn the_stamp_survives_500_kbps_at_full_size_and_halved() {
    for longest_edge in [1280, 640] {
        let mut source = open("test:");
        let size = fit((1280, 720), longest_edge);
        let mut encoder = Encoder::open(
            Codec::X264,
            EncoderConfig {
                size,
                fps: 30,
                bitrate: 500_000,
                colours: Colours::HD,
            },
        )
        .unwrap();
        let units = encode(&mut source, &mut encoder, 60);
        let mut decoder = Decoder::new();
        let mut previous = 0;
        // With one decoder, each packet gives the picture before it.
        for unit in &units {
            let packet = ffmpeg_next::Packet::copy(&unit.payload);
            decoder.0.send_packet(&packet).unwrap();
            let mut frame = frame::Video::empty();
            if decoder.0.receive_frame(&mut frame).is_ok() {
                let stamp = read_stamp(&frame).expect("a stamp that can be read");
                assert!(stamp > previous && unix_ms().abs_diff(stamp) < 10_000);
                previous = stamp;
            }
        }
        assert!(previous > 0, "no picture was decoded at {longest_edge}");
    }
}

#[test]
fn the_bitrate_is_kept_and_can_be_changed_while_it_runs() {
    // Noise, which takes all the bits there are.
    let mut source = open("lavfi:testsrc2=size=640x360:rate=1000,noise=alls=40:allf=t");
    let mut encoder = Encoder::open(
        Codec::X264,
        EncoderConfig {
            size: (640, 360),
            fps: 30,
            bitrate: 2_000_000,
            colours: Colours::HD,
        },
    )
    .unwrap();
    let bits_per_second = |units: &[EncodedFrame]| {
        units.iter().map(|unit| unit.payload.len()).sum::<usize>() as f64 * 8.0 * 30.0 / units.len() as f64
    };
    let at_first = bits_per_second(&encode(&mut source, &mut encoder, 150)[30..]);
    encoder.set_bitrate(600_000);
    let lowered = encode(&mut source, &mut encoder, 150);
    assert!((1.4e6..2.4e6).contains(&at_first), "{at_first} of 2 Mb/s");
    let later = bits_per_second(&lowered[60..]);
    assert!((0.4e6..0.8e6).contains(&later), "{later} of 600 kb/s");
    assert!(
        lowered.iter().all(|unit| !unit.keyframe),
        "a change of rate needs no IDR"
    );
}

#[test]
fn pictures_of_any_size_and_format_are_brought_to_the_encoders() {
    let mut source = open("lavfi:testsrc=size=1279x719:rate=100,format=bgr0");
    let picture = next(&mut source);
    let size = fit(picture.size(), 640);
    let mut encoder = Encoder::open(
        Codec::X264,
        EncoderConfig {
            size,
            fps: 30,
            bitrate: 500_000,
            colours: Colours::HD,
        },
    )
    .unwrap();
    let unit = encoder.encode(&picture, false).unwrap().unwrap();
    let frame = Decoder::new().decode(&unit);
    assert_eq!((frame.width(), frame.height()), size);
}

#[test]
fn a_file_is_looped_in_real_time() {
    let dir = tempfile::tempdir().unwrap();
    // A name with what URLs and filter graphs would stumble over.
    let path = dir.path().join("a film, 100%:1.h264");
    film(&path, 12);
    let mut source = open(&format!("file:{}", path.display()));
    let interval = source.interval().unwrap();
    let started = Instant::now();
    for _ in 0..30 {
        assert_eq!(next(&mut source).size(), (320, 240));
    }
    let took = started.elapsed();
    assert!(took >= interval * 28, "30 pictures {interval:?} apart came in {took:?}");
}

#[test]
fn a_source_that_cannot_be_opened_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("text.mp4");
    std::fs::write(&text, "this is no film").unwrap();
    let empty = dir.path().join("empty.mp4");
    std::fs::write(&empty, "").unwrap();
    let sound = dir.path().join("sound.wav");
    film::ffmpeg(&["-f", "lavfi", "-i", "sine", "-t", "1", film::text(&sound)]);
    for (url, reason) in [
        ("file:/nonexistent/film.mp4".to_owned(), "No such file or directory"),
        (format!("file:{}", text.display()), "or no MP4 at all"),
        (format!("file:{}", empty.display()), "the file is empty"),
        (format!("file:{}", sound.display()), "there is no video in it"),
        ("v4l2:/dev/video-none".to_owned(), "No such file or directory"),
        ("lavfi:no_such_filter".to_owned(), "no_such_filter"),
        ("x11::4711".to_owned(), "can't connect to the display"),
        ("rtsp://127.0.0.1:1/stream".to_owned(), "Connection refused"),
    ] {
        let said = refusal(&url);
        assert!(said.contains(reason), "{url}: {said}");
    }
}

#[test]
fn a_password_is_not_in_the_reason() {
    let said = refusal("rtsp://admin:secret@127.0.0.1:1/stream");
    assert!(
        !said.contains("secret") && said.contains("Connection refused"),
        "{said}"
    );
}

#[test]
fn a_network_source_that_does_not_answer_is_given_up_and_one_that_is_stopped_ends_at_once() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("rtsp://{}/stream", silent.local_addr().unwrap());
    let brief = SourceConfig {
        silence_limit: Duration::from_millis(300),
        ..config(&url, 30)
    };
    assert!(matches!(
        Source::open(&brief, &Interrupt::new()),
        Err(SourceError::OpenTimeout { .. })
    ));

    let patient = SourceConfig {
        silence_limit: Duration::from_secs(60),
        ..config(&url, 30)
    };
    let interrupt = Interrupt::new();
    let opening = std::thread::spawn({
        let interrupt = interrupt.clone();
        move || Source::open(&patient, &interrupt).map(|_source| ())
    });
    // It has connected: it is inside FFmpeg.
    let first = silent.accept().unwrap();
    let second = silent.accept().unwrap();
    interrupt.stop();
    assert!(matches!(opening.join().unwrap(), Err(SourceError::Stopped)));
    drop((first, second));
}

#[test]
fn a_file_without_a_picture_ends_instead_of_looping_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("headers.h264");
    film(&path, 1);
    let film = std::fs::read(&path).unwrap();
    let slice = film
        .windows(4)
        .position(|bytes| bytes[..3] == [0, 0, 1] && bytes[3] & 0x1f == 5)
        .unwrap();
    std::fs::write(&path, film[..slice].repeat(20)).unwrap();
    match Source::open(&config(&format!("file:{}", path.display()), 30), &Interrupt::new()) {
        Ok(mut source) => assert!(matches!(source.read(&|| ()), Err(SourceError::Undecodable(_)))),
        Err(error) => assert!(matches!(error, SourceError::Open(_)), "{error}"),
    }
}

#[test]
fn the_choice_falls_back_to_software_and_says_why() {
    let software = choose(EncoderChoice::Software);
    assert_eq!(
        (software.codec, software.reason.as_str()),
        (Codec::X264, "software, as configured")
    );
    framebridge_capture::probe(Codec::X264).unwrap();
    let auto = choose(EncoderChoice::Auto);
    if auto.codec == Codec::X264 {
        for codec in Codec::HARDWARE {
            assert!(auto.reason.contains(codec.ffmpeg_name()), "{}", auto.reason);
        }
    } else {
        assert!(auto.reason.starts_with("hardware"), "{}", auto.reason);
    }
}

#[test]
fn snapshots_are_images_of_the_size_asked_for() {
    let picture = next(&mut open("test:"));
    let jpeg = image(&picture, ImageFormat::Jpeg, 4096).unwrap();
    assert_eq!(
        (&jpeg[..3], &jpeg[jpeg.len() - 2..]),
        (&[0xff, 0xd8, 0xff][..], &[0xff, 0xd9][..])
    );
    let png = image(&picture, ImageFormat::Png, 640).unwrap();
    assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
    let edge = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    assert_eq!((edge(16), edge(20)), (640, 360));
}
