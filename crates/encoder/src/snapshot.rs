//! Makes images of the latest picture.

use std::time::Duration;

use framebridge_capture::{image, monotonic_ns};
use framebridge_core::source_life::State;
use framebridge_proto::{
    Refusal, RefusalKind,
    encoder::{EncoderAnswer, ImageFormat},
};
use tokio::{sync::watch, task::spawn_blocking, time::timeout};

use crate::state::EncoderState;

/// How long a closed source may take to give a picture; below `limits::REQUEST_TIMEOUT`, so that the refusal arrives.
pub(crate) const PATIENCE: Duration = Duration::from_secs(4);

/// An image of the latest picture. Opens a source that is closed, as a subscriber would.
///
/// # Errors
/// No picture comes, or it can't be made an image.
pub(crate) async fn snapshot(
    shared: &EncoderState,
    mut state: watch::Receiver<State>,
    format: ImageFormat,
) -> Result<EncoderAnswer, Refusal> {
    let _demand = shared.broadcast.demand();
    let mut latest = shared.latest.subscribe();
    let longest_edge = shared.controls.quality().longest_edge;
    let picture = async {
        tokio::select! {
            // Both arms are cancel-safe. The senders outlive every request.
            picture = latest.wait_for(Option::is_some) => picture.ok().and_then(|picture| picture.clone()),
            _unavailable = state.wait_for(|state| matches!(state, State::Unavailable { .. })) => None,
        }
    };
    let picture = timeout(PATIENCE, picture).await.ok().flatten().ok_or_else(|| {
        let message = match &*state.borrow() {
            State::Unavailable { reason, .. } => format!("no picture: {reason}"),
            State::Idle | State::UnavailableIdle { .. } | State::Opening | State::Live | State::Paused => {
                "no picture came in time".to_owned()
            }
        };
        Refusal::new(RefusalKind::Unavailable, message)
    })?;
    let age_ms = monotonic_ns().saturating_sub(picture.captured_ns) / 1_000_000;
    let made = spawn_blocking(move || image(&picture, format, longest_edge)).await;
    let failed = |error: anyhow::Error| Refusal::new(RefusalKind::Failed, format!("{error:#}"));
    let image = made
        .map_err(|error| failed(error.into()))?
        .map_err(|error| failed(error.into()))?;
    Ok(EncoderAnswer::Snapshot { format, age_ms, image })
}
