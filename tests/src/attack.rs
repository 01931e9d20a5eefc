//! Strangers against a running system with ten healthy viewers: what it costs, and what the viewers notice.

mod cases;
mod permission;
pub mod report;
mod street;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use framebridge_testkit::{Identity, Options as ViewerOptions, Seat, Viewer, watch, whep};

use crate::{
    process::footprint,
    system::System,
    wait::{self, PATIENCE, PAUSE},
};
use cases::{CASES, Case, Scene, Tally};
use permission::Endpoint;
use report::{Outcome, Report};
use street::{Side, Street};

/// Who watches all the time.
const HEALTHY: usize = 10;
/// The time between two who join meanwhile: below what one address may.
const JOIN_PAUSE: Duration = Duration::from_millis(600);
/// Who joins and has no picture by then has given up.
const JOIN_LIMIT: Duration = Duration::from_secs(5);
/// Between two cases, so that none pays for the one before.
const QUIET: Duration = Duration::from_millis(500);
/// The stream of the system that is attacked.
const STREAM: &str = "test";
/// The process that strangers reach.
const SIGNALING: &str = "signaling";
/// `webrtc.memory_budget_mb` of that system.
const BUDGET_MB: u64 = 256;

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Each case for so long.
    pub span: Duration,
    /// Only cases whose names contain this.
    pub only: String,
    /// A gap that no viewer may have.
    pub most_gap: Duration,
    /// A running system instead of one of our own: the WHEP endpoint of a stream.
    pub url: Option<String>,
    /// What lets viewers in there.
    pub token: Option<String>,
    /// Whoever asks may attack that system, though it is beyond loopback and private networks.
    pub may: bool,
    /// Its signaling, if that is on this machine: its costs are told, too.
    pub pid: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            span: Duration::from_secs(10),
            only: String::new(),
            most_gap: Duration::from_millis(500),
            url: None,
            token: None,
            may: false,
            pid: None,
        }
    }
}

/// Who is attacked.
struct Target {
    street: Street,
    /// A whole system that we have started.
    system: Option<System>,
    /// Where viewers come in, and what lets them in.
    url: String,
    token: Option<String>,
    /// Where strangers do.
    http: SocketAddr,
    udp: Option<SocketAddr>,
    stream: String,
    /// Signaling's, of a system that runs already.
    pid: Option<u32>,
}

/// Attacks; `tell` hears what comes of each case as it ends. `None`: a system of our own takes networks of our own, which only
/// root may make.
///
/// # Errors
/// The system does not start, or its viewers get no picture.
pub fn run(options: &Options, mut tell: impl FnMut(&Outcome)) -> anyhow::Result<Option<Report>> {
    let target = match &options.url {
        Some(url) => Target::at(url, options)?,
        None => match Street::build()? {
            Some(street) => Target::start(street)?,
            None => return Ok(None),
        },
    };
    let identity = Identity::generate().context("making the light viewers' certificate")?;
    // One after another: who is still connecting counts against their address.
    let mut seats = Vec::new();
    while seats.len() < HEALTHY {
        seats.push(target.street.at(Side::Viewers, || target.join(&identity))?);
        let end = Instant::now() + PATIENCE;
        let is_seen = |seat: &Seat| seat.viewer.reception().has_picture();
        watch(&mut seats, |seats| seats.iter().all(is_seen) || Instant::now() > end)?;
    }
    ensure!(
        seats.iter().all(|seat| seat.viewer.reception().has_picture()),
        "the viewers have no picture before anything is done"
    );
    let mut report = Report {
        outcomes: Vec::new(),
        most_gap: options.most_gap,
        most_memory: BUDGET_MB,
        log: None,
    };
    for case in CASES.iter().filter(|case| case.name.contains(&options.only)) {
        let outcome = target.bear(case, options.span, &mut seats, &identity)?;
        tell(&outcome);
        report.outcomes.push(outcome);
        let end = Instant::now() + QUIET;
        watch(&mut seats, |_| Instant::now() > end)?;
    }
    ensure!(!report.outcomes.is_empty(), "no attack is called `{}`", options.only);
    seats.iter_mut().for_each(Seat::close);
    report.log = target.system.as_ref().map(System::log).transpose()?;
    Ok(Some(report))
}

