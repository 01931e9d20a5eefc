//! What signaling knows of each stream, and who wants it: the board between the HTTP handlers, the media plane and the
//! encoder links.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use axum::{body::Bytes, http::StatusCode};
use framebridge_config as config;
use framebridge_core::health::{self, Facts, Health, IngestGap, SourceFacts, SourceMemory, judge};
use framebridge_daemon::Meter;
use framebridge_proto::{
    Refusal, RefusalKind, StreamName,
    encoder::{EncoderAnswer, EncoderRequest, ImageFormat, Quality, QualityChange, SourceState},
    limits::MAX_VIEWERS_CLIPS,
    media::{CodecParameters, Load, Rung},
    status::{Condition, FaultKind, StreamState, StreamStatus},
};
use framebridge_rtc::{StreamCounts, ViewerCount};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::timeout,
};

use crate::{
    asks::{Ask, AskError, Asks, Wishes},
    client::ClientAddress,
    feed::Feed,
    hands::Hands,
    mean_delay::MeanDelay,
    problem::Problem,
    rungs::Rungs,
    snapshots::Snapshots,
    units::Units,
};

/// How long a snapshot waits for a stream that it has just woken up.
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(3);

/// A stream that may be there so soon is waited for, however little patience is left.
const SOON: Duration = Duration::from_secs(1);

/// No frame for so long from a live source is worth a word. A picture that stands still is sent once a second, and may be late;
/// the supervisor takes 2 s for a stall.
const SILENCE: Duration = Duration::from_millis(1500);

/// One configured stream.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) name: StreamName,
    /// What viewers are shown in its place.
    pub(crate) title: String,
    /// Its source as configured, secrets left out: for operators.
    pub(crate) source: String,
    /// What kind of source that is.
    pub(crate) source_kind: &'static str,
    /// What it is to be encoded with, as configured.
    pub(crate) quality: Quality,
    upstream: watch::Sender<Upstream>,
    /// Those who want frames and are no viewers.
    guests: watch::Sender<u32>,
    asks: Asks,
    snapshots: Snapshots,
    /// For clips that its encoder is asked to make.
    pub(crate) clips: Semaphore,
    /// What the media plane counts.
    pub(crate) counts: StreamCounts,
    /// From capture to the way out.
    wire_delay: MeanDelay,
    /// Frames received from the encoder.
    pub(crate) received: Meter,
    /// Their bytes.
    pub(crate) received_bytes: AtomicU64,
    /// Frames that the encoder has encoded, as their sequence numbers tell.
    pub(crate) encoded: Meter,
    /// Frames as they come, for who watches by plain HTTP.
    pub(crate) units: Units,
    /// Its lower rungs.
    pub(crate) rungs: Rungs,
    /// Their frames received from the encoder.
    pub(crate) rung_received: Meter,
    /// Frames that the encoder left out because this process was too slow.
    pub(crate) dropped: AtomicU64,
    /// Whether its desktop may be steered by who has the scope.
    pub(crate) control: bool,
    pub(crate) hands: Hands,
    /// What is published to it, where that is its source.
    pub(crate) feed: Option<Feed>,
}

/// The encoder as its link sees it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Upstream {
    /// The source's state and when it was told, by [`hear`](Self::hear); `None` while the encoder is not there.
    pub(crate) source: Option<(SourceState, Instant)>,
    /// So long the next frame may take after the last one, by the encoder's word.
    pub(crate) gap: Duration,
    /// How the frames are encoded; kept when the encoder goes.
    pub(crate) parameters: Option<CodecParameters>,
    /// What they are to be encoded with; kept likewise.
    quality: Option<Quality>,
    /// How its machine keeps up with encoding it, while it does and tells.
    pub(crate) load: Option<Load>,
    /// Whether the source could be opened; kept likewise.
    memory: SourceMemory,
}

/// Who wants a stream's frames, followed.
#[derive(Debug)]
pub(crate) struct Demand {
    viewers: watch::Receiver<ViewerCount>,
    guests: watch::Receiver<u32>,
}

