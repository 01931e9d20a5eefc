//! An encoder that does as it is told, on a real socket.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use framebridge_daemon::Tasks;
use framebridge_ipc::{Identity, Link, Listener, RuntimeDir};
use framebridge_proto::{
    Refusal, RefusalKind, Role, StreamName,
    encoder::{ClipSpan, EncoderAnswer, EncoderRequest, FromEncoder, ImageFormat, Quality, SourceState, ToEncoder},
    media::{AccessUnit, Codec, CodecParameters, Load, LoadState},
};
use tokio::{
    sync::watch,
    time::{interval, timeout},
};
use tokio_util::sync::CancellationToken;

/// What its snapshots are made of.
pub(crate) const MP4: &[u8] = b"\0\0\0\x08ftyp";

pub(crate) const JPEG: &[u8] = b"\xff\xd8 not much of a picture \xff\xd9";

/// How its machine keeps up, as it says.
const LOAD: Load = Load {
    state: LoadState::Overloaded,
    percent: 214,
    fps: 30,
    asked_fps: 30,
    longest_edge: 1280,
    asked_longest_edge: 1280,
};

/// What happens when somebody subscribes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Script {
    /// The source opens, and frames come.
    Opens,
    /// The source opens, and no frame ever comes.
    Stalls,
    /// The source can't be opened, for this reason.
    Fails(&'static str),
    /// The source stays in the middle of being opened until [`Encoder::open`].
    Hangs,
    /// There are pictures, but of a slate, for this reason.
    Slate(&'static str),
    /// The source opens, frames come, and from then on nothing that it is told is read.
    Deaf,
    /// The source opens, frames come, and no request is ever answered.
    Mute,
}

/// What signaling has asked of it so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) links: u32,
    pub(crate) subscribed: bool,
    pub(crate) subscriptions: u32,
    pub(crate) keyframes: u32,
    pub(crate) cancels: u32,
    pub(crate) requests: u32,
}

#[derive(Debug)]
pub(crate) struct Encoder {
    seen: watch::Sender<Seen>,
    opens: watch::Sender<bool>,
    stop: CancellationToken,
}

impl Encoder {
    /// Listens as the encoder of `stream`.
    pub(crate) async fn start(dir: &RuntimeDir, stream: &str, script: Script) -> Arc<Self> {
        let stream: StreamName = stream.parse().unwrap();
        let identity = Identity::new(Role::Encoder);
        let listener = Listener::bind(&dir.socket(Role::Encoder, Some(&stream)), &identity)
            .await
            .unwrap();
        let encoder = Arc::new(Self {
            seen: watch::Sender::default(),
            opens: watch::Sender::new(!matches!(script, Script::Hangs)),
            stop: CancellationToken::new(),
        });
        let tasks = Tasks::new(encoder.stop.clone());
        tasks.spawn(Arc::clone(&encoder).accept(listener, script, tasks.clone()));
        encoder
    }

    /// Waits until what was seen satisfies `wanted`.
    pub(crate) async fn sees(&self, what: &str, wanted: impl FnMut(&Seen) -> bool) -> Seen {
        let mut seen = self.seen.subscribe();
        let found = timeout(Duration::from_secs(10), seen.wait_for(wanted)).await;
        *found
            .unwrap_or_else(|_| panic!("the encoder never saw {what}: {:?}", self.seen.borrow()))
            .unwrap()
    }

    pub(crate) fn seen(&self) -> Seen {
        *self.seen.borrow()
    }

    /// The source that was being opened is open.
    pub(crate) fn open(&self) {
        self.opens.send_replace(true);
    }

    /// As if killed: the socket and every link are gone at once.
    pub(crate) fn die(&self) {
        self.stop.cancel();
    }

    async fn accept(self: Arc<Self>, listener: Listener<ToEncoder, FromEncoder>, script: Script, tasks: Tasks) {
        loop {
            let link = listener.accept().await.unwrap().handshake().await.unwrap();
            self.seen.send_modify(|seen| seen.links += 1);
            tasks.spawn(Arc::clone(&self).serve(link, script));
        }
    }