impl Target {
    /// A system in a network of its own, open to everybody who reaches it.
    fn start(street: Street) -> anyhow::Result<Self> {
        let system = street.at(Side::Box, || {
            let open = format!("memory_budget_mb = {BUDGET_MB}\n[http.auth]\nmode = \"none\"");
            let system = System::start_public(&[(STREAM, "test:")], &open)?;
            wait::until_true("the stream to be live", PATIENCE, || {
                Ok(system.get("/api/v1/streams/test/snapshot.jpg")?.status == 200)
            })?;
            Ok(system)
        })?;
        let [viewers, strangers] = Street::addresses(system.http().port());
        Ok(Self {
            url: format!("http://{viewers}/whep/{STREAM}"),
            token: None,
            http: strangers,
            udp: Some(SocketAddr::new(strangers.ip(), system.udp_port())),
            stream: STREAM.to_owned(),
            pid: None,
            system: Some(system),
            street,
        })
    }

    /// A system that runs already.
    fn at(url: &str, options: &Options) -> anyhow::Result<Self> {
        let Endpoint { http, stream } = Endpoint::of(url, options.may)?;
        Ok(Self {
            street: Street::Here,
            system: None,
            http,
            // Where its media comes from is seen once viewers watch.
            udp: None,
            url: url.to_owned(),
            token: options.token.clone(),
            stream,
            pid: options.pid,
        })
    }

    /// A light viewer that has been let in.
    fn join(&self, identity: &Identity) -> anyhow::Result<Seat> {
        let viewer = Viewer::new(identity.clone(), ViewerOptions::default(), Instant::now());
        let mut seat = Seat::new(viewer, self.http.is_ipv4())?;
        let session = whep::post_as(&self.url, self.token.as_deref(), &seat.viewer.offer())?;
        seat.viewer
            .accept(&session.answer, self.http.is_ipv4(), Instant::now())?;
        Ok(seat)
    }

    /// Lets one case happen, and watches.
    fn bear(&self, case: &Case, span: Duration, seats: &mut [Seat], identity: &Identity) -> anyhow::Result<Outcome> {
        seats.iter_mut().for_each(|seat| seat.viewer.restart_gap());
        let (before, traffic) = (self.processes()?, self.traffic(seats)?);
        let pid = before.get(SIGNALING).copied().flatten();
        let measure = || pid.and_then(|pid| footprint(pid).ok());
        let cpu = measure().map(|footprint| footprint.cpu);
        let (began, until) = (Instant::now(), Instant::now() + span);
        let scene = self.scene(seats, identity, until)?;
        let mut memory = 0;
        let (sent, joins) = thread::scope(|scope| {
            let attack = scope.spawn(|| self.street.at(Side::Strangers, || (case.run)(&scene)));
            let joins = scope.spawn(|| self.street.at(Side::Viewers, || self.joins(identity, until)));
            watch(seats, |_| {
                memory = memory.max(measure().map_or(0, |footprint| footprint.rss_kib / 1024));
                Instant::now() > until && attack.is_finished() && joins.is_finished()
            })?;
            let panicked = || anyhow::anyhow!("a thread has panicked");
            let sent = attack.join().map_err(|_| panicked())??;
            anyhow::Ok((sent, joins.join().map_err(|_| panicked())??))
        })
        .with_context(|| case.name)?;
        let cpu_after = measure().map(|footprint| footprint.cpu);
        Ok(Outcome {
            name: case.name,
            sent,
            span: began.elapsed(),
            cpu: cpu_after.zip(cpu).map(|(after, before)| after.saturating_sub(before)),
            memory: pid.map(|_| memory),
            gap: longest_gap(seats),
            amplification: self
                .amplification(case, seats, traffic)?
                .or(scene.tally.amplification()),
            // With one address for all, who joins pays for the strangers.
            joins: self.system.as_ref().map(|_| joins),
            restarted: changed(&before, &self.processes()?),
        })
    }

