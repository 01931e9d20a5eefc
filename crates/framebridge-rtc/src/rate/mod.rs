//! How much a viewer's link carries, and what follows from it: an estimator of the family of Google's congestion control
//! (draft-ietf-rmcat-gcc-02), fed by transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01).
//!
//! Pure: what was sent and what the viewer tells goes in with the time; the estimate, the pace and what to probe with come out.
//! It differs from the draft in what suits a source whose rate is not the viewer's: of a picture's packets only the soonest
//! tells of the queue ([`trend`]), a queue that stays long counts as one that grows, and probes are repeats, sent only while
//! somebody would send more.

mod control;
mod delivered;
mod history;
mod pace;
mod probe;
#[cfg(test)]
mod simulation;
mod trend;

use std::time::{Duration, Instant};

use crate::feedback::Arrivals;

use control::{Control, Seen};
use delivered::Delivered;
use history::{History, Landed};
use pace::Pace;
use probe::{Outcome, Probe};
use trend::{Trend, Usage};

/// Bursts that were sent within so long count as one picture's.
const GROUP: i64 = 5_000;
/// A packet counts as lost when others have come that were sent so much later: what is reordered comes by then.
const REORDERING: Duration = Duration::from_millis(150);
/// Before the first report a packet and its answer are taken to need so long.
const ASSUMED_ROUND_TRIP: Duration = Duration::from_millis(100);
/// Loss is that of so many packets about.
const LOSS_PACKETS: f32 = 300.0;
/// A queue of this length ends a probe, milliseconds.
const PROBE_QUEUE: f64 = 60.0;
/// The link is calm below this queue, milliseconds.
const CALM_QUEUE: f64 = 30.0;
/// A link that carries less than this share of what a probe has shown has let the probe through as a burst.
const REFUTED: f64 = 0.85;
/// ... if it turns out so soon after it: a bucket is empty by then, and what a link carries later is another matter.
const PROOF_AGE: Duration = Duration::from_secs(20);
/// Loss that shows that a link is full.
const FULL_LOSS: f32 = 0.12;
/// What is below this is jitter, and no queue. Milliseconds.
const NO_QUEUE: f64 = 10.0;

/// One viewer's link.
#[derive(Debug)]
pub(crate) struct RateControl {
    history: History,
    trend: Trend,
    delivered: Delivered,
    control: Control,
    probe: Probe,
    pace: Pace,
    /// The picture whose packets are coming in.
    group: Option<Landed>,
    /// What the viewer tells of: room that is used again.
    landed: Vec<Landed>,
    loss: f32,
    round_trip: Duration,
    /// By the viewer's own word (REMB), where there is no transport-wide feedback.
    told: Option<f64>,
    /// What would be sent if the link carried it.
    wanted: Option<f64>,
    /// What the last probe that succeeded has shown.
    proof: Option<(f64, Instant)>,
}

