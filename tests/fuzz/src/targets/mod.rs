//! What takes bytes from outside, as functions of bytes. Each panics when a promise is broken; all else is right.
//!
//! The fuzzer searches with them, and `tests/e2e/fuzz.rs` replays with them what it has found: they are in both builds.

mod config;
mod dtls;
mod h264;
mod ipc;
mod line;
mod publisher;
mod rtcp;
mod script;
mod sdp;
mod studio;
mod stun;

/// What takes a target's bytes.
type Run = fn(&[u8]);

/// A target's name, which its folder of the corpus has, too, and what takes its bytes.
pub(crate) const TARGETS: &[(&str, Run)] = &[
    ("config", config::settings),
    ("dtls", dtls::association),
    ("dtls-beginning", dtls::beginning),
    ("h264", h264::stream),
    ("ipc-codec", ipc::codec),
    ("ipc-link", ipc::link),
    ("line", line::channels),
    ("publisher", publisher::packets),
    ("rtcp", rtcp::feedback),
    ("sdp-fragment", sdp::fragment),
    ("sdp-offer", sdp::offer),
    ("studio-frames", studio::frames),
    ("stun", stun::peer),
];

/// The target of this name.
pub(crate) fn named(name: &str) -> Option<Run> {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    target.map(|(_, run)| *run)
}