    async fn serve(self: Arc<Self>, mut link: Link<ToEncoder, FromEncoder>, script: Script) {
        let mut quality = Quality {
            bitrate: 2_500_000,
            fps: 30,
            longest_edge: 1280,
        };
        let mut frames = interval(Duration::from_millis(33));
        let mut sequence = 0;
        let (mut live, mut opens) = (false, self.opens.subscribe());
        let is_deaf = |live| live && script == Script::Deaf;
        link.sender.send(&FromEncoder::Source(SourceState::Idle)).await.unwrap();
        loop {
            let message = tokio::select! {
                message = link.receiver.recv(), if !is_deaf(live) => message,
                _ = async { opens.wait_for(|opens| *opens).await.is_ok() }, if script == Script::Hangs && !live && self.seen().subscribed => {
                    for message in opening(Script::Opens, quality) {
                        link.sender.send(&message).await.unwrap();
                    }
                    live = true;
                    continue;
                }
                _ = frames.tick(), if live => {
                    if link.sender.send(&frame(sequence)).await.is_err() {
                        return;
                    }
                    sequence += 1;
                    continue;
                }
            };
            match message {
                Ok(Some(ToEncoder::Subscribe)) => {
                    self.seen.send_modify(|seen| {
                        seen.subscribed = true;
                        seen.subscriptions += 1;
                    });
                    for message in opening(script, quality) {
                        link.sender.send(&message).await.unwrap();
                    }
                    live = !matches!(script, Script::Stalls | Script::Fails(_) | Script::Hangs);
                }
                Ok(Some(ToEncoder::Unsubscribe)) => {
                    self.seen.send_modify(|seen| seen.subscribed = false);
                    live = false;
                    link.sender.send(&FromEncoder::Source(SourceState::Idle)).await.unwrap();
                }
                // It makes none.
                Ok(Some(ToEncoder::SubscribeTo { .. })) => {}
                Ok(Some(ToEncoder::RequestKeyframe)) => self.seen.send_modify(|seen| seen.keyframes += 1),
                Ok(Some(ToEncoder::Cancel { .. })) => self.seen.send_modify(|seen| seen.cancels += 1),
                Ok(Some(ToEncoder::Request { id, request })) => {
                    self.seen.send_modify(|seen| seen.requests += 1);
                    if request == EncoderRequest::Pause {
                        tell(&mut link, SourceState::Paused).await;
                    }
                    if script != Script::Mute
                        && let Some(result) = answer(request, &mut quality)
                    {
                        link.sender.send(&FromEncoder::Response { id, result }).await.unwrap();
                    }
                }
                Ok(Some(ToEncoder::Steer(_))) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }
}

/// What somebody who subscribes is told before the first frame.
fn opening(script: Script, quality: Quality) -> Vec<FromEncoder> {
    let mut told = vec![FromEncoder::Source(SourceState::Opening)];
    match script {
        Script::Opens | Script::Stalls | Script::Deaf | Script::Mute => {
            told.push(FromEncoder::Source(SourceState::Live));
            told.push(FromEncoder::Parameters(parameters(quality)));
            told.push(FromEncoder::Load(Some(LOAD)));
        }
        Script::Fails(reason) => told.push(FromEncoder::Source(SourceState::Unavailable {
            reason: reason.to_owned(),
            retry_in_ms: 7000,
        })),
        Script::Hangs => {}
        Script::Slate(reason) => {
            told.push(FromEncoder::Source(SourceState::Slate {
                reason: reason.to_owned(),
                retry_in_ms: 42_000,
            }));
            told.push(FromEncoder::Parameters(parameters(quality)));
        }
    }
    told
}

async fn tell(link: &mut Link<ToEncoder, FromEncoder>, state: SourceState) {
    link.sender.send(&FromEncoder::Source(state)).await.unwrap();
}

/// `None`: it is still at it when the test is over.
fn answer(request: EncoderRequest, quality: &mut Quality) -> Option<Result<EncoderAnswer, Refusal>> {
    let result = match request {
        EncoderRequest::Clip(ClipSpan::Next { .. }) => return None,
        EncoderRequest::SetQuality(change) => {
            let wanted = quality.with(change);
            let changed = std::mem::replace(quality, wanted) != wanted;
            Ok(EncoderAnswer::Quality {
                quality: wanted,
                changed,
            })
        }
        EncoderRequest::Snapshot(ImageFormat::Jpeg) => {
            let image = Bytes::from_static(JPEG);
            Ok(EncoderAnswer::Snapshot {
                format: ImageFormat::Jpeg,
                age_ms: 10,
                image,
            })
        }
        EncoderRequest::Stall | EncoderRequest::StallRung(_) | EncoderRequest::Pause => {
            Ok(EncoderAnswer::Done { changed: true })
        }
        EncoderRequest::Resume => Ok(EncoderAnswer::Done { changed: false }),
        EncoderRequest::Clip(ClipSpan::Last { ms: 5000 }) => Ok(EncoderAnswer::Clip {
            duration_ms: 5000,
            age_ms: 10,
            mp4: Bytes::from_static(MP4),
        }),
        EncoderRequest::Clip(_)
        | EncoderRequest::Snapshot(ImageFormat::Png)
        | EncoderRequest::GetQuality
        | EncoderRequest::ResetQuality => Err(Refusal::new(RefusalKind::Failed, "not in the script")),
    };
    Some(result)
}

fn parameters(quality: Quality) -> CodecParameters {
    CodecParameters {
        codec: Codec::H264,
        width: 1280,
        height: 720,
        fps: quality.fps,
        bitrate: quality.bitrate,
        encoder: "scripted".to_owned(),
        copied: None,
    }
}

/// An access unit of the right shape: SPS, PPS and IDR, or one slice. What is in them no test decodes.
fn frame(sequence: u64) -> FromEncoder {
    let keyframe = sequence.is_multiple_of(30);
    let payload: &[u8] = if keyframe {
        b"\0\0\0\x01\x67\x42\xe0\x1f\x8c\x8d\x40\0\0\0\x01\x68\xce\x3c\x80\0\0\0\x01\x65\x88\x84\x21\x43"
    } else {
        b"\0\0\0\x01\x41\x9a\x24\x6c"
    };
    FromEncoder::Frame(AccessUnit {
        sequence,
        captured_ns: sequence * 33_333_333,
        encoded_ns: sequence * 33_333_333 + 3_000_000,
        pts: sequence * 3000,
        keyframe,
        payload: Bytes::from_static(payload),
    })
}
