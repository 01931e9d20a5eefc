//! Cameras and displays of this machine.

use std::{collections::BTreeSet, fs, path::Path};

use framebridge_config::Source;
use framebridge_proto::StreamName;

use crate::{cli::NamedSource, onvif::Camera};

/// A name that a camera gives itself, as far as it becomes a stream's.
const LONGEST_NAME: usize = 24;

/// Something that can be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) stream: NamedSource,
    /// What people call it.
    pub(super) label: String,
}

/// All that are found below `root`: cameras first, each group in its own order.
pub(super) fn sources(root: &Path) -> Vec<Found> {
    let mut found = cameras(root);
    found.extend(displays(root));
    found
}

/// Devices that give pictures: a camera has further ones, for what it says of itself.
fn cameras(root: &Path) -> Vec<Found> {
    let mut found = Vec::new();
    for device in names(&root.join("sys/class/video4linux")) {
        let about = root.join("sys/class/video4linux").join(&device);
        let said = |file: &str| fs::read_to_string(about.join(file)).map(|text| text.trim().to_owned());
        let is_first = said("index").is_ok_and(|index| index == "0");
        if !is_first || !root.join("dev").join(&device).exists() {
            continue;
        }
        let path = format!("/dev/{device}");
        let label = said("name").map_or_else(|_| path.clone(), |name| format!("{path} ({name})"));
        found.extend(one("camera", found.len(), &format!("v4l2:{path}"), label));
    }
    found
}

/// X servers that listen on this machine.
fn displays(root: &Path) -> Vec<Found> {
    let sockets = names(&root.join("tmp/.X11-unix"));
    let numbers = sockets.iter().filter_map(|name| name.strip_prefix('X'));
    numbers
        .enumerate()
        .filter_map(|(index, number)| {
            one(
                "desk",
                index,
                &format!("x11::{number}"),
                format!("the display :{number}"),
            )
        })
        .collect()
}

/// The pictures of a camera, all under one name that no stream has; `known` are the sources that need none. Else why there are none.
pub(super) fn of_camera(camera: Camera, known: &[String], names: &mut Vec<String>) -> Result<Vec<Found>, String> {
    let who = camera.title();
    let pictures = camera.pictures.map_err(|why| format!("{who}: {why}"))?;
    let shown: BTreeSet<String> = pictures.iter().map(|picture| picture.source.to_string()).collect();
    if known.iter().any(|source| shown.contains(source)) {
        return Err(format!("{who} is a stream already"));
    }
    let name = free(&slug(camera.name.as_deref().unwrap_or_default()), names);
    let stream: StreamName = name.parse().map_err(|error| format!("{who}: {error}"))?;
    names.push(name);
    let found = pictures.into_iter().map(|picture| Found {
        label: format!("{who}, {}: {}", picture.label, picture.source),
        stream: NamedSource {
            name: stream.clone(),
            source: picture.source,
        },
    });
    Ok(found.collect())
}

/// What a camera calls itself, as a stream may be called.
fn slug(name: &str) -> String {
    let letters = name.chars().map(|letter| letter.to_ascii_lowercase());
    let letters = letters.map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' });
    let text: String = letters.take(LONGEST_NAME).collect();
    let words: Vec<&str> = text.split('-').filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        "camera".to_owned()
    } else {
        words.join("-")
    }
}

/// That name, with a number where it is taken.
fn free(name: &str, taken: &[String]) -> String {
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    let is_free = |name: &String| !taken.contains(name);
    names.find(is_free).unwrap_or_default()
}

/// The first is called by its kind alone.
fn one(kind: &str, index: usize, source: &str, label: String) -> Option<Found> {
    let name = if index == 0 {
        kind.to_owned()
    } else {
        format!("{kind}-{}", index + 1)
    };
    let source: Source = source.parse().ok()?;
    Some(Found {
        stream: NamedSource {
            name: name.parse().ok()?,
            source,
        },
        label,
    })
}

/// The names in a folder, sorted; none where there is none.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    // 2 before 10.
    names.sort_by_key(|name| (name.len(), name.clone()));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn camera_is_called_as_it_calls_itself_and_not_added_twice() {
        let camera = |name: Option<&str>| Camera {
            host: std::net::Ipv4Addr::new(192, 0, 2, 7),
            name: name.map(str::to_owned),
            pictures: Ok(vec![crate::onvif::Picture {
                label: "main H264 1920x1080".to_owned(),
                source: "rtsp://a:secret@192.0.2.7/live".parse().unwrap(),
            }]),
        };
        let mut names = vec!["yard-cam-1".to_owned()];
        let named = |camera, names: &mut Vec<String>| of_camera(camera, &[], names).unwrap()[0].clone();
        let found = named(camera(Some("Yard/Cam #1")), &mut names);
        assert_eq!(found.stream.name.as_str(), "yard-cam-1-2");
        assert!(
            found
                .label
                .starts_with("192.0.2.7 (Yard/Cam #1), main H264 1920x1080: rtsp://"),
            "{}",
            found.label
        );
        assert!(!found.label.contains("secret"), "{}", found.label);
        for (name, called) in [
            (None, "camera"),
            (Some("摄像头"), "camera-2"),
            (Some(&*"x".repeat(99)), &*"x".repeat(24)),
        ] {
            assert_eq!(named(camera(name), &mut names).stream.name.as_str(), called);
        }
        let known = [found.stream.source.to_string()];
        let twice = of_camera(camera(None), &known, &mut names).unwrap_err();
        assert_eq!(twice, "192.0.2.7 is a stream already");
        let silent = Camera {
            pictures: Err("it asks for a login".to_owned()),
            ..camera(Some("x"))
        };
        assert_eq!(
            of_camera(silent, &[], &mut names).unwrap_err(),
            "192.0.2.7 (x): it asks for a login"
        );
    }

    #[test]
    fn cameras_are_found_by_what_gives_pictures_and_displays_by_their_sockets() {
        let root = tempfile::tempdir().unwrap();
        let file = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for (device, index) in [
            ("video0", "0\n"),
            ("video1", "1\n"),
            ("video10", "0\n"),
            ("video2", "0\n"),
        ] {
            file(&format!("sys/class/video4linux/{device}/index"), index);
            file(&format!("sys/class/video4linux/{device}/name"), "HD Webcam\n");
            file(&format!("dev/{device}"), "");
        }
        // Gone, and not yet forgotten.
        file("sys/class/video4linux/video3/index", "0\n");
        file("tmp/.X11-unix/X0", "");
        let found = sources(root.path());
        let shown: Vec<_> = found
            .iter()
            .map(|found| format!("{} {} {}", found.stream.name, found.stream.source, found.label))
            .collect();
        assert_eq!(
            shown,
            [
                "camera v4l2:/dev/video0 /dev/video0 (HD Webcam)",
                "camera-2 v4l2:/dev/video2 /dev/video2 (HD Webcam)",
                "camera-3 v4l2:/dev/video10 /dev/video10 (HD Webcam)",
                "desk x11::0 the display :0",
            ]
        );
        assert_eq!(sources(Path::new("/nonexistent")), []);
    }
}
