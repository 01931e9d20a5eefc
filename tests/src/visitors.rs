//! Light viewers who come, stay a while, and go, each in one of the ways in which people go.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use framebridge_core::random::Random;
use framebridge_testkit::{Identity, Options, Seat, Viewer, watch};

use crate::{http::Request, wait::PAUSE};

/// How people come and go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habits {
    /// So many at once.
    pub(crate) at_once: u64,
    /// Seconds that one stays, and until the next one comes; each as likely.
    pub(crate) stays_s: &'static [u64],
    /// See `stays_s`.
    pub(crate) pauses_s: &'static [u64],
    /// Whether some leave without a word, as who closes the lid. Who does keeps their session until they are missed.
    pub(crate) some_vanish: bool,
    /// Who has no picture by then has come in vain.
    pub(crate) patience: Duration,
}

/// All visitors; they leave when this is dropped.
#[derive(Debug)]
pub(crate) struct Visitors {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    http: SocketAddr,
    streams: Vec<String>,
    habits: Habits,
    identity: Identity,
    over: AtomicBool,
    visits: AtomicU64,
    in_vain: AtomicU64,
}

impl Visitors {
    /// Has people come in at `http`, to any of these streams.
    pub(crate) fn invite(http: SocketAddr, streams: Vec<String>, habits: Habits, seed: u64) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared {
            http,
            streams,
            habits,
            identity: Identity::generate().context("making the visitors' certificate")?,
            over: AtomicBool::new(false),
            visits: AtomicU64::new(0),
            in_vain: AtomicU64::new(0),
        });
        let threads = (0..habits.at_once).map(|number| {
            let (shared, random) = (Arc::clone(&shared), Random::new(seed.wrapping_add(number)));
            thread::spawn(move || shared.come_and_go(random))
        });
        Ok(Self {
            threads: threads.collect(),
            shared,
        })
    }

    /// How many came, and how many of them in vain.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        (count(&self.shared.visits), count(&self.shared.in_vain))
    }
}

impl Drop for Visitors {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // One that panicked has said so.
            _ = thread.join();
        }
    }
}

impl Shared {
    fn come_and_go(&self, mut random: Random) {
        while !self.is_over() {
            self.visits.fetch_add(1, Ordering::Relaxed);
            // Whoever comes while what they come through is being killed comes in vain, as in life.
            if self.visit(&mut random).is_err() && !self.is_over() {
                self.in_vain.fetch_add(1, Ordering::Relaxed);
            }
            let next = Instant::now() + pick(&mut random, self.habits.pauses_s);
            while Instant::now() < next && !self.is_over() {
                thread::park_timeout(PAUSE);
            }
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn visit(&self, random: &mut Random) -> anyhow::Result<()> {
        let came = Instant::now();
        let stream = &self.streams[random.below(self.streams.len())];
        let rung = ["full", "half"][random.below(2)];
        let viewer = Viewer::new(self.identity.clone(), Options::default(), Instant::now());
        let mut seat = Seat::new(viewer, true)?;
        let endpoint = format!("/whep/{stream}?rung={rung}");
        let answer = Request::new("POST", &endpoint)
            .body("application/sdp", seat.viewer.offer())
            .send(self.http)?;
        ensure!(answer.status == 201, "{}", answer.text());
        let session = answer.header("location").unwrap_or_default().to_owned();
        seat.viewer.accept(&answer.text(), true, Instant::now())?;
        let (mut seats, patience) = ([seat], came + self.habits.patience);
        watch(&mut seats, |seats| {
            seats[0].viewer.reception().has_picture() || Instant::now() > patience || self.is_over()
        })?;
        let has_seen = seats[0].viewer.reception().has_picture();
        let leaves = Instant::now() + pick(random, self.habits.stays_s);
        watch(&mut seats, |_| Instant::now() > leaves || self.is_over())?;
        match random.below(if self.habits.some_vanish { 3 } else { 2 }) {
            0 => drop(Request::new("DELETE", &session).send(self.http)?),
            1 => seats[0].close(),
            _ => {}
        }
        ensure!(has_seen, "no picture");
        Ok(())
    }
}

fn pick(random: &mut Random, seconds: &[u64]) -> Duration {
    Duration::from_secs(seconds[random.below(seconds.len())])
}
