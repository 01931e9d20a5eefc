//! The queue by which handles and other workers reach a worker.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use framebridge_proto::media::Rung;
use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::{mpsc, oneshot};

use crate::{
    CloseReason, Lane, SessionId,
    frame::Frame,
    ice::{Credentials, Path},
    outlet::Outlet,
    sdp::Candidate,
    stream::Stream,
    viewer::Viewer,
};

/// Commands waiting for a worker. Full: who asks waits.
const COMMANDS: usize = 256;
/// Datagrams waiting for a worker that came to another. Full: they are dropped, as the net drops. A lane of their own, for
/// strangers can fill it.
const FORWARDED: usize = 256;
/// Frames waiting for a worker: a group of ten seconds that is sent on as it comes, which all comes at once where an encoder was
/// linked to anew. Full: the frame is lost to that worker's viewers, and the gap in the numbering makes it wait for a keyframe.
const FRAMES: usize = 700;

/// What a worker is told.
pub(crate) enum Command {
    /// Take this viewer, whose offer had these candidates.
    Join(Box<Viewer>, Vec<Candidate>),
    /// A connection has come that may be a viewer's: its [`Path::socket`], where to write, and who waits for it to be known.
    Connected(usize, Outlet, oneshot::Sender<()>),
    /// A connection of ours has reached where a receiver waits for one.
    Way(SessionId, Path),
    /// That has ended.
    WayLost(SessionId, Path),
    /// A viewer has further candidates.
    Candidates(SessionId, Vec<Candidate>),
    /// A viewer restarts ICE.
    Restart(SessionId, Box<IceRestart>),
    /// A viewer wants no better rung than this.
    Best(SessionId, Rung),
    /// Say this on a line.
    Send(SessionId, Lane, String),
    /// Ask a publisher for a keyframe.
    Keyframe(SessionId),
    /// End a viewer's session, a publisher's, or a line.
    End(SessionId, CloseReason),
    /// Ask these STUN servers where they see us.
    AskOutside(Vec<SocketAddr>),
    /// This machine has these addresses by now, and no others.
    Addresses(Arc<[IpAddr]>),
}

/// What one worker tells another, and what comes by TCP.
pub(crate) enum Forwarded {
    /// A datagram that may be your viewer's came to worker `from`.
    Datagram { from: usize, path: Path, datagram: Vec<u8> },
    /// A datagram came over a connection.
    ByTcp { path: Path, datagram: Vec<u8> },
    /// What comes from this address is a viewer's of worker `owner`: an authentic check has come from it.
    Owned { remote: SocketAddr, owner: usize },
}

/// A viewer's new ICE generation.
pub(crate) struct IceRestart {
    pub(crate) local: Credentials,
    pub(crate) remote: Credentials,
    pub(crate) candidates: Vec<Candidate>,
    /// Told once the worker knows it, and the viewer file, so that it outlives this process.
    pub(crate) taken: oneshot::Sender<()>,
}

/// How to reach a worker.
pub(crate) struct Mailbox {
    pub(crate) commands: mpsc::Sender<Command>,
    frames: mpsc::Sender<(Arc<Stream>, Rung, Arc<Frame>)>,
    forwarded: mpsc::Sender<Forwarded>,
    bell: Bell,
    /// How often the worker has come round.
    rounds: AtomicU64,
}

/// The receiving end of a [`Mailbox`].
pub(crate) struct Inlet {
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) frames: mpsc::Receiver<(Arc<Stream>, Rung, Arc<Frame>)>,
    pub(crate) forwarded: mpsc::Receiver<Forwarded>,
    pub(crate) bell: Bell,
}

impl Mailbox {
    /// A mailbox and its receiving end.
    pub(crate) fn new() -> io::Result<(Self, Inlet)> {
        let (commands, commands_in) = mpsc::channel(COMMANDS);
        let (frames, frames_in) = mpsc::channel(FRAMES);
        let (forwarded, forwarded_in) = mpsc::channel(FORWARDED);
        let bell = Bell(Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?));
        Ok((
            Self {
                commands,
                frames,
                forwarded,
                bell: bell.clone(),
                rounds: AtomicU64::new(0),
            },
            Inlet {
                commands: commands_in,
                frames: frames_in,
                forwarded: forwarded_in,
                bell,
            },
        ))
    }

    /// Wakes the worker.
    pub(crate) fn ring(&self) {
        self.bell.ring();
    }

    /// Hands the worker a frame, if there is room; see [`FRAMES`].
    pub(crate) fn post(&self, stream: &Arc<Stream>, rung: Rung, frame: &Arc<Frame>) {
        let frame = (Arc::clone(stream), rung, Arc::clone(frame));
        if self.frames.try_send(frame).is_ok() {
            self.ring();
        }
    }

    /// Tells the worker, if there is room.
    pub(crate) fn forward(&self, forwarded: Forwarded) {
        if self.forwarded.try_send(forwarded).is_ok() {
            self.ring();
        }
    }

    /// The worker has come round.
    pub(crate) fn count_round(&self) {
        self.rounds.fetch_add(1, Relaxed);
    }

    /// How often the worker has come round; it is woken to do so again.
    pub(crate) fn rounds(&self) -> u64 {
        let rounds = self.rounds.load(Relaxed);
        self.ring();
        rounds
    }
}

/// Wakes a worker out of its poll.
#[derive(Clone)]
pub(crate) struct Bell(Arc<OwnedFd>);

impl Bell {
    fn ring(&self) {
        // Fails only when the counter is full, and then it rings already.
        _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }

    /// Stops the ringing.
    pub(crate) fn silence(&self) {
        // Fails only when it does not ring.
        _ = rustix::io::read(&*self.0, &mut [0; 8]);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_send_to_the_wrong_worker_takes_no_place_from_commands() {
        let (mailbox, mut inlet) = Mailbox::new().unwrap();
        let path = Path {
            socket: 0,
            source: None,
            remote: ([127, 0, 0, 1], 9).into(),
        };
        for _ in 0..10 * FORWARDED {
            mailbox.forward(Forwarded::Datagram {
                from: 1,
                path,
                datagram: vec![0; 100],
            });
        }
        assert_eq!(mailbox.commands.capacity(), COMMANDS);
        let waiting = std::iter::from_fn(|| inlet.forwarded.try_recv().ok()).count();
        assert_eq!(waiting, FORWARDED, "what there is no room for is dropped");
    }
}