/// How a stream is, as clients are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) condition: Condition,
    pub(crate) fault: Option<FaultKind>,
    /// Why there is no picture, where there is none to be had.
    pub(crate) reason: Option<String>,
    /// When what is wrong is tried again, where that is known.
    pub(crate) retry_in: Option<Duration>,
}

/// Keeps a stream's source open for as long as it lives, for those who are no viewers (yet).
#[derive(Debug)]
pub(crate) struct Guest<'a>(&'a Stream);

impl Stream {
    /// A stream, and the queue that its link has to serve.
    pub(crate) fn new(stream: &config::Stream, counts: StreamCounts) -> (Arc<Self>, mpsc::Receiver<Ask>) {
        let (asks, queue) = Asks::new();
        let stream = Self {
            name: stream.name.clone(),
            title: stream.title.clone(),
            source: stream.source.to_string(),
            source_kind: stream.source.kind(),
            quality: stream.quality,
            upstream: watch::Sender::default(),
            guests: watch::Sender::default(),
            asks,
            snapshots: Snapshots::new(),
            clips: Semaphore::new(MAX_VIEWERS_CLIPS),
            counts,
            wire_delay: MeanDelay::default(),
            received: Meter::default(),
            received_bytes: AtomicU64::new(0),
            encoded: Meter::default(),
            units: Units::new(),
            rungs: Rungs::new(stream.lower_rungs),
            rung_received: Meter::default(),
            dropped: AtomicU64::new(0),
            control: stream.control,
            hands: Hands::new(stream.name.clone()),
            feed: (stream.source == config::Source::Whip).then(Feed::default),
        };
        (Arc::new(stream), queue)
    }

    pub(crate) fn upstream(&self) -> Upstream {
        self.upstream.borrow().clone()
    }

    /// Whether its frames are sent on as its source has encoded them.
    pub(crate) fn is_copied(&self) -> bool {
        let upstream = self.upstream.borrow();
        upstream.parameters.as_ref().is_some_and(|sent| sent.copied.is_some())
    }

