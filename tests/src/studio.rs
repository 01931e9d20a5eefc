//! A studio of one's own, and a box's address there.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{anyhow, ensure};
use framebridge_proto::status::BridgeState;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    http::{Request, Response},
    process::{Process, command, signal},
    system::{System, binary, free_port},
    wait::{self, PATIENCE},
};

/// A running studio with a data directory and a port of its own, which it keeps over its deaths.
#[derive(Debug)]
pub struct Studio {
    process: Option<Process>,
    address: SocketAddr,
    operators: SocketAddr,
    dir: TempDir,
    operator: String,
    further: Vec<String>,
}

/// A box's public address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    studio: SocketAddr,
    /// The address's last part.
    pub id: String,
}

impl Studio {
    /// Starts it, and waits until it answers.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with(&[])
    }

    /// [`start`](Self::start), with further arguments.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start_with(further: &[&str]) -> anyhow::Result<Self> {
        Self::start_at(Ipv4Addr::LOCALHOST, further)
    }

    /// [`start_with`](Self::start_with), at this address.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start_at(ip: Ipv4Addr, further: &[&str]) -> anyhow::Result<Self> {
        let mut studio = Self {
            process: None,
            address: SocketAddr::from((ip, free_port()?)),
            operators: SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?)),
            dir: tempfile::Builder::new().prefix("framebridge-studio-").tempdir()?,
            operator: String::new(),
            further: further.iter().map(|&argument| argument.to_owned()).collect(),
        };
        studio.operator = studio.token(&["new", "operator", "--operator"])?;
        studio.start_again()?;
        Ok(studio)
    }

    /// Starts it again after its death.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        let mut studio = command(binary("studio")?);
        studio
            .args(["--listen", &self.address.to_string()])
            .args(["--operators", &self.operators.to_string(), "--data"])
            .arg(self.data())
            .args(&self.further);
        self.process = Some(Process::start(&mut studio, &self.dir.path().join("log"))?);
        wait::until_true("the studio to answer", PATIENCE, || {
            Ok(self.get("/api/v1/health")?.status == 200)
        })
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let mut process = self.process.take().ok_or_else(|| anyhow!("no studio runs"))?;
        signal(process.pid(), Signal::KILL)?;
        process.wait(PATIENCE).map(drop)
    }

    /// Its pid.
    ///
    /// # Errors
    /// It does not run.
    pub fn pid(&self) -> anyhow::Result<u32> {
        let process = self.process.as_ref().ok_or_else(|| anyhow!("no studio runs"))?;
        Ok(process.pid())
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where operators reach it.
    pub fn operators(&self) -> SocketAddr {
        self.operators
    }

    /// An operator's token.
    pub fn operator(&self) -> &str {
        &self.operator
    }

    /// Makes a token.
    ///
    /// # Errors
    /// There is one of that name.
    pub fn token(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut studio = command(binary("studio")?);
        let output = studio
            .arg("token")
            .args(arguments)
            .arg("--data")
            .arg(self.data())
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Configuration of a box that is to register here under `name`, as quickly as it can.
    ///
    /// # Errors
    /// The token can't be made.
    pub fn settings(&self, name: &str) -> anyhow::Result<String> {
        Ok(self.settings_with(&self.token(&["new", name])?))
    }

    /// [`settings`](Self::settings), with a token of the caller's.
    pub fn settings_with(&self, token: &str) -> String {
        Self::settings_at(&[&format!("http://{}", self.address)], token)
    }

    /// [`settings`](Self::settings) that lead through a cable.
    ///
    /// # Errors
    /// The token can't be made.
    pub fn settings_through(&self, cable: &Cable, name: &str) -> anyhow::Result<String> {
        let url = format!("http://{}", cable.address);
        Ok(Self::settings_at(&[&url], &self.token(&["new", name])?))
    }

    /// Configuration of a box that is to register at these addresses, in turn.
    pub fn settings_at(urls: &[&str], token: &str) -> String {
        format!(
            "[studio]\nurl = {urls:?}\ntoken = {token:?}\nallow = [\"view\", \"jobs\"]\nbackoff_ms = 100\nbackoff_cap_ms = 500\n"
        )
    }

    /// Asks it something.
    ///
    /// # Errors
    /// No answer.
    pub fn send(&self, request: &Request<'_>) -> anyhow::Result<Response> {
        request.send(self.address)
    }

    /// `GET`.
    ///
    /// # Errors
    /// No answer.
    pub fn get(&self, path: &str) -> anyhow::Result<Response> {
        self.send(&Request::new("GET", path))
    }

    /// Asks it something as an operator.
    ///
    /// # Errors
    /// No answer, or none that is JSON.
    pub fn operate(&self, request: Request<'_>) -> anyhow::Result<Value> {
        self.fetch(request)?.json()
    }

    /// [`operate`](Self::operate), for an answer that is not JSON.
    ///
    /// # Errors
    /// No answer.
    pub fn fetch(&self, request: Request<'_>) -> anyhow::Result<Response> {
        let request = request.header("authorization", format!("Bearer {}", self.operator));
        request.send(self.operators)
    }

    /// What it has logged so far.
    ///
    /// # Errors
    /// There is no log.
    pub fn log(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.dir.path().join("log"))?)
    }

    /// The public address of a box, once its session is up.
    ///
    /// # Errors
    /// It does not come up.
    pub fn address_of(&self, system: &System) -> anyhow::Result<Address> {
        wait::until("the box's session", PATIENCE, || {
            let bridge = system.status()?.bridge;
            ensure!(bridge.state == BridgeState::Online, "the bridge is {bridge:?}");
            let told = system.bridgectl(&["bridge", "address"])?;
            let url = String::from_utf8(told.stdout)?;
            ensure!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
            let id = url.trim().rsplit('/').next().unwrap_or_default().to_owned();
            Ok(Some(Address {
                studio: self.address,
                id,
            }))
        })
    }
}

