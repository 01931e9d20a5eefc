//! Makes images of the latest picture.

use std::{sync::Arc, time::Duration};

use framebridge_capture::{EncodedFrame, Picture, image, last_picture, monotonic_ns};
use framebridge_core::source_life::State;
use framebridge_proto::{
    Refusal, RefusalKind,
    encoder::{EncoderAnswer, ImageFormat},
};
use tokio::{sync::watch, task::spawn_blocking, time::timeout};

use crate::state::EncoderState;

/// How long a closed source may take to give a picture; below `limits::REQUEST_TIMEOUT`, so that the refusal arrives.
pub(crate) const PATIENCE: Duration = Duration::from_secs(4);

/// What an image shows of frames that are sent on: to show the latest, all since the keyframe have to be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shows {
    Latest,
    Keyframe,
}

/// An image of the latest picture, or of the last keyframe where frames are sent on and that will do. Opens a source that is closed, as a subscriber would.
///
/// # Errors
/// No picture comes, or it can't be made an image.
pub(crate) async fn snapshot(
    shared: &EncoderState,
    mut state: watch::Receiver<State>,
    format: ImageFormat,
    shows: Shows,
) -> Result<EncoderAnswer, Refusal> {
    let _demand = shared.broadcast.demand();
    let (mut latest, mut copied) = (shared.latest.subscribe(), shared.copying.subscribe());
    let longest_edge = shared.controls.quality().longest_edge;
    let picture = async {
        let found = tokio::select! {
            // All arms are cancel-safe. The senders outlive every request.
            picture = latest.wait_for(Option::is_some) => Some(picture.ok().and_then(|picture| picture.clone())),
            _copied = copied.wait_for(|frames| *frames > 0) => None,
            _unavailable = state.wait_for(|state| matches!(state, State::Unavailable { .. })) => Some(None),
        };
        match found {
            Some(picture) => picture,
            None => {
                let mut group = shared.copying.group();
                if shows == Shows::Keyframe {
                    group.truncate(1);
                }
                decoded(group).await
            }
        }
    };
    let picture = timeout(PATIENCE, picture).await.ok().flatten().ok_or_else(|| {
        let message = match &*state.borrow() {
            State::Unavailable { reason, .. } => format!("no picture: {reason}"),
            State::Untried
            | State::Idle
            | State::UnavailableIdle { .. }
            | State::Opening
            | State::Live
            | State::Paused => "no picture came in time".to_owned(),
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

/// The last picture of frames that are sent on without being decoded.
async fn decoded(group: Vec<EncodedFrame>) -> Option<Arc<Picture>> {
    match spawn_blocking(move || last_picture(&group)).await {
        Ok(Ok(picture)) => picture.map(Arc::new),
        Ok(Err(error)) => {
            tracing::warn!("no image: {:#}", anyhow::Error::from(error));
            None
        }
        Err(_ending) => None,
    }
}