    /// The link's: changes what is known of the encoder.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Upstream)) {
        self.upstream.send_modify(change);
    }

    /// The link's: this is in force now.
    pub(crate) fn set_quality(&self, quality: Quality) {
        self.update(|upstream| upstream.quality = Some(quality));
    }

    /// Whether a change would make a difference to what is in force, as far as that is known.
    pub(crate) fn would_change(&self, change: QualityChange) -> bool {
        let quality = self.upstream.borrow().quality;
        quality.is_none_or(|quality| quality.with(change) != quality)
    }

    /// Why there is no picture, in words that tell nothing of where the source is; `None`: nothing is wrong.
    pub(crate) fn words_for_viewers(&self) -> Option<&'static str> {
        match self.health().state {
            StreamState::Unavailable if self.feed.as_ref().is_some_and(|feed| !feed.is_taken()) => {
                Some("Nobody sends this stream its pictures now. They are shown as soon as somebody does.")
            }
            StreamState::Unavailable => Some("The source can't be reached, or has ended. It is tried again by itself."),
            StreamState::Slate => Some("The source keeps failing. It is tried again by itself."),
            StreamState::Down => Some("The stream is being started again."),
            StreamState::Opening => Some("The source is still being opened."),
            StreamState::Paused => Some("The stream is paused by its operator."),
            StreamState::Untried | StreamState::Idle | StreamState::Live => None,
        }
    }

    /// What it is to be encoded with now.
    pub(crate) fn quality_in_force(&self) -> Quality {
        self.upstream.borrow().quality.unwrap_or(self.quality)
    }

    /// Milliseconds from a picture's capture to its way out, the mean since this was asked last.
    pub(crate) fn capture_to_wire_ms(&self) -> Option<u64> {
        self.wire_delay.observe(&self.counts.stats().capture_to_wire);
        self.wire_delay.millis()
    }

    /// The last picture there was, and when that was; none while its operator has stopped it.
    pub(crate) fn kept_still(&self) -> Option<(Instant, Bytes)> {
        let is_paused = self.health().state == StreamState::Paused;
        self.snapshots.kept().filter(|_| !is_paused)
    }

    /// The link's: follows whether anybody wants frames.
    pub(crate) fn demand(&self) -> Demand {
        Demand {
            viewers: self.counts.follow_viewers(),
            guests: self.guests.subscribe(),
        }
    }

    /// Viewers with an open session.
    pub(crate) fn viewers(&self) -> u32 {
        self.counts.viewers().open
    }

    /// Wants frames until the guest is dropped.
    pub(crate) fn guest(&self) -> Guest<'_> {
        self.guests.send_modify(|guests| *guests += 1);
        Guest(self)
    }

    /// Waits until frames come (or would, but for a pause). Somebody has to want them meanwhile.
    ///
    /// A source whose next attempt is further away than `patience` is not waited for.
    pub(crate) async fn ready(&self, patience: Duration) -> Result<(), Told> {
        self.ready_or_opening(patience, patience).await
    }

    /// [`ready`](Self::ready) with more patience for a source that is being opened, and against which nothing is known.
    pub(crate) async fn ready_or_opening(&self, patience: Duration, opening: Duration) -> Result<(), Told> {
        let began = Instant::now();
        let mut upstream = self.upstream.subscribe();
        loop {
            let health = upstream.borrow_and_update().health();
            if matches!(health.state, StreamState::Live | StreamState::Paused) {
                return Ok(());
            }
            let told = Told::from(&health);
            let patience = if told.fault.is_none() { opening } else { patience };
            let left = patience.saturating_sub(began.elapsed());
            if told.retry_after() > left.max(SOON) {
                return Err(told);
            }
            match timeout(left, upstream.changed()).await {
                Ok(Ok(())) => {}
                // The sender is this stream's own, so it is there.
                Ok(Err(_)) | Err(_) => return Err(told),
            }
        }
    }

    /// How the frames are encoded, if that is known within `patience`: of a stream that was woken up it is told with its first
    /// frame.
    pub(crate) async fn parameters(&self, patience: Duration) -> Option<CodecParameters> {
        let mut upstream = self.upstream.subscribe();
        let known = upstream.wait_for(|upstream| upstream.parameters.is_some());
        let upstream = timeout(patience, known).await.ok()?.ok()?;
        upstream.parameters.clone()
    }

    /// How the stream is, as far as this process can see.
    pub(crate) fn health(&self) -> Health {
        let upstream = self.upstream.borrow();
        let facts = Facts {
            ingest: self.silence(&upstream).map(IngestGap::Silent),
            ..upstream.facts()
        };
        judge(&facts, Instant::now())
    }

    /// For how long frames that are due have not come, if that is worth a word: a pulse without progress.
    fn silence(&self, upstream: &Upstream) -> Option<Duration> {
        let Some((SourceState::Live, since)) = &upstream.source else {
            return None;
        };
        let interval = Duration::from_secs(1) / upstream.parameters.as_ref().map_or(1, |found| found.fps.max(1));
        let last_frame = self.received.read().age_ms.map(Duration::from_millis);
        let silence = last_frame.map_or(since.elapsed(), |age| age.min(since.elapsed()));
        let is_due = self.viewers() > 0 && silence > SILENCE.max(interval * 3) + upstream.gap;
        is_due.then_some(silence)
    }

    /// The media plane's: viewers of a rung need a keyframe. Without an encoder there is nobody to ask, and the next one begins with one.
    pub(crate) fn request_keyframe(&self, rung: Rung) {
        if !self.rungs.request_keyframe(rung) {
            self.asks.keyframes().viewers.send_replace(());
        }
    }

    /// Somebody outside wishes for a keyframe. It comes at once, or a second after the one before, for all who wish for it.
    pub(crate) fn wish_keyframe(&self) -> Result<(), AskError> {
        self.check_link()?;
        self.asks.keyframes().outside.send_replace(());
        Ok(())
    }

    /// The link's: follows who wishes for a keyframe.
    pub(crate) fn keyframe_wishes(&self) -> Wishes<watch::Receiver<()>> {
        self.asks.keyframes().follow()
    }

    /// Asks the encoder and waits for its answer.
    pub(crate) async fn request(&self, request: EncoderRequest) -> Result<EncoderAnswer, AskError> {
        self.check_link()?;
        self.asks.request(request).await
    }

    /// A JPEG of the latest picture. An idle stream is started for it, a paused one gives none.
    pub(crate) async fn snapshot(&self, client: ClientAddress) -> Result<Bytes, Problem> {
        self.snapshots.get(client, self.make_snapshot()).await
    }

    async fn make_snapshot(&self) -> Result<Bytes, Problem> {
        let _guest = self.guest();
        self.ready(SNAPSHOT_PATIENCE).await?;
        let health = self.health();
        if health.state == StreamState::Paused {
            return Err(Told::from(&health).into());
        }
        let request = EncoderRequest::Snapshot(ImageFormat::Jpeg);
        let EncoderAnswer::Snapshot { image, .. } = self.request(request).await? else {
            return Err(Problem::odd_answer());
        };
        Ok(image)
    }

    fn check_link(&self) -> Result<(), AskError> {
        if self.upstream.borrow().source.is_some() {
            return Ok(());
        }
        let message = format!("The encoder of `{}` is not there; it is being started.", self.name);
        Err(AskError::Failed(Refusal::new(RefusalKind::Unavailable, message).into()))
    }
}

