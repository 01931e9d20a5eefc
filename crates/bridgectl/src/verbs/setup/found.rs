//! Cameras and displays of this machine.

use std::{fs, path::Path};

use framebridge_config::Source;

use crate::cli::NamedSource;

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
