//! Runs a daemon: settings, logs, runtime and signals before its body, an exit code after it.

use std::{
    cell::Cell,
    future::poll_fn,
    io::Write as _,
    panic::{self, AssertUnwindSafe},
    pin::pin,
    process::ExitCode,
    task::Poll,
    time::Duration,
};

use anyhow::Context as _;
use framebridge_config::{ConfigError, Log, Settings};
use framebridge_ipc::RuntimeDir;
use framebridge_proto::Role;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{Args, Exit, Hangups, LogTap, Tasks, last_words, log_writer, logging, notify, tail::Tail};

/// How long blocking work may hold up the end once the body is done.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(1);

/// What a daemon's body is given.
#[derive(Debug)]
pub struct Context {
    /// File, environment and flags, validated.
    pub settings: Settings,
    /// Why those are the [fallback](Args::fallback), and not what the configuration says.
    pub refused: Option<String>,
    /// The arguments, to read the configuration by again.
    pub args: Args,
    /// Where the sockets are; it exists.
    pub dir: RuntimeDir,
    /// Cancelled by SIGTERM and SIGINT.
    pub stop: CancellationToken,
    /// Owner of the daemon's tasks.
    pub tasks: Tasks,
}

/// Runs a daemon called `process`: settings, logs, runtime, signals, then `body`, whose error becomes one logged line
/// and an exit code. A panic on any thread ends the process with [`Exit::Software`], so that nothing lives on half.
pub fn run<F>(process: &str, args: Args, body: F) -> ExitCode
where
    F: AsyncFnOnce(Context) -> anyhow::Result<()>,
{
    run_tapped(process, args, None, body)
}

/// [`run`], with what is logged also kept for `tap`'s reader.
pub fn run_tapped<F>(process: &str, args: Args, tap: Option<LogTap>, body: F) -> ExitCode
where
    F: AsyncFnOnce(Context) -> anyhow::Result<()>,
{
    let outcome = load(&args).and_then(|(settings, refused)| {
        let dir = RuntimeDir::resolve();
        logging::start(process, &settings.log, tap, Some(Tail::of(&dir, process)))?;
        // All processes of a box read the same settings: one says what is odd about them.
        if process == Role::Supervisor.as_str() {
            for warning in &settings.warnings {
                tracing::warn!("{warning}");
            }
        }
        dir.create().context(Exit::Unavailable)?;
        host(Some(TASK_THREADS), async |stop, tasks| {
            // SIGHUP ends nothing here: the kernel sends it to a stopped process (SIGSTOP) whose supervisor is killed, because
            // its process group is an orphan then.
            let _hangups = Hangups::catch().context("catching SIGHUP")?;
            body(Context {
                settings,
                refused,
                args,
                dir,
                stop,
                tasks,
            })
            .await
        })
    });
    conclude(process, outcome)
}

/// Runs a process that is no part of a box, and so has no settings and no sockets of one: logs, runtime, signals, then
/// `body`, as [`run`] does.
pub fn run_alone<F>(process: &str, log: &Log, body: F) -> ExitCode
where
    F: AsyncFnOnce(CancellationToken, Tasks) -> anyhow::Result<()>,
{
    let outcome = logging::start(process, log, None, None).and_then(|()| host(None, body));
    conclude(process, outcome)
}

/// The settings, and why they are not those of the configuration.
fn load(args: &Args) -> anyhow::Result<(Settings, Option<String>)> {
    let error = match args.load() {
        Ok(settings) => return Ok((settings, None)),
        Err(error) => error,
    };
    let fallback = args.fallback.as_ref().and_then(|path| Settings::handed(path).ok());
    match (error, fallback) {
        (error, Some(settings)) => Ok((settings, Some(format!("{:#}", anyhow::Error::from(error))))),
        (error @ ConfigError::Read { .. }, None) if args.settings.is_some() => Err(error)
            .context("the supervisor has written no settings for this process; is it running?")
            .context(Exit::Temporary),
        (error, None) => Err(error.into()),
    }
}

