//! A worker's end of media over TCP: what it sends waits in a bounded queue for each connection.
//!
//! A viewer whose queue has aged is behind: it gets nothing for a while and goes on at a keyframe, so that it loses pictures and
//! no time.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Notify, mpsc};

use crate::{SessionId, ice::Path};

/// [`Path::socket`] of the first connection; below it are the UDP sockets.
const FIRST: usize = 1 << 16;
/// How many connections are told apart.
const NUMBERS: usize = 1 << 28;

/// Writes that wait: of one viewer, a frame and some reports are one each. Full: what comes is dropped, as the net drops.
const QUEUE: usize = 1024;
/// Bytes that wait: two keyframes of a fast stream. Over it likewise.
const QUEUE_BYTES: usize = 1 << 20;
/// A viewer is behind when what is being written has waited for so long: twice what a keyframe takes on a link that just
/// carries its stream.
const BEHIND: Duration = Duration::from_millis(400);

/// How long a viewer that fell behind gets nothing; doubles each time it falls behind again soon, up to the longest: each time
/// costs everybody a keyframe, and a page that sees nothing for three seconds begins anew.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// What is soon.
const SOON: Duration = Duration::from_secs(20);

/// [`Path::socket`] of a connection.
pub(crate) fn socket_of(number: usize) -> usize {
    FIRST + number % NUMBERS
}

/// Whether a path is a connection.
pub(crate) fn is_tcp(path: &Path) -> bool {
    path.socket >= FIRST
}

/// A worker's end of a connection: what it writes goes into the queue.
#[derive(Debug)]
pub(crate) struct Outlet {
    queue: mpsc::Sender<(Instant, Vec<u8>)>,
    pub(crate) shared: Arc<Shared>,
    /// Whose it is: of one that has come, once that is proven.
    session: Option<SessionId>,
}

/// What both ends of a connection know.
#[derive(Debug)]
pub(crate) struct Shared {
    began: Instant,
    queued: AtomicUsize,
    /// When what is being written was queued, microseconds from `began`; 0: nothing is.
    writing: AtomicU64,
    is_proven: AtomicBool,
    /// The worker has let go of it.
    left: Notify,
}

impl Shared {
    /// Whether an authentic check has come.
    pub(crate) fn is_proven(&self) -> bool {
        self.is_proven.load(Relaxed)
    }

    /// Until the worker has let go of the connection: nothing more will be queued.
    pub(crate) async fn left(&self) {
        self.left.notified().await;
    }

    /// What was queued then is being written.
    pub(crate) fn begin(&self, queued: Instant) {
        self.writing.store(self.micros(queued), Relaxed);
    }

    /// So many bytes are written.
    pub(crate) fn end(&self, bytes: usize) {
        self.queued.fetch_sub(bytes, Relaxed);
        self.writing.store(0, Relaxed);
    }

    fn micros(&self, at: Instant) -> u64 {
        let micros = at.saturating_duration_since(self.began).as_micros();
        u64::try_from(micros).unwrap_or(u64::MAX).max(1)
    }
}

impl Outlet {
    /// One, and what waits to be written: since when, and what.
    pub(crate) fn new() -> (Self, mpsc::Receiver<(Instant, Vec<u8>)>) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared {
            began: Instant::now(),
            queued: AtomicUsize::new(0),
            writing: AtomicU64::new(0),
            is_proven: AtomicBool::new(false),
            left: Notify::new(),
        });
        let outlet = Self {
            queue,
            shared,
            session: None,
        };
        (outlet, waiting)
    }

    /// How long what is being written has waited.
    fn age(&self, now: Instant) -> Duration {
        match self.shared.writing.load(Relaxed) {
            0 => Duration::ZERO,
            since => Duration::from_micros(self.shared.micros(now).saturating_sub(since)),
        }
    }

    /// Queues datagrams, each `segment` long but the last; false if there is no room.
    fn send(&self, datagrams: &[u8], segment: usize) -> bool {
        let mut frames = Vec::with_capacity(datagrams.len() + 2 * datagrams.len().div_ceil(segment.max(1)));
        for datagram in datagrams.chunks(segment.max(1)) {
            let len = u16::try_from(datagram.len()).unwrap_or(u16::MAX);
            frames.extend_from_slice(&len.to_be_bytes());
            frames.extend_from_slice(&datagram[..len.into()]);
        }
        let len = frames.len();
        if self.shared.queued.load(Relaxed) + len > QUEUE_BYTES {
            return false;
        }
        // Counted first: the other end counts it off when it has it.
        self.shared.queued.fetch_add(len, Relaxed);
        let is_queued = self.queue.try_send((Instant::now(), frames)).is_ok();
        if !is_queued {
            self.shared.queued.fetch_sub(len, Relaxed);
        }
        is_queued
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.shared.left.notify_one();
    }
}

/// A worker's connections.
#[derive(Debug, Default)]
pub(crate) struct Outlets {
    by_socket: HashMap<usize, Outlet>,
    /// Those whose viewers have gone: closed once what is said to them is queued.
    leaving: Vec<SessionId>,
}

impl Outlets {
    /// Takes a connection, and forgets those that have ended.
    pub(crate) fn add(&mut self, socket: usize, outlet: Outlet) {
        self.by_socket.retain(|_, known| !known.queue.is_closed());
        self.by_socket.insert(socket, outlet);
    }

