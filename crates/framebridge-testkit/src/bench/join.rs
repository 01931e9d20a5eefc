//! `join`: from POST to the first decodable picture, alone and in a crowd.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use framebridge_rtc::dtls::Identity;
use serde_json::{Value, json};

use super::{Arguments, fanout::Audience, server::Server};
use crate::{Options, Seat, Viewer, watch, whep};

/// Viewers who are there already and must not notice.
const RESIDENTS: usize = 10;
/// Joins one after the other.
const ALONE: usize = 30;
/// Joins within one second.
const CROWD: usize = 100;
/// How long a join may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs it.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Value> {
    let server = match &arguments.url {
        Some(url) => Server::at(url.clone(), arguments.pid),
        None => Server::start(arguments.bitrate)?,
    };
    let mut residents = Audience::new(Options::default())?;
    residents.fill(&server.url, RESIDENTS)?;
    let identity = Identity::generate()?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let residents = scope.spawn(|| {
            residents.seats.iter_mut().for_each(|seat| seat.viewer.restart_gap());
            let watched = watch(&mut residents.seats, |_| stop.load(Relaxed));
            let gaps = residents.seats.iter().map(|seat| seat.viewer.reception().longest_gap);
            watched.map(|()| gaps.max().unwrap_or_default())
        });
        let measured = measure(&server, &identity);
        stop.store(true, Relaxed);
        let gap = residents.join().ok().context("the residents' thread panicked")??;
        let (alone, crowd, idrs, spread) = measured?;
        Ok(json!({
            "bench": "join",
            "bitrate": arguments.bitrate,
            "alone": summary(alone),
            "crowd": summary(crowd),
            "crowd_idrs": idrs,
            "crowd_seconds": spread.as_secs_f64(),
            "crowd_idrs_per_second": idrs.map(|idrs| super::fanout::per(idrs.into(), 1) / spread.as_secs_f64()),
            "residents": RESIDENTS,
            "residents_longest_gap_ms": gap.as_secs_f64() * 1000.0,
        }))
    })
}

type Times = Vec<Option<Duration>>;

fn measure(server: &Server, identity: &Identity) -> anyhow::Result<(Times, Times, Option<u64>, Duration)> {
    let mut alone = Vec::new();
    for _ in 0..ALONE {
        alone.push(join(&server.url, identity, &AtomicBool::new(true))?);
        // Past the age of a cached group, so that each pays for its own keyframe.
        pause(Duration::from_millis(400));
    }
    let before = server.keyframes();
    let (start, done) = (Instant::now(), AtomicBool::new(false));
    let crowd: anyhow::Result<Times> = thread::scope(|scope| {
        let joiners: Vec<_> = (0..CROWD)
            .map(|number| {
                let done = &done;
                scope.spawn(move || {
                    pause(Duration::from_secs(1) * u32::try_from(number)? / u32::try_from(CROWD)?);
                    join(&server.url, identity, done)
                })
            })
            .collect();
        // All stay until the last one is in.
        pause(Duration::from_secs(2));
        done.store(true, Relaxed);
        joiners
            .into_iter()
            .map(|joiner| joiner.join().ok().context("a joiner panicked")?)
            .collect()
    });
    let idrs = server.keyframes().zip(before).map(|(after, before)| after - before);
    Ok((alone, crowd?, idrs, start.elapsed()))
}

/// Joins, waits for the picture and, with it, for `may_leave`; then leaves. `None`: no picture came.
fn join(url: &str, identity: &Identity, may_leave: &AtomicBool) -> anyhow::Result<Option<Duration>> {
    let start = Instant::now();
    let mut viewer = Viewer::new(identity.clone(), Options::default(), start);
    let session = whep::post(url, &viewer.offer())?;
    viewer.accept(&session.answer, true, Instant::now())?;
    let mut seats = [Seat::new(viewer, true)?];
    watch(&mut seats, |seats| {
        let has_picture = seats[0].viewer.reception().has_picture();
        start.elapsed() > PATIENCE || (has_picture && may_leave.load(Relaxed))
    })?;
    let first = seats[0].viewer.reception().first_picture;
    seats[0].close();
    Ok(first)
}

/// Waits; nothing ever unparks these threads.
fn pause(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
    {
        thread::park_timeout(left);
    }
}

fn summary(times: Times) -> Value {
    let failed = times.iter().filter(|time| time.is_none()).count();
    let mut times: Vec<Duration> = times.into_iter().flatten().collect();
    times.sort_unstable();
    let percentile = |part: usize| times.get((times.len() * part / 100).min(times.len().saturating_sub(1)));
    let ms = |time: Option<&Duration>| time.map(|time| time.as_secs_f64() * 1000.0);
    json!({
        "joins": times.len() + failed,
        "failed": failed,
        "first_picture_p50_ms": ms(percentile(50)),
        "first_picture_p95_ms": ms(percentile(95)),
        "first_picture_max_ms": ms(times.last()),
    })
}
