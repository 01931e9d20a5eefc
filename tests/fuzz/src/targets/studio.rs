//! Frames between a box and its studio.

use framebridge_studio_proto::{Frame, ToBox, ToStudio, hello_version, limits::MAX_LOG_BATCH};

/// The text of a frame, read by both ends: what comes out is as bounded as it says, so it reads the same again.
pub(super) fn frames(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    hello_version(text);
    settles::<ToBox>(text);
    if let Some(ToStudio::LogBatch(batch)) = settles(text) {
        assert!(batch.lines.len() <= MAX_LOG_BATCH);
    }
}

/// What is cut and cleaned once needs it no more.
fn settles<F: Frame>(text: &str) -> Option<F> {
    let frame = F::decode(text).ok()?;
    let written = frame.encode();
    // Escapes may make it longer than any frame that comes.
    if let Ok(again) = F::decode(&written) {
        assert_eq!(again.encode(), written);
    }
    Some(frame)
}
