//! A network camera: a real RTSP server, GStreamer's, that can be killed and started again.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use anyhow::{anyhow, ensure};

use crate::{
    process::{Process, command},
    python,
    system::free_port,
};

/// An RTSP server with a moving picture, 640 × 360 at 30 a second.
#[derive(Debug)]
pub struct Camera {
    port: u16,
    server: Process,
}

impl Camera {
    /// Starts one.
    ///
    /// # Errors
    /// GStreamer's RTSP server is not installed or does not start.
    pub fn start() -> anyhow::Result<Self> {
        let port = free_port()?;
        Ok(Self {
            port,
            server: serve(port)?,
        })
    }

    /// Starts it again on the same address, in place of the one there was.
    ///
    /// # Errors
    /// It does not start.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.server = serve(self.port)?;
        Ok(())
    }

    /// Where its picture is.
    pub fn url(&self) -> String {
        format!("rtsp://127.0.0.1:{}/live", self.port)
    }

    /// The server's pid.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }
}

fn serve(port: u16) -> anyhow::Result<Process> {
    let mut python = command(python::DEBIAN);
    python.args(["-c", include_str!("camera.py"), &port.to_string()]);
    python.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut server = Process::start_as_is(&mut python)?;
    let said = server.child().stdout.take();
    let said = said.ok_or_else(|| anyhow!("the camera has no stdout"))?;
    let mut line = String::new();
    BufReader::new(said).read_line(&mut line)?;
    ensure!(
        line == "ready\n",
        "GStreamer's RTSP server did not start: are python3-gi and gir1.2-gst-rtsp-server-1.0 installed?"
    );
    Ok(server)
}
