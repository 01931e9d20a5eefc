//! Players of other makes, down to what they all can: an offer, its answer, pictures.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader, Write as _},
    net::IpAddr,
    process::{ChildStdin, ChildStdout, Stdio},
};

use anyhow::{Context as _, anyhow};
use serde_json::{Value, json};

use crate::{
    browser::{Browser, Page},
    process::{Process, command},
    python,
    wait::{self, PATIENCE},
};

/// Pinned, because what it offers and accepts is what tests are about.
const AIORTC: &str = "aiortc==1.16.0";

/// An SRTP protection profile, as OpenSSL names it.
pub type Profile = &'static str;
/// Authenticated encryption.
pub const GCM: Profile = "SRTP_AEAD_AES_128_GCM";
/// What everybody has.
pub const SHA1: Profile = "SRTP_AES128_CM_SHA1_80";

/// What makes a player of a browser's page: `player`, with functions for each step.
pub const IN_A_PAGE: &str = include_str!("player/page.js");

/// A WebRTC implementation. All offer to receive audio, too, as most players do, and before the video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    /// libwebrtc, in a browser.
    Chromium,
    /// Python's.
    Aiortc,
    /// webrtcbin, with libnice and OpenSSL. It bundles only if it is told to.
    GStreamer,
    /// The same, with all sections on one transport, as WHEP wants it.
    BundlingGStreamer,
}

impl Make {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Chromium, Self::Aiortc, Self::GStreamer, Self::BundlingGStreamer];

    /// The profiles that it can be made to agree on: Chromium offers both and can't be kept from it, GStreamer 1.22 knows
    /// one.
    pub fn profiles(self) -> &'static [Profile] {
        match self {
            Self::Chromium => &[GCM],
            Self::Aiortc => &[GCM, SHA1],
            Self::GStreamer | Self::BundlingGStreamer => &[SHA1],
        }
    }
}

/// What a player saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The pictures' size.
    pub size: (u64, u64),
    /// What its packets were protected with.
    pub profile: String,
}

/// A player; it ends when this is dropped.
#[derive(Debug)]
pub struct Player(Spoken);

/// How one speaks with it.
#[derive(Debug)]
enum Spoken {
    /// By calling `player` in its page.
    Page(Page),
    /// By lines of JSON.
    Pipes {
        to: ChildStdin,
        from: BufReader<ChildStdout>,
        _process: Process,
    },
}

impl Player {
    /// Starts a player that knows one profile, and no address but `address`, where it can be kept from others.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub fn start(make: Make, address: IpAddr, profile: Profile) -> anyhow::Result<Self> {
        let address = address.to_string();
        match make {
            Make::Chromium => Self::page(),
            Make::Aiortc => {
                let python = python::with_packages(&[AIORTC])?;
                Self::script(&python, &[include_str!("player/aiortc.py"), &address, profile])
            }
            Make::GStreamer => Self::gstreamer(&address, "none"),
            Make::BundlingGStreamer => Self::gstreamer(&address, "max-bundle"),
        }
    }

    fn page() -> anyhow::Result<Self> {
        let page = Browser::start()?.open("about:blank")?;
        page.evaluate(IN_A_PAGE)?;
        Ok(Self(Spoken::Page(page)))
    }

    fn gstreamer(address: &str, bundle_policy: &str) -> anyhow::Result<Self> {
        let script = include_str!("player/gstreamer.py");
        Self::script(python::DEBIAN, &[script, address, bundle_policy])
    }

    fn script(python: impl AsRef<OsStr>, arguments: &[&str]) -> anyhow::Result<Self> {
        // What is read from it is not bounded otherwise.
        let mut player = command("timeout");
        player.arg(PATIENCE.as_secs().to_string());
        player.arg(python).arg("-c").args(arguments);
        player.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::start_as_is(&mut player)?;
        let pipes = process.child().stdin.take().zip(process.child().stdout.take());
        let (to, from) = pipes.ok_or_else(|| anyhow!("the player's pipes are not there"))?;
        Ok(Self(Spoken::Pipes {
            to,
            from: BufReader::new(from),
            _process: process,
        }))
    }

    /// Its offer, with all its candidates.
    ///
    /// # Errors
    /// It has none.
    pub fn offer(&mut self) -> anyhow::Result<String> {
        let offer = match &mut self.0 {
            Spoken::Page(page) => page.evaluate("player.offer()")?,
            Spoken::Pipes { from, .. } => line(from)?,
        };
        offer
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| anyhow!("the offer is no text: {offer}"))
    }

    /// Gives it the answer and lets it decode so many pictures.
    ///
    /// # Errors
    /// It does not get there.
    pub fn play(&mut self, answer: &str, pictures: u32) -> anyhow::Result<Seen> {
        let seen = match &mut self.0 {
            Spoken::Page(page) => {
                page.evaluate(&format!("player.accept({})", json!(answer)))?;
                let seen = format!("player.seen({pictures})");
                wait::until("the page to play", PATIENCE, || {
                    Ok(Some(page.evaluate(&seen)?).filter(|seen| !seen.is_null()))
                })?
            }
            Spoken::Pipes { to, from, .. } => {
                writeln!(to, "{}", json!({ "answer": answer, "pictures": pictures }))?;
                line(from)?
            }
        };
        let size = [&seen["width"], &seen["height"]].map(|side| side.as_u64().unwrap_or(0));
        Ok(Seen {
            size: size.into(),
            profile: seen["profile"].as_str().unwrap_or_default().to_owned(),
        })
    }
}

/// What a script says next.
fn line(from: &mut BufReader<ChildStdout>) -> anyhow::Result<Value> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    serde_json::from_str(&line).with_context(|| format!("the player ended with `{line}`"))
}