    /// We have made the connection for this session.
    pub(crate) fn is_for(&mut self, socket: usize, session: SessionId) {
        if let Some(outlet) = self.by_socket.get_mut(&socket) {
            outlet.session = Some(session);
        }
    }

    /// Whose a connection is. What comes over it is told by that and not by where it comes from: two connections of ours may lead to
    /// one place.
    pub(crate) fn session_of(&self, socket: usize) -> Option<SessionId> {
        self.by_socket.get(&socket)?.session
    }

    /// An authentic check of this viewer has come over `path`.
    pub(crate) fn prove(&mut self, path: &Path, session: SessionId) {
        if let Some(outlet) = self.by_socket.get_mut(&path.socket) {
            outlet.session = Some(session);
            outlet.shared.is_proven.store(true, Relaxed);
        }
    }

    /// Whether what goes over `path` comes late.
    pub(crate) fn is_behind(&self, path: &Path, now: Instant) -> bool {
        let outlet = self.by_socket.get(&path.socket);
        outlet.is_some_and(|outlet| outlet.age(now) > BEHIND)
    }

    /// Queues datagrams, each `segment` long but the last, if there is such a connection, and room.
    pub(crate) fn send(&self, socket: usize, datagrams: &[u8], segment: usize) {
        if let Some(outlet) = self.by_socket.get(&socket)
            && !outlet.send(datagrams, segment)
        {
            tracing::debug!("a connection's queue is full: dropped");
        }
    }

    /// The viewer has gone.
    pub(crate) fn leave(&mut self, session: SessionId) {
        self.leaving.push(session);
    }

    /// Closes the connections of those who have gone.
    pub(crate) fn close(&mut self) {
        for session in self.leaving.drain(..) {
            self.by_socket.retain(|_, outlet| outlet.session != Some(session));
        }
    }
}

/// How long a viewer that is behind gets nothing.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    last: Option<(Instant, Duration)>,
}

impl Backlog {
    /// It has fallen behind: until when it gets nothing.
    pub(crate) fn hold(&mut self, now: Instant) -> Instant {
        let pause = match self.last {
            Some((last, pause)) if now.saturating_duration_since(last) < pause + SOON => (pause * 2).min(LONGEST_PAUSE),
            Some(_) | None => FIRST_PAUSE,
        };
        self.last = Some((now, pause));
        now + pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(socket: usize) -> Path {
        Path {
            socket,
            source: None,
            remote: ([192, 0, 2, 7], 9).into(),
        }
    }

    #[test]
    fn each_datagram_is_framed_by_its_length() {
        let (outlet, mut waiting) = Outlet::new();
        assert!(outlet.send(b"aaabbbc", 3));
        let (_, frames) = waiting.try_recv().unwrap();
        assert_eq!(frames, b"\0\x03aaa\0\x03bbb\0\x01c");
    }

    #[test]
    fn what_waits_is_bounded() {
        let (outlet, mut waiting) = Outlet::new();
        let datagram = [0; 60_000];
        let taken = (0..1000).take_while(|_| outlet.send(&datagram, datagram.len())).count();
        assert_eq!(taken, QUEUE_BYTES / 60_002);
        waiting.close();
        assert!(!outlet.send(b"x", 1));
    }

    #[test]
    fn connection_is_behind_when_what_is_written_has_waited() {
        let (outlet, _waiting) = Outlet::new();
        let (mut outlets, socket) = (Outlets::default(), FIRST + 7);
        let shared = Arc::clone(&outlet.shared);
        let began = shared.began;
        outlets.add(socket, outlet);
        let at = |ms| began + Duration::from_millis(ms);
        assert!(!outlets.is_behind(&path(socket), at(10_000)), "nothing is written");
        shared.begin(at(1000));
        assert!(!outlets.is_behind(&path(socket), at(1400)));
        assert!(outlets.is_behind(&path(socket), at(1401)));
        assert!(!outlets.is_behind(&path(0), at(1401)), "UDP never is");
    }

    #[test]
    fn connection_goes_with_its_viewer() {
        let (mut outlets, session) = (Outlets::default(), SessionId::random());
        let (outlet, mut waiting) = Outlet::new();
        outlets.add(FIRST, outlet);
        outlets.prove(&path(FIRST), session);
        outlets.leave(session);
        outlets.send(FIRST, b"bye", 3);
        outlets.close();
        outlets.send(FIRST, b"more", 4);
        assert!(waiting.try_recv().is_ok(), "what is said last is still queued");
        assert!(matches!(
            waiting.try_recv(),
            Err(mpsc::error::TryRecvError::Disconnected)
        ));
    }

    #[test]
    fn who_falls_behind_again_and_again_waits_longer() {
        let start = Instant::now();
        let mut backlog = Backlog::default();
        let mut now = start;
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let until = backlog.hold(now);
            pauses.push((until - now).as_millis());
            now = until + Duration::from_secs(1);
        }
        assert_eq!(pauses, [500, 1000, 2000, 2000, 2000, 2000, 2000]);
        now += Duration::from_secs(60);
        assert_eq!(backlog.hold(now) - now, FIRST_PAUSE);
    }
}
