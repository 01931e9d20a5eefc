//! Turns FFmpeg's errors into reasons for operators.

use std::fmt;

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
            said: ffi::take_last_log_line().map(|line| without_credentials(&line)),
        }
    }
}

impl fmt::Display for FfmpegError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.said {
            Some(said) => write!(f, "{said} ({})", self.code),
            None => self.code.fmt(f),
        }
    }
}

impl std::error::Error for FfmpegError {}

/// Takes `user:password@` out of every URL in `text`: FFmpeg quotes the URLs it is given.
fn without_credentials(text: &str) -> String {
    let mut parts = text.split("://");
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let authority = part.find(['/', ' ', '\'', '"']).unwrap_or(part.len());
        let host = part[..authority].rfind('@').map_or(0, |at| at + 1);
        // FFmpeg adds options of its own to the URLs that it derives from ours.
        let own = part[host..].find("?timeout=").map_or(part.len(), |at| host + at);
        let rest = part[own..].find(' ').map_or(part.len(), |at| own + at);
        clean.push_str("://");
        clean.push_str(&part[host..own]);
        clean.push_str(&part[rest..]);
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_taken_out_of_every_url() {
        for (said, shown) in [
            (
                "Connection to tcp://me:p@ss@cam:554?timeout=1 failed: refused",
                "Connection to tcp://cam:554 failed: refused",
            ),
            ("rtsp://cam/s and rtsp://u:p@cam/x@y", "rtsp://cam/s and rtsp://cam/x@y"),
            ("no URL, user@host", "no URL, user@host"),
        ] {
            assert_eq!(without_credentials(said), shown);
        }
    }
}
