//! `fanout`: what one more viewer costs.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use framebridge_rtc::dtls::Identity;
use serde_json::{Value, json};

use super::{
    Arguments, cpu, floor,
    server::{FPS, Server},
};
use crate::{Options, Reception, Seat, Viewer, watch, whep};

/// Viewers that connect together: few enough that each is through its handshake long before a server gives up on it.
const GROUP: usize = 25;
/// How long a group may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between the last join and the first measured packet.
pub(super) const SETTLE: Duration = Duration::from_secs(2);

/// How long the floor is measured without a pause, twice, ...
const FLOOR_TIME: (Duration, Duration) = (Duration::from_secs(1), Duration::ZERO);
/// ... and with a picture each thirtieth of a second: as the stream has it, woken for each and asleep in between.
const FLOOR_IN_RHYTHM: (Duration, Duration) = (Duration::from_secs(2), Duration::from_nanos(1_000_000_000 / FPS));

/// Viewers at a server, in their seats.
pub(super) struct Audience {
    identity: Identity,
    options: Options,
    pub(super) seats: Vec<Seat>,
    locations: Vec<String>,
}

impl Audience {
    /// An empty one.
    pub(super) fn new(options: Options) -> anyhow::Result<Self> {
        Ok(Self {
            identity: Identity::generate()?,
            options,
            seats: Vec::new(),
            locations: Vec::new(),
        })
    }

    /// Seats one more viewer; it connects when it is watched.
    pub(super) fn seat(&mut self, url: &str) -> anyhow::Result<()> {
        let now = Instant::now();
        let mut viewer = Viewer::new(self.identity.clone(), self.options.clone(), now);
        let session = whep::post(url, &viewer.offer())?;
        viewer.accept(&session.answer, true, Instant::now())?;
        self.locations.push(session.location);
        self.seats.push(Seat::new(viewer, true)?);
        Ok(())
    }

    /// Seats `viewers` more and waits until all have a picture.
    pub(super) fn fill(&mut self, url: &str, viewers: usize) -> anyhow::Result<()> {
        let target = self.seats.len() + viewers;
        while self.seats.len() < target {
            for _ in 0..GROUP.min(target - self.seats.len()) {
                self.seat(url)?;
            }
            let start = Instant::now();
            watch(&mut self.seats, |seats| {
                start.elapsed() > PATIENCE || seats.iter().all(|seat| seat.viewer.reception().has_picture())
            })?;
            let waiting = self
                .seats
                .iter()
                .filter(|seat| !seat.viewer.reception().has_picture())
                .count();
            anyhow::ensure!(
                waiting == 0,
                "{waiting} of {} viewers have no picture",
                self.seats.len()
            );
        }
        Ok(())
    }

    /// Watches for so long.
    pub(super) fn watch_for(&mut self, time: Duration) -> anyhow::Result<()> {
        let start = Instant::now();
        Ok(watch(&mut self.seats, |_| start.elapsed() >= time)?)
    }
}

impl Drop for Audience {
    fn drop(&mut self) {
        for (seat, location) in self.seats.iter_mut().zip(&self.locations) {
            seat.close();
            // Only foreign servers still mind: ours has heard the goodbye, and may be gone.
            if !location.is_empty() && whep::delete(location).is_err() {
                return;
            }
        }
    }
}

