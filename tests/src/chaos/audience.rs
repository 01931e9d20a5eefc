//! Viewers that watch all the time and note every picture: light ones, and one page in a real browser.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use framebridge_proto::millis;
use framebridge_testkit::{Identity, Options, Seat, Viewer, watch};

use crate::{
    browser::{Browser, Page},
    chaos::{
        plan::{STREAMS, Stream},
        trace::{MEDIA_CLOCK_KHZ, Seen},
    },
    http::Request,
    wait::PAUSE,
};

/// A light viewer is as patient as the page (`TIMES` in its player.js): no picture for so long, and it asks whether its
/// session is still known, again and again.
const ASK: Duration = Duration::from_secs(1);
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// No picture and no word for so long, and it starts anew.
const RECONNECT: Duration = Duration::from_secs(6);

/// No picture is shown so long after its time.
const STEPPED_MS: u64 = 60_000;

/// An answer that takes longer is none.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// Everybody who watches.
#[derive(Debug)]
pub(crate) struct Audience {
    light: Vec<Light>,
    page: Watching,
    stop: Arc<AtomicBool>,
}

/// A light viewer on a thread of its own.
#[derive(Debug)]
struct Light {
    stream: Stream,
    trace: Arc<Mutex<Vec<Seen>>>,
    thread: Option<JoinHandle<()>>,
}

/// The page, and what it has shown.
#[derive(Debug)]
struct Watching {
    page: Page,
    trace: Vec<Seen>,
}

/// One viewer and what it has seen so far.
#[derive(Debug)]
pub(crate) struct Viewing {
    /// Who.
    pub(crate) name: String,
    /// Whether it counts pictures; the page only knows how fresh the one is that it shows.
    pub(crate) counts: bool,
    /// What.
    pub(crate) trace: Vec<Seen>,
}

