//! Serves HTTP to viewers, with TLS where there is a certificate, and to this machine's own processes.

use std::{io, net::SocketAddr, time::Duration};

use anyhow::Context as _;
use axum::Router;
use framebridge_config::Webrtc;
use framebridge_daemon::{Exit, Tasks};
use framebridge_http::{Framed, FramedServer, LocalSocket, Patience, Tls};
use framebridge_ipc::HttpListener;
use framebridge_rtc::Handle;
use tokio::{
    net::{TcpListener, UnixStream},
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

/// How often the certificate's files are looked at.
const CERTIFICATE_LOOK: Duration = Duration::from_secs(2);

/// Serves `router` on both sockets until `stop`.
pub(crate) fn start(
    tasks: &Tasks,
    (strangers, own): (TcpListener, HttpListener),
    router: Router,
    (tls, framed): (Option<&Tls>, Option<FramedServer>),
    stop: &CancellationToken,
) {
    if let Some(tls) = tls {
        tasks.spawn(keep_certificate(tls.clone()));
    }
    let patience = Patience::default();
    let local = framebridge_http::serve_local(Own(own), router.clone(), patience, stop.clone());
    tasks.spawn_graceful(local);
    let open = framebridge_http::serve_over(strangers, (tls.cloned(), framed), router, patience, stop.clone());
    tasks.spawn_graceful(open);
}

/// Viewers that UDP does not get through to: media on the port of HTTP, unless the operator wants none there.
pub(crate) fn framed_media(webrtc: &Webrtc, engine: Handle, listener: SocketAddr) -> Option<FramedServer> {
    if !webrtc.tcp {
        return None;
    }
    engine.listens_on(listener);
    Some(FramedServer::new(move |Framed { stream, peer }| {
        let engine = engine.clone();
        async move { engine.serve_tcp(stream, peer).await }
    }))
}

/// The socket of this machine's own processes.
struct Own(HttpListener);

impl LocalSocket for Own {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        self.0.accept().await
    }
}

pub(crate) fn load_tls(tls: &framebridge_config::Tls) -> anyhow::Result<Tls> {
    Tls::load(&tls.certificate, &tls.key)
        .context("http.tls")
        .context(Exit::Config)
}

/// Serves with what the files hold: reads them again when they change, and on SIGHUP.
async fn keep_certificate(tls: Tls) {
    let mut looks = interval(CERTIFICATE_LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let Ok(mut hangups) = signal(SignalKind::hangup()) else {
        return;
    };
    loop {
        let asked = tokio::select! {
            _ = looks.tick() => false,
            _ = hangups.recv() => true,
        };
        match tls.reload(asked) {
            Ok(true) => tracing::info!(subject = tls.certificate().subject, "serving with the new certificate"),
            Ok(false) => {}
            Err(error) => {
                let error = anyhow::Error::from(error);
                tracing::error!("http.tls: {error:#}; the certificate there was goes on");
            }
        }
    }
}