fn conclude(process: &str, outcome: anyhow::Result<()>) -> ExitCode {
    let Err(error) = outcome else {
        log_writer::finish();
        return Exit::Ok.into();
    };
    let exit = Exit::of(&error);
    tracing::error!(code = exit.code(), "{error:#}");
    last_words::leave(&RuntimeDir::resolve(), exit.code(), &format!("{error:#}"));
    if !tracing::enabled!(tracing::Level::ERROR) {
        // Logging has not started, or is filtered: the reason must be seen all the same.
        _ = writeln!(std::io::stderr(), "[{process}] {error:#}");
    }
    exit.into()
}

/// Threads for tasks of a box's process, besides the one that waits for its body. It waits for others most of the time,
/// and what is slow has threads of its own (capture, encoding, media, blocking calls): a second one here would only be
/// woken in vain, which costs a waking machine more than the work.
const TASK_THREADS: usize = 1;

/// A runtime with that many threads for tasks (one a core unless said), and signals that stop what runs in it.
fn host<F>(threads: Option<usize>, body: F) -> anyhow::Result<()>
where
    F: AsyncFnOnce(CancellationToken, Tasks) -> anyhow::Result<()>,
{
    exit_on_panic();
    raise_descriptor_limit();
    leave_no_core();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads {
        runtime.worker_threads(threads);
    }
    let runtime = runtime.enable_all().build().context("starting the runtime")?;
    let outcome = runtime.block_on(async {
        let stop = CancellationToken::new();
        let tasks = Tasks::new(stop.clone());
        let mut terminate = signal(SignalKind::terminate()).context("catching SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("catching SIGINT")?;
        let signalled = stop.clone();
        tasks.spawn(async move {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!("stopping: {name}");
            notify::stopping();
            signalled.cancel();
        });
        body(stop, tasks).await
    });
    runtime.shutdown_timeout(SHUTDOWN_LIMIT);
    outcome
}

/// Raises the limit of descriptors to the hard limit: the usual soft one of 1,024 is for programs that use `select`, and
/// connections need more.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of descriptors stays as it is");
    }
}

/// Switches core dumps off: they would bring viewers' keys to a disk.
fn leave_no_core() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "a crash may leave a core, with viewers' keys in it");
    }
}

thread_local! {
    /// Whether this thread is at work whose panic is its own.
    static ISOLATED: Cell<bool> = const { Cell::new(false) };
}

/// Does `work` that holds nothing others rely on: its panic ends it, and not the process. `Err`: what it said.
///
/// # Errors
/// It panicked.
pub async fn isolated<F: Future>(work: F) -> Result<F::Output, String> {
    let mut work = pin!(work);
    poll_fn(move |context| match isolated_now(|| work.as_mut().poll(context)) {
        Ok(polled) => polled.map(Ok),
        Err(words) => Poll::Ready(Err(words)),
    })
    .await
}

/// [`isolated`], for work that is done here and now, on a thread for what blocks.
///
/// # Errors
/// It panicked.
pub fn isolated_now<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let before = ISOLATED.replace(true);
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    ISOLATED.set(before);
    done.map_err(|panic| {
        let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
        let words = words.or_else(|| panic.downcast_ref::<String>().cloned());
        words.unwrap_or_else(|| "it panicked".to_owned())
    })
}

fn exit_on_panic() {
    panic::set_hook(Box::new(|panic| {
        tracing::error!("panicked: {panic}");
        if ISOLATED.get() {
            return;
        }
        let code = Exit::Software.code();
        last_words::leave(&RuntimeDir::resolve(), code, &format!("panicked: {panic}"));
        #[expect(
            clippy::exit,
            reason = "a process that has panicked somewhere must not live on half: it is restarted"
        )]
        std::process::exit(code.into());
    }));
}
