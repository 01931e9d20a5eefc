//! Turns FFmpeg's errors into reasons for operators.

use std::fmt;

use framebridge_config::without_secrets;

use crate::ffi;

/// An error of FFmpeg's, with the line it logged about it, which mostly says more than the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FfmpegError {
    code: ffmpeg_next::Error,
    said: Option<String>,
}

impl FfmpegError {
    /// For `code`, which a call on this thread has just returned.
    pub(crate) fn of(code: ffmpeg_next::Error) -> Self {
        Self {
            code,
            said: ffi::take_last_log_line().map(|line| told(&line)),
        }
    }

    /// FFmpeg's code.
    pub(crate) fn code(&self) -> ffmpeg_next::Error {
        self.code
    }
}

impl fmt::Display for FfmpegError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.said {
            Some(said) => f.write_str(&with_code(said, &self.code.to_string())),
            None => self.code.fmt(f),
        }
    }
}

/// The line, and what the code says besides: nothing where the line has it already, or where it is that of something else.
fn with_code(said: &str, code: &str) -> String {
    let is_known = MISSING.iter().any(|(_, told)| *told == said);
    if is_known || said.to_lowercase().contains(&code.to_lowercase()) {
        said.to_owned()
    } else {
        format!("{said} ({code})")
    }
}

/// What FFmpeg says of hardware or of parts of a file that are not there, and what that means.
const MISSING: [(&str, &str); 3] = [
    ("Cannot load libcuda", "no NVIDIA driver is installed"),
    (
        "Error initializing an internal MFX session",
        "no Intel device for Quick Sync",
    ),
    (
        "moov atom not found",
        "its index (moov) is missing: it is cut off, still being written, or no MP4 at all",
    ),
];

impl std::error::Error for FfmpegError {}

/// What FFmpeg says, for people: it quotes the URLs that it is given, with the options that it adds to them, and its own lists.
fn told(said: &str) -> String {
    if said.starts_with("Format not on whitelist") {
        return "it is a playlist, a list of files or something else that is not opened from there".to_owned();
    }
    if let Some((_, told)) = MISSING.iter().find(|(begins, _)| said.starts_with(begins)) {
        return (*told).to_owned();
    }
    if let Some((size, _)) = said.split_once(" exceeds specified max pixel count") {
        return format!("{size} is more than 8192x4320");
    }
    let said = said.split(" not on whitelist").next().unwrap_or_default();
    let said = if said.starts_with("Protocol ") {
        format!("{said} is not allowed there")
    } else {
        said.to_owned()
    };
    let words = said.split(' ').map(|word| {
        let Some(scheme) = word.find("://") else {
            return word.to_owned();
        };
        let before = word[..scheme].trim_end_matches(|letter: char| letter.is_ascii_alphanumeric());
        let url = word[before.len()..].trim_end_matches(['\'', '"', ',', ':', ')']);
        let after = &word[before.len() + url.len()..];
        // Of a bare connection all of the query is FFmpeg's.
        let query = if url.starts_with("tcp://") { "?" } else { "?timeout=" };
        let own = url.find(query).map_or(url, |at| &url[..at]);
        format!("{before}{}{after}", without_secrets(own))
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ffmpeg_says_is_told_without_secrets_and_lists() {
        for (said, shown) in [
            (
                "Connection to tcp://me:p@ss@cam:554?timeout=1 failed: refused",
                "Connection to tcp://cam:554 failed: refused",
            ),
            (
                "Cannot open connection tcp://cam:1935?tcp_nodelay=0",
                "Cannot open connection tcp://cam:1935",
            ),
            ("rtsp://cam/s and rtsp://u:p@cam/x", "rtsp://cam/s and rtsp://cam/x"),
            (
                "Failed to open 'https://cam/v?token=SECRET', again",
                "Failed to open 'https://cam/v?token=********', again",
            ),
            (
                "Picture size 16000x16000 exceeds specified max pixel count 35389440, see the documentation if you wish",
                "Picture size 16000x16000 is more than 8192x4320",
            ),
            ("no URL, user@host", "no URL, user@host"),
            ("Cannot load libcuda.so.1", "no NVIDIA driver is installed"),
            (
                "Protocol 'http' not on whitelist 'file'!",
                "Protocol 'http' is not allowed there",
            ),
            (
                "Format not on whitelist 'mov,matroska'",
                "it is a playlist, a list of files or something else that is not opened from there",
            ),
        ] {
            assert_eq!(told(said), shown);
        }
    }

    #[test]
    fn code_is_added_where_it_says_more() {
        for (said, code, shown) in [
            (
                "Connection to tcp://cam:554 failed: Connection refused",
                "Connection refused",
                "Connection to tcp://cam:554 failed: Connection refused",
            ),
            (
                "can't configure encoder",
                "Invalid argument",
                "can't configure encoder (Invalid argument)",
            ),
            (
                "no NVIDIA driver is installed",
                "Operation not permitted",
                "no NVIDIA driver is installed",
            ),
        ] {
            assert_eq!(with_code(said, code), shown);
        }
    }
}