impl RateControl {
    /// Nothing is known.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            history: History::new(now),
            trend: Trend::default(),
            delivered: Delivered::default(),
            control: Control::default(),
            probe: Probe::new(now),
            pace: Pace::new(now),
            group: None,
            landed: Vec::new(),
            loss: 0.0,
            round_trip: ASSUMED_ROUND_TRIP,
            told: None,
            wanted: None,
            proof: None,
        }
    }

    /// Bits per second that the link carries; `None` while that is unknown.
    pub(crate) fn estimate(&self) -> Option<u64> {
        self.carried().map(whole)
    }

    /// Whether the viewer tells when packets come.
    pub(crate) fn has_feedback(&self) -> bool {
        self.control.estimate().is_some()
    }

    /// How long packets wait in the link's queue.
    pub(crate) fn queue_delay(&self) -> Duration {
        Duration::from_secs_f64(self.trend.queue().clamp(0.0, 60_000.0) / 1e3)
    }

    /// The share of packets that is lost, as far as transport-wide feedback tells.
    pub(crate) fn loss(&self) -> f32 {
        self.loss
    }

    /// Whether the link's queue grows, or stays long.
    pub(crate) fn is_overused(&self) -> bool {
        self.trend.usage() == Usage::Over
    }

    /// What would be sent to the viewer if its link carried it, bits per second: probes go up to that. `None`: no probes.
    pub(crate) fn wants(&mut self, bits_per_second: Option<u64>) {
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let wanted = bits_per_second.map(|bits| bits as f64);
        self.wanted = wanted;
    }

    /// The viewer believes that its link carries so much.
    pub(crate) fn on_told(&mut self, bits_per_second: f32) {
        self.told = Some(f64::from(bits_per_second));
    }

    /// The viewer is given another rung: what was lost of the one before says nothing of it.
    pub(crate) fn on_move(&mut self) {
        self.loss = 0.0;
    }

    /// A packet and its answer take so long.
    pub(crate) fn on_round_trip(&mut self, round_trip: Duration) {
        self.round_trip = round_trip.min(Duration::from_secs(1));
    }

    /// Packets numbered from `first` on were sent, so many bytes altogether.
    pub(crate) fn on_sent(&mut self, first: u64, packets: u64, bytes: u64, now: Instant) {
        let (Ok(packets), Ok(bytes)) = (u32::try_from(packets), u32::try_from(bytes)) else {
            return;
        };
        if packets > 0 {
            self.history.note(first, packets, bytes, now);
            self.pace.on_sent(bytes);
            self.probe.on_sent(bytes);
        }
    }

    /// How many packets may go to the viewer now, where its stream has so many bits per second; `None`: all.
    pub(crate) fn allowance(&mut self, rate: f32, now: Instant) -> Option<u64> {
        let estimate = self.control.estimate().filter(|_| self.control.has_limit());
        self.pace.allowance(f64::from(rate), estimate, now)
    }

    /// Bytes of what was sent that are to be sent once more, to see whether the link carries that; begins to if it is time.
    pub(crate) fn padding(&mut self, now: Instant) -> u64 {
        if let (Some(known), Some(wanted)) = (self.control.estimate(), self.wanted)
            && self.is_calm()
        {
            let micros = self.history.micros(now);
            self.probe.begin((known, wanted), self.round_trip, micros, now);
        }
        whole(self.probe.padding(now))
    }

    /// Whether [`padding`](Self::padding) is to be asked for again soon.
    pub(crate) fn is_probing(&self, now: Instant) -> bool {
        self.probe.is_sending(now)
    }

    /// The viewer tells what has come.
    pub(crate) fn on_arrivals(&mut self, arrivals: &Arrivals, now: Instant) {
        let mut parts = std::mem::take(&mut self.landed);
        self.history.land(arrivals, &mut parts);
        for landed in &parts {
            self.delivered.add(landed, self.trend.queue() > NO_QUEUE);
            self.probe.on_landed(landed);
            self.gather(*landed);
        }
        self.landed = parts;
        let judged = self.history.judge(REORDERING);
        #[expect(clippy::cast_precision_loss, reason = "packets of a moment")]
        let (packets, lost) = (judged.packets as f32, judged.lost as f32);
        if packets > 0.0 {
            let weight = (packets / LOSS_PACKETS).min(1.0);
            self.loss += (lost / packets - self.loss) * weight;
        }
        let is_over = self.is_overused();
        let seen = Seen {
            usage: self.trend.usage(),
            delivered: self.delivered.rate(),
            capacity: self.delivered.capacity(),
            loss: self.loss,
            round_trip: self.round_trip,
        };
        self.control.update(seen, now);
        self.doubt_proof(seen, now);
        let ends = is_over || self.trend.queue() > PROBE_QUEUE;
        match self.probe.outcome(ends, now) {
            Some(Outcome::Carried(carried)) => {
                self.control.on_proof(carried);
                self.proof = Some((carried, now));
            }
            Some(Outcome::Failed) => {}
            None if is_over => self.probe.put_off(now),
            None => {}
        }
    }

    /// A link that is full with less than it has carried in a probe is one that lets bursts through.
    fn doubt_proof(&mut self, seen: Seen, now: Instant) {
        let is_old = |(_, at): (f64, Instant)| now.saturating_duration_since(at) > PROOF_AGE;
        if self.proof.is_some_and(is_old) {
            self.proof = None;
            self.probe.shorten();
        }
        let full_with = match seen.usage {
            Usage::Over => seen.capacity,
            Usage::Normal | Usage::Under => seen.delivered.filter(|_| seen.loss > FULL_LOSS),
        };
        if full_with
            .zip(self.proof)
            .is_some_and(|(carries, (proof, _))| carries < proof * REFUTED)
        {
            self.proof = None;
            self.probe.lengthen();
        }
    }

    fn carried(&self) -> Option<f64> {
        self.control.estimate().or(self.told)
    }

    fn is_calm(&self) -> bool {
        self.trend.usage() == Usage::Normal && self.trend.queue() < CALM_QUEUE && self.loss < 0.05
    }

    /// Puts together what belongs to one picture, and follows the delay of each that is there.
    fn gather(&mut self, landed: Landed) {
        match &mut self.group {
            Some(group) if (group.sent..group.sent + GROUP).contains(&landed.sent) => {
                // Later bursts of a group wait for earlier ones: they can tell of less delay only.
                let soonest = landed.soonest - (landed.sent - group.sent);
                group.soonest = group.soonest.min(soonest);
                group.latest = group.latest.max(landed.latest);
            }
            // Late packets of a picture that is through.
            Some(group) if landed.sent < group.sent => {}
            Some(_) | None => {
                if let Some(group) = self.group.replace(landed) {
                    let delay = milliseconds(group.soonest - group.sent);
                    self.trend.update(milliseconds(group.soonest), delay, self.loss > 0.02);
                }
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "of days at most")]
fn milliseconds(micros: i64) -> f64 {
    micros as f64 / 1e3
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to what fits"
)]
fn whole(number: f64) -> u64 {
    number.clamp(0.0, 1e12) as u64
}
