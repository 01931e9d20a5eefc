//! The control connection to a camera is ours. FFmpeg speaks RTSP through a socket on loopback, and here what it says is
//! passed on: with the user and the password as the camera wants them, over TLS that is verified, and nowhere but to the
//! camera that was configured. What the camera answers is understood, so that a fault is told by its own name.
//!
//! Media by TCP passes through as it is; by UDP and multicast it goes to FFmpeg directly.

mod auth;
mod exchange;
mod message;
mod tls;
mod wire;

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use data_encoding::HEXLOWER;
use framebridge_config::{Address, Protocol, SourceTls};
use framebridge_core::source_life::Failure;
use ring::rand::{SecureRandom as _, SystemRandom};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

pub use self::tls::TrustError;
use self::{
    exchange::Exchange,
    wire::{Wire, read_from, write_to},
};
use crate::Interrupt;

/// So much may wait for one side before nothing more is read from the other: half a second of a fast camera.
const MOST_WAITING: usize = 1 << 20;

/// FFmpeg connects at once, or never.
const CLIENT_LIMIT: Duration = Duration::from_secs(10);

/// How long a camera has for its answer to our good-bye.
const GOODBYE: Duration = Duration::from_millis(300);

/// How long FFmpeg has to take what came before the camera closed.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// A wait ends this often, to see whether it is over.
const LOOK: Duration = Duration::from_millis(50);

