//! An encoder process of a test's own, and links to it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use framebridge_ipc::{ConnectError, EncoderClient, Identity, Link, RuntimeDir, connect};
use framebridge_proto::{
    Role, StreamName,
    encoder::{FromEncoder, SourceState, ToEncoder},
    media::{AccessUnit, CodecParameters, Load},
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

/// Long enough for any machine, short enough to end a test that hangs.
pub(crate) const BOUND: Duration = Duration::from_secs(30);

/// An encoder of the stream `s`. Killed when dropped.
pub(crate) struct Encoder {
    dir: TempDir,
    config: PathBuf,
    breakable: bool,
    process: Child,
}

impl Encoder {
    /// Starts one for `source`; `settings` are further lines of the stream's configuration.
    pub(crate) fn start(source: &str, settings: &str) -> Self {
        Self::launch(source, &format!("encoder = \"software\"\n{settings}"), false)
    }

    /// One with no word about how it encodes but what is in `settings`.
    pub(crate) fn start_as(source: &str, settings: &str) -> Self {
        Self::launch(source, settings, false)
    }

    /// One for the test pattern that can be broken on request.
    pub(crate) fn start_breakable() -> Self {
        Self::launch("test:", "encoder = \"software\"", true)
    }

    fn launch(source: &str, settings: &str, breakable: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("framebridge.toml");
        fs::write(&config, format!("[streams.s]\nsource = {source:?}\n{settings}\n")).unwrap();
        let process = spawn(dir.path(), &config, breakable);
        Self {
            dir,
            config,
            breakable,
            process,
        }
    }

    /// Kills the process and starts the next one in the same directory.
    pub(crate) fn restart(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.process = spawn(self.dir.path(), &self.config, self.breakable);
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// A link that gets nothing until it subscribes.
    pub(crate) async fn link(&self) -> Subscriber {
        let socket = RuntimeDir::at(self.dir.path()).socket(Role::Encoder, Some(&stream()));
        let identity = Identity::new(Role::Operator);
        let link = retry(async || connect(&socket, &identity, Role::Encoder).await).await;
        Subscriber {
            link,
            states: Vec::new(),
            parameters: None,
            lost: 0,
            refusals: Vec::new(),
            load: None,
        }
    }

    /// A link that subscribes.
    pub(crate) async fn subscribe(&self) -> Subscriber {
        let mut subscriber = self.link().await;
        subscriber.send(ToEncoder::Subscribe).await;
        subscriber
    }

    pub(crate) async fn client(&self) -> EncoderClient {
        let (dir, identity) = (RuntimeDir::at(self.dir.path()), Identity::new(Role::Operator));
        retry(async || EncoderClient::connect(&dir, &identity, &stream()).await).await
    }

    /// Waits for the process to end by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let wait = async {
            loop {
                if let Some(status) = self.process.try_wait().unwrap() {
                    return status;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(BOUND, wait).await.expect("the encoder ends by itself")
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// One link as a subscriber sees it.
pub(crate) struct Subscriber {
    pub(crate) link: Link<FromEncoder, ToEncoder>,
    /// The states told so far.
    pub(crate) states: Vec<SourceState>,
    /// The latest parameters.
    pub(crate) parameters: Option<CodecParameters>,
    /// Frames it was told it lost.
    pub(crate) lost: u64,
    /// Why its rung is not made, as it was told.
    pub(crate) refusals: Vec<String>,
    /// How it keeps up, as it was told last.
    pub(crate) load: Option<Load>,
}

impl Subscriber {
    pub(crate) async fn send(&mut self, message: ToEncoder) {
        self.link.sender.send(&message).await.unwrap();
    }

    /// The next message, which is not noted.
    pub(crate) async fn message(&mut self) -> FromEncoder {
        let message = self.link.receiver.recv().await.unwrap();
        message.expect("the encoder keeps the link")
    }

    /// Whether it was told that the source is unavailable.
    pub(crate) fn heard_unavailable(&self) -> bool {
        let is_unavailable = |state: &SourceState| matches!(state, SourceState::Unavailable { .. });
        self.states.iter().any(is_unavailable)
    }

    /// The next frame; what comes before it is noted.
    pub(crate) async fn frame(&mut self) -> AccessUnit {
        let deadline = Instant::now() + BOUND;
        loop {
            let message = timeout(BOUND, self.message()).await.expect("something comes");
            assert!(Instant::now() < deadline, "no frame, but {:?}", self.states);
            if let FromEncoder::Frame(unit) = self.note(message) {
                assert!(self.parameters.is_some(), "parameters come before frames");
                return unit;
            }
        }
    }

    /// Reads on until it is told that its rung is not made, and why.
    pub(crate) async fn refusal(&mut self) -> String {
        let reading = async {
            loop {
                let message = self.message().await;
                self.note(message);
                if let Some(reason) = self.refusals.pop() {
                    return reason;
                }
            }
        };
        timeout(BOUND, reading).await.expect("a refusal comes")
    }

    /// Reads on until the source is in the state that `wanted` accepts.
    pub(crate) async fn state(&mut self, wanted: impl Fn(&SourceState) -> bool) -> SourceState {
        let reading = async {
            loop {
                let message = self.message().await;
                if let FromEncoder::Source(state) = self.note(message)
                    && wanted(&state)
                {
                    return state;
                }
            }
        };
        timeout(BOUND, reading).await.expect("the state comes")
    }

    fn note(&mut self, message: FromEncoder) -> FromEncoder {
        match &message {
            FromEncoder::Source(state) => self.states.push(state.clone()),
            FromEncoder::Parameters(parameters) => self.parameters = Some(parameters.clone()),
            FromEncoder::Lost { frames } => self.lost += frames,
            FromEncoder::NoRung { reason } => self.refusals.push(reason.clone()),
            FromEncoder::Load(load) => self.load = *load,
            FromEncoder::Frame(_)
            | FromEncoder::Quality(_)
            | FromEncoder::Response { .. }
            | FromEncoder::Desk(_)
            | FromEncoder::Gap { .. } => {}
        }
        message
    }
}

fn stream() -> StreamName {
    "s".parse().unwrap()
}

fn spawn(dir: &Path, config: &Path, breakable: bool) -> Child {
    let log = fs::File::options()
        .append(true)
        .create(true)
        .open(dir.join("log"))
        .unwrap();
    #[expect(clippy::disallowed_methods, reason = "the process under test")]
    let mut command = Command::new(env!("CARGO_BIN_EXE_encoder"));
    command
        .args(["s", "--config"])
        .arg(config)
        .env("FRAMEBRIDGE_RUNTIME_DIR", dir)
        .env("FRAMEBRIDGE_DEBUG_ENDPOINTS", if breakable { "1" } else { "0" })
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// Connects as soon as somebody listens.
async fn retry<T>(mut connect: impl AsyncFnMut() -> Result<T, ConnectError>) -> T {
    let attempts = async {
        loop {
            match connect().await {
                Ok(connected) => return connected,
                Err(ConnectError::Absent { .. }) => sleep(Duration::from_millis(10)).await,
                Err(error @ ConnectError::Handshake { .. }) => panic!("{error:?}"),
            }
        }
    };
    timeout(BOUND, attempts).await.expect("the encoder listens")
}
