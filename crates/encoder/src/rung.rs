//! The lower rungs: smaller encodings of the same pictures, as those who make them, who subscribe and who report know them.
//!
//! They are encoded by x264 whatever encodes the full one: they are small, and a hardware encoder that has no second session to
//! give would fail.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use framebridge_capture::{Codec, EncodeError, Encoder, EncoderConfig, Picture, fit};
use framebridge_core::rung_budget::RungBudget;
use framebridge_daemon::Meter;
use framebridge_proto::{
    encoder::Quality,
    media::{Codec as WireCodec, CodecParameters, Rung},
    supervisor::RungProgress,
};
use tokio::sync::watch;

use crate::{broadcast::Broadcast, controls::Keyframes, progress::Progress};

/// No picture is made smaller than this, in pixels of the shorter edge: there is nothing to see in it.
const SMALLEST: u32 = 64;

/// All rungs below the full one.
#[derive(Debug)]
pub(crate) struct Ladder {
    pub(crate) lower: [LowerRung; Rung::LOWER.len()],
    /// The stream's operator has nothing against them.
    pub(crate) is_allowed: bool,
}

/// One of them, as its thread, its subscribers and reports know it.
#[derive(Debug)]
pub(crate) struct LowerRung {
    pub(crate) rung: Rung,
    pub(crate) broadcast: Arc<Broadcast>,
    pub(crate) keyframes: Arc<Keyframes>,
    encoded: Meter,
    /// Why it is not made, while it is not.
    refused: watch::Sender<Option<String>>,
    /// Broken on purpose, for good.
    stalled: AtomicBool,
    /// Whether this machine can afford it.
    pub(crate) budget: Mutex<RungBudget>,
}

impl Ladder {
    /// `is_allowed`: the stream's operator has nothing against lower rungs.
    pub(crate) fn new(is_allowed: bool, progress: &Arc<Progress>) -> Self {
        let lower = Rung::LOWER.map(|rung| {
            let keyframes = Keyframes::new();
            // Clips are made of the full rung.
            let broadcast = Broadcast::new(Arc::clone(&keyframes), Arc::clone(progress), Duration::ZERO);
            LowerRung {
                rung,
                broadcast: Arc::new(broadcast),
                keyframes,
                encoded: Meter::default(),
                refused: watch::Sender::default(),
                stalled: AtomicBool::new(false),
                budget: Mutex::default(),
            }
        });
        Self { lower, is_allowed }
    }

    /// `None`: it is the full one.
    pub(crate) fn lower(&self, rung: Rung) -> Option<&LowerRung> {
        self.lower.iter().find(|lower| lower.rung == rung)
    }

    /// What comes next does not continue what came before.
    pub(crate) fn cut(&self) {
        for lower in &self.lower {
            lower.broadcast.cut();
        }
    }

    /// Whether anybody subscribes to a lower rung.
    pub(crate) fn is_wanted(&self) -> bool {
        self.lower.iter().any(|lower| lower.broadcast.is_wanted())
    }

    /// Whether somebody waits for a keyframe of a lower rung.
    pub(crate) fn awaits_keyframe(&self) -> bool {
        let waits = |lower: &LowerRung| lower.broadcast.is_wanted() && lower.keyframes.are_due();
        self.lower.iter().any(waits)
    }

    /// What was done for those that somebody subscribes to.
    pub(crate) fn report(&self) -> Vec<RungProgress> {
        let wanted = self.lower.iter().filter(|lower| lower.broadcast.is_wanted());
        wanted
            .map(|lower| RungProgress {
                rung: lower.rung,
                subscribers: lower.broadcast.subscribers(),
                encoded: lower.encoded.read(),
                refused: lower.refused.borrow().clone(),
            })
            .collect()
    }
}

impl LowerRung {
    /// Why it is not made, now and on every change.
    pub(crate) fn watch_refusal(&self) -> watch::Receiver<Option<String>> {
        self.refused.subscribe()
    }

    /// Whether it is to make nothing.
    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    /// From now on it makes nothing. Whether it was so already.
    pub(crate) fn stall(&self) -> bool {
        self.stalled.swap(true, Ordering::Relaxed)
    }

