//! `GET /metrics`: gauges and counters for Prometheus, in its text format or in OpenMetrics.

mod text_format;
mod told;
mod usage;

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
};
use framebridge_proto::{
    media::LoadState,
    status::{BridgeState, ProcessState, PushState, Status, StreamState, StreamStatus},
};
use framebridge_rtc::{DelayStats, StreamStats};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use tokio::runtime::Handle;

use crate::{app_state::AppState, problem::Problem, status, stream::Stream};

/// How streams, processes and the session with a studio are, and counters. Everything is read at the scrape.
#[utoipa::path(
    get, path = "/metrics", operation_id = "get_metrics", tag = "api",
    responses((
        status = 200,
        description = "Prometheus' text format 0.0.4; OpenMetrics where `Accept` asks for it.",
        content_type = "text/plain"
    ))
)]
pub(crate) async fn metrics(
    State(shared): State<Arc<AppState>>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let status = shared.supervisor.status().await;
    let (status, supervisor_is_there) = match status {
        Ok(status) => (status, true),
        Err(problem) => (status::own_view(&shared, problem), false),
    };
    let mut registry = Registry::with_prefix("framebridge");
    registry.register_collector(Box::new(Scrape {
        stats: shared
            .streams
            .all()
            .iter()
            .map(|stream| stream.counts.stats())
            .collect(),
        shared,
        status,
        supervisor_is_there,
    }));
    let mut out = String::new();
    text::encode(&mut out, &registry).map_err(|_| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "failed",
            "The metrics could not be written.",
        )
    })?;
    Ok(if text_format::wants_open_metrics(&headers) {
        ([(header::CONTENT_TYPE, text_format::OPEN_METRICS)], out)
    } else {
        (
            [(header::CONTENT_TYPE, text_format::TEXT)],
            text_format::from_open_metrics(&out),
        )
    })
}

/// What one scrape shows.
#[derive(Debug)]
struct Scrape {
    shared: Arc<AppState>,
    stats: Vec<StreamStats>,
    status: Status,
    /// Without it, `status` is what this process sees by itself.
    supervisor_is_there: bool,
}

/// A counter of the encoder's side: its name, its help, how it is read.
type Upstream = (&'static str, &'static str, fn(&Stream) -> u64);

const UPSTREAM: [Upstream; 5] = [
    (
        "frames_encoded",
        "Frames encoded, as the sequence numbers of received frames tell",
        |stream| stream.encoded.count(),
    ),
    ("frames_received", "Frames received from the encoder", |stream| {
        stream.received.count()
    }),
    (
        "bytes_received",
        "Bytes of encoded frames received from the encoder",
        |stream| stream.received_bytes.load(Ordering::Relaxed),
    ),
    (
        "rung_frames_received",
        "Frames of lower rungs received from the encoder",
        |stream| stream.rung_received.count(),
    ),
    (
        "frames_dropped",
        "Frames that the encoder left out because signaling was too slow",
        |stream| stream.dropped.load(Ordering::Relaxed),
    ),
];

/// A span of a stream's picture: its name, its help, how it is read in milliseconds.
type Still = (&'static str, &'static str, fn(&StreamStatus) -> u64);

const STILL: [Still; 2] = [
    (
        "picture_unchanged_seconds",
        "Since the picture has changed last in any pixel; 0 where it moves",
        |row| row.unchanged_ms,
    ),
    (
        "picture_black_seconds",
        "Since the picture became black; 0 where it is not",
        |row| row.black_ms,
    ),
];

/// A counter of the viewers' side.
type Downstream = (&'static str, &'static str, fn(&StreamStats) -> u64);

const DOWNSTREAM: [Downstream; 11] = [
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
    ("viewers_moved", "Times a viewer was given another rung", |stats| {
        stats.moves
    }),
];

/// A gauge of a stream: its name, its help, how it is read; a stream that has no such value is left out.
type OfStream = (&'static str, &'static str, fn(&StreamStatus) -> Option<f64>);

const OF_STREAM: [OfStream; 4] = [
    (
        "source_up",
        "Whether the source gave pictures, or nothing is known against it, when it was last tried",
        // Of one that was never tried nothing is claimed.
        |stream| (stream.state != StreamState::Untried).then(|| truth(!is_down(stream))),
    ),
    (
        "stream_fps_target",
        "Frames per second that the stream is to have",
        |stream| Some(f64::from(stream.fps)),
    ),
    (
        "stream_target_bytes_per_second",
        "Bytes per second that the stream is to have",
        |stream| Some(f64::from(stream.bitrate) / 8.0),
    ),
    (
        "stream_last_frame_age_seconds",
        "Time since the last frame was encoded",
        |stream| stream.last_frame_age_ms.map(seconds),
    ),
];

