//! Servers of others that a studio lives with: real ones, on loopback, on ports of their own.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
};

use anyhow::{anyhow, ensure};
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
        Self::start_at(Ipv4Addr::LOCALHOST, program, arguments)
    }

    fn start_at(
        ip: Ipv4Addr,
        program: &'static str,
        arguments: impl FnOnce(u16, &TempDir) -> anyhow::Result<Vec<String>>,
    ) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("framebridge-service-").tempdir()?;
        let port = free_port()?;
        let mut service = Self {
            program,
            arguments: arguments(port, &dir)?,
            address: SocketAddr::from((ip, port)),
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

    /// A web server for the files of a folder.
    ///
    /// # Errors
    /// It does not come up.
    pub fn files(folder: &Path) -> anyhow::Result<Self> {
        Self::start("python3", |port, _| {
            let arguments = ["-m", "http.server", "--bind", "127.0.0.1", "--directory"].map(str::to_owned);
            let rest = [folder.display().to_string(), port.to_string()];
            Ok(arguments.into_iter().chain(rest).collect())
        })
    }

    /// A TURN server that knows this secret, and relays on loopback.
    ///
    /// # Errors
    /// It does not come up.
    pub fn turn(secret: &str) -> anyhow::Result<Self> {
        Self::turn_at(Ipv4Addr::LOCALHOST, secret)
    }

    /// A TURN server that knows this secret, and relays at this address.
    ///
    /// # Errors
    /// It does not come up.
    pub fn turn_at(ip: Ipv4Addr, secret: &str) -> anyhow::Result<Self> {
        Self::start_at(ip, "turnserver", |port, dir| {
            let own = ["--no-tls".to_owned(), format!("--listening-port={port}")];
            Ok(relaying(ip, secret, dir).chain(own).collect())
        })
    }

    /// [`turn_at`](Self::turn_at), by TLS with this certificate and by nothing else.
    ///
    /// # Errors
    /// It does not come up.
    pub fn turns_at(ip: Ipv4Addr, secret: &str, certificate: &Certificate) -> anyhow::Result<Self> {
        // It wants to know one for what it does not serve, too.
        let other = free_port()?;
        Self::start_at(ip, "turnserver", |port, dir| {
            let own = [
                "--no-tcp".to_owned(),
                "--no-udp".to_owned(),
                format!("--listening-port={other}"),
                format!("--tls-listening-port={port}"),
                format!("--cert={}", certificate.path().display()),
                format!("--pkey={}", certificate.key().display()),
            ];
            Ok(relaying(ip, secret, dir).chain(own).collect())
        })
    }

    /// TLS in front of `behind`, with this certificate.
    ///
    /// # Errors
    /// It does not come up.
    pub fn tls(behind: SocketAddr, certificate: &Certificate) -> anyhow::Result<Self> {
        Self::start("stunnel", |port, dir| {
            let file = dir.path().join("stunnel.conf");
            let (path, key) = (certificate.path(), certificate.key());
            let settings = format!(
                "foreground = yes\npid =\n[studio]\naccept = 127.0.0.1:{port}\nconnect = {behind}\ncert = {}\nkey = {}\n",
                path.display(),
                key.display()
            );
            fs::write(&file, settings)?;
            Ok(vec![file.display().to_string()])
        })
    }

    /// The way out of [`tls`](Self::tls): plain on our side, TLS towards `behind`, whatever its certificate says.
    ///
    /// # Errors
    /// It does not come up.
    pub fn out_of_tls(behind: SocketAddr) -> anyhow::Result<Self> {
        Self::start("stunnel", |port, dir| {
            let file = dir.path().join("stunnel.conf");
            let settings = format!(
                "foreground = yes\npid =\n[box]\nclient = yes\naccept = 127.0.0.1:{port}\nconnect = {behind}\n"
            );
            fs::write(&file, settings)?;
            Ok(vec![file.display().to_string()])
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

/// What every TURN server here is told.
fn relaying(ip: Ipv4Addr, secret: &str, dir: &TempDir) -> impl Iterator<Item = String> + use<> {
    let own = |name| dir.path().join(name).display().to_string();
    let flags = [
        "-n",
        "--no-cli",
        "--no-dtls",
        "--use-auth-secret",
        "--allow-loopback-peers",
        "--verbose",
    ];
    let settings = [
        ("listening-ip", ip.to_string()),
        ("relay-ip", ip.to_string()),
        ("static-auth-secret", secret.to_owned()),
        ("realm", "studio.test".to_owned()),
        ("log-file", "stdout".to_owned()),
        ("pidfile", own("pid")),
        ("userdb", own("users")),
    ];
    let settings = settings.map(|(name, value)| format!("--{name}={value}"));
    flags.map(str::to_owned).into_iter().chain(settings)
}

/// A certificate for 127.0.0.1 that is its own authority, and its key.
#[derive(Debug)]
pub struct Certificate {
    dir: TempDir,
}

impl Certificate {
    /// Makes one.
    ///
    /// # Errors
    /// There is no openssl.
    pub fn make() -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("framebridge-certificate-").tempdir()?;
        let made = Self { dir };
        let mut openssl = command("openssl");
        openssl
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
            ])
            .args([
                "-days",
                "2",
                "-subj",
                "/CN=studio.test",
                "-addext",
                "subjectAltName=IP:127.0.0.1",
            ])
            // An authority's certificate is no server's, for rustls.
            .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
            .arg(made.key())
            .arg("-out")
            .arg(made.path());
        let output = openssl.output()?;
        ensure!(
            output.status.success(),
            "openssl: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(made)
    }

    /// What a browser that is told to trust its key is told: its key's digest.
    ///
    /// # Errors
    /// There is no openssl.
    pub fn key_digest(&self) -> anyhow::Result<String> {
        const DIGEST: &str = "openssl x509 -in \"$0\" -pubkey -noout | openssl pkey -pubin -outform der \
             | openssl dgst -sha256 -binary | openssl base64";
        let output = command("sh").args(["-ec", DIGEST]).arg(self.path()).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "openssl: {said}");
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// The certificate's file.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("certificate.pem")
    }

    /// The key's file.
    pub fn key(&self) -> PathBuf {
        self.dir.path().join("key.pem")
    }
}