    fn scene<'a>(&'a self, seats: &[Seat], identity: &Identity, until: Instant) -> anyhow::Result<Scene<'a>> {
        let forgers = seats
            .iter()
            .filter_map(|seat| Some((seat.forger(), seat.viewer.path()?)));
        let forgers = forgers
            .map(|(socket, to)| Ok((socket?, to)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let seen = forgers.first().map(|(_, to)| *to);
        Ok(Scene {
            street: &self.street,
            http: self.http,
            udp: self.udp.or(seen).context("no viewer has a way to the box")?,
            stream: &self.stream,
            token: self
                .token
                .as_ref()
                .map_or_else(String::new, |token| format!("authorization: Bearer {token}\r\n")),
            tally: Tally::default(),
            forgers,
            identity: identity.clone(),
            until,
        })
    }

    /// Lets people join, one after another, until time is up; how many, and how many of them saw something.
    fn joins(&self, identity: &Identity, until: Instant) -> anyhow::Result<(u32, u32)> {
        let (mut tried, mut seen) = (0, 0);
        while Instant::now() < until {
            let next = Instant::now() + JOIN_PAUSE;
            tried += 1;
            if let Ok(seat) = self.join(identity) {
                let (mut seats, limit) = ([seat], Instant::now() + JOIN_LIMIT);
                watch(&mut seats, |seats| {
                    seats[0].viewer.reception().has_picture() || Instant::now() > limit
                })?;
                seen += u32::from(seats[0].viewer.reception().has_picture());
                seats[0].close();
            }
            while Instant::now() < next {
                thread::park_timeout(PAUSE);
            }
        }
        Ok((tried, seen))
    }

    /// Bytes from and to strangers so far, where they are alone on their wire, and bytes that one viewer has got.
    fn traffic(&self, seats: &[Seat]) -> anyhow::Result<Option<[u64; 3]>> {
        let got = seats.first().map_or(0, |seat| seat.viewer.reception().bytes);
        Ok(self.street.traffic()?.map(|[had, gave]| [had, gave, got]))
    }

    /// Bytes back for each byte, since the counters stood at `before`.
    fn amplification(&self, case: &Case, seats: &[Seat], before: Option<[u64; 3]>) -> anyhow::Result<Option<f64>> {
        let (Some(before), Some(after), Some(watching)) = (before, self.traffic(seats)?, case.watching) else {
            return Ok(None);
        };
        let [had, gave, got] = std::array::from_fn(|at| after[at] - before[at]);
        let besides = gave.saturating_sub(watching * got);
        #[expect(clippy::cast_precision_loss, reason = "a ratio of some megabytes")]
        Ok(Some(besides as f64 / had.max(1) as f64))
    }

    /// Every process by its name.
    fn processes(&self) -> anyhow::Result<BTreeMap<String, Option<u32>>> {
        let Some(system) = &self.system else {
            let alive = self.pid.filter(|pid| footprint(*pid).is_ok());
            return Ok(self.pid.map(|_| (SIGNALING.to_owned(), alive)).into_iter().collect());
        };
        let rows = system.status()?.processes.into_iter();
        Ok(rows.map(|row| (row.name, row.pid)).collect())
    }
}

/// The longest that one of them had no packet, up to now.
fn longest_gap(seats: &[Seat]) -> Duration {
    let of = |seat: &Seat| {
        let reception = seat.viewer.reception();
        let silent = reception.last_packet.map_or(Duration::MAX, |last| last.elapsed());
        reception.longest_gap.max(silent)
    };
    seats.iter().map(of).max().unwrap_or_default()
}

fn changed(before: &BTreeMap<String, Option<u32>>, after: &BTreeMap<String, Option<u32>>) -> Vec<String> {
    let is_other = |(name, pid): &(&String, &Option<u32>)| after.get(*name) != Some(*pid);
    before.iter().filter(is_other).map(|(name, _)| name.clone()).collect()
}
