//! Sources on a network, each with a real server at the other end.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use framebridge_capture::{Source, SourceError, image};
use framebridge_proto::encoder::ImageFormat;

use crate::{
    colours::{assert_painted, painted},
    film::{ffmpeg, text},
    next, open, refusal,
    server::{Sender, Server, free_port, http, open_soon},
};

/// Shorter than a source is given that sends no picture.
const NO_PICTURE: Duration = Duration::from_secs(10);

const X264: [&str; 10] = [
    "-c:v",
    "libx264",
    "-preset",
    "ultrafast",
    "-tune",
    "zerolatency",
    "-g",
    "10",
    "-qp",
    "4",
];

/// The next picture shows what was painted.
fn assert_shows(what: &str, source: &mut Source) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("snapshot.png");
    fs::write(&path, image(&next(source), ImageFormat::Png, 640).unwrap()).unwrap();
    assert_painted(what, &path);
}

/// What is painted, as BT.601 says in so many words: some containers can't.
fn graph() -> String {
    format!("{},format=yuv420p", painted(640, 360))
}

#[test]
fn what_is_painted_arrives_by_every_protocol() {
    let port = free_port();
    for (url, output) in [
        (
            format!("http://127.0.0.1:{port}/live.ts"),
            ["-listen", "1", "-f", "mpegts"],
        ),
        (
            format!("rtmp://127.0.0.1:{port}/live/door"),
            ["-listen", "1", "-f", "flv"],
        ),
        (format!("srt://127.0.0.1:{port}"), ["-mode", "listener", "-f", "mpegts"]),
        (format!("udp://127.0.0.1:{port}"), ["-pkt_size", "1316", "-f", "mpegts"]),
        (
            format!("udp://@239.255.77.1:{port}?localaddr=127.0.0.1"),
            ["-pkt_size", "1316", "-f", "mpegts"],
        ),
    ] {
        let _sender = Sender::start(&graph(), &[&X264[..], &output, &[url.as_str()]].concat());
        let mut source = open_soon(&url);
        assert!(source.is_uneven(), "{url} is live");
        assert_shows(&url, &mut source);
    }
}

#[test]
fn sender_that_falls_silent_is_told_as_that() {
    let url = format!("udp://127.0.0.1:{}", free_port());
    let output = ["-pkt_size", "1316", "-f", "mpegts", url.as_str()];
    let sender = Sender::start(&graph(), &[&X264[..], &output].concat());
    let mut source = open_soon(&url);
    next(&mut source);
    drop(sender);
    let error = loop {
        if let Err(error) = source.read(&|| ()) {
            break error;
        }
    };
    assert!(matches!(error, SourceError::Silent { .. }), "{error:?}");
}

#[test]
fn group_that_no_network_leads_to_is_told_with_what_to_do() {
    let told = refusal("udp://@239.255.77.1:5004?localaddr=192.0.2.77");
    assert!(
        told.contains("no network of this machine leads to this group"),
        "{told}"
    );
}

/// A folder on HTTP.
fn folder(dir: &Path) -> Server {
    let dir = dir.to_owned();
    Server::start(move |_, request| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        match fs::read(dir.join(path.trim_start_matches('/'))) {
            Ok(bytes) => http("200 OK", "application/octet-stream", &bytes),
            Err(_) => http("404 Not Found", "text/plain", b"nothing"),
        }
    })
}

#[test]
fn a_playlist_and_a_film_on_http_are_shown_in_real_time_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let (graph, playlist, film) = (graph(), dir.path().join("index.m3u8"), dir.path().join("film.mp4"));
    let input = ["-f", "lavfi", "-t", "1.2", "-i", &graph];
    let segments = ["-f", "hls", "-hls_time", "0.4", "-hls_playlist_type", "vod"];
    ffmpeg(&[&input[..], &X264, &segments, &[text(&playlist)]].concat());
    ffmpeg(&[&input[..], &X264, &[text(&film)]].concat());
    let server = folder(dir.path());
    for name in ["index.m3u8", "film.mp4"] {
        let url = format!("http://127.0.0.1:{}/{name}", server.port);
        let mut source = open_soon(&url);
        assert!(!source.is_uneven(), "{url} is recorded");
        assert_shows(&url, &mut source);
        let started = Instant::now();
        for _ in 0..45 {
            next(&mut source);
        }
        let took = started.elapsed().as_secs_f64();
        assert!(
            (1.4..6.0).contains(&took),
            "{url}: 45 pictures of 1/25 s in {took} s, 30 of them recorded"
        );
    }
}

/// Such a server gives the whole of it, wherever it is asked to begin; what is longer than FFmpeg's buffer ends early then.
#[test]
fn film_begins_again_also_where_its_server_gives_no_part_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let film = dir.path().join("film.mp4");
    let input = ["-f", "lavfi", "-t", "1", "-i", "testsrc2=s=640x360:r=25"];
    let heavy = ["-qp", "4", "-pix_fmt", "yuv420p", "-movflags", "+faststart"];
    ffmpeg(&[&input[..], &X264, &heavy, &[text(&film)]].concat());
    assert!(fs::metadata(&film).unwrap().len() > 200_000);
    let server = folder(dir.path());
    let mut source = open_soon(&format!("http://127.0.0.1:{}/film.mp4", server.port));
    for _ in 0..60 {
        next(&mut source);
    }
}

