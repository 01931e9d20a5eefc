//! What a source may not reach, whatever is in it.

use std::{fs, path::Path, sync::atomic::Ordering};

use framebridge_capture::{Interrupt, Source};

use crate::{
    config,
    film::{ffmpeg, text},
    refusal,
    server::trap,
};

#[test]
fn playlists_and_lists_in_a_file_open_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let film = dir.path().join("film.ts");
    ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        "testsrc=s=160x120",
        "-frames:v",
        "5",
        "-f",
        "mpegts",
        text(&film),
    ]);
    let (port, caught) = trap();
    let hls = |of: &str| format!("#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{of}\n#EXT-X-ENDLIST\n");
    let sdp = format!(
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\n"
    );
    let dash = format!(
        "<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\"><Period><AdaptationSet mimeType=\"video/mp4\">\
         <Representation id=\"0\"><BaseURL>http://127.0.0.1:{port}/a.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>"
    );
    for (name, content) in [
        ("away.m3u8", hls(&format!("http://127.0.0.1:{port}/seg.ts"))),
        ("tcp.m3u8", hls(&format!("tcp://127.0.0.1:{port}"))),
        ("beside.m3u8", hls("film.ts")),
        ("etc.m3u8", hls("/etc/hostname")),
        (
            "list.ffconcat",
            format!("ffconcat version 1.0\nfile 'http://127.0.0.1:{port}/cat.ts'\n"),
        ),
        ("own.ffconcat", "ffconcat version 1.0\nfile 'film.ts'\n".to_owned()),
        ("cam.sdp", sdp),
        ("dash.mpd", dash),
        ("rtsp.rtsp", format!("rtsp://127.0.0.1:{port}/x\n")),
        ("renamed.mp4", hls(&format!("http://127.0.0.1:{port}/seg.ts"))),
    ] {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        let said = refusal(&format!("file:{}", path.display()));
        let named =
            said.contains("not opened from there") || said.contains("Invalid data") || said.contains("not allowed");
        assert!(named, "{name}: {said}");
    }
    assert_eq!(caught.load(Ordering::Relaxed), 0, "nobody was connected to");
}

/// A graph is its operator's own, and may name an address; that an encoder whose source needs no network has none is a test of its
/// process, which takes this one for granted.
#[test]
fn a_graph_that_names_an_address_reaches_it_from_here() {
    let (port, caught) = trap();
    refusal(&format!("lavfi:movie=filename='tcp\\://127.0.0.1\\:{port}'"));
    assert_eq!(caught.load(Ordering::Relaxed), 1);
}

#[test]
fn a_picture_beyond_8k_is_refused_before_it_takes_its_memory() {
    let dir = tempfile::tempdir().unwrap();
    let big = |name: &str, size: &str, arguments: &[&str]| {
        let path = dir.path().join(name);
        let graph = format!("color=black:s={size}:r=1:d=1");
        ffmpeg(
            &[
                &["-f", "lavfi", "-i", &graph, "-frames:v", "1"],
                arguments,
                &[text(&path)],
            ]
            .concat(),
        );
        path
    };
    let grey = ["-pix_fmt", "gray"];
    let refused = |path: &Path| match Source::open(&config(&format!("file:{}", path.display()), 30), &Interrupt::new())
    {
        Err(error) => format!("{error:?}"),
        Ok(mut source) => format!("{:?}", source.read(&|| ()).err()),
    };
    let said = refused(&big("big.png", "16000x16000", &grey));
    assert!(said.contains("16000x16000 is more than 8192x4320"), "{said}");
    let said = refused(&big("8k.png", "8192x4320", &grey));
    assert_eq!(said, "None", "8K is shown");
}