fn is_down(stream: &StreamStatus) -> bool {
    matches!(
        stream.state,
        StreamState::Unavailable | StreamState::Slate | StreamState::Down
    )
}

fn truth(is_so: bool) -> f64 {
    if is_so { 1.0 } else { 0.0 }
}

fn seconds(ms: u64) -> f64 {
    // Ages past 49 days are that.
    f64::from(u32::try_from(ms).unwrap_or(u32::MAX)) / 1000.0
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_box(&mut encoder)?;
        self.encode_states(&mut encoder)?;
        self.encode_processes(&mut encoder)?;
        self.encode_streams(&mut encoder)?;
        told::encode(&self.shared, &mut encoder)
    }
}

impl Scrape {
    /// What there is one of.
    fn encode_box(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let build = [(env!("CARGO_PKG_VERSION"), ConstGauge::new(1_i64))].into_iter();
        family(
            encoder,
            "build_info",
            "The version of Framebridge; always 1",
            "version",
            build,
        )?;
        let tasks = ConstGauge::new(i64::try_from(Handle::current().metrics().num_alive_tasks()).unwrap_or(i64::MAX));
        let help = "Tasks alive in signaling: some per connection and per stream";
        tasks.encode(encoder.encode_descriptor("signaling_tasks", help, None, tasks.metric_type())?)?;
        let up = ConstGauge::new(i64::from(self.supervisor_is_there));
        let help = "Whether the supervisor answers; without it, signaling tells what it sees by itself";
        up.encode(encoder.encode_descriptor("supervisor_up", help, None, up.metric_type())?)?;
        if let Some(tls) = &self.shared.tls {
            let ends = ConstGauge::new(i64::try_from(tls.certificate().not_after).unwrap_or(i64::MAX));
            let help = "When the certificate of HTTPS ends, seconds since 1970";
            let name = "tls_certificate_expiry_timestamp_seconds";
            ends.encode(encoder.encode_descriptor(name, help, None, ends.metric_type())?)?;
        }
        Ok(())
    }

    /// Every state there is, 1 for the one that holds: an alert can ask for any of them before it has ever been seen.
    fn encode_states(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let streams = self.status.streams.iter();
        let states = streams.flat_map(|stream| {
            let all = StreamState::ALL.iter();
            all.map(move |state| {
                (
                    [("stream", stream.name.as_str()), ("state", state.as_str())],
                    stream.state == *state,
                )
            })
        });
        let help = "1 for the state that the stream is in, 0 for the others";
        labelled(
            encoder,
            "stream_state",
            help,
            states.map(|(labels, holds)| (labels, ConstGauge::new(i64::from(holds)))),
        )?;
        self.encode_pushes(encoder)?;
        let sessions = BridgeState::ALL.iter();
        let sessions = sessions.map(|state| {
            (
                state.as_str(),
                ConstGauge::new(i64::from(self.status.bridge.state == *state)),
            )
        });
        let help = "1 for the state of the session with the studio, 0 for the others";
        family(encoder, "studio_session", help, "state", sessions)?;
        for (name, help, read) in OF_STREAM {
            let samples = self.status.streams.iter();
            let samples = samples.filter_map(|stream| Some((stream.name.as_str(), ConstGauge::new(read(stream)?))));
            family(encoder, name, help, "stream", samples)?;
        }
        for (name, help, read) in STILL {
            let samples = self.status.streams.iter().map(|row| {
                let seconds = i64::try_from(read(row) / 1000).unwrap_or(i64::MAX);
                (row.name.as_str(), ConstGauge::new(seconds))
            });
            family(encoder, name, help, "stream", samples)?;
        }
        Ok(())
    }

    /// How it goes with those that streams are sent on to.
    fn encode_pushes(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let streams = self.shared.streams.all();
        let pushes = streams.iter().flat_map(|stream| {
            let of_stream = self.shared.pushes.of(&stream.name).into_iter();
            of_stream.map(|push| (stream.name.as_str(), push))
        });
        let pushes: Vec<_> = pushes.collect();
        let states = pushes.iter().flat_map(|(stream, push)| {
            PushState::ALL.iter().map(move |state| {
                let labels = [
                    ("stream", *stream),
                    ("push", push.name.as_str()),
                    ("state", state.as_str()),
                ];
                (labels, ConstGauge::new(i64::from(push.state == *state)))
            })
        });
        let help = "1 for how it goes with a receiver that the stream is sent on to, 0 for the others";
        labelled(encoder, "push_state", help, states)
    }

