//! The process: open the records, serve until told to stop.

use std::{fs, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use framebridge_config::Log;
use framebridge_daemon::{Exit, Tasks, notify};
use framebridge_http::{MAX_PER_ADDRESS, Patience};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    cli::Serve,
    exchange,
    hub::{Hub, Parts},
    limits::Limits,
    nodes::Nodes,
    routes,
    store::Store,
    turn::Turn,
    uploads::{Keep, Uploads},
};

/// The longest time from the signal to the end. Requests under way get it; boxes connect again by themselves.
const STOP_LIMIT: Duration = Duration::from_secs(4);

/// As a box's server has it, but long enough for the longest file over a slow line.
const PATIENCE: Patience = Patience {
    head: Duration::from_secs(10),
    write: Duration::from_secs(10),
    lifetime: Duration::from_secs(3600),
    last_request: Duration::from_secs(2),
    per_address: MAX_PER_ADDRESS,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Serves as the arguments say.
pub(crate) fn run(serve: Serve) -> ExitCode {
    let log = Log {
        json: false,
        filter: serve.log.clone(),
    };
    framebridge_daemon::run_alone("studio", &log, async |stop, tasks| {
        App::load(serve, stop).await?.run(tasks).await
    })
}

struct App {
    public: TcpListener,
    operators: TcpListener,
    hub: Arc<Hub>,
}

impl App {
    async fn load(serve: Serve, stop: CancellationToken) -> anyhow::Result<Self> {
        let data = serve.data();
        let store = Store::open(&data).context(Exit::Unavailable)?;
        let uploads = data.join("uploads");
        Uploads::make(&uploads).with_context(|| format!("making {}", uploads.display()))?;
        let turn = match &serve.turn_secret_file {
            None => None,
            Some(file) => {
                let secret = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
                ensure!(!secret.trim().is_empty(), "{} holds no secret", file.display());
                Some(Turn::new(serve.turn.clone(), secret.trim()))
            }
        };
        let (public, operators) = (listen(serve.listen).await?, listen(serve.operators).await?);
        let own_url = format!("http://{}", public.local_addr()?);
        let public_url = serve.public_url.clone().unwrap_or(own_url);
        let nodes = Nodes::join(&serve.nats).await?;
        let hub = Hub::load(Parts {
            store,
            nodes,
            limits: Limits::new(serve.behind_proxy),
            turn,
            public_url: public_url.trim_end_matches('/').to_owned(),
            uploads,
            keep: Keep {
                age: DAY * u32::try_from(serve.keep_days).unwrap_or(u32::MAX),
                bytes: serve.keep_mb.saturating_mul(1_000_000),
            },
            stop,
        })?;
        tracing::info!("boxes and viewers are welcome at {}", hub.public_url);
        tracing::info!("operators: http://{}", operators.local_addr()?);
        notify::ready();
        Ok(Self { public, operators, hub })
    }

    async fn run(self, tasks: Tasks) -> anyhow::Result<()> {
        let Self { public, operators, hub } = self;
        tasks.spawn(Arc::clone(&hub).keep_time());
        tasks.spawn(exchange::run(Arc::clone(&hub)));
        // All viewers come from the proxy's address then; the proxy knows theirs.
        let per_address = if hub.limits.behind_proxy {
            usize::MAX
        } else {
            MAX_PER_ADDRESS
        };
        let patience = Patience {
            per_address,
            ..PATIENCE
        };
        tokio::join!(
            framebridge_http::serve(
                public,
                routes::public(Arc::clone(&hub)),
                patience,
                hub.boxes.stop.clone()
            ),
            framebridge_http::serve(
                operators,
                routes::operators(Arc::clone(&hub)),
                PATIENCE,
                hub.boxes.stop.clone()
            ),
        );
        hub.boxes.tasks.close();
        let parted = timeout(STOP_LIMIT, hub.boxes.tasks.wait()).await.is_ok();
        ensure!(parted && tasks.end(STOP_LIMIT).await, "a task did not end in time");
        Ok(())
    }
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("listening on {address}"))
        .context(Exit::Unavailable)
}