impl Audience {
    /// Seats `viewers` at a system whose HTTP is at `http`, one of them a page that watches the test pattern, the others light and spread over all streams. From the
    /// second round on they ask for a lower rung.
    ///
    /// # Errors
    /// There is no browser, or no thread to be had.
    pub(crate) fn seat(http: SocketAddr, viewers: usize) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let identity = Identity::generate().context("making the light viewers' certificate")?;
        let light = STREAMS
            .into_iter()
            .cycle()
            .take(viewers.saturating_sub(1).max(STREAMS.len()))
            .zip(0..)
            .map(|(stream, number)| {
                let is_small = number >= STREAMS.len();
                Light::seat((stream, is_small), http, identity.clone(), &stop)
            })
            .collect();
        let page = Browser::start()?.open(&format!("http://{http}/s/{}", Stream::Test.name()))?;
        page.until_live()?;
        page.start_recording()?;
        let page = Watching {
            page,
            trace: Vec::new(),
        };
        Ok(Self { light, page, stop })
    }

    /// What everybody has seen so far.
    ///
    /// # Errors
    /// The browser does not answer.
    pub(crate) fn look(&mut self) -> anyhow::Result<Vec<Viewing>> {
        self.page.catch_up()?;
        let page = Viewing {
            name: "Chromium".into(),
            counts: false,
            trace: self.page.trace.clone(),
        };
        let light = self.light.iter().zip(1..).map(|(light, number)| Viewing {
            name: format!("light viewer {number} of {}", light.stream.name()),
            counts: true,
            trace: light.trace.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        });
        Ok(std::iter::once(page).chain(light).collect())
    }

    /// What the page has shown since `time`, and when it was captured: ms since the Unix epoch, by each end's own clock.
    ///
    /// # Errors
    /// The browser does not answer.
    pub(crate) fn shown_since(&mut self, time: u64) -> anyhow::Result<Vec<[u64; 2]>> {
        self.page.catch_up()?;
        let shown = self.page.trace.iter().filter(|seen| seen.at >= time);
        Ok(shown.map(|seen| [seen.at, seen.media / MEDIA_CLOCK_KHZ]).collect())
    }

    /// Sessions that the steady viewers have opened so far, all together.
    pub(crate) fn sessions(&self) -> u64 {
        let light = self.light.iter().map(|light| {
            let trace = light.trace.lock().unwrap_or_else(PoisonError::into_inner);
            trace.last().map_or(0, |seen| seen.sessions)
        });
        light.sum::<u64>() + self.page.trace.last().map_or(0, |seen| seen.sessions)
    }

    /// Forgets what was seen before `time`, but for the last of it.
    pub(crate) fn forget_before(&mut self, time: u64) {
        let forget = |trace: &mut Vec<Seen>| {
            let old = trace.partition_point(|seen| seen.at < time).saturating_sub(1);
            trace.drain(..old);
        };
        forget(&mut self.page.trace);
        for light in &self.light {
            forget(&mut light.trace.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl Drop for Audience {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.light.iter_mut().filter_map(|light| light.thread.take()) {
            // One that panicked has said so.
            _ = thread.join();
        }
    }
}

/// Now, in milliseconds since the Unix epoch: the one clock that viewers, pages and the journal share.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    millis(since)
}

impl Watching {
    /// Takes over what the page has shown since the last time. A picture whose stamp is no newer is not a new one, unless it is so
    /// old that the clock was stepped.
    fn catch_up(&mut self) -> anyhow::Result<()> {
        let sessions = u64::try_from(self.page.sessions()?.len())?;
        for (at, captured) in self.page.take_record()? {
            let last = self.trace.last();
            let media = captured * MEDIA_CLOCK_KHZ;
            let is_stepped = |last: &Seen| last.media - media > STEPPED_MS * MEDIA_CLOCK_KHZ;
            if last.is_none_or(|last| media > last.media || is_stepped(last)) {
                let frames = last.map_or(1, |last| last.frames + 1);
                self.trace.push(Seen {
                    at,
                    sessions,
                    frames,
                    media,
                });
            }
        }
        Ok(())
    }
}

impl Light {
    fn seat((stream, is_small): (Stream, bool), http: SocketAddr, identity: Identity, stop: &Arc<AtomicBool>) -> Self {
        let rung = if is_small { "half" } else { "full" };
        let trace = Arc::new(Mutex::new(Vec::new()));
        let watcher = Watcher {
            http,
            endpoint: format!("/whep/{}?rung={rung}", stream.name()),
            identity,
            stop: Arc::clone(stop),
            trace: Arc::clone(&trace),
            last: Seen {
                at: 0,
                sessions: 0,
                frames: 0,
                media: 0,
            },
        };
        Self {
            stream,
            trace,
            thread: Some(thread::spawn(move || watcher.run())),
        }
    }
}

/// A light viewer's life: one session after another.
struct Watcher {
    http: SocketAddr,
    endpoint: String,
    identity: Identity,
    stop: Arc<AtomicBool>,
    trace: Arc<Mutex<Vec<Seen>>>,
    last: Seen,
}

impl Watcher {
    fn run(mut self) {
        while !self.stopped() {
            match self.connect() {
                Ok((seat, session)) => self.sit(seat, &session),
                Err(_refused) => self.pause(),
            }
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    #[expect(clippy::disallowed_methods, reason = "the pause between two attempts to connect")]
    fn pause(&self) {
        thread::sleep(PAUSE);
    }

    fn connect(&self) -> anyhow::Result<(Seat, String)> {
        let now = Instant::now();
        let viewer = Viewer::new(self.identity.clone(), Options::default(), now);
        let mut seat = Seat::new(viewer, true)?;
        let offer = seat.viewer.offer();
        let answer = Request::new("POST", &self.endpoint)
            .body("application/sdp", offer)
            .within(REQUEST_TIMEOUT)
            .send(self.http)?;
        anyhow::ensure!(answer.status == 201, "{}", answer.text());
        let session = answer.header("location").unwrap_or_default().to_owned();
        seat.viewer.accept(&answer.text(), true, Instant::now())?;
        Ok((seat, session))
    }

    /// Watches until the session is lost.
    fn sit(&mut self, seat: Seat, session: &str) {
        let mut seats = [seat];
        let mut count = Count::default();
        self.last.sessions += 1;
        // Since when there is neither a picture nor a word from the server, and when it was asked last.
        let (mut silent_since, mut progress, mut asked) = (Instant::now(), Instant::now(), Instant::now());
        loop {
            let watched = watch(&mut seats, |seats| {
                if self.note(&mut count, &seats[0]) {
                    (silent_since, progress) = (Instant::now(), Instant::now());
                }
                let asks = progress.elapsed() >= ASK && asked.elapsed() >= ASK_AGAIN;
                self.stopped() || asks || seats[0].viewer.is_closed()
            });
            if watched.is_err() || self.stopped() || seats[0].viewer.is_closed() {
                break;
            }
            asked = Instant::now();
            match self.ask(session) {
                Some(true) => silent_since = asked,
                Some(false) => break,
                None if silent_since.elapsed() >= RECONNECT => break,
                None => {}
            }
        }
        seats[0].close();
    }

    /// Whether the server knows the session. `None`: it does not say.
    fn ask(&self, session: &str) -> Option<bool> {
        let answer = Request::new("GET", session)
            .within(REQUEST_TIMEOUT)
            .send(self.http)
            .ok()?;
        match answer.status {
            200..=299 => Some(true),
            404 => Some(false),
            _ => None,
        }
    }

    /// Notes the pictures that came since the last time; whether any did.
    fn note(&mut self, count: &mut Count, seat: &Seat) -> bool {
        let reception = seat.viewer.reception();
        let Some(timestamp) = reception.last_frame.filter(|_| reception.frames > count.frames) else {
            return false;
        };
        let at = now_ms();
        let passed = match count.timestamp {
            Some(before) => u64::from(timestamp.wrapping_sub(before)),
            // A new session has another clock; from the one before it, real time counts.
            None if self.last.at > 0 => (at - self.last.at) * MEDIA_CLOCK_KHZ,
            None => 0,
        };
        self.last = Seen {
            at,
            sessions: self.last.sessions,
            frames: self.last.frames + (reception.frames - count.frames),
            media: self.last.media + passed,
        };
        (count.frames, count.timestamp) = (reception.frames, Some(timestamp));
        self.trace
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(self.last);
        true
    }
}

/// Where a session's counters stood at the last look.
#[derive(Default)]
struct Count {
    frames: u64,
    timestamp: Option<u32>,
}