/// What a camera did not do.
#[derive(Debug, thiserror::Error)]
pub enum CameraError {
    /// Its address has no host, or the configuration no sense.
    #[error("its URL has no host")]
    NoHost,
    /// Nobody knows its name.
    #[error("its name is not known")]
    Unknown(#[source] io::Error),
    /// It takes no connection.
    #[error("can't connect")]
    Unreachable(#[source] io::Error),
    /// There is nothing to verify it with.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// It speaks no TLS, or is not who it should be.
    #[error("it can't be trusted: name its certificate with tls_ca, or trust anybody with tls_verify = false")]
    Handshake(#[source] io::Error),
    /// This machine gives no socket or thread.
    #[error("this machine gives no socket for it")]
    System(#[source] io::Error),
    /// It wants a user and a password, and there are none.
    #[error("it asks for a user and a password: put them into its URL, rtsp://USER:PASSWORD@HOST/…")]
    NoPassword,
    /// They are wrong.
    #[error("it refuses the user or the password")]
    Refused,
    /// It wants them in a way that is not known.
    #[error("it asks for a password by {0}, which is not supported: set Digest with MD5 or SHA-256 in the camera")]
    Scheme(String),
    /// It says that it is elsewhere.
    #[error("it sends elsewhere, which is not followed; if that is right, configure {0}")]
    Redirect(String),
    /// It serves as many as it can.
    #[error("it has no room for another session, or is not ready ({0})")]
    Busy(String),
    /// It knows no such stream.
    #[error("it has no such stream ({0})")]
    NotFound(String),
    /// It refuses for another reason.
    #[error("it answers {0}")]
    Status(String),
    /// It sends what is no RTSP.
    #[error("it speaks no RTSP")]
    Malformed,
}

impl CameraError {
    /// What that means for the next try.
    pub(crate) fn failure(&self) -> Failure {
        match self {
            Self::Unreachable(_) => Failure::Unreachable,
            Self::Refused => Failure::Refused,
            Self::NoHost
            | Self::Unknown(_)
            | Self::Trust(_)
            | Self::Handshake(_)
            | Self::System(_)
            | Self::NoPassword
            | Self::Scheme(_)
            | Self::Redirect(_)
            | Self::Busy(_)
            | Self::NotFound(_)
            | Self::Status(_)
            | Self::Malformed => Failure::Other,
        }
    }
}

/// What the camera refused last, for whoever sees FFmpeg fail.
type Refusal = Arc<Mutex<Option<CameraError>>>;

/// A camera that was reached, and where FFmpeg finds it. Says good-bye when it is dropped, after FFmpeg is.
pub(crate) struct Relay {
    /// For FFmpeg.
    pub(crate) url: String,
    refusal: Refusal,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Reaches the camera at `url`, as long as the interrupt allows.
    pub(crate) fn open(
        protocol: Protocol,
        url: &str,
        trust: &SourceTls,
        interrupt: &Interrupt,
    ) -> Result<Self, CameraError> {
        let address = Address::of(url).ok_or(CameraError::NoHost)?;
        let port = address.port.or(protocol.tcp_port()).ok_or(CameraError::NoHost)?;
        let trust = (protocol == Protocol::Rtsps).then_some(trust);
        let wire = Wire::open(address.host, port, trust, interrupt)?;
        let camera = wire.peer().map_err(CameraError::System)?;
        // FFmpeg opens its sockets for media in the family of this address.
        let home: SocketAddr = if camera.is_ipv4() {
            (Ipv4Addr::LOCALHOST, 0).into()
        } else {
            (Ipv6Addr::LOCALHOST, 0).into()
        };
        let listener = TcpListener::bind(home).map_err(CameraError::System)?;
        let home = listener.local_addr().map_err(CameraError::System)?;
        listener.set_nonblocking(true).map_err(CameraError::System)?;
        // Other programs of this machine may find the port; they don't find what has to come first on it.
        let mut key = [0; 16];
        let random = SystemRandom::new().fill(&mut key);
        random.map_err(|_none| CameraError::System(io::Error::other("no randomness")))?;
        let base = format!("rtsp://{home}/{}", HEXLOWER.encode(&key));
        let real = format!("{}://{}:{port}", address.scheme, address.host_in_url());
        let refusal = Refusal::default();
        let exchange = Exchange::new(
            base.clone(),
            real,
            camera.ip(),
            address.credentials(),
            Arc::clone(&refusal),
        );
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        let thread = thread::Builder::new()
            .name("rtsp".to_owned())
            .spawn(move || {
                if let Some(client) = accept(&listener, &told) {
                    drop(listener);
                    Sides::new(wire, client, exchange).run();
                }
            })
            .map_err(CameraError::System)?;
        Ok(Self {
            url: format!("{base}{}", address.path),
            refusal,
            over,
            thread: Some(thread),
        })
    }

    /// What the camera has refused, if it has.
    pub(crate) fn refusal(&self) -> Option<CameraError> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A thread that has panicked has closed its connection, too.
            _ = thread.join();
        }
    }
}

/// FFmpeg's connection.
fn accept(listener: &TcpListener, over: &AtomicBool) -> Option<TcpStream> {
    let until = Instant::now() + CLIENT_LIMIT;
    while Instant::now() < until && !over.load(Ordering::Acquire) {
        match listener.accept() {
            Ok((client, _)) => {
                client.set_nonblocking(true).ok()?;
                _ = client.set_nodelay(true);
                return Some(client);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wait(&mut [PollFd::new(listener, PollFlags::IN)], LOOK);
            }
            Err(_) => return None,
        }
    }
    None
}

/// The camera and FFmpeg, and what waits for each.
struct Sides {
    wire: Wire,
    client: TcpStream,
    exchange: Exchange,
    from_camera: BytesMut,
    from_client: BytesMut,
    to_camera: BytesMut,
    to_client: BytesMut,
}

impl Sides {
    fn new(wire: Wire, client: TcpStream, exchange: Exchange) -> Self {
        Self {
            wire,
            client,
            exchange,
            from_camera: BytesMut::new(),
            from_client: BytesMut::new(),
            to_camera: BytesMut::new(),
            to_client: BytesMut::new(),
        }
    }

    /// Passes on what comes, until either side ends.
    fn run(mut self) {
        let camera_is_there = loop {
            match self.round() {
                Ok(None) => {}
                Ok(Some(End::Client)) => break true,
                Ok(Some(End::Camera)) | Err(_) => break false,
            }
        };
        if camera_is_there {
            self.say_goodbye();
        } else {
            self.deliver();
        }
    }

    fn round(&mut self) -> io::Result<Option<End>> {
        let mut of_camera = PollFlags::empty();
        if self.to_client.len() < MOST_WAITING {
            of_camera |= PollFlags::IN;
        }
        if !self.to_camera.is_empty() || self.wire.wants_write() {
            of_camera |= PollFlags::OUT;
        }
        let mut of_client = PollFlags::empty();
        if self.to_camera.len() < MOST_WAITING {
            of_client |= PollFlags::IN;
        }
        if !self.to_client.is_empty() {
            of_client |= PollFlags::OUT;
        }
        let (camera, client) = {
            let mut both = [
                PollFd::from_borrowed_fd(self.wire.as_fd(), of_camera),
                PollFd::from_borrowed_fd(self.client.as_fd(), of_client),
            ];
            match poll(&mut both, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            (both[0].revents(), both[1].revents())
        };
        let ended = PollFlags::HUP | PollFlags::ERR;
        if client.intersects(PollFlags::IN | ended)
            && !read_from(&mut self.client, &mut self.from_client).unwrap_or(false)
        {
            return Ok(Some(End::Client));
        }
        self.exchange.requests(&mut self.from_client, &mut self.to_camera)?;
        if camera.intersects(PollFlags::IN | ended) && !self.wire.read(&mut self.from_camera)? {
            return Ok(Some(End::Camera));
        }
        self.exchange
            .answers(&mut self.from_camera, &mut self.to_client, &mut self.to_camera)?;
        if let Err(error) = write_to(&mut self.client, &mut self.to_client) {
            // It has gone; the camera is told.
            tracing::debug!("FFmpeg has left an RTSP connection: {error}");
            return Ok(Some(End::Client));
        }
        self.wire.write(&mut self.to_camera)?;
        Ok(None)
    }

    /// Ends the session at the camera, which may have room for but one, and waits for its answer.
    fn say_goodbye(&mut self) {
        let until = Instant::now() + GOODBYE;
        self.exchange.goodbye(&mut self.to_camera);
        while self.exchange.waits_for_goodbye() && Instant::now() < until {
            let mut flags = PollFlags::IN;
            if !self.to_camera.is_empty() || self.wire.wants_write() {
                flags |= PollFlags::OUT;
            }
            wait(&mut [PollFd::from_borrowed_fd(self.wire.as_fd(), flags)], LOOK);
            let gone = self.wire.write(&mut self.to_camera).is_err();
            if gone || !self.wire.read(&mut self.from_camera).unwrap_or(false) {
                return;
            }
            self.to_client.clear();
            let read = self
                .exchange
                .answers(&mut self.from_camera, &mut self.to_client, &mut self.to_camera);
            if read.is_err() {
                return;
            }
        }
    }

    /// Gives FFmpeg what came before the camera closed.
    fn deliver(&mut self) {
        let until = Instant::now() + LAST_BYTES;
        while !self.to_client.is_empty() && Instant::now() < until {
            wait(&mut [PollFd::new(&self.client, PollFlags::OUT)], LOOK);
            if write_to(&mut self.client, &mut self.to_client).is_err() {
                return;
            }
        }
    }
}

/// Who has ended the connection.
enum End {
    Camera,
    Client,
}

fn wait(sockets: &mut [PollFd<'_>], limit: Duration) {
    let limit = Timespec {
        tv_sec: 0,
        tv_nsec: limit.subsec_nanos().into(),
    };
    // Whatever ends it, the caller looks at the sockets and at the time.
    _ = poll(sockets, Some(&limit));
}
