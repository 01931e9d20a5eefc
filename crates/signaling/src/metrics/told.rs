//! What viewers' pages tell, and who watches by plain HTTP, per stream. What nobody has told of late is NaN.

use std::{fmt, time::Instant};

use prometheus_client::{
    encoding::DescriptorEncoder,
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

use super::{family, labelled};
use crate::{app_state::AppState, reports::Summary};

/// Writes it.
pub(super) fn encode(shared: &AppState, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let (streams, now) = (shared.streams.all(), Instant::now());
    let films = streams.iter().map(|stream| {
        let watched = i64::try_from(shared.films.of(&stream.name)).unwrap_or(i64::MAX);
        (stream.name.as_str(), ConstGauge::new(watched))
    });
    family(encoder, "viewers_by_http", "Viewers of live.mp4", "stream", films)?;
    let summaries: Vec<(&str, Option<u64>, Summary)> = streams
        .iter()
        .map(|stream| {
            let summary = shared.reports.summary(&stream.name, now);
            (stream.name.as_str(), stream.capture_to_wire_ms(), summary)
        })
        .collect();
    let told = summaries.iter().map(|(stream, _, summary)| {
        (
            *stream,
            ConstGauge::new(i64::try_from(summary.viewers).unwrap_or(i64::MAX)),
        )
    });
    let help = "Viewers whose page has told of late how they fare";
    family(encoder, "viewers_reporting", help, "stream", told)?;
    let delays = summaries.iter().flat_map(|(stream, to_wire, summary)| {
        let to_wire = to_wire.and_then(|ms| u32::try_from(ms).ok());
        let both = to_wire.map(f64::from).zip(summary.wire_to_screen_ms);
        let (middle, late) = both.map_or((f64::NAN, f64::NAN), |(to_wire, (middle, late))| {
            (to_wire + middle, to_wire + late)
        });
        [("0.5", middle), ("0.95", late)].into_iter().map(|(share, ms)| {
            let labels = [("stream", *stream), ("share", share)];
            (labels, ConstGauge::new(ms / 1000.0))
        })
    });
    let help = "From a picture's capture to viewers' screens, as their pages tell: what this share of them stays below";
    labelled(encoder, "viewer_latency_seconds", help, delays)?;
    let losses = summaries.iter().map(|(stream, _, summary)| {
        (
            *stream,
            ConstGauge::new(summary.loss_percent.unwrap_or(f64::NAN) / 100.0),
        )
    });
    let help = "The share of packets that did not come, as viewers' pages tell: the mean";
    family(encoder, "viewer_loss_ratio", help, "stream", losses)?;
    let freezes = summaries
        .iter()
        .map(|(stream, _, summary)| (*stream, ConstCounter::new(summary.freezes)));
    let help = "Times that a picture froze at a viewer, as their pages tell";
    family(encoder, "viewer_freezes", help, "stream", freezes)
}
