//! Who publishes to a stream (WHIP): a browser's page, and what is no browser.

use crate::{process::Process, python};

/// What makes a publisher of a browser's page: `publisher`, with functions for each step.
pub const IN_A_PAGE: &str = include_str!("publisher.js");

/// A publisher on GStreamer's webrtcbin, as encoders for broadcasts are: a keyframe each two seconds, no estimate of its link. It
/// ends when this is dropped, without a word.
#[derive(Debug)]
pub struct GStreamer(#[expect(dead_code, reason = "it is killed when it goes")] Process);

impl GStreamer {
    /// Publishes to the endpoint; returns once it is connected.
    ///
    /// # Errors
    /// It does not start, is refused or does not connect.
    pub fn start(endpoint: &str) -> anyhow::Result<Self> {
        python::run_until_dropped(include_str!("player/publishing.py"), &[endpoint.to_owned()]).map(Self)
    }
}
