//! Makes clips of a stream: of the past, from the pre-roll, and of what comes.

use std::time::Duration;

use framebridge_capture::{EncodedFrame, monotonic_ns};
use framebridge_core::{group_queue::Next, source_life::State};
use framebridge_proto::{
    Refusal, RefusalKind,
    encoder::{ClipSpan, EncoderAnswer},
    limits::{MAX_CLIP, MAX_CLIP_SPAN, MAX_VIEWERS_CLIPS},
    millis,
};
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{Instant, sleep_until},
};

use crate::{broadcast::copied, snapshot::PATIENCE, state::EncoderState};

/// Clips that may be made at once: each takes up to four times `MAX_CLIP` of memory, for its pictures, the film, and the
/// answer that carries it. Signaling asks for one fewer, so that viewers never take an operator's.
pub(crate) const MAX_CLIPS: usize = MAX_VIEWERS_CLIPS + 1;

/// Pictures that follow each other, and their size.
type Footage = ((u32, u32), Vec<EncodedFrame>);

/// A film of `span`. For one of what comes, a source that is closed is opened, as a subscriber would.
///
/// # Errors
/// The span is out of range, there are no pictures, too many clips are being made, or FFmpeg can't write it.
pub(crate) async fn clip(
    shared: &EncoderState,
    state: watch::Receiver<State>,
    span: ClipSpan,
) -> Result<EncoderAnswer, Refusal> {
    let (ClipSpan::Last { ms } | ClipSpan::Next { ms }) = span;
    let length = Duration::from_millis(ms.into());
    if length.is_zero() || length > MAX_CLIP_SPAN {
        let message = format!("a clip lasts up to {} s, and not {length:?}", MAX_CLIP_SPAN.as_secs());
        return Err(Refusal::new(RefusalKind::Invalid, message));
    }
    let unavailable = |message: String| Refusal::new(RefusalKind::Unavailable, message);
    let _room = shared.clips.try_acquire().map_err(|_none| {
        unavailable(format!(
            "{MAX_CLIPS} clips are being made; try again when they are done"
        ))
    })?;
    let footage = match span {
        ClipSpan::Last { .. } => shared.broadcast.last(length),
        ClipSpan::Next { .. } => record(shared, state.clone(), length).await,
    };
    let (size, pictures) = footage
        .filter(|(_, pictures)| !pictures.is_empty())
        .ok_or_else(|| unavailable(nothing(span, &state.borrow())))?;
    let age_ms = pictures
        .last()
        .map_or(0, |last| monotonic_ns().saturating_sub(last.captured_ns) / 1_000_000);
    let failed = |error: anyhow::Error| Refusal::new(RefusalKind::Failed, format!("{error:#}"));
    let clip = spawn_blocking(move || framebridge_capture::clip(size, &pictures))
        .await
        .map_err(|error| failed(error.into()))?
        .map_err(|error| failed(error.into()))?;
    Ok(EncoderAnswer::Clip {
        duration_ms: millis(clip.duration),
        age_ms,
        mp4: clip.mp4,
    })
}

fn nothing(span: ClipSpan, state: &State) -> String {
    match (span, state) {
        (_, State::Unavailable { reason, .. }) => format!("no pictures: {reason}"),
        (
            ClipSpan::Last { .. },
            State::Untried | State::Idle | State::UnavailableIdle { .. } | State::Opening | State::Live | State::Paused,
        ) => "nothing was kept: nobody has watched the stream, or its pre_roll_ms is 0".to_owned(),
        (
            ClipSpan::Next { .. },
            State::Untried | State::Idle | State::UnavailableIdle { .. } | State::Opening | State::Live | State::Paused,
        ) => "no picture came in time".to_owned(),
    }
}

/// What comes for `length` from now on, or from the first picture of a source that was closed. Ends early when the pictures
/// change their size, weigh too much, or come no more.
async fn record(shared: &EncoderState, mut state: watch::Receiver<State>, length: Duration) -> Option<Footage> {
    let mut subscription = shared.broadcast.subscribe();
    let asked = monotonic_ns();
    let mut until = Instant::now() + PATIENCE;
    let mut end_ns = None;
    let mut weight = 0;
    let mut footage: Option<Footage> = None;
    loop {
        // All arms are cancel-safe. The state's sender outlives every request.
        let next = tokio::select! {
            next = subscription.next() => next,
            _unavailable = state.wait_for(|state| matches!(state, State::Unavailable { .. })) => return footage,
            () = sleep_until(until) => return footage,
        };
        // What was lost shows as a picture that lasts longer.
        let Next::Item(item) = next else { continue };
        let (picture, size) = (&item.picture, item.parameters.size());
        let (footage_size, pictures) = footage.get_or_insert_with(|| (size, Vec::new()));
        // The first ones may be older: those of the group at hand.
        let end_ns = *end_ns.get_or_insert_with(|| {
            until = Instant::now() + length + PATIENCE;
            asked.max(picture.captured_ns) + u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
        });
        weight += picture.payload.len();
        if picture.captured_ns >= end_ns || *footage_size != size || weight > MAX_CLIP {
            return footage;
        }
        pictures.push(copied(picture));
        shared.progress.delivered.bump();
    }
}