    fn encode_processes(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let processes = || self.status.processes.iter();
        let up = processes().map(|process| {
            let runs = process.state == ProcessState::Running;
            (process.name.as_str(), ConstGauge::new(i64::from(runs)))
        });
        family(
            encoder,
            "process_up",
            "Whether the process runs and reports",
            "process",
            up,
        )?;
        let usage: Vec<_> = processes()
            .filter_map(|process| Some((process.name.as_str(), usage::of(process.pid?, &process.name)?)))
            .collect();
        let cpu = usage
            .iter()
            .map(|(name, usage)| (*name, ConstCounter::new(usage.cpu_seconds)));
        family(
            encoder,
            "process_cpu_seconds",
            "Time that the process had a processor",
            "process",
            cpu,
        )?;
        let resident = usage
            .iter()
            .map(|(name, usage)| (*name, ConstGauge::new(bytes(usage.resident_bytes))));
        let help = "Memory that the process has in RAM";
        family(encoder, "process_resident_memory_bytes", help, "process", resident)?;
        // Only the supervisor knows: without it, a counter would seem to begin anew.
        let restarts = processes().filter(|_| self.supervisor_is_there);
        let restarts = restarts.map(|process| (process.name.as_str(), ConstCounter::new(process.restarts)));
        let help = "Times a process was started again";
        family(encoder, "process_restarts", help, "process", restarts)
    }

    /// How the machine keeps up with encoding. Of a stream that is not encoded now nothing is claimed.
    fn encode_loads(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let streams = self.shared.streams.all();
        let loads = streams
            .iter()
            .filter_map(|stream| Some((stream.name.as_str(), stream.upstream().load?)));
        let percents = loads.clone().map(|(stream, load)| {
            let share = f64::from(load.percent) / 100.0;
            (stream, ConstGauge::new(share))
        });
        let help =
            "The time that encoding a picture takes, of the time that there is for it: above 1 some are left out";
        family(encoder, "encoder_load", help, "stream", percents)?;
        let states = loads.flat_map(|(stream, load)| {
            let all = LoadState::ALL.iter();
            all.map(move |state| {
                let holds = ConstGauge::new(i64::from(load.state == *state));
                ([("stream", stream), ("state", state.as_str())], holds)
            })
        });
        let help = "1 for what that load is called, 0 for the others";
        labelled(encoder, "encoder_load_state", help, states)
    }

    /// Counters of this process.
    fn encode_streams(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let streams = self.shared.streams.all();
        let streams = streams.iter();
        let stats = self.stats.iter();
        let viewers = stats
            .clone()
            .map(|stats| (stats.stream.as_str(), ConstGauge::new(i64::from(stats.viewers))));
        family(encoder, "viewers", "Viewers with an open session", "stream", viewers)?;
        let up = streams.clone().map(|stream| {
            let live = stream.upstream().source.is_some();
            (stream.name.as_str(), ConstGauge::new(i64::from(live)))
        });
        family(encoder, "encoder_up", "Whether the encoder is linked", "stream", up)?;
        self.encode_loads(encoder)?;
        for (name, help, read) in UPSTREAM {
            let samples = streams
                .clone()
                .map(|stream| (stream.name.as_str(), ConstCounter::new(read(stream))));
            family(encoder, name, help, "stream", samples)?;
        }
        for (name, help, read) in DOWNSTREAM {
            let samples = stats
                .clone()
                .map(|stats| (stats.stream.as_str(), ConstCounter::new(read(stats))));
            family(encoder, name, help, "stream", samples)?;
        }
        let delays = stats.map(|stats| (stats.stream.as_str(), Histogram(&stats.capture_to_wire)));
        family(
            encoder,
            "capture_to_wire_seconds",
            "From a picture's capture to its last packet's way out, for viewers who keep up",
            "stream",
            delays,
        )
    }
}

fn bytes(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
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
    label: &'a str,
    samples: impl Iterator<Item = (&'a str, M)>,
) -> fmt::Result {
    labelled(
        encoder,
        name,
        help,
        samples.map(|(value, sample)| ([(label, value)], sample)),
    )
}

/// One metric, a sample per set of labels.
fn labelled<'a, const N: usize, M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl Iterator<Item = ([(&'a str, &'a str); N], M)>,
) -> fmt::Result {
    let mut samples = samples.peekable();
    let Some((_, first)) = samples.peek() else {
        return Ok(());
    };
    let mut metric = encoder.encode_descriptor(name, help, None, first.metric_type())?;
    for (labels, sample) in samples {
        sample.encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}
