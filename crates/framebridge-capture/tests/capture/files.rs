//! Files that stand still, are replaced, or go.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use framebridge_capture::{Interrupt, Source, SourceError, fit};
use framebridge_core::source_life::Failure;

use crate::{
    config,
    film::{ffmpeg, text},
    next, open, refusal,
};

fn film(path: &Path, size: &str, pictures: &str) {
    let graph = format!("testsrc2=s={size}:r=25");
    ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        &graph,
        "-frames:v",
        pictures,
        "-c:v",
        "libx264",
        "-f",
        "mp4",
        text(path),
    ]);
}

#[test]
fn what_is_one_still_is_shown_once_a_second_whatever_rate_it_claims() {
    let dir = tempfile::tempdir().unwrap();
    let (png, mp4) = (dir.path().join("still.png"), dir.path().join("still.mp4"));
    ffmpeg(&["-f", "lavfi", "-i", "testsrc=s=320x180", "-frames:v", "1", text(&png)]);
    film(&mp4, "320x180", "1");
    for path in [png, mp4] {
        let mut source = open(&format!("file:{}", path.display()));
        let started = Instant::now();
        for _ in 0..3 {
            assert_eq!(next(&mut source).size(), (320, 180));
        }
        let took = started.elapsed();
        assert!(
            (Duration::from_millis(1900)..Duration::from_secs(4)).contains(&took),
            "{}: three pictures in {took:?}",
            path.display()
        );
    }
}

#[test]
fn a_file_that_is_replaced_or_removed_is_noticed_at_its_next_loop() {
    for pictures in ["1", "10"] {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("film.mp4"), dir.path().join("other.mp4"));
        film(&path, "320x180", pictures);
        film(&other, "640x360", pictures);
        let mut source = open(&format!("file:{}", path.display()));
        assert_eq!(fit(next(&mut source).size(), 1280), (320, 180));
        fs::rename(&other, &path).unwrap();
        let shown = (0..12)
            .map(|_| next(&mut source).size())
            .position(|size| size == (640, 360));
        assert!(shown.is_some(), "{pictures} pictures: the new file is never shown");
        fs::remove_file(&path).unwrap();
        let ended = (0..12).find_map(|_| match source.read(&|| ()) {
            Ok(undue) => {
                source.present(undue).unwrap();
                None
            }
            Err(error) => Some(error),
        });
        assert!(
            matches!(ended, Some(SourceError::Open(_))),
            "{pictures} pictures: {ended:?}"
        );
    }
}

#[test]
fn empty_file_is_told_as_that_whatever_its_name_promises() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["film.mp4", "film.mkv", "film.ts", "still.png", "nothing"] {
        let path = dir.path().join(name);
        fs::write(&path, "").unwrap();
        let told = refusal(&format!("file:{}", path.display()));
        assert_eq!(told, "the file is empty", "{name}");
    }
}

#[test]
fn what_is_not_there_is_waited_for_and_what_is_wrong_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let broken = dir.path().join("broken.mp4");
    fs::write(&broken, "no film").unwrap();
    for (url, failure) in [
        ("file:/nonexistent/film.mp4".to_owned(), Failure::Unreachable),
        ("x11::4711".to_owned(), Failure::Unreachable),
        (format!("file:{}", broken.display()), Failure::Other),
    ] {
        let error = Source::open(&config(&url, 30), &Interrupt::new()).unwrap_err();
        assert_eq!(error.failure(), failure, "{url}: {error}");
    }
}

#[test]
fn film_without_its_index_is_told_as_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("film.mp4");
    film(&path, "320x180", "25");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let told = refusal(&format!("file:{}", path.display()));
    assert!(told.contains("it is cut off, still being written, or"), "{told}");
}
