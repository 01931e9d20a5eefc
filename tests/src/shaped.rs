//! A viewer's network behind a link that is as bad as a test wants it: slow, long, lossy, out of order, away.
//!
//! The kernels of most machines that tests run on have no netem. So a program of its own (`shaped.py`) stands between two tun
//! devices, one here and one in the viewer's namespace; without faults it carries everything.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{IpAddr, Ipv4Addr},
    process::{ChildStdin, ChildStdout, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::{
    internet::Networks,
    process::{Process, command},
    python,
};

const BUILD: &str = r#"
ip netns add "$1-viewer"
ip netns exec "$1-viewer" ip link set lo up
"#;

/// Gives the devices their addresses, the one in the namespace `$1-viewer` the second.
const CONNECT: &str = r#"
ip address add 198.18.119.1/30 dev fb-here
ip link set fb-here mtu "$2" up
ip link set fb-there netns "$1-viewer"
ip -n "$1-viewer" address add 198.18.119.2/30 dev fb-there
# An address that comes by itself a second later is a change of network to a browser, which gives up what it loads.
ip -n "$1-viewer" link set fb-there addrgenmode none
ip -n "$1-viewer" link set fb-there mtu "$2" up
"#;

/// What a link does to packets on their way to the viewer; the way back is as long, and loses what it is told to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// What it carries; 0: everything.
    pub bits_per_second: u32,
    /// Packets that would wait longer for their turn are dropped, ms.
    pub queue_ms: u32,
    /// From end to end, ms.
    pub delay_ms: u32,
    /// Of 100 packets, those that are lost.
    pub loss_percent: u32,
    /// The same of those that the viewer sends.
    pub loss_back_percent: u32,
    /// Of 100 packets, those that come so many ms late, and so out of order.
    pub late: (u32, u32),
    /// Of 100 packets, those that come twice.
    pub twice_percent: u32,
    /// Whether anything gets through at all, either way.
    pub is_up: bool,
}

impl Shape {
    /// Everything gets through, after 10 ms.
    pub const GOOD: Self = Self {
        bits_per_second: 0,
        queue_ms: 1000,
        delay_ms: 10,
        loss_percent: 0,
        loss_back_percent: 0,
        late: (0, 0),
        twice_percent: 0,
        is_up: true,
    };

    fn to_json(self) -> Value {
        let share = |percent: u32| f64::from(percent) / 100.0;
        json!({
            "bits": self.bits_per_second, "queue_ms": self.queue_ms, "delay_ms": self.delay_ms,
            "loss": share(self.loss_percent), "loss_back": share(self.loss_back_percent), "late": share(self.late.0), "late_ms": self.late.1,
            "twice": share(self.twice_percent), "up": self.is_up,
        })
    }
}

/// What a link has done since it was last looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Carried {
    /// Packets that got through.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets that did not, for loss or because the queue was full.
    pub dropped: u64,
    /// How long nineteen packets of twenty waited at most, ms.
    pub queue_p95_ms: f64,
}

/// The devices have names of their own. Taken before a [`System`](crate::system::System) is started, which waits, too.
static ONE: Mutex<()> = Mutex::new(());

/// The network and its link; they go when this is dropped.
#[derive(Debug)]
pub struct ShapedLink {
    networks: Networks,
    orders: ChildStdin,
    words: BufReader<ChildStdout>,
    _link: Process,
    _one: MutexGuard<'static, ()>,
}

impl ShapedLink {
    /// This machine's address on it: one of those for benchmarks (RFC 2544).
    pub const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 119, 1));

    /// Makes it, one at a time, for packets of up to 1500 bytes. `None`: only root may.
    ///
    /// # Errors
    /// The system refuses.
    pub fn build(shape: Shape) -> anyhow::Result<Option<Self>> {
        Self::build_for(shape, 1500)
    }

    /// [`build`](Self::build), for packets of up to `mtu` bytes.
    ///
    /// # Errors
    /// The system refuses.
    pub fn build_for(shape: Shape, mtu: u32) -> anyhow::Result<Option<Self>> {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(networks) = Networks::build(BUILD, &["viewer"])? else {
            return Ok(None);
        };
        let mut python = command(python::DEBIAN);
        python.args(["-c", include_str!("shaped.py"), "fb-here", "fb-there"]);
        python.arg(shape.to_json().to_string());
        python
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut link = Process::start_as_is(&mut python)?;
        let pipes = link.child().stdin.take().zip(link.child().stdout.take());
        let (orders, words) = pipes.context("a script without its pipes")?;
        let mut words = BufReader::new(words);
        let mut line = String::new();
        words.read_line(&mut line)?;
        ensure!(line == "ready\n", "the link did not get ready");
        let connect = command("sh")
            .args(["-ec", CONNECT, "connect", networks.name(), &mtu.to_string()])
            .output()?;
        let said = String::from_utf8_lossy(&connect.stderr);
        ensure!(connect.status.success(), "connecting the link: {said}");
        Ok(Some(Self {
            networks,
            orders,
            words,
            _link: link,
            _one: one,
        }))
    }

    /// Does `work` on this thread as if it was there: what it starts is in that network.
    ///
    /// # Errors
    /// The system refuses, or `work` fails.
    pub fn there<T>(&self, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        self.networks.at("viewer", work)
    }

    /// From now on the link is like that.
    ///
    /// # Errors
    /// The link is gone.
    pub fn set(&mut self, shape: Shape) -> anyhow::Result<()> {
        Ok(writeln!(self.orders, "{}", shape.to_json())?)
    }

    /// What it has done since this was last asked.
    ///
    /// # Errors
    /// The link is gone.
    pub fn take_carried(&mut self) -> anyhow::Result<Carried> {
        writeln!(self.orders, "look")?;
        let mut line = String::new();
        self.words.read_line(&mut line)?;
        let told: Value = serde_json::from_str(&line)?;
        let count = |name: &str| told[name].as_u64().with_context(|| format!("no {name} in {line}"));
        Ok(Carried {
            packets: count("packets")?,
            bytes: count("bytes")?,
            dropped: count("dropped")?,
            queue_p95_ms: told["queue_p95_ms"].as_f64().context("no queue_p95_ms")?,
        })
    }
}
