//! `GET /metrics`: counters for Prometheus, in OpenMetrics text.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use framebridge_proto::status::ProcessStatus;
use framebridge_rtc::{DelayStats, StreamStats};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use tokio::runtime::Handle;

use crate::{app_state::AppState, problem::Problem, stream::Stream};

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Counters per stream, and restarts per process. Everything is read at the scrape.
#[utoipa::path(
    get, path = "/metrics", tag = "api",
    responses((status = 200, description = "OpenMetrics text.", content_type = "application/openmetrics-text"))
)]
pub(crate) async fn metrics(State(shared): State<Arc<AppState>>) -> Result<impl IntoResponse, Problem> {
    let processes = shared.supervisor.status().await.map(|status| status.processes);
    let mut registry = Registry::with_prefix("framebridge");
    registry.register_collector(Box::new(Scrape {
        stats: shared.streams.values().map(|stream| stream.counts.stats()).collect(),
        shared,
        processes: processes.ok(),
    }));
    let mut out = String::new();
    text::encode(&mut out, &registry).map_err(|_| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "failed",
            "The metrics could not be written.",
        )
    })?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], out))
}

/// What one scrape shows.
#[derive(Debug)]
struct Scrape {
    shared: Arc<AppState>,
    stats: Vec<StreamStats>,
    /// `None` while the supervisor can't be reached.
    processes: Option<Vec<ProcessStatus>>,
}

/// A counter of the encoder's side: its name, its help, how it is read.
type Upstream = (&'static str, &'static str, fn(&Stream) -> u64);

const UPSTREAM: [Upstream; 3] = [
    (
        "frames_encoded",
        "Frames encoded, as the sequence numbers of received frames tell",
        |stream| stream.encoded.count(),
    ),
    ("frames_received", "Frames received from the encoder", |stream| {
        stream.received.count()
    }),
    (
        "frames_dropped",
        "Frames that the encoder left out because signaling was too slow",
        |stream| stream.dropped.load(Ordering::Relaxed),
    ),
];

/// A counter of the viewers' side.
type Downstream = (&'static str, &'static str, fn(&StreamStats) -> u64);

const DOWNSTREAM: [Downstream; 10] = [
    ("frames_sent", "Frames sent, summed over viewers", |stats| {
        stats.frames_sent
    }),
    ("bytes_sent", "Bytes of SRTP sent, summed over viewers", |stats| {
        stats.bytes_sent
    }),
    ("packets_sent", "SRTP packets sent, summed over viewers", |stats| {
        stats.packets_sent
    }),
    ("packets_lost", "Packets that viewers reported lost", |stats| {
        stats.packets_lost
    }),
    ("packets_retransmitted", "Packets sent again", |stats| {
        stats.retransmitted
    }),
    ("nacks", "Packets that viewers asked for again", |stats| stats.nacks),
    (
        "repeats_refused",
        "Packets that viewers asked for again and did not get: too late, under way already, or beyond their share",
        |stats| stats.repeats_refused,
    ),
    ("keyframe_requests", "PLI and FIR received from viewers", |stats| {
        stats.keyframe_requests
    }),
    (
        "keyframe_requests_refused",
        "PLI and FIR that came too often from one viewer",
        |stats| stats.keyframe_requests_refused,
    ),
    (
        "viewers_held",
        "Times a viewer was held back, because its link could not carry the stream",
        |stats| stats.holds,
    ),
];

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let tasks = ConstGauge::new(i64::try_from(Handle::current().metrics().num_alive_tasks()).unwrap_or(i64::MAX));
        let help = "Tasks alive in signaling: some per connection and per stream";
        tasks.encode(encoder.encode_descriptor("signaling_tasks", help, None, tasks.metric_type())?)?;
        if let Some(tls) = &self.shared.tls {
            let ends = ConstGauge::new(i64::try_from(tls.certificate().not_after).unwrap_or(i64::MAX));
            let help = "When the certificate of HTTPS ends, seconds since 1970";
            let name = "tls_certificate_expiry_timestamp_seconds";
            ends.encode(encoder.encode_descriptor(name, help, None, ends.metric_type())?)?;
        }
        let streams = self.shared.streams.values();
        let stats = self.stats.iter();
        let viewers = stats
            .clone()
            .map(|stats| (stats.stream.as_str(), ConstGauge::new(i64::from(stats.viewers))));
        family(
            &mut encoder,
            "viewers",
            "Viewers with an open session",
            "stream",
            viewers,
        )?;
        let up = streams.clone().map(|stream| {
            let live = stream.upstream().source.is_some();
            (stream.name.as_str(), ConstGauge::new(i64::from(live)))
        });
        family(
            &mut encoder,
            "encoder_up",
            "Whether the encoder is linked",
            "stream",
            up,
        )?;
        for (name, help, read) in UPSTREAM {
            let samples = streams
                .clone()
                .map(|stream| (stream.name.as_str(), ConstCounter::new(read(stream))));
            family(&mut encoder, name, help, "stream", samples)?;
        }
        for (name, help, read) in DOWNSTREAM {
            let samples = stats
                .clone()
                .map(|stats| (stats.stream.as_str(), ConstCounter::new(read(stats))));
            family(&mut encoder, name, help, "stream", samples)?;
        }
        let delays = stats.map(|stats| (stats.stream.as_str(), Histogram(&stats.capture_to_wire)));
        family(
            &mut encoder,
            "capture_to_wire_seconds",
            "From a picture's capture to its last packet's way out, for viewers who keep up",
            "stream",
            delays,
        )?;
        let restarts = self.processes.iter().flatten();
        let restarts = restarts.map(|process| (process.name.as_str(), ConstCounter::new(process.restarts)));
        family(
            &mut encoder,
            "process_restarts",
            "Times a process was started again",
            "process",
            restarts,
        )
    }
}

/// A histogram as it was counted elsewhere.
#[derive(Debug)]
struct Histogram<'a>(&'a DelayStats);

impl EncodeMetric for Histogram<'_> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let buckets = &self.0.buckets;
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(self.0.sum, count, buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// One metric, a sample per label value.
fn family<'a, M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    samples: impl Iterator<Item = (&'a str, M)>,
) -> fmt::Result {
    let mut samples = samples.peekable();
    let Some((_, first)) = samples.peek() else {
        return Ok(());
    };
    let mut metric = encoder.encode_descriptor(name, help, None, first.metric_type())?;
    for (value, sample) in samples {
        sample.encode(metric.encode_family(&[(label, value)])?)?;
    }
    Ok(())
}