/// Runs it; the result has the fields that docs/benchmarks.md names.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Value> {
    let server = match &arguments.url {
        Some(url) => Server::at(url.clone(), arguments.pid),
        None => Server::start(arguments.bitrate)?,
    };
    let shape = floor::Shape::of(arguments.bitrate, FPS);
    let floor = |time| floor::measure(shape, arguments.viewers, arguments.profile, time);
    let floor_before = floor(FLOOR_TIME)?;
    let in_rhythm = floor(FLOOR_IN_RHYTHM)?;
    let options = Options {
        profiles: vec![arguments.profile],
        transport: !arguments.is_plain,
        ..Options::default()
    };
    let mut audience = Audience::new(options)?;
    // The first viewers pay for what all share.
    let warm = arguments.viewers.min(2);
    audience.fill(&server.url, warm)?;
    audience.watch_for(SETTLE)?;
    let resident = |pid: Option<u32>| pid.map(cpu::resident).transpose();
    let alone = resident(server.pid)?;
    let own_before = cpu::resident(std::process::id())?;
    audience.fill(&server.url, arguments.viewers - warm)?;
    audience.watch_for(SETTLE)?;

    let own_cpu = cpu::of_thread();
    let window = Window::of(&mut audience, &server, Duration::from_secs(arguments.seconds))?;
    let own_cpu = cpu::of_thread().saturating_sub(own_cpu);
    let full = resident(server.pid)?;
    let totals = &window.totals;
    let own_after = cpu::resident(std::process::id())?;
    let floor_after = floor(FLOOR_TIME)?;
    let floor = floor_before.cost.min(floor_after.cost);
    let cost = window.cpu.map(|cpu| per(cpu.as_nanos(), totals.expected));
    let further = (arguments.viewers - warm).max(1) as u64;
    let profile = audience
        .seats
        .first()
        .and_then(|seat| seat.viewer.profile())
        .context("no viewer")?;
    Ok(json!({
        "bench": "fanout",
        "viewers": arguments.viewers,
        "bitrate": arguments.bitrate,
        "seconds": window.elapsed.as_secs_f64(),
        "srtp_profile": format!("{profile:?}"),
        "source": if arguments.url.is_some() { "the server's" } else { "made up: access units of constant size" },
        "cpu_ns_per_packet": cost,
        "floor_ns_per_packet": floor,
        "ratio": cost.map(|cost| cost / floor),
        "floor_lost": floor_before.lost,
        "floor_in_rhythm_ns_per_packet": in_rhythm.cost,
        "floor_in_rhythm_lost": in_rhythm.lost,
        "ratio_in_rhythm": cost.map(|cost| cost / in_rhythm.cost),
        "packets_per_second": per(totals.expected.into(), 1) / window.elapsed.as_secs_f64(),
        "packets": totals.expected,
        "frames": totals.frames,
        "rss_per_viewer_bytes": alone.zip(full).map(|(alone, full)| full.saturating_sub(alone) / further),
        "rss_bytes": full,
        "loss": per(totals.lost.into(), totals.expected),
        "lost_packets": totals.lost,
        "reordered_packets": totals.reordered,
        "forged_packets": totals.forged,
        "authenticated_packets": totals.authenticated,
        "viewers_lost": totals.gone,
        "longest_gap_ms": totals.longest_gap.as_secs_f64() * 1000.0,
        "receiver_cpu_ns_per_packet": per(own_cpu.as_nanos(), totals.expected),
        "receiver_rss_per_viewer_bytes": own_after.saturating_sub(own_before) / further,
    }))
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people: 53 bits are plenty")]
pub(super) fn per(total: u128, count: u64) -> f64 {
    total as f64 / count.max(1) as f64
}

/// What came of watching for a while.
pub(super) struct Window {
    pub(super) elapsed: Duration,
    /// The server's, if its process is known.
    pub(super) cpu: Option<Duration>,
    pub(super) totals: Totals,
}

impl Window {
    /// Watches for `time`.
    pub(super) fn of(audience: &mut Audience, server: &Server, time: Duration) -> anyhow::Result<Self> {
        let cpu_time = || server.pid.map(cpu::of_process).transpose();
        audience.seats.iter_mut().for_each(|seat| seat.viewer.restart_gap());
        let before: Vec<Reception> = audience
            .seats
            .iter()
            .map(|seat| seat.viewer.reception().clone())
            .collect();
        let (start, cpu_before) = (Instant::now(), cpu_time()?);
        audience.watch_for(time)?;
        let (elapsed, cpu_after) = (start.elapsed(), cpu_time()?);
        let mut totals = Totals::default();
        for (seat, before) in audience.seats.iter().zip(&before) {
            totals.add(before, seat.viewer.reception(), seat.viewer.is_connected());
        }
        let cpu = cpu_before
            .zip(cpu_after)
            .map(|(before, after)| after.saturating_sub(before));
        Ok(Self { elapsed, cpu, totals })
    }
}

/// All viewers' receptions together.
#[derive(Default)]
pub(super) struct Totals {
    pub(super) expected: u64,
    pub(super) lost: u64,
    frames: u64,
    reordered: u64,
    forged: u64,
    authenticated: u64,
    pub(super) gone: u64,
    longest_gap: Duration,
}

impl Totals {
    fn add(&mut self, before: &Reception, after: &Reception, is_connected: bool) {
        self.expected += after.expected() - before.expected();
        self.lost += after.lost().saturating_sub(before.lost());
        self.frames += after.frames - before.frames;
        self.reordered += after.reordered - before.reordered;
        self.forged += after.forged - before.forged;
        self.authenticated += after.authenticated - before.authenticated;
        self.gone += u64::from(!is_connected || after.frames == before.frames);
        self.longest_gap = self.longest_gap.max(after.longest_gap);
    }
}
