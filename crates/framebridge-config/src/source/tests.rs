use super::*;

#[test]
fn good_urls_print_as_they_were_written() {
    for url in [
        "test:",
        "x11::0",
        "x11::0.1+10,20,640x480",
        "x11:localhost:10.0",
        "v4l2:/dev/video0",
        "v4l2:/dev/v4l/by-id/usb-Cam_1-index0?size=1920x1080&format=mjpeg&fps=30",
        "v4l2:/dev/video0?fps=15",
        "rtsp://cam/stream?x=1",
        "rtsps://cam:322/s",
        "http://cam/video.mjpg",
        "https://cam:8443/live/index.m3u8",
        "rtmp://server/live/door",
        "rtmps://server/live/door",
        "srt://server:9000",
        "srt://:9000",
        "udp://239.0.0.1:1234",
        "udp://:1234",
        "file:/a b/c.mp4",
        "lavfi:testsrc=size=320x240:rate=5",
        "exec:/usr/bin/camera",
        "slate:1795413600,exit%20code%2075%3A%20gone",
    ] {
        assert_eq!(
            url.parse::<Source>().map(|source| source.to_string()),
            Ok(url.to_owned())
        );
    }
}

#[test]
fn blanks_around_a_source_are_none_of_it() {
    let source = " rtsp://cam/stream\n".parse::<Source>().map(|source| source.written());
    assert_eq!(source, Ok("rtsp://cam/stream".to_owned()));
}

#[test]
fn credentials_are_kept_for_ffmpeg_and_shown_to_nobody() {
    let source: Source = "rtsp://admin:p@ss@cam/s".parse().expect("a good URL");
    assert_eq!(
        source,
        Source::Network {
            protocol: Protocol::Rtsp,
            url: "rtsp://admin:p@ss@cam/s".into()
        }
    );
    assert_eq!(format!("{source} {source:?}"), "rtsp://cam/s Source(rtsp://cam/s)");
    for url in [
        "htp://admin:SECRET@cam/s",
        "http://admin:SECRET@cam/s",
        "https://cam/v?token=SECRET",
        "srt://server:9000?passphrase=SECRET&streamid=SECRET",
        "rtmp://u:SECRET@server/live/door",
        "exec:camera --password SECRET",
        "exec:PASSWORD=SECRET camera",
        "exec:PASSWORD='SECRET SECRET' camera",
    ] {
        let shown = match url.parse::<Source>() {
            Ok(source) => {
                assert_eq!(source.written(), url);
                assert!(source.has_secrets(), "{url}");
                format!("{source} {source:?} {:?}", source.place())
            }
            Err(error) => error.to_string(),
        };
        assert!(!shown.contains("SECRET"), "{shown}");
    }
}

#[test]
fn bad_urls_say_what_would_be_good() {
    for (url, hint) in [
        ("", "use test:"),
        ("nonsense", "use test:"),
        ("ftp://x/", "use test:"),
        ("test:x", "takes nothing"),
        ("x11:", "no X display"),
        ("x11:zero", "no X display"),
        ("x11::0+1,2", "no region"),
        ("x11::0+1,2,3x4", "at least 16x16"),
        ("x11::0+-1,2,30x40", "no region"),
        ("v4l2:", "/dev/video0"),
        ("v4l2:?fps=5", "/dev/video0"),
        ("v4l2:/dev/video0?size=big", "size=1920x1080"),
        ("v4l2:/dev/video0?size=4x4", "size=1920x1080"),
        ("v4l2:/dev/video0?format=png", "format=raw"),
        ("v4l2:/dev/video0?fps=0", "fps=30"),
        ("v4l2:/dev/video0?zoom=2", "`zoom=2`"),
        ("file:", "a path"),
        ("lavfi:", "a filter graph"),
        ("exec: ", "a command"),
        ("slate:soon", "no slate"),
        ("slate:soon,because", "no slate"),
        ("rtsp:", "//host/path"),
        ("rtsp://", "//host/path"),
        ("rtsp://user@/x", "//host/path"),
        ("http://", "//host/path"),
        ("http://:80/x", "//host/path"),
        ("rtmp://", "//host/app/name"),
        ("srt://server", "//host:port"),
        ("udp://239.0.0.1", "//host:port"),
        ("udp://:port", "//host:port"),
        ("rtsp://cam:99999/s", "1 to 65535"),
        ("/dev/video0", "did you mean `v4l2:/dev/video0`"),
        ("/dev/video0?fps=30", "did you mean `v4l2:/dev/video0?fps=30`"),
        ("/srv/film.mp4", "did you mean `file:/srv/film.mp4`"),
        (
            "/user=admin_password=SECRET_channel=1.sdp",
            "`/user=********` is no source",
        ),
        ("/live?SECRET", "`/live?********` is no source"),
        ("/dev/video=SECRET", "`/dev/video=********` is no source"),
        (":0", "did you mean `x11::0`"),
    ] {
        let error = url.parse::<Source>().expect_err(url).to_string();
        assert!(error.contains(hint) && !error.contains("SECRET"), "{url}: {error}");
    }
}

#[test]
fn a_place_is_what_an_operator_looks_for() {
    for (url, place) in [
        ("rtsp://u:p@cam:8554/s?x=1", Some("cam:8554")),
        ("http://u:p@cam/s", Some("cam")),
        ("rtsp://u:p/w@cam:8554/s", Some("cam:8554")),
        ("rtsp://u:p?w#@[::1]/s", Some("[::1]")),
        ("rtsp://u:@w/d@cam/s", Some("********")),
        ("udp://:5000", Some(":5000")),
        ("file:/srv/a film.mp4", Some("/srv/a film.mp4")),
        ("x11::7", Some("display :7")),
        ("v4l2:/dev/video9", Some("/dev/video9")),
        ("exec:camera --key SECRET", Some("camera")),
        ("test:", None),
    ] {
        let source: Source = url.parse().expect(url);
        assert_eq!(source.place().as_deref(), place);
    }
}

#[test]
fn source_that_was_away_shows_where_it_comes_back() {
    let tcp = |host: &str, port| Some(Door::Tcp(host.to_owned(), port));
    for (url, door) in [
        ("rtsp://u:p@cam/s", tcp("cam", 554)),
        ("rtsps://[fd00::1]/s", tcp("fd00::1", 322)),
        ("http://cam:8080/s", tcp("cam", 8080)),
        ("srt://server:9000", None),
        ("udp://:1234", None),
        ("x11::1.0+1,2,30x40", Some(Door::Unix("/tmp/.X11-unix/X1".into()))),
        ("x11:host:2", tcp("host", 6002)),
        ("v4l2:/dev/video0?fps=5", Some(Door::Path("/dev/video0".into()))),
        ("file:/a", Some(Door::Path("/a".into()))),
        ("test:", None),
    ] {
        let source: Source = url.parse().expect(url);
        assert_eq!(source.door(), door);
    }
}

#[test]
fn who_sends_to_us_is_listened_for() {
    for (url, listens) in [
        ("udp://:1234", true),
        ("udp://239.0.0.1:1234", true),
        ("srt://:9000", true),
        ("srt://0.0.0.0:9000?mode=listener", true),
        ("srt://server:9000", false),
        ("rtsp://cam/s", false),
        ("file:/a", false),
    ] {
        let source: Source = url.parse().expect(url);
        assert_eq!(source.traits().listens, listens, "{url}");
    }
}