/// A way to a studio that can be cut so that neither end hears of it: what is sent goes nowhere, and nothing is closed.
#[derive(Debug)]
pub struct Cable {
    address: SocketAddr,
    cut: Arc<AtomicU8>,
}

/// What becomes of bytes that go one way of a connection, after so many before them.
type Alter = fn(&mut [u8], usize);

/// Where a cable is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Cut {
    /// Nowhere.
    Nowhere,
    /// What the box sends goes nowhere.
    FromBox,
    /// Nor does what the studio sends.
    BothWays,
}

impl Cable {
    /// A cable to `studio`.
    ///
    /// # Errors
    /// The system has no port.
    pub fn to(studio: &Studio) -> anyhow::Result<Self> {
        Self::laid(studio, |_bytes, _before| {}, |_bytes, _before| {})
    }

    /// A cable to `studio` on which now and then a bit flips, either way.
    ///
    /// # Errors
    /// The system has no port.
    pub fn with_noise(studio: &Studio) -> anyhow::Result<Self> {
        Self::laid(studio, flip_a_bit, flip_a_bit)
    }

    /// A cable to `studio` that makes a box of version 9 of each box that says hello through it.
    ///
    /// # Errors
    /// The system has no port.
    pub fn from_another_version(studio: &Studio) -> anyhow::Result<Self> {
        Self::laid(studio, raise_version, |_bytes, _before| {})
    }

    /// `from_box` and `to_box`: what becomes of what goes that way.
    fn laid(studio: &Studio, from_box: Alter, to_box: Alter) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (address, far) = (listener.local_addr()?, studio.address);
        let cut = Arc::new(AtomicU8::new(Cut::Nowhere as u8));
        let state = Arc::clone(&cut);
        // These threads end with the test's process.
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(far) else { continue };
                let ends = near.try_clone().and_then(|near| Ok((near, far.try_clone()?)));
                let Ok((near_again, far_again)) = ends else { continue };
                for (from, to, by, alter) in [
                    (near, far, Cut::FromBox, from_box),
                    (far_again, near_again, Cut::BothWays, to_box),
                ] {
                    let state = Arc::clone(&state);
                    thread::spawn(move || carry(from, to, || state.load(Ordering::SeqCst) >= by as u8, alter));
                }
            }
        });
        Ok(Self { address, cut })
    }

    /// Cuts it, or mends it: what goes through a connection that was cut once stays lost.
    pub fn cut(&self, at: Cut) {
        self.cut.store(at as u8, Ordering::SeqCst);
    }
}

