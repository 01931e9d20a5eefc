//! Servers of others that a studio lives with: real ones, on loopback, on ports of their own.

use std::{
    ffi::OsStr,
    net::{Ipv4Addr, SocketAddr, TcpStream},
};

use anyhow::anyhow;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    process::{Process, command, signal},
    system::free_port,
    wait::{self, PATIENCE},
};

/// A server that runs in the foreground.
#[derive(Debug)]
pub struct Service {
    program: &'static str,
    arguments: Vec<String>,
    address: SocketAddr,
    dir: TempDir,
    process: Option<Process>,
}

impl Service {
    /// Starts `program` with the arguments that its port and a directory of its own make, and waits until it listens.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start(
        program: &'static str,
        arguments: impl FnOnce(u16, &TempDir) -> anyhow::Result<Vec<String>>,
    ) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("framebridge-service-").tempdir()?;
        let port = free_port()?;
        let mut service = Self {
            program,
            arguments: arguments(port, &dir)?,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            dir,
            process: None,
        };
        service.start_again()?;
        Ok(service)
    }

    /// A NATS server.
    ///
    /// # Errors
    /// It does not come up.
    pub fn nats() -> anyhow::Result<Self> {
        Self::start("nats-server", |port, _| {
            Ok(["--addr", "127.0.0.1", "--port"]
                .map(str::to_owned)
                .into_iter()
                .chain([port.to_string()])
                .collect())
        })
    }

    /// Starts it again after its death, where it was.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        let mut server = command(self.program);
        server.args(&self.arguments);
        self.process = Some(Process::start(&mut server, &self.dir.path().join("log"))?);
        let what = format!("{} to listen", self.program);
        wait::until_true(&what, PATIENCE, || Ok(TcpStream::connect(self.address).is_ok()))
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let mut process = self.process.take().ok_or_else(|| anyhow!("it does not run"))?;
        signal(process.pid(), Signal::KILL)?;
        process.wait(PATIENCE).map(drop)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has logged so far.
    ///
    /// # Errors
    /// There is no log.
    pub fn log(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.dir.path().join("log"))?)
    }
}

/// Runs a program to its end.
///
/// # Errors
/// It fails, or can't be started.
pub fn run(program: &str, arguments: &[&OsStr]) -> anyhow::Result<()> {
    let output = command(program).args(arguments).output()?;
    anyhow::ensure!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
