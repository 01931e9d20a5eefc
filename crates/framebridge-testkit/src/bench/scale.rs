//! `scale`: whether the hundredth viewer costs what the tenth did.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::{
    Arguments,
    fanout::{Audience, SETTLE, Window, per},
    floor,
    server::{FPS, Server},
};
use crate::Options;

/// Audiences, each grown out of the one before; the last is as many as the command line asks for.
const STEPS: [usize; 4] = [10, 50, 200, 500];

/// One audience's cost.
struct Step {
    viewers: usize,
    /// CPU seconds of the server in a second.
    load: f64,
    result: Value,
}

/// Runs it. What a viewer costs is the slope between two audiences; what is left at none is the stream's own cost,
/// the same for any number of viewers.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Value> {
    let server = match &arguments.url {
        Some(url) => Server::at(url.clone(), arguments.pid),
        None => Server::start(arguments.bitrate)?,
    };
    let options = Options {
        profiles: vec![arguments.profile],
        ..Options::default()
    };
    let mut audience = Audience::new(options)?;
    let mut steps: Vec<Step> = Vec::new();
    for viewers in STEPS
        .into_iter()
        .filter(|step| *step < arguments.viewers)
        .chain([arguments.viewers])
    {
        audience.fill(&server.url, viewers - audience.seats.len())?;
        audience.watch_for(SETTLE)?;
        let window = Window::of(&mut audience, &server, Duration::from_secs(arguments.seconds))?;
        let floor = floor::measure(
            floor::Shape::of(arguments.bitrate, FPS),
            viewers,
            arguments.profile,
            (Duration::from_secs(1), Duration::ZERO),
        )?
        .cost;
        let cpu = window.cpu.context("the server's process is not known: --pid")?;
        let cost = per(cpu.as_nanos(), window.totals.expected);
        let load = cpu.as_secs_f64() / window.elapsed.as_secs_f64();
        let further = steps
            .last()
            .map(|before| 1e6 * (load - before.load) / per((viewers - before.viewers) as u128, 1));
        let result = json!({
            "cpu_ns_per_packet": cost,
            "floor_ns_per_packet": floor,
            "ratio": cost / floor,
            "cpu_us_per_viewer_second": 1e6 * load / per(viewers as u128, 1),
            "cpu_us_per_further_viewer_second": further,
            "lost_packets": window.totals.lost,
            "viewers_lost": window.totals.gone,
        });
        steps.push(Step { viewers, load, result });
    }
    let slopes = || {
        steps
            .iter()
            .filter_map(|step| step.result["cpu_us_per_further_viewer_second"].as_f64())
    };
    let (least, most) = (slopes().fold(f64::INFINITY, f64::min), slopes().fold(0.0, f64::max));
    let mut result = Map::new();
    result.insert("bench".to_owned(), json!("scale"));
    result.insert("bitrate".to_owned(), json!(arguments.bitrate));
    for step in &steps {
        result.insert(format!("viewers_{}", step.viewers), step.result.clone());
    }
    result.insert("most_over_least_per_further_viewer".to_owned(), json!(most / least));
    Ok(Value::Object(result))
}