/// Carries bytes until an end closes. Once cut, a connection is dead for good: both ends are kept open and get nothing.
fn carry(mut from: TcpStream, mut to: TcpStream, is_cut: impl Fn() -> bool, alter: Alter) {
    let mut buffer = [0; 16 * 1024];
    let (mut dead, mut before) = (false, 0);
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        dead |= is_cut();
        alter(&mut buffer[..read], before);
        before += read;
        if !dead && to.write_all(&buffer[..read]).is_err() {
            return;
        }
    }
}

/// In one piece of eight that comes along, one bit is another: where, its length and its number say.
fn flip_a_bit(bytes: &mut [u8], before: usize) {
    /// Bytes of a greeting: with a bit of its token hit, a box is sent away for good, and rightly so.
    const GREETING: usize = 2048;
    static PIECES: AtomicUsize = AtomicUsize::new(0);
    if before < GREETING {
        return;
    }
    let piece = PIECES.fetch_add(1, Ordering::SeqCst);
    if piece % 8 == 7 {
        let at = piece * 7919 % bytes.len();
        bytes[at] ^= 1 << (piece / 8 % 8);
    }
}

/// Where these bytes begin with a client's text frame (RFC 6455, section 5.2) that tells version 1, it tells 9.
fn raise_version(bytes: &mut [u8], _before: usize) {
    const TOLD: &[u8] = br#""version":1,"#;
    let &mut [0x81, length, ..] = bytes else { return };
    let mask_at = match length & 0x7f {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    let Some((head, payload)) = bytes.split_at_mut_checked(mask_at + 4) else {
        return;
    };
    let mask = |at: usize| head[mask_at + at % 4];
    let text: Vec<u8> = payload.iter().enumerate().map(|(at, byte)| byte ^ mask(at)).collect();
    if let Some(found) = text.windows(TOLD.len()).position(|window| window == TOLD) {
        let digit = found + TOLD.len() - 2;
        payload[digit] = b'9' ^ mask(digit);
    }
}

impl Drop for Studio {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log().unwrap_or_default();
            #[expect(clippy::print_stderr, reason = "a test that fails shows what the processes said")]
            for line in log.lines().rev().take(40).collect::<Vec<_>>().into_iter().rev() {
                eprintln!("[studio] {line}");
            }
        }
    }
}

impl Address {
    /// Another address at the same studio, e.g. a shared one, by its URL.
    #[must_use]
    pub fn other(&self, url: &str) -> Self {
        let id = url.trim().rsplit('/').next().unwrap_or_default().to_owned();
        Self { id, ..self.clone() }
    }

    /// The same address at another node of the studio.
    #[must_use]
    pub fn at(&self, studio: &Studio) -> Self {
        let (studio, id) = (studio.address, self.id.clone());
        Self { studio, id }
    }

    /// A path below it.
    pub fn path(&self, path: &str) -> String {
        format!("/s/{}{path}", self.id)
    }

    /// The whole URL of a path below it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{}", self.studio, self.path(path))
    }

    /// How the studio says its session is.
    ///
    /// # Errors
    /// The studio does not answer.
    pub fn session(&self) -> anyhow::Result<Value> {
        let path = format!("/api/v1/sessions/{}", self.id);
        Request::new("GET", &path).send(self.studio)?.json()
    }

    /// Waits until the studio says that the session is in `state`; what it says of it then.
    ///
    /// # Errors
    /// It does not get there.
    pub fn until(&self, state: &str, limit: Duration) -> anyhow::Result<Value> {
        wait::until(&format!("the session to be {state}"), limit, || {
            let session = self.session()?;
            ensure!(session["state"] == state, "it is {session}");
            Ok(Some(session))
        })
    }
}