impl Upstream {
    /// The encoder says how its source is.
    pub(crate) fn hear(&mut self, state: SourceState) {
        self.memory.observe(&state);
        self.source = Some((state, Instant::now()));
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            source: self.source.as_ref().map(|(state, told)| SourceFacts {
                state,
                age: told.elapsed(),
                failed: self.memory.failed(),
                is_known: self.memory.is_known(),
            }),
            ..Facts::default()
        }
    }

    /// How the stream is by its encoder's word alone.
    fn health(&self) -> Health {
        judge(&self.facts(), Instant::now())
    }
}

impl Told {
    /// When somebody who is refused may come back.
    pub(crate) fn retry_after(&self) -> Duration {
        health::retry_after(self.fault, self.retry_in)
    }
}

impl From<&Health> for Told {
    fn from(health: &Health) -> Self {
        Self {
            condition: health.condition,
            fault: health.fault,
            reason: health.absence().map(str::to_owned),
            retry_in: health.retry_in,
        }
    }
}

impl From<StreamStatus> for Told {
    /// The supervisor's word.
    fn from(row: StreamStatus) -> Self {
        Self {
            condition: row.condition,
            fault: row.fault,
            reason: row.reason,
            retry_in: row.retry_in_ms.map(Duration::from_millis),
        }
    }
}

impl From<Told> for Problem {
    fn from(told: Told) -> Self {
        let retry_after = told.retry_after();
        // Who asks is about to be a viewer, so that an idle source is on its way.
        let reason = told.reason.unwrap_or_else(|| "its source is being opened".to_owned());
        Problem::new(StatusCode::CONFLICT, "stream_unavailable", reason).retry_after(retry_after)
    }
}

impl Demand {
    /// Whether anybody does. [`changed`](Self::changed) waits for what comes after.
    pub(crate) fn wants_frames(&mut self) -> bool {
        let viewers = self.viewers.borrow_and_update().open;
        let guests = *self.guests.borrow_and_update();
        viewers > 0 || guests > 0
    }

    /// Waits for a change. Cancel-safe.
    pub(crate) async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        tokio::select! {
            changed = self.viewers.changed() => changed,
            changed = self.guests.changed() => changed,
        }
    }
}

/// A [`Guest`] that owns its stream.
#[derive(Debug)]
pub(crate) struct OwnGuest(Arc<Stream>);

impl OwnGuest {
    pub(crate) fn of(stream: &Arc<Stream>) -> Self {
        stream.guests.send_modify(|guests| *guests += 1);
        Self(Arc::clone(stream))
    }

    /// Whether it is `stream` that is kept open.
    pub(crate) fn is_of(&self, stream: &Arc<Stream>) -> bool {
        Arc::ptr_eq(&self.0, stream)
    }
}

impl Drop for OwnGuest {
    fn drop(&mut self) {
        self.0.guests.send_modify(|guests| *guests -= 1);
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        self.0.guests.send_modify(|guests| *guests -= 1);
    }
}