    /// It is not made, for this reason; or it is.
    pub(crate) fn say(&self, reason: Option<&str>) {
        self.refused.send_if_modified(|refused| {
            let is_news = refused.as_deref() != reason;
            if is_news {
                *refused = reason.map(str::to_owned);
                if let Some(reason) = reason {
                    tracing::warn!(rung = %self.rung, "not made: {reason}");
                }
            }
            is_news
        });
    }

    /// Its size, of pictures of `size` that are `full` on the full rung, and its rate; or why it can't be.
    pub(crate) fn plan(
        &self,
        quality: Quality,
        size: (u32, u32),
        full: (u32, u32),
    ) -> Result<((u32, u32), u32), &'static str> {
        let size = fit(size, full.0.max(full.1) / self.rung.edge_divisor());
        if size.0.min(size.1) < SMALLEST {
            return Err("the stream's picture is too small to be made smaller");
        }
        let bitrate = self.rung.bitrate(quality.bitrate);
        bitrate
            .map(|bitrate| (size, bitrate))
            .ok_or("the stream's rate is too low to be made lower")
    }
}

/// A picture on its way to a rung's encoder.
pub(crate) struct Work {
    pub(crate) picture: Arc<Picture>,
    pub(crate) size: (u32, u32),
    pub(crate) bitrate: u32,
    /// What is told of the stream's rate.
    pub(crate) fps: u32,
    /// So many came before it that show the same.
    pub(crate) same: u32,
}

impl LowerRung {
    /// Encodes a picture, and hands it to whoever subscribes. `encoder` is opened anew whenever what comes in or is asked for changes.
    pub(crate) fn encode(&self, encoder: &mut Option<Encoder>, work: &Work, most_fps: u32) -> Result<(), EncodeError> {
        let config = EncoderConfig {
            size: work.size,
            fps: most_fps,
            bitrate: work.bitrate,
            colours: work.picture.colours().sent(work.size),
        };
        let mut open = match encoder.take() {
            Some(open) if open.config().differs_in_rate_only(config) => open,
            Some(_) | None => {
                let (width, height) = config.size;
                tracing::info!(rung = %self.rung, width, height, bitrate = config.bitrate, "opened");
                Encoder::open(Codec::X264, config)?
            }
        };
        open.set_bitrate(config.bitrate);
        let encoded = open.encode_after(work.same, &work.picture, self.keyframes.are_due())?;
        *encoder = Some(open);
        let Some(encoded) = encoded else { return Ok(()) };
        self.encoded.bump();
        if encoded.keyframe {
            // Before it is sent: who asks from now on may have come too late for it.
            self.keyframes.made();
        }
        let parameters = CodecParameters {
            codec: WireCodec::H264,
            width: config.size.0,
            height: config.size.1,
            fps: work.fps,
            bitrate: config.bitrate,
            encoder: Codec::X264.to_string(),
            copied: None,
        };
        if let Err(error) = self.broadcast.publish(encoded, &parameters) {
            tracing::error!(rung = %self.rung, "a picture was not sent: {error}");
            self.broadcast.cut();
            self.keyframes.request();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rung_is_smaller_than_what_is_encoded_in_full_and_never_too_small_to_see() {
        let ladder = Ladder::new(true, &Arc::default());
        let quality = Quality {
            bitrate: 2_500_000,
            fps: 30,
            longest_edge: 1280,
        };
        for (rung, size, expected) in [
            (Rung::Half, (1920, 1080), Ok(((640, 360), 625_000))),
            (Rung::Quarter, (1920, 1080), Ok(((320, 180), 208_333))),
            (Rung::Half, (640, 480), Ok(((320, 240), 625_000))),
            (Rung::Half, (480, 640), Ok(((240, 320), 625_000))),
            (
                Rung::Half,
                (200, 100),
                Err("the stream's picture is too small to be made smaller"),
            ),
        ] {
            let lower = ladder.lower(rung).unwrap();
            assert_eq!(
                lower.plan(quality, size, fit(size, 1280)),
                expected,
                "{rung} of {size:?}"
            );
        }
        let slow = Quality {
            bitrate: 300_000,
            ..quality
        };
        let lower = ladder.lower(Rung::Half).unwrap();
        assert!(lower.plan(slow, (1280, 720), (1280, 720)).is_err());
    }
}
