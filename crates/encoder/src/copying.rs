//! What is known to all threads of frames that are sent on as their source has encoded them.

use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use framebridge_capture::EncodedFrame;
use framebridge_core::as_it_comes::Obstacle;
use tokio::sync::watch;

use crate::controls::lock;

/// What is being sent on, as all threads of a process know it.
#[derive(Debug)]
pub(crate) struct Copying {
    state: Mutex<State>,
    /// How many frames were sent on.
    sent: watch::Sender<u64>,
    /// How long the next one may take after the last.
    gap: watch::Sender<Duration>,
}

#[derive(Debug, Default)]
struct State {
    is_on: bool,
    /// Counts how often it began: what was encoded before continues nothing that is encoded after.
    beginnings: u64,
    /// The frames since the last keyframe, that included; bounded as groups are that are sent on.
    group: Vec<EncodedFrame>,
    /// Counts the groups.
    groups: u64,
    /// Pictures a second, as they are told.
    fps: u32,
    /// Why frames are not sent on.
    obstacle: Option<Obstacle>,
}

impl Copying {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::default(),
            sent: watch::Sender::new(0),
            gap: watch::Sender::default(),
        }
    }

    /// Whether frames are sent on now, for as long as the result lives: nothing else is published meanwhile.
    pub(crate) fn hold(&self) -> Held<'_> {
        Held(lock(&self.state))
    }

    /// The frames since the last keyframe, where they are sent on.
    pub(crate) fn group(&self) -> Vec<EncodedFrame> {
        lock(&self.state).group.clone()
    }

    /// The frames since the last keyframe, without those that were seen of that group: its number, and how many. And the number of
    /// this one, and what is told of its rate.
    pub(crate) fn since(&self, (group, seen): (u64, usize)) -> (u64, Vec<EncodedFrame>, u32) {
        let state = lock(&self.state);
        let seen = if group == state.groups { seen } else { 0 };
        let frames = state.group.get(seen..).unwrap_or_default().to_vec();
        (state.groups, frames, state.fps)
    }

    /// How many frames were sent on, now and on every change; 0 while none are.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.sent.subscribe()
    }

    /// How long the next frame may take after the last, now and on every change. Zero: they come at their rate, or are encoded, and
    /// then the last picture is encoded again in a pause.
    pub(crate) fn gap(&self) -> watch::Receiver<Duration> {
        self.gap.subscribe()
    }

    /// The source's next picture may take so long after its last one.
    pub(crate) fn expects(&self, gap: Duration) {
        let is_on = lock(&self.state).is_on;
        let gap = if is_on { gap } else { Duration::ZERO };
        self.gap.send_if_modified(|told| std::mem::replace(told, gap) != gap);
    }

    /// Why frames are not sent on, for people; `None`: they are, or were never to be.
    pub(crate) fn obstacle(&self) -> Option<String> {
        let state = lock(&self.state);
        // What is no film anyway is no disappointment.
        let is_film = |obstacle: &&Obstacle| !matches!(obstacle, Obstacle::Codec(name) if name.contains("raw") || name.contains("frame"));
        state.obstacle.as_ref().filter(is_film).map(ToString::to_string)
    }

    /// A picture is encoded, and there is this against sending frames on. Whether they were sent on up to now.
    pub(crate) fn encodes(&self, obstacle: Option<Obstacle>) -> bool {
        let mut state = lock(&self.state);
        if state.obstacle != obstacle {
            if let Some(obstacle) = &obstacle {
                tracing::info!("not sent on as it comes: {obstacle}");
            }
            state.obstacle = obstacle;
        }
        let was_on = state.is_on;
        drop(state);
        if was_on {
            self.stop();
        }
        was_on
    }

    /// A frame is sent on, the first of them a keyframe. `publish` gets what there is of its group, and whether frames were encoded
    /// up to now; nothing else is published meanwhile.
    pub(crate) fn send(&self, frame: &EncodedFrame, fps: u32, publish: impl FnOnce(&[EncodedFrame], bool)) {
        let mut state = lock(&self.state);
        let begins = !state.is_on;
        if begins {
            (state.is_on, state.beginnings, state.obstacle) = (true, state.beginnings + 1, None);
        }
        if frame.keyframe {
            state.group.clear();
            state.groups += 1;
        }
        state.fps = fps;
        state.group.push(frame.clone());
        self.sent.send_modify(|sent| *sent += 1);
        publish(&state.group, begins);
    }

    /// No more frames are sent on.
    pub(crate) fn stop(&self) {
        let mut state = lock(&self.state);
        (state.is_on, state.group) = (false, Vec::new());
        self.sent.send_replace(0);
        self.gap.send_replace(Duration::ZERO);
    }
}

/// See [`Copying::hold`].
pub(crate) struct Held<'a>(MutexGuard<'a, State>);

impl Held<'_> {
    /// Whether frames are sent on.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_on
    }

    /// How often that began.
    pub(crate) fn beginnings(&self) -> u64 {
        self.0.beginnings
    }
}