#[test]
fn pictures_on_http_are_asked_for_again_and_animations_run() {
    let dir = tempfile::tempdir().unwrap();
    let (png, gif) = (dir.path().join("still.png"), dir.path().join("moves.gif"));
    ffmpeg(&["-f", "lavfi", "-i", &painted(640, 360), "-frames:v", "1", text(&png)]);
    ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        "testsrc=s=160x120:r=10",
        "-frames:v",
        "5",
        text(&gif),
    ]);
    let server = folder(dir.path());
    let mut source = open_soon(&format!("http://127.0.0.1:{}/still.png", server.port));
    assert_shows("PNG on HTTP", &mut source);
    ffmpeg(&["-f", "lavfi", "-i", "testsrc=s=320x180", "-frames:v", "1", text(&png)]);
    let changed = (0..4).any(|_| next(&mut source).size() == (320, 180));
    assert!(changed, "another picture at the same address is shown");
    let mut source = open_soon(&format!("file:{}", gif.display()));
    let started = Instant::now();
    for _ in 0..12 {
        assert_eq!(next(&mut source).size(), (160, 120));
    }
    let took = started.elapsed().as_secs_f64();
    assert!((1.0..4.0).contains(&took), "12 pictures of 1/10 s in {took} s");
}

#[test]
fn a_cameras_mjpeg_is_shown_as_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("one.jpg");
    ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        &graph(),
        "-frames:v",
        "1",
        "-q:v",
        "1",
        text(&path),
    ]);
    let jpeg = fs::read(&path).unwrap();
    // Before, between and around the pictures: what cameras send.
    for (kind, before, head, sized) in [
        (
            "multipart/x-mixed-replace;boundary=frame",
            "",
            "--frame\r\nContent-Type: image/jpeg\r\n",
            true,
        ),
        (
            "multipart/x-mixed-replace; boundary=\"frame\"",
            "\r\n",
            "--frame\r\nContent-Type: image/jpeg\r\nX-Time: 1\r\n",
            false,
        ),
        (
            "multipart/x-mixed-replace;boundary=frame",
            "",
            "frame\r\nContent-Type: image/jpeg\r\n",
            true,
        ),
        (
            "multipart/x-mixed-replace;boundary=frame",
            "a stream\r\n\r\n",
            "--frame\r\nContent-Type: image/jpeg\r\n",
            true,
        ),
        (
            "multipart/x-mixed-replace;boundary=frame",
            "",
            "--frame\r\nContent-Type: image/jpg\r\n",
            true,
        ),
        ("multipart/x-mixed-replace;boundary=frame", "", "--frame\r\n", true),
    ] {
        let jpeg = jpeg.clone();
        let server = Server::start(move |_, _| {
            let mut stream = format!("HTTP/1.0 200 OK\r\nContent-Type: {kind}\r\n\r\n{before}").into_bytes();
            for _ in 0..100 {
                stream.extend(head.bytes());
                if sized {
                    stream.extend(format!("Content-Length: {}\r\n", jpeg.len()).bytes());
                }
                stream.extend(b"\r\n");
                stream.extend(&jpeg);
                stream.extend(b"\r\n");
            }
            stream
        });
        let mut source = open_soon(&format!("http://127.0.0.1:{}/video.mjpg", server.port));
        let started = Instant::now();
        assert_shows(&format!("{kind} {before}{head}"), &mut source);
        assert!(started.elapsed() < NO_PICTURE, "{head}");
    }
}

#[test]
fn pictures_of_a_transport_stream_are_followed_to_another_pid_and_another_codec() {
    let dir = tempfile::tempdir().unwrap();
    let film = |name: &str, size: &str, codec: &[&str], pid: &str| {
        let path = dir.path().join(name);
        let graph = format!("testsrc2=s={size}:r=25");
        let input = ["-f", "lavfi", "-t", "1.6", "-i", &graph, "-pix_fmt", "yuv420p"];
        let output = ["-f", "mpegts", "-mpegts_start_pid", pid, text(&path)];
        ffmpeg(&[&input[..], codec, &output].concat());
        path
    };
    let heavy = ["-c:v", "libx264", "-preset", "ultrafast", "-qp", "2"];
    let before = film("before.ts", "1280x720", &heavy, "0x100");
    assert!(
        fs::metadata(&before).unwrap().len() > 1_500_000,
        "more than is looked at when it is opened"
    );
    for (what, codec, pid) in [
        ("another PID", &X264[..], "0x200"),
        ("another codec", &["-c:v", "mpeg2video"], "0x100"),
    ] {
        let after = film("after.ts", "320x180", codec, pid);
        let mut source = open(&format!("exec:cat {} {}", text(&before), text(&after)));
        assert_eq!(next(&mut source).size(), (1280, 720));
        let is_followed = (0..60).any(|_| next(&mut source).size() == (320, 180));
        assert!(is_followed, "{what}");
    }
}

#[test]
fn what_http_refuses_is_told_and_no_file_is_reached_by_it() {
    for (answer, told) in [
        (http("404 Not Found", "text/plain", b""), "404"),
        (http("401 Unauthorized", "text/plain", b""), "401"),
        (
            b"HTTP/1.1 302 Found\r\nLocation: file:///etc/hostname\r\n\r\n".to_vec(),
            "",
        ),
        (
            http(
                "200 OK",
                "audio/x-mpegurl",
                b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n",
            ),
            "",
        ),
    ] {
        let server = Server::start(move |_, _| answer.clone());
        let said = refusal(&format!("http://user:SECRET@127.0.0.1:{}/live", server.port));
        assert!(said.contains(told) && !said.contains("SECRET"), "{said}");
        assert!(!said.chars().any(char::is_control), "{said:?}");
    }
}
