//! The server under test: the real `signaling`, and in place of the encoder one that makes pictures of any bitrate
//! out of nothing and speaks the real protocol. Or any WHEP server, by its URL.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use framebridge_ipc::{Identity, Link, Listener, RuntimeDir, Sender, encode};
use framebridge_proto::{
    Role, StreamName,
    encoder::{FromEncoder, SourceState, ToEncoder},
    limits::HANDSHAKE_TIMEOUT,
    media::{Codec, CodecParameters},
};
use rustix::time::{ClockId, clock_gettime};
use tempfile::TempDir;
use tokio::time::{MissedTickBehavior, interval};

use crate::{Pictures, whep};

/// How long signaling may take to come up.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pictures per second of the made-up encoder.
pub(crate) const FPS: u64 = 30;

/// Where viewers go, and what is known of it.
pub(crate) struct Server {
    /// The WHEP endpoint.
    pub(crate) url: String,
    /// Its process, if it is known.
    pub(crate) pid: Option<u32>,
    own: Option<Own>,
}

/// What we started.
struct Own {
    signaling: Child,
    keyframes: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    _dir: TempDir,
}

impl Server {
    /// Any server. With `pid` its CPU time and memory are told, too.
    pub(crate) fn at(url: String, pid: Option<u32>) -> Self {
        Self { url, pid, own: None }
    }

    /// `signaling` from the folder of this program, fed with `bits_per_second`.
    pub(crate) fn start(bits_per_second: u64) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let (http, udp) = (free_tcp_port()?, free_udp_port()?);
        let config = dir.path().join("framebridge.toml");
        fs::write(
            &config,
            format!(
                "[http]\nlisten = \"127.0.0.1:{http}\"\n[webrtc]\nport = {udp}\nmax_viewers_per_stream = 5000\n\
                 memory_budget_mb = 4096\n[log]\nfilter = \"warn\"\n[streams.bench]\nsource = \"test:\"\n"
            ),
        )?;
        let runtime = dir.path().join("run");
        RuntimeDir::at(&runtime).create()?;
        let (keyframes, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        start_encoder(
            runtime.clone(),
            bits_per_second,
            Arc::clone(&keyframes),
            Arc::clone(&stop),
        )?;
        #[expect(
            clippy::disallowed_methods,
            reason = "what is measured must run in a process of its own"
        )]
        let signaling = Command::new(sibling("signaling")?)
            .arg("--config")
            .arg(&config)
            .env("FRAMEBRIDGE_RUNTIME_DIR", &runtime)
            .stdin(Stdio::null())
            .spawn()
            .context("can't start signaling")?;
        let pid = Some(signaling.id());
        let own = Own {
            signaling,
            keyframes,
            stop,
            _dir: dir,
        };
        let server = Self {
            url: format!("http://127.0.0.1:{http}/whep/bench"),
            pid,
            own: Some(own),
        };
        let health = format!("http://127.0.0.1:{http}/api/v1/health");
        let start = Instant::now();
        while whep::get(&health).is_err() {
            anyhow::ensure!(start.elapsed() < PATIENCE, "signaling does not answer");
            thread::park_timeout(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// IDRs the encoder was asked for so far, if it is ours.
    pub(crate) fn keyframes(&self) -> Option<u64> {
        self.own.as_ref().map(|own| own.keyframes.load(Relaxed))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(own) = &mut self.own {
            own.stop.store(true, Relaxed);
            // It may have ended by itself; either way it is gone after this.
            if own.signaling.kill().is_ok()
                && let Err(error) = own.signaling.wait()
            {
                eprintln_once(&error);
            }
        }
    }
}

#[expect(clippy::print_stderr, reason = "a command-line tool")]
fn eprintln_once(error: &std::io::Error) {
    eprintln!("signaling did not end: {error}");
}

fn sibling(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    anyhow::ensure!(
        path.exists(),
        "{} is missing: build it with the same profile",
        path.display()
    );
    Ok(path)
}

fn free_tcp_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn free_udp_port() -> anyhow::Result<u16> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Runs the made-up encoder on a thread of its own.
fn start_encoder(
    runtime: PathBuf,
    bits_per_second: u64,
    keyframes: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<()> {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stream: StreamName = "bench".parse()?;
    let socket = RuntimeDir::at(runtime).socket(Role::Encoder, Some(&stream));
    let listener = tokio
        .block_on(async { Listener::<ToEncoder, FromEncoder>::bind(&socket, &Identity::new(Role::Encoder)).await })?;
    thread::Builder::new().name("encoder".to_owned()).spawn(move || {
        tokio.block_on(async {
            while !stop.load(Relaxed) {
                let Ok(incoming) = listener.accept().await else {
                    continue;
                };
                let Ok(Ok(link)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, incoming.handshake()).await else {
                    continue;
                };
                // signaling connects once; when it ends, so does the bench.
                if serve(link, bits_per_second, &keyframes).await.is_err() {
                    return;
                }
            }
        });
    })?;
    Ok(())
}

/// Serves one subscriber until it goes.
async fn serve(link: Link<ToEncoder, FromEncoder>, bits_per_second: u64, keyframes: &AtomicU64) -> anyhow::Result<()> {
    let Link {
        mut sender,
        mut receiver,
        ..
    } = link;
    send(&mut sender, FromEncoder::Source(SourceState::Live)).await?;
    let parameters = CodecParameters {
        codec: Codec::H264,
        width: 1280,
        height: 720,
        fps: 30,
        bitrate: u32::try_from(bits_per_second).unwrap_or(u32::MAX),
        encoder: "made up".to_owned(),
        copied: None,
    };
    send(&mut sender, FromEncoder::Parameters(parameters)).await?;
    let mut pictures = Pictures::new(bits_per_second, FPS);
    let mut tick = interval(Duration::from_secs(1) / u32::try_from(FPS)?);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut subscribed, mut keyframe) = (false, false);
    loop {
        // Both arms are cancel-safe.
        tokio::select! {
            message = receiver.recv() => match message? {
                None => return Ok(()),
                Some(ToEncoder::Subscribe) => (subscribed, keyframe) = (true, true),
                Some(ToEncoder::Unsubscribe) => subscribed = false,
                Some(ToEncoder::RequestKeyframe) => keyframe = true,
                Some(ToEncoder::Request { .. } | ToEncoder::Cancel { .. } | ToEncoder::SubscribeTo { .. } | ToEncoder::Steer(_)) => {}
            },
            _ = tick.tick(), if subscribed => {
                keyframes.fetch_add(u64::from(keyframe), Relaxed);
                let unit = pictures.next(std::mem::take(&mut keyframe), monotonic_ns());
                send(&mut sender, FromEncoder::Frame(unit)).await?;
            }
        }
    }
}

async fn send(sender: &mut Sender<FromEncoder>, message: FromEncoder) -> anyhow::Result<()> {
    sender.send_encoded(&encode(&message)?).await?;
    Ok(())
}

fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}
