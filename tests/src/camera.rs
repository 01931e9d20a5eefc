//! A network camera: a real RTSP server, GStreamer's, that can be killed and started again.

use anyhow::Context as _;

use crate::{process::Process, python, system::free_port};

/// An RTSP server with a moving picture, 640 × 360 at 30 a second.
#[derive(Debug)]
pub struct Camera {
    port: u16,
    group: u32,
    kind: &'static str,
    server: Process,
}

impl Camera {
    /// Starts one.
    ///
    /// # Errors
    /// GStreamer's RTSP server is not installed or does not start.
    pub fn start() -> anyhow::Result<Self> {
        Self::with_group(30)
    }

    /// [`start`](Self::start), with a keyframe in so many pictures.
    ///
    /// # Errors
    /// GStreamer's RTSP server is not installed or does not start.
    pub fn with_group(group: u32) -> anyhow::Result<Self> {
        Self::of(group, "")
    }

    /// One of 1920 × 1080 at 25 a second and 4 Mb/s, with a keyframe each four seconds.
    ///
    /// # Errors
    /// GStreamer's RTSP server is not installed or does not start.
    pub fn high_definition() -> anyhow::Result<Self> {
        Self::of(100, "hd")
    }

    fn of(group: u32, kind: &'static str) -> anyhow::Result<Self> {
        let port = free_port()?;
        let server = serve(port, group, kind)?;
        Ok(Self {
            port,
            group,
            kind,
            server,
        })
    }

    /// Starts it again on the same address, in place of the one there was.
    ///
    /// # Errors
    /// It does not start.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.server = serve(self.port, self.group, self.kind)?;
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

fn serve(port: u16, group: u32, kind: &str) -> anyhow::Result<Process> {
    let arguments = [port.to_string(), group.to_string(), kind.to_owned()];
    python::run_until_dropped(include_str!("camera.py"), &arguments)
        .context("GStreamer's RTSP server did not start: are python3-gi and gir1.2-gst-rtsp-server-1.0 installed?")
}
